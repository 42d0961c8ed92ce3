"""One HTTP exchange with a party outside that may be slow, endless or hostile.

A time limit of a client counts for each read, so an answer that comes byte by byte has none: here a watchdog shuts
the connection when the whole exchange has had its time. Nothing is decompressed, since a few kilobytes of an encoding
can stand for gigabytes; TLS is verified, redirects and the environment's proxies are not followed.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import httpx


class Unanswered(Exception):
    """No whole answer came in time. The words name the kind of failure, and neither the address nor a header."""


class Exchanged(NamedTuple):
    """An answer. `headers` has lower-case names. `is_whole` is False where the body is longer than it may be, or encoded:
    what is there of it is of no use then.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


class Outward:
    """Exchanges of at most `seconds` each, and answers of at most `limit` bytes. `step`: seconds to connect, and for each
    read, where that is less. Used by one thread at a time.
    """

    def __init__(self, tls: ssl.SSLContext, seconds: float, limit: int, step: float | None = None) -> None:
        self._seconds = seconds
        self._limit = limit
        self._socket: Any = None
        self._is_late = False
        self._client = httpx.Client(
            timeout=step or seconds, verify=tls, trust_env=False, follow_redirects=False,
            limits=httpx.Limits(max_connections=1), headers={"Accept-Encoding": "identity"})

    def exchange(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Exchanged:
        """Ask once. Raises `Unanswered`."""
        self._is_late = False
        watchdog = threading.Timer(self._seconds, self._shut)
        watchdog.daemon = True
        watchdog.start()
        try:
            with self._client.stream(
                method, url, content=content, headers=dict(headers), extensions={"trace": self._trace},
            ) as answer:
                body, is_whole = self._read(answer)
                return Exchanged(answer.status_code, answer.headers, body, is_whole)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:    # ValueError: a header that is none
            raise Unanswered("Timeout" if self._is_late else type(error).__name__) from None
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._client.close()

    def _read(self, answer: httpx.Response) -> tuple[bytes, bool]:
        """As much of the body as it may have."""
        content = bytearray()
        if "content-encoding" in answer.headers:
            return b"", False
        for piece in answer.iter_raw():
            content += piece
            if len(content) > self._limit:
                return b"", False
        return bytes(content), True

    def _trace(self, event: str, said: Mapping[str, Any]) -> None:
        """Remember the connection's socket when it is made; one that is kept open is the last one that was made."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = said["return_value"].get_extra_info("socket")

    def _shut(self) -> None:
        """Whoever reads from the connection finds its end."""
        self._is_late = True
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
