"""Tables as text: CSV (RFC 4180) and tab-separated values, whose first record names the columns.

Strictly: a quote stands around a whole field or nowhere, and a record has no more fields than there are names. What is
read in another way by somebody else would put a value under another name, so it is refused. The delimiter is what the
first record has most of; lines may end in any way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.text_body import require_text
from lockgate.govern.masking.bodies.values import Values

_BOM: Final = b"\xef\xbb\xbf"
_DELIMITERS: Final = (b",", b";", b"\t", b"|")
_ENDS: Final = rb"\r\n|\n|\r"
_MOST_COLUMNS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    hides: int
    inner: int


class CsvBody:
    """The mask over a table."""

    __slots__ = ("_columns", "_delimiter", "_field", "_held", "_is_quoted", "_limit", "_members", "_values", "masked")

    def __init__(self, values: Values, *, is_quoted: bool = True) -> None:
        """`is_quoted`: fields may stand in quotes; in tab-separated values they do not."""
        self.masked = values.masked
        self._values = values
        self._members = Members(values)
        self._limit = values.terms.limit
        self._is_quoted = is_quoted
        self._delimiter = b"" if is_quoted else b"\t"
        self._field: re.Pattern[bytes] | None = None if is_quoted else _fields(b"\t", is_quoted=False)
        self._columns: list[_Column] | None = None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on: whole records. ValueError for what is no such table, or a record that is too long."""
        require_text(data)
        had = self._held
        self._held += data
        if not had and self._columns is None and len(data) < len(_BOM):
            return b""
        if b"\n" not in data and b"\r" not in data and b"\r" not in had[-1:]:
            self._require_limit()
            return b""
        return self._records(is_last=False)

    def finish(self) -> bytes:
        """The last record, with or without an end."""
        return self._records(is_last=True)

    def _require_limit(self) -> None:
        if len(self._held) > self._limit:
            raise ValueError("a record of the table is too long to be looked at")

    def _records(self, *, is_last: bool) -> bytes:
        data, out, at = self._held, [], 0
        if self._columns is None and data.startswith(_BOM):
            out.append(_BOM)
            at = len(_BOM)
        while at < len(data):
            found = self._record(data, at, is_last=is_last)
            if found is None:
                break
            fields, end = found
            out.append(self._shown(data[at:end], fields))
            at = end
        self._held = data[at:]
        self._require_limit()
        return b"".join(out)

    def _record(self, data: bytes, at: int, *, is_last: bool) -> tuple[list[tuple[bytes, bytes]], int] | None:
        """The fields of one record, each with what ends it, and where the record ends; None where it is not whole."""
        field = self._field
        if field is None:
            field = self._field = self._sniffed(data, at)
        fields: list[tuple[bytes, bytes]] = []
        while True:
            found = field.match(data, at)
            if found is None or (found.end() == len(data) and not is_last and found[2] in (b"", b"\r")):
                if found is None and (is_last or not self._may_go_on(data, at)):
                    raise ValueError("not CSV: a quote inside a field, or one that nothing closes")
                return None
            fields.append((found[1], found[2]))
            at = found.end()
            if found[2] != self._delimiter:
                return fields, at

    def _may_go_on(self, data: bytes, at: int) -> bool:
        """Whether what cannot be read from `at` on may be a field in quotes that is not whole."""
        return self._is_quoted and data[at:at + 1] == b'"' and _OPEN.fullmatch(data, at) is not None

    def _sniffed(self, data: bytes, at: int) -> re.Pattern[bytes]:
        head = re.sub(rb'"[^"]*"', b"", re.split(_ENDS, data[at:], maxsplit=1)[0])
        self._delimiter = max(_DELIMITERS, key=head.count)
        return _fields(self._delimiter, is_quoted=True)

    def _shown(self, raw: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
        """A record with its fields masked."""
        columns = self._columns
        if columns is None:
            self._columns = self._named(fields)
            return raw if not self._values.looks else b"".join(
                self._written(field, self._values.text(_plain(field))) + end for field, end in fields)
        if len(fields) > len(columns):
            raise ValueError("a record of the table has more fields than there are names")
        looks = self._values.every or (self._values.looks and bool(self._values.hits(raw))) or b"{" in raw or b"[" in raw
        out: list[bytes] = []
        for (field, end), column in zip(fields, columns, strict=False):
            if column.hides >= 0 and (field or len(fields) > 1):
                field = self._written(field, self._values.hidden_text(column.hides, _plain(field)))
            elif looks:
                field = self._written(field, self._members.looked_at(_plain(field), column.name, column.inner))
            out += (field, end)
        return b"".join(out)

    def _named(self, fields: list[tuple[bytes, bytes]]) -> list[_Column]:
        if len(fields) > _MOST_COLUMNS:
            raise ValueError("the table has more columns than are looked at")
        names = [_plain(field).decode("utf-8", "replace").strip() for field, _ in fields]
        if names[0].lower() == "sep=":
            raise ValueError("the table's first record names a delimiter instead of columns")
        return [_Column(name, *self._members.hides(name)) for name in names]

    def _written(self, field: bytes, new: bytes) -> bytes:
        if new == _plain(field):
            return field
        if not self._is_quoted:
            return re.sub(rb"[\t\r\n]", b" ", new)
        if field[:1] == b'"' or any(mark in new for mark in (b'"', b"\r", b"\n", self._delimiter)):
            return b'"' + new.replace(b'"', b'""') + b'"'
        return new


_OPEN: Final = re.compile(rb'"(?:[^"]++|"")*+"?')


def _fields(delimiter: bytes, *, is_quoted: bool) -> re.Pattern[bytes]:
    """One field and what ends it: the delimiter, a line's end, or nothing at the end of the data."""
    mark = re.escape(delimiter)
    plain = rb"[^" + mark + (b'"' if is_quoted else b"") + rb"\r\n]*+"
    whole = rb'"(?:[^"]++|"")*+"|' + plain if is_quoted else plain
    return re.compile(rb"(" + whole + rb")(" + mark + rb"|" + _ENDS + rb"|\Z)")


def _plain(field: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if field[:1] == b'"' else field
