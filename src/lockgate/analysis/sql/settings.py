"""Session parameters that a client may not change, because the analysis or the identity rests on them.

The gateway pins them when it opens the backend connection, so RESET goes back to the pinned value
(manual, "Setting Parameters": RESET restores what was set at session start).
"""

from __future__ import annotations

from typing import Final

_UTF8: Final = frozenset(("utf8", "utf-8", "unicode", "default"))
_ON: Final = frozenset(("on", "true", "yes", "1", "default"))

PINNED: Final[dict[str, frozenset[str]]] = {
    "client_encoding": _UTF8,
    "names": _UTF8,
    "standard_conforming_strings": _ON,
    "backslash_quote": frozenset(("safe_encoding", "off", "false", "no", "0", "default")),
    "role": frozenset(("none", "default")),
    "session_authorization": frozenset(("default",)),
    "session_replication_role": frozenset(("origin", "default")),
    "session_preload_libraries": frozenset(("default",)),
    "local_preload_libraries": frozenset(("default",)),
    "dynamic_library_path": frozenset(("default",)),
}
"""Parameter → values that may be set."""

_REASONS: Final = {
    "role": "the session's role is fixed by the gateway",
    "session_authorization": "the session's role is fixed by the gateway",
}


def refusal_of(name: str, value: str | None, is_reset: bool = False) -> str | None:
    """Why this setting may not be changed, or None. `value` None means that it is not a constant."""
    if is_reset:
        return None
    if name == "":
        return "set_config needs a constant name here"
    allowed = PINNED.get(name)
    if allowed is None or (value is not None and value.strip().lower() in allowed):
        return None
    return _REASONS.get(name, f"the gateway relies on {name} and keeps it as it is")
