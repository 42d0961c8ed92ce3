"""Frames between the gateway and its writer: a 64-bit big-endian length, then JSON.

JSON and not `pickle`: what is read is data only. Drafts are JSON already, since leaf and payload are.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

import orjson

from lockgate.audit.failures import MalformedEntry
from lockgate.audit.leaves import unicode_only
from lockgate.audit.writer import Row
from lockgate.errors import AuditError

LIMIT: Final = 4 * 1024**3
"""The queue's bound in bytes, every one of them escaped, and the leaves: no batch comes near it."""
_LENGTH: Final = 8
_READ: Final = 65_536


def encode_row(row: Row) -> bytes:
    """A draft as JSON. What UTF-8 cannot carry (lone surrogates) becomes ``?``, as it would in a leaf."""
    try:
        try:
            return orjson.dumps(row)
        except orjson.JSONEncodeError:
            return orjson.dumps(unicode_only(row))
    except orjson.JSONEncodeError as error:
        raise MalformedEntry(f"a record holds what canonical JSON cannot: {error}") from None


def join_rows(rows: Sequence[bytes]) -> bytes:
    """A batch of rows."""
    return b"[%b]" % b",".join(rows)


def send(connection: socket.socket, content: bytes) -> None:
    """One whole frame. Raises OSError where the other end is gone."""
    header = len(content).to_bytes(_LENGTH, "big")
    if len(content) < 65_536:
        connection.sendall(header + content)
    else:
        connection.sendall(header)
        connection.sendall(content)


def receive(connection: socket.socket) -> Any:
    """The content of the next whole frame, or None where the other end closed, also inside of one.

    Each end waits for the other's answer before it sends again, so a small frame is one call.
    """
    found = connection.recv(_READ)
    while len(found) < _LENGTH:
        more = connection.recv(_READ) if found else b""
        if not more:
            return None
        found += more
    length = int.from_bytes(found[:_LENGTH], "big")
    have = len(found) - _LENGTH
    if length > LIMIT or have > length:
        raise AuditError("a frame of the audit writer is malformed")
    if have == length:
        return orjson.loads(found[_LENGTH:])
    content = bytearray(length)
    content[:have] = found[_LENGTH:]
    rest = memoryview(content)[have:]
    while rest:
        read = connection.recv_into(rest)
        if not read:
            return None
        rest = rest[read:]
    return orjson.loads(content)
