"""A backend that speaks HTTP/2 without TLS, and does what the path of a request says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes

GOAWAY = b"\0\0\x08\x07\0\0\0\0\0"


@dataclass
class Asked:
    """A request as far as it has come."""

    path: str
    method: str
    headers: dict[str, str]
    content: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


@dataclass
class H2Backend:
    """What it has seen: (connection, path) of each request, in the order in which they came."""

    port: int
    streams: int = 100
    """That it takes at a time."""
    seen: list[tuple[int, str]] = field(default_factory=list)
    connections: int = 0
    most: int = 0
    """Streams that were open at a time on one connection."""
    held: threading.Event = field(default_factory=threading.Event)

    def _serve(self, number: int, peer: socket.socket) -> None:
        try:
            with peer:
                _Serving(self, number, peer).run()
        except OSError:
            pass

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(self.connections, peer), daemon=True).start()


class _Serving:
    """One connection."""

    def __init__(self, backend: H2Backend, number: int, peer: socket.socket) -> None:
        self.backend = backend
        self.number = number
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: backend.streams})
        self.asked: dict[int, Asked] = {}
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            self.peer.sendall(self.h2.data_to_send())
            data = self.peer.recv(65_536)
            if not data:
                return
            for event in self.h2.receive_data(data):
                self.happened(event)

    def happened(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = dict(event.headers)
            self.asked[event.stream_id] = Asked(headers[":path"], headers[":method"], headers)
            self.backend.seen.append((self.number, headers[":path"]))
            self.backend.most = max(self.backend.most, len(self.asked))
        elif isinstance(event, DataReceived):
            self.asked[event.stream_id].content += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.asked[event.stream_id].trailers = dict(event.headers)
        elif isinstance(event, StreamEnded) and event.stream_id in self.asked:
            asked = self.asked.pop(event.stream_id)
            act = ACTS.get(asked.path.split("/")[1], _Serving.plain)
            act(self, event.stream_id, asked)

    # ------------------------------------------------------------ what it does

    def plain(self, stream: int, asked: Asked) -> None:
        """The path, the connection, and the content's size."""
        content = f"{asked.path} over {self.number} of {len(asked.content)}".encode()
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
        self.h2.send_data(stream, content, end_stream=True)

    def call(self, stream: int, asked: Asked) -> None:
        """What a gRPC server does: content, and the status in trailers."""
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        for at in range(0, len(asked.content), 16_384):
            self.h2.send_data(stream, asked.content[at:at + 16_384])
        self.h2.send_headers(stream, [("grpc-status", "0"), ("x-got", asked.trailers.get("x-sum", "none")),
                                      ("x-te", asked.headers.get("te", "none"))], end_stream=True)

    def refuse(self, stream: int, asked: Asked) -> None:
        """The first time; then it answers."""
        if [path for _, path in self.backend.seen].count(asked.path) > 1:
            self.plain(stream, asked)
        else:
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def never(self, stream: int, asked: Asked) -> None:
        """Not once."""
        self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def fail(self, stream: int, asked: Asked) -> None:
        """It has done something, nobody knows what."""
        self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)

    def go(self, stream: int, asked: Asked) -> None:
        """This one was not looked at, and the connection ends."""
        if [path for _, path in self.backend.seen].count(asked.path) > 1:
            self.plain(stream, asked)
        else:
            self.peer.sendall(self.h2.data_to_send() + GOAWAY + (stream - 2 if stream > 1 else 0).to_bytes(4, "big") + bytes(4))

    def cut(self, stream: int, asked: Asked) -> None:
        """Half an answer, and the connection is gone."""
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", "100")])
        self.h2.send_data(stream, b"half")
        self.peer.sendall(self.h2.data_to_send())
        self.is_over = True

    def short(self, stream: int, asked: Asked) -> None:
        """Less content than it announces."""
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", "100")])
        self.h2.send_data(stream, b"half", end_stream=True)

    def hold(self, stream: int, asked: Asked) -> None:
        """When the test says so."""
        self.asked[stream] = asked
        if self.backend.held.is_set() or len(self.asked) >= self.backend.streams:
            self.backend.held.set()
            for one, held in tuple(self.asked.items()):
                del self.asked[one]
                self.plain(one, held)


ACTS: dict[str, Callable[[_Serving, int, Asked], None]] = {
    name: getattr(_Serving, name) for name in ("call", "refuse", "never", "fail", "go", "cut", "short", "hold")}


@contextmanager
def h2_backend(**more: int) -> Iterator[H2Backend]:
    """The backend until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        made = H2Backend(listening.getsockname()[1], **more)
        accepting = threading.Thread(target=made._accept, args=(listening,), daemon=True)
        accepting.start()
        yield made
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join(10)
