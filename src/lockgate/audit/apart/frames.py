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

    Nothing beyond the frame is read: the next one may follow at once.
    """
    header = _exactly(connection, _LENGTH)
    if header is None:
        return None
    length = int.from_bytes(header, "big")
    if length > LIMIT:
        raise AuditError("a frame of the audit writer is malformed")
    content = _exactly(connection, length)
    return None if content is None else orjson.loads(content)


def _exactly(connection: socket.socket, length: int) -> bytearray | None:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        read = connection.recv_into(rest)
        if not read:
            return None
        rest = rest[read:]
    return content
