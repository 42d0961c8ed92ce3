"""How far the key of a deterministic mask reaches in one session: its task, or its connection.

A *task* is what the client says it works on, for its identity and connection; a session that says nothing is a task of its
own. A claim can only bring together what one identity is shown anyway.
"""

from __future__ import annotations

import hashlib

from lockgate.model import Identity, KeyScope


class Scopes:
    """The scopes of one session."""

    __slots__ = ("_connection", "_task")

    def __init__(self, connection: str, identity: Identity, session: str, task: str | None) -> None:
        self._connection = _scope("connection", connection)
        self._task = _scope(
            "session", session) if not task else _scope("task", connection, identity.issuer, identity.subject, task)

    def of(self, reach: KeyScope) -> bytes:
        """The scope of a key."""
        return self._connection if reach is KeyScope.CONNECTION else self._task


def _scope(*parts: str) -> bytes:
    """Parts as one value: no two lists of parts give the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
