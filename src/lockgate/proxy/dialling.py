"""An end at a backend on its way: connected, then secured, before anybody speaks over it.

Stands apart from the driver, which dials for itself (`Dial`, `StartTls`), because who asked may be gone by the time that the
end is there, and the end is of use to somebody else. All of it has one deadline.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lockgate.errors import BackendError
from lockgate.model import Refusal
from lockgate.net.address import split_address
from lockgate.net.dial import dial
from lockgate.net.tls import TlsError
from lockgate.proxy.driver import backend_tls, distrusted, log, unreachable
from lockgate.proxy.endpoint import Endpoint
from lockgate.wire.steps import Side

if TYPE_CHECKING:
    from lockgate.config.settings import Connection
    from lockgate.proxy.host import Host


_EARLY: Final = 65_536
"""Bytes that are read before there is anybody to take them."""


class Dialling:
    """The owner of an end until it can be used."""

    def __init__(self, host: Host, connection: Connection, protocols: tuple[str, ...]) -> None:
        self._host = host
        self._connection = connection
        self._protocols = protocols
        self._end = Endpoint(Side.SERVER, self, host.gone)
        self._secured: asyncio.Future[TlsError | None] = host.loop.create_future()
        self.early = b""
        """What the backend has said already, where the protocol lets it speak first."""

    async def run(self) -> Endpoint | Refusal:
        """The end, or why there is none. Nothing is left open where this is cancelled. Whoever gets it takes it over at once,
        so that nothing comes in between."""
        try:
            answer = await self._reached()
        except asyncio.CancelledError:
            self._end.abort()
            raise
        if isinstance(answer, Endpoint) and answer.is_ended:
            answer = unreachable(self._connection.name, f"{self._connection.address} hung up at once")
        if isinstance(answer, Refusal):
            self._end.abort()
        return answer

    async def _reached(self) -> Endpoint | Refusal:
        connection, host = self._connection, self._host
        try:
            async with asyncio.timeout(host.dial_timeout):
                address, port = split_address(connection.address)
                await dial(address, port, lambda: self._end, host.dial_timeout)
                if connection.tls.mode == "disable":
                    self._end.protocol = self._protocols[0]
                else:
                    refusal = await self._secure()
                    if refusal is not None:
                        return refusal
        except (BackendError, TimeoutError) as error:
            reason = str(error.args[0]) if isinstance(error, BackendError) else "no answer in time"
            log.warning("backend unreachable", reason=reason, connection=connection.name)
            host.counters.errors["backend.unreachable"] += 1
            return unreachable(connection.name, f"{connection.address} cannot be reached: {reason}")
        return self._end

    async def _secure(self) -> Refusal | None:
        connection, end = self._connection, self._end
        stream = backend_tls(connection, self._protocols)
        if isinstance(stream, Refusal):
            return stream
        end.secure(stream, b"")
        error = await self._secured
        end.protocol = stream.alpn or self._protocols[-1] if error is None else ""
        if end.protocol in self._protocols:
            return None
        reason = "it chose a protocol that was not offered" if error is None else str(error.args[0])
        log.info("TLS handshake failed", side="server", reason=reason, connection=connection.name)
        self._host.counters.errors["tls.server"] += 1
        return replace(distrusted(connection.name), cause=f"TLS: {reason}")

    # ------------------------------------------------------------ what the end tells

    def connected(self, side: Side) -> None:
        """It has its transport."""
        self._host.opened(self._end)

    def received(self, side: Side, data: bytes) -> None:
        """Nobody has asked for anything yet."""
        self.early += data
        if len(self.early) >= _EARLY:
            self._end.hold()

    def ended(self, side: Side) -> None:
        """The backend hung up."""
        self.secured(side, TlsError("the connection was closed"))

    def drained(self, side: Side) -> None:
        """Nothing was sent that could be behind."""

    def secured(self, side: Side, error: TlsError | None) -> None:
        """The handshake is over."""
        if not self._secured.done():
            self._secured.set_result(error)
