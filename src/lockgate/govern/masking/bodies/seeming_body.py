"""Bodies that are called text, a form, a table or nothing that is known, and may be JSON all the same.

Apart from the shapes, which go by what a body's sender says: many a server calls its JSON `text/plain`, and members that a
mask names would go on as words. So the first bytes decide. What begins with an object, or arrays around one, is JSON where
masks name members: if it turns out to be none, it is refused. What begins with another array, or a string that
may be a document, is taken for JSON as long as it holds, up to the limit, and otherwise for what it is called. In any split it is read the same way.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.govern.masking.bodies.json_body import JsonBody
from lockgate.govern.masking.bodies.terms import BodyMask
from lockgate.govern.masking.bodies.values import Values

_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+(?:(\{)|\[[ \t\r\n\[]*+([^ \t\r\n\[])|\"[ \t\r\n]*+[\[{])")
_UNDECIDED: Final = re.compile(rb"(?:\xef(?:\xbb(?:\xbf)?)?)?[ \t\r\n]*+(?:\[[ \t\r\n\[]*+|\"[ \t\r\n]*+)?")
_OPENING: Final = b"{"


class SeemingBody:
    """The mask over a body that may be JSON, for which `values` are, and is `other` if it is none. `must`: what begins with
    an object has to be JSON."""

    __slots__ = ("_body", "_found", "_held", "_json", "_limit", "_must", "_other", "_tried", "masked")

    def __init__(self, values: Values, other: BodyMask, root: int = 0, *, must: bool = True) -> None:
        self.masked = other.masked
        self._found = values.masked                 # in it as JSON; counts once it is known to be
        self._limit = values.terms.limit
        self._other = other
        self._must = must and bool(values.terms.masks)
        self._json = JsonBody(values, many=True, root=root)
        self._body: BodyMask | None = None          # once it is known
        self._held = b""                            # what came before that
        self._tried: list[bytes] | None = None      # and what it comes to as JSON, if that is being tried

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError for what is not what it begins like, or is called."""
        if self._body is not None:
            return self._counted(self._body.feed(data))
        if self._tried is not None:
            return self._try(data)
        self._held += data
        start = _START.match(self._held)
        if start is None:
            if _UNDECIDED.fullmatch(self._held) is not None and len(self._held) <= self._limit:
                return b""
            return self._is(self._other)
        if self._must and _OPENING in start.groups():
            return self._is(self._json)
        held, self._held, self._tried = self._held, b"", []
        return self._try(held)

    def finish(self) -> bytes:
        """The rest."""
        if self._body is None and self._tried is not None:
            try:
                self._tried.append(self._json.finish())
            except ValueError:
                return self._is(self._other) + self._other.finish()
            return self._counted(b"".join(self._tried))
        begun = b"" if self._body is not None else self._is(self._other)
        assert self._body is not None
        return self._counted(begun + self._body.finish())

    def _is(self, body: BodyMask) -> bytes:
        """The body is this; what of it may go on."""
        held, self._held, self._tried, self._body = self._held, b"", None, body
        return self._counted(body.feed(held))

    def _counted(self, out: bytes) -> bytes:
        if self._found and self._body is not self._other:
            for name, count in self._found.items():
                self.masked[name] = self.masked.get(name, 0) + count
            self._found.clear()
        return out

    def _try(self, data: bytes) -> bytes:
        """It may be JSON: nothing goes on until it is whole, or longer than is held."""
        assert self._tried is not None
        room = self._limit - len(self._held)
        self._held += data
        try:
            self._tried.append(self._json.feed(data[:room]))
        except ValueError:
            return self._is(self._other)
        if len(data) <= room:
            return b""
        done = b"".join(self._tried)
        self._held, self._tried, self._body = b"", None, self._json
        return self._counted(done + self._json.feed(data[room:]))


class Passing:
    """What nothing can look into, and may pass. `masked` is where others count."""

    __slots__ = ("masked",)

    def __init__(self, masked: dict[str, int]) -> None:
        self.masked = masked

    def feed(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""
