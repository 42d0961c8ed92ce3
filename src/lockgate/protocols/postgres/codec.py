"""Bytes ↔ message parts, both ways. The only file that knows where a field lies.

Apart from `messages` (facts) and `kernel.frames` (framing, any protocol). Readers check every
length and raise `RemoteProtocolError`; writers check on encode too, for a length that wraps lets a
value smuggle a message (CVE-2024-27304). Text is UTF-8 in both directions: the session is pinned.
Source: PostgreSQL 18 manual, section 54.7 "Message Formats".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct, error, unpack_from
from typing import Final, NamedTuple

from lockgate.errors import LocalProtocolError, RemoteProtocolError
from lockgate.kernel.frames import checked_length, frame
from lockgate.protocols.postgres import messages as m

_U32 = Struct("!I")
_U16 = Struct("!H")
_I32 = Struct("!i")
_COLUMN = Struct("!IhIhih")     # table OID, attribute number, type OID, length, modifier, format


class Column(NamedTuple):
    """One column of a RowDescription. `table` and `attribute` are 0 where it is no plain column."""

    name: bytes
    table: int
    attribute: int
    type: int
    format: int
    modifier: int = -1


class Bind(NamedTuple):
    """A Bind message, its values as slices of the frame (None is NULL)."""

    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


_LONGEST_NAME: Final = 63
_REMEMBERED: Final = 1_024           # bytes of a RowDescription that is worth keeping


def cstring(buffer: bytes, start: int, end: int) -> tuple[bytes, int]:
    """The string at `start` without its NUL, and the offset behind it."""
    stop = buffer.find(b"\0", start, end)
    if stop < 0:
        raise RemoteProtocolError("a string has no end")
    return buffer[start:stop], stop + 1


def _name(buffer: bytes, start: int, end: int) -> tuple[bytes, int]:
    """A statement's or portal's name, as `cstring`. The backend compares 63 bytes of one (dynahash.c, string_compare):
    two longer ones could be two here and one there."""
    name, position = cstring(buffer, start, end)
    if len(name) > _LONGEST_NAME:
        raise RemoteProtocolError("a name of a prepared statement or portal is longer than 63 bytes")
    return name, position


def whole_string(buffer: bytes, start: int, end: int) -> bytes:
    """A body that is exactly one string; a NUL before the end is an error, not an end."""
    found, position = cstring(buffer, start, end)
    if position != end:
        raise RemoteProtocolError("a message holds more than its string")
    return found


# ---------------------------------------------------------------- start-up


def read_startup(body: bytes) -> dict[str, str]:
    """The parameters of a StartupMessage, behind length and version. Refuses a repeated name."""
    found: dict[str, str] = {}
    position, end = 0, len(body)
    while True:
        name, position = cstring(body, position, end)
        if not name:
            break
        value, position = cstring(body, position, end)
        try:
            key, text = name.decode(), value.decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("a start-up parameter is not UTF-8") from None
        if key in found:
            raise RemoteProtocolError("a start-up parameter is given twice")
        found[key] = text
    if position != end:
        raise RemoteProtocolError("the start-up message holds more than its parameters")
    return found


def startup(version: int, parameters: Mapping[str, str]) -> bytes:
    """A StartupMessage."""
    body = b"".join(text(name) + text(value) for name, value in parameters.items()) + b"\0"
    return _U32.pack(len(body) + 8) + _U32.pack(version) + body


def request(code: int, body: bytes = b"") -> bytes:
    """SSLRequest, GSSENCRequest or CancelRequest."""
    return _U32.pack(8 + len(body)) + _U32.pack(code) + body


def negotiate_version(minor: int, unknown: Sequence[str]) -> bytes:
    """NegotiateProtocolVersion: our newest minor version and every option that we do not know."""
    body = _U32.pack(m.PROTOCOL_3_0 + minor) + _U32.pack(len(unknown))
    return frame(m.NEGOTIATE_VERSION, body + b"".join(text(name) for name in unknown))


# ---------------------------------------------------------------- client messages


def read_parse(buffer: bytes, start: int, end: int) -> tuple[bytes, bytes, bytes]:
    """(statement name, statement, the rest: count and OIDs of parameter types) of a Parse frame."""
    name, position = _name(buffer, start + 5, end)
    statement, position = cstring(buffer, position, end)
    if position + 2 > end or position + 2 + 4 * _U16.unpack_from(buffer, position)[0] != end:
        raise RemoteProtocolError("a Parse message does not add up")
    return name, statement, buffer[position:end]


def read_oids(raw: bytes) -> tuple[int, ...]:
    """A count and so many OIDs, as the end of a Parse frame and the body of a ParameterDescription hold."""
    if len(raw) < 2 or len(raw) != 2 + 4 * _U16.unpack_from(raw)[0]:
        raise RemoteProtocolError("a list of parameter types does not add up")
    return tuple(oid for (oid,) in _U32.iter_unpack(raw[2:]))


def read_bind(buffer: bytes, start: int, end: int) -> Bind:
    """The parts of a Bind frame; every count and length must add up to the frame."""
    portal, position = _name(buffer, start + 5, end)
    statement, position = _name(buffer, position, end)
    try:
        formats, position = _read_codes(buffer, position)
        (count,) = _U16.unpack_from(buffer, position)
        position += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = _I32.unpack_from(buffer, position)
            position += 4
            if length == -1:
                values.append(None)
                continue
            if length < 0 or position + length > end:
                raise RemoteProtocolError("a Bind message does not add up")
            values.append(buffer[position:position + length])
            position += length
        result_formats, position = _read_codes(buffer, position)
    except error:
        raise RemoteProtocolError("a Bind message does not add up") from None
    if position != end or len(formats) not in (0, 1, count):
        raise RemoteProtocolError("a Bind message does not add up")
    return Bind(portal, statement, formats, tuple(values), result_formats)


def _read_codes(buffer: bytes, position: int) -> tuple[tuple[int, ...], int]:
    """A count and so many format codes. Counts come from the frame: the caller checks the end."""
    (count,) = _U16.unpack_from(buffer, position)
    if count == 0:
        return (), position + 2
    stop = position + 2 + 2 * count
    if stop > len(buffer):
        raise RemoteProtocolError("a message does not add up")
    codes = _U16.unpack_from(buffer, position + 2) if count == 1 else unpack_from(f"!{count}H", buffer, position + 2)
    if max(codes) > 1:
        raise RemoteProtocolError("a format code is neither text nor binary")
    return codes, stop


def read_execute(buffer: bytes, start: int, end: int) -> tuple[bytes, int]:
    """(portal, row limit) of an Execute frame."""
    portal, position = _name(buffer, start + 5, end)
    if position + 4 != end:
        raise RemoteProtocolError("an Execute message does not add up")
    return portal, _U32.unpack_from(buffer, position)[0]


def read_target(buffer: bytes, start: int, end: int) -> tuple[int, bytes]:
    """(``S`` or ``P``, name) of a Describe or Close frame."""
    if end - start < 7 or buffer[start + 5] not in b"SP":
        raise RemoteProtocolError("a Describe or Close message names no statement or portal")
    name, position = _name(buffer, start + 6, end)
    if position != end:
        raise RemoteProtocolError("a message holds more than its string")
    return buffer[start + 5], name


def query(statement: str) -> bytes:
    """A Query frame."""
    return frame(m.QUERY, text(statement))


def parse(name: bytes, statement: str, types: bytes = b"\0\0") -> bytes:
    """A Parse frame; `types` is count and OIDs as they came."""
    return frame(m.PARSE, name + b"\0" + text(statement) + types)


def spread(codes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The format codes of a Bind for so many values or columns: none is text for all, one is for all, else one each."""
    if not codes:
        return (0,) * count
    return codes * count if len(codes) == 1 else codes


def bind(message: Bind) -> bytes:
    """A Bind frame with these parts."""
    body = [message.portal, b"\0", message.statement, b"\0", _codes(message.formats), _U16.pack(len(message.values))]
    for value in message.values:
        body += (b"\xff\xff\xff\xff",) if value is None else (checked_length(len(value)), value)
    body.append(_codes(message.result_formats))
    return frame(m.BIND, b"".join(body))


def _codes(codes: tuple[int, ...]) -> bytes:
    return _U16.pack(len(codes)) + b"".join(map(_U16.pack, codes))


def execute(portal: bytes, limit: int = 0) -> bytes:
    """An Execute frame."""
    return frame(m.EXECUTE, portal + b"\0" + _U32.pack(limit))


def describe_portal(portal: bytes) -> bytes:
    """A Describe frame for a portal."""
    return target(m.DESCRIBE, b"P", portal)


def target(kind: int, what: bytes, name: bytes) -> bytes:
    """A Describe or Close frame (`kind`) for a statement (`what` is ``S``) or a portal (``P``)."""
    return frame(kind, what + name + b"\0")


def read_row(body: bytes) -> tuple[bytes | None, ...]:
    """The values of a DataRow's body (None is NULL)."""
    cells: list[bytes | None] = []
    position = 2
    try:
        for _ in range(_U16.unpack_from(body)[0]):
            (length,) = _I32.unpack_from(body, position)
            position += 4
            if length < -1 or position + length > len(body):
                raise RemoteProtocolError("a row does not add up")
            cells.append(None if length == -1 else body[position:position + length])
            position += max(length, 0)
    except error:
        raise RemoteProtocolError("a row does not add up") from None
    if position != len(body):
        raise RemoteProtocolError("a row does not add up")
    return tuple(cells)


# ---------------------------------------------------------------- backend messages


def read_row_description(buffer: bytes, start: int, end: int) -> tuple[Column, ...]:
    """The columns of a RowDescription frame."""
    if end - start <= _REMEMBERED:
        return _known_columns(buffer[start:end])    # the same statements give the same columns
    return _columns(buffer, start, end)


def renamed_columns(buffer: bytes, start: int, end: int, names: Mapping[int, bytes]) -> bytes:
    """A RowDescription that adds up, with other names for some of its columns, by their index."""
    (count,) = _U16.unpack_from(buffer, start + 5)
    pieces, position = [buffer[start + 5:start + 7]], start + 7
    for index in range(count):
        name, behind = cstring(buffer, position, end)
        position = behind + 18
        pieces += (names.get(index, name), b"\0", buffer[behind:position])
    return frame(m.ROW_DESCRIPTION, b"".join(pieces))


@lru_cache(maxsize=1_024)
def _known_columns(raw: bytes) -> tuple[Column, ...]:
    return _columns(raw, 0, len(raw))


def _columns(buffer: bytes, start: int, end: int) -> tuple[Column, ...]:
    if start + 7 > end:
        raise RemoteProtocolError("a RowDescription does not add up")
    (count,) = _U16.unpack_from(buffer, start + 5)
    position = start + 7
    columns: list[Column] = []
    for _ in range(count):
        name, position = cstring(buffer, position, end)
        if position + 18 > end:
            raise RemoteProtocolError("a RowDescription does not add up")
        table, attribute, type_, _, modifier, format_ = _COLUMN.unpack_from(buffer, position)
        columns.append(Column(name, table, attribute, type_, format_, modifier))
        position += 18
    if position != end:
        raise RemoteProtocolError("a RowDescription does not add up")
    return tuple(columns)


def read_copy_response(buffer: bytes, start: int, end: int) -> tuple[int, ...]:
    """The column formats of a CopyInResponse or CopyOutResponse frame."""
    if start + 8 > end or start + 8 + 2 * _U16.unpack_from(buffer, start + 6)[0] != end:
        raise RemoteProtocolError("a COPY response does not add up")
    return tuple(_U16.unpack_from(buffer, at)[0] for at in range(start + 8, end, 2))


def read_fields(buffer: bytes, start: int, end: int) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse frame by their type letter.

    A message without SQLSTATE is not an error here (CVE-2026-6666 was): the field is just missing.
    """
    found: dict[str, str] = {}
    position = start + 5
    while position < end:
        kind = buffer[position]
        if kind == 0:
            break
        value, position = cstring(buffer, position + 1, end)
        found[chr(kind)] = value.decode("utf-8", "replace")
    return found


def is_fatal(fields: dict[str, str]) -> bool:
    """Whether the session ends with this error."""
    return fields.get("V", fields.get("S")) in ("FATAL", "PANIC")


def fields(kind: int, values: Iterable[tuple[str, str]]) -> bytes:
    """An ErrorResponse or NoticeResponse frame. A NUL inside a value is dropped."""
    body = b"".join(
        letter.encode("ascii") + value.replace("\0", "").encode("utf-8", "replace") + b"\0"
        for letter, value in values
    )
    return frame(kind, body + b"\0")


def read_parameter(buffer: bytes, start: int, end: int) -> tuple[str, str]:
    """(name, value) of a ParameterStatus frame."""
    name, position = cstring(buffer, start + 5, end)
    value = whole_string(buffer, position, end)
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


def parameter_status(name: str, value: str) -> bytes:
    """A ParameterStatus frame."""
    return frame(m.PARAMETER_STATUS, text(name) + text(value))


def silenced_notification(buffer: bytes, start: int, end: int) -> bytes:
    """A NotificationResponse with its payload emptied; process id and channel stay."""
    if start + 9 > end:
        raise RemoteProtocolError("a NotificationResponse does not add up")
    channel, _ = cstring(buffer, start + 9, end)
    return frame(m.NOTIFICATION, buffer[start + 5:start + 9] + channel + b"\0\0")


def ready(status: int) -> bytes:
    """A ReadyForQuery frame."""
    return frame(m.READY, bytes((status,)))


def affected_rows(buffer: bytes, start: int, end: int) -> int:
    """The row count at the end of a CommandComplete tag (``INSERT 0 5``), 0 where it has none."""
    tail = buffer[start + 5:end - 1].rpartition(b" ")[2]
    return int(tail) if tail.isdigit() and len(tail) < 20 else 0


def text(value: str) -> bytes:
    """A NUL-terminated string; a NUL inside would end it early and is an error of this side."""
    raw = value.encode()
    if b"\0" in raw:
        raise LocalProtocolError("a string with a NUL cannot be sent")
    return raw + b"\0"
