"""What a client may ask for in its StartupMessage, and what of it goes on to the backend.

Apart from `login` because it is pure. Rule: an allow list. A parameter that is not on it is refused
by name instead of dropped, so that nobody believes that it is in force (I5); nothing of it reaches
the gateway's own connections (CVE-2025-12819).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockgate.protocols.postgres.operations import Problem

_HARMLESS: Final = frozenset({
    "datestyle", "timezone", "intervalstyle", "extra_float_digits", "bytea_output", "search_path",
    "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
    "transaction_timeout", "default_transaction_isolation", "default_transaction_read_only",
    "default_transaction_deferrable", "geqo", "jit", "work_mem", "maintenance_work_mem", "xmloption",
    "lc_monetary", "lc_numeric", "lc_time", "tcp_keepalives_idle", "tcp_keepalives_interval",
    "tcp_keepalives_count", "tcp_user_timeout", "client_connection_check_interval", "random_page_cost",
    "effective_cache_size", "max_parallel_workers_per_gather", "plan_cache_mode", "quote_all_identifiers",
    "synchronous_commit", "row_security", "gin_fuzzy_search_limit", "cursor_tuple_fraction",
})
_OFF: Final = frozenset({"", "0", "f", "false", "n", "no", "of", "off"})
_MAX_CLAIMS: Final = 16
_MAX_CLAIM: Final = 256


@dataclass(slots=True)
class Wishes:
    """A start-up message, sorted."""

    user: str
    database: str
    application: str
    forward: dict[str, str]
    claims: dict[str, str]
    unknown_options: list[str]


def sort_wishes(parameters: dict[str, str]) -> Wishes | Problem:
    """Sort start-up parameters, or say which one is refused."""
    user = parameters.get("user", "")
    if not user:
        return _fatal("28000", "no user name is given in the start-up message")
    wishes = Wishes(user, parameters.get("database", "") or user, "", {}, {}, [])
    for name, value in parameters.items():
        if name in ("user", "database"):
            continue
        if name.startswith("_pq_."):
            wishes.unknown_options.append(name)
            continue
        problem = _sort_options(wishes, value) if name == "options" else _sort_one(wishes, name, value)
        if problem is not None:
            return problem
    wishes.forward["client_encoding"] = "UTF8"
    return wishes


def _sort_one(wishes: Wishes, name: str, value: str) -> Problem | None:
    key = name.lower()
    if key == "application_name":
        wishes.application = value
        if value:
            _claim(wishes, key, value)
    elif key == "replication":
        if value.lower() not in _OFF:
            return _fatal("0A000", "replication connections are refused by the gateway")
    elif key == "client_encoding":
        if value.strip("'\" ").lower().replace("-", "").replace("_", "") not in ("utf8", "unicode"):
            return _fatal("0A000", "client_encoding must be UTF8 behind this gateway",
                          "Set PGCLIENTENCODING=UTF8 or client_encoding=UTF8.")
    elif key.startswith("lockgate."):
        _claim(wishes, key[len("lockgate."):], value)
    elif key in _HARMLESS or key.startswith("enable_"):
        wishes.forward[name] = value
    else:
        return _fatal("0A000", f'start-up parameter "{name[:64]}" is refused by the gateway',
                      "Leave it out; what a session may change can be SET after the log-in.")
    return None


def _claim(wishes: Wishes, name: str, value: str) -> None:
    """What a client says of itself: bounded and printable, recorded as a claim, believed by nobody."""
    if len(wishes.claims) < _MAX_CLAIMS:
        shown = "".join(c if c.isprintable() else "?" for c in value[:_MAX_CLAIM])
        wishes.claims["".join(c if c.isprintable() else "?" for c in name[:64])] = shown


def _sort_options(wishes: Wishes, text: str) -> Problem | None:
    """``options=-c name=value --name=value`` (postgres.c, process_postgres_switches)."""
    words = split_options(text)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "-c" and position < len(words):
            setting = words[position]
            position += 1
        elif word.startswith("--") or (word.startswith("-c") and len(word) > 2):
            setting = word[2:]
        else:
            return _fatal("0A000", f'start-up option "{word[:64]}" is refused by the gateway',
                          "Only -c name=value is understood in options.")
        name, equals, value = setting.partition("=")
        if not equals:
            return _fatal("42601", "a start-up option has no value")
        if word.startswith("--"):
            name = name.replace("-", "_")
        problem = _sort_one(wishes, name, value)
        if problem is not None:
            return problem
    return None


def split_options(text: str) -> list[str]:
    """Split at white space; a backslash takes the next character as it is (pg_split_opts)."""
    words: list[str] = []
    current: list[str] | None = None
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char.isspace():
            if current is not None:
                words.append("".join(current))
                current = None
            continue
        if current is None:
            current = []
        if char == "\\":
            if position < len(text):
                current.append(text[position])
                position += 1
            continue
        current.append(char)
    if current is not None:
        words.append("".join(current))
    return words


def _fatal(sqlstate: str, message: str, hint: str | None = None) -> Problem:
    return Problem(sqlstate, message, hint=hint, severity="FATAL")
