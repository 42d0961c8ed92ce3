"""What a recorded session holds: wire bytes of both directions → statements with their parameters, rows, errors.

Apart from `client` and `server`, which govern what passes: here it has passed, so nothing is refused, and what does not
add up is shown as it is. One decoder reads one stream, from the client's first byte after its log-in.
Source: PostgreSQL 18 manual, sections 54.2 "Message Flow" and 54.7 "Message Formats".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as struct_error
from typing import Final

from lockgate.audit.recording.events import CUT, INPUT, OUTPUT, Event
from lockgate.audit.recording.shown import Shown
from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import split_frames
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.values import read_value, read_values

_FRAME: Final = 1 << 30
_SHOWN: Final = 256                         # bytes of what cannot be read that are shown
_FIELDS: Final = {"C": "code", "M": "message", "D": "detail", "H": "hint", "P": "position", "W": "where"}
_DOES_NOT_ADD_UP: Final = (RemoteProtocolError, struct_error, IndexError, KeyError, ValueError)


@dataclass(slots=True)
class _Statement:
    text: str
    types: bytes = b"\0\0"
    described: tuple[int, ...] = ()
    columns: tuple[codec.Column, ...] | None = None


@dataclass(slots=True)
class _Portal:
    statement: _Statement
    name: str
    bind: codec.Bind
    columns: tuple[codec.Column, ...] | None = None

    @property
    def parameters(self) -> list[str | None]:
        """The values, as text."""
        statement, bind = self.statement, self.bind
        return list(read_values(bind.formats, bind.values, statement.types, statement.described))

    def result(self) -> tuple[codec.Column, ...] | None:
        """The columns of its rows, with the formats that it asked for; None where nobody has described them."""
        if self.columns is not None:
            return self.columns
        columns = self.statement.columns
        if columns is None:
            return None
        codes = codec.spread(self.bind.result_formats, len(columns))
        return tuple(column._replace(format=code) for column, code in zip(columns, codes, strict=False))


@dataclass(slots=True)
class _Owed:
    """A reply that is to come: of the client's message of this kind."""

    kind: int
    statement: _Statement | None = None
    portal: _Portal | None = None
    number: int | None = None
    columns: tuple[codec.Column, ...] | None = None
    has_told_columns: bool = False


class SqlDecoder:
    """`wire.spec.Decoder`. Mutable."""

    def __init__(self) -> None:
        self._rest = {INPUT: b"", OUTPUT: b""}
        self._statements: dict[bytes, _Statement] = {}
        self._portals: dict[bytes, _Portal] = {}
        self._owed: deque[_Owed] = deque()
        self._number = 0
        self._is_discarding = False
        self._broken: set[str] = set()

    def take(self, event: Event) -> list[Shown]:
        """What an event shows. Bytes of a message that is not whole wait for the next event."""
        if event.kind == CUT:
            return [Shown(event.at, "cut", dict(event.fields))]
        if event.kind not in self._rest or event.kind in self._broken:
            return []
        read = self._from_client if event.kind == INPUT else self._from_server
        data = self._rest[event.kind] + event.data
        shown: list[Shown] = []
        position = 0
        try:
            frames, end = split_frames(data, 0, _FRAME)
            for kind, start, stop in frames:
                position = start
                shown += (Shown(event.at, what, fields) for what, fields in read(kind, data, start, stop))
            position = end
        except _DOES_NOT_ADD_UP:
            shown.append(Shown(event.at, "unreadable", {"text": data[position:position + _SHOWN].hex()}))
            self._broken.add(event.kind)
            position = len(data)
        self._rest[event.kind] = data[position:]
        return shown

    # ------------------------------------------------------------ the client

    def _from_client(self, kind: int, data: bytes, start: int, end: int) -> Iterator[_Told]:
        if kind == m.QUERY:
            yield from self._asks(m.QUERY, _Statement(_text(data[start + 5:end - 1])))
        elif kind == m.PARSE:
            yield from self._parse(*codec.read_parse(data, start, end))
        elif kind == m.BIND:
            bind = codec.read_bind(data, start, end)
            statement = self._statements.get(bind.statement) or _Statement("")
            self._portals[bind.portal] = portal = _Portal(statement, _text(bind.statement), bind)
            self._owe(_Owed(kind, statement, portal))
        elif kind == m.DESCRIBE:
            what, name = codec.read_target(data, start, end)
            if what == ord("S"):
                self._owe(_Owed(kind, self._statements.get(name)))
            else:
                self._owe(_Owed(kind, portal=self._portals.get(name)))
        elif kind == m.EXECUTE:
            portal_of = self._portals.get(codec.read_execute(data, start, end)[0])
            yield from self._asks(kind, portal_of.statement if portal_of else _Statement(""), portal_of)
        elif kind == m.CLOSE:
            what, name = codec.read_target(data, start, end)
            (self._statements if what == ord("S") else self._portals).pop(name, None)
            self._owe(_Owed(kind))
        elif kind == m.SYNC:
            self._is_discarding = False
            self._owed.append(_Owed(kind))
        elif kind == m.COPY_DATA:
            yield "copy_in", {"text": _text(data[start + 5:end])}
        elif kind == m.COPY_FAIL:
            yield "copy_in", {"failed": _text(data[start + 5:end - 1])}

    def _parse(self, name: bytes, raw: bytes, types: bytes) -> Iterator[_Told]:
        self._statements[name] = statement = _Statement(_text(raw), types)
        self._owe(_Owed(m.PARSE, statement))
        if name:
            yield "prepare", {"name": _text(name), "text": statement.text}

    def _asks(self, kind: int, statement: _Statement, portal: _Portal | None = None) -> Iterator[_Told]:
        self._number += 1
        self._owe(_Owed(kind, statement, portal, self._number))
        yield "statement", self._statement(statement, portal, self._number)

    @staticmethod
    def _statement(statement: _Statement, portal: _Portal | None, number: int) -> dict[str, object]:
        fields: dict[str, object] = {
            "text": statement.text, "parameters": [] if portal is None else portal.parameters, "number": number}
        if portal is not None and portal.name:
            fields["name"] = portal.name
        return fields

    def _owe(self, owed: _Owed) -> None:
        if not self._is_discarding:
            self._owed.append(owed)

    # ------------------------------------------------------------ the server

    def _from_server(self, kind: int, data: bytes, start: int, end: int) -> Iterator[_Told]:
        head = self._owed[0] if self._owed else None
        if kind == m.DATA_ROW:
            yield from self._row(head, data[start + 5:end])
        elif kind in _ANSWERS:
            if head is not None and head.kind == _ANSWERS[kind]:
                self._owed.popleft()
        elif kind == m.ROW_DESCRIPTION:
            yield from self._described(head, codec.read_row_description(data, start, end))
        elif kind == m.PARAMETER_DESCRIPTION:
            if head is not None and head.statement is not None:
                head.statement.described = codec.read_oids(data[start + 5:end])
        elif kind in (m.COMMAND_COMPLETE, m.EMPTY_QUERY, m.PORTAL_SUSPENDED):
            yield from self._done(head, kind, data[start + 5:end - 1])
        elif kind == m.ERROR_RESPONSE:
            yield from self._error(head, codec.read_fields(data, start, end))
        elif kind == m.READY:
            while self._owed and self._owed.popleft().kind not in (m.SYNC, m.QUERY):
                pass
        elif kind == m.COPY_IN_RESPONSE:
            while len(self._owed) > 1 and self._owed[1].kind == m.SYNC:
                del self._owed[1]           # a backend that copies in ignores them
        else:
            yield from self._beside(kind, data, start, end)

    def _beside(self, kind: int, data: bytes, start: int, end: int) -> Iterator[_Told]:
        """What comes at any time, and data of COPY."""
        if kind == m.COPY_DATA:
            yield "copy_out", {"text": _text(data[start + 5:end]), "of": self._owed[0].number if self._owed else None}
        elif kind == m.NOTICE_RESPONSE:
            yield "notice", _problem(codec.read_fields(data, start, end))
        elif kind == m.NOTIFICATION:
            channel, position = codec.cstring(data, start + 9, end)
            yield "notification", {"channel": _text(channel), "payload": _text(codec.cstring(data, position, end)[0])}
        elif kind == m.PARAMETER_STATUS:
            name, value = codec.read_parameter(data, start, end)
            yield "setting", {"name": name, "value": value}

    def _described(self, head: _Owed | None, columns: tuple[codec.Column, ...]) -> Iterator[_Told]:
        if head is None:
            return
        if head.kind == m.QUERY:
            head.columns = columns
            yield "columns", {"names": [_text(column.name) for column in columns], "of": head.number}
            head.has_told_columns = True
        elif head.kind == m.DESCRIBE:
            self._owed.popleft()
            if head.statement is not None:
                head.statement.columns = columns
            elif head.portal is not None:
                head.portal.columns = columns

    def _columns(self, head: _Owed) -> Iterator[_Told]:
        """The columns of an Execute's rows, once."""
        if head.columns is None and head.portal is not None:
            head.columns = head.portal.result()
        if head.columns is not None and not head.has_told_columns:
            head.has_told_columns = True
            yield "columns", {"names": [_text(column.name) for column in head.columns], "of": head.number}

    def _row(self, head: _Owed | None, body: bytes) -> Iterator[_Told]:
        cells = codec.read_row(body)
        number = None
        codes: tuple[int, ...] = (0,) * len(cells)
        types = codes
        if head is not None:
            yield from self._columns(head)
            number = head.number
            if head.columns is not None and len(head.columns) == len(cells):
                codes = tuple(column.format for column in head.columns)
                types = tuple(column.type for column in head.columns)
            elif head.portal is not None:
                codes = codec.spread(head.portal.bind.result_formats, len(cells))
        yield "row", {"values": [
            None if cell is None else read_value(cell, oid) if code else _text(cell)
            for cell, code, oid in zip(cells, codes, types, strict=False)], "of": number}

    def _done(self, head: _Owed | None, kind: int, tag: bytes) -> Iterator[_Told]:
        number = None
        if head is not None:
            number = head.number
            if head.kind == m.EXECUTE:
                yield from self._columns(head)
                self._owed.popleft()
            head.columns, head.has_told_columns = None, False
        yield "done", {"tag": _text(tag) if kind == m.COMMAND_COMPLETE else _TAGS[kind], "of": number}

    def _error(self, head: _Owed | None, fields: dict[str, str]) -> Iterator[_Told]:
        """Everything up to the next Sync is discarded, in the extended protocol."""
        number = None if head is None else head.number
        if head is not None and head.kind in (m.PARSE, m.BIND, m.DESCRIBE):
            statement = head.statement or (head.portal.statement if head.portal is not None else None)
            if statement is not None:
                self._number = number = self._number + 1
                yield "statement", {**self._statement(statement, head.portal, number), "failed_before": "it ran"}
        if head is not None and head.kind not in (m.QUERY, m.SYNC):
            while self._owed and self._owed[0].kind != m.SYNC:
                self._owed.popleft()
            self._is_discarding = not self._owed
        yield "error", {**_problem(fields), "of": number}


_Told = tuple[str, dict[str, object]]
_ANSWERS: Final = {
    m.PARSE_COMPLETE: m.PARSE, m.BIND_COMPLETE: m.BIND, m.CLOSE_COMPLETE: m.CLOSE, m.NO_DATA: m.DESCRIBE,
}
_TAGS: Final = {m.EMPTY_QUERY: "(empty)", m.PORTAL_SUSPENDED: "(more rows wait)"}


def _text(raw: bytes) -> str:
    """Text as it is; bytes that are none in hex, as PostgreSQL shows bytea."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "\\x" + raw.hex()


def _problem(fields: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {"severity": fields.get("V", fields.get("S", ""))}
    return found | {name: fields[letter] for letter, name in _FIELDS.items() if letter in fields}


