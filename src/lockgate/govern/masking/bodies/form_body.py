"""Forms: `application/x-www-form-urlencoded` (WHATWG URL, section 5), field by field.

Names and values are read with their escapes undone; a field that does not change stays byte for byte. A semicolon ends
a field as well, as some servers have it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_plus, unquote_to_bytes

from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.values import Values

_ENDS: Final = re.compile(rb"[&;]")


class FormBody:
    """The mask over a form, or over the query of a URL."""

    __slots__ = ("_held", "_limit", "_members", "masked")

    def __init__(self, values: Values) -> None:
        self.masked = values.masked
        self._members = Members(values)
        self._limit = values.terms.limit
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """What may go on: whole fields. ValueError for one that is too long."""
        last = max(data.rfind(b"&"), data.rfind(b";")) + 1
        if not last:
            self._hold(data)
            return b""
        fields = b"".join((*self._held, data[:last]))
        self._held.clear()
        self._hold(data[last:])
        return self._fields(fields)

    def finish(self) -> bytes:
        """The last field."""
        rest = b"".join(self._held)
        self._held.clear()
        return self._fields(rest)

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
        if sum(map(len, self._held)) > self._limit:
            raise ValueError("a field of the form is too long to be looked at")

    def _fields(self, data: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        for end in (*(found.start() for found in _ENDS.finditer(data)), len(data)):
            out += (self._field(data[at:end]), data[end:end + 1])
            at = end + 1
        return b"".join(out)

    def _field(self, field: bytes) -> bytes:
        if not field:
            return field
        name, mark, value = field.partition(b"=")
        called = _plain(name)
        if not mark:
            return _written(name, called, self._members.text(called, ""))
        new = self._members.text(_plain(value), called.decode("utf-8", "replace"))
        return _written(name, called, self._members.values.text(called)) + mark + _written(value, _plain(value), new)


def _written(raw: bytes, plain: bytes, new: bytes) -> bytes:
    """As it was written, unless something else stands for it."""
    return raw if new == plain else quote_plus(new).encode("ascii")


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
