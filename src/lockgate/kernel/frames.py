"""Framing: a type byte, a 32-bit big-endian length that counts itself, a body.

Stands apart from `rows` because it never looks into a body. Plain typed Python that mypyc compiles;
compiled and interpreted it behaves the same. Rules: a length below 4 is an error, a length is read
as unsigned and may not exceed 2^31-1, no offset outside the buffer is ever returned.
"""

from __future__ import annotations

from mypy_extensions import i64

from lockgate.errors import LocalProtocolError, RemoteProtocolError

HEADER = 5
MAX_LENGTH = 0x7FFFFFFF


def split_frames(buffer: bytes, start: int, limit: int) -> tuple[list[tuple[int, int, int]], int]:
    """All complete frames from `start` as (type, start, end), and where the first incomplete begins.

    Raises RemoteProtocolError for a length below 4 or above `limit` (counted like the wire does),
    as soon as the header is there: an oversized frame is never waited for.
    """
    found: list[tuple[int, int, int]] = []
    position: i64 = start
    size: i64 = len(buffer)
    longest: i64 = limit
    while position + 5 <= size:
        b1: i64 = buffer[position + 1]
        b2: i64 = buffer[position + 2]
        b3: i64 = buffer[position + 3]
        b4: i64 = buffer[position + 4]
        length: i64 = (b1 << 24) | (b2 << 16) | (b3 << 8) | b4
        if length < 4 or length > longest or b1 > 127:
            raise RemoteProtocolError("a message has an impossible or excessive length")
        end: i64 = position + 1 + length
        if end > size:
            break
        found.append((buffer[position], position, end))
        position = end
    return found, position


def scan_replies(
    buffer: bytes, start: int, bulk: int
) -> tuple[list[tuple[int, int, int, int]], int, int]:
    """Frames of a result stream as (type, start, end, count), runs of type `bulk` merged into one.

    Returns the items, the offset of the first incomplete frame, and that frame's whole length with
    its type byte (0 while its header is incomplete). There is no limit here: the caller streams or
    refuses a giant frame. Raises RemoteProtocolError for a length below 4 or above 2^31-1.
    """
    items: list[tuple[int, int, int, int]] = []
    position: i64 = start
    size: i64 = len(buffer)
    wanted: i64 = bulk
    run: i64 = start
    count: i64 = 0
    missing: i64 = 0
    while position + 5 <= size:
        kind: i64 = buffer[position]
        b1: i64 = buffer[position + 1]
        b2: i64 = buffer[position + 2]
        b3: i64 = buffer[position + 3]
        b4: i64 = buffer[position + 4]
        length: i64 = (b1 << 24) | (b2 << 16) | (b3 << 8) | b4
        if length < 4 or b1 > 127:
            raise RemoteProtocolError("a message has an impossible length")
        end: i64 = position + 1 + length
        if end > size:
            missing = length + 1
            break
        if kind == wanted:
            if count == 0:
                run = position
            count += 1
        else:
            if count > 0:
                items.append((bulk, run, position, count))
                count = 0
            items.append((kind, position, end, 1))
        position = end
    if count > 0:
        items.append((bulk, run, position, count))
    return items, position, missing


def checked_length(n: int) -> bytes:
    """`n` as a 32-bit length; LocalProtocolError when it does not fit (a wrap would forge a frame)."""
    if n < 0 or n > 0x7FFFFFFF:
        raise LocalProtocolError("a length does not fit its field")
    return n.to_bytes(4, "big")


def frame(kind: int, body: bytes) -> bytes:
    """One frame of type `kind` around `body`."""
    return bytes((kind,)) + checked_length(len(body) + 4) + body
