"""HTTP/2 streams: what becomes of them as HTTP/1.1, what is refused, and what a hostile client gets."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame
import pytest

from lockgate.protocols.http.codec import RequestReader
from lockgate.protocols.http.messages import End, RequestHead
from lockgate.protocols.http.multiplex import Http2Multiplexer
from lockgate.wire.spec import StreamEvent
from tests.protocols.http import scene as s

HEADERS = [(":method", "GET"), (":scheme", "https"), (":authority", "crm.example"), (":path", "/a?b=1")]


class Client:
    """A client that says what it is told, even what no client says."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.mux = Http2Multiplexer(s.World().context(), None, 15.0)
        self.events: list[h2.events.Event] = []
        self.exchange()

    def exchange(self) -> list[StreamEvent]:
        """Let both sides hear each other until nobody has anything to say."""
        found: list[StreamEvent] = []
        while True:
            sent, said = self.h2.data_to_send(), self.mux.outgoing()
            if not sent and not said:
                return found
            if sent:
                found += self.mux.receive(sent)
            if said:
                self.events += self.h2.receive_data(said)

    def ask(self, headers: list[tuple[str, str]], stream: int = 1, *, ends: bool = True) -> list[StreamEvent]:
        self.h2.send_headers(stream, headers, end_stream=ends)
        return self.exchange()

    def said(self, kind: type) -> list[h2.events.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def request_of(events: list[StreamEvent]) -> list[object]:
    """What the reader of HTTP/1.1 makes of a stream."""
    reader = RequestReader()
    reader.feed(b"".join(event.data for event in events))
    found: list[object] = []
    while (event := reader.event()) is not None:
        found.append(event)
    return found


def test_a_stream_is_one_request() -> None:
    """Pseudo-fields become the request line and Host; cookies are one field; content comes in chunks, with trailers."""
    client = Client()
    events = client.ask([*HEADERS, ("cookie", "a=1"), ("cookie", "b=2"), ("x-one", "1")])
    head = request_of(events)[0]
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.get(b"host"), head.get(b"cookie")) == (b"GET", b"/a?b=1", b"crm.example", b"a=1; b=2")
    client = Client()
    events = client.ask([(":method", "POST"), *HEADERS[1:]], ends=False)
    client.h2.send_data(1, b"hello ")
    client.h2.send_data(1, b"world")
    client.h2.send_headers(1, [("x-sum", "7")], end_stream=True)
    events += client.exchange()
    found = request_of(events)
    assert b"".join(one for one in found if isinstance(one, bytes)) == b"hello world"
    assert isinstance(found[-1], End)
    assert [field.name for field in found[-1].trailers] == [b"x-sum"]


def test_a_websocket_over_http_2_is_not_offered_and_refused() -> None:
    """Extended CONNECT (RFC 8441): without the setting a client may not ask, and who does is told so. They come over HTTP/1.1."""
    client = Client()
    assert client.h2.remote_settings.enable_connect_protocol == 0
    assert client.ask([(":method", "CONNECT"), (":protocol", "websocket"), *HEADERS[1:], ("sec-websocket-version", "13")], ends=False) == []
    (reset,) = client.said(h2.events.StreamReset)
    assert reset.error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR


def test_streams_come_to_their_end_behind_a_goaway() -> None:
    """Who is told that no more streams are opened still gets the answers to those that are; one that comes too late is
    refused as not looked at."""
    client = Client()
    client.ask(HEADERS, 1)
    client.h2.send_headers(3, HEADERS, end_stream=True)
    late = client.h2.data_to_send()
    client.mux.end()
    client.mux.end()
    assert client.mux.receive(late) == []
    assert client.mux.send(1, s.answer(b"whole")) is True
    frames, said = [], client.mux.outgoing()
    while said:
        frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(said[:9]))
        frame.parse_body(memoryview(said[9:9 + length]))
        frames.append(frame)
        said = said[9 + length:]
    kinds = [(type(frame).__name__, frame.stream_id) for frame in frames]
    assert kinds == [("GoAwayFrame", 0), ("RstStreamFrame", 3), ("HeadersFrame", 1), ("DataFrame", 1), ("DataFrame", 1)]
    assert (frames[0].last_stream_id, frames[0].error_code) == (1, 0)
    assert frames[1].error_code == h2.errors.ErrorCodes.REFUSED_STREAM
    assert frames[3].data == b"whole"
    assert not client.mux.has_ended


def test_an_answer_goes_out_as_the_windows_allow() -> None:
    """More than the client's window waits, makes the stream slow, and follows when the window opens."""
    client = Client()
    client.ask(HEADERS)
    content = b"x" * 400_000
    assert not client.mux.send(1, s.answer(content, Keep_Alive="5", Connection="close"))
    assert client.mux.is_slow(1)
    got = b""
    for _ in range(50):
        client.exchange()
        for event in client.said(h2.events.DataReceived):
            got += event.data
            client.h2.acknowledge_received_data(event.flow_controlled_length, 1)
        client.events = [event for event in client.events if not isinstance(event, h2.events.DataReceived)]
    assert got == content
    head = client.said(h2.events.ResponseReceived)[0]
    assert {bytes(name) for name, _ in head.headers} == {b":status", b"content-type", b"content-length"}
    assert client.said(h2.events.StreamEnded)
    assert not client.mux.is_slow(1)


@pytest.mark.parametrize("headers", [
    [*HEADERS, ("x", "a\r\nGET /evil HTTP/1.1")], [*HEADERS, ("x", "a\nb")], [*HEADERS, ("x", "a\0b")],
    [*HEADERS, ("x y", "1")], [*HEADERS, ("x:y", "1")], [*HEADERS, ("X-Upper", "1")],
    [*HEADERS, ("transfer-encoding", "chunked")], [*HEADERS, ("connection", "keep-alive")], [*HEADERS, ("upgrade", "h2c")],
    [*HEADERS, ("host", "other.example")], [*HEADERS[:3], (":path", "/a b")], [*HEADERS[:3], (":path", "/a\r\nX: 1")],
    [*HEADERS[:3], (":path", "")], [*HEADERS[:2], (":authority", "a.example\r\nX: 1"), HEADERS[3]],
    [*HEADERS[:2], (":authority", "u:p@a.example"), HEADERS[3]], [*HEADERS[:2], HEADERS[3]],
    [(":method", "GET HTTP/1.1"), *HEADERS[1:]], [(":method", "CONNECT"), (":authority", "crm.example:443")],
    [HEADERS[0], (":scheme", "file"), *HEADERS[2:]], [*HEADERS, (":path", "/b")], [*HEADERS, ("x", "1"), (":late", "1")],
    [*HEADERS, ("te", "gzip")], [*HEADERS, ("content-length", "5")], [*HEADERS, ("content-length", "1"), ("content-length", "2")],
], ids=lambda headers: repr(headers[-1])[:40])
def test_what_would_be_another_request_in_http1_is_refused(headers: list[tuple[str, str]]) -> None:
    """Smuggling by downgrade: no such stream reaches a mediator as a request that it would take."""
    client = Client()
    events = client.ask(headers)
    data = b"".join(event.data for event in events)
    if data:
        reader = RequestReader()
        reader.feed(data)
        with pytest.raises(Exception, match=r".") as failure:
            reader.event()
        assert failure.type.__name__ == "MessageError"
    else:
        assert client.said(h2.events.StreamReset) or client.said(h2.events.ConnectionTerminated)


def test_streams_that_are_only_opened_to_be_reset_end_the_connection() -> None:
    """Rapid reset: each would cost a session and a record; beyond a hundred the client is told to calm down."""
    client = Client()
    for number in range(1, 2 * 150, 2):
        client.h2.send_headers(number, HEADERS, end_stream=True)
        client.h2.reset_stream(number)
    client.exchange()
    assert client.mux.has_ended
    assert client.said(h2.events.ConnectionTerminated)


def test_a_flood_of_continuations_ends_the_connection() -> None:
    """A head without an end is bounded (CVE-2024-27316)."""
    client = Client()
    frame = lambda kind, flags, body: len(body).to_bytes(3, "big") + bytes((kind, flags)) + (1).to_bytes(4, "big") + body  # noqa: E731
    client.mux.receive(frame(1, 0, b""))
    for _ in range(200):
        client.mux.receive(frame(9, 0, b"\x00\x01a\x7f\x00" + b"b" * 255))
    assert client.mux.has_ended


def test_no_more_streams_than_stated() -> None:
    """The hundred-and-first open stream is a protocol error."""
    client = Client()
    client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
    client.h2.remote_settings.acknowledge()
    for number in range(1, 2 * 101 + 1, 2):
        client.h2.send_headers(number, HEADERS, end_stream=True)
    client.exchange()
    assert client.mux.has_ended


def test_half_an_answer_is_reset() -> None:
    """A mediator that goes before its answer is whole leaves no answer that looks whole."""
    client = Client()
    client.ask(HEADERS)
    client.mux.send(1, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    client.mux.closed(1)
    client.exchange()
    assert client.said(h2.events.StreamReset)
    assert not client.said(h2.events.StreamEnded)


def test_an_answer_with_as_many_fields_as_a_backend_may_send_goes_out() -> None:
    """A hundred are read of a backend; with those that the gateway writes itself there are more."""
    client = Client()
    client.ask(HEADERS, 1)
    assert client.mux.send(1, s.answer(b"whole", **{f"X_{at}": "1" for at in range(100)})) is True
    client.exchange()
    (response,) = client.said(h2.events.ResponseReceived)
    assert len(response.headers or ()) == 103
