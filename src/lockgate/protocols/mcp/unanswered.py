"""Requests of sessions that their servers have not answered yet.

Servers find the stream for an answer by the request's id: of two requests with one id the answer to the first goes to the
stream of the second, and would be behind the masks of that one. So an id is free again only when it was answered (MCP,
"Requests": an id must not have been used before in a session).
"""

from __future__ import annotations

from typing import Final

from lockgate.protocols.mcp.jsonrpc import Id

_MOST: Final = 262_144
"""Ids that are remembered in all; beyond them the oldest is forgotten."""

Session = tuple[str, bytes]
"""A connection's name, and the server's id of the session."""


class Unanswered:
    """Mutable; one for all sessions of a gateway."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[str, bytes, str], None] = {}

    def ask(self, session: Session, id_: Id) -> bool:
        """A request with this id goes to the server; False where one is there already. `5` and `"5"` are one id to some."""
        key = (*session, str(id_))
        if key in self._open:
            return False
        if len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        self._open[key] = None
        return True

    def settle(self, session: Session, id_: Id) -> None:
        """It was answered, or has not gone on."""
        self._open.pop((*session, str(id_)), None)
