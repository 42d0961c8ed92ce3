"""Clients that send what a test has written, byte by byte, and show all of an answer: HTTP/1.1 read by h11, HTTP/2 by h2."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

Fields = tuple[tuple[bytes, bytes], ...]
_PATIENCE = 30.0


class Cut(Exception):
    """The connection ended before the answer did. `data`: what had come of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"cut after {data[:200]!r}")
        self.data = data


@dataclass(frozen=True)
class Answer:
    """One answer. Names of fields are as they were written. `raw` are its bytes, of HTTP/2 those of all parts in a row;
    `closed`: the connection is over."""

    status: int
    fields: Fields
    content: bytes
    trailers: Fields
    interims: tuple[int, ...]
    raw: bytes
    closed: bool

    def all(self, name: bytes) -> list[bytes]:
        """The values of a field, in their order."""
        return [value for known, value in self.fields if known.lower() == name]


class Http1:
    """One connection. `context`: for TLS, with `name` as the server's."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, name: str = "") -> None:
        made = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = made if context is None else context.wrap_socket(made, server_hostname=name)
        self._rest = b""
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self.closed = True
        self._socket.close()

    def secure(self, context: ssl.SSLContext, name: str) -> None:
        """TLS from here on, as behind a CONNECT."""
        self._socket = context.wrap_socket(self._socket, server_hostname=name)

    def ask(self, data: bytes, method: bytes = b"GET", *, behind_continue: bytes = b"") -> Answer:
        """Send `data`, read one answer; `behind_continue` follows when a 100 has come. `Cut` where there is none."""
        self._socket.sendall(data)
        return self.answer(method, behind_continue=behind_continue)

    def answer(self, method: bytes = b"GET", *, behind_continue: bytes = b"") -> Answer:
        """Read one answer."""
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
        reader.send(h11.Request(method=method, target="/" if method != b"CONNECT" else "a:1", headers=[("Host", "a")]))
        reader.send(h11.EndOfMessage())
        raw = self._rest
        if self._rest:
            reader.receive_data(self._rest)
        head: h11.Response | None = None
        interims: list[int] = []
        content: list[bytes] = []
        trailers: Fields = ()
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError:
                raise Cut(raw) from None
            if event is h11.NEED_DATA:
                piece = self._received()
                raw += piece
                if not piece and head is None:
                    self.closed = True
                    raise Cut(raw)
                reader.receive_data(piece)
                if not piece:
                    self.closed = True
            elif isinstance(event, h11.InformationalResponse):
                interims.append(event.status_code)
                if event.status_code == 100 and behind_continue:
                    self._socket.sendall(behind_continue)
            elif isinstance(event, h11.Response):
                head = event
                if method == b"CONNECT" and event.status_code < 300:
                    break
            elif isinstance(event, h11.Data):
                content.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                trailers = tuple(event.headers.raw_items())
                break
            else:
                break
        assert head is not None
        self._rest = reader.trailing_data[0]
        is_last = self.closed or reader.their_state is h11.MUST_CLOSE or any(
            name == b"connection" and value.lower() == b"close" for name, value in head.headers)
        return Answer(head.status_code, tuple(head.headers.raw_items()), b"".join(content), trailers, tuple(interims), raw,
                      is_last)

    def _received(self) -> bytes:
        try:
            return self._socket.recv(65_536)
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def has_ended(self) -> bool:
        """Wait for the other side's end; False where bytes come instead."""
        return self._rest == b"" and self._received() == b""


class Http2:
    """One connection over TLS, whose streams follow each other. Without a `name` none is said in TLS, and none is checked."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str) -> None:
        context.check_hostname = bool(name)
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), _PATIENCE), server_hostname=name or None)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        self._early: list[Any] = []             # what came while a request was being sent
        self._socket.sendall(self._h2.data_to_send())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, fields: Sequence[tuple[bytes, bytes]], content: bytes | None = None, trailers: Fields = ()) -> Answer:
        """A request with these fields, pseudo-fields first. `Cut` where its stream is reset."""
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, list(fields), end_stream=content is None)
        self._socket.sendall(self._h2.data_to_send())
        if content is not None:
            self._send(number, content, trailers)
        parts: dict[str, Any] = {"interims": (), "content": b"", "trailers": (), "fields": None}
        raw = b""
        while True:
            for event in self._events():
                if getattr(event, "stream_id", None) != number:
                    continue
                if isinstance(event, ResponseReceived):
                    parts["fields"] = tuple((bytes(n), bytes(v)) for n, v in event.headers)
                elif isinstance(event, DataReceived):
                    parts["content"] += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, number)
                elif isinstance(event, TrailersReceived):
                    parts["trailers"] = tuple((bytes(n), bytes(v)) for n, v in event.headers)
                elif isinstance(event, StreamReset):
                    raise Cut(_row(parts["fields"]) + parts["content"])
                elif isinstance(event, StreamEnded):
                    assert parts["fields"] is not None
                    raw = _row(parts["fields"]) + parts["content"] + _row(parts["trailers"])
                    status = int(dict(parts["fields"])[b":status"])
                    plain = tuple(one for one in parts["fields"] if not one[0].startswith(b":"))
                    return Answer(status, plain, parts["content"], parts["trailers"], (), raw, closed=False)

    def _send(self, number: int, content: bytes, trailers: Fields) -> None:
        while content:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._early += self._received()
                if any(isinstance(event, StreamEnded | StreamReset) for event in self._early):
                    return                      # it has been answered, and nobody reads the rest
                continue
            self._h2.send_data(number, content[:room])
            content = content[room:]
            self._socket.sendall(self._h2.data_to_send())
        if trailers:
            self._h2.send_headers(number, list(trailers), end_stream=True)
        else:
            self._h2.end_stream(number)
        self._socket.sendall(self._h2.data_to_send())

    def _events(self) -> list[Any]:
        if self._early:
            early, self._early = self._early, []
            return early
        return self._received()

    def _received(self) -> list[Any]:
        out = self._h2.data_to_send()
        if out:
            self._socket.sendall(out)
        data = self._socket.recv(65_536)
        if not data:
            raise Cut(b"")
        return list(self._h2.receive_data(data))


def _row(fields: Fields | None) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields or ())
