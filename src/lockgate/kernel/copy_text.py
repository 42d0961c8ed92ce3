"""COPY streams: where rows begin and end inside the data frames of the three COPY formats.

Stands apart from `rows` because a COPY row is delimited by its content (a newline outside quotes, a
count of tuple fields) and may cross frame borders (PostgreSQL manual, "COPY", File Formats).
Plain typed Python that mypyc compiles. Rule: a row is only ever given back whole.
"""

from __future__ import annotations

from mypy_extensions import i64

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.rows import frame_end, looks_like_text


def lines_are_whole(buffer: bytes, bulk: int, quote: bytes) -> bool:
    """Whether every frame of type `bulk` in `buffer` (complete frames only) ends where a line ends.

    With a `quote` byte an odd number of them in one frame means that the line goes on.
    """
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    quoted = len(quote) == 1 and quote in buffer
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted and last > position + 5:
            if buffer[last - 1] != 10:
                return False
            if quoted and buffer.count(quote, position + 5, last) % 2 == 1:
                return False
        position = last
    return True


def long_frames(buffer: bytes, bulk: int, binary: bool) -> list[tuple[int, int]]:
    """(start, end) of the frames of type `bulk` in which a search of raw bytes may fail to see where a value begins.

    A line begins behind its frame's length: of 256 bytes or more and ending in a byte that looks like text.
    Binary frames hold lengths inside: all of 256 bytes or more.
    """
    found: list[tuple[int, int]] = []
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if last - position > 256 and buffer[position] == wanted:
            if binary or looks_like_text(buffer[position + 4]):
                found.append((position, last))
        position = last
    return found


def split_lines(data: bytes, quote: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines of `data` with their newline, and the unfinished rest.

    With a `quote` byte a newline inside quotes belongs to the line (doubled quotes keep the parity).
    """
    lines: list[bytes] = []
    start: i64 = 0
    search: i64 = 0
    size: i64 = len(data)
    odd = False
    while search < size:
        at: i64 = data.find(b"\n", search)
        if at < 0:
            break
        if len(quote) == 1 and data.count(quote, search, at) % 2 == 1:
            odd = not odd
        search = at + 1
        if not odd:
            lines.append(data[start:search])
            start = search
    return lines, data[start:]


def count_lines(buffer: bytes, bulk: int, quote: bytes, start: int, end: int) -> int:
    """How many lines the frames of type `bulk` in `buffer[start:end]` hold, when each holds whole lines.

    Newlines are counted once over all of it; then those in headers, in other frames and inside quotes are
    taken off.
    """
    position: i64 = start
    stop: i64 = end
    wanted: i64 = bulk
    found: i64 = buffer.count(b"\n", start, end)
    quoted = len(quote) == 1 and buffer.find(quote, start, end) >= 0
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        at: i64 = position
        while at < position + 5:
            if buffer[at] == 10:
                found -= 1
            at += 1
        if buffer[position] != wanted:
            found -= buffer.count(b"\n", position + 5, last)
        elif quoted and buffer.count(quote, position + 5, last) > 0:
            lines, _rest = split_lines(buffer[position + 5 : last], quote)
            found += len(lines) - buffer.count(b"\n", position + 5, last)
        position = last
    return found


def split_text(line: bytes, delimiter: bytes) -> list[bytes]:
    """The raw fields of one text-format line without its newline; an escaped delimiter is content."""
    if b"\\" + delimiter not in line:
        return line.split(delimiter)
    found: list[bytes] = []
    start: i64 = 0
    at: i64 = 0
    size: i64 = len(line)
    mark: i64 = delimiter[0]
    while at < size:
        byte: i64 = line[at]
        if byte == 92:
            at += 1
        elif byte == mark:
            found.append(line[start:at])
            start = at + 1
        at += 1
    found.append(line[start:])
    return found


def split_csv(line: bytes, delimiter: bytes, quote: bytes) -> list[bytes]:
    """The raw fields (quotes and all) of one CSV line without its newline."""
    if quote not in line:
        return line.split(delimiter)
    found: list[bytes] = []
    inside = False
    start: i64 = 0
    at: i64 = 0
    size: i64 = len(line)
    mark: i64 = quote[0]
    comma: i64 = delimiter[0]
    while at < size:
        byte: i64 = line[at]
        if byte == mark:
            inside = not inside
        elif byte == comma and not inside:
            found.append(line[start:at])
            start = at + 1
        at += 1
    if inside:
        raise RemoteProtocolError("a CSV line ends inside quotes")
    found.append(line[start:])
    return found


def tuples_are_whole(buffer: bytes, bulk: int) -> bool:
    """Whether every frame of type `bulk` in `buffer` (complete frames only) holds whole tuples."""
    position: i64 = 0
    stop: i64 = len(buffer)
    wanted: i64 = bulk
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted:
            _, rest = split_tuples(buffer, position + 5, last)
            if rest != last:
                return False
        position = last
    return True


def count_tuples(buffer: bytes, bulk: int, start: int, end: int) -> int:
    """How many binary tuples, the trailer included, the frames of type `bulk` in `buffer[start:end]` hold."""
    position: i64 = start
    stop: i64 = end
    wanted: i64 = bulk
    found: i64 = 0
    while position < stop:
        last: i64 = frame_end(buffer, position, stop)
        if buffer[position] == wanted:
            tuples, _rest = split_tuples(buffer, position + 5, last)
            found += len(tuples)
        position = last
    return found


def split_tuples(data: bytes, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    """(start, end) of every whole binary tuple in `data[start:end]`, and where the unfinished begins.

    The trailer (field count -1) is one item of two bytes; nothing may follow it.
    """
    found: list[tuple[int, int]] = []
    position: i64 = start
    size: i64 = end
    if position < 0 or size > len(data):
        raise RemoteProtocolError("a binary COPY tuple lies outside its buffer")
    while position + 2 <= size:
        high: i64 = data[position]
        low: i64 = data[position + 1]
        count: i64 = (high << 8) | low
        at: i64 = position + 2
        if count == 0xFFFF:
            if at != size:
                raise RemoteProtocolError("bytes follow the trailer of a binary COPY")
            found.append((position, at))
            position = at
            break
        if count > 0x7FFF:
            raise RemoteProtocolError("a binary COPY tuple has an impossible field count")
        whole = True
        while count > 0:
            if at + 4 > size:
                whole = False
                break
            b1: i64 = data[at]
            b2: i64 = data[at + 1]
            b3: i64 = data[at + 2]
            b4: i64 = data[at + 3]
            length: i64 = (b1 << 24) | (b2 << 16) | (b3 << 8) | b4
            at += 4
            if length != 0xFFFFFFFF:
                if length > 0x7FFFFFFF:
                    raise RemoteProtocolError("a binary COPY field has an impossible length")
                if at + length > size:
                    whole = False
                    break
                at += length
            count -= 1
        if not whole:
            break
        found.append((position, at))
        position = at
    return found, position
