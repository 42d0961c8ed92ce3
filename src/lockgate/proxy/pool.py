"""Ends at backends that nobody uses at the moment, kept for whoever asks next (`Reach`), and the dialling of new ones.

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
from typing import TYPE_CHECKING, Final

from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.net.tls import TlsError
from lockgate.proxy.dialling import Dialling
from lockgate.proxy.endpoint import Endpoint
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    # ------------------------------------------------------------ asking

    def reach(self, connection: Connection, step: Reach, caller: Hashable) -> Endpoint | Pending[Endpoint | Refusal]:
        """An end at the connection's backend, still in its former owner's hands: whoever gets it takes it over."""
        found = self._taken(connection, step, caller) if step.idle > 0 else None
        if found is not None:
            self._host.counters.links["reused"] += 1
            return found
        answer: Pending[Endpoint | Refusal] = Pending()
        task = self._host.tasks.create_task(self._dial(connection, step, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return answer

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

    async def _dial(self, connection: Connection, step: Reach, answer: Pending[Endpoint | Refusal]) -> None:
        found = await Dialling(self._host, connection, step.protocols).run()
        if isinstance(found, Endpoint):
            self._host.counters.links["dialled"] += 1
            if answer.is_done:          # who asked is gone
                self.put(connection, found, Spare(IDLE), None)
                return
        answer.resolve(found)

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

    def close(self) -> None:
        """The gateway ends: nothing is kept any more. Ends that are asked for are still dialled."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._drop_all(self._all())

    def stop(self) -> None:
        """And not dialled either."""
        for task in tuple(self._tasks):
            task.cancel()
