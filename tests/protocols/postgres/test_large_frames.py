"""A frame of a client that comes in pieces is put together once, however many pieces it is."""

from __future__ import annotations

import pytest

from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World, state_of

_PIECE = 10_000


def _pieces(data: bytes) -> list[bytes]:
    return [data[start:start + _PIECE] for start in range(0, len(data), _PIECE)]


@pytest.mark.parametrize("behind", [b"", s.query("select 2"), s.query("select 2") + s.query("select 3")[:9]])
def test_a_frame_in_pieces_is_joined_once(behind: bytes) -> None:
    """Until the last piece is there the first stays as it is: no copy of all for each of them."""
    text = "select '" + "x" * 195_000 + "'"
    book = World().session()
    first, *rest, last = _pieces(s.query(text))
    book >> Bytes(CLIENT, first)
    kept = state_of(book).inbox
    for piece in rest:
        book >> Bytes(CLIENT, piece)
        assert state_of(book).inbox is kept
        assert not book.mediator.is_idle
    book >> Bytes(CLIENT, last + behind)
    expected = s.query(text) + (s.query("select 2") if behind else b"")
    assert book.sent(SERVER) == expected
    book >> Bytes(SERVER, (s.complete() + s.ready()) * (2 if behind else 1))
    assert book.mediator.is_idle == (len(behind) in (0, len(s.query("select 2"))))


def test_every_split_gives_the_same() -> None:
    """Headers and bodies cut anywhere: the backend gets the same bytes."""
    data = s.query("select 1") + s.parse("select 2", "p") + s.SYNC + s.query("select 3")
    whole = World().session()
    whole >> Bytes(CLIENT, data)
    expected = whole.sent(SERVER)
    for cut in range(1, len(data) - 1):
        for second in (cut + 1, min(cut + 7, len(data) - 1)):
            book = World().session()
            for piece in (data[:cut], data[cut:second], data[second:]):
                if piece:
                    book >> Bytes(CLIENT, piece)
            assert book.sent(SERVER) == expected


def test_pieces_between_replies_are_not_lost() -> None:
    """What the backend says meanwhile leaves the pieces of a frame where they are."""
    book = World().session()
    large = s.query("select '" + "y" * 50_000 + "'")
    book >> Bytes(CLIENT, s.query("select 1") + large[:20_000])
    book >> Bytes(CLIENT, large[20_000:40_000])
    book >> Bytes(SERVER, s.complete() + s.ready())
    book >> Bytes(CLIENT, large[40_000:])
    assert book.sent(SERVER) == s.query("select 1") + large


def test_an_oversized_frame_is_refused_by_its_header() -> None:
    """Nothing is waited for that may not come."""
    book = World().session()
    book >> Bytes(CLIENT, b"Q\x7f\xff\xff\xff")
    assert s.errors(book.sent(CLIENT))[0]["C"] == "08P01"
    assert book.is_closed
