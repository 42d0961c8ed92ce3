"""The backlog of a frame that has not arrived whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.wire.buffer import Backlog


@given(st.binary(min_size=1, max_size=100), st.lists(st.integers(1, 20), max_size=20))
def test_nothing_is_lost_and_nothing_comes_early(frame: bytes, sizes: list[int]) -> None:
    """Bytes come back once, in order, and only when the frame is whole."""
    backlog = Backlog()
    backlog.keep(frame[:1], len(frame))
    position, taken = 1, b""
    for size in [*sizes, len(frame)]:
        piece = frame[position:position + size]
        position += len(piece)
        if not piece or taken:
            break
        taken = backlog.take(piece)
        assert (taken == b"") == (position < len(frame))
    if len(frame) > 1:
        assert taken == frame
        assert len(backlog) == 0


def test_without_a_frame_bytes_pass() -> None:
    """An empty backlog holds nothing back."""
    assert Backlog().take(b"abc") == b"abc"


def test_an_unknown_length_needs_one_more_byte() -> None:
    """While the header is incomplete any byte is worth a look."""
    backlog = Backlog()
    backlog.keep(b"D\0", 0)
    assert backlog.take(b"\0") == b"D\0\0"
