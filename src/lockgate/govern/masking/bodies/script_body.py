"""Scripts that are a JSON document in a call (JSONP), or in an assignment.

Apart from text: many a server wraps what it answers in a function that the client names in the URL (`?callback=f`), and the
client, not the server, would choose whether members have masks. So a script is held, and read as a document where it is one.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.govern.masking.bodies.json_body import JsonBody
from lockgate.govern.masking.bodies.terms import BodyMask
from lockgate.govern.masking.bodies.values import Values

_BEFORE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[\s;]|/\*\*/)*+"
    rb"(?:typeof\s+[\w$.\[\]'\"]++\s*===?\s*['\"]function['\"]\s*&&\s*|(?:var|let|const)\s+)?"
    rb"[\w$.\[\]'\"]++\s*(?:\(|=)\s*(?=[\[{\"])")
_BEHIND: Final = b" \t\r\n;)"


class ScriptBody:
    """The mask over a script, for whose document `values` are (with counts of their own); `other` is the one for what is no
    document. ValueError for a call that is longer than is held."""

    __slots__ = ("_found", "_held", "_is_other", "_json", "_limit", "_other", "_size", "masked")

    def __init__(self, values: Values, other: BodyMask, root: int = 0) -> None:
        self.masked = other.masked
        self._found = values.masked         # in it as a document; counts once it is known to be one
        self._json = JsonBody(values, root=root)
        self._limit = values.terms.limit
        self._other = other
        self._held: list[bytes] = []
        self._size = 0
        self._is_other = False

    def feed(self, data: bytes) -> bytes:
        """Nothing, unless it is no document for sure."""
        if self._is_other:
            return self._other.feed(data)
        self._held.append(data)
        self._size += len(data)
        if self._size <= self._limit:
            return b""
        held = b"".join(self._held)
        if _BEFORE.match(held) is not None:
            raise ValueError("a script that is a document has to be looked into as a whole, and is too large for that")
        self._held.clear()
        self._is_other = True
        return self._other.feed(held)

    def finish(self) -> bytes:
        """The script, or the rest."""
        if self._is_other:
            return self._other.finish()
        held = b"".join(self._held)
        before, end = _BEFORE.match(held), len(held.rstrip(_BEHIND))
        if before is not None and before.end() < end:
            try:
                document = self._json.feed(held[before.end():end]) + self._json.finish()
            except ValueError:
                pass                        # it is a script of another kind
            else:
                for name, count in self._found.items():
                    self.masked[name] = self.masked.get(name, 0) + count
                return held[:before.end()] + document + held[end:]
        return self._other.feed(held) + self._other.finish()
