"""The desk where a person decides: tickets, what they are bound to, and who may answer.

Stands apart from policy, which only says *that* a person must decide, and from the store, which
only keeps tickets. Rules:

- A ticket is bound to identity, connection, policy, statement and parameters, not to the session:
  an approved one serves one retry of the same statement, in any session of the same principal,
  within its life.
- The reviewer is somebody else than the requester, and in the groups that the rules name.
- An approval takes effect only once its record is durable.
- Where clients do not wait, a denial answers every retry of the same statement for the rest of its life.
- A held request whose client leaves is withdrawn; nobody can approve it afterwards.

Everything runs on the driver's thread; `expire_due` is called by the driver's timer.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lockgate.errors import AuditError, LockgateError
from lockgate.govern import review_answers as answers
from lockgate.govern.pending import Pending
from lockgate.govern.ports import Clock, Recorder, ReviewStore
from lockgate.model import (
    Event,
    Identity,
    Refusal,
    Review,
    ReviewMode,
    ReviewState,
    ReviewTerms,
)

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"   # 32 signs; no 0/O, 1/I
_BINDING = "lockgate/review-binding/v2"


class ReviewError(LockgateError):
    """A decision that cannot be taken. `code` says why: `review.unknown`, `.closed`, `.self`,
    `.groups`, `.expired`, `.busy`, `.unrecorded`. The ticket is as it was before."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that needs a person."""

    identity: Identity
    connection: str
    session: str
    text: str
    parameters: tuple[str | None, ...]
    rules: tuple[str, ...]
    terms: ReviewTerms
    policy_hash: str
    reading: str = ""
    context: tuple[str, ...] = ()
    binds: str = ""
    """The hex hash that an approval is good for, where it is no statement that is asked about."""
    waits: bool = True
    """Whether the client waits until somebody decides; False: it may be gone by then, with the ticket."""
    noun: str = "request"
    """What its protocol calls what was sent, for the words of a refusal."""


class Bound(Protocol):
    """What of a request an approval is bound to: an `Ask` has it, and so has the `Operation` that goes on."""

    @property
    def text(self) -> str: ...

    @property
    def parameters(self) -> tuple[str | None, ...]: ...

    @property
    def reading(self) -> str: ...

    @property
    def context(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Approval:
    """A person said yes, and the ticket has been used up for the request that gets this."""

    ticket: str


class Hold(Pending[Approval | Refusal]):
    """A request that waits for `ticket`. `postpone` refuses it with the ticket, which stays open."""

    __slots__ = ("postpone", "ticket")

    def __init__(self, ticket: str, postpone: Callable[[Hold], None]) -> None:
        super().__init__()
        self.ticket = ticket
        self.postpone = lambda: postpone(self)


@dataclass(slots=True)
class _Open:
    """A ticket that can still change: what is stored, and who waits for it in this process."""

    review: Review
    holds: list[Hold] = field(default_factory=list)
    is_deciding: bool = False
    keeps: bool = False      # somebody was sent away with the ticket: it outlives its holds
    noun: str = "request"    # of those who wait; after a restart nobody does


def binding(ask: Ask) -> str:
    """The hex SHA-256 of what an approval is good for."""
    return ask.binds or bound_hash(ask.identity, ask.connection, ask.policy_hash, ask)


def bound_hash(identity: Identity, connection: str, policy_hash: str, operation: Bound) -> str:
    """As `binding`, of a request that goes on: who, where, under which policy, the statement and its
    parameters, how it is read, and what the session did before that matters.
    """
    bound = [_BINDING, identity.issuer, identity.subject, connection, policy_hash, operation.text,
             list(operation.parameters), operation.reading, list(operation.context)]
    return hashlib.sha256(_canonical(bound)).hexdigest()


def new_ticket() -> str:
    """A ticket like ``LG-7F3K-92QD``: 40 random bits, easy to read out. Knowing one grants nothing."""
    signs = [secrets.choice(_ALPHABET) for _ in range(8)]
    return f"LG-{''.join(signs[:4])}-{''.join(signs[4:])}"


class ReviewDesk:
    """Tickets of this process and its store. `per_identity` and `in_total` bound pending ones."""

    def __init__(
        self,
        store: ReviewStore,
        recorder: Recorder,
        clock: Clock,
        *,
        tickets: Callable[[], str] = new_ticket,
        per_identity: int = 20,
        in_total: int = 1000,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._tickets = tickets
        self._per_identity = per_identity
        self._in_total = in_total
        self._open: dict[str, _Open] = {}

    def recover(self) -> None:
        """Once, at start-up: what a previous run left pending has nobody waiting and expires; what
        was approved stays usable within its life.
        """
        now = self._clock.now()
        while pending := self._store.list(states=[ReviewState.PENDING], limit=1000):
            for review in pending:
                self._store.transition(
                    replace(review, state=ReviewState.EXPIRED, decided_at=now), ReviewState.PENDING
                )
        for review in self._store.list(states=[ReviewState.APPROVED], limit=100_000):
            self._open[review.ticket] = _Open(review, keeps=True)

    # ------------------------------------------------------------ asking

    def request(self, ask: Ask) -> Approval | Refusal | Hold:
        """Use an approval that exists, join a ticket that is pending, or open a new one.

        Who does not wait reads a denial when the statement comes again; who waited has read it, and may ask anew.
        """
        bound = binding(ask)
        now = self._clock.now()
        found = self._store.standing(bound, now)
        if found is not None and found.state is ReviewState.DENIED:
            if ask.terms.mode is ReviewMode.TICKET or not ask.waits:
                return answers.denied(found, ask.noun)
            found = None
        if found is not None and found.state is ReviewState.APPROVED:
            approval = self._use(found)
            if approval is not None:
                return approval
            found = None
        if found is not None:
            held = self._open.get(found.ticket)
            if held is not None:
                return self._wait(held, ask)
        return self._create(ask, bound, now)

    def _use(self, review: Review) -> Approval | None:
        """Single use: only one caller wins the compare-and-swap."""
        used = replace(review, state=ReviewState.USED)
        if not self._store.transition(used, ReviewState.APPROVED):
            return None
        self._open.pop(review.ticket, None)
        return Approval(review.ticket)

    def _create(self, ask: Ask, bound: str, now: float) -> Refusal | Hold:
        pending = [held.review for held in self._open.values() if held.review.state is ReviewState.PENDING]
        own = sum(
            (review.requester_issuer, review.requester_subject) == ask.identity.principal
            for review in pending
        )
        if len(pending) >= self._in_total or own >= self._per_identity:
            return answers.too_many(ask.noun)
        terms, identity = ask.terms, ask.identity
        review = Review(
            ticket=self._tickets(), binding=bound, state=ReviewState.PENDING,
            requester_issuer=identity.issuer, requester_subject=identity.subject,
            requester_agent=identity.agent, connection=ask.connection, session=ask.session, text=ask.text,
            parameters=ask.parameters, rules=ask.rules, reviewer_groups=tuple(sorted(terms.by)),
            policy_hash=ask.policy_hash, created_at=now, expires_at=now + terms.expires,
            also_groups=tuple(tuple(sorted(groups)) for groups in terms.also), context=ask.context,
        )
        self._store.create(review)
        held = _Open(review, noun=ask.noun)
        self._open[review.ticket] = held
        answer = self._wait(held, ask)
        try:
            self._record("review_request", review, {"expires": int(review.expires_at)}, session=ask.session or None,
                         done=lambda error: self._requested(held, error))
        except AuditError as error:
            self._requested(held, error)
            return answers.unrecorded(review.ticket)
        return answer

    def _wait(self, held: _Open, ask: Ask) -> Refusal | Hold:
        ticket = held.review.ticket
        if ask.terms.mode is ReviewMode.TICKET:
            held.keeps = True
            return answers.pending(ticket, held.noun)
        hold = Hold(ticket, lambda one: self._sent_away(held, one))
        hold.on_withdraw = lambda: self._left(held, hold)
        held.holds.append(hold)
        return hold

    def _sent_away(self, held: _Open, hold: Hold) -> None:
        """A client waits no longer and comes again: the ticket stays open for it."""
        if hold in held.holds:
            held.holds.remove(hold)
            held.keeps = True
            hold.resolve(answers.pending(held.review.ticket, held.noun))

    def _requested(self, held: _Open, error: AuditError | None) -> None:
        """The request's record is durable, or the ticket is void."""
        if error is not None:
            self._close(held, ReviewState.WITHDRAWN, answers.unrecorded(held.review.ticket))

    def _left(self, held: _Open, hold: Hold) -> None:
        """A client that waited is gone."""
        if hold in held.holds:
            held.holds.remove(hold)
        if held.holds or held.keeps or held.review.state is not ReviewState.PENDING:
            return
        self._close(held, ReviewState.WITHDRAWN, answers.withdrawn(held.review.ticket), record="withdrawn")

    # ------------------------------------------------------------ deciding

    def approve(self, ticket: str, reviewer: Identity, comment: str = "") -> Pending[Review | ReviewError]:
        """Let the request of `ticket` through, once. Takes effect when its record is durable."""
        return self._decide(ticket, reviewer, comment, ReviewState.APPROVED)

    def deny(self, ticket: str, reviewer: Identity, comment: str = "") -> Pending[Review | ReviewError]:
        """Refuse the request of `ticket`. The requester reads `comment`."""
        return self._decide(ticket, reviewer, comment, ReviewState.DENIED)

    def _decide(
        self, ticket: str, reviewer: Identity, comment: str, state: ReviewState
    ) -> Pending[Review | ReviewError]:
        answer: Pending[Review | ReviewError] = Pending()
        held = self._open.get(ticket)
        problem = self._objection(ticket, held, reviewer)
        if problem is not None or held is None:
            answer.resolve(problem or ReviewError("review.unknown", "there is no such ticket"))
            return answer
        decided = replace(
            held.review, state=state, reviewer_issuer=reviewer.issuer, reviewer_subject=reviewer.subject,
            decided_at=self._clock.now(), comment=comment[:2000] or None,
        )
        held.is_deciding = True

        def recorded(error: AuditError | None) -> None:
            held.is_deciding = False
            answer.resolve(self._decided(held, decided, error))

        try:
            self._record("review", decided, {"verdict": state.value, "token": reviewer.token_hash},
                         done=recorded)
        except AuditError as error:
            recorded(error)
        return answer

    def _objection(self, ticket: str, held: _Open | None, reviewer: Identity) -> ReviewError | None:
        """Why this reviewer cannot decide this ticket now, or None."""
        if held is None:
            review = self._store.get(ticket)
            if review is None:
                return ReviewError("review.unknown", "there is no such ticket")
            return ReviewError("review.closed", f"this ticket is {review.state} already")
        review, now = held.review, self._clock.now()
        if review.state is not ReviewState.PENDING:
            return ReviewError("review.closed", f"this ticket is {review.state} already")
        if now >= review.expires_at or now >= reviewer.expires_at:
            return ReviewError("review.expired", "the ticket, or the reviewer's token, has expired")
        if held.is_deciding:
            return ReviewError("review.busy", "somebody else is deciding this ticket right now")
        if reviewer.principal == (review.requester_issuer, review.requester_subject):
            return ReviewError("review.self", "a request is reviewed by somebody else than its requester")
        for groups in (review.reviewer_groups, *review.also_groups):
            if reviewer.groups.isdisjoint(groups):
                return ReviewError("review.groups", f"the reviewer must be in one of: {', '.join(groups)}")
        return None

    def _decided(self, held: _Open, decided: Review, error: AuditError | None) -> Review | ReviewError:
        """The decision's record is durable (or not): now it counts (or does not)."""
        if error is not None:
            return ReviewError("review.unrecorded", "the decision is not on record, so it does not count")
        if held.review.state is not ReviewState.PENDING or self._clock.now() >= decided.expires_at:
            return ReviewError("review.closed", "the ticket was withdrawn or expired meanwhile")
        if decided.state is ReviewState.DENIED:
            refusal = answers.denied(decided, held.noun)
            return decided if self._close(held, decided, refusal) else _raced()
        if not self._store.transition(decided, ReviewState.PENDING):
            return _raced()
        held.review = decided
        held.keeps = True
        holds, held.holds = held.holds, []
        for hold in holds:
            if hold.is_done:
                continue
            approval = self._use(decided) if held.review is decided else None
            if approval is None:
                hold.resolve(answers.used_up(decided.ticket, held.noun))
            else:
                held.review = replace(decided, state=ReviewState.USED)
                hold.resolve(approval)
        return held.review

    # ------------------------------------------------------------ ending

    def expire_due(self) -> None:
        """Close every ticket whose life is over; the driver's timer calls this."""
        now = self._clock.now()
        for held in [held for held in self._open.values() if now >= held.review.expires_at]:
            self._close(held, ReviewState.EXPIRED, answers.expired(held.review.ticket, held.noun), record="expired")

    def policy_changed(self, policy_hash: str) -> None:
        """Close every ticket that was given under another policy, pending or approved."""
        for held in [held for held in self._open.values() if held.review.policy_hash != policy_hash]:
            self._close(held, ReviewState.EXPIRED, answers.policy_changed(held.review.ticket, held.noun), record="policy_changed")

    def _close(
        self, held: _Open, to: ReviewState | Review, refusal: Refusal, record: str | None = None
    ) -> bool:
        """End a ticket: store, record, and refuse who waits. False where the store had moved on."""
        before = held.review
        after = to if isinstance(to, Review) else replace(before, state=to, decided_at=self._clock.now())
        held.review = after
        self._open.pop(before.ticket, None)
        swapped = self._store.transition(after, before.state)
        if record is not None and swapped:
            try:
                self._record("review", after, {"verdict": record})
            except AuditError:
                pass     # nothing is forwarded on the strength of this record; the log is unwritable now
        holds, held.holds = held.holds, []
        for hold in holds:
            hold.resolve(refusal)
        return swapped

    # ------------------------------------------------------------ looking

    def get(self, ticket: str) -> Review | None:
        """One ticket, in whatever state."""
        return self._store.get(ticket)

    def list(self, *, states: Sequence[str] = (ReviewState.PENDING,), limit: int = 100) -> list[Review]:
        """Tickets in these states, newest first."""
        return self._store.list(states=states, limit=min(limit, 1000))

    def _record(
        self, kind: str, review: Review, fields: dict[str, object], *, session: str | None = None,
        done: Callable[[AuditError | None], None] | None = None,
    ) -> None:
        """Ids go into the record's fields; people and statements into its payload."""
        payload = {
            "requester": [review.requester_issuer, review.requester_subject],
            "reviewer": [review.reviewer_issuer, review.reviewer_subject],
            "session": review.session, "text": review.text, "parameters": list(review.parameters),
            "comment": review.comment, "groups": [review.reviewer_groups, *review.also_groups],
        }
        self._recorder.event(Event(
            kind,
            {"ticket": review.ticket, "binding": review.binding, "connection": review.connection,
             "policy": review.policy_hash, "rules": list(review.rules), **fields},
            session, _canonical(payload),
        ), done)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _raced() -> ReviewError:
    return ReviewError("review.closed", "the ticket was decided elsewhere meanwhile")
