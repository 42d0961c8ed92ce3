"""HTTP/2 on the client's side: one connection, many streams, each of them an HTTP/1.1 conversation inside.

What a stream carries is written as HTTP/1.1 for its mediator and read back from it, by the same writers and readers that
refuse everything ambiguous, so that there is one road for a request and a translation leaves no room for a second reading
(request smuggling by downgrade). Frames, HPACK and flow control are h2's. Sans-IO and synchronous: nothing here waits.

Source: RFC 9113 (HTTP/2), RFC 9110. Bounded are the streams, a head's size, what waits for a window, and how often a client
may open streams only to reset them (CVE-2023-44487).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.codec import ResponseReader, chunk, last_chunk, request_bytes
from lockgate.protocols.http.framing import end_to_end
from lockgate.protocols.http.mediator import HttpMediator
from lockgate.protocols.http.messages import End, Field, HeadLimits, MessageError, ResponseHead
from lockgate.wire.spec import LoginContext, StreamEvent
from lockgate.wire.steps import TlsInfo

_STREAMS: Final = 100
_HEAD: Final = 65_536
_WINDOW: Final = 262_144
"""Bytes of a stream's content that may be on their way to the gateway."""
_WAITING: Final = 262_144
"""Bytes of an answer that wait for the client's window, above which its stream is slow."""
_RESETS: Final = 100
"""Streams that a client may reset beyond those that it lets come to their end."""


_OWN: Final = HeadLimits(line=1 << 20, head=1 << 20, fields=1 << 12, field=1 << 20)
"""Of answers that the mediator has written: a backend's were bounded when they were read, and some fields are the gateway's."""


@dataclass(slots=True)
class _Stream:
    """One request and its answer. `waiting` are bytes of the answer that no window was open for."""

    reader: ResponseReader
    waiting: bytearray
    is_chunked: bool = False
    is_asked: bool = False          # the request is whole
    has_ended: bool = False         # the answer is
    trailers: tuple[tuple[bytes, bytes], ...] = ()


class Http2Multiplexer:
    """`wire.spec.Multiplexer` of one client's connection."""

    def __init__(
        self, context: LoginContext, tls: TlsInfo | None, head_timeout: float, make: type[HttpMediator] = HttpMediator,
    ) -> None:
        """`make`: the mediator of each stream."""
        self._context = context
        self._make = make
        self._tls = tls
        self._head_timeout = head_timeout
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.initiate_connection()
        self._h2.update_settings({      # behind it: what is set before counts here at once, and is never told
            SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: _HEAD,
            SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
        })
        self._h2.increment_flow_control_window(_WINDOW * 4)
        self._streams: dict[int, _Stream] = {}
        self._whole = self._resets = 0
        self._is_ending = False
        self._said = b""                # goes out in front of what h2 says
        self.has_ended = False

    def mediator(self) -> HttpMediator:
        """Of one stream."""
        return self._make(self._context, self._tls, self._head_timeout)

    def outgoing(self) -> bytes:
        """Bytes for the client that wait to be sent."""
        said, self._said = self._said, b""
        return said + self._h2.data_to_send()

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What the client's bytes mean for its streams. `has_ended` is set where nothing can follow."""
        found: list[StreamEvent] = []
        if self.has_ended:
            return found
        try:
            for event in self._h2.receive_data(data):
                match event:
                    case RequestReceived():
                        self._asked(event, found)
                    case DataReceived():
                        self._content(event, found)
                    case TrailersReceived():
                        self._trailers(event)
                    case StreamEnded():
                        self._asked_to_the_end(event.stream_id, found)
                    case StreamReset():
                        self._reset_by_client(event.stream_id, found)
                    case WindowUpdated():
                        self._window(event.stream_id, found)
                    case ConnectionTerminated():
                        self.has_ended = True
        except H2Error:
            self.has_ended = True       # h2 has written the GOAWAY that says why
        return found

    # ------------------------------------------------------------ requests

    def _asked(self, event: RequestReceived, found: list[StreamEvent]) -> None:
        number = event.stream_id
        if self._is_ending:
            self._reset(number, ErrorCodes.REFUSED_STREAM)      # the client had not read the GOAWAY yet, and may ask elsewhere
            return
        is_whole = event.stream_ended is not None
        try:
            head, method, is_chunked = _request(event.headers, is_whole=is_whole)
        except (LocalProtocolError, ValueError):
            self._reset(number, ErrorCodes.PROTOCOL_ERROR)
            return
        reader = ResponseReader(_OWN)
        reader.expect(method)
        self._streams[number] = _Stream(reader, bytearray(), is_chunked)
        found += [StreamEvent(number, opens=True), StreamEvent(number, head)]

    def _content(self, event: DataReceived, found: list[StreamEvent]) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:              # it was reset; what is still on its way opens the window again
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        padding = event.flow_controlled_length - len(event.data)
        if padding:
            self._h2.acknowledge_received_data(padding, event.stream_id)
        if event.data:
            found.append(StreamEvent(event.stream_id, chunk(event.data) if stream.is_chunked else event.data, size=len(event.data)))

    def _trailers(self, event: TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.trailers = tuple((bytes(name), bytes(value)) for name, value in event.headers)

    def _asked_to_the_end(self, number: int, found: list[StreamEvent]) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.is_asked = True
        if stream.is_chunked:
            try:
                found.append(StreamEvent(number, last_chunk(Field.of(name, value) for name, value in stream.trailers)))
            except LocalProtocolError:
                self._drop(number, ErrorCodes.PROTOCOL_ERROR)
                found.append(StreamEvent(number, ends=True))

    def _reset_by_client(self, number: int, found: list[StreamEvent]) -> None:
        self._resets += 1
        if self._streams.pop(number, None) is not None:
            found.append(StreamEvent(number, ends=True))
        if self._resets > _RESETS + self._whole:
            self._calm()

    def taken(self, number: int, size: int) -> None:
        """The stream's mediator has taken so many bytes of content: the client may send more."""
        if size and number in self._streams and not self.has_ended:
            self._h2.acknowledge_received_data(size, number)
        elif size and not self.has_ended:
            self._h2.increment_flow_control_window(size)

    # ------------------------------------------------------------ answers

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's mediator. True when its answer is complete."""
        stream = self._streams.get(number)
        if stream is None or self.has_ended:
            return True
        try:
            stream.reader.feed(data)
            while (event := stream.reader.event()) is not None:
                if isinstance(event, ResponseHead):
                    self._h2.send_headers(number, _answer(event))
                elif isinstance(event, bytes):
                    stream.waiting += event
                elif isinstance(event, End):
                    stream.has_ended = True
                    stream.trailers = tuple((field.name, field.value) for field in event.trailers)
                    break
            self._flush(number, stream)
        except (MessageError, H2Error):
            self._drop(number, ErrorCodes.INTERNAL_ERROR)
            return True
        return number not in self._streams

    def _flush(self, number: int, stream: _Stream) -> None:
        """As much of what waits as the window allows, and the end behind it."""
        while stream.waiting:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(stream.waiting))
            if room <= 0:
                return
            self._h2.send_data(number, bytes(stream.waiting[:room]))
            del stream.waiting[:room]
        if not stream.has_ended:
            return
        if stream.trailers:
            self._h2.send_headers(number, list(stream.trailers), end_stream=True)
        else:
            self._h2.end_stream(number)
        self._whole += 1
        del self._streams[number]
        if not stream.is_asked:         # RFC 9113 section 8.1: the rest of the request is not wanted
            self._reset(number, ErrorCodes.NO_ERROR)

    def _window(self, number: int, found: list[StreamEvent]) -> None:
        for one in (number,) if number else tuple(self._streams):
            stream = self._streams.get(one)
            if stream is None:
                continue
            self._flush(one, stream)
            if len(stream.waiting) < _WAITING:
                found.append(StreamEvent(one, drained=True))
            if one not in self._streams:
                found.append(StreamEvent(one, ends=True))

    def is_slow(self, number: int) -> bool:
        """Whether more of a stream's answer waits for the client's window than should."""
        stream = self._streams.get(number)
        return stream is not None and len(stream.waiting) >= _WAITING

    def closed(self, number: int) -> None:
        """The stream's mediator has gone. An answer that is not complete is not made to look so."""
        stream = self._streams.get(number)
        if stream is not None and not stream.has_ended:
            self._drop(number, ErrorCodes.INTERNAL_ERROR)

    # ------------------------------------------------------------ ends

    def end(self) -> None:
        """Say GOAWAY: no stream is opened any more, and those that are open come to their end (RFC 9113 section 6.8). h2's own
        GOAWAY would end them."""
        if not self.has_ended and not self._is_ending:
            self._is_ending = True
            self._said = GoAwayFrame(last_stream_id=self._h2.highest_inbound_stream_id, error_code=ErrorCodes.NO_ERROR).serialize()

    def _calm(self) -> None:
        """The client does what nobody does: it is told so, and nothing of it goes on."""
        try:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        except ProtocolError:
            pass                        # it has been said
        self.has_ended = True

    def _drop(self, number: int, code: ErrorCodes) -> None:
        self._streams.pop(number, None)
        self._reset(number, code)

    def _reset(self, number: int, code: ErrorCodes) -> None:
        try:
            self._h2.reset_stream(number, code)
        except H2Error:
            pass                        # the client has closed it


def _request(headers: list[tuple[bytes, bytes]], *, is_whole: bool) -> tuple[bytes, bytes, bool]:
    """A request's head as HTTP/1.1, its method, and whether its content goes in chunks. ValueError for one that cannot be
    written; what can be is still read and judged by the mediator's own reader."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[Field] = []
    cookies: list[bytes] = []
    for name, value in ((bytes(name), bytes(value)) for name, value in headers):
        if name.startswith(b":"):
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)       # RFC 9113 section 8.2.3
        else:
            fields.append(Field.of(name, value))
    method, path = pseudo[b":method"], pseudo.get(b":path", b"")
    if method == b"CONNECT" or pseudo.get(b":scheme") not in (b"http", b"https"):
        raise ValueError
    hosts = [field.value for field in fields if field.name == b"host"]
    authority = pseudo.get(b":authority") or (hosts[0] if hosts else b"")
    if not authority or any(host != authority for host in hosts):
        raise ValueError
    fields = [field for field in fields if field.name != b"host"]
    if any(field.name in _CONNECTION for field in fields):
        raise ValueError
    if is_whole and any(field.name == b"content-length" and field.value.strip(b"0") for field in fields):
        raise ValueError                # content is announced, and none follows
    is_chunked = not is_whole and all(field.name != b"content-length" for field in fields)
    fields.insert(0, Field.of(b"Host", authority))
    if cookies:
        fields.append(Field.of(b"Cookie", b"; ".join(cookies)))
    if is_chunked:
        fields.append(Field.of(b"Transfer-Encoding", b"chunked"))
    return request_bytes(method, path, fields), method, is_chunked


def _answer(head: ResponseHead) -> list[tuple[bytes, bytes]]:
    """RFC 9113 section 8.2.2: nothing that belongs to a connection."""
    return [(b":status", b"%d" % head.status),
            *((field.name, field.value) for field in end_to_end(head.fields) if field.name not in _CONNECTION)]


_CONNECTION: Final = frozenset((
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings"))
