"""HTTP/2 towards a backend, frame by frame: what of it sessions see, and what a hostile backend cannot do."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http import bundle as bundling
from lockgate.protocols.http.bundle import Http2Bundle
from lockgate.protocols.http.codec import ResponseReader, chunk, last_chunk
from lockgate.protocols.http.frames import CREDIT, FrameError, Frames, GoAway
from lockgate.protocols.http.messages import End, Field, ResponseHead
from lockgate.wire.spec import StreamEvent
from tests.protocols.http import scene as s

OK = [(":status", "200"), ("content-type", "text/plain")]


class Pair:
    """A bundle, and the backend at its other end."""

    def __init__(self, **settings: int) -> None:
        self.bundle = Http2Bundle(is_secure=True)
        self.backend = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self.backend.initiate_connection()
        if settings:
            self.backend.update_settings({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.seen: list[Event] = []
        self.events: list[StreamEvent] = []
        self.turn()

    def turn(self) -> list[StreamEvent]:
        """Let both say what they have to, until they have nothing more."""
        found: list[StreamEvent] = []
        while True:
            there, back = self.bundle.outgoing(), b""
            if there:
                self.seen += self.backend.receive_data(there)
            back = self.backend.data_to_send()
            if back:
                found += self.bundle.receive(back)
            if not there and not back:
                self.events += found
                return found

    def ask(self, data: bytes | None = None) -> int:
        number = self.bundle.open()
        assert self.bundle.send(number, s.request(token=None) if data is None else data)
        self.turn()
        return number

    def requests(self) -> list[dict[str, str]]:
        return [dict(event.headers) for event in self.seen if isinstance(event, RequestReceived)]

    def answer(self, stream: int, content: bytes = b"", headers: list[tuple[str, str]] | None = None) -> list[StreamEvent]:
        self.backend.send_headers(stream, headers or OK)
        self.backend.send_data(stream, content, end_stream=True)
        return self.turn()

    def raw(self, data: bytes) -> list[StreamEvent]:
        """Bytes that no backend's library would send."""
        found = self.bundle.receive(data)
        self.events += found
        return found


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def read(data: bytes, method: bytes = b"GET") -> tuple[ResponseHead, bytes, End | None]:
    """An answer as its session reads it."""
    reader = ResponseReader()
    reader.expect(method)
    reader.feed(data)
    head, content, end = None, b"", None
    while (event := reader.event()) is not None:
        if isinstance(event, ResponseHead):
            if not event.is_interim:
                head = event
        elif isinstance(event, bytes):
            content += event
        elif isinstance(event, End):
            end = event
            break
    assert head is not None
    return head, content, end


# ---------------------------------------------------------------- requests


def test_a_request_travels_as_one_of_http2() -> None:
    """Its host is the authority, and what belongs to a connection stays here."""
    pair = Pair()
    pair.ask(s.request("GET", "/a?b=1", token=None, X_Trace="7", Connection="close", Cookie="a=1"))
    assert pair.requests() == [{
        ":method": "GET", ":scheme": "https", ":authority": "crm.example", ":path": "/a?b=1", "x-trace": "7", "cookie": "a=1",
        "te": "trailers"}]
    assert isinstance(pair.seen[-1], StreamEnded)


def test_content_of_a_length_and_in_chunks() -> None:
    """Both arrive as they are, with the trailers of the one that has some."""
    pair = Pair()
    pair.ask(s.request("POST", "/a", b"abc", token=None))
    pair.ask(s.request("POST", "/b", token=None, Transfer_Encoding="chunked") + chunk(b"de") + chunk(b"f")
             + last_chunk((Field.of(b"X-Sum", b"9"),)))
    assert pair.requests()[0]["content-length"] == "3"
    assert "transfer-encoding" not in pair.requests()[1]
    data = {1: b"", 3: b""}
    for event in pair.seen:
        if isinstance(event, DataReceived):
            data[event.stream_id] += event.data
    assert data == {1: b"abc", 3: b"def"}
    assert [dict(event.headers) for event in pair.seen if isinstance(event, TrailersReceived)] == [{"x-sum": "9"}]
    assert sum(isinstance(event, StreamEnded) for event in pair.seen) == 2


def test_secrets_are_in_no_table_that_others_share() -> None:
    """RFC 7541 section 7.1.3: a value that may be a secret is never indexed."""
    pair = Pair()
    pair.ask(s.request(token=b"t0p", X_Api_Key="k3y", X_Plan="gold"))
    table = [tuple(entry) for entry in pair.backend.decoder.header_table.dynamic_entries]
    assert (b"x-plan", b"gold") in table
    assert not [value for name, value in table if b"k3y" in value or b"t0p" in value]


def test_content_waits_for_the_backends_window() -> None:
    """What it does not take is held here, the stream is slow meanwhile, and goes on when it does."""
    pair = Pair()
    size = 65_535 + bundling._WAITING
    number = pair.ask(s.request("PUT", "/a", token=None, Content_Length=str(size + 10)) + b"x" * size)
    assert pair.bundle.is_slow(number)
    got = sum(len(event.data) for event in pair.seen if isinstance(event, DataReceived))
    assert got == 65_535
    pair.backend.increment_flow_control_window(100_000)
    assert pair.turn() == []
    pair.backend.increment_flow_control_window(100_000, 1)
    assert StreamEvent(number, drained=True) in pair.turn()
    assert not pair.bundle.is_slow(number)


def test_a_request_that_cannot_be_written_ends_its_stream_only() -> None:
    """A session that speaks on behind its request has lost the thread; others go on."""
    pair = Pair()
    number = pair.bundle.open()
    assert not pair.bundle.send(number, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    assert not pair.bundle.send(number, b"x")
    pair.ask()
    assert len(pair.requests()) == 1


# ---------------------------------------------------------------- answers


def test_an_answer_is_read_by_the_reader_of_http1() -> None:
    """In chunks where it says no length, with its trailers."""
    pair = Pair()
    number = pair.ask()
    pair.backend.send_headers(1, [(":status", "103"), ("link", "</a>")])
    pair.backend.send_headers(1, OK)
    pair.backend.send_data(1, b"abc")
    pair.backend.send_headers(1, [("grpc-status", "0")], end_stream=True)
    (event,) = pair.turn()
    assert (event.stream, event.size, event.ends) == (number, 3, False)
    head, content, end = read(event.data)
    assert (head.status, content) == (200, b"abc")
    assert end is not None
    assert [(field.name, field.value) for field in end.trailers] == [(b"grpc-status", b"0")]


@pytest.mark.parametrize(("method", "headers", "content", "expected"), [
    ("GET", [(":status", "200"), ("content-length", "3")], b"abc", b"abc"),
    ("GET", [(":status", "204")], b"", b""),
    ("GET", [(":status", "304"), ("content-length", "7")], b"", b""),
    ("HEAD", [(":status", "200"), ("content-length", "7")], b"", b""),
    ("GET", [(":status", "200")], b"", b""),
])
def test_answers_end_where_they_end(method: str, headers: list[tuple[str, str]], content: bytes, expected: bytes) -> None:
    """With a length, without content, or empty."""
    pair = Pair()
    pair.ask(s.request(method, token=None))
    _, found, end = read(b"".join(event.data for event in pair.answer(1, content, headers)), method.encode())
    assert found == expected
    assert end is not None


def test_a_head_that_ends_its_stream_has_no_content() -> None:
    """An answer of one frame."""
    pair = Pair()
    pair.ask()
    pair.backend.send_headers(1, OK, end_stream=True)
    (event,) = pair.turn()
    head, content, end = read(event.data)
    assert (head.get(b"content-length"), content) == (b"0", b"")
    assert end is not None


def test_answers_go_to_who_asked() -> None:
    """In whatever order they come, each on its stream."""
    pair = Pair()
    numbers = [pair.ask(s.request("GET", f"/{number}", token=None)) for number in range(50)]
    for number in reversed(range(50)):
        pair.answer(1 + 2 * number, b"answer %d" % number)
    got = {event.stream: read(event.data)[1] for event in pair.events}
    assert got == {numbers[number]: b"answer %d" % number for number in range(50)}


def test_an_answer_opens_its_window_as_its_session_takes_it() -> None:
    """A backend may send so much ahead, and no more; another stream's window is its own."""
    pair = Pair()
    first, second = pair.ask(), pair.ask()
    pair.backend.send_headers(1, OK)
    pair.turn()
    while pair.backend.local_flow_control_window(1) > 0:
        pair.backend.send_data(1, b"x" * min(16_384, pair.backend.local_flow_control_window(1)))
    pair.turn()
    assert sum(event.size for event in pair.events if event.stream == first) == bundling._WINDOW
    pair.turn()
    assert pair.backend.local_flow_control_window(1) == 0
    assert pair.backend.local_flow_control_window(3) == bundling._WINDOW
    pair.bundle.taken(first, bundling._WINDOW)
    pair.turn()
    assert pair.backend.local_flow_control_window(1) == bundling._WINDOW
    pair.answer(3, b"y")
    assert [event.size for event in pair.events if event.stream == second] == [1]


def test_content_of_streams_that_are_gone_costs_the_others_no_window() -> None:
    """A session has left; what was on its way for it is given back to the connection."""
    pair = Pair()
    pair.ask()
    before = pair.bundle._h2.inbound_flow_control_window
    for number in range(2, 12):
        gone = pair.ask()
        pair.backend.send_headers(2 * number - 1, OK)
        pair.backend.send_data(2 * number - 1, b"x" * 10_000)
        (event,) = pair.turn()
        pair.bundle.closed(gone)
        pair.bundle.taken(gone, event.size)
        pair.turn()
    assert pair.bundle._h2.inbound_flow_control_window == before


# ---------------------------------------------------------------- limits of the backend


def test_nothing_is_opened_before_the_backend_has_said_how_much() -> None:
    """Its settings come first, and its limit is kept."""
    bundle = Http2Bundle(is_secure=False)
    assert (bundle.is_ready, bundle.room) == (False, 0)
    pair = Pair(max_concurrent_streams=2)
    assert pair.bundle.room == 2
    first = pair.ask()
    pair.ask()
    assert pair.bundle.room == 0
    pair.answer(1)
    pair.bundle.closed(first)
    assert pair.bundle.room == 1


def test_a_backend_may_change_its_mind() -> None:
    """A lower limit counts from then on, and smaller windows do."""
    pair = Pair(max_concurrent_streams=10)
    pair.ask()
    pair.backend.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    pair.turn()
    assert pair.bundle.room == 0
    pair.backend.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 500})
    pair.turn()
    assert pair.bundle.room == bundling.STREAMS - 1


def test_a_connection_carries_a_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then another one takes its place."""
    monkeypatch.setattr(bundling, "LIFE", 3)
    pair = Pair()
    for _ in range(3):
        assert not pair.bundle.has_ended
        pair.bundle.open()
    assert pair.bundle.has_ended
    assert pair.bundle.room == 0


def test_sessions_that_give_up_again_and_again_get_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server ends a connection on which too many streams are reset, and with it the streams of others."""
    monkeypatch.setattr(bundling, "_GIVEN_UP", 5)
    pair = Pair()
    for _ in range(6):
        assert not pair.bundle.has_ended
        pair.bundle.closed(pair.ask())
    pair.turn()
    assert pair.bundle.has_ended
    assert sum(isinstance(event, StreamReset) for event in pair.seen) == 6


# ---------------------------------------------------------------- what is safe to ask again (RFC 9113 section 8.7)


@pytest.mark.parametrize(("code", "is_untouched"), [
    (ErrorCodes.REFUSED_STREAM, True), (ErrorCodes.HTTP_1_1_REQUIRED, True), (ErrorCodes.CANCEL, False),
    (ErrorCodes.INTERNAL_ERROR, False), (ErrorCodes.NO_ERROR, False)])
def test_a_stream_that_is_reset_ends(code: ErrorCodes, *, is_untouched: bool) -> None:
    """And was looked at, unless the backend says otherwise."""
    pair = Pair()
    number = pair.ask()
    pair.backend.reset_stream(1, code)
    assert pair.turn() == [StreamEvent(number, ends=True, is_untouched=is_untouched)]


def test_a_refusal_behind_the_head_of_an_answer_is_none() -> None:
    """Something was looked at."""
    pair = Pair()
    number = pair.ask()
    pair.backend.send_headers(1, OK)
    pair.turn()
    pair.backend.reset_stream(1, ErrorCodes.REFUSED_STREAM)
    assert pair.turn() == [StreamEvent(number, ends=True)]


def test_a_reset_behind_a_whole_answer_takes_nothing_from_it() -> None:
    """RFC 9113 section 8.1: the rest of the request is not wanted."""
    pair = Pair()
    pair.ask(s.request("PUT", "/a", token=None, Content_Length="9") + b"abc")
    pair.backend.send_headers(1, OK, end_stream=True)
    pair.backend.reset_stream(1, ErrorCodes.NO_ERROR)
    (event,) = pair.turn()
    assert read(event.data)[2] is not None


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    return frame(7, struct.pack(">II", last, code) + text)


@pytest.mark.parametrize("pieces", [1, 3, 64])
def test_streams_behind_a_goaway_were_not_looked_at_and_the_others_come_to_their_end(pieces: int) -> None:
    """However the frame arrives."""
    pair = Pair()
    first, second = pair.ask(), pair.ask()
    data, found = goaway(1, 0, b"bye"), []
    for at in range(0, len(data), pieces):
        found += pair.raw(data[at:at + pieces])
    assert found == [StreamEvent(second, ends=True, is_untouched=True)]
    assert pair.bundle.has_ended
    assert pair.bundle.room == 0
    (event,) = pair.answer(1, b"still here")
    assert (event.stream, read(event.data)[1]) == (first, b"still here")


def test_a_backend_that_goes_twice() -> None:
    """RFC 9113 section 6.8: first that it will, then which stream was the last."""
    pair = Pair()
    first, second = pair.ask(), pair.ask()
    assert pair.raw(goaway((1 << 31) - 1)) == []
    assert pair.raw(goaway(1)) == [StreamEvent(second, ends=True, is_untouched=True)]
    assert pair.bundle.lost() == [StreamEvent(first, ends=True)]


def test_what_is_lost_with_the_connection_was_looked_at_unless_it_had_not_left() -> None:
    """Nobody knows what a backend has done that says nothing."""
    pair = Pair()
    sent, unsent = pair.ask(), pair.bundle.open()
    assert pair.bundle.lost() == [StreamEvent(sent, ends=True), StreamEvent(unsent, ends=True, is_untouched=True)]
    assert pair.bundle.has_ended
    assert not pair.bundle.send(unsent, s.request())


# ---------------------------------------------------------------- hostile backends


def settings_again(pair: Pair) -> None:
    for _ in range(2 * CREDIT):
        pair.raw(frame(4))


def pings(pair: Pair) -> None:
    pair.raw(frame(6, b"12345678") * 2 * CREDIT)


def empty(pair: Pair) -> None:
    pair.backend.send_headers(1, OK)
    pair.turn()
    pair.raw(frame(0, stream=1) * 2 * CREDIT)


def priorities(pair: Pair) -> None:
    pair.raw(frame(2, b"\0\0\0\0\1", stream=1) * 2 * CREDIT)


def unknown(pair: Pair) -> None:
    pair.raw(frame(0xBE, b"x") * 2 * CREDIT)


def dripping(pair: Pair) -> None:
    """Windows that open by one byte."""
    for _ in range(CREDIT):
        pair.raw(frame(8, b"\0\0\0\1") + frame(8, b"\0\0\0\1", stream=1))


def farewells(pair: Pair) -> None:
    pair.raw(goaway(1) * 2 * CREDIT)


def continuations(pair: Pair) -> None:
    pair.raw(frame(1, b"", stream=1) + frame(9, b"", stream=1) * 2 * CREDIT)


def interim(pair: Pair) -> None:
    block = pair.backend.encoder.encode([(":status", "103")])
    pair.raw(frame(1, block, 4, 1) * 2 * CREDIT)


def resets(pair: Pair) -> None:
    """Of streams that are gone."""
    pair.raw(frame(3, b"\0\0\0\0", stream=1) * 2 * CREDIT)


@pytest.mark.parametrize("flood", [
    settings_again, pings, empty, priorities, unknown, dripping, farewells, continuations, interim, resets])
def test_a_flood_ends_the_connection(flood: Callable[[Pair], None]) -> None:
    """Frames that bring nothing are answered and held so often, and not for ever."""
    pair = Pair()
    number = pair.ask(s.request("PUT", "/a", token=None, Content_Length="200000") + b"x" * 150_000)
    flood(pair)
    assert pair.bundle.has_ended
    assert not pair.bundle.send(number, b"x")
    assert len(pair.bundle.outgoing()) < 200 * CREDIT
    assert sum(len(event.data) for event in pair.events) < 100 * CREDIT


def bomb(pair: Pair) -> bytes:
    """One field in the table, named again and again."""
    block = pair.backend.encoder.encode([(":status", "200"), ("x-bomb", "b" * 3000)])
    return frame(1, block + b"\xbe" * 5000, 5, 1)


def pushed(pair: Pair) -> bytes:
    block = pair.backend.encoder.encode([(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")])
    return frame(5, b"\0\0\0\2" + block, 4, 1)


def headed(*fields: tuple[str, str]) -> Callable[[Pair], bytes]:
    return lambda pair: frame(1, pair.backend.encoder.encode(fields), 4, 1)


@pytest.mark.parametrize("sent", [
    bomb, pushed,
    lambda _: frame(0, b"x" * 16_385, stream=1),
    lambda _: b"\xff\xff\xff\0\0\0\0\0\1",
    lambda _: frame(0, b"x", stream=1),
    lambda _: frame(0, b"x", stream=2),
    lambda _: frame(1, b"\x88", 4, 99),
    lambda _: frame(1, b"\xff\xff\xff\xff\xff\xff\xff\xff", 4, 1),
    lambda _: frame(1, b"\x88", 0, 1) + frame(6, b"12345678"),
    lambda _: frame(1, b"\x88", 0, 1) + goaway(1),
    lambda _: frame(9, b"\x88", 4, 1),
    lambda _: frame(4, b"\0\4\xff\xff\xff\xff"),
    lambda _: frame(4, b"\0\5\0\0\0\1"),
    lambda _: frame(4, b"123"),
    lambda _: frame(8, b"\x7f\xff\xff\xff"),
    lambda _: frame(8, b"\0\0\0\0"),
    lambda _: frame(7, b"123"),
    lambda _: goaway(1).replace(b"\0\0\0\0\0\0\0\1", b"\0\0\0\3\0\0\0\1", 1),
    lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    headed((":status", "200"), ("Upper", "x")), headed((":status", "200"), ("connection", "close")),
    headed((":status", "200"), ("transfer-encoding", "chunked")), headed((":status", "200"), (":status", "200")),
    headed(("x", "y")), headed((":status", "200"), ("x", "a\r\nb: c")), headed((":status", "200"), (":path", "/")),
    headed((":status", "200"), ("bad name", "x")),
])
def test_a_backend_that_breaks_http2_loses_the_connection(sent: Callable[[Pair], bytes]) -> None:
    """Nothing that it sent then is an answer, and whether the request was carried out is not known."""
    pair = Pair()
    number = pair.ask()
    pair.raw(sent(pair))
    assert pair.events[-1:] == [StreamEvent(number, ends=True)]
    assert pair.bundle.has_ended
    assert b"".join(event.data for event in pair.events) in (b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize(("method", "length", "content"), [
    ("GET", 5, b"abc"), ("GET", 2, b"abc"), ("GET", 0, b"a"), ("GET", 3, b""), ("HEAD", 3, b"abc")])
def test_content_of_another_length_than_announced_is_no_answer(method: str, length: int, content: bytes) -> None:
    """More or less: its stream ends, and no other."""
    pair = Pair()
    number, other = pair.ask(s.request(method, token=None)), pair.ask()
    block = pair.backend.encoder.encode([(":status", "200"), ("content-length", str(length))])
    pair.raw(frame(1, block, 4, 1) + frame(0, content, 1, 1))
    assert pair.events[-1] == StreamEvent(number, ends=True)
    assert content not in b"".join(event.data for event in pair.events) or length > len(content)
    pair.raw(frame(1, pair.backend.encoder.encode(OK), 5, 3))
    assert pair.events[-1].stream == other


@pytest.mark.parametrize("fields", [
    [(":status", "101")], [(":status", "2000")], [(":status", "abc")], [(":status", "099")],
    [(":status", "200"), ("content-length", "x")],
])
def test_an_answer_that_cannot_be_written_ends_its_stream_only(fields: list[tuple[str, str]]) -> None:
    """Another stream's answer arrives behind it."""
    pair = Pair()
    number, other = pair.ask(), pair.ask()
    pair.raw(frame(1, pair.backend.encoder.encode(fields), 4, 1))
    assert pair.events == [StreamEvent(number, ends=True)]
    pair.raw(frame(1, pair.backend.encoder.encode(OK), 5, 3))
    assert pair.events[-1].stream == other
    assert read(pair.events[-1].data)[0].status == 200


def test_trailers_that_frame_or_route_end_the_stream() -> None:
    """As in HTTP/1.1 (RFC 9110 section 6.5.1)."""
    pair = Pair()
    number = pair.ask()
    pair.backend.send_headers(1, OK)
    pair.turn()
    pair.raw(frame(1, pair.backend.encoder.encode([("content-length", "3")]), 5, 1))
    assert pair.events[-1] == StreamEvent(number, ends=True)


def test_padding_is_given_back_at_once() -> None:
    """It is no content that a session could take."""
    pair = Pair()
    pair.ask()
    pair.backend.send_headers(1, OK)
    for _ in range(20):
        for _ in range(100):
            pair.backend.send_data(1, b"x", pad_length=255)
        pair.turn()
    assert sum(event.size for event in pair.events) == 2_000


def test_a_connection_that_is_left_says_goodbye() -> None:
    """And nothing is read from it any more."""
    pair = Pair()
    pair.bundle.goodbye()
    assert b"\0\0\x08\x07" in pair.bundle.outgoing()
    assert pair.bundle.receive(frame(4)) == []


def conversation() -> bytes:
    """What a backend says that is well."""
    pair = Pair()
    pair.ask()
    encode = pair.backend.encoder.encode
    return (frame(4, b"\0\3\0\0\0\x64") + frame(1, encode([*OK, ("content-length", "3")]), 4, 1) + frame(0, b"abc", 1, 1)
            + frame(1, encode([(":status", "204")]), 5, 3) + goaway(3))


@given(st.data())
@settings(max_examples=300)
def test_whatever_a_backend_sends_is_an_event_or_the_end(data: st.DataObject) -> None:
    """Bytes of a conversation, changed, left out and cut anywhere: no session reads an answer that was not sent whole."""
    sent = bytearray(CONVERSATION)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(sent) - 1))
        if data.draw(st.booleans()):
            sent[at] = data.draw(st.integers(0, 255))
        else:
            del sent[at:at + data.draw(st.integers(1, 12))]
        if not sent:
            return
    bundle = Http2Bundle(is_secure=True)
    numbers = [bundle.open(), bundle.open()]
    for number in numbers:
        bundle.send(number, s.request(token=None))
    size, found = data.draw(st.integers(1, len(sent))), []
    for at in range(0, len(sent), size):
        found += bundle.receive(bytes(sent[at:at + size]))
    found += bundle.lost()
    assert {event.stream for event in found} <= set(numbers)
    assert sum(event.ends for event in found) <= 2
    if bytes(sent) == CONVERSATION:
        assert read(b"".join(event.data for event in found if event.stream == numbers[0]))[1] == b"abc"


CONVERSATION = conversation()


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 10, 17, 1000])
def test_any_split_gives_the_same_frames(size: int) -> None:
    """Bytes for h2 in their order, and the GOAWAY between them."""
    data = frame(4) + frame(0, b"abc" * 10, stream=1) + goaway(7, 2) + frame(0, b"d", stream=1) + frame(6, b"12345678")
    frames, found = Frames(), []
    for at in range(0, len(data), size):
        found += frames.feed(data[at:at + size])
    before = b"".join(one for one in found[:found.index(GoAway(7, 2))] if isinstance(one, bytes))
    assert before == frame(4) + frame(0, b"abc" * 10, stream=1)
    assert b"".join(one for one in found if isinstance(one, bytes)) == data.replace(goaway(7, 2), b"")


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    """Its length is enough to know."""
    with pytest.raises(FrameError):
        Frames().feed(b"\0\x40\x01\0\0\0\0\0\1")


def test_content_pays_for_frames() -> None:
    """A long answer may come with pings, an idle connection with so many."""
    frames = Frames()
    for _ in range(3 * CREDIT):
        frames.feed(frame(6, b"12345678") + frame(0, b"x", stream=1))
    for _ in range(20 * CREDIT):
        frames.feed(frame(0, b"x", stream=1))
    with pytest.raises(FrameError):
        for _ in range(11 * CREDIT):
            frames.feed(frame(6, b"12345678"))


def test_a_backend_may_open_its_windows_for_every_piece() -> None:
    """Of the stream and of the connection, as some do however small it was."""
    pair = Pair()
    number = pair.ask(s.request("PUT", "/a", token=None, Content_Length=str(100 * CREDIT)))
    for _ in range(CREDIT):
        assert pair.bundle.send(number, b"x" * 100)
        pair.raw(frame(8, b"\0\0\0\x64") + frame(8, b"\0\0\0\x64", stream=1))
    assert not pair.bundle.has_ended


def test_a_writer_of_trailers_refuses_what_frames() -> None:
    """What the tests above lean on."""
    with pytest.raises(LocalProtocolError):
        last_chunk((Field.of(b"content-length", b"3"),))
