"""The keyed masks of one session: which key each of its results takes.

Apart from `results`, which says what becomes of a message: here is how far a key reaches. A *task* is what the client
says it works on (`lockgate.task` at start-up), for its identity and connection; a session that says nothing is a task
of its own. A claim can only bring together what one identity is shown anyway.
"""

from __future__ import annotations

import hashlib

from lockgate.analysis.sql import ResultMask
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.model import Identity, KeyScope


class SessionMasks:
    """Keys and scopes of one session."""

    __slots__ = ("_connection", "_task", "keys")

    def __init__(self, keys: MaskKeys, connection: str, identity: Identity, session: str, task: str | None) -> None:
        self.keys = keys
        self._connection = _scope("connection", connection)
        self._task = _scope(
            "session", session) if not task else _scope("task", connection, identity.issuer, identity.subject, task)

    def scope(self, reach: KeyScope) -> bytes:
        """The scope of a key."""
        return self._connection if reach is KeyScope.CONNECTION else self._task

    def terms(self, result: ResultMask) -> MaskTerms:
        """What the mask of one result column depends on."""
        cover = result.cover
        return MaskTerms(cover.method, self.scope(cover.scope), ", ".join(sorted(cover.labels)), cover.paths)


def _scope(*parts: str) -> bytes:
    """Parts as one value: no two lists of parts give the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
