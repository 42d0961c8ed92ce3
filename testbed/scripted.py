"""A backend that answers with bytes that a test has written, and tells what it was asked.

Apart from `webapp`, which is a real application: here an answer may be anything that HTTP allows, or does not. h11 reads the
requests. A request names its answer in the field `X-Case`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11

Fields = tuple[tuple[bytes, bytes], ...]
CASE = b"x-case"


@dataclass(frozen=True)
class Script:
    """An answer: the pieces that are written one after the other, and whether the connection ends behind them. `resets`: by
    a RST."""

    pieces: Sequence[bytes]
    closes: bool = False
    resets: bool = False


@dataclass(frozen=True)
class Seen:
    """A request as the backend saw it. Names of fields are as they were written."""

    method: bytes
    target: bytes
    fields: Fields
    content: bytes
    trailers: Fields


@dataclass
class Scripted:
    """The running backend. `connections` counts those that were made to it, `seen` are the requests by case."""

    port: int
    scripts: dict[bytes, Script] = field(default_factory=dict)
    seen: dict[bytes, list[Seen]] = field(default_factory=dict)
    connections: int = 0

    def asked(self, case: bytes) -> Seen:
        """The last request of a case."""
        return self.seen[case][-1]


_UNKNOWN = Script([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The backend until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = Scripted(listener.getsockname()[1])
        open_ones: list[socket.socket] = []
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                backend.connections += 1
                taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_ones.append(taken)
                thread = threading.Thread(target=_serve, args=(backend, taken))
                threads.append(thread)
                thread.start()

        main = threading.Thread(target=accept)
        main.start()
        try:
            yield backend
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            main.join()
            for one in open_ones:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass                    # it has ended by itself
            for thread in threads:
                thread.join()


def _serve(backend: Scripted, taken: socket.socket) -> None:
    """One connection, request by request, until one side ends it."""
    rest = b""
    with taken:
        try:
            while (found := _read(taken, rest)) is not None:
                seen, rest = found
                case = next((value for name, value in seen.fields if name.lower() == CASE), b"")
                backend.seen.setdefault(case, []).append(seen)
                script = backend.scripts.get(case, _UNKNOWN)
                for piece in script.pieces:
                    taken.sendall(piece)
                if script.resets:
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                if script.closes or script.resets:
                    return
        except (OSError, h11.RemoteProtocolError):
            return


def _read(taken: socket.socket, rest: bytes) -> tuple[Seen, bytes] | None:
    """The next request and what came behind it; None at the end of the connection."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
    if rest:
        reader.receive_data(rest)
    request: h11.Request | None = None
    content: list[bytes] = []
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            if reader.they_are_waiting_for_100_continue:
                taken.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                reader.send(h11.InformationalResponse(status_code=100, headers=[]))
            data = taken.recv(65_536)
            if not data and request is None:
                return None
            reader.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            content.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            return Seen(bytes(request.method), bytes(request.target), tuple(request.headers.raw_items()),
                        b"".join(content), tuple(event.headers.raw_items())), reader.trailing_data[0]
        else:
            return None
