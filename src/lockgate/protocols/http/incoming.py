"""Bytes that have arrived and are not read yet.

Apart from the readers because both need it, and because here is decided what is copied: content that is
read as it arrives is handed on as the very object that was fed; only what waits for more (a head or a
chunk's size in two pieces) is joined, each byte once, in a buffer that grows by doubling.
"""

from __future__ import annotations

import re

from lockgate.protocols.http.grammar import verify_lines


class Incoming:
    """A buffer that is fed behind and read in front."""

    __slots__ = ("_at", "_data", "_seen")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._at = 0
        self._seen = 0                      # what lies between `_at` and here holds no end of a head

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, more: bytes) -> None:
        """Add what has arrived."""
        if self._at == len(self._data):
            self._data, self._at, self._seen = more, 0, 0
            return
        if isinstance(self._data, bytes):
            with memoryview(self._data) as view:
                self._data = bytearray(view[self._at:])
        else:
            del self._data[:self._at]       # moves nothing: a bytearray knows where it begins
        self._data += more
        self._seen -= self._at
        self._at = 0

    def take(self, most: int) -> bytes:
        """The next bytes, at most so many."""
        start, end = self._at, min(self._at + most, len(self._data))
        self._at = self._seen = end
        if isinstance(self._data, bytes):
            return self._data if end - start == len(self._data) else self._data[start:end]
        with memoryview(self._data) as view:
            return bytes(view[start:end])

    def begins(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """What the pattern matches in front, from where reading stands. Nothing is taken."""
        return pattern.match(self._data, self._at)

    def is_all(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether the pattern matches everything that is there."""
        return pattern.fullmatch(self._data, self._at) is not None

    def skip(self, count: int) -> None:
        """Take so many bytes that a match has shown to be there."""
        self._at += count
        self._seen = self._at

    def first_line(self) -> int:
        """The length of the line in front, or of what has come of it."""
        end = self._data.find(b"\r\n", self._at)
        return (len(self._data) - self._data.endswith(b"\r") if end < 0 else end) - self._at

    def head(self) -> bytes | None:
        """Take all lines up to an empty one, which goes too but is not among them; None while that is missing.

        Raises MessageError as soon as there is a byte that no line may hold: a peer that ends its lines
        with a bare LF would wait for us as we for it.
        """
        end = self._data.find(b"\r\n\r\n", max(self._at, self._seen - 3))
        if end >= 0:
            found = bytes(self._data[self._at:end + 2])
            self._at = self._seen = end + 4
            return found
        verify_lines(bytes(self._data[self._seen:]))
        self._seen = len(self._data) - self._data.endswith(b"\r")
        return None
