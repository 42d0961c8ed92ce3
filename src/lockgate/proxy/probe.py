"""The gateway's own connection to a backend, with no client behind it.

Runs a protocol's `probe` to the catalogue that it returns. Its bytes go under the permit of a
system session that is in the log as any other (`session_begin` by `lockgate`/`gateway`), so that
I1 and I2 hold for the gateway's own questions too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lockgate.errors import Unpermitted
from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.net.tls import TlsError
from lockgate.proxy.driver import BASE_HANDLERS, Driver, Handler, log, unreachable
from lockgate.proxy.lane import Lane
from lockgate.wire.spec import ProbeContext, ProtocolSpec
from lockgate.wire.steps import Record, Side, StartTls, TlsInfo

if TYPE_CHECKING:
    from lockgate.govern.pipeline import Governor
    from lockgate.proxy.host import Host

Landed = Callable[[Any], None]
"""Called once with the catalogue, or with the `Refusal` of those who wait for one."""


class Probe(Driver):
    """One run of a protocol's probe. Starts with `start`, ends by calling `landed`."""

    __slots__ = ("_context", "_deadline", "_landed", "_securing")
    handlers: ClassVar[Mapping[type, Handler]]

    def __init__(self, host: Host, context: ProbeContext, governor: Governor, landed: Landed) -> None:
        super().__init__(host)
        self.connection = context.connection
        self.governor = governor
        self._context = context
        self._landed: Landed | None = landed
        self._deadline: asyncio.TimerHandle | None = None
        self._securing: dict[Side, tuple[Pending[TlsInfo | Refusal], Refusal]] = {}

    def start(self, spec: ProtocolSpec) -> None:
        """Run it."""
        assert spec.probe is not None
        self._deadline = self.loop.call_later(self.host.limits.login_timeout, self.close, "timed out")
        self.server_lane.generator = spec.probe(self._context)
        self._run(self.server_lane)

    def _finished(self, lane: Lane, value: Any) -> None:
        self._land(value)
        self.close("done")

    def _land(self, value: Any) -> None:
        landed = self._landed
        if landed is not None:
            landed(value)
            self._landed = None     # where it raised, `close` tells it once more, with a refusal

    def close(self, cause: str) -> None:
        """End it; whoever waits hears that there is no catalogue."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._release()
        if self._landed is not None:
            log.warning("no catalogue", connection=self._context.connection.name, cause=cause)
            connection = self._context.connection
            self._land(unreachable(connection.name, f"{connection.address}: the look at its catalogue {cause}"))

    def _record(self, lane: Lane, step: Record) -> Any:
        if step.grants:
            raise Unpermitted("a probe makes no requests of a caller")
        assert self.governor is not None
        return self.governor.record((), step.payload, step.under)

    def _start_tls(self, lane: Lane, step: StartTls) -> Any:
        if step.side is not Side.SERVER:
            raise TlsError("a probe has no client")
        return self._start_server_tls(lane, step)

    def _handshakes(self) -> dict[Side, tuple[Pending[TlsInfo | Refusal], Refusal]]:
        return self._securing

    # ------------------------------------------------------------ what the endpoint tells

    def connected(self, side: Side) -> None:
        """The backend's end is there."""
        self.host.opened(self._own_end())

    def received(self, side: Side, data: bytes) -> None:
        """Bytes of the backend: for the probe that waits, or kept."""
        lane = self.server_lane
        if self.is_closed:
            return
        lane.put(data)
        if lane.inbox_size >= self.host.limits.buffer:
            self.server.hold()
        if lane.waits_for is side:
            self._resume(lane, side, self._taken(lane))

    def ended(self, side: Side) -> None:
        """The backend hung up."""
        lane = self.server_lane
        lane.has_ended = True
        if lane.waits_for is side:
            self._resume(lane, side, b"")


Probe.handlers = {**BASE_HANDLERS, Record: Probe._record, StartTls: Probe._start_tls}
