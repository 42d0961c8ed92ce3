"""COPY rows: where lines, CSV fields and binary tuples begin and end; both builds."""

from __future__ import annotations

import csv
import io
import string
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from tests.unit.kernel.test_rows import body, frame, values

cells = st.text("ab,\"\n\r x'", max_size=6)


@given(rows=st.lists(st.lists(cells, min_size=2, max_size=3), max_size=5), cut=st.integers(0, 200))
def test_csv_is_split_like_the_standard_library_writes_it(kernel: Any, rows: list[list[str]], cut: int) -> None:
    """Newlines and delimiters inside quotes are content, at every cut of the stream."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(rows)
    data = sink.getvalue().encode()
    first, rest = kernel.copy_text.split_lines(data[:cut], b'"')
    second, end = kernel.copy_text.split_lines(rest + data[cut:], b'"')
    assert end == b""
    assert len(first + second) == len(rows)
    for line, row in zip(first + second, rows, strict=True):
        fields = kernel.copy_text.split_csv(line[:-1], b",", b'"')
        plain = [field[1:-1].replace(b'""', b'"') if field[:1] == b'"' else field for field in fields]
        assert plain == [cell.encode() for cell in row]


def test_quotes_left_open_are_an_error(kernel: Any) -> None:
    """A line that ends inside quotes is no line."""
    with pytest.raises(RemoteProtocolError):
        kernel.copy_text.split_csv(b'a,"b', b",", b'"')


@given(parts=st.lists(st.text("a|\\\t", max_size=5), min_size=1, max_size=4))
def test_an_escaped_delimiter_is_content(kernel: Any, parts: list[str]) -> None:
    """Escaping backslash and delimiter keeps any text in one field."""
    raw = [part.replace("\\", "\\\\").replace("|", "\\|").encode() for part in parts]
    assert kernel.copy_text.split_text(b"|".join(raw), b"|") == raw


@given(rows=st.lists(st.lists(values, max_size=3), max_size=5), cut=st.integers(0, 200))
def test_tuples_are_whole_or_wait(kernel: Any, rows: list[list[bytes | None]], cut: int) -> None:
    """Binary tuples are given back once, whole, at every cut of the stream."""
    stream = b"".join(body(row) for row in rows)
    cut = min(cut, len(stream))
    first, rest = kernel.copy_text.split_tuples(stream, 0, cut)
    second, end = kernel.copy_text.split_tuples(stream, rest, len(stream))
    assert end == len(stream)
    assert [stream[start:stop] for start, stop in first + second] == [body(row) for row in rows]
    framed = b"d" + struct.pack("!I", cut + 4) + stream[:cut]
    assert kernel.copy_text.tuples_are_whole(framed, ord("d")) == (rest == cut)


@pytest.mark.parametrize("data", [b"\xff\xff\0", b"\x80\0", b"\0\1\xff\xff\xff\xfe", b"\0\1\x80\0\0\0"])
def test_hostile_tuples_are_an_error(kernel: Any, data: bytes) -> None:
    """Bytes behind the trailer, negative counts and lengths are refused."""
    with pytest.raises(RemoteProtocolError):
        kernel.copy_text.split_tuples(data, 0, len(data))


@pytest.mark.parametrize(
    ("lines", "quote", "whole"),
    [([b"a\n", b"b\n"], b"", True), ([b"a\n", b"b"], b"", False), ([b'"a\n', b'b"\n'], b'"', False),
     ([b'"a\n', b'b"\n'], b"", True), ([b'"a\nb"\n'], b'"', True), ([b"x" * 29 + b"\n"], b'"', True),
     ([b'"' + b"x" * 26 + b'"\n', b""], b'"', True), ([b"x" * 29 + b"\n", b'"a"\n'], b'"', True)],
)  # fmt: skip
def test_frames_of_whole_lines_are_told(kernel: Any, lines: list[bytes], quote: bytes, whole: bool) -> None:
    """Only the body counts: a length byte that looks like a quote (34) changes nothing."""
    data = b"".join(b"d" + struct.pack("!I", len(line) + 4) + line for line in lines)
    assert kernel.copy_text.lines_are_whole(data + frame([b"no newline"], ord("N")), ord("d"), quote) is whole


@given(groups=st.lists(st.lists(st.lists(cells, min_size=2, max_size=3), max_size=3), max_size=4), quoted=st.booleans(),
       first=st.integers(0, 4), last=st.integers(0, 4))
def test_lines_are_counted_like_they_are_split(kernel: Any, groups: list[list[list[str]]], quoted: bool, first: int, last: int) -> None:
    """In any run of frames that hold whole lines; frames of another type hold none."""
    frames = []
    due = []
    for rows in groups:
        sink = io.StringIO()
        csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        body_ = sink.getvalue().encode() if quoted else b"a\\nb\tc\n" * len(rows)
        frames += [b"d" + struct.pack("!I", len(body_) + 4) + body_, frame([b"x\n"], ord("N"))]
        due += [len(rows), 0]
    first, last = min(first, len(frames)), min(last, len(frames))
    start, end = (sum(map(len, frames[:place])) for place in (first, max(first, last)))
    quote = b'"' if quoted else b""
    assert kernel.copy_text.count_lines(b"".join(frames), ord("d"), quote, start, end) == sum(due[first : max(first, last)])


@given(groups=st.lists(st.lists(st.lists(values, max_size=3), max_size=3), max_size=4), trailer=st.booleans())
def test_tuples_are_counted_like_they_are_split(kernel: Any, groups: list[list[list[bytes | None]]], trailer: bool) -> None:
    """The trailer is one of them."""
    bodies = [b"".join(map(body, rows)) for rows in groups] + [b"\xff\xff"] * trailer
    whole = b"".join(b"d" + struct.pack("!I", len(part) + 4) + part + frame([b"x"], ord("N")) for part in bodies)
    assert kernel.copy_text.count_tuples(whole, ord("d"), 0, len(whole)) == sum(map(len, groups)) + trailer


@given(sizes=st.lists(st.integers(0, 700) | st.sampled_from([251, 252, 0x12C, 0x15D]), max_size=6))
def test_long_frames_that_may_hide_their_beginning_are_told(kernel: Any, sizes: list[int]) -> None:
    """Those whose length is 256 or more and ends like text; of binary rows all that long; of another type none."""
    whole = b"".join(b"d" + struct.pack("!I", size + 4) + bytes(size) + frame([bytes(999)], ord("N")) for size in sizes)
    for binary in (False, True):
        found = kernel.copy_text.long_frames(whole, ord("d"), binary)
        assert all(whole[start] == ord("d") for start, _ in found)
        due = [size for size in sizes if size + 4 >= 256 and (
            binary or chr((size + 4) % 256) in string.ascii_letters + string.digits + "+-.")]
        assert [end - start - 5 for start, end in found] == due
