"""Frames and messages of one end of a WebSocket: what is read, in any split, and what is refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.protocols.http.websocket.frames import (
    FRAGMENTS,
    Closing,
    Event,
    FrameError,
    Frames,
    Message,
    Ping,
    Pong,
    close_frame,
    message_frame,
)
from tests.protocols.http import sockets as w

LIMIT = 1000


def read(*pieces: bytes, of_client: bool = True, limit: int = LIMIT) -> list[Event | int]:
    """As `sockets.read`, with a bound that is soon reached."""
    return w.read(*pieces, of_client=of_client, limit=limit)


WHOLE = b"".join((
    w.frame(w.TEXT, "häl", fin=False), w.frame(w.PING, b"between"), w.frame(w.CONTINUATION, b"", fin=False),
    w.frame(w.CONTINUATION, "lo €", fin=False), w.frame(w.PONG), w.frame(w.CONTINUATION, "!"),
    w.frame(w.BINARY, bytes(range(256))), w.frame(w.TEXT, ""), w.closing(1000, "bye")))
EVENTS = [Ping(b"between"), Pong(), Message("hällo €!".encode(), True), Message(bytes(range(256)), False), Message(b"", True),
          Closing(1000, "bye")]


def test_every_split_of_the_bytes_gives_the_same_events() -> None:
    """Fragments are joined, characters cut by their borders too, and control frames come in between."""
    assert read(WHOLE) == EVENTS
    for at in range(1, len(WHOLE)):
        assert read(WHOLE[:at], WHOLE[at:]) == EVENTS, at
    assert read(*(bytes([one]) for one in WHOLE)) == EVENTS


@pytest.mark.parametrize(("data", "code"), [
    (w.frame(w.TEXT, "x", key=None), 1002),
    (w.frame(3, "x"), 1002), (w.frame(11, "x"), 1002),
    *((w.frame(w.TEXT, "x", rsv=bits), 1002) for bits in range(1, 8)),
    (w.frame(w.PING, "x", fin=False), 1002), (w.frame(w.PING, b"x" * 126), 1002),
    (w.frame(w.CONTINUATION, "x"), 1002),
    (w.frame(w.TEXT, "x", fin=False) + w.frame(w.TEXT, "y"), 1002),
    (w.frame(w.TEXT, "x", fin=False) + w.frame(w.BINARY, "y"), 1002),
    (w.frame(w.TEXT, "x") + w.frame(w.CONTINUATION, "y"), 1002),
    (b"\x81\xfe\0\x01" + b"abcd" + b"x", 1002), (b"\x81\xff" + b"\0" * 7 + b"\x01abcdx", 1002),
    (b"\x81\xff\x80" + b"\0" * 7 + b"abcd", 1002),
    (w.frame(w.TEXT, b"\xff"), 1007), (w.frame(w.TEXT, b"\xed\xa0\x80"), 1007), (w.frame(w.TEXT, b"\xc0\xaf"), 1007),
    (w.frame(w.TEXT, b"\xe2\x82"), 1007),
    (w.frame(w.TEXT, b"\xe2\x82", fin=False) + w.frame(w.CONTINUATION, b"x"), 1007),
    (w.frame(w.CLOSE, b"\x03"), 1002), (w.closing(999), 1002), (w.closing(1005), 1002), (w.closing(1006), 1002),
    (w.closing(1015), 1002), (w.closing(2999), 1002), (w.closing(5000), 1002), (w.frame(w.CLOSE, b"\x03\xe8\xff"), 1007),
    (w.frame(w.TEXT, b"x" * (LIMIT + 1)), 1009),
    (w.frame(w.TEXT, b"x" * LIMIT, fin=False) + w.frame(w.CONTINUATION, b"x", fin=False), 1009),
])
def test_what_rfc_6455_does_not_allow_is_refused(data: bytes, code: int) -> None:
    """Masks missing, bits and opcodes reserved, fragments out of order, lengths not minimal, text that is none, too much."""
    assert read(data)[-1] == code
    assert read(*(bytes([one]) for one in data))[-1] == code


def test_a_server_that_masks_is_refused() -> None:
    """Its frames are plain (section 5.1)."""
    assert read(w.frame(w.TEXT, "x"), of_client=False) == [1002]
    assert read(w.told(w.TEXT, "x"), of_client=False) == [Message(b"x", True)]


def test_a_long_message_is_refused_before_it_is_there() -> None:
    """Of a frame that announces more than the bound no more is held than the bound."""
    head = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"abcd"
    assert read(head, b"x" * LIMIT) == []
    assert read(head, b"x" * LIMIT, b"x") == [1009]


def test_empty_fragments_have_a_bound() -> None:
    """They cost their sender nothing."""
    piece = w.frame(w.CONTINUATION, fin=False)
    assert read(w.frame(w.TEXT, "x", fin=False) + piece * (FRAGMENTS - 1)) == []
    assert read(w.frame(w.TEXT, "x", fin=False) + piece * FRAGMENTS) == [1008]


def test_a_compressed_message_is_refused_unread() -> None:
    """Nobody agreed on compression, so a bomb is a reserved bit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"0" * (1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert read(w.frame(w.TEXT, bomb[:-4], rsv=4), limit=1 << 24) == [1002]


def test_a_peer_that_failed_stays_failed() -> None:
    """Behind what is no frame nobody knows where the next begins."""
    frames = Frames(of_client=True, limit=LIMIT)
    frames.feed(w.frame(3, "x"))
    for _ in range(2):
        with pytest.raises(FrameError, match="opcode"):
            frames.event()
        frames.feed(w.frame(w.TEXT, "x"))


def test_behind_a_close_frame_nothing_is_read() -> None:
    """Section 5.5.1; and nothing is kept."""
    frames = Frames(of_client=True, limit=LIMIT)
    frames.feed(w.closing(None))
    assert frames.event() == Closing(None, "")
    frames.feed(w.frame(w.TEXT, "x"))
    assert frames.event() is None
    assert not len(frames._frames._frame_decoder.buffer)


def test_frames_for_a_backend_are_masked_with_fresh_keys() -> None:
    """Section 5.3: nobody can foresee the bytes on the wire. Those for a client are not masked."""
    keys = {w.frames_in(message_frame(b"hello", is_text=True, to_client=False))[0].key for _ in range(20)}
    assert None not in keys
    assert len(keys) > 15
    assert message_frame(b"hello", is_text=True, to_client=True) == w.told(w.TEXT, "hello")
    assert message_frame(b"\xff" * 70_000, is_text=False, to_client=True) == w.told(w.BINARY, b"\xff" * 70_000)


def test_a_reason_is_cut_between_characters() -> None:
    """123 bytes are all that a close frame has for it."""
    (found,) = w.frames_in(close_frame(1008, "€" * 60, to_client=True))
    assert (found.code, found.reason) == (1008, "€" * 41)
    assert close_frame(None, "x", to_client=True) == w.told(w.CLOSE)


def test_text_that_is_not_utf_8_is_not_written() -> None:
    """A mask that broke a character would be a protocol error of the gateway's own."""
    with pytest.raises(ValueError, match="utf-8"):
        message_frame(b"\xff", is_text=True, to_client=True)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_in_any_split_give_the_same_events(pieces: list[bytes]) -> None:
    """Or the same error, and never another exception."""
    w.verify_frames(b"".join(pieces), of_client=True)
    w.verify_frames(b"".join(pieces), of_client=False)
