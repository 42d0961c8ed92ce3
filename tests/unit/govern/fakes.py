"""Fakes of the pipeline's ports: they do what the real things promise, in memory, on command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.errors import AuditError
from lockgate.govern.pipeline import Governor, Grant, Held, Pipeline, Planned
from lockgate.govern.policy import PolicySet
from lockgate.govern.ports import Done
from lockgate.govern.review import ReviewDesk
from lockgate.model import (
    AuditMode,
    Decision,
    Event,
    Identity,
    Intent,
    Operation,
    Outcome,
    Refusal,
    Review,
    Rule,
    SessionStart,
)


@dataclass
class FakeClock:
    """Time that stands until it is moved."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@dataclass
class FakeRecorder:
    """A log whose durability is in the test's hands: `is_instant`, or `flush()` and `fail()`."""

    is_instant: bool = True
    is_writable: bool = True
    is_congested: bool = False
    raises: Exception | None = None
    intents: list[Intent] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    begun: list[SessionStart] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    marks: list[dict[str, object]] = field(default_factory=list)
    cuts: list[tuple[str, str, int, str]] = field(default_factory=list)
    waiting: list[Done] = field(default_factory=list)

    def _later(self, done: Done | None) -> None:
        if self.raises is not None:
            raise self.raises
        if done is not None:
            if self.is_instant:
                done(None)
            else:
                self.waiting.append(done)

    def begin_session(self, start: SessionStart, done: Done) -> None:
        self._later(done)
        self.begun.append(start)

    def intent(self, intent: Intent, done: Done | None) -> int:
        if self.raises is not None:
            raise self.raises
        self.intents.append(intent)
        self._later(done)
        return len(self.intents)

    def outcome(self, outcome: Outcome) -> None:
        self._later(None)
        self.outcomes.append(outcome)

    def event(self, event: Event, done: Done | None = None) -> None:
        self._later(None)
        self.events.append(event)
        self._later(done)

    def end_session(self, session: str, cause: str) -> None:
        self.ended.append((session, cause))

    def mark(self, session: str, stream: str, mark: Any, *, final: bool) -> None:
        self.marks.append({"session": session, "stream": stream, "chunks": mark.chunks, "final": final})

    def truncated(self, session: str, stream: str, dropped: int, reason: str) -> None:
        self.cuts.append((session, stream, dropped, reason))

    def flush(self, error: AuditError | None = None) -> None:
        """Everything that waits becomes durable, or fails."""
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(error)

    def types(self) -> list[str]:
        return [event.type for event in self.events]


class FakeStore:
    """Tickets in a dictionary, with the same compare-and-swap."""

    def __init__(self) -> None:
        self.reviews: dict[str, Review] = {}

    def create(self, review: Review) -> None:
        assert review.ticket not in self.reviews
        self.reviews[review.ticket] = review

    def get(self, ticket: str) -> Review | None:
        return self.reviews.get(ticket)

    def standing(self, binding: str, now: float) -> Review | None:
        order = ("approved", "pending", "denied")
        found = [review for review in self.reviews.values()
                 if review.binding == binding and review.expires_at > now and review.state in order]
        return min(found, key=lambda review: (order.index(review.state), -review.created_at), default=None)

    def transition(self, review: Review, expected: str) -> bool:
        if self.reviews[review.ticket].state != expected:
            return False
        self.reviews[review.ticket] = review
        return True

    def list(self, *, states: Sequence[str], limit: int) -> list[Review]:
        return [review for review in self.reviews.values() if review.state in states][:limit]


def identity(subject: str = "agent", *groups: str, expires_at: float = 1_900_000_000.0, **more: str) -> Identity:
    return Identity("https://idp", subject, "corp", frozenset(groups or ("agents",)), expires_at, "t" * 64, **more)


def operation(
    *verbs: str, text: str = "SELECT 1", key: object = None, parameters: tuple[str | None, ...] = (), **facts: object
) -> Operation:
    return Operation("x", "query", frozenset(verbs), text, (text, verbs) if key is None else str(key), facts, parameters)


def plan(decision: Decision) -> Planned:
    """A protocol that forwards what it is asked to."""
    return Planned(b"forward")


@dataclass
class World:
    """A pipeline over fakes, and a session in it."""

    clock: FakeClock
    recorder: FakeRecorder
    store: FakeStore
    reviews: ReviewDesk
    pipeline: Pipeline
    faults: list[tuple[str, Exception]]

    def session(
        self, who: Identity | None = None, connection: str = "crm", audit: AuditMode = AuditMode.ASYNC,
        session: str = "5e55",
    ) -> Governor:
        governor = self.admit(who, connection, audit, session)
        assert isinstance(governor, Governor)
        return governor

    def admit(
        self, who: Identity | None = None, connection: str = "crm", audit: AuditMode = AuditMode.ASYNC,
        session: str = "5e55",
    ) -> object:
        who = who or identity()
        start = SessionStart(session, who.issuer, who.subject, who.agent, who.model, who.client_id,
                             tuple(sorted(who.groups)), who.token_hash, connection, "x", "127.0.0.1:1", "h")
        return came(self.pipeline.admit(who, connection, start, audit))


def world(*rules: Rule, policy_hash: str = "h" * 64, per_identity: int = 20, in_total: int = 1000) -> World:
    clock, recorder, store = FakeClock(), FakeRecorder(), FakeStore()
    reviews = ReviewDesk(store, recorder, clock, per_identity=per_identity, in_total=in_total)
    faults: list[tuple[str, Exception]] = []

    def on_fault(stage: str, fault: Exception) -> None:
        faults.append((stage, fault))

    policy = PolicySet.compile(rules, policy_hash)
    return World(clock, recorder, store, reviews, Pipeline(policy, recorder, reviews, clock, on_fault), faults)


def came(value: object) -> object:
    """What a call gave, now or through a `Pending` that has been resolved; None while it waits."""
    then: Callable[..., None] | None = getattr(value, "then", None)
    if then is None:
        return value
    found: list[object] = []
    then(found.append)
    return found[0] if found else None


def granted(value: object) -> Grant:
    assert isinstance(value, Grant), value
    return value


def refused(value: object) -> Refusal:
    assert isinstance(value, Refusal), value
    return value


def held(value: object) -> Held:
    assert isinstance(value, Held), value
    return value
