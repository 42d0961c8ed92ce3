"""Exchanges with servers that are slow, endless or hostile: real sockets, and what is left of the answer."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from lockgate.audit.outward import Outward, Unanswered


@contextmanager
def server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Speaks to one client as `answer` wants; the event says that it is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                try:
                    answer(connection, over)
                except OSError:
                    pass        # the client has left, which is what the test is about

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


def outward(seconds: float = 0.4, limit: int = 1000) -> closing[Outward]:
    return closing(Outward(ssl.create_default_context(), seconds, limit))


def dripping(first: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        for _ in range(400):            # then it hangs up, which is another end than that of the time
            if over.wait(0.05):
                return
            connection.sendall(b"x")

    return answer


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"])
def test_an_answer_byte_by_byte_ends_with_the_whole_exchange(first: bytes) -> None:
    """Each read comes in time, in the headers or in the body, and still there is one limit for all of them."""
    with server(dripping(first)) as url, outward() as party, pytest.raises(Unanswered, match="Timeout"):
        party.exchange("POST", url, b"", {})


def test_nothing_is_decompressed() -> None:
    """An encoding that comes is not opened: a kilobyte may stand for gigabytes."""
    bomb = gzip.compress(bytes(4_000_000))

    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)

    with server(answer) as url, outward(5, 1 << 20) as party:
        got = party.exchange("POST", url, b"", {})
    assert (got.status, got.body, got.is_whole) == (200, b"", False)


def test_a_body_that_is_too_long_is_not_read_on() -> None:
    """An answer without an end is given up at the limit; its status is known."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 503 No\r\n\r\n")
        while not over.is_set():
            connection.sendall(bytes(1000))

    with server(answer) as url, outward(5) as party:
        got = party.exchange("POST", url, b"", {})
    assert (got.status, got.is_whole) == (503, False)
