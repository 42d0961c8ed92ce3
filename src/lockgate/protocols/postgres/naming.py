"""`application_name`: the gateway's tag at the backend, the client's own name towards the client.

Apart from the two sides because both need it: what a client sets goes on as tag and name together, and
what the backend reports comes back as the name alone. RESET, DISCARD ALL and SET … TO DEFAULT restore
the value of the start-up message (manual, "RESET"), which is the tag. The backend cuts at 63 bytes.
"""

from __future__ import annotations

from typing import Final

from lockgate.analysis.sql import Naming
from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.postgres.operations import Problem

_LONGEST: Final = 63

REFUSED: Final = Refusal(
    RefusalCode.UNSUPPORTED, "application_name can only be set by a plain SET that is a statement of its own",
    hint="Send SET application_name = '...' alone; the gateway keeps the session's tag in front of the name.",
)
LOST: Final = Problem(
    "0A000", "application_name must keep the tag of this session", severity="FATAL",
    hint="Something other than SET changed it. Connect again and leave it as it is.",
)


class Tag:
    """One session's tag, and the name that its client gave at start-up."""

    __slots__ = ("_name", "_tag")

    def __init__(self, tag: str, name: str) -> None:
        self._tag = tag
        self._name = name

    def statement(self, naming: Naming) -> str | None:
        """What to forward for the client's SET; None where it cannot be said."""
        if naming.value is None:
            return None
        room = max(_LONGEST - len(self._tag.encode()) - 1, 0)
        name = naming.value.encode()[:room].decode("utf-8", "ignore")
        value = f"{self._tag} {name}".replace("'", "''")
        return f"SET {'LOCAL' if naming.is_local else 'SESSION'} application_name = '{value}'"

    def shown(self, value: str) -> str | None:
        """What the client gets to read of the backend's report; None if the tag is gone."""
        if value == self._tag:
            return self._name
        mark = f"{self._tag} "
        return value[len(mark):] if value.startswith(mark) else None
