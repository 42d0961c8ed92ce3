"""Rows of a COPY stream that comes in pieces: what is unfinished is kept until the row's end comes.

Stands apart from `copying`, which knows what a row means. Every byte is looked at once, however small the pieces
are: whoever sends one row byte by byte must not be paid with time for all of it at each. Formats: PostgreSQL
manual, "COPY", File Formats.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.copy_text import split_lines, split_tuples

_NULL = 0xFFFFFFFF
_MOST_FIELDS = 0x7FFF
_LONGEST = 0x7FFFFFFF


class RowPieces:
    """What has come of a stream and is no whole row yet: at most `limit` bytes."""

    __slots__ = ("_ends", "_kind", "_limit", "_pieces", "_quote", "size")

    def __init__(self, kind: str, quote: bytes, limit: int) -> None:
        """`kind` is copy-text, copy-csv or copy-binary; `quote` one byte, or none where newlines are never content."""
        self._kind = kind
        self._quote = quote
        self._limit = limit
        self._pieces: list[bytes] = []
        self.size = 0
        """Bytes that are kept."""
        self._ends = self._watch()

    def feed(self, data: bytes) -> list[bytes]:
        """The rows that end in `data`, with what came of them before. Raises RemoteProtocolError above the limit, and
        for a tuple that cannot be.
        """
        self._pieces.append(data)
        self.size += len(data)
        rows: list[bytes] = []
        if self._ends(data):
            rows, rest = self.split(self.take())
            self._ends = self._watch()
            if rest:
                self._pieces.append(rest)
                self.size = len(rest)
                self._ends(rest)
        if self.size > self._limit:
            raise RemoteProtocolError("a COPY row is larger than the limit")
        return rows

    def take(self) -> bytes:
        """What is kept; nothing is afterwards."""
        data, self._pieces, self.size = b"".join(self._pieces), [], 0
        return data

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Whole rows of `data`, which begins where a row does, and the unfinished rest."""
        if self._kind == "copy-binary":
            spans, rest = split_tuples(data, 0, len(data))
            return [data[start:end] for start, end in spans], data[rest:]
        lines = split_lines(data, self._quote)
        return _continued(*lines) if self._kind == "copy-text" and b"\\\n" in data else lines

    def _watch(self) -> Callable[[bytes], bool]:
        """A function of each piece behind a row's end that says whether a row ends in it."""
        if self._kind == "copy-binary":
            return _TupleWatch().feed
        return partial(_LineWatch(self._quote).feed, self.split)


class _LineWatch:
    """Whether a newline that ends a row is in a piece: what stands before decides, a quote or a backslash."""

    __slots__ = ("_before", "_quote")

    def __init__(self, quote: bytes) -> None:
        self._quote = quote
        self._before = b""

    def feed(self, split: Callable[[bytes], tuple[list[bytes], bytes]], piece: bytes) -> bool:
        """Whether a row ends in the piece; asked no more once one did."""
        data = self._before + piece
        if b"\n" in piece and split(data)[0]:
            return True
        if self._quote:
            self._before = self._quote if data.count(self._quote) % 2 else b""
        else:
            self._before = b"\\" if (len(data) - len(data.rstrip(b"\\"))) % 2 else b""
        return False


class _TupleWatch:
    """Whether the last byte of a tuple is in a piece, from the lengths that have passed."""

    __slots__ = ("_fields", "_head", "_skip")

    def __init__(self) -> None:
        self._fields = -1           # to come; the count has not come yet
        self._skip = 0              # bytes of a field's value to come
        self._head = b""            # of a count or a length

    def feed(self, piece: bytes) -> bool:
        """Whether a tuple ends in the piece; asked no more once one did."""
        at, end = 0, len(piece)
        while True:
            passed = min(self._skip, end - at)
            at += passed
            self._skip -= passed
            if self._fields == 0 and not self._skip:
                return True
            if at == end:
                return False
            due = (2 if self._fields < 0 else 4) - len(self._head)
            self._head += piece[at:at + due]
            at += due
            if at > end:
                return False
            number, self._head = int.from_bytes(self._head, "big"), b""
            if self._fields >= 0:
                self._fields -= 1
                self._skip = 0 if number == _NULL else number
                if self._skip > _LONGEST:
                    return True     # what splitting it refuses
            elif number > _MOST_FIELDS:
                return True         # the trailer, or the same
            else:
                self._fields = number


def _continued(lines: list[bytes], rest: bytes) -> tuple[list[bytes], bytes]:
    """Lines of the text format, those put together whose newline is escaped and so is data."""
    found: list[bytes] = []
    begun: list[bytes] = []
    for line in lines:
        begun.append(line)
        body = line[:-1]
        if (len(body) - len(body.rstrip(b"\\"))) % 2 == 0:
            found.append(b"".join(begun))
            begun = []
    return found, b"".join([*begun, rest])
