"""The doors: sockets that accept clients of one protocol, and what each door is bound to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.config.settings import Listener
from lockgate.govern.identity import CertificateRules
from lockgate.net.listen import BACKLOG, open_listeners
from lockgate.net.tls import ServerCertificate
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.host import Host
from lockgate.proxy.session import Session
from lockgate.wire.spec import ProtocolSpec


@dataclass(frozen=True, slots=True)
class Doorway:
    """One configured listener, ready to use."""

    name: str
    address: str
    spec: ProtocolSpec
    connection: str | None
    certificate: ServerCertificate | None
    plaintext: bool             # tokens without TLS, where both ends are loopback
    is_proxy: bool = False
    clients: str | None = None  # whose certificates clients may show

    @classmethod
    def of(cls, listener: Listener, spec: ProtocolSpec, certificates: Mapping[str, CertificateRules]) -> Doorway:
        """Load what the listener needs; `ConfigError` for files that cannot be used."""
        certificate = clients = None
        if listener.tls is not None:
            certificate, clients = ServerCertificate(listener.tls.certificate, listener.tls.key), listener.tls.clients
        made = cls(listener.name, listener.address, spec, listener.connection, certificate,
                   listener.plaintext_tokens == "loopback", listener.proxy, clients)
        made.require_usable(certificates)
        return made

    def require_usable(self, certificates: Mapping[str, CertificateRules]) -> None:
        """`ConfigError` where clients' certificates could not be verified by these rules."""
        if self.certificate is not None and self.clients is not None:
            self.certificate.context((), certificates.get(self.clients))


class Door:
    """An open listener."""

    def __init__(self, doorway: Doorway, *, reuse_port: bool = False) -> None:
        self.doorway = doorway
        self._sockets: list[socket.socket] = open_listeners(doorway.address, reuse_port=reuse_port)
        self._servers: list[asyncio.Server] = []

    @property
    def ports(self) -> list[int]:
        """The ports that it listens on (the system's choice where the address said 0)."""
        return [listening.getsockname()[1] for listening in self._sockets]

    async def open(self, host: Host) -> None:
        """Accept from here on."""

        def greet() -> Endpoint:
            return Session(host, self.doorway).client

        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            self._servers.append(await loop.create_server(greet, sock=listening, backlog=BACKLOG))

    def close(self) -> None:
        """Accept nothing more; sessions that are open stay."""
        for server in self._servers:
            server.close()
        for listening in self._sockets:
            listening.close()
        self._servers.clear()
        self._sockets.clear()
