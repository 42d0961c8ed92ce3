"""Bytes ↔ HTTP/1 messages, both ways and without I/O. The only file that knows where content lies.

Apart from `grammar` (characters) and `framing` (what fields mean). A reader is fed bytes in any pieces and
gives the same events for every split of them: a head, content as it arrives, an End. It raises
`MessageError` and then refuses use: after bytes that are no message, nobody knows where the next begins.
Writers check what they write and raise `LocalProtocolError`, for a value with a line end in it is a field,
or a message, of somebody else's.
Source: RFC 9112; section numbers stand where a rule is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.framing import (
    FRAMING,
    connection_options,
    offered_upgrade,
    read_framing,
    request_values,
    response_values,
    verify_trailers,
)
from lockgate.protocols.http.grammar import (
    REQUEST_OPENING,
    STATUS_OPENING,
    read_fields,
    read_request_line,
    read_status_line,
    verify_target,
)
from lockgate.protocols.http.messages import (
    End,
    Event,
    Field,
    Fields,
    Framing,
    HeadLimits,
    MessageError,
    RequestHead,
    ResponseHead,
)
from lockgate.protocols.http.reader import EXTENDED, EXTENDED_BEGUN, LIMITS, At, Reader


class RequestReader(Reader):
    """What a client sends. After an End, the next request waits for `next_message`, so that one exchange follows the
    other: bytes of a pipelined one are kept, as many as the caller feeds."""

    __slots__ = ("_known",)

    _opening = REQUEST_OPENING

    def __init__(self, limits: HeadLimits = LIMITS) -> None:
        super().__init__(limits)
        self._known: tuple[bytes, int, Fields, dict[bytes, bytes], frozenset[bytes]] | None = None
        """The fields of the last head, as bytes and as they were read: a client sends the same ones again and again."""

    @property
    def is_idle(self) -> bool:
        """Whether the last message has ended and of the next nothing has come: a good moment to close."""
        return not self._incoming and self._at in (At.HEAD, At.NOTHING)

    def next_message(self) -> None:
        """Go on with the next request."""
        if self._failure is not None or self._at is not At.NOTHING:
            raise LocalProtocolError("the request before has not ended")
        self._at = At.HEAD

    def _head(self) -> RequestHead | None:
        whole = self._whole_head()
        if whole is None:
            return None
        method, target, minor = read_request_line(whole[0])
        known = self._known
        if known is None or known[0] != whole[1] or known[1] != minor:
            fields = read_fields(whole[1], self._limits)
            values = request_values(fields)
            known = self._known = (whole[1], minor, fields, values, connection_options(values, fields))
        _, _, fields, values, options = known
        host = values.get(b"host")
        if host is None and minor == 0 and method == b"CONNECT":
            host = target                   # as `http.client` before Python 3.12 asks a proxy
        if host is None:
            raise MessageError("there is no Host field")
        verify_target(method, target, host)
        framing, length = read_framing(values, minor)
        if framing is not Framing.NONE and method in (b"CONNECT", b"TRACE"):
            raise MessageError("this method has no content (RFC 9110, 9.3.6 and 9.3.8)")
        upgrade = offered_upgrade(fields, options, minor) if framing is Framing.NONE else b""
        head = RequestHead(
            method, target, fields, minor, framing, length, minor == 1 and b"close" not in options,
            _expects_continue(values.get(b"expect"), minor, framing, length), upgrade,
        )
        self._begin(framing, length)
        return head


def _expects_continue(expect: bytes | None, minor: int, framing: Framing, length: int) -> bool:
    """Whether a request waits for 100 before its content (RFC 9110, 10.1.1)."""
    if expect is None:
        return False
    if expect.lower() != b"100-continue":
        raise MessageError("an expectation is not 100-continue", 417)
    if framing is Framing.NONE:
        raise MessageError("a request without content expects 100-continue")
    return minor == 1 and (framing is Framing.CHUNKED or length > 0)


class ResponseReader(Reader):
    """What a backend sends. `expect` comes before each response; bytes that nobody asked for are a failure, for they
    would answer the next request, which may be another principal's. All failures have status 502.

    An interim head has no End: after it comes the next head. After 101, or 2xx to CONNECT, the End follows at once and
    `rest` gives what has come of the other protocol.
    """

    __slots__ = ("_interim", "_known", "_method", "_tunnels", "_upgrade")

    _opening = STATUS_OPENING
    _size = EXTENDED
    _size_begun = EXTENDED_BEGUN

    def __init__(self, limits: HeadLimits = LIMITS) -> None:
        super().__init__(limits)
        self._at = At.NOTHING
        self._method = b""
        self._upgrade = b""
        self._interim = 0
        self._tunnels = False
        self._known: tuple[bytes, int, Fields, dict[bytes, bytes], frozenset[bytes]] | None = None
        """The fields of the last head, as `RequestReader._known`."""

    def expect(self, method: bytes, upgrade: bytes = b"") -> None:
        """A request of this method goes out, which offers this protocol (in lower case) to switch to."""
        if self._failure is not None or self._tunnels or self._at is not At.NOTHING:
            raise LocalProtocolError("the response before has not ended")
        if self._incoming:
            self._failure = MessageError("bytes came that answer no request", 502)
            raise self._failure
        self._method, self._upgrade, self._interim, self._at = method, upgrade, 0, At.HEAD

    def closed(self) -> Event | None:
        """The backend has closed its side, all events have been taken. The End of what ends so, None between messages.
        Raises MessageError where a response is cut off."""
        event = self.event()
        if event is not None:
            raise LocalProtocolError("there are events before the end")
        if self._at is At.CONTENT and self._left < 0:
            self._at = At.NOTHING
            return End()
        if self._at not in (At.NOTHING, At.TUNNEL):
            self._failure = MessageError("the response is cut off", 502)
            raise self._failure
        return None

    def _fault(self, failure: MessageError) -> MessageError:
        return MessageError(failure.args[0], 502)

    def _next(self) -> Event | None:
        if self._at is At.NOTHING and self._incoming and not self._tunnels:
            raise MessageError("bytes came that answer no request")
        return super()._next()

    def _head(self) -> ResponseHead | None:
        whole = self._whole_head()
        if whole is None:
            return None
        minor, status, reason = read_status_line(whole[0])
        known = self._known
        if known is None or known[0] != whole[1] or known[1] != minor:
            fields = read_fields(whole[1], self._limits)
            values = response_values(fields)
            known = self._known = (whole[1], minor, fields, values, connection_options(values, fields))
        _, _, fields, values, options = known
        framing, length = self._framing(status, *read_framing(values, minor))
        upgrade = offered_upgrade(fields, options, minor) if status == 101 else b""
        if status == 101 and (not self._upgrade or upgrade != self._upgrade):
            raise MessageError("the backend switches to a protocol that nobody asked for")
        keep_alive = minor == 1 and b"close" not in options and framing is not Framing.UNTIL_CLOSE
        head = ResponseHead(status, reason, fields, minor, framing, length, keep_alive, upgrade)
        if head.is_interim:
            self._interim += 1
            if self._interim > self._limits.interim:
                raise MessageError("there are too many interim responses")
        else:
            self._tunnels = status == 101 or (self._method == b"CONNECT" and status < 300)
            self._begin(framing, length)
        return head

    def _framing(self, status: int, framing: Framing, length: int) -> tuple[Framing, int]:
        """The framing of a response (6.3), of what its fields say."""
        tunnels = self._method == b"CONNECT" and 200 <= status < 300
        if status < 200 or status == 204 or tunnels:
            if framing is Framing.CHUNKED or length:
                raise MessageError("a response that has no content announces some")
            return Framing.NONE, 0
        if self._method == b"HEAD" or status == 304:
            return Framing.NONE, 0
        return (Framing.UNTIL_CLOSE, 0) if framing is Framing.NONE else (framing, length)


# ---------------------------------------------------------------- writers

T = TypeVar("T")
_read_fields: Final = partial(read_fields, limits=HeadLimits(fields=1 << 20, field=1 << 30))


def request_bytes(method: bytes, target: bytes, fields: Iterable[Field]) -> bytes:
    """The head of an HTTP/1.1 request, fields in their order with their names as written. It is for the caller
    that they say how the content is framed. Raises LocalProtocolError for what no reader would take as it is meant."""
    return b"%b%b\r\n" % (request_line(method, target), field_lines(fields))


def request_line(method: bytes, target: bytes) -> bytes:
    """The first line of a request with its end; `field_lines` and an empty line come behind it."""
    line = b"%b %b HTTP/1.1" % (method, target)
    if _read_back(read_request_line, line) != (method, target, 1):
        raise LocalProtocolError("a method or target cannot be written into a request line")
    return line + b"\r\n"


def response_bytes(
    status: int, reason: bytes, fields: Iterable[Field], minor: int = 1, lines: Callable[[Iterable[Field]], bytes] | None = None,
) -> bytes:
    """The head of a response, as `request_bytes`. `lines` writes the fields and checks them (None: `field_lines`)."""
    line = b"HTTP/1.%d %d %b" % (minor, status, reason)
    if _read_back(read_status_line, line) != (minor, status, reason):
        raise LocalProtocolError("a status or reason cannot be written into a status line")
    return b"%b\r\n%b\r\n" % (line, (lines or field_lines)(fields))


def chunk(data: bytes) -> bytes:
    """Content as one chunk; empty content would be the end and is refused (LocalProtocolError)."""
    if not data:
        raise LocalProtocolError("an empty chunk would end the message")
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[Field] = ()) -> bytes:
    """The end of chunked content. Raises LocalProtocolError for a trailer that frames, routes or authenticates."""
    kept = tuple(trailers)
    try:
        verify_trailers(kept)
    except MessageError as error:
        raise LocalProtocolError(error.args[0]) from None
    return b"0\r\n%b\r\n" % field_lines(kept)


def _read_back(read: Callable[[bytes], T], written: bytes) -> T | None:
    """What a reader makes of what is about to be written, None where it refuses. One grammar serves both ways."""
    try:
        return read(written)
    except MessageError:
        return None


def field_lines(fields: Iterable[Field]) -> bytes:
    """Field lines with their ends, of which at most one frames the content. They are what our own reader reads back
    as these fields, no more and no less."""
    meant = tuple(fields)
    lines = _lines(meant)
    if _read_back(_read_fields, lines) != meant:
        raise LocalProtocolError("a field's name or value cannot be written into one line")
    _require_one_framing(meant)
    return lines


def _lines(fields: Iterable[Field]) -> bytes:
    return b"".join([b"%b: %b\r\n" % (raw, value) for _, value, raw in fields])


def _require_one_framing(fields: Iterable[Field]) -> None:
    if len([name for name, _, _ in fields if name in FRAMING]) > 1:
        raise LocalProtocolError("two fields say where the content ends")


class FieldLines:
    """`field_lines` for one connection, on which most fields are those of the message before: a field that was read back
    once is not read back again. Lines that each are one field are the same fields in any company."""

    __slots__ = ("_known",)

    _MOST = 64
    _LONGEST = 512                          # bytes of a value that is kept

    def __init__(self) -> None:
        self._known: set[Field] = set()

    def __call__(self, fields: Iterable[Field]) -> bytes:
        """The lines of these fields."""
        meant, known = tuple(fields), self._known
        new = [field for field in meant if field not in known]
        if new:
            field_lines(new)
            if len(known) + len(new) > self._MOST:
                known.clear()
            known.update(field for field in new if len(field.value) <= self._LONGEST)
        _require_one_framing(meant)
        return _lines(meant)
