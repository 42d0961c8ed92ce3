"""HTTP/2 on the backend's side: one connection, a stream for each exchange, whoever's it is.

The mirror of `multiplex`: a session writes its request as HTTP/1.1 and reads the answer as such, by the same strict readers
and writers, so that there is one road for a request. A stream carries one exchange. Frames, HPACK and flow control are h2's.
Sans-IO and synchronous: nothing here waits.

Source: RFC 9113, RFC 7541. Bounded are streams, heads, what waits for a window, what an answer may bring before its session
has taken it, and frames that bring nothing (`frames`). A backend that breaks HTTP/2 loses the connection; one that breaks an
answer loses its stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from lockgate.errors import LocalProtocolError, RemoteProtocolError
from lockgate.protocols.http.codec import RequestReader, chunk, last_chunk, response_bytes
from lockgate.protocols.http.frames import PER_STREAM, FrameError, Frames, GoAway
from lockgate.protocols.http.messages import End, Field, Fields, Framing, HeadLimits, RequestHead
from lockgate.protocols.http.statuses import REASONS
from lockgate.wire.spec import StreamEvent

STREAMS: Final = 100
"""At a time, where the backend does not say less."""
LIFE: Final = 10_000
"""Streams that a connection carries before another one takes its place."""
_HEAD: Final = 65_536
_WINDOW: Final = 262_144
"""Bytes of an answer that may be on their way to its session."""
_WHOLE_WINDOW: Final = (1 << 31) - 1
"""Of the connection: no stream waits for the windows of others."""
_WAITING: Final = 262_144
"""Bytes of a request that wait for the backend's window, above which its stream is slow."""
_GIVEN_UP: Final = 100
"""Streams that sessions may give up beyond those that come to their end, before another connection takes its place: servers
end one on which too many are (CVE-2023-44487), and with it what is others'."""
_OURS: Final = HeadLimits(line=1 << 20, head=1 << 20, fields=1 << 12, field=1 << 20)
"""Of requests that the gateway itself has written."""
_UNTOUCHED: Final = (ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED)
"""Nothing of the request was carried out: RFC 9113 section 8.7; and who wants HTTP/1.1 for it (section 7) has not begun."""
_CONNECTION: Final = frozenset((
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings", b"te", b"host"))
_SECRET = re.compile(rb"auth|cookie|key|token|secret|password|session|signature")
_SWITCHING: Final = 101
_FINAL: Final = 200
_NO_CONTENT: Final = (204, 304)


class _Stream:
    """One exchange. Mutable. `number` is h2's, 0 before the request has left."""

    __slots__ = (
        "has_answer", "has_ended", "is_chunked", "is_sent", "is_whole", "left", "method", "number", "out", "reader", "size",
        "trailers", "waiting",
    )

    def __init__(self) -> None:
        self.number = 0
        self.reader = RequestReader(_OURS)
        self.method = b""
        self.waiting = bytearray()      # content that no window was open for
        self.trailers: Fields = ()
        self.is_whole = False           # all of the request is here
        self.is_sent = False            # and has left
        self.is_chunked = False         # the answer is written in chunks
        self.has_answer = False         # its head has come
        self.has_ended = False          # and its end
        self.out: list[bytes] = []      # what has come for the session
        self.size = 0                   # how much of it the window counts
        self.left: int | None = None    # content that is still to come, where the answer says how much

    def take(self, content: bytes) -> None:
        """Content has come. ValueError where it is more than was announced."""
        if self.left is not None:
            self.left -= len(content)
            if self.left < 0:
                raise ValueError
        self.out.append(chunk(content) if self.is_chunked else content)
        self.size += len(content)


class Http2Bundle:
    """`wire.spec.Bundle` of one connection to a backend."""

    def __init__(self, *, is_secure: bool) -> None:
        self._scheme = b"https" if is_secure else b"http"
        # What goes out has been read and written by this folder's own strict grammar, and `_header` marks secrets.
        self._h2 = H2Connection(H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False))
        self._h2.local_settings = Settings(client=True, initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: _HEAD, SettingCodes.MAX_CONCURRENT_STREAMS: 0,
        })
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WHOLE_WINDOW - self._h2.inbound_flow_control_window)
        self._frames = Frames()
        self._streams: dict[int, _Stream] = {}      # by our own number, which is there before h2's
        self._by_number: dict[int, int] = {}        # and by h2's
        self._touched: set[int] = set()             # ours, of those that something has come for
        self._opened = self._whole = self._given_up = 0
        self._is_ready = False
        self.has_ended = False
        """No stream can be opened any more."""
        self._is_over = False                       # and none can go on

    @property
    def room(self) -> int:
        """Streams that may be opened now; 0 before the backend has said how many."""
        if not self._is_ready or self.has_ended:
            return 0
        most = min(STREAMS, self._h2.remote_settings.max_concurrent_streams)
        return max(most - len(self._streams), 0)

    @property
    def is_ready(self) -> bool:
        """Whether the backend has said that it speaks HTTP/2."""
        return self._is_ready

    def open(self) -> int:
        """A new stream's number; what is sent on it first is its request's head."""
        self._opened += 1
        self._streams[self._opened] = _Stream()
        self._frames.earn(PER_STREAM)
        if self._opened >= LIFE:
            self.has_ended = True
        return self._opened

    def outgoing(self) -> bytes:
        """Bytes for the backend that wait to be sent."""
        return self._h2.data_to_send()

    # ------------------------------------------------------------ requests

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a session. False where its stream is gone."""
        stream = self._streams.get(number)
        if stream is None or self._is_over:
            return False
        try:
            stream.reader.feed(data)
            while not stream.is_whole and (event := stream.reader.event()) is not None:
                if isinstance(event, bytes):
                    stream.waiting += event
                elif isinstance(event, RequestHead):
                    self._ask(number, stream, event)
                else:
                    assert isinstance(event, End)
                    stream.is_whole, stream.trailers = True, event.trailers
            self._flush(stream)
        except (H2Error, LocalProtocolError, RemoteProtocolError):
            self._drop(number, ErrorCodes.INTERNAL_ERROR)
            return False
        return True

    def _ask(self, number: int, stream: _Stream, head: RequestHead) -> None:
        fields = [(b":method", head.method), (b":scheme", self._scheme), (b":authority", head.get(b"host") or b""),
                  (b":path", head.target)]
        fields += [_header(field) for field in head.fields if field.name not in _CONNECTION]
        fields.append((b"te", b"trailers"))     # the gateway takes them, whoever its client is
        stream.method = head.method
        stream_id = self._h2.get_next_available_stream_id()
        stream.is_whole = stream.is_sent = head.framing is Framing.NONE
        self._h2.send_headers(stream_id, fields, end_stream=stream.is_sent)
        # h2 ends the whole connection where content has another length than announced, and takes a 304 that announces one
        # (RFC 9110 section 8.6) for such an answer. Here it ends its stream (`_Stream.take`).
        self._h2.streams[stream_id]._initialize_content_length = _unchecked  # type: ignore[assignment, method-assign]
        stream.number = stream_id
        self._by_number[stream_id] = number

    def _flush(self, stream: _Stream) -> None:
        """As much of the request as the window allows, and its end behind it."""
        number = stream.number
        if not number or stream.is_sent:
            return
        while stream.waiting:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(stream.waiting))
            if room <= 0:
                return
            is_last = stream.is_whole and room == len(stream.waiting) and not stream.trailers
            self._h2.send_data(number, bytes(stream.waiting[:room]), end_stream=is_last)
            del stream.waiting[:room]
            self._frames.sent(room, is_cut=bool(stream.waiting))
            stream.is_sent = is_last
        if stream.is_whole and not stream.is_sent:
            if stream.trailers:
                self._h2.send_headers(number, [_header(field) for field in stream.trailers], end_stream=True)
            else:
                self._h2.end_stream(number)
            stream.is_sent = True

    def is_slow(self, number: int) -> bool:
        """Whether more of a request waits for the backend's window than should."""
        stream = self._streams.get(number)
        return stream is not None and len(stream.waiting) >= _WAITING

    # ------------------------------------------------------------ answers

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What the backend's bytes mean for its streams."""
        found: list[StreamEvent] = []
        if self._is_over:
            return found
        try:
            for piece in self._frames.feed(data):
                if isinstance(piece, GoAway):
                    self._told(found)
                    self._going(piece, found)
                else:
                    for event in self._h2.receive_data(piece):
                        self._happened(event, found)
        except H2Error as error:
            self._told(found)
            if isinstance(error, FrameError):   # else h2 has said it
                self._say_goodbye(error.error_code)
            found += self.lost()
        self._told(found)
        return found

    def _happened(self, event: Event, found: list[StreamEvent]) -> None:
        if isinstance(event, RemoteSettingsChanged):
            self._is_ready = True
            self._window(0, found)
            return
        if isinstance(event, WindowUpdated):
            self._window(event.stream_id or 0, found)
            return
        stream_id = getattr(event, "stream_id", None)
        number = self._by_number.get(stream_id) if isinstance(stream_id, int) else None
        stream = None if number is None else self._streams.get(number)
        if number is None or stream is None:
            if isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        try:
            self._answered(number, stream, event, found)
        except (LocalProtocolError, ValueError):
            self._told(found)
            self._drop(number, ErrorCodes.PROTOCOL_ERROR)
            found.append(StreamEvent(number, ends=True))

    def _answered(self, number: int, stream: _Stream, event: Event, found: list[StreamEvent]) -> None:
        if isinstance(event, DataReceived):
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self._h2.acknowledge_received_data(padding, event.stream_id)
            if event.data:
                stream.take(event.data)
        elif isinstance(event, (ResponseReceived, InformationalResponseReceived)):
            stream.has_answer = isinstance(event, ResponseReceived)
            is_whole = isinstance(event, ResponseReceived) and event.stream_ended is not None
            stream.out.append(_answer(stream, event.headers, is_whole=is_whole))
        elif isinstance(event, TrailersReceived):
            stream.trailers = tuple(Field.of(bytes(name), bytes(value)) for name, value in event.headers)
            return
        elif isinstance(event, StreamEnded):
            if stream.left:
                raise ValueError        # less than was announced
            stream.has_ended = True
            self._whole += 1
            if stream.is_chunked:
                stream.out.append(last_chunk(stream.trailers))
        elif isinstance(event, StreamReset):
            if not stream.has_ended:    # RFC 9113 section 8.1: behind an answer it only says that the rest is not wanted
                self._told(found)
                self._forget(number)
                found.append(StreamEvent(number, ends=True, is_untouched=event.error_code in _UNTOUCHED and not stream.has_answer))
            return
        else:
            return
        self._touched.add(number)

    def _told(self, found: list[StreamEvent]) -> None:
        """What has come for each stream, in one piece."""
        for number in self._touched:
            stream = self._streams.get(number)
            if stream is not None and stream.out:
                found.append(StreamEvent(number, b"".join(stream.out), size=stream.size))
                stream.out.clear()
                stream.size = 0
        self._touched.clear()

    def taken(self, number: int, size: int) -> None:
        """A session has taken so many bytes of content: the backend may send more."""
        stream = self._streams.get(number)
        if size and stream is not None and not self._is_over:
            self._h2.acknowledge_received_data(size, stream.number)
        elif size and not self._is_over:
            self._h2.increment_flow_control_window(size)

    def _window(self, stream_id: int, found: list[StreamEvent]) -> None:
        """The backend takes more content: of one stream, or of all."""
        numbers = (self._by_number.get(stream_id, 0),) if stream_id else tuple(self._streams)
        for number in numbers:
            stream = self._streams.get(number)
            if stream is None or stream.is_sent:
                continue
            was_slow = self.is_slow(number)
            self._flush(stream)
            if was_slow and not self.is_slow(number):
                found.append(StreamEvent(number, drained=True))

    # ------------------------------------------------------------ ends

    def closed(self, number: int) -> None:
        """A session leaves its stream, wherever that is."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if stream.number and not (stream.has_ended and stream.is_sent):
            self._given_up += not stream.has_ended
            self._drop(number, ErrorCodes.CANCEL)
        else:
            self._forget(number)
        if self._given_up > _GIVEN_UP + self._whole:
            self.end()

    def _going(self, goaway: GoAway, found: list[StreamEvent]) -> None:
        """RFC 9113 section 6.8: streams above the last one were not looked at, the others come to their end."""
        self.has_ended = True
        for number, stream in tuple(self._streams.items()):
            if not stream.number or stream.number > goaway.last:
                self._forget(number)
                found.append(StreamEvent(number, ends=True, is_untouched=not stream.has_answer))

    def lost(self) -> list[StreamEvent]:
        """The connection is gone, and with it all streams; requests that had not left have not been looked at."""
        self.has_ended = self._is_over = True
        streams, self._streams, self._by_number = self._streams, {}, {}
        return [StreamEvent(number, ends=True, is_untouched=not stream.number)
                for number, stream in streams.items() if not stream.has_ended]

    def end(self) -> None:
        """No stream is opened any more; those that are there come to their end."""
        self.has_ended = True

    def goodbye(self) -> None:
        """The last stream is gone: say GOAWAY."""
        self.has_ended = self._is_over = True
        self._say_goodbye(ErrorCodes.NO_ERROR)

    def _say_goodbye(self, code: ErrorCodes) -> None:
        try:
            self._h2.close_connection(code)
        except H2Error:
            pass                        # it has been said

    def _drop(self, number: int, code: ErrorCodes) -> None:
        stream = self._forget(number)
        if stream is None or not stream.number or self._is_over:
            return
        try:
            self._h2.reset_stream(stream.number, code)
        except H2Error:
            pass                        # the backend has closed it

    def _forget(self, number: int) -> _Stream | None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._by_number.pop(stream.number, None)
        return stream


def _unchecked(_headers: object) -> None:
    """In place of h2's own look at Content-Length."""


def _header(field: Field) -> tuple[bytes, bytes]:
    """Its value is in no table that the requests of others share, if it may be a secret (RFC 7541 section 7.1.3)."""
    kind = NeverIndexedHeaderTuple if _SECRET.search(field.name) else HeaderTuple
    return kind(field.name, field.value)


def _answer(stream: _Stream, headers: Iterable[tuple[bytes, bytes]], *, is_whole: bool) -> bytes:
    """An answer's head as HTTP/1.1. ValueError or LocalProtocolError for one that cannot be written; what can be is still
    read by the session's own reader."""
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    status = int(next((value for name, value in pairs if name == b":status"), b""))
    fields = [Field(name, value, name) for name, value in pairs if not name.startswith(b":") and name not in _CONNECTION]
    if status == _SWITCHING:
        raise ValueError                # RFC 9113 section 8.6
    if status >= _FINAL:
        fields += _framing(stream, status, fields, is_whole=is_whole)
    return response_bytes(status, REASONS.get(status, "").encode(), fields)


def _framing(stream: _Stream, status: int, fields: Iterable[Field], *, is_whole: bool) -> list[Field]:
    """How the content is framed in HTTP/1.1, and how much of it the answer announces."""
    lengths = [int(field.value) for field in fields if field.name == b"content-length"]
    if stream.method == b"HEAD" or status in _NO_CONTENT:
        stream.left = 0
        return []
    if lengths:
        stream.left = lengths[0]        # of several the session's reader takes none
        return []
    if is_whole:
        return [Field.of(b"Content-Length", b"0")]
    stream.is_chunked = True
    return [Field.of(b"Transfer-Encoding", b"chunked")]
