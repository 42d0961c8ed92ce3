"""Well-formed messages with something wrong: what we still take, every split and h11 take just so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import corpus
from lockgate.protocols.http.codec import RequestReader
from lockgate.protocols.http.messages import Event, MessageError
from tests.protocols.http import support as s

# What request smuggling is made of, and what separates one thing from the next.
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"\0", b"\x0b", b"-", b"+", b"_", b"0", b"a", b"\x80", b"@", b"#", b"/", b"%",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"X: y\r\n",
    b"Connection: close\r\n", b"0\r\n\r\n", b"5\r\n", b"chunked", b"HTTP/1.1", b"HTTP/1.0", b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
]
EDITS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 6), st.sampled_from(PIECES)), max_size=3)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The data with pieces put in, each over so many bytes that go."""
    for place, gone, piece in edits:
        at = place % (len(data) + 1)
        data = data[:at] + piece + data[at + gone:]
    return data


@settings(max_examples=300)
@given(st.sampled_from(corpus.REQUESTS), EDITS)
def test_requests_with_something_wrong(seed: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """No split makes another message of the bytes, and what we take has the same fields and content for h11."""
    s.verify_requests(edited(seed, edits))


@settings(max_examples=300)
@given(st.sampled_from(corpus.RESPONSES), EDITS, st.sampled_from([b"GET", b"HEAD", b"CONNECT"]), st.booleans())
def test_responses_with_something_wrong(seed: bytes, edits: list[tuple[int, int, bytes]], method: bytes, closed: bool) -> None:
    """The same for responses."""
    s.verify_responses(edited(seed, edits), method, closed)


@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    """Any bytes are messages, or refused, or waited for; nothing else happens."""
    s.verify_requests(data)
    s.verify_responses(data, b"GET", closed=False)


@pytest.mark.parametrize("seed", corpus.REQUESTS)
def test_the_seeds_are_taken(seed: bytes) -> None:
    """What the mutations begin with is well-formed, so that they find more than refusals."""
    assert s.verify_requests(seed).end in ("1", "2")


class Wrong:
    """A reader of requests with a fault in it, around ours."""

    def __init__(self) -> None:
        self.ours = RequestReader()
        self.fed = 0

    def feed(self, data: bytes) -> None:
        self.fed += 1
        self.ours.feed(data)

    def next_message(self) -> None:
        self.ours.next_message()

    @property
    def in_head(self) -> bool:
        return self.ours.in_head

    def event(self) -> Event | None:
        return self.ours.event()


class Hurried(Wrong):
    """What it finds hangs on where the bytes are cut."""

    def event(self) -> Event | None:
        found = super().event()
        if found is None and self.fed > 1:
            raise MessageError("nothing has come")
        return found


class Careless(Wrong):
    """Content of a known length is lost on it."""

    def event(self) -> Event | None:
        found = super().event()
        return super().event() if isinstance(found, bytes) else found


def test_another_outcome_in_pieces_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose answer hangs on where the bytes are cut does not pass."""
    monkeypatch.setattr(s, "RequestReader", Hurried)
    with pytest.raises(AssertionError, match="in pieces"):
        s.verify_requests(corpus.REQUESTS[0])


def test_another_message_than_h11s_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that sees another end of a message than h11 does not pass."""
    monkeypatch.setattr(s, "RequestReader", Careless)
    with pytest.raises(AssertionError, match="h11 takes other"):
        s.verify_requests(corpus.REQUESTS[1])
