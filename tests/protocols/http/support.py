"""Three readers of HTTP/1 brought to one shape: ours, h11, and llhttp by way of httptools.

Each gives what it makes of the bytes as an `Outcome`, so that any two can be compared. The vectors of
`tests/data/http` are read here too; whoever fires them at a server takes them from `vectors`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import h11
import httptools

from lockgate.protocols.http.codec import RequestReader, ResponseReader
from lockgate.protocols.http.messages import End, MessageError, RequestHead, ResponseHead

DATA = Path(__file__).parents[2] / "data" / "http"
REFUSED, WAITING = "refuses", "waits"
HOST = b"Host: a.example\r\n"


@dataclass(frozen=True)
class Vector:
    """Bytes that must be refused: with `status` where they are a request, else on reading or at the close."""

    group: str
    name: str
    data: bytes
    h11: str
    llhttp: str
    status: int = 502
    method: bytes = b""
    upgrade: bytes = b""
    closed: bool = False

    def __str__(self) -> str:
        return f"{self.group}: {self.name}".replace(" ", "-")


@dataclass(frozen=True)
class Seen:
    """One message as a reader saw it."""

    start: tuple[bytes, ...]
    """Method and target, or the status."""
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a reader made of bytes. `end` is REFUSED, WAITING, or how many messages it took."""

    seen: tuple[Seen, ...]
    end: str
    status: int = 0


def bytes_of(parts: Iterable[str | list[Any]]) -> bytes:
    """The bytes of a vector: Latin-1 texts, or texts and how often they stand."""
    return b"".join(p.encode("latin-1") if isinstance(p, str) else p[0].encode("latin-1") * p[1] for p in parts)


@cache
def vectors(name: str) -> tuple[Vector, ...]:
    """The table `requests` or `responses`."""
    rows = json.loads((DATA / f"{name}.json").read_text())["vectors"]
    return tuple(Vector(
        row["group"], row["name"], bytes_of(row["bytes"]), row["h11"], row["llhttp"], row.get("status", 502),
        row.get("method", "").encode(), row.get("upgrade", "").encode(), row.get("closed", False)) for row in rows)


def pieces(data: bytes, *cuts: int) -> list[bytes]:
    """The data cut at these places."""
    places = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


class _Taking:
    """Messages in the making."""

    def __init__(self) -> None:
        self.done: list[Seen] = []
        self.now: Seen | None = None

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        assert self.now is not None
        self.done.append(replace(self.now, trailers=tuple(trailers)))
        self.now = None

    def outcome(self, end: str | None = None, status: int = 0) -> Outcome:
        return Outcome(tuple(self.done), end or (WAITING if self.now else str(len(self.done))), status)


def _pairs(fields: Iterable[Any]) -> tuple[tuple[bytes, bytes], ...]:
    """Names and values; of a transfer coding in lower case, as h11 gives it."""
    return tuple((f.name, f.value.lower() if f.name == b"transfer-encoding" else f.value) for f in fields)


# --- ours --------------------------------------------------------------------------------------


def ours(parts: Sequence[bytes], limit: int = 100) -> Outcome:
    """Requests as our reader sees them, pipelined ones too, up to one that ends the connection."""
    reader, taking = RequestReader(), _Taking()
    try:
        for part in parts:
            reader.feed(part)
            while (event := reader.event()) is not None:
                match event:
                    case RequestHead():
                        taking.now = Seen((event.method, event.target), _pairs(event.fields))
                        last = not event.keep_alive or event.method == b"CONNECT" or bool(event.upgrade)
                    case bytes():
                        assert event
                        assert taking.now is not None
                        taking.now = replace(taking.now, body=taking.now.body + event)
                    case End():
                        taking.end(_pairs(event.trailers))
                        if last or len(taking.done) == limit:
                            return taking.outcome()
                        reader.next_message()
    except MessageError as error:
        return taking.outcome(REFUSED, error.status)
    return taking.outcome(WAITING if reader.in_head or taking.now else None)


def ours_of_response(parts: Sequence[bytes], method: bytes, upgrade: bytes = b"", closed: bool = False) -> Outcome:
    """Responses to one request as our reader sees them."""
    reader, taking = ResponseReader(), _Taking()
    reader.expect(method, upgrade)
    try:
        for part in [*parts, None]:
            if part is None:
                if not closed:
                    break
                event = reader.closed()
            else:
                reader.feed(part)
                event = reader.event()
            while event is not None:
                match event:
                    case ResponseHead():
                        taking.now = Seen((str(event.status).encode(),), _pairs(event.fields))
                        if event.is_interim:
                            taking.end()
                            taking.now = None
                        last = event
                    case bytes():
                        assert event
                        assert taking.now is not None
                        taking.now = replace(taking.now, body=taking.now.body + event)
                    case End():
                        taking.end(_pairs(event.trailers))
                        if last.status == 101 or (method == b"CONNECT" and last.status < 300):
                            return taking.outcome()
                event = None if part is None else reader.event()
    except MessageError as error:
        return taking.outcome(REFUSED, error.status)
    return taking.outcome(WAITING if reader.in_head or taking.now else None)


# --- h11 ---------------------------------------------------------------------------------------


def by_h11(data: bytes, limit: int = 100) -> Outcome:
    """Requests as h11 sees them; each is answered so that the next one is looked at."""
    connection, taking = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17), _Taking()
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return taking.outcome(WAITING if connection.trailing_data[0] else None)
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return taking.outcome()
            if isinstance(event, h11.Request):
                taking.now = Seen((event.method, event.target), tuple(event.headers))
            elif isinstance(event, h11.Data):
                assert taking.now is not None
                taking.now = replace(taking.now, body=taking.now.body + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                taking.end(tuple(event.headers))
                connection.send(h11.Response(status_code=400, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or len(taking.done) == limit:
                    return taking.outcome()
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return taking.outcome(REFUSED)


def by_h11_of_response(data: bytes, method: bytes, upgrade: bytes = b"", closed: bool = False) -> Outcome:
    """Responses to one request as h11 sees them."""
    connection, taking = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17), _Taking()
    headers = [("Host", "a.example")] + ([("Connection", "Upgrade"), ("Upgrade", upgrade)] if upgrade else [])
    target = "a.example:443" if method == b"CONNECT" else "/"
    connection.send(h11.Request(method=method, target=target, headers=headers))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    if closed:
        connection.receive_data(b"")
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return taking.outcome(WAITING if connection.trailing_data[0] else None)
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                # More bytes than the response has are h11's `trailing_data`, for its caller to judge. 2xx to CONNECT
                # has no end there.
                if taking.now is not None:
                    taking.end()
                return taking.outcome()
            if isinstance(event, h11.InformationalResponse | h11.Response):
                taking.now = Seen((str(event.status_code).encode(),), tuple(event.headers))
                if isinstance(event, h11.InformationalResponse):
                    taking.end()
            elif isinstance(event, h11.Data):
                assert taking.now is not None
                taking.now = replace(taking.now, body=taking.now.body + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                taking.end(tuple(event.headers))
    except h11.RemoteProtocolError:
        return taking.outcome(REFUSED)


# --- llhttp ------------------------------------------------------------------------------------


class _Callbacks:
    def __init__(self, limit: int) -> None:
        self.taking = _Taking()
        self.parser: Any = None
        self.limit = limit
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._url = b""

    def on_message_begin(self) -> None:
        self.taking.now = Seen((), ())
        self._fields, self._body, self._url = [], [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")           # llhttp leaves it to its caller
        self._fields.append((name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value))

    def on_headers_complete(self) -> None:
        start = (self.parser.get_method(), self._url) if isinstance(self.parser, httptools.HttpRequestParser) \
            else (str(self.parser.get_status_code()).encode(),)
        self.taking.now = Seen(start, tuple(self._fields))
        self._fields = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self.taking.now is not None
        self.taking.now = replace(self.taking.now, body=b"".join(self._body))
        self.taking.end(self._fields)


def by_llhttp(data: bytes, response: bool = False) -> Outcome:
    """Messages as llhttp sees them, with none of its leniencies. It cannot be told what a response answers."""
    callbacks = _Callbacks(100)
    callbacks.parser = httptools.HttpResponseParser(callbacks) if response else httptools.HttpRequestParser(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return callbacks.taking.outcome(REFUSED)
    return callbacks.taking.outcome()


# --- what must hold for any bytes ----------------------------------------------------------------


def cuts(data: bytes, most: int = 64) -> Iterable[int]:
    """Every place to cut the data in two, or so many that lie evenly."""
    return range(1, len(data), max(1, len(data) // most))


def verify_requests(data: bytes) -> Outcome:
    """Any split gives the same messages, and what we take h11 takes just so, and llhttp unless it refuses it (it knows
    fewer methods). Returns what we make of the data."""
    whole = ours([data])
    for parts in [*(pieces(data, at) for at in cuts(data)), [bytes([byte]) for byte in data]]:
        split = ours(parts)
        assert (split.seen, split.end) == (whole.seen, whole.end), f"another outcome in pieces: {parts!r}"
    theirs = by_h11(data, max(len(whole.seen), 1))
    assert theirs.seen[:len(whole.seen)] == whole.seen, f"h11 takes other messages: {whole} {theirs}"
    also = by_llhttp(data).seen
    assert whole.seen[:len(also)] == also[:len(whole.seen)], f"llhttp takes other messages: {whole} {also}"
    if whole.end == WAITING:
        assert theirs.end != REFUSED, f"h11 refuses what we wait for: {data!r}"
    return whole


def verify_responses(data: bytes, method: bytes, closed: bool) -> Outcome:
    """As `verify_requests`, for what answers one request."""
    whole = ours_of_response([data], method, closed=closed)
    for parts in [*(pieces(data, at) for at in cuts(data)), [bytes([byte]) for byte in data]]:
        split = ours_of_response(parts, method, closed=closed)
        assert (split.seen, split.end) == (whole.seen, whole.end), f"another outcome in pieces: {parts!r}"
    if whole.end != REFUSED:
        theirs = by_h11_of_response(data, method, closed=closed)
        assert theirs.seen[:len(whole.seen)] == whole.seen, f"h11 takes other messages: {whole} {theirs}"
        if method == b"GET":
            also = by_llhttp(data, response=True).seen
            assert whole.seen[:len(also)] == also[:len(whole.seen)], f"llhttp takes other messages: {whole} {also}"
    return whole
