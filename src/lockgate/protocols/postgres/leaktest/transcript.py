"""What came back for one shot, message by message, and its rows as cells.

Apart from `client` because it is pure. Rows of COPY count like rows of a query: text and CSV are split at
their separators, binary at its field lengths (PostgreSQL manual, COPY, "Binary Format").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m

HELD: Final = "waits for a person's approval"
"""In the notice of a gateway that holds a statement for review (`operations.held_notice`)."""

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_SEPARATORS: Final = re.compile(rb"[\t,;|]")

Row = tuple[bytes | None, ...]


class Transcript:
    """Messages in their order. `code` and `reason` are those of the first error."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.rows: list[Row] = []
        self.code = ""
        self.reason = ""
        self.size = 0
        self.is_held = False
        self._copied: list[bytes] = []

    def add(self, kind: int, body: bytes) -> None:
        """One message more."""
        self.messages.append((kind, body))
        self.size += len(body) + 5
        if kind == m.DATA_ROW:
            self.rows.append(codec.read_row(body))
        elif kind == m.COPY_DATA:
            self._copied.append(body)
        elif kind == m.COPY_DONE:
            self._end_copy()
        elif kind == m.ERROR_RESPONSE and not self.code:
            fields = _fields(kind, body)
            self.code = fields.get("C", "XXXXX")
            self.reason = fields.get("M", "")
        elif kind == m.NOTICE_RESPONSE:
            self.is_held = HELD in _fields(kind, body).get("M", "")

    def finished_rows(self) -> list[Row]:
        """All rows, with those of a COPY that was broken off."""
        self._end_copy()
        return self.rows

    def _end_copy(self) -> None:
        data = b"".join(self._copied)
        self._copied.clear()
        if data.startswith(_SIGNATURE):
            self.rows.extend(_binary_rows(data))
        elif data:
            self.rows.extend(tuple(_SEPARATORS.split(line)) for line in data.splitlines())


def _fields(kind: int, body: bytes) -> dict[str, str]:
    whole = frame(kind, body)
    try:
        return codec.read_fields(whole, 0, len(whole))
    except RemoteProtocolError:
        return {}


def _binary_rows(data: bytes) -> Iterator[Row]:
    """Tuples of a binary COPY; what does not add up is one cell, so that it is looked at as well."""
    position = 19 + int.from_bytes(data[15:19], "big")
    while position + 2 <= len(data):
        count = int.from_bytes(data[position:position + 2], "big", signed=True)
        if count < 0:
            return
        position += 2
        cells: list[bytes | None] = []
        for _ in range(count):
            length = int.from_bytes(data[position:position + 4], "big", signed=True)
            position += 4
            cells.append(None if length < 0 else data[position:position + length])
            position += max(length, 0)
        yield tuple(cells)
    if position < len(data):
        yield (data[position:],)
