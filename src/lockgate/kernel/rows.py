"""Row bodies: a 16-bit count, then per field a 32-bit length (-1 is NULL) and its bytes.

Stands apart from `frames` because it looks into bodies and checks that they add up exactly.
Plain typed Python that mypyc compiles; compiled and interpreted it behaves the same. Rule: what
does not add up raises RemoteProtocolError, and no byte of it is given back.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import i64

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import checked_length

Edit = tuple[int, int, int, int, bytes | None]
"""One field to replace: frame start, frame end, value start, value end, new value (None is NULL)."""


def _field_size(buffer: bytes, at: i64, end: i64) -> i64:
    """Bytes of the field whose length stands at `at`, -1 for NULL. RemoteProtocolError unless it ends in its row."""
    if at + 4 > end:
        raise RemoteProtocolError("a row ends inside a field's length")
    b1: i64 = buffer[at]
    b2: i64 = buffer[at + 1]
    b3: i64 = buffer[at + 2]
    b4: i64 = buffer[at + 3]
    length: i64 = (b1 << 24) | (b2 << 16) | (b3 << 8) | b4
    if length == 0xFFFFFFFF:
        return -1
    if at + 4 + length > end:
        raise RemoteProtocolError("a row ends inside a field")
    return length


def _first_field(buffer: bytes, frame: i64, end: i64, width: i64) -> i64:
    """Where the first field of the row frame at `frame` begins. RemoteProtocolError unless it says that it has `width`."""
    at: i64 = frame + 5
    if at + 2 > end:
        raise RemoteProtocolError("a row is too short for its field count")
    high: i64 = buffer[at]
    low: i64 = buffer[at + 1]
    if ((high << 8) | low) != width:
        raise RemoteProtocolError("a row has another width than its description")
    return at + 2


def fields(buffer: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of every field of the row body in `buffer[start:end]`, (-1, -1) for NULL.

    Raises RemoteProtocolError unless the lengths add up to exactly the body.
    """
    spans: list[tuple[int, int]] = []
    position: i64 = start
    stop: i64 = end
    size: i64 = len(buffer)
    if position < 0 or stop > size or position + 2 > stop:
        raise RemoteProtocolError("a row is too short for its field count")
    high: i64 = buffer[position]
    low: i64 = buffer[position + 1]
    count: i64 = (high << 8) | low
    position += 2
    while count > 0:
        count -= 1
        length: i64 = _field_size(buffer, position, stop)
        position += 4
        if length < 0:
            spans.append((-1, -1))
            continue
        spans.append((position, position + length))
        position += length
    if position != stop:
        raise RemoteProtocolError("a row's fields do not add up to its length")
    return spans


def frame_end(buffer: bytes, position: int, stop: int) -> int:
    """End of the frame at `position`; RemoteProtocolError unless it ends at or before `stop`."""
    at: i64 = position
    limit: i64 = stop
    if at + 5 > limit:
        raise RemoteProtocolError("a run of messages ends inside a header")
    b1: i64 = buffer[at + 1]
    b2: i64 = buffer[at + 2]
    b3: i64 = buffer[at + 3]
    b4: i64 = buffer[at + 4]
    length: i64 = (b1 << 24) | (b2 << 16) | (b3 << 8) | b4
    if length < 4 or at + 1 + length > limit:
        raise RemoteProtocolError("a message does not end where its run ends")
    return at + 1 + length


_SHORT = [n.to_bytes(4, "big") for n in range(4096)]


def _length(n: i64) -> bytes:
    """`checked_length` with the usual sizes from a table (half the cost of a rewritten row)."""
    if 0 <= n and n < 4096:
        return _SHORT[n]
    return checked_length(n)


def rewrite_rows(
    buffer: bytes,
    bulk: int,
    width: int,
    columns: list[int],
    replace: list[Callable[[bytes], bytes | None]],
    nulls: list[bytes | None],
) -> tuple[bytes, int]:
    """`buffer` with the chosen columns of every row replaced, and how many values other than NULL were.

    `buffer` holds complete frames; those of type `bulk` are rows, others pass. `columns` ascend. `replace[n]` is
    called for each non-NULL value of `columns[n]` and gives the new value (None for NULL), `nulls[n]` is what NULL
    becomes there. Raises RemoteProtocolError for a row without exactly `width` fields: a mask that finds another
    column than its own would otherwise pass unnoticed.
    """
    due: i64 = len(columns)
    before: i64 = -1
    for chosen in columns:
        if chosen <= before or chosen >= width:
            raise RemoteProtocolError("a row lacks a column that is due a mask")
        before = chosen
    if due != len(replace) or due != len(nulls):
        raise RemoteProtocolError("a column that is due a mask has none")
    out: list[bytes] = []
    parts: list[bytes] = []
    done: i64 = 0
    position: i64 = 0
    replaced: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    fields_due: i64 = width
    first: i64 = columns[0] if due > 0 else -1
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] != wanted:
            position = last
            continue
        at: i64 = _first_field(buffer, position, last, fields_due)
        column: i64 = 0
        index: i64 = 0
        next_column: i64 = first
        copied: i64 = position + 5
        grown: i64 = last - position - 1
        while column < fields_due:
            length: i64 = _field_size(buffer, at, last)
            at += 4
            if column == next_column:
                value: bytes | None = None
                if length >= 0:
                    value = replace[index](buffer[at : at + length])
                    grown -= length
                    replaced += 1
                else:
                    value = nulls[index]
                if length >= 0 or value is not None:
                    parts.append(buffer[copied : at - 4])
                    if value is None:
                        parts.append(b"\xff\xff\xff\xff")
                    else:
                        fresh: i64 = len(value)
                        parts.append(_length(fresh))
                        parts.append(value)
                        grown += fresh
                    copied = at + length if length > 0 else at
                index += 1
                next_column = columns[index] if index < due else -1
            if length > 0:
                at += length
            column += 1
        if at != last:
            raise RemoteProtocolError("a row's fields do not add up to its length")
        if parts:
            out.append(buffer[done : position + 1])
            out.append(_length(grown))
            out.extend(parts)
            parts.clear()
            done = copied
        position = last
    if not out:
        return buffer, 0
    out.append(buffer[done:stop])
    return b"".join(out), replaced


def touched_frames(
    buffer: bytes, bulk: int, hits: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """(start, end) of every frame of type `bulk` that shares a byte with one of `hits`, header included.

    `buffer` holds complete frames only and `hits` are ascending (start, end). Raises
    RemoteProtocolError when the frames do not add up, as far as they were walked.
    """
    found: list[tuple[int, int]] = []
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    index: i64 = 0
    count: i64 = len(hits)
    while position < stop and index < count:
        last: i64 = frame_end(buffer, position, stop)
        hit = hits[index]
        hit_end: i64 = hit[1]
        while index < count and hit_end <= position:
            index += 1
            if index < count:
                hit = hits[index]
                hit_end = hit[1]
        if index >= count:
            break
        hit_start: i64 = hit[0]
        if hit_start < last and buffer[position] == wanted:
            found.append((position, last))
        position = last
    return found


def touched_fields(
    buffer: bytes, bulk: int, width: int, hits: list[tuple[int, int]]
) -> list[tuple[int, int, int, int, int]]:
    """(frame start, frame end, column, value start, value end) of every field that a hit shares a
    byte with: of the value or of its length, for a hit may end in what the next would begin with.
    Raises RemoteProtocolError for a touched row without exactly `width` fields.
    """
    found: list[tuple[int, int, int, int, int]] = []
    index: i64 = 0
    count: i64 = len(hits)
    columns: i64 = width
    for first, last in touched_frames(buffer, bulk, hits):
        start: i64 = first
        stop: i64 = last
        while index < count and hits[index][1] <= start:
            index += 1
        near: i64 = index
        hit_start: i64 = hits[near][0]
        hit_end: i64 = hits[near][1]
        at: i64 = _first_field(buffer, start, stop, columns)
        column: i64 = 0
        while column < columns:
            length: i64 = _field_size(buffer, at, stop)
            at += 4
            if length >= 0:
                while hit_end <= at - 4 and near + 1 < count:
                    near += 1
                    hit = hits[near]
                    hit_start = hit[0]
                    hit_end = hit[1]
                if length > 0 and hit_end > at - 4 and hit_start < at + length:
                    found.append((first, last, column, at, at + length))
                at += length
            column += 1
        if at != stop:
            raise RemoteProtocolError("a row's fields do not add up to its length")
    return found


def looks_like_text(byte: i64) -> bool:
    """Whether a byte of a length is a letter, a digit or one of ``+ - .``: what a find may not have before it."""
    return (
        (byte >= 48 and byte <= 57) or (byte >= 65 and byte <= 90) or (byte >= 97 and byte <= 122)
        or byte == 43 or byte == 45 or byte == 46
    )


def long_values(
    buffer: bytes, bulk: int, width: int, containers: list[int]
) -> tuple[list[tuple[int, int, int, int, int]], int]:
    """Fields like those of `touched_fields` that a search of raw bytes may fail to see the beginning of, and
    how many row frames there are.

    These are the values of 256 bytes or more whose length ends in a byte that looks like text, and all that
    long in columns that hold further lengths inside (`containers`). Raises RemoteProtocolError for a long row
    without exactly `width` fields.
    """
    found: list[tuple[int, int, int, int, int]] = []
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    number: i64 = 0
    columns: i64 = width
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted:
            number += 1
            if last - position >= 267:
                at: i64 = _first_field(buffer, position, last, columns)
                column: i64 = 0
                while column < columns:
                    length: i64 = _field_size(buffer, at, last)
                    at += 4
                    if length >= 256 and (looks_like_text(buffer[at - 1]) or int(column) in containers):
                        found.append((position, last, column, at, at + length))
                    if length > 0:
                        at += length
                    column += 1
                if at != last:
                    raise RemoteProtocolError("a row's fields do not add up to its length")
        position = last
    return found, number


def row_numbers(buffer: bytes, bulk: int, starts: list[int]) -> list[int]:
    """Which row each of the frames at `starts` is, counted from 0.

    `buffer` holds complete frames only, `starts` ascend and each is the start of a frame of type `bulk`.
    """
    found: list[int] = []
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    number: i64 = 0
    index: i64 = 0
    count: i64 = len(starts)
    next_start: i64 = starts[0] if count > 0 else -1
    while position < stop and index < count:
        last: i64 = frame_end(buffer, position, stop)
        while position == next_start:
            found.append(number)
            index += 1
            next_start = starts[index] if index < count else -1
        if buffer[position] == wanted:
            number += 1
        position = last
    if index < count:
        raise RemoteProtocolError("a row is looked for where no message begins")
    return found


def column_values(
    buffer: bytes, bulk: int, width: int, columns: list[int]
) -> list[tuple[int, int, int, int, int]]:
    """Like `touched_fields`, but every non-NULL value of `columns` in every row frame."""
    found: list[tuple[int, int, int, int, int]] = []
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted:
            spans = fields(buffer, position + 5, last)
            if len(spans) != width:
                raise RemoteProtocolError("a row has another width than its description")
            for column in columns:
                begin, end = spans[column]
                if begin >= 0:
                    found.append((position, last, column, begin, end))
        position = last
    return found


_ZEROS = bytes(4096)


def blanked(buffer: bytes, bulk: int, width: int, columns: list[int]) -> bytes:
    """`buffer` with zero bytes in place of the values of `columns` (ascending) in every row frame.

    Nothing moves. Raises RemoteProtocolError for a row without exactly `width` fields.
    """
    out: list[bytes] = []
    position: i64 = 0
    done: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    due: i64 = len(columns)
    fields_due: i64 = width
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted:
            at: i64 = _first_field(buffer, position, last, fields_due)
            column: i64 = 0
            index: i64 = 0
            next_column: i64 = columns[0] if due > 0 else -1
            while column < fields_due:
                length: i64 = _field_size(buffer, at, last)
                at += 4
                if column == next_column:
                    if length > 0:
                        out.append(buffer[done:at])
                        out.append(_ZEROS[:length] if length <= 4096 else bytes(length))
                        done = at + length
                    index += 1
                    next_column = columns[index] if index < due else -1
                if length > 0:
                    at += length
                column += 1
            if at != last:
                raise RemoteProtocolError("a row's fields do not add up to its length")
        position = last
    out.append(buffer[done:stop])
    return b"".join(out)


def apply_edits(buffer: bytes, edits: list[Edit]) -> bytes:
    """`buffer` with the fields of `edits` replaced and their frames' lengths set anew.

    `edits` ascend and do not overlap; each value is preceded by its own 4-byte length.
    """
    out: list[bytes] = []
    done: i64 = 0
    index: i64 = 0
    count: i64 = len(edits)
    while index < count:
        first, last, _begin, _end, _new = edits[index]
        out.append(buffer[done:first])
        parts: list[bytes] = []
        inner: i64 = first + 5
        grown: i64 = last - first - 1
        while index < count and edits[index][0] == first:
            _first, _last, begin, end, new = edits[index]
            parts.append(buffer[inner : begin - 4])
            grown -= end - begin
            if new is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts.append(checked_length(len(new)))
                parts.append(new)
                grown += len(new)
            inner = end
            index += 1
        parts.append(buffer[inner:last])
        out.append(buffer[first : first + 1])
        out.append(checked_length(grown))
        out.extend(parts)
        done = last
    out.append(buffer[done:])
    return b"".join(out)
