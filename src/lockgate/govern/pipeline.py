"""The road of one request, as numbered stages; the only maker of permits and clearances.

    (1) identity  is the caller still who the token said?
    (2) policy    allow, deny or review, with obligations          `govern.policy`
    (3) review    a person decides, where policy asks for one      `govern.review`
    (4) record    the intent is durable or queued, or an error     `ports.Recorder`
    (5) permit    the proof that (1)–(4) happened, with the bytes
    (6) mask      results pass the plan, or nothing does
    (7) outcome   how it ended goes on record

Stands apart from the driver because it knows no socket: what waits comes back as a `Pending`.
Rule of the file: every stage runs inside `stage`, which turns whatever it raises into a refusal.
A stage that fails therefore forwards nothing and clears nothing (I2, I3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from lockgate.errors import AuditError
from lockgate.govern.budget import Budget, Task, TaskSpent
from lockgate.govern.grant import ClearPlan, Grant, Held, Planned, Tally
from lockgate.govern.lookups import LookupBudget
from lockgate.govern.pending import Pending
from lockgate.govern.permit import Cleared, Permit, issue_clearance, issue_permit
from lockgate.govern.ports import Clock, Recorder
from lockgate.govern.refusals import (
    AUDIT_UNAVAILABLE,
    EXPIRED,
    INTERNAL,
    LOOKUPS_SPENT,
    NOT_COSIGNED,
    denial,
    not_admitted,
)
from lockgate.govern.review import Approval, Ask, ReviewDesk, bound_hash
from lockgate.govern.review_answers import policy_changed
from lockgate.govern.shown import Shown
from lockgate.model import (
    AuditMode,
    Decision,
    Effect,
    Event,
    Identity,
    Intent,
    Operation,
    Outcome,
    OutcomeStatus,
    Refusal,
    RefusalCode,
    SessionStart,
)

if TYPE_CHECKING:
    from lockgate.govern.policy import MayHide, PolicySet

__all__ = ["ClearPlan", "Governor", "Grant", "Held", "Pipeline", "Planned", "denial", "stage"]

P = ParamSpec("P")
T = TypeVar("T")
Fault = Callable[[str, Exception], None]
"""Told of a stage that raised: the stage's name and the exception. Must log no values."""


class _Stages(Protocol):
    """What `stage` needs of the object whose methods it guards."""

    def fault(self, name: str, fault: Exception) -> Refusal: ...


S = TypeVar("S", bound=_Stages)


def stage(
    name: str,
) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T | Refusal]]:
    """Guard one stage: whatever it raises becomes a refusal, and nothing is forwarded or cleared."""

    def guard(step: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | Refusal]:
        @wraps(step)
        def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T | Refusal:
            try:
                return step(self, *args, **kwargs)
            except Exception as fault:  # noqa: BLE001 - the one place in the pipeline; see the module's docstring
                return self.fault(name, fault)

        return guarded

    return guard


class Pipeline:
    """The stages for every session of this process. `replace` swaps the policy for new requests.

    `on_fault` is told of every stage that raised.
    """

    def __init__(
        self,
        policy: PolicySet,
        recorder: Recorder,
        reviews: ReviewDesk,
        clock: Clock,
        on_fault: Fault | None = None,
    ) -> None:
        self.recorder = recorder
        self.reviews = reviews
        self.clock = clock
        self.lookups = LookupBudget()
        self.budget = Budget()
        self.shown = Shown()
        self._policy = policy
        self._on_fault = on_fault

    @property
    def policy(self) -> PolicySet:
        """The policy in force."""
        return self._policy

    def replace(self, policy: PolicySet) -> None:
        """Judge every request from now on by `policy`; tickets given under another one lapse."""
        self._policy = policy
        self.reviews.policy_changed(policy.policy_hash)

    @stage("admit")
    def admit(
        self,
        identity: Identity,
        connection: str,
        start: SessionStart,
        audit: AuditMode = AuditMode.FULL,
        noun: str = "request",
    ) -> Governor | Refusal | Pending[Governor | Refusal]:
        """May this identity open a session on `connection`? `session_begin` is durable before yes.

        `audit` is the connection's default mode; rules can only raise it to `full`. `noun`: what the protocol calls what
        its clients send.
        """
        refusal = self._objection(identity, connection)
        if refusal is not None:
            return refusal
        governor = Governor(self, identity, connection, start, audit, noun)
        waiting: Pending[Governor | Refusal] = Pending(lambda: governor.end("client left"))

        def begun(error: AuditError | None) -> None:
            waiting.resolve(governor if error is None else AUDIT_UNAVAILABLE)

        self.recorder.begin_session(start, begun)
        return waiting

    @stage("admit")
    def join(self, governor: Governor, peer: str) -> Governor | Refusal:
        """May the identity of this session bring requests into it from `peer` (``ip:port``) as well? What would keep it from a
        session of its own keeps it from this one."""
        refusal = self._objection(governor.identity, governor.connection)
        return governor.at(peer) if refusal is None else refusal

    def _objection(self, identity: Identity, connection: str) -> Refusal | None:
        now = self.clock.now()
        if now >= identity.expires_at:
            return EXPIRED
        decision = self._policy.may_connect(identity, connection, now=now)
        if decision.effect is not Effect.ALLOW:
            self.recorder.event(Event(
                "access_denied",
                {"connection": connection, "rules": list(decision.rules),
                 "policy": decision.policy_hash, "token": identity.token_hash},
            ))
            return not_admitted(decision, identity)
        return None if self.recorder.is_writable else AUDIT_UNAVAILABLE

    def compose(self, payload: bytes) -> Cleared:
        """Clear bytes that the gateway itself made before a session is admitted (a log-in's messages):
        no result exists yet that they could hold.
        """
        return issue_clearance(payload)

    def fault(self, name: str, fault: Exception) -> Refusal:
        """The refusal for a stage that raised; tells `on_fault`."""
        if self._on_fault is not None:
            self._on_fault(name, fault)
        return audit_refusal(fault) if isinstance(fault, AuditError) else INTERNAL


def audit_refusal(error: AuditError) -> Refusal:
    """Why nothing goes on while the log does not take it."""
    return NOT_COSIGNED if error.code == "audit.uncosigned" else AUDIT_UNAVAILABLE


class Governor:
    """The pipeline as one session sees it, for a client at one address (`at`). Not reusable after `end`."""

    __slots__ = (
        "_audit", "_held", "_pipeline", "_policy", "_recorder", "_tally", "_view", "begun_at", "connection",
        "identity", "noun", "peer", "session", "started",
    )

    def __init__(
        self, pipeline: Pipeline, identity: Identity, connection: str, start: SessionStart, audit: AuditMode, noun: str,
    ) -> None:
        self._pipeline = pipeline
        self._recorder = pipeline.recorder
        self._audit = audit
        self._policy = pipeline.policy
        self._view = self._policy.view(identity, connection, audit)
        self._held: set[Held] = set()
        self._tally = Tally()
        self.identity = identity
        self.connection = connection
        self.noun = noun
        self.session = start.session
        self.peer = self.begun_at = start.peer
        self.started = pipeline.clock.now()

    def at(self, peer: str) -> Governor:
        """The same session for a client at `peer`: all of it counts and ends together, and records say who sent what."""
        if peer == self.peer:
            return self
        made = copy(self)
        made.peer = peer
        return made

    @property
    def statements(self) -> int:
        """Requests of the session that were judged."""
        return self._tally.statements

    @property
    def rows(self) -> int:
        """Rows that it got."""
        return self._tally.rows

    # ------------------------------------------------------------ (1)–(3)

    def judge(
        self, operation: Operation, plan: Callable[[Decision], Planned | Refusal], ask: bool = True,
        counts: bool | None = None, waits: bool = True,
    ) -> Grant | Refusal | Held:
        """Stages 1 to 3. `plan` is called once policy has decided, before anybody is asked.

        A refusal is on record when it comes back. A `Held` resolves to the grant or the refusal;
        withdrawing it withdraws the review. Without `ask` a review is put to nobody (a statement that
        is prepared now and asked about when it runs): the grant's decision then still says review. The same
        where the decision wants a fact that the operation lacks: judge it again with what came of it.
        `counts` says whether it is one of the session's statements, and its comparisons with protected columns
        are counted (None: if `ask`). `waits`: the client does until somebody decides.
        """
        counts = ask if counts is None else counts
        decided = self._decide(operation, counts)
        if isinstance(decided, Refusal):
            return self._refuse(operation, decided, None)
        if decided.effect is Effect.DENY:
            untold = self._view.untold(decided, operation, self._pipeline.clock.now(), self)
            return self._refuse(operation, denial(decided, operation, untold), decided)
        spent = self._spent(operation, decided, counts=ask and not decided.wants) if decided.limits else None
        if spent is not None:
            return self._refuse(operation, spent, decided)
        planned = self._plan(plan, decided)
        if isinstance(planned, Refusal):
            return self._refuse(operation, planned, decided)
        if planned.lookups and counts:
            spent = self._look_up(planned)
            if spent is not None:
                return self._refuse(operation, spent, decided)
        if decided.effect is Effect.ALLOW or not ask or decided.wants:
            return self._granted(operation, decided, planned)
        answer = self._ask(operation, decided, planned, waits)
        if isinstance(answer, Refusal):
            return self._refuse(operation, answer, decided)
        return answer

    @stage("policy")
    def _decide(self, operation: Operation, counts: bool) -> Decision | Refusal:
        """(1) identity, (2) policy."""
        if self._tally.has_ended:
            return INTERNAL
        now = self._pipeline.clock.now()
        if now >= self.identity.expires_at:
            return EXPIRED
        self._renew()
        self._tally.statements += counts
        return self._view.decide(operation, now, self)

    def foresee(self, operation: Operation) -> Decision | Refusal:
        """What policy would say to an operation that nobody has asked for: whether to show an entry of a list, for one.
        Nothing is recorded or counted."""
        return self._decide(operation, False)

    def _renew(self) -> None:
        """The policy in force, where it is another one by now."""
        if self._policy is not self._pipeline.policy:
            self._policy = self._pipeline.policy
            self._view = self._policy.view(self.identity, self.connection, self._audit)

    def may_hide(self) -> MayHide:
        """The masks and detectors that some request of this session could be under: what reaches the client without
        one is held against them all."""
        self._renew()
        return self._view.may_hide

    @property
    def records(self) -> tuple[bool, bool]:
        """Whether rules want this session recorded, and the backend's end of it too."""
        self._renew()
        return self._view.records

    @stage("policy")
    def _spent(self, operation: Operation, decision: Decision, *, counts: bool) -> Refusal | None:
        """(2) goes on: the caller's task has had all that it may have. A request that `counts` is judged for the last time."""
        limits = decision.limits
        if limits.task_rows is not None and operation.returns and not self._task.left(limits.task_rows):
            return Refusal(
                RefusalCode.DENIED, f"this task has got the {limits.task_rows} rows that it may get",
                rule=dict(decision.limit_rules).get("task_rows"),
                hint="Nothing was executed. Statements that return no rows still pass; for more rows ask those who own "
                     "the policy.",
            )
        if limits.bytes is not None and self._task.bytes >= limits.bytes:
            return Refusal(
                RefusalCode.LIMITED, f"this task has got the {limits.bytes} bytes that it may get",
                rule=dict(decision.limit_rules).get("bytes"),
                hint="Nothing was forwarded, and waiting does not help; for more ask those who own the policy.",
            )
        late = self._pipeline.budget.wait(
            self._name, limits.rates, self._pipeline.clock.monotonic(), counts=counts) if limits.rates else None
        if late is None:
            return None
        rate, seconds = late
        return Refusal(
            RefusalCode.LIMITED, f"these are more requests than the {rate.count} in {rate.seconds} s that this task may send",
            rule=rate.rule, hint=f"Nothing was forwarded. Send it again after {seconds} s.", retry_after=seconds,
        )

    @property
    def _name(self) -> Task:
        who = self.identity
        return who.issuer, who.subject, who.agent, self.connection

    @property
    def _task(self) -> TaskSpent:
        return self._pipeline.budget.of(self._name)

    def _granted(self, operation: Operation, decision: Decision, planned: Planned, ticket: str | None = None) -> Grant:
        """The grant; comparisons with protected columns and finds in the request go on record with its outcome."""
        task = None if decision.limits.task_rows is None and decision.limits.bytes is None else self._task
        grant = Grant(operation, decision, planned, ticket, task=task)
        for name in (*(f"compared: {label}" for label, _ in planned.lookups), *planned.noted):
            grant.masked[name] = grant.masked.get(name, 0) + 1
        return grant

    @stage("plan")
    def _plan(self, plan: Callable[[Decision], Planned | Refusal], decision: Decision) -> Planned | Refusal:
        """What would go on, and how its results are masked (I5: a mask that cannot be held refuses)."""
        planned = plan(decision)
        return planned if type(planned) in (Planned, Refusal) else INTERNAL

    @stage("lookups")
    def _look_up(self, planned: Planned) -> Refusal | None:
        """Counts the comparisons with protected columns; a refusal where the caller has had as many as it may."""
        caller = (self.identity.issuer, self.identity.subject, self.connection)
        spent = self._pipeline.lookups.spend(caller, planned.lookups, self._pipeline.clock.now())
        return None if spent is None else LOOKUPS_SPENT

    @stage("review")
    def _ask(
        self, operation: Operation, decision: Decision, planned: Planned, waits: bool
    ) -> Grant | Refusal | Held:
        """(3) a person decides."""
        if decision.review is None:
            return INTERNAL
        if planned.reading or planned.context:
            operation = replace(
                operation, reading=f"{operation.reading}\n{planned.reading}", context=(*operation.context, *planned.context))
        shown, _ = self._pipeline.shown.of(operation)
        answer = self._pipeline.reviews.request(Ask(
            self.identity, self.connection, self.session, shown.text, shown.parameters,
            decision.rules, decision.review, decision.policy_hash, shown.reading, shown.context, waits=waits,
            noun=self.noun,
        ))
        if isinstance(answer, Approval):
            return self._granted(operation, decision, planned, answer.ticket)
        if isinstance(answer, Refusal):
            return answer
        held = Held(answer.ticket, answer.postpone)

        def left() -> None:
            self._held.discard(held)
            answer.withdraw()

        def answered(verdict: Approval | Refusal) -> None:
            self._held.discard(held)
            held.resolve(self._answered(operation, decision, planned, verdict))

        held.on_withdraw = left
        self._held.add(held)
        answer.then(answered)
        return held

    def _answered(
        self, operation: Operation, decision: Decision, planned: Planned, verdict: Approval | Refusal
    ) -> Grant | Refusal:
        """A person decided; the token may have run out and the policy may have changed meanwhile."""
        if isinstance(verdict, Refusal):
            return self._refuse(operation, verdict, decision)
        if self._pipeline.clock.now() >= self.identity.expires_at:
            return self._refuse(operation, EXPIRED, decision, verdict.ticket)
        if decision.policy_hash != self._pipeline.policy.policy_hash:
            return self._refuse(operation, policy_changed(verdict.ticket, self.noun), decision, verdict.ticket)
        return self._granted(operation, decision, planned, verdict.ticket)

    @stage("record")
    def _refuse(
        self, operation: Operation, refusal: Refusal, decision: Decision | None, ticket: str | None = None
    ) -> Refusal:
        """Put a refusal on record. Nothing is forwarded, so it need not be durable first."""
        operation, _ = self._pipeline.shown.of(operation)
        self._recorder.intent(Intent(
            self.session, operation.kind, tuple(sorted(operation.verbs)), Effect.DENY.value,
            () if decision is None else decision.rules, self._policy.policy_hash, operation.objects,
            operation.text, operation.parameters, b"", "", refusal.ticket or ticket, refusal.code.value,
            peer=self._elsewhere,
        ), None)
        return refusal

    # ------------------------------------------------------------ (4)–(5)

    @stage("record")
    def record(
        self, grants: Sequence[Grant], payload: bytes, under: int = 0
    ) -> Permit | Refusal | Pending[Permit | Refusal]:
        """(4) the intents of `grants` are durable or queued, then (5) the permit for `payload`.

        One grant whose decision says `audit: full` makes all of them wait; so does a log that cannot
        keep up, which slows senders down instead of turning them away. With no grants the bytes carry
        no request and go `under` a record that exists. After a refusal nothing may be forwarded and
        the grants are spent.
        """
        if self._tally.has_ended or not self._recorder.is_writable:
            return AUDIT_UNAVAILABLE
        if not grants:
            return issue_permit(self.session, (), under, payload)
        started = self._pipeline.clock.monotonic()
        waits = self._recorder.is_congested
        for grant in grants:
            if grant.record >= 0 or grant.is_settled:
                raise ValueError("a grant is recorded once")
            waits = waits or grant.decision.audit is AuditMode.FULL
        if waits:
            return self._record_durably(grants, payload, under, started)
        try:
            for grant in grants:
                grant.started = started
                grant.record = self._recorder.intent(self._intent(grant), None)
        except AuditError:
            self._abandon(grants, "unrecorded")
            raise
        records = (grants[0].record,) if len(grants) == 1 else tuple(grant.record for grant in grants)
        return issue_permit(self.session, records, under, payload)

    def _record_durably(
        self, grants: Sequence[Grant], payload: bytes, under: int, started: float
    ) -> Pending[Permit | Refusal]:
        """`audit: full`, or a congested log: the permit comes when the last of the intents is durable (I2)."""
        waiting: Pending[Permit | Refusal] = Pending(lambda: self._abandon(grants, "withdrawn"))
        missing = len(grants)

        def durable(error: AuditError | None) -> None:
            nonlocal missing
            missing -= 1
            if error is not None:
                if not waiting.is_done:
                    self._abandon(grants, "unrecorded")
                    waiting.resolve(self.fault("record", error))
            elif missing == 0:
                records = tuple(grant.record for grant in grants)
                waiting.resolve(issue_permit(self.session, records, under, payload))

        # The count is taken before the first call: a recorder may call back at once.
        for grant in grants:
            grant.started = started
            try:
                grant.record = self._recorder.intent(self._intent(grant), durable)
            except AuditError as error:
                durable(error)
                break
        return waiting

    def _intent(self, grant: Grant) -> Intent:
        decision, planned = grant.decision, grant.planned
        operation, forward = self._pipeline.shown.of(grant.operation, planned.forward)
        verbs = operation.verbs
        if grant.ticket is not None:
            return self._bound_intent(grant, grant.ticket)
        return Intent(
            self.session, operation.kind, tuple(sorted(verbs)) if len(verbs) > 1 else tuple(verbs),
            decision.effect.value, decision.rules, decision.policy_hash, operation.objects, operation.text,
            operation.parameters, forward, planned.digest, peer=self._elsewhere,
        )

    def _bound_intent(self, grant: Grant, ticket: str) -> Intent:
        """The intent of a request that goes on by a ticket says what it binds to itself, computed from what is
        forwarded now and not taken from the ticket: an exchange in between is seen in the log.
        """
        decision, planned = grant.decision, grant.planned
        operation, forward = self._pipeline.shown.of(grant.operation, planned.forward)
        return Intent(
            self.session, operation.kind, tuple(sorted(operation.verbs)), decision.effect.value, decision.rules,
            decision.policy_hash, operation.objects, operation.text, operation.parameters, forward,
            planned.digest, ticket, None, bound_hash(self.identity, self.connection, decision.policy_hash, operation),
            operation.reading, operation.context, self._elsewhere,
        )

    @property
    def _elsewhere(self) -> str:
        """Where the client is, if not where the session was begun."""
        return "" if self.peer is self.begun_at else self.peer

    def _abandon(self, grants: Sequence[Grant], code: str) -> None:
        """Recorded and never forwarded: say so, so that no intent stays open."""
        for grant in grants:
            self.settle(grant, OutcomeStatus.CANCELLED, code=code)

    # ------------------------------------------------------------ (6)–(7)

    @stage("mask")
    def clear(self, plan: ClearPlan, chunk: bytes, grant: Grant | None = None) -> Cleared | Refusal:
        """(6) `chunk` with every due mask applied, or a refusal; never the raw chunk (I3).

        With a `grant`, what the plan counted moves into the grant's counts for the outcome.
        """
        cleared = plan.apply(chunk)
        if type(cleared) is not bytes:
            return INTERNAL
        if grant is not None and plan.masked is not grant.masked and plan.masked:
            for name, count in plan.masked.items():
                grant.masked[name] = grant.masked.get(name, 0) + count
            plan.masked.clear()
        return issue_clearance(cleared)

    def compose(self, payload: bytes) -> Cleared:
        """Clear bytes that the gateway itself made; they hold nothing of a result."""
        return issue_clearance(payload)

    def settle(
        self, grant: Grant, status: OutcomeStatus, rows: int = 0, sent: int = 0, code: str = ""
    ) -> None:
        """(7) how a recorded request ended; later calls for the same grant are ignored.

        A log that cannot take it is unwritable from then on, which stops the next request.
        """
        self._settle(grant, status, rows, sent, code)

    @stage("outcome")
    def _settle(self, grant: Grant, status: OutcomeStatus, rows: int, sent: int, code: str) -> None:
        if grant.is_settled or grant.record < 0:
            return
        grant.is_settled = True
        self._tally.rows += rows
        duration = self._pipeline.clock.monotonic() - grant.started
        self._recorder.outcome(Outcome(
            self.session, grant.record, status, rows, sent, grant.masked, duration, code
        ))

    @stage("event")
    def event(self, kind: str, fields: Mapping[str, object], payload: bytes = b"") -> None:
        """Put anything else of this session on record (a cancel, a parameter change)."""
        self._recorder.event(Event(kind, fields, self.session, payload))

    def end(self, cause: str) -> None:
        """The session is over: held reviews are withdrawn, `session_end` is recorded. Idempotent."""
        if self._tally.has_ended:
            return
        self._tally.has_ended = True
        for held in tuple(self._held):
            held.withdraw()
        self._end(cause)

    @stage("event")
    def _end(self, cause: str) -> None:
        self._recorder.end_session(self.session, cause)

    # ------------------------------------------------------------ facts

    def session_facts(self) -> dict[str, object]:
        """What conditions see as `session` (see `govern.policy.names`)."""
        return {
            "id": self.session, "statements": self.statements, "rows": self.rows,
            "started": int(self.started), "connection": self.connection, "peer": self.peer,
        }

    def fault(self, name: str, fault: Exception) -> Refusal:
        """As `Pipeline.fault`."""
        return self._pipeline.fault(name, fault)
