"""Receivers that are real: sockets that read syslog, an HTTP server that answers what a test says."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Posted:
    """What arrived: path, headers, body (unpacked). `answer` decides the status, by how many came before."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[int], int | tuple[int, dict[str, str]]] = lambda _: 200
        self.url = ""

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.requests]


@contextmanager
def http_server(tls: ssl.SSLContext | None = None) -> Iterator[Posted]:
    """A server on loopback, over TLS with a context of its own."""
    posted = Posted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answer = posted.answer(len(posted.requests))
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            posted.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    posted.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/events"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Read:
    """What a syslog receiver has read, connection by connection, and its address."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.connections: list[bytes] = []

    @property
    def messages(self) -> list[bytes]:
        """Octet counting undone (RFC 6587, 3.4.1)."""
        found = []
        for data in self.connections:
            while data:
                length, _, rest = data.partition(b" ")
                found.append(rest[: int(length)])
                data = rest[int(length):]
        return found


@contextmanager
def stream_receiver(
    tls: ssl.SSLContext | None = None, *, reads: int | None = None, is_polite: bool = True
) -> Iterator[Read]:
    """Accepts connections one after the other and reads each to its end; `reads` makes it close after so many bytes,
    one that is not polite closes without TLS's close_notify.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    read = Read(listener.getsockname()[:2])

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    read.connections.append(_all(connection, reads))
                    if tls is not None and reads is None and is_polite:
                        connection.unwrap()     # type: ignore[attr-defined]
            except (OSError, ssl.SSLError):
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield read
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _all(connection: socket.socket, limit: int | None) -> bytes:
    data = bytearray()
    while limit is None or len(data) < limit:
        chunk = connection.recv(65_536 if limit is None else limit)
        if not chunk:
            break
        data += chunk
    if limit is not None:       # closing with unread data resets the connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return bytes(data)
