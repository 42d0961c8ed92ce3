"""The connections to one backend that carry streams of many sessions, and the sessions that wait for a stream.

Stands apart from `pool`, which keeps ends that are one session's at a time. Rules: while a connection is being made, or all
are full and there may be no more, who asks waits for it instead of dialling as well; what a dial has shown (a refusal, a
backend that carries no streams) counts for all who wait; nobody waits longer than a dial may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.proxy.bundled import Bundled
from lockgate.proxy.driver import log, unreachable
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.spec import Bundle
from lockgate.wire.steps import Reach

if TYPE_CHECKING:
    from lockgate.config.settings import Connection
    from lockgate.proxy.host import Host

MOST: Final = 16
"""Connections at a time to one backend."""

Landed = Callable[[Endpoint | Refusal, bytes], None]
"""What a dial came to, and what the backend has said already."""


@dataclass(slots=True, eq=False)
class Asking:
    """Somebody who waits for an end."""

    step: Reach
    answer: Pending[Any]
    deadline: asyncio.TimerHandle | None = None


class Shared:
    """Of one connection's settings. Mutable."""

    def __init__(
        self, host: Host, connection: Connection, makes: Mapping[str, Callable[[bool], Bundle]],
        dial: Callable[[Connection, Reach, Landed], None], keep: Callable[[Connection, Endpoint], None],
    ) -> None:
        """`makes`: the frames, by protocol. `keep` gets an end that nobody waits for any more."""
        self.connection = connection
        self.is_retired = False
        self._host = host
        self.makes = makes
        self._dial = dial
        self._keep = keep
        self._bundles: list[Bundled] = []
        self._asking: list[Asking] = []
        self._begun: Bundled | Reach | None = None      # the connection that is being made
        self.is_single = False
        """Whether the backend chose to carry no streams when it was dialled last."""

    def __len__(self) -> int:
        return len(self._bundles) + (self._begun is not None)

    def ask(self, step: Reach) -> StreamEndpoint | Pending[Any]:
        """A stream, or what will be there instead: an end of one's own, or a refusal."""
        found = None if self._asking else self._open()
        if found is not None:
            return found
        asking = Asking(step, Pending())
        if self.is_single:
            self._alone(asking)
        else:
            self._wait(asking)
            self._more()
        return asking.answer

    def retire(self) -> None:
        """The settings are others now, or the gateway ends: streams come to their end, and connections with them."""
        self.is_retired = True
        self._settle()

    # ------------------------------------------------------------ connections

    def _open(self) -> StreamEndpoint | None:
        for bundled in self._bundles:
            found = bundled.open()
            if found is not None:
                return found
        return None

    def _more(self) -> None:
        """Make one more connection for those who wait, unless one is being made, one is not used, or there are enough."""
        if self._asking and self._begun is None and len(self._bundles) < MOST and all(self._bundles):
            self._begun = step = self._asking[0].step
            self._dial(self.connection, step, self._landed)

    def _landed(self, found: Endpoint | Refusal, early: bytes) -> None:
        if isinstance(found, Refusal):
            self._failed(found)
        elif found.protocol in self.makes:
            self._begun = None
            self._begin(found, early)
        else:
            self.is_single, self._begun = True, None
            asking, self._asking = self._asking, []
            for one in asking:
                self._done(one)
            if asking:
                asking.pop(0).answer.resolve(found)
            else:
                self._keep(self.connection, found)
            for one in asking:
                self._alone(one)

    def _alone(self, asking: Asking) -> None:
        """Dial for one who asks."""
        self._dial(self.connection, asking.step, partial(self._landed_alone, asking))

    def _landed_alone(self, asking: Asking, found: Endpoint | Refusal, early: bytes) -> None:
        if not isinstance(found, Refusal) and found.protocol in self.makes:
            self.is_single = False     # the backend is another one by now
            if not asking.answer.is_done:
                self._wait(asking)
            self._begin(found, early)
        elif not asking.answer.is_done:
            asking.answer.resolve(found)
        elif not isinstance(found, Refusal):
            self._keep(self.connection, found)

    def _begin(self, end: Endpoint, early: bytes) -> None:
        """The connection is there, and about to say how many streams it carries."""
        made = Bundled(end, self.makes[end.protocol](end.tls is not None), self._changed)
        self._bundles.append(made)
        if self._begun is None:
            self._begun = made
        made.begin(early)

    def _changed(self, bundled: Bundled) -> None:
        """There may be room, or a connection is ready, or gone."""
        if bundled is self._begun:
            if bundled.was_ready:
                self._begun = None
            elif bundled.is_over:
                name = self.connection.name
                log.warning("backend unreachable", reason="it does not speak what was agreed", connection=name)
                self._host.counters.errors["backend.unreachable"] += 1
                self._failed(unreachable(name, f"{self.connection.address} does not speak what was agreed"))
        self._bundles = [one for one in self._bundles if one.is_open]
        self._settle()

    def _failed(self, refusal: Refusal) -> None:
        """No connection can be made."""
        self._begun = None
        asking, self._asking = self._asking, []
        for one in asking:
            self._done(one)
            one.answer.resolve(refusal)

    def _settle(self) -> None:
        while self._asking and (found := self._open()) is not None:
            asking = self._asking.pop(0)
            self._done(asking)
            asking.answer.resolve(found)
        self._more()
        if self.is_retired and not self._asking:
            for bundled in tuple(self._bundles):
                bundled.retire()

    # ------------------------------------------------------------ who waits

    def _wait(self, asking: Asking) -> None:
        asking.answer.on_withdraw = partial(self._forget, asking)
        asking.deadline = self._host.loop.call_later(self._host.dial_timeout, self._late, asking)
        self._asking.append(asking)

    def _late(self, asking: Asking) -> None:
        self._forget(asking)
        if isinstance(self._begun, Bundled):
            self._begun.cut()           # it says nothing at all
        name = self.connection.name
        asking.answer.resolve(replace(
            unreachable(name, f"{self.connection.address}: no stream could be opened in time"),
            reason=f"the backend of connection {name} takes no more requests at the moment"))

    def _forget(self, asking: Asking) -> None:
        if asking in self._asking:
            self._asking.remove(asking)
        self._done(asking)

    def _done(self, asking: Asking) -> None:
        if asking.deadline is not None:
            asking.deadline.cancel()
            asking.deadline = None
