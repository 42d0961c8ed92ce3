"""Frames between the gateway and its writer: two 64-bit big-endian lengths, then JSON, then the payloads it counts.

JSON and not `pickle`: what is read is data only. Drafts are JSON already, since leaf and payload are. A payload
is encoded where the record is admitted, as the commitment covers it, and passes as it is: nobody reads it over there.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from lockgate.audit.failures import MalformedEntry
from lockgate.audit.growth import Row
from lockgate.audit.leaves import Draft, encode_payload, unicode_only
from lockgate.errors import AuditError

LIMIT: Final = 4 * 1024**3
"""The queue's bound in bytes, every one of them escaped, and the leaves: no batch comes near it."""
_LENGTHS: Final = struct.Struct(">QQ")


class Frame(NamedTuple):
    """What passes at once: a value, and the bytes behind it."""

    value: Any
    payloads: bytes | bytearray | memoryview = b""


Packed = tuple[bytes, bytes]
"""A record on its way: its row in JSON, which counts the bytes of its payload, and the payload."""


def pack(sid: str | None, number: int, now: float, draft: Draft) -> Packed:
    """A draft at its place in the session. What UTF-8 cannot carry (lone surrogates) becomes ``?``, as it would in a leaf."""
    fields, payload = draft
    try:
        encoded = b"" if payload is None else encode_payload(payload)
        row = (sid, number, now, fields, None if payload is None else len(encoded))
        try:
            return orjson.dumps(row), encoded
        except orjson.JSONEncodeError:
            return orjson.dumps(unicode_only(row)), encoded
    except orjson.JSONEncodeError as error:
        raise MalformedEntry(f"a record holds what canonical JSON cannot: {error}") from None


def send_records(connection: socket.socket, records: Sequence[Packed]) -> None:
    """A batch. Raises OSError where the other end is gone."""
    _send(connection, b"[%b]" % b",".join([row for row, _ in records]), b"".join([payload for _, payload in records]))


def send(connection: socket.socket, value: Any) -> None:
    """One value. Raises OSError where the other end is gone."""
    _send(connection, orjson.dumps(value), b"")


def rows(frame: Frame) -> Iterator[Row]:
    """The rows of a batch."""
    at = 0
    for sid, number, now, fields, size in frame.value:
        if size is None:
            yield sid, number, now, fields, None
        else:
            yield sid, number, now, fields, bytes(frame.payloads[at : at + size])
            at += size


def _send(connection: socket.socket, content: bytes, payloads: bytes) -> None:
    parts = [_LENGTHS.pack(len(content), len(payloads)), content, payloads]
    left = sum(map(len, parts))
    sent = connection.sendmsg(parts)
    for part in parts if sent < left else ():
        if sent < len(part):
            connection.sendall(memoryview(part)[sent:])
        sent = max(sent - len(part), 0)


def receive(connection: socket.socket) -> Frame | None:
    """The next whole frame, or None where the other end closed, also inside of one.

    Nothing beyond the frame is read: the next one may follow at once.
    """
    header = _exactly(connection, _LENGTHS.size)
    if header is None:
        return None
    length, more = _LENGTHS.unpack(header)
    if length + more > LIMIT:
        raise AuditError("a frame of the audit writer is malformed")
    content = _exactly(connection, length + more)
    if content is None:
        return None
    whole = memoryview(content)
    return Frame(orjson.loads(whole[:length]), whole[length:])


def _exactly(connection: socket.socket, length: int) -> bytearray | None:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        read = connection.recv_into(rest)
        if not read:
            return None
        rest = rest[read:]
    return content
