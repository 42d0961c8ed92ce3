"""COPY streams under content masks: rows are put together, searched field by field, written anew.

Stands apart from `detection` because a COPY row is no frame: it may cross frame borders, and its
values are escaped (text), quoted (CSV) or counted (binary). Rules: no byte of a row leaves before
the row is whole and searched; what is held back is bounded by `limit`, above it RemoteProtocolError
is raised. Formats: PostgreSQL manual, "COPY", File Formats.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.copy_rows import RowPieces
from lockgate.govern.masking.screen import Columns
from lockgate.govern.masking.search import Find, Search, add_new
from lockgate.govern.masking.typed_values import HEX_BYTES
from lockgate.govern.masking.voting import Ballot
from lockgate.kernel.copy_text import (
    count_lines,
    count_tuples,
    lines_are_whole,
    long_frames,
    split_csv,
    split_text,
    tuples_are_whole,
)
from lockgate.kernel.frames import frame, split_frames
from lockgate.kernel.rows import fields, touched_frames

Hits = list[tuple[int, int]]

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER = 19
_DONE = 0x63
_PLAIN_DELIMITERS = b"\t|,;"          # others could stand inside a value, or pass for its first letter
_ESCAPED = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_UNESCAPE = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_MUST_ESCAPE = re.compile(rb"[\\\b\f\n\r\t\v]")
_ESCAPE = {value: b"\\" + key for key, value in _UNESCAPE.items()} | {b"\\": b"\\\\"}


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """The options of a COPY that decide how its values are written. All but `null` are one byte."""

    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    quote: bytes = b'"'
    escape: bytes = b'"'

    @staticmethod
    def of(kind: str) -> CopyFormat:
        """The defaults of the format."""
        return CopyFormat(delimiter=b",", null=b"") if kind == "copy-csv" else CopyFormat()


class CopyMask:
    """The state of one COPY stream. `apply` gives back whole rows only and carries the rest over."""

    __slots__ = (
        "_ballot", "_bulk", "_columns", "_format", "_header", "_kind", "_must_read", "_pieces", "_quote", "_row", "_rows",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        options: CopyFormat,
        columns: Callable[[], Columns],
        bulk: int,
        limit: int,
        ballot: Ballot | None,
        must_read: bool,
    ) -> None:
        for option in (options.delimiter, options.quote, options.escape):
            if len(option) != 1:
                raise RemoteProtocolError("a COPY option is not one byte")
        self._kind = kind
        self._format = options
        self._columns = columns
        self._bulk = bulk
        self._ballot = ballot
        self._rows = 0
        self._header: bytes | None = b"" if kind == "copy-binary" else None     # what has come of it, while it is due
        self._quote = options.quote if kind == "copy-csv" else b""
        self._pieces = RowPieces(kind, self._quote, limit)
        self._row: Callable[[bytes], bytes] = {
            "copy-text": self._text_row, "copy-csv": self._csv_row, "copy-binary": self._binary_row,
        }[kind]  # fmt: skip
        # An option that puts bytes into or before a value would hide it from a raw search.
        self._must_read = must_read or (
            kind != "copy-binary" and options.delimiter not in _PLAIN_DELIMITERS
        ) or (kind == "copy-csv" and (options.quote != b'"' or options.escape != b'"'))

    @property
    def carried(self) -> int:
        """Bytes of a row that is not whole yet."""
        return self._pieces.size

    def apply(self, chunk: bytes, hits: Hits) -> bytes:
        """The chunk with every find masked. Rows that are not whole yet stay here."""
        if (self.carried or self._must_read or self._header is not None or self._suspects()
                or not self._is_whole(chunk)):
            return self._through_stream(chunk)
        long = long_frames(chunk, self._bulk, self._kind == "copy-binary")
        if long:
            hits = sorted([*hits, *long])
        out: list[bytes] = []
        done = counted = 0
        for first, last in touched_frames(chunk, self._bulk, hits):
            self._count(chunk, counted, first)
            counted = last
            body = chunk[first + 5 : last]
            rows, rest = self._pieces.split(body)
            if rest:
                raise RemoteProtocolError("a COPY row ends inside a message that was whole")
            new = self._masked(rows)
            if new != body:
                out += (chunk[done:first], frame(self._bulk, new))
                done = last
            if self._suspects():
                return b"".join([*out, chunk[done:last], self._through_stream(chunk[last:])])
        self._count(chunk, counted, len(chunk))
        return b"".join([*out, chunk[done:]]) if out else chunk

    def _suspects(self) -> bool:
        """Whether a vote was won: then every row has to be read."""
        return self._ballot is not None and bool(self._ballot.elected)

    def _count(self, chunk: bytes, start: int, end: int) -> None:
        """Count the rows that nothing was found in."""
        if self._ballot is None or start == end:
            return
        if self._kind == "copy-binary":
            self._rows += count_tuples(chunk, self._bulk, start, end)
        else:
            self._rows += count_lines(chunk, self._bulk, self._quote, start, end)

    def _masked(self, rows: list[bytes]) -> bytes:
        """Whole rows, masked and counted one by one."""
        out: list[bytes] = []
        for row in rows:
            out.append(self._row(row))
            self._rows += 1
        return b"".join(out)

    def _is_whole(self, chunk: bytes) -> bool:
        if self._kind == "copy-binary":
            return tuples_are_whole(chunk, self._bulk)
        return lines_are_whole(chunk, self._bulk, self._quote)

    def _through_stream(self, chunk: bytes) -> bytes:
        out: list[bytes] = []
        found, rest = split_frames(chunk, 0, 0x7FFFFFFF)
        if rest != len(chunk):
            raise RemoteProtocolError("a chunk of results ends inside a message")
        changed = False
        for kind, first, last in found:
            if kind == self._bulk:
                carried = self.carried
                body = chunk[first + 5 : last]
                new = self._fed(body)
                if new == body and not carried and not self.carried:
                    out.append(chunk[first:last])
                    continue
                changed = True
                if new:
                    out.append(frame(self._bulk, new))
                continue
            if kind == _DONE and self.carried:
                changed = True
                out.append(frame(self._bulk, self._last()))
            out.append(chunk[first:last])
        return b"".join(out) if changed else chunk

    def _fed(self, body: bytes) -> bytes:
        """Whole rows of what was carried over and `body`, masked."""
        prefix = b""
        if self._header is not None:
            data = self._header + body
            if len(data) < _HEADER:
                self._header = data
                return b""
            extension = int.from_bytes(data[15:19], "big")
            if not data.startswith(_SIGNATURE) or extension != 0 or data[11:15] != bytes(4):
                raise RemoteProtocolError("a binary COPY has an unknown header")
            prefix, body, self._header = data[:_HEADER], data[_HEADER:], None
        return prefix + self._masked(self._pieces.feed(body))

    def _last(self) -> bytes:
        """The row that the stream ended in; only lines may do without their end."""
        if self._kind == "copy-binary":
            raise RemoteProtocolError("a binary COPY ends inside a tuple")
        return self._masked([self._pieces.take()])

    def _concealed(self, values: list[bytes | None]) -> list[bytes | None]:
        """One row's values, concealed; an unchanged one is the same object."""
        columns = self._columns()
        concealed = columns.concealed
        if concealed and len(values) != len(concealed):
            raise RemoteProtocolError("a COPY row has another width than its description")
        out = list(values)
        for index, value in enumerate(values):
            if value is None:
                continue
            if concealed:
                conceal, search = concealed[index], columns.searches[index]
            else:
                is_hex = value[:2] == b"\\x" and HEX_BYTES.fullmatch(value) is not None
                conceal, search = columns.default, None if is_hex else columns.default_search
            if search is None:
                out[index] = conceal(value)
                continue
            finds = search.finds(value)
            if self._ballot is not None and (finds or index in self._ballot.elected):
                self._vote(self._ballot, search, index, value, finds)
            if finds:
                out[index] = search.hidden(value, finds)
        return out

    def _vote(self, ballot: Ballot, search: Search, column: int, value: bytes, finds: list[Find]) -> None:
        """Count what was found and add what the weaker forms of elected detectors find."""
        for detector in {find[2] for find in finds}:
            ballot.cast(self._rows, column, detector)
        for detector in ballot.suspects(self._rows, column):
            add_new(finds, search.suspicions_in([value], detector)[0])

    def _text_row(self, row: bytes) -> bytes:
        line = row.rstrip(b"\r\n")
        ending = row[len(line) :]
        if line == b"\\.":
            return row
        if b"\r" in line:                           # it ends a line as well, unless it is escaped
            lines = split_text(line, b"\r")
            if len(lines) > 1:
                return b"\r".join([self._text_row(one) for one in lines]) + ending
        null = self._format.null
        parts = split_text(line, self._format.delimiter)
        values = [None if raw == null else _ESCAPED.sub(_unescaped, raw) if b"\\" in raw else raw for raw in parts]
        for index, new in enumerate(self._concealed(values)):
            if new is not values[index]:
                parts[index] = null if new is None else self._escaped(new)
        return self._format.delimiter.join(parts) + ending

    def _escaped(self, value: bytes) -> bytes:
        value = _MUST_ESCAPE.sub(lambda found: _ESCAPE[found.group()], value)
        mark = self._format.delimiter
        return value if mark in b"\b\f\n\r\t\v" else value.replace(mark, b"\\" + mark)

    def _csv_row(self, row: bytes) -> bytes:
        line = row.rstrip(b"\r\n")
        ending = row[len(line) :]
        if line == b"\\.":
            return row
        null, quote, escape = self._format.null, self._format.quote, self._format.escape
        if b"\r" in line:                           # outside of quotes it ends a line as well
            lines = split_csv(line, b"\r", quote)
            if len(lines) > 1:
                return b"\r".join([self._csv_row(one) for one in lines]) + ending
        parts = split_csv(line, self._format.delimiter, quote)
        values = [None if raw == null else _unquoted(raw, quote, escape) if quote in raw else raw for raw in parts]
        for index, new in enumerate(self._concealed(values)):
            if new is not values[index]:
                parts[index] = null if new is None else quote + _doubled(new, quote, escape) + quote
        return self._format.delimiter.join(parts) + ending

    def _binary_row(self, row: bytes) -> bytes:
        if row == b"\xff\xff":
            return row
        spans = fields(row, 0, len(row))
        values = [None if start < 0 else row[start:end] for start, end in spans]
        new = self._concealed(values)
        if all(one is other for one, other in zip(new, values, strict=True)):
            return row
        parts = [b"\xff\xff\xff\xff" if item is None else struct.pack("!i", len(item)) + item for item in new]
        return row[:2] + b"".join(parts)


def _unescaped(found: re.Match[bytes]) -> bytes:
    """One escape of the text format; the backend writes few of them and reads all."""
    octal, hexadecimal, other = found.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))       # as the backend does with \400 and above
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    return _UNESCAPE.get(other, other)


def _unquoted(raw: bytes, quote: bytes, escape: bytes) -> bytes:
    """A field's value. Quotes may begin and end anywhere in it, as the server reads it; nothing between an end and a
    beginning is a quote of the value.
    """
    if escape == quote:
        parts = raw.split(quote)
        parts[2:-1:2] = [part or quote for part in parts[2:-1:2]]
        return b"".join(parts)
    if len(raw) < 2 or raw[:1] != quote or raw[-1:] != quote:
        raise RemoteProtocolError("a CSV field is quoted in part")
    inner = raw[1:-1]
    if escape != quote:
        inner = inner.replace(escape + escape, escape)
    return inner.replace(escape + quote, quote)


def _doubled(value: bytes, quote: bytes, escape: bytes) -> bytes:
    if escape != quote:
        value = value.replace(escape, escape + escape)
    return value.replace(quote, escape + quote)
