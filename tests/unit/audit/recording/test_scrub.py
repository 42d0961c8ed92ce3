"""Credentials in what is recorded."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lockgate.audit.recording.scrub import Needles, Scrubber
from lockgate.model import Secret

SECRET = "aab.aac?$\u20ac"
RAW = SECRET.encode()
NEEDLES = Needles([Secret(SECRET), Secret("abc"), Secret(""), Secret("second-one")])


def scrubbed(pieces: list[list[bytes]]) -> bytes:
    scrubber, found = Scrubber(), b""
    for some in pieces:
        taken = scrubber.take(some, NEEDLES)
        assert len(taken) == len(some)
        found += b"".join(taken)
    return found + scrubber.rest()


@given(st.lists(st.sampled_from([b"a", b"aa", b"aab", RAW, b"second-one", b"x\n", b"", b"\xff"]), max_size=12),
       st.lists(st.integers(0, 120), max_size=10), st.integers(1, 3))
def test_no_split_saves_a_credential(words: list[bytes], cuts: list[int], together: int) -> None:
    """However the bytes come, what is written has asterisks where a credential was, and nothing else is changed."""
    data = b"".join(words)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    found = scrubbed([pieces[at:at + together] for at in range(0, len(pieces), together)])
    assert found == data.replace(RAW, b"*" * len(RAW)).replace(b"second-one", b"*" * 10)


def test_one_byte_at_a_time() -> None:
    """An echo of what somebody types."""
    assert scrubbed([[bytes([byte])] for byte in b"x" + RAW + b"y"]) == b"x" + b"*" * len(RAW) + b"y"


def test_pieces_without_one_are_passed_on_as_they_are() -> None:
    """Nothing is copied where there is nothing to hide."""
    pieces = [b"first", b"second!"]
    assert Scrubber().take(pieces, NEEDLES) is pieces


def test_less_than_a_credential_is_held_back() -> None:
    """Memory is bounded by the credential's own length."""
    scrubber = Scrubber()
    assert scrubber.take([b"z" * 100_000 + RAW[:-1]], NEEDLES) == [b"z" * 100_000]
    assert scrubber.rest() == RAW[:-1]


def test_credentials_too_short_to_mean_anything_are_left() -> None:
    """Three letters are a part of any text."""
    assert scrubbed([[b"abc abc"]]) == b"abc abc"
    assert Scrubber().take([b"abc"], Needles([])) == [b"abc"]


@given(st.integers(0, 9_000), st.integers(1, 20), st.integers(4_096, 5_000))
def test_large_pieces_are_looked_at_without_being_joined(at: int, head: int, size: int) -> None:
    """Across their borders as well: the pieces come back as they are only where there is nothing in them."""
    data = b"z" * at + RAW + b"z" * (10_000 - at)
    pieces = [data[:head], data[head:head + size], data[head + size:]]
    assert not NEEDLES.are_in_none(pieces)
    assert scrubbed([pieces]) == data.replace(RAW, b"*" * len(RAW))
    clean = [b"z" * head, b"z" * size, b"z" * 5_000]
    assert Scrubber().take(clean, NEEDLES) is clean
    assert not NEEDLES.are_in_none([*clean, b"z" * 5_000 + RAW[:1]])
