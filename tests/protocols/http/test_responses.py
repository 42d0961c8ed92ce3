"""What the reader of responses takes, and what it says of it. What it refuses is in the table of vectors."""

from __future__ import annotations

import pytest

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.codec import ResponseReader
from lockgate.protocols.http.messages import (
    End,
    Event,
    Field,
    Framing,
    HeadLimits,
    MessageError,
    ResponseHead,
)
from tests.protocols.http import support as s

OK = b"HTTP/1.1 200 OK\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


def read(data: bytes, method: bytes = b"GET", upgrade: bytes = b"") -> tuple[ResponseReader, list[Event]]:
    """The reader after `data`, and all events."""
    reader = ResponseReader()
    reader.expect(method, upgrade)
    reader.feed(data)
    return reader, list(iter(reader.event, None))


def head(data: bytes, method: bytes = b"GET", upgrade: bytes = b"") -> ResponseHead:
    event = read(data, method, upgrade)[1][0]
    assert isinstance(event, ResponseHead)
    return event


@pytest.mark.parametrize(("data", "method", "closed", "statuses", "body"), [
    # RFC 9112, 2.1 and 7.1; RFC 9110, 15.2 and 8.6
    (OK + b"Date: Mon, 27 Jul 2009 12:28:53 GMT\r\nServer: Apache\r\nETag: \"34aa387-d-1568eb00\"\r\nContent-Length: 5\r\n\r\nHello",
     b"GET", False, [b"200"], b"Hello"),
    (OK + TE + b"\r\n4;x=y\r\nWiki\r\n5;a;b=\"c\xff\"\r\npedia\r\n0;\r\nX-Sum: 1\r\n\r\n", b"GET", False, [b"200"], b"Wikipedia"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
     b"POST", False, [b"100", b"103", b"200"], b""),
    (OK + b"\r\nuntil the end", b"GET", True, [b"200"], b"until the end"),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"GET", True, [b"200"], b"until the end"),
    (OK + b"\r\n", b"GET", True, [b"200"], b""),
    (OK + b"Content-Length: 5\r\n\r\n", b"HEAD", True, [b"200"], b""),
    (OK + TE + b"\r\n", b"HEAD", False, [b"200"], b""),
    (OK + b"\r\n", b"HEAD", False, [b"200"], b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"DELETE", True, [b"204"], b""),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"DELETE", True, [b"204"], b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", True, [b"304"], b""),
    (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", b"POST", True, [b"205"], b""),
    (OK + b"\r\n", b"CONNECT", False, [b"200"], b""),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno", b"CONNECT", False, [b"407"], b"no"),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"GET", False, [b"200"], b""),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", b"GET", False, [b"200"], b""),
    (b"HTTP/1.1 599 \xfcber\r\nContent-Length: 0\r\n\r\n", b"GET", False, [b"599"], b""),
    (b"", b"GET", False, [], b""),
])
def test_responses_are_read_as_h11_reads_them(
    data: bytes, method: bytes, closed: bool, statuses: list[bytes], body: bytes,
) -> None:
    """Every way for a response to end (RFC 9112, 6.3), in any split."""
    outcome = s.verify_responses(data, method, closed)
    assert outcome.end == str(len(statuses))
    assert [seen.start[0] for seen in outcome.seen] == statuses
    assert (outcome.seen[-1].body if statuses else b"") == body


@pytest.mark.parametrize(("fields", "framing", "length", "keep_alive"), [
    (b"Content-Length: 3\r\n", Framing.LENGTH, 3, True),
    (TE, Framing.CHUNKED, 0, True),
    (b"", Framing.UNTIL_CLOSE, 0, False),
    (b"Content-Length: 3\r\nConnection: close\r\n", Framing.LENGTH, 3, False),
])
def test_what_a_head_says(fields: bytes, framing: Framing, length: int, keep_alive: bool) -> None:
    """How the content ends, and whether the connection may be used again."""
    found = head(OK + fields + b"\r\n")
    assert (found.framing, found.length, found.keep_alive, found.is_interim) == (framing, length, keep_alive, False)


def test_http_1_0_does_not_stay() -> None:
    """A backend of HTTP/1.0 is asked once, whatever it promises."""
    assert not head(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").keep_alive


def test_a_switch_that_was_asked_for() -> None:
    """101 ends the response at once, and `rest` gives what has come of the other protocol."""
    reader, events = read(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\0",
                          upgrade=b"websocket")
    assert isinstance(events[0], ResponseHead)
    assert (events[0].upgrade, events[0].is_interim, events[1:]) == (b"websocket", False, [End()])
    with pytest.raises(LocalProtocolError):
        reader.expect(b"GET")
    assert reader.has_rest
    assert reader.rest() == b"\x81\0"
    assert reader.closed() is None


def test_a_tunnel() -> None:
    """2xx to CONNECT ends at once too; everything behind it belongs to the tunnel."""
    reader, events = read(OK + b"\r\nSSH-2.0", b"CONNECT")
    assert len(events) == 2
    assert reader.rest() == b"SSH-2.0"


def test_an_interim_response_has_no_end() -> None:
    """Behind an interim head comes the next head (RFC 9110, 15.2), eight times to each request at most."""
    reader = ResponseReader()
    for _ in range(2):
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 102 Processing\r\n\r\n" * 8 + OK + b"Content-Length: 0\r\n\r\n")
        events = list(iter(reader.event, None))
        assert [event.is_interim for event in events if isinstance(event, ResponseHead)] == [True] * 8 + [False]
        assert events[-1] == End()


def test_an_upgrade_that_is_only_offered() -> None:
    """A server may name protocols in any response; it switches with 101 alone (RFC 9110, 7.8)."""
    fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    assert head(b"HTTP/1.1 426 Upgrade Required\r\n" + fields, upgrade=b"websocket").upgrade == b""


def test_the_first_event_of_extended_chunks() -> None:
    """A response's chunk extensions are read over: they mean nothing behind the next hop (RFC 9112, 7.1.1)."""
    assert read(OK + TE + b"\r\n3;" + b"e" * 255 + b"\r\nabc\r\n0\r\n\r\n")[1][1:] == [b"abc", End()]


def test_extensions_are_counted_by_message() -> None:
    """What one response had of chunk extensions is not held against the next."""
    reader = ResponseReader()
    for _ in range(3):
        reader.expect(b"GET")
        reader.feed(OK + TE + b"\r\n" + (b"1;" + b"e" * 200 + b"\r\nx\r\n") * 50 + b"0\r\n\r\n")
        assert list(iter(reader.event, None))[1:] == [b"x" * 50, End()]


def test_bytes_that_answer_nothing() -> None:
    """What comes before a request goes out would answer it, or another principal's: the connection is given up."""
    reader = ResponseReader()
    assert reader.event() is None
    assert reader.closed() is None
    reader.feed(OK + b"Content-Length: 0\r\n\r\n")
    with pytest.raises(MessageError) as caught:
        reader.event()
    assert caught.value.status == 502
    early = ResponseReader()
    early.feed(b"H")
    with pytest.raises(MessageError):
        early.expect(b"GET")
    with pytest.raises(LocalProtocolError):
        early.expect(b"GET")


def test_one_response_after_the_other() -> None:
    """The next request is told when the response before has ended, not sooner."""
    reader, events = read(OK + b"Content-Length: 5\r\n\r\nhel")
    assert events[1:] == [b"hel"]
    with pytest.raises(LocalProtocolError):
        reader.expect(b"GET")
    reader.feed(b"lo")
    assert list(iter(reader.event, None)) == [b"lo", End()]
    reader.expect(b"HEAD")
    reader.feed(OK + b"Content-Length: 5\r\n\r\n")
    assert isinstance(reader.event(), ResponseHead)
    assert reader.event() == End()
    assert reader.closed() is None


def test_the_end_is_asked_for_behind_the_events() -> None:
    """Whoever says that the connection is closed has taken everything that came before."""
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(OK + b"\r\nx")
    with pytest.raises(LocalProtocolError):
        reader.closed()


def test_a_cut_response_stays_failed() -> None:
    """After a response that is cut off the reader is of no use."""
    reader, _ = read(OK + b"Content-Length: 5\r\n\r\nhel")
    for use in (reader.closed, reader.event):
        with pytest.raises(MessageError) as caught:
            use()
        assert caught.value.status == 502


def test_fields_of_a_response() -> None:
    """`get` and `all` as on a request; several where one is asked for is the backend's fault."""
    found = head(OK + b"Content-Length: 0\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n")
    assert found.fields[0] == Field(b"content-length", b"0", b"Content-Length")
    assert found.all(b"set-cookie") == [b"a", b"b"]
    assert found.get(b"content-length") == b"0"
    with pytest.raises(MessageError) as caught:
        found.get(b"set-cookie")
    assert caught.value.status == 502


def test_limits_of_a_status_line() -> None:
    """A status line may be as long as the limit says, and not a byte longer."""
    for size, refused in ((40, False), (41, True)):
        reader = ResponseReader(HeadLimits(line=40))
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 200 ".ljust(size, b"a") + b"\r")
        if refused:
            with pytest.raises(MessageError):
                reader.event()
        else:
            assert reader.event() is None
