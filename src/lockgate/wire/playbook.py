"""A public test tool: run a mediator without sockets and say, in order, what goes in and comes out.

    book = Playbook(mediator, governor)
    book >> Bytes(CLIENT, query) << Bytes(SERVER, query) >> Bytes(SERVER, rows) << Bytes(CLIENT, masked)

Apart from `conformance`, which states the rules that every protocol keeps: this only plays. It
carries steps out as the driver does, with a real `Governor`, and takes bytes out of nothing but a
permit or a clearance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockgate.govern.pending import Pending
from lockgate.govern.permit import require_clearance, require_permit
from lockgate.model import Refusal
from lockgate.wire.spec import Mediator
from lockgate.wire.steps import (
    Abandon,
    Aside,
    Clear,
    Close,
    Compose,
    Compute,
    Fork,
    Judge,
    Note,
    Opened,
    Passed,
    Receive,
    Record,
    Settle,
    Side,
    Snapshot,
    Step,
    Steps,
    Tell,
    ToClient,
    ToServer,
    Window,
)

CLIENT, SERVER = Side.CLIENT, Side.SERVER


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes that one side sent (``>>``) or gets (``<<``)."""

    side: Side
    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """One side hung up (``>>``)."""

    side: Side


@dataclass(frozen=True, slots=True)
class Closed:
    """The mediator ended the session (``<<``)."""

    cause: str


@dataclass(frozen=True, slots=True)
class Told:
    """Bytes for the client beside the protocol (``<<``)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Apart:
    """Bytes sent over a fresh connection to the backend (``<<``)."""

    data: bytes


Seen = Bytes | Closed | Apart | Told


class Performer:
    """Carries steps out against a governor and remembers what left. `answers` adds steps of a login; `recording` gets
    what the mediator says of it (`proxy.recording.Recording`), `wire` what goes to the client too (`Tapped`).

    A generator that has to wait is parked; `resume` goes on with every one whose answer has come.
    """

    def __init__(
        self, governor: Any, answers: dict[type, Callable[[Any], Any]] | None = None, recording: Any = None,
        wire: Any = None,
    ) -> None:
        self.governor = governor
        self.recording = recording
        self.wire = wire
        self.seen: list[Seen] = []
        self.settled: list[Settle] = []
        self.judged: list[Judge] = []
        self.inbox: dict[Side, list[bytes]] = {CLIENT: [], SERVER: []}
        self.is_closed = False
        self.results: list[Any] = []
        self._answers = answers or {}
        self._parked: list[tuple[Steps[Any], Pending[Any]]] = []
        self._reading: list[tuple[Steps[Any], Side]] = []
        self._forks: dict[Any, Steps[Any]] = {}

    @property
    def is_waiting(self) -> bool:
        """True while a generator waits for an answer."""
        return any(not pending.is_done for _, pending in self._parked)

    def run(self, steps: Steps[Any], value: Any = None) -> None:
        """Run until the generator ends, waits, or closes the session."""
        try:
            while not self.is_closed:
                step = steps.send(value)
                if isinstance(step, Receive):
                    if not self.inbox[step.side]:
                        self._reading.append((steps, step.side))
                        return
                    value = self.inbox[step.side].pop(0)
                    continue
                value = self._carry_out(step)
                if isinstance(value, Pending):
                    if not value.is_done:
                        self._parked.append((steps, value))
                        return
                    value = _value(value)
            steps.close()
        except StopIteration as stop:
            self.results.append(stop.value)

    def resume(self) -> None:
        """Go on with what waited for an answer that is there now."""
        ready = [(steps, pending) for steps, pending in self._parked if pending.is_done]
        self._parked = [item for item in self._parked if not item[1].is_done]
        for steps, pending in ready:
            self.run(steps, _value(pending))

    def receive(self, side: Side, data: bytes) -> None:
        """Give bytes to a login that reads (b"" is the end of the stream)."""
        for index, (steps, wanted) in enumerate(self._reading):
            if wanted is side:
                del self._reading[index]
                self.run(steps, data)
                return
        self.inbox[side].append(data)

    def sent(self, side: Side) -> bytes:
        """All bytes that left towards one side."""
        return b"".join(seen.data for seen in self.seen if isinstance(seen, Bytes) and seen.side is side)

    def _carry_out(self, step: Step) -> Any:
        answer = self._answers.get(type(step))
        if answer is not None:
            return answer(step)
        if isinstance(step, Judge):
            self.judged.append(step)
            return self.governor.judge(step.operation, step.plan, step.ask, step.counts, step.patience is None)
        if isinstance(step, Record):
            return self.governor.record(step.grants, step.payload, step.under)
        if isinstance(step, Clear):
            return self.governor.clear(step.plan, step.chunk)
        if isinstance(step, Compute):
            return step.call
        if isinstance(step, Compose):
            return self.governor.compose(step.payload)
        if isinstance(step, Settle):
            self.settled.append(step)
            return self.governor.settle(step.grant, step.status, step.rows, step.sent, step.code)
        if isinstance(step, Note):
            self.governor.event(step.type, step.fields)
        elif isinstance(step, ToServer):
            self._saw(SERVER, require_permit(step.permit))
        elif isinstance(step, ToClient):
            self._saw(CLIENT, require_clearance(step.cleared))
        elif isinstance(step, (Passed, Window)):
            self._recorded(step)
        elif isinstance(step, (Fork, Abandon, Tell)):
            self._beside(step)
        elif isinstance(step, Aside):
            self.seen.append(Apart(require_permit(step.permit)))
        elif isinstance(step, Close):
            self.is_closed = True
            self.seen.append(Closed(step.cause))
        elif isinstance(step, (Snapshot, Opened)):
            return None if isinstance(step, Snapshot) else self.recording is not None or self.wire is not None
        else:
            raise AssertionError(  # noqa: TRY004 - a test fails
                f"nobody answers {type(step).__name__} here")
        return None

    def _beside(self, step: Fork | Abandon | Tell) -> None:
        if isinstance(step, Tell):
            self.seen.append(Told(require_clearance(step.cleared)))
            return
        if isinstance(step, Fork):
            self._forks[step.key] = step.call()
            self.run(self._forks[step.key])
            return
        forked = self._forks.pop(step.key, None)
        for item in self._parked:
            if item[0] is forked:
                self._parked.remove(item)
                item[0].close()
                item[1].withdraw()
                return

    def _recorded(self, step: Passed | Window) -> None:
        recording = self.wire or self.recording
        if recording is None:
            return
        if isinstance(step, Window):
            recording.window(step.columns, step.rows)
        else:
            recording.passed(step)

    def _saw(self, side: Side, data: bytes) -> None:
        if side is CLIENT and self.wire is not None:
            self.wire.told(data)
        last = self.seen[-1] if self.seen else None
        if isinstance(last, Bytes) and last.side is side:
            self.seen[-1] = Bytes(side, last.data + data)
        else:
            self.seen.append(Bytes(side, data))


class Playbook(Performer):
    """A session's mediator under test; bytes that leave to one side in a row are one event."""

    def __init__(
        self, mediator: Mediator, governor: Any, answers: dict[type, Callable[[Any], Any]] | None = None,
        recording: Any = None, wire: Any = None,
    ) -> None:
        super().__init__(governor, answers, recording, wire)
        self.mediator = mediator
        self._next = 0

    def __rshift__(self, event: Bytes | Hangup | Refusal) -> Playbook:
        """Something happens: bytes come, a side leaves, or the session shall end."""
        if self.is_closed:
            return self
        if isinstance(event, Refusal):
            self.run(self.mediator.end(event))
        elif isinstance(event, Hangup):
            is_client = event.side is CLIENT
            self.run(self.mediator.client_closed() if is_client else self.mediator.server_closed())
        elif event.side is CLIENT:
            self.run(self.mediator.client_data(event.data))
        else:
            self.run(self.mediator.server_data(event.data))
        return self

    def __lshift__(self, expected: Seen) -> Playbook:
        """What must have left next; `AssertionError` otherwise."""
        found = self.seen[self._next] if self._next < len(self.seen) else None
        if found != expected:
            raise AssertionError(f"expected {expected!r}, found {found!r}")
        self._next += 1
        return self

    def finish(self) -> None:
        """Nothing else may have left."""
        if self.seen[self._next:]:
            raise AssertionError(f"unexpected: {self.seen[self._next:]!r}")


def _value(pending: Pending[Any]) -> Any:
    values: list[Any] = []
    pending.then(values.append)
    return values[0]
