"""What the reader of requests takes, and what it says of it. What it refuses is in the table of vectors."""

from __future__ import annotations

import pytest

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.codec import RequestReader
from lockgate.protocols.http.incoming import Incoming
from lockgate.protocols.http.messages import End, Event, Field, Framing, HeadLimits, MessageError, RequestHead
from tests.protocols.http import support as s


def read(data: bytes, limits: HeadLimits | None = None) -> list[Event]:
    """All events of the first request."""
    reader = RequestReader(limits or HeadLimits())
    reader.feed(data)
    return list(iter(reader.event, None))


def head(line: bytes = b"GET / HTTP/1.1", fields: bytes = b"", host: bytes = s.HOST) -> RequestHead:
    event = read(line + b"\r\n" + host + fields + b"\r\n")[0]
    assert isinstance(event, RequestHead)
    return event


# --- the RFC's own examples ----------------------------------------------------------------------


@pytest.mark.parametrize(("data", "start"), [
    # RFC 9112, 2.1, 3.2.1 to 3.2.4
    (b"GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\nAccept-Language: en, mi\r\n\r\n",
     (b"GET", b"/hello.txt")),
    (b"GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n", (b"GET", b"/where?q=now")),
    (b"GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
     (b"GET", b"http://www.example.org/pub/WWW/TheProject.html")),
    (b"CONNECT www.example.com:80 HTTP/1.1\r\nHost: www.example.com\r\n\r\n", (b"CONNECT", b"www.example.com:80")),
    (b"OPTIONS * HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n", (b"OPTIONS", b"*")),
    # RFC 9110, 7.8, 9.3.7, 10.1.1
    (b"GET /hello HTTP/1.1\r\nHost: www.example.com\r\nConnection: upgrade\r\nUpgrade: websocket, IRC/6.9, RTA/x11\r\n\r\n",
     (b"GET", b"/hello")),
    (b"OPTIONS http://www.example.org:8001 HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n",
     (b"OPTIONS", b"http://www.example.org:8001")),
    ((b"PUT /somewhere/fun HTTP/1.1\r\nHost: origin.example.com\r\nContent-Type: video/h264\r\n"
      b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"), (b"PUT", b"/somewhere/fun")),
])
def test_the_standards_examples_are_read(data: bytes, start: tuple[bytes, bytes]) -> None:
    """What RFC 9110 and 9112 show as requests is read, in any split, as h11 reads it."""
    outcome = s.verify_requests(data)
    assert outcome.end == "1"
    assert outcome.seen[0].start == start


def test_chunked_content_with_trailers() -> None:
    """Chunks become content, the trailer section the End's fields (RFC 9112, 7.1)."""
    data = (b"POST / HTTP/1.1\r\n" + s.HOST + b"Transfer-Encoding: Chunked\r\nTrailer: Expires-At\r\n\r\n"
            b"4\r\nWiki\r\n006\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n000\r\nExpires-At:  now \r\nX:\r\n\r\n")
    events = read(data)
    assert isinstance(events[0], RequestHead)
    assert events[0].framing is Framing.CHUNKED
    assert events[1:] == [b"Wikipedia in \r\n\r\nchunks.",
                          End((Field(b"expires-at", b"now", b"Expires-At"), Field(b"x", b"", b"X")))]
    assert s.verify_requests(data).end == "1"


# --- heads ---------------------------------------------------------------------------------------


def test_fields_keep_their_writing_and_order() -> None:
    """A field has its name in lower case and as written; white space around the value is no part of it."""
    assert head(fields=b"X-ABC: \t a\tb \t \r\nx-abc:\r\nY:\xff\r\n").fields[1:] == (
        Field(b"x-abc", b"a\tb", b"X-ABC"), Field(b"x-abc", b"", b"x-abc"), Field(b"y", b"\xff", b"Y"))


def test_one_value_or_all() -> None:
    """`all` gives every value; `get` gives the only one, nothing, or an error where somebody else may read another."""
    found = head(fields=b"Accept: a\r\nX: y\r\nAccept: b\r\n")
    assert (found.get(b"x"), found.get(b"z"), found.all(b"accept"), found.all(b"z")) == (b"y", None, [b"a", b"b"], [])
    with pytest.raises(MessageError) as caught:
        found.get(b"accept")
    assert caught.value.status == 400


@pytest.mark.parametrize("method", [b"GET", b"M-SEARCH", b"VERSION-CONTROL", b"X" * 32, b"*", b"PATCH!"])
def test_a_method_is_any_token_in_capitals(method: bytes) -> None:
    """Which methods there are is for the policy to say."""
    assert head(method + b" / HTTP/1.1").method == method


@pytest.mark.parametrize("target", [
    b"/", b"//", b"/a/../b", b"/a;b=c,d/@:!$&'()*+=~-._", b"/%41%e2%82%ac", b"/?", b"/??a=%&b=/?:@", b"/?q={a}|^`[]", b"/a[1]{b}|c^d`",
    b"/?%zz%00", b"http://a.example", b"HTTP://A.Example:80/?x", b"http://a.example?x=/y",
])
def test_targets_of_every_form(target: bytes) -> None:
    """What browsers and clients send as it is, is a target; it is kept as it was written."""
    assert head(b"GET " + target + b" HTTP/1.1").target == target


@pytest.mark.parametrize("host", [
    b"a", b"A.B-C.example", b"xn--bcher-kva.example", b"under_score", b"_a._b", b"a--b", b"a:1", b"a:65535", b"127.0.0.1", b"127.0.0.1:80",
    b"[::1]", b"[2001:DB8::1]:443", b"[::ffff:1.2.3.4]", b"1a.2b", b"1.example", b"0x7f.example", b"a" * 63 + b".example",
    b".".join([b"a" * 49] * 5) + b".bbb",
])
def test_hosts_that_are_hosts(host: bytes) -> None:
    """Names, addresses and ports in their one usual spelling."""
    assert head(host=b"Host: " + host + b"\r\n").get(b"host") == host


@pytest.mark.parametrize(("target", "host"), [
    (b"http://a.example/", b"a.example:80"), (b"https://a.example:443/", b"a.example"), (b"http://A.EXAMPLE/", b"a.example"),
    (b"http://[::1]/", b"[0:0:0:0:0:0:0:1]"), (b"http://a.example:8080", b"a.example:8080"),
])
def test_an_absolute_target_agrees_with_the_host(target: bytes, host: bytes) -> None:
    """The scheme's own port need not be written, letters may be large, and an address is an address."""
    assert head(b"GET " + target + b" HTTP/1.1", host=b"Host: " + host + b"\r\n").target == target


@pytest.mark.parametrize(("version", "fields", "expected"), [
    (b"1.1", b"", True), (b"1.1", b"Connection: keep-alive\r\n", True), (b"1.1", b"Connection: Close\r\n", False),
    (b"1.1", b"Connection: te\r\nConnection: x , close\r\n", False), (b"1.1", b"Connection: close, keep-alive\r\n", False),
    (b"1.0", b"", False), (b"1.0", b"Connection: keep-alive\r\n", False),
])
def test_whether_the_connection_stays(version: bytes, fields: bytes, expected: bool) -> None:
    """HTTP/1.1 stays unless a Connection field says close; HTTP/1.0 never does (RFC 9112, 9.3)."""
    assert head(b"GET / HTTP/" + version, fields).keep_alive is expected


@pytest.mark.parametrize(("line", "fields", "expected"), [
    (b"POST / HTTP/1.1", b"Content-Length: 1\r\nExpect: 100-Continue\r\n", True),
    (b"POST / HTTP/1.1", b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", True),
    (b"POST / HTTP/1.1", b"Content-Length: 0\r\nExpect: 100-continue\r\n", False),
    (b"POST / HTTP/1.1", b"Content-Length: 1\r\n", False),
    (b"POST / HTTP/1.0", b"Content-Length: 1\r\nExpect: 100-continue\r\n", False),
])
def test_who_waits_for_100(line: bytes, fields: bytes, expected: bool) -> None:
    """A client of HTTP/1.1 that has content and says so waits for 100 (RFC 9110, 10.1.1)."""
    assert head(line, fields).expects_continue is expected


@pytest.mark.parametrize(("line", "fields", "expected"), [
    (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n", b"websocket"),
    (b"GET / HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", b"h2c"),
    (b"GET / HTTP/1.1", b"Connection: upgrade\r\nUpgrade: IRC/6.9\r\n", b"irc/6.9"),
    (b"GET / HTTP/1.1", b"Upgrade: websocket\r\n", b""),
    (b"GET / HTTP/1.1", b"Connection: Upgrade\r\n", b""),
    (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", b""),
    (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", b""),
    (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: a/\r\n", b""),
    (b"GET / HTTP/1.0", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
    (b"POST / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", b""),
])
def test_what_is_an_offer_to_switch(line: bytes, fields: bytes, expected: bytes) -> None:
    """One protocol that Connection stands for is an offer; anything else a server may ignore, and is none."""
    assert head(line, fields).upgrade == expected


@pytest.mark.parametrize(("fields", "framing", "length"), [
    (b"", Framing.NONE, 0), (b"Content-Length: 0\r\n", Framing.LENGTH, 0), (b"Content-Length:17\r\n", Framing.LENGTH, 17),
    (b"Content-Length: 9007199254740991\r\n", Framing.LENGTH, (1 << 53) - 1), (b"TRANSFER-ENCODING: chunked\r\n", Framing.CHUNKED, 0),
])
def test_how_content_is_framed(fields: bytes, framing: Framing, length: int) -> None:
    """A length, chunks, or nothing: a request never ends with the connection (RFC 9112, 6.3)."""
    found = head(b"POST / HTTP/1.1", fields)
    assert (found.framing, found.length) == (framing, length)


# --- content -------------------------------------------------------------------------------------


def test_content_is_not_copied() -> None:
    """Content that is read as it arrives is the very object that was fed."""
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\n" + s.HOST + b"Content-Length: 100000\r\n\r\n")
    assert isinstance(reader.event(), RequestHead)
    data = b"x" * 40_000
    for _ in range(2):
        reader.feed(data)
        assert reader.event() is data
        assert reader.event() is None


def test_a_head_in_pieces_is_joined_once() -> None:
    """A head that comes byte by byte grows in one buffer: no piece is copied again with each that follows."""
    incoming = Incoming()
    buffers = set()
    for byte in b"GET / HTTP/1.1\r\n" + s.HOST + b"X: " + b"y" * 1_000 + b"\r\n":
        incoming.feed(bytes([byte]))
        assert incoming.head() is None
        buffers.add(id(incoming._data))
    assert len(buffers) == 2                # the first byte itself, and the buffer
    incoming.feed(b"\r\n")
    assert incoming.head() is not None
    assert not incoming


def test_tiny_chunks_are_few_events() -> None:
    """A thousand chunks of a byte that came together are one piece of content."""
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\n" + s.HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n")
    events = list(iter(reader.event, None))
    assert events[1:] == [b"x" * 1_000, End()]


def test_a_large_chunk_does_not_wait() -> None:
    """Content of a chunk goes on before the chunk is whole."""
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\n" + s.HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\nabc")
    assert isinstance(reader.event(), RequestHead)
    assert reader.event() == b"abc"
    assert reader.event() is None


# --- the order of things --------------------------------------------------------------------------


def test_the_next_request_waits() -> None:
    """A pipelined request is not looked at before the one before it is done with."""
    reader = RequestReader()
    reader.feed((b"GET /1 HTTP/1.1\r\n" + s.HOST + b"\r\n") + b"GET /2 HTTP/1.1\r\n" + s.HOST + b"\r\nnoise")
    first = reader.event()
    assert isinstance(first, RequestHead)
    with pytest.raises(LocalProtocolError):
        reader.next_message()
    assert reader.event() == End()
    assert reader.event() is None
    assert reader.has_rest
    reader.next_message()
    second = reader.event()
    assert isinstance(second, RequestHead)
    assert (first.target, second.target) == (b"/1", b"/2")


def test_a_head_is_watched_from_its_first_byte() -> None:
    """`in_head` is true from a head's first byte to its last, `is_idle` where nothing has come: timers go by them."""
    reader = RequestReader()
    states = [(reader.in_head, reader.is_idle)]
    for part in (b"G", b"ET / HTTP/1.1\r\n" + s.HOST + b"\r", b"\n"):
        reader.feed(part)
        event = reader.event()
        states.append((reader.in_head, reader.is_idle))
    assert isinstance(event, RequestHead)
    assert reader.event() == End()
    states.append((reader.in_head, reader.is_idle))
    assert states == [(False, True), (True, False), (True, False), (False, False), (False, True)]


def test_the_rest_is_for_another_protocol() -> None:
    """Behind a CONNECT or an upgrade, `rest` gives what has come, and the reader has ended."""
    reader = RequestReader()
    reader.feed(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03")
    with pytest.raises(LocalProtocolError):
        reader.rest()
    assert isinstance(reader.event(), RequestHead)
    assert reader.event() == End()
    assert reader.rest() == b"\x16\x03"
    assert reader.event() is None
    for use in (lambda: reader.feed(b"x"), reader.next_message, reader.rest):
        with pytest.raises(LocalProtocolError):
            use()


def test_after_a_failure_nothing_goes_on() -> None:
    """A reader that has refused bytes refuses again, takes no more, and hands nothing out."""
    reader = RequestReader()
    reader.feed(b"GET /\r\n\r\nGET / HTTP/1.1\r\n" + s.HOST + b"\r\n")
    for _ in range(2):
        with pytest.raises(MessageError) as caught:
            reader.event()
        assert caught.value.status == 400
    for use in (lambda: reader.feed(b"x"), reader.next_message, reader.rest):
        with pytest.raises(LocalProtocolError):
            use()


@pytest.mark.parametrize("vector", s.vectors("requests")[::7], ids=str)
def test_a_failure_does_not_tell_the_bytes(vector: s.Vector) -> None:
    """The sentence of a failure is one of ours: it may go to a log and to the other side."""
    reader = RequestReader()
    reader.feed(vector.data.replace(b"/", b"/s3cr3t").replace(b":", b": s3cr3t"))
    with pytest.raises(MessageError) as caught:
        while reader.event() is not None or reader.next_message() is not None:
            pass
    assert "s3cr3t" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert caught.value.__context__ is None


# --- limits ----------------------------------------------------------------------------------------

SMALL = HeadLimits(line=40, head=200, fields=4, field=50, trailers=60)


@pytest.mark.parametrize(("data", "status"), [
    (b"GET /" + b"a" * 26 + b" HTTP/1.1\r\n" + s.HOST + b"\r\n", 0),
    (b"GET /" + b"a" * 27 + b" HTTP/1.1\r\n" + s.HOST + b"\r\n", 414),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: y\r\n" * 3 + b"\r\n", 0),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: y\r\n" * 4 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: " + b"y" * 47 + b"\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: " + b"y" * 48 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: " + b"y" * 45 + b"\r\nX: " + b"y" * 45 + b"\r\nX: " + b"y" * 43 + b"\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\n" + s.HOST + b"X: " + b"y" * 45 + b"\r\nX: " + b"y" * 45 + b"\r\nX: " + b"y" * 63 + b"\r\n\r\n", 431),
    (b"POST / HTTP/1.1\r\n" + s.HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 45 + b"\r\nZ: y\r\n\r\n", 0),
    (b"POST / HTTP/1.1\r\n" + s.HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 45 + b"\r\nZ: yyyyyyy\r\n\r\n", 431),
])
def test_limits_hold_to_the_byte(data: bytes, status: int) -> None:
    """What a limit allows is read and one byte more is refused, in one piece and byte by byte."""
    for parts in ([data], [bytes([byte]) for byte in data]):
        reader = RequestReader(SMALL)
        found = 0
        try:
            for part in parts:
                reader.feed(part)
                while reader.event() is not None:
                    pass
        except MessageError as error:
            found = error.status
        assert found == status
