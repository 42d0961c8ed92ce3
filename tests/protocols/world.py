"""What sessions without sockets stand on: a caller, a log in memory, reviews that a test answers, a clock that stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockgate.errors import AuditError
from lockgate.govern.pending import Pending
from lockgate.govern.review import Approval
from lockgate.model import Event, Identity, Intent, Outcome, Refusal, RefusalCode, SessionStart

IDENTITY = Identity("https://issuer", "agent-1", "corp", frozenset({"agents"}), 4e9, "00" * 32)


class Log:
    """A recorder in memory. `hold` keeps intents waiting; `broken` refuses them."""

    def __init__(self) -> None:
        self.is_writable = True
        self.is_congested = False
        self.intents: list[Intent] = []
        self.outcomes: list[Outcome] = []
        self.events: list[Event] = []
        self.hold = False
        self.waiting: list[Callable[[AuditError | None], None]] = []

    def begin_session(self, start: SessionStart, done: Callable[[AuditError | None], None]) -> None:
        done(None)

    def intent(self, intent: Intent, done: Callable[[AuditError | None], None] | None) -> int:
        self.intents.append(intent)
        if done is not None:
            if self.hold:
                self.waiting.append(done)
            else:
                done(None)
        return len(self.intents)

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def event(self, event: Event, done: Callable[[AuditError | None], None] | None = None) -> None:
        self.events.append(event)
        if done is not None:
            done(None)

    def end_session(self, session: str, cause: str) -> None:
        pass

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(None)


class Desk:
    """Reviews that are answered when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.pending: list[Any] = []

    def policy_changed(self, policy_hash: str) -> None:
        pass

    def request(self, ask: Any) -> Any:
        waiting = Waiting()
        self.asked.append(ask)
        self.pending.append(waiting)
        return waiting

    def answer(self, verdict: Any = None) -> None:
        self.pending.pop(0).resolve(Approval("T-1") if verdict is None else verdict)


class Waiting(Pending[Any]):
    ticket = "T-1"

    def postpone(self) -> None:
        self.resolve(Refusal(RefusalCode.REVIEW_PENDING, "a person has to approve this", ticket=self.ticket))


class Clock:
    def now(self) -> float:
        return 1e9

    def monotonic(self) -> float:
        return 0.0
