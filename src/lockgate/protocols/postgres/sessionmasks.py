"""The keyed masks of one session: which key each of its results takes.

Apart from `results`, which says what becomes of a message, and from `govern.masking.scopes`, which says how far a key
reaches: here columns meet keys. A client names its task by `lockgate.task` at start-up.
"""

from __future__ import annotations

from typing import Final

from lockgate.analysis.sql import Cover, ResultMask
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.scopes import Scopes
from lockgate.govern.masking.tokens import Tokens
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.model import Identity, KeyScope

_MOST: Final = 256


class SessionMasks:
    """Keys and scopes of one session."""

    __slots__ = ("_known", "keys", "scope")

    def __init__(self, keys: MaskKeys, connection: str, identity: Identity, session: str, task: str | None) -> None:
        self.keys = keys
        self._known: dict[tuple[bytes, str], Tokens] = {}
        self.scope = Scopes(connection, identity, session, task).of

    def tokens(self, cover: Cover | None = None) -> Tokens:
        """What recognises every token of this gateway, and turns back those of one column's cover."""
        key = (self.scope(KeyScope.CONNECTION), "") if cover is None else (self.scope(cover.scope), label_of(cover))
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

