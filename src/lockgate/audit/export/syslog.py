"""Syslog, RFC 5424: over UDP (RFC 5426), TCP with octet counting (RFC 6587, 3.4.1) and TLS (RFC 5425).

Syslog has no acknowledgement, and what a TCP stack took is not what a receiver has read. So a batch is a
connection of its own: this side says that it is done, and the batch counts as delivered when the receiver,
having read to the end, has closed its side. Over UDP nothing can be known; lost datagrams are lost.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from lockgate.audit.export.exporter import Undelivered

_PATIENCE: Final = 10.0         # seconds for one batch, from dialling to the receiver's close
_DATAGRAM: Final = 65_507       # bytes of payload in one IPv4 datagram
_NAME: Final = re.compile(r"[^!-~]")
_SEVERITY: Final = {1: 6, 2: 5, 3: 4, 4: 3, 5: 2, 6: 1}     # OCSF severity_id → RFC 5424, 6.2.1


@dataclass(frozen=True, slots=True)
class Message:
    """What one syslog message says. `time` in Unix milliseconds, `severity` OCSF's, `text` without control
    characters.
    """

    time: int
    severity: int
    kind: str
    text: bytes


def frame(message: Message, host: str, facility: int) -> bytes:
    """The message as RFC 5424, section 6 has it; ASCII JSON needs no byte-order mark."""
    priority = facility * 8 + _SEVERITY.get(message.severity, 6)
    stamp = datetime.fromtimestamp(message.time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    head = (f"<{priority}>1 {stamp}Z {_NAME.sub('-', host)[:255] or '-'} lockgate {os.getpid()} "
            f"{_NAME.sub('-', message.kind)[:32] or '-'} - ")
    return head.encode("ascii") + message.text


class SyslogTarget:
    """`write` sends a batch. `tls` belongs to transport ``tls``, with the name that the certificate must have."""

    def __init__(
        self, address: tuple[str, int], transport: Literal["udp", "tcp", "tls"], *, facility: int = 13,
        tls: ssl.SSLContext | None = None, server_name: str = "", host: str | None = None, patience: float = _PATIENCE,
    ) -> None:
        self._address = address
        self._transport = transport
        self._facility = facility
        self._tls = tls
        self._server_name = server_name or address[0]
        self._host = socket.gethostname() if host is None else host
        self._patience = patience

    def write(self, messages: Sequence[Message]) -> None:
        """Send the messages in order. Raises `Undelivered` where it is not sure that all have arrived."""
        frames = [frame(message, self._host, self._facility) for message in messages]
        if not frames:
            return
        try:
            if self._transport == "udp":
                self._datagrams(frames)
            else:
                self._stream(b"".join(b"%d %b" % (len(one), one) for one in frames))
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise Undelivered(f"syslog at {self._address[0]}:{self._address[1]}: {reason}") from None

    def _datagrams(self, frames: list[bytes]) -> None:
        family, kind, _, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sender:
            sender.settimeout(self._patience)
            sender.connect(address)
            for one in frames:
                if len(one) > _DATAGRAM:
                    raise Undelivered(f"a message of {len(one)} bytes does not fit a datagram")
                sender.send(one)

    def _stream(self, data: bytes) -> None:
        end = time.monotonic() + self._patience
        with socket.create_connection(self._address, self._patience) as plain:
            if self._tls is None:
                _send(plain, data, end)
                plain.shutdown(socket.SHUT_WR)
                _wait_closed(plain, end)
                return
            plain.settimeout(_left(end))
            with self._tls.wrap_socket(plain, server_hostname=self._server_name) as secured:
                _send(secured, data, end)
                secured.settimeout(_left(end))
                # close_notify both ways (RFC 5425, 4.4): the receiver has read to the end. A connection that ends
                # without it is an error, for whoever stands between could have cut it.
                secured.unwrap()


def _send(connection: socket.socket, data: bytes, end: float) -> None:
    view = memoryview(data)
    while view:
        connection.settimeout(_left(end))
        view = view[connection.send(view[:65_536]):]


def _wait_closed(connection: socket.socket, end: float) -> None:
    """Until the peer's end of stream; what it says meanwhile is nobody's business."""
    while True:
        connection.settimeout(_left(end))
        if not connection.recv(4096):
            return


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the receiver did not read and close in time")
    return left
