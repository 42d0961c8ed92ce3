"""Framing: against a plain reference, at every split, with hostile lengths; both builds."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import LocalProtocolError, RemoteProtocolError

BULK = ord("D")
streams = st.lists(
    st.tuples(st.sampled_from(b"DDDDCZTdcN\x00\xff"), st.binary(max_size=40) | st.just(b"D" * 70)), max_size=12
)


def encoded(stream: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([kind]) + struct.pack("!I", len(body) + 4) + body for kind, body in stream)


def reference(buffer: bytes, start: int) -> tuple[list[tuple[int, int, int]], int]:
    found = []
    while len(buffer) - start >= 5:
        end = start + 1 + struct.unpack_from("!I", buffer, start + 1)[0]
        if end > len(buffer):
            break
        found.append((buffer[start], start, end))
        start = end
    return found, start


def merged(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    out: list[tuple[int, int, int, int]] = []
    for kind, start, end in found:
        if out and kind == BULK and out[-1][0] == BULK:
            out[-1] = (BULK, out[-1][1], end, out[-1][3] + 1)
        else:
            out.append((kind, start, end, 1))
    return out


@given(stream=streams, junk=st.binary(max_size=9))
def test_every_prefix_is_split_like_the_reference(kernel: Any, stream: list[tuple[int, bytes]], junk: bytes) -> None:
    """Wherever a read ends and wherever it starts, whole frames and only whole frames are given back."""
    data = junk + encoded(stream)
    for cut in range(len(junk), len(data) + 1):
        expected, rest = reference(data[:cut], len(junk))
        assert kernel.frames.split_frames(data[:cut], len(junk), 1000) == (expected, rest)
        items, at, missing = kernel.frames.scan_replies(data[:cut], len(junk), BULK)
        assert (items, at) == (merged(expected), rest)
        due = 1 + struct.unpack_from("!I", data, rest + 1)[0] if cut - rest >= 5 else 0
        assert missing == due


@pytest.mark.parametrize("length", [0, 1, 2, 3, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 0x80000004])
def test_an_impossible_length_is_an_error(kernel: Any, length: int) -> None:
    """Lengths below 4, and those that would be negative, never move the offset."""
    data = b"D\0\0\0\4" + b"D" + struct.pack("!I", length) + b"x" * 20
    with pytest.raises(RemoteProtocolError):
        kernel.frames.split_frames(data, 0, 0x7FFFFFFF)
    with pytest.raises(RemoteProtocolError):
        kernel.frames.scan_replies(data, 0, BULK)


def test_a_frame_above_the_limit_is_refused_by_its_header(kernel: Any) -> None:
    """An oversized frame is refused before its body arrives; one of exactly the limit is not."""
    with pytest.raises(RemoteProtocolError):
        kernel.frames.split_frames(b"D\0\0\0\x0b", 0, 10)
    assert kernel.frames.split_frames(b"D\0\0\0\x0a", 0, 10) == ([], 0)


def test_the_largest_length_is_waited_for_without_wrapping(kernel: Any) -> None:
    """2^31-1 is a length like any other: incomplete, and its whole size is told."""
    header = b"D\x7f\xff\xff\xff"
    assert kernel.frames.scan_replies(header + b"abc", 0, BULK) == ([], 0, 0x80000000)
    assert kernel.frames.split_frames(header, 0, 0x7FFFFFFF) == ([], 0)


@given(data=st.binary(max_size=80), start=st.integers(0, 90))
def test_random_bytes_give_frames_or_the_protocol_error(kernel: Any, data: bytes, start: int) -> None:
    """No input makes framing fail in another way or point outside the buffer."""
    try:
        found, rest = kernel.frames.split_frames(data, start, 60)
    except RemoteProtocolError:
        return
    assert all(start <= first < end <= len(data) for _, first, end in found)
    assert rest == (found[-1][2] if found else start)


@given(kind=st.integers(0, 255), body=st.binary(max_size=300))
def test_a_frame_reads_back(kernel: Any, kind: int, body: bytes) -> None:
    """What is framed is one frame of that type and body."""
    data = kernel.frames.frame(kind, body)
    assert kernel.frames.split_frames(data, 0, 1000) == ([(kind, 0, len(data))], len(data))
    assert data[5:] == body


def test_a_length_that_does_not_fit_is_never_encoded(kernel: Any) -> None:
    """A wrapped length would forge a frame, so encoding it raises."""
    assert kernel.frames.checked_length(0x7FFFFFFF) == b"\x7f\xff\xff\xff"
    for length in (0x80000000, 1 << 32, -1):
        with pytest.raises(LocalProtocolError):
            kernel.frames.checked_length(length)
