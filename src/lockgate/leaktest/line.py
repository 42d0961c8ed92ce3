"""A blocking connection for the leak test: TCP, TLS when the protocol asks for it, a deadline on everything.

Apart from `net.dial`, which gives transports to the gateway's event loop: one conversation at a time needs
no loop. The line knows no protocol and keeps nothing of what goes through it.
"""

from __future__ import annotations

import os
import socket
import ssl
import time

from cryptography import x509

from lockgate.errors import BackendError
from lockgate.leaktest.address import Address
from lockgate.net.address import is_loopback
from lockgate.net.tls import client_context, server_end_point
from lockgate.wire.leaktest import LineTimeout

_CHUNK = 65_536


def dial(address: Address, seconds: float = 10.0) -> SocketLine:
    """Connect. Raises `BackendError` that names the address and the system's reason."""
    try:
        raw = socket.create_connection((address.host, address.port), timeout=seconds)
    except TimeoutError:
        raise _unreachable(address, "no answer in time") from None
    except socket.gaierror:
        raise _unreachable(address, "its name cannot be resolved") from None
    except OSError as error:
        raise _unreachable(address, os.strerror(error.errno).lower() if error.errno else "no connection") from None
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketLine(raw, address, seconds)


def _unreachable(address: Address, why: str) -> BackendError:
    return BackendError(f"cannot connect to {address.host}:{address.port}: {why}",
                        advice="Check host and port, and that it is running.")


class SocketLine:
    """A `wire.leaktest.Line` over a socket. After an error or a timeout it is closed by its owner."""

    def __init__(self, connected: socket.socket, address: Address, seconds: float) -> None:
        self._socket = connected
        self._address = address
        self._deadline = time.monotonic() + seconds

    @property
    def is_private(self) -> bool:
        """TLS, or the peer is on loopback."""
        return isinstance(self._socket, ssl.SSLSocket) or is_loopback(str(self._socket.getpeername()[0]))

    def within(self, seconds: float) -> None:
        """Set the deadline to so many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def _arm(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise LineTimeout
        self._socket.settimeout(left)

    def send(self, data: bytes) -> None:
        """All of `data`, or `BackendError`, or `LineTimeout`."""
        self._arm()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise LineTimeout from None
        except OSError:
            raise BackendError(f"{self._address.host} closed the connection") from None

    def receive(self) -> bytes:
        """At least one byte, or b"" at the end (a reset is an end)."""
        self._arm()
        try:
            return self._socket.recv(_CHUNK)
        except TimeoutError:
            raise LineTimeout from None
        except OSError:
            return b""

    def start_tls(self, alpn: tuple[str, ...]) -> None:
        """The handshake, by the address' sslmode. `BackendError` where the certificate is not accepted."""
        mode = "require" if self._address.tls == "prefer" else self._address.tls
        context = client_context(mode, self._address.ca, alpn)
        self._arm()
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self._address.host)
        except TimeoutError:
            raise LineTimeout from None
        except ssl.SSLCertVerificationError as error:
            raise BackendError(
                f"the certificate of {self._address.host} is not accepted: {error.verify_message}",
                advice="Add sslrootcert=<file of the authority> to the address, or use the name in the certificate.",
            ) from None
        except (OSError, ValueError):
            raise BackendError(f"no TLS with {self._address.host}: the handshake failed") from None

    def end_point(self) -> bytes | None:
        """RFC 5929 data of the server's certificate."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        shown = self._socket.getpeercert(binary_form=True)
        return server_end_point(x509.load_der_x509_certificate(shown)) if shown else None

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        self._socket.close()
