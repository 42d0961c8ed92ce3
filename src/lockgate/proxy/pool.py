"""Ends at backends that nobody uses at the moment, kept for whoever asks next (`Reach`), and the dialling of new ones.
Connections that carry streams of many sessions are `shared`.

Stands apart from sessions, which come and go while an end stays. It knows no protocol: whether an end is good for another
session is for the mediator to say that leaves it (`ProtocolSpec.spare`).

Rules: an end leads to the connection's settings with which it was made (address, TLS, certificate), so a reload leaves the
ones before behind; one that is bound to a caller is given to no other; one over which anything comes while nobody has asked,
or that the backend closes, is dropped at once, and looked at once more when it is taken. Idle time, age and number are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.net.tls import TlsError
from lockgate.proxy.dialling import Dialling
from lockgate.proxy.driver import unreachable
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.shared import Landed, Shared
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.spec import Spare
from lockgate.wire.steps import Reach, Side

if TYPE_CHECKING:
    from lockgate.config.settings import Connection
    from lockgate.proxy.host import Host

IDLE: Final = 30.0
"""Seconds that an end is kept while nobody uses it."""
AGE: Final = 600.0
"""Seconds from its connecting after which an end is not kept any more: names and certificates change."""
MOST: Final = 64
"""Ends kept of one connection; the one that has been idle longest goes first."""
_SWEEP: Final = 1.0
"""Seconds between two looks for ends that have been kept long enough."""


@dataclass(slots=True, eq=False)
class Kept:
    """One end, and who may use it; it is told what happens to the end meanwhile. `caller` None: anybody."""

    pool: Pool
    connection: Connection
    end: Endpoint
    caller: Hashable
    since: float
    until: float

    def connected(self, side: Side) -> None:
        """It is."""

    def received(self, side: Side, data: bytes) -> None:
        """An answer that nobody asked for would be the next caller's."""
        self.pool.drop(self, "spoke unasked")

    def ended(self, side: Side) -> None:
        """The backend hung up."""
        self.pool.drop(self, "left")

    def drained(self, side: Side) -> None:
        """Nothing is sent."""

    def secured(self, side: Side, error: TlsError | None) -> None:
        """It is."""


class Pool:
    """Mutable; one for each process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept: dict[str, list[Kept]] = {}          # by connection, the one that was left last at the end
        self._shared: list[Shared] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    # ------------------------------------------------------------ asking

    def reach(
        self, connection: Connection, step: Reach, caller: Hashable
    ) -> Endpoint | StreamEndpoint | Pending[Endpoint | StreamEndpoint | Refusal]:
        """An end at the connection's backend, still in its former owner's hands: whoever gets it takes it over."""
        shared = self._shared_of(connection, step)
        found: Endpoint | StreamEndpoint | Pending[Any] | None = None
        if step.idle > 0 and (shared is None or shared.is_single):
            found = self._taken(connection, step, caller)
        if found is None and shared is not None:
            found = shared.ask(step)
        if found is None:
            answer: Pending[Any] = Pending()
            self._dial(connection, step, partial(self._landed, connection, answer))
            return answer
        if not isinstance(found, Pending):
            self._host.counters.links["reused"] += 1
        return found

    def _taken(self, connection: Connection, step: Reach, caller: Hashable) -> Endpoint | None:
        now = self._host.loop.time()
        for kept in reversed(self._kept.get(connection.name, ())):
            if now - kept.since > step.idle:
                return None             # the others have been idle longer
            if kept.connection is not connection or kept.end.protocol not in step.protocols or kept.caller not in (None, caller):
                continue
            if now >= kept.until or not kept.end.is_quiet:
                self.drop(kept, "stale")
                return self._taken(connection, step, caller)
            self._kept[connection.name].remove(kept)
            return kept.end
        return None

    def _shared_of(self, connection: Connection, step: Reach) -> Shared | None:
        """The connections that carry streams, where one of the protocols does."""
        for shared in self._shared:
            if shared.connection is connection:
                return shared if not shared.makes.keys().isdisjoint(step.protocols) else None
        keeper = self._host.keepers.get(connection.name)
        if keeper is None or keeper.spec.bundles.keys().isdisjoint(step.protocols):
            return None
        made = Shared(self._host, connection, keeper.spec.bundles, self._dial, self._keep)
        self._shared.append(made)
        return made

    def _dial(self, connection: Connection, step: Reach, landed: Landed) -> None:
        task = self._host.tasks.create_task(self._dialled(connection, step, landed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dialled(self, connection: Connection, step: Reach, landed: Landed) -> None:
        dialling = Dialling(self._host, connection, step.protocols)
        found = await dialling.run()
        if isinstance(found, Endpoint):
            self._host.counters.links["dialled"] += 1
            keeper = self._host.keepers.get(connection.name)
            if dialling.early and (keeper is None or found.protocol not in keeper.spec.bundles):
                found.abort()
                found = unreachable(connection.name, f"{connection.address} spoke before it was asked")
        landed(found, dialling.early)

    def _landed(self, connection: Connection, answer: Pending[Any], found: Endpoint | Refusal, early: bytes) -> None:
        if answer.is_done and isinstance(found, Endpoint):      # who asked is gone
            self._keep(connection, found)
        else:
            answer.resolve(found)

    def _keep(self, connection: Connection, end: Endpoint) -> None:
        """An end that nobody has used."""
        self.put(connection, end, Spare(IDLE), None)

    # ------------------------------------------------------------ keeping

    def put(self, connection: Connection, end: Endpoint, spare: Spare, caller: Hashable) -> None:
        """Keep an end that its session leaves, or close it."""
        now, host = self._host.loop.time(), self._host
        end.flush()
        keeper = host.keepers.get(connection.name)
        if (
            self._is_closed or keeper is None or keeper.connection is not connection or now - end.made >= AGE
            or not end.is_quiet
        ):
            end.close()
            return
        kept = Kept(self, connection, end, caller if spare.is_bound else None, now, now + min(spare.seconds, IDLE))
        end.hand_over(kept)
        of = self._kept.setdefault(connection.name, [])
        of.append(kept)
        if len(of) > MOST:
            self.drop(of[0], "many")
        if self._sweeper is None:
            self._sweeper = host.loop.call_later(_SWEEP, self._sweep)

    def drop(self, kept: Kept, why: str) -> None:
        """Close an end that is kept."""
        self._kept[kept.connection.name].remove(kept)
        self._host.counters.links[why] += 1
        kept.end.close()

    def _sweep(self) -> None:
        now = self._host.loop.time()
        self._drop_all(kept for kept in self._all() if now >= kept.until)
        self._sweeper = self._host.loop.call_later(_SWEEP, self._sweep) if len(self) else None

    def _all(self) -> list[Kept]:
        return [kept for of in self._kept.values() for kept in of]

    def _drop_all(self, these: Iterable[Kept]) -> None:
        for kept in tuple(these):
            self.drop(kept, "idle")

    # ------------------------------------------------------------ ends

    def settings_changed(self) -> None:
        """Leave the ends of connections that are gone or have other settings."""
        keepers = self._host.keepers
        self._drop_all(kept for kept in self._all() if (
            kept.connection.name not in keepers or keepers[kept.connection.name].connection is not kept.connection))
        self._kept = {name: of for name, of in self._kept.items() if of}
        self._shared = [shared for shared in self._shared if len(shared)]
        for shared in self._shared:
            if keepers.get(shared.connection.name) is None or keepers[shared.connection.name].connection is not shared.connection:
                shared.retire()

    def close(self) -> None:
        """The gateway ends: nothing is kept any more. Ends that are asked for are still dialled."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._drop_all(self._all())
        for shared in self._shared:
            shared.retire()

    def stop(self) -> None:
        """And not dialled either."""
        for task in tuple(self._tasks):
            task.cancel()
