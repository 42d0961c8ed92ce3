"""The keyed masks of one session: which key each of its results takes.

Apart from `results`, which says what becomes of a message: here is how far a key reaches. A *task* is what the client
says it works on (`lockgate.task` at start-up), for its identity and connection; a session that says nothing is a task
of its own. A claim can only bring together what one identity is shown anyway.
"""

from __future__ import annotations

import hashlib
from typing import Final

from lockgate.analysis.sql import Cover, ResultMask
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import Tokens
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.model import Identity, KeyScope

_MOST: Final = 256


class SessionMasks:
    """Keys and scopes of one session."""

    __slots__ = ("_connection", "_known", "_task", "keys")

    def __init__(self, keys: MaskKeys, connection: str, identity: Identity, session: str, task: str | None) -> None:
        self.keys = keys
        self._known: dict[tuple[bytes, str], Tokens] = {}
        self._connection = _scope("connection", connection)
        self._task = _scope(
            "session", session) if not task else _scope("task", connection, identity.issuer, identity.subject, task)

    def scope(self, reach: KeyScope) -> bytes:
        """The scope of a key."""
        return self._connection if reach is KeyScope.CONNECTION else self._task

    def tokens(self, cover: Cover | None = None) -> Tokens:
        """What recognises every token of this gateway, and turns back those of one column's cover."""
        key = (self._connection, "") if cover is None else (self.scope(cover.scope), label_of(cover))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[key] = Tokens(self.keys, key[0], () if cover is None else (key[1],))
        return found

    def terms(self, result: ResultMask) -> MaskTerms:
        """What the mask of one result column depends on."""
        cover = result.cover
        return MaskTerms(cover.method, self.scope(cover.scope), label_of(cover), cover.paths)


def label_of(cover: Cover) -> str:
    """The one name under which equal values of columns get equal masks."""
    return ", ".join(sorted(cover.labels))


def _scope(*parts: str) -> bytes:
    """Parts as one value: no two lists of parts give the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
