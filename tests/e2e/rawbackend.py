"""A backend of which a test says every byte: HTTP/1.1 on loopback, its connections counted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answer = Callable[["RawBackend", int, bytes, socket.socket], None]
"""(backend, the connection's number, a request's head, where its answer goes)."""


def plain(_: RawBackend, number: int, head: bytes, connection: socket.socket) -> None:
    """The request's own target and its connection, as an answer with a length."""
    content = b"%s over %d" % (head.split(b" ", 2)[1], number)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


@dataclass
class RawBackend:
    """Requests have no content here, so that a head is a request."""

    port: int
    answer: Answer = plain
    heads: list[tuple[int, bytes]] = field(default_factory=list)
    """Connection and head of each request, in the order in which they came."""
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: int = 0

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something that the backend sees is so."""
        with self.changed:
            assert self.changed.wait_for(condition, 20)

    def _serve(self, number: int, connection: socket.socket) -> None:
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65_536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                with self.changed:
                    self.heads.append((number, head))
                    self.changed.notify_all()
                self.answer(self, number, head, connection)
        except OSError:
            pass
        finally:
            connection.close()
            with self.changed:
                self.closed += 1
                self.changed.notify_all()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(self.connections, connection), daemon=True).start()


@contextmanager
def raw_backend() -> Iterator[RawBackend]:
    """The backend until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        made = RawBackend(listening.getsockname()[1])
        accepting = threading.Thread(target=made._accept, args=(listening,), daemon=True)
        accepting.start()
        yield made
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join(10)
