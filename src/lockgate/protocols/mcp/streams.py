"""How answers leave: a JSON document or a stream of events, with their messages masked one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lockgate.govern.masking.bodies import BodyMask, BodyTerms, body_mask, event_mask
from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.http.codec import response_bytes
from lockgate.protocols.http.messages import Field, Framing, ResponseHead
from lockgate.protocols.http.results import Reply, Unreadable
from lockgate.protocols.http.statuses import FIRST_ERROR, REASONS
from lockgate.protocols.mcp.exchange import McpExchange
from lockgate.protocols.mcp.jsonrpc import Malformed
from lockgate.protocols.mcp.shown import Shown

JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream"
_ACCEPTED: Final = 202
"""What a server says to notifications, and in the older transport to everything."""
_TEXT: Final = b"text/plain"
_MESSAGES: Final = (b"", b"message")
_ENDPOINT: Final = b"endpoint"
_NO_STORE: Final = Field.of(b"Cache-Control", b"no-store")
OPENING: Final = response_bytes(200, b"OK", (
    Field.of(b"Content-Type", EVENTS), Field.of(b"Cache-Control", b"no-store, no-transform"),
    Field.of(b"Transfer-Encoding", b"chunked")))
"""The head of a stream that is opened while a person is asked."""


def event_of(message: bytes) -> bytes:
    """A message as an event. JSON of one line, as the writers here make it, or of several."""
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"event: message\n" + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def document_of(messages: list[bytes], *, is_batch: bool) -> bytes:
    """Messages as one JSON document."""
    return b"[" + b",".join(messages) + b"]" if is_batch or len(messages) != 1 else messages[0]


def json_response(content: bytes, status: int, *, closes: bool) -> bytes:
    """An answer of the gateway's own."""
    fields = [Field.of(b"Content-Type", JSON), Field.of(b"Content-Length", b"%d" % len(content)), _NO_STORE]
    if closes:
        fields.append(Field.of(b"Connection", b"close"))
    return response_bytes(status, REASONS[status].encode(), tuple(fields)) + content


class McpReply(Reply):
    """The clear plan of a server's answer."""

    __slots__ = ("_exchange", "_is_alone", "_route", "_shown")

    def __init__(
        self, head: ResponseHead, exchange: McpExchange, shown: Shown, masked: dict[str, int], *, closes: bool,
        route: Callable[[bytes], bytes], lines: Callable[[Iterable[Field]], bytes],
    ) -> None:
        """`route` turns the address that a server of the older transport names into the gateway's, `lines` writes fields."""
        self._is_alone = bool(exchange.own) and (head.framing is Framing.NONE or head.status == _ACCEPTED)
        if self._is_alone:                  # the server answers nothing, and the gateway does
            head = ResponseHead(200, b"OK", (Field.of(b"Content-Type", JSON),), head.minor, Framing.LENGTH, 0,
                                head.keep_alive, b"")
        super().__init__(head, shown.rest, masked, minor=exchange.request.head.minor, closes=closes,
                         binary=shown.passes_binary, lines=lines)
        self._exchange = exchange
        self._shown = shown
        self._route = route
        if exchange.is_opened:
            self.is_whole, self._is_chunked, self.has_content = False, True, True

    @property
    def is_stream(self) -> bool:
        """Whether events come, for as long as the server likes."""
        return _type_of(self._head) == EVENTS

    def _opening(self, length: int | None) -> bytes:
        return b"" if self._exchange.is_opened else super()._opening(length)

    def _mask_of(self, terms: BodyTerms, kind: bytes, parameters: dict[bytes, bytes]) -> BodyMask | None:
        exchange, shown = self._exchange, self._shown
        is_error = self.status >= FIRST_ERROR
        if kind == EVENTS and not is_error:
            events = event_mask(terms, self._read)
            return _Events(events, shown, b"".join(map(event_of, exchange.own)))
        if kind == JSON or exchange.is_opened or exchange.own:
            return _Document(exchange, shown, self.status, is_empty=self._is_alone)
        if not is_error and self.status != _ACCEPTED:
            raise Unreadable("it is neither JSON nor a stream of events")
        return body_mask(terms, kind or _TEXT, parameters.get(b"charset", b""), parameters)

    def _read(self, data: bytes, name: bytes) -> bytes:
        """What is shown of an event's data."""
        if name == _ENDPOINT:
            return self._route(data)
        if name not in _MESSAGES:
            return b""                      # no client of MCP reads it
        found = self._shown.messages(data)
        return b"" if not found else document_of(found, is_batch=data.lstrip()[:1] == b"[")


class _Events:
    """A stream of events, behind the gateway's own ones."""

    def __init__(self, events: BodyMask, shown: Shown, before: bytes) -> None:
        self._events = events
        self._shown = shown
        self._before = before
        self.masked = shown.masked

    def feed(self, data: bytes) -> bytes:
        return self._out(self._events.feed(data))

    def finish(self) -> bytes:
        return self._out(self._events.finish())

    def _out(self, data: bytes) -> bytes:
        for name, count in self._events.masked.items():
            self.masked[name] = self.masked.get(name, 0) + count
        self._events.masked.clear()
        before, self._before = self._before, b""
        return before + data


class _Document:
    """A JSON document, held until it is whole."""

    def __init__(self, exchange: McpExchange, shown: Shown, status: int, *, is_empty: bool) -> None:
        self._is_empty = is_empty           # nothing that comes is a message
        self._exchange = exchange
        self._shown = shown
        self._status = status
        self._held: list[bytes] = []
        self._size = 0
        self.masked = shown.masked

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self._shown.rest.limit:
            raise Unreadable("it has to be looked into as a whole, and is too large for that")
        self._held.append(data)
        return b""

    def finish(self) -> bytes:
        data, exchange = b"".join(self._held), self._exchange
        self._held.clear()
        is_error = self._status >= FIRST_ERROR
        if is_error and not (exchange.is_opened or exchange.own):
            return self._of_error(data)
        own, exchange.own = exchange.own, []
        if is_error:
            exchange.own = own
            found = exchange.answers(Refusal(
                RefusalCode.BACKEND_UNAVAILABLE, f"the server has answered with HTTP status {self._status}",
                hint="The request was sent. Whether it was carried out is not known."))
        else:
            found = own + (self._shown.messages(data) if data and not self._is_empty else [])
        if exchange.is_opened:
            return b"".join(map(event_of, found))
        return document_of(found, is_batch=exchange.is_batch) if found or data else b""

    def _of_error(self, data: bytes) -> bytes:
        """The page of an HTTP error: a message, or some other document."""
        try:
            return document_of(self._shown.messages(data), is_batch=data.lstrip()[:1] == b"[")
        except Malformed:
            body = body_mask(self._shown.rest, JSON)
            assert body is not None
            out = body.feed(data) + body.finish()
            for name, count in body.masked.items():
                self.masked[name] = self.masked.get(name, 0) + count
            return out


def _type_of(head: ResponseHead) -> bytes:
    return b", ".join(head.all(b"content-type")).partition(b";")[0].strip().lower()
