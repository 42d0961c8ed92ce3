"""The stages: what reaches whom, what is on record by then, and that a stage that fails lets nothing by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from lockgate.errors import AuditError, Unpermitted
from lockgate.govern.pending import Pending
from lockgate.govern.permit import Cleared, Permit
from lockgate.govern.pipeline import Governor, Grant, Planned
from lockgate.govern.policy import PolicySet
from lockgate.model import (
    AuditMode,
    Decision,
    Effect,
    OutcomeStatus,
    Refusal,
    RefusalCode,
    ReviewMode,
    ReviewTerms,
    Rule,
)
from tests.unit.govern.fakes import World, came, granted, held, identity, operation, plan, refused, world

ALLOW = Rule("everyone", allow=True)
NEVER_DROP = Rule("never-drop", when='op.verb == "drop"', deny="no DDL here")
ASK = Rule("ask", when='op.verb == "delete"', review=ReviewTerms(frozenset({"dba"}), 60.0))
TICKET = Rule("ask", when='op.verb == "delete"',
              review=ReviewTerms(frozenset({"dba"}), 60.0, ReviewMode.TICKET))
DBA = identity("dora", "dba")


@dataclass
class Mask:
    """A plan that hides, fails, or returns what it should not."""

    result: object = b"masked"
    masked: dict[str, int] = field(default_factory=dict)

    def apply(self, chunk: bytes) -> bytes:
        if isinstance(self.result, Exception):
            raise self.result
        self.masked["ssn"] = self.masked.get("ssn", 0) + 1
        return self.result  # type: ignore[return-value]


def ready(made: World, audit: AuditMode = AuditMode.ASYNC, *verbs: str) -> tuple[Governor, Grant]:
    session = made.session(audit=audit)
    return session, granted(session.judge(operation(*(verbs or ("select",))), plan))


# ---------------------------------------------------------------- admission


def test_a_session_begins_when_its_record_is_durable() -> None:
    """Nobody is in before `session_begin` is."""
    made = world(ALLOW)
    made.recorder.is_instant = False
    who = identity()
    assert made.admit(who) is None
    found: list[object] = []
    made.recorder.begun.clear()
    from lockgate.model import SessionStart
    start = SessionStart("s2", "i", "s", None, None, None, (), "t", "crm", "x", "p", "h")
    made.pipeline.admit(who, "crm", start).then(found.append)  # type: ignore[union-attr]
    assert found == []
    made.recorder.flush()
    assert isinstance(found[0], Governor)


@pytest.mark.parametrize("error", [AuditError("full"), None])
def test_no_session_without_a_log(error: AuditError | None) -> None:
    """An unwritable log, or a failing begin, refuses the login."""
    made = world(ALLOW)
    made.recorder.is_writable = error is not None
    made.recorder.raises = error
    assert refused(made.admit()).code is RefusalCode.AUDIT_UNAVAILABLE


def test_a_login_without_an_allow_is_refused_and_recorded() -> None:
    """Deny by default, before anything is dialled."""
    made = world(NEVER_DROP)
    assert refused(made.admit()).code is RefusalCode.DENIED
    assert made.recorder.types() == ["access_denied"]
    assert made.recorder.begun == []


@pytest.mark.parametrize(("groups", "said"), [
    (("b\x00\n", "a"), "is in the groups a, b."), ((), "is in no group."),
    (tuple(f"g{n:02}" for n in range(12)), "g09 and 2 more."),
])
def test_who_is_let_in_by_no_rule_reads_which_groups_it_has(groups: tuple[str, ...], said: str) -> None:
    """What is missing is most often one of them; which one would do is the policy's secret, and a rule's denial says its own."""
    made = world(Rule("people", when='"hidden" in identity.groups', allow=True), NEVER_DROP)
    refusal = refused(made.admit(replace(identity(), groups=frozenset(groups))))
    assert said in refusal.hint
    assert "hidden" not in refusal.hint
    assert refusal.hint.isprintable()
    made = world(Rule("nobody", deny="closed for today"), ALLOW)
    assert "groups" not in refused(made.admit()).hint


def test_an_expired_token_opens_nothing() -> None:
    """Expiry is checked at the login too."""
    made = world(ALLOW)
    assert refused(made.admit(identity(expires_at=made.clock.time))).code is RefusalCode.EXPIRED


# ---------------------------------------------------------------- judging


def test_an_allowed_request_is_granted_and_nothing_is_recorded_yet() -> None:
    """Judging plans; recording is the next stage."""
    made = world(ALLOW)
    session, grant = ready(made)
    assert grant.decision.effect is Effect.ALLOW
    assert grant.planned.forward == b"forward"
    assert made.recorder.intents == []
    assert session.statements == 1


def test_a_denied_request_is_recorded_as_denied() -> None:
    """The refusal names the rule and its reason; the intent holds no forwarded bytes."""
    made = world(ALLOW, NEVER_DROP)
    refusal = refused(made.session().judge(operation("drop", text="DROP TABLE t"), plan))
    assert (refusal.code, refusal.reason, refusal.rule) == (RefusalCode.DENIED, "no DDL here", "never-drop")
    intent = made.recorder.intents[0]
    assert (intent.decision, intent.rules, intent.refusal, intent.forwarded, intent.text) == (
        "deny", ("never-drop",), "denied", b"", "DROP TABLE t")


def test_the_plan_is_not_made_for_a_denied_request() -> None:
    """Analysis of what is denied anyway is never run."""
    made = world(ALLOW, NEVER_DROP)

    def unreachable(decision: Decision) -> Planned:
        raise AssertionError(decision)

    assert refused(made.session().judge(operation("drop"), unreachable)).code is RefusalCode.DENIED
    assert made.faults == []


def test_a_mask_that_cannot_be_enforced_refuses_the_request() -> None:
    """I5: the plan's refusal is the answer and is on record; nobody is asked for a review first."""
    made = world(ALLOW, ASK)
    refusal = Refusal(RefusalCode.NOT_ENFORCEABLE, "a masked column cannot be followed through this")
    assert made.session().judge(operation("delete"), lambda _: refusal) is refusal
    assert made.recorder.intents[0].refusal == "not_enforceable"
    assert made.store.reviews == {}


def test_an_expired_token_ends_at_the_next_request() -> None:
    """Expiry inside a session refuses what comes after it."""
    made = world(ALLOW)
    session = made.session(identity(expires_at=made.clock.time + 10))
    granted(session.judge(operation("select"), plan))
    made.clock.time += 10
    assert refused(session.judge(operation("select"), plan)).code is RefusalCode.EXPIRED


def test_a_new_policy_judges_the_next_request() -> None:
    """Hot reload needs no new session."""
    made = world(ALLOW)
    session = made.session()
    granted(session.judge(operation("drop"), plan))
    made.pipeline.replace(PolicySet.compile([ALLOW, NEVER_DROP], "g" * 64))
    assert refused(session.judge(operation("drop"), plan)).rule == "never-drop"
    assert made.recorder.intents[0].policy_hash == "g" * 64


@pytest.mark.parametrize("broken", [RuntimeError("secret value"), MemoryError(), RecursionError()])
def test_a_plan_that_raises_is_a_refusal_on_record(broken: Exception) -> None:
    """A stage that fails lets nothing through, and its message reaches no client."""
    made = world(ALLOW)

    def failing(decision: Decision) -> Planned:
        raise broken

    refusal = refused(made.session().judge(operation("select"), failing))
    assert refusal.code is RefusalCode.INTERNAL
    assert "secret" not in refusal.reason + str(refusal.hint)
    assert made.recorder.intents[0].refusal == "internal"
    assert made.faults == [("plan", broken)]


def test_a_policy_that_raises_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken engine refuses every request and forwards none."""
    made = world(ALLOW)
    session = made.session()
    monkeypatch.setattr("lockgate.govern.policy.policyset.compose", None)
    assert refused(session.judge(operation("select"), plan)).code is RefusalCode.INTERNAL


def test_a_plan_that_gives_something_else_is_a_refusal() -> None:
    """What is neither a plan nor a refusal is not understood."""
    made = world(ALLOW)
    assert refused(made.session().judge(operation("select"), lambda _: None)).code is RefusalCode.INTERNAL  # type: ignore[arg-type,return-value]


def test_what_is_only_prepared_is_judged_and_asks_nobody() -> None:
    """`ask=False` gives a grant whose decision still says review; a deny stays a deny."""
    made = world(ALLOW, ASK, NEVER_DROP)
    session = made.session()
    grant = granted(session.judge(operation("delete"), plan, ask=False))
    assert grant.decision.effect is Effect.REVIEW
    assert made.store.reviews == {}
    assert session.statements == 0
    refused(session.judge(operation("drop"), plan, ask=False))


# ---------------------------------------------------------------- record and permit


def test_full_audit_gives_the_permit_when_the_record_is_durable() -> None:
    """I2: not before."""
    made = world(ALLOW)
    session, grant = ready(made, AuditMode.FULL)
    made.recorder.is_instant = False
    answer = session.record([grant], b"bytes")
    assert came(answer) is None
    made.recorder.flush()
    permit = came(session.record([], b"x")) and came(answer)
    assert isinstance(permit, Permit)
    assert permit.records == (grant.record,)
    assert permit.spend() == b"bytes"
    with pytest.raises(Unpermitted):
        permit.spend()


def test_async_audit_gives_the_permit_when_the_record_is_queued() -> None:
    """The queue is inside the log's stated bound; the intent holds what is forwarded."""
    made = world(ALLOW)
    session, grant = ready(made)
    permit = session.record([grant], b"bytes")
    assert isinstance(permit, Permit)
    assert made.recorder.intents[0].forwarded == b"forward"
    assert made.recorder.intents[0].decision == "allow"


def test_one_full_grant_makes_all_wait() -> None:
    """Bytes of several requests go out together, so the strictest of them counts."""
    made = world(ALLOW, Rule("f", when='op.verb == "insert"', audit=AuditMode.FULL))
    session, grant = ready(made)
    strict = granted(session.judge(operation("insert"), plan))
    made.recorder.is_instant = False
    answer = session.record([grant, strict], b"bytes")
    assert came(answer) is None
    assert len(made.recorder.waiting) == 2
    made.recorder.flush()
    assert isinstance(came(answer), Permit)


@pytest.mark.parametrize("audit", list(AuditMode))
def test_a_log_that_raises_forwards_nothing(audit: AuditMode) -> None:
    """I2: an overload or a poisoned log at the very call refuses."""
    made = world(ALLOW)
    session, grant = ready(made, audit)
    made.recorder.raises = AuditError("queue is full")
    assert refused(came(session.record([grant], b"bytes"))).code is RefusalCode.AUDIT_UNAVAILABLE


def test_a_record_that_fails_later_forwards_nothing() -> None:
    """I2: the disk filled up between queue and commit; what was recorded before it is not left open."""
    made = world(ALLOW)
    session, grant = ready(made, AuditMode.FULL)
    made.recorder.is_instant = False
    answer = session.record([grant], b"bytes")
    made.recorder.flush(AuditError("disk full"))
    assert refused(came(answer)).code is RefusalCode.AUDIT_UNAVAILABLE
    assert grant.is_settled


def test_a_congested_log_slows_senders_down() -> None:
    """A log that cannot keep up makes `audit: async` wait for durability instead of refusing; then not."""
    made = world(ALLOW)
    session, grant = ready(made, AuditMode.ASYNC)
    made.recorder.is_instant = False
    made.recorder.is_congested = True
    waiting = session.record([grant], b"bytes")
    assert isinstance(waiting, Pending)
    assert not waiting.is_done
    permits: list[object] = []
    waiting.then(permits.append)
    made.recorder.flush()
    assert isinstance(permits[0], Permit)
    made.recorder.is_congested = False
    assert isinstance(session.record([granted(session.judge(operation("select"), plan))], b"bytes"), Permit)


def test_an_unwritable_log_stops_bytes_without_a_request_too() -> None:
    """Once poisoned, not even the data of a running COPY goes on."""
    made = world(ALLOW)
    session, grant = ready(made)
    assert isinstance(session.record([], b"more", under=3), Permit)
    made.recorder.is_writable = False
    assert refused(session.record([], b"more", under=3)).code is RefusalCode.AUDIT_UNAVAILABLE
    assert refused(session.record([grant], b"bytes")).code is RefusalCode.AUDIT_UNAVAILABLE


def test_a_grant_is_recorded_once() -> None:
    """The second use of one judgement is refused: each execution is judged."""
    made = world(ALLOW)
    session, grant = ready(made)
    assert isinstance(session.record([grant], b"bytes"), Permit)
    assert refused(session.record([grant], b"bytes")).code is RefusalCode.INTERNAL


def test_a_client_that_leaves_while_the_record_is_written_forwards_nothing() -> None:
    """Withdrawn: no permit comes, and the intent gets an outcome that says so."""
    made = world(ALLOW)
    session, grant = ready(made, AuditMode.FULL)
    made.recorder.is_instant = False
    answer = session.record([grant], b"bytes")
    answer.withdraw()  # type: ignore[union-attr]
    made.recorder.flush()
    assert made.recorder.outcomes[0].status is OutcomeStatus.CANCELLED


def test_nothing_is_judged_or_recorded_after_the_end() -> None:
    """`end` is final and idempotent."""
    made = world(ALLOW)
    session, grant = ready(made)
    session.end("client left")
    session.end("again")
    assert made.recorder.ended == [("5e55", "client left")]
    refused(session.judge(operation("select"), plan))
    refused(session.record([grant], b"bytes"))


# ---------------------------------------------------------------- mask and outcome


def test_a_masked_chunk_is_cleared_and_counted() -> None:
    """The clearance carries what the plan returned; its counts go to the outcome."""
    made = world(ALLOW)
    session, grant = ready(made)
    mask = Mask()
    session.record([grant], b"bytes")
    cleared = session.clear(mask, b"219-09-9999", grant)
    assert isinstance(cleared, Cleared)
    assert cleared.spend() == b"masked"
    session.clear(mask, b"219-09-9999", grant)
    session.settle(grant, OutcomeStatus.OK, rows=2, sent=12)
    assert made.recorder.outcomes[0].masked == {"ssn": 2}


@pytest.mark.parametrize("result", [ValueError("219-09-9999"), None, "text", bytearray(b"219-09-9999"), MemoryError()])
def test_a_mask_that_fails_clears_nothing(result: object) -> None:
    """I3: whatever the masking code raises or returns, no raw byte gets a clearance or into a message."""
    made = world(ALLOW)
    session, grant = ready(made)
    refusal = refused(session.clear(Mask(result), b"219-09-9999", grant))
    assert refusal.code is RefusalCode.INTERNAL
    assert "219" not in repr(refusal)


def test_an_outcome_is_recorded_once_with_its_duration() -> None:
    """Settling again changes nothing; rows count for the session."""
    made = world(ALLOW)
    session, grant = ready(made)
    session.settle(grant, OutcomeStatus.OK)
    assert made.recorder.outcomes == []
    session.record([grant], b"bytes")
    made.clock.time += 2.5
    session.settle(grant, OutcomeStatus.OK, rows=3, sent=99, code="")
    session.settle(grant, OutcomeStatus.ERROR, rows=3)
    outcome, = made.recorder.outcomes
    assert (outcome.record, outcome.status, outcome.rows, outcome.sent, outcome.duration) == (1, "ok", 3, 99, 2.5)
    assert session.session_facts()["rows"] == 3


def test_an_outcome_that_cannot_be_recorded_does_not_break_the_session() -> None:
    """The fault is told; the log is unwritable by then and stops the next request."""
    made = world(ALLOW)
    session, grant = ready(made)
    session.record([grant], b"bytes")
    made.recorder.raises = AuditError("poisoned")
    session.settle(grant, OutcomeStatus.OK)
    session.event("cancel", {"record": 1})
    assert [name for name, _ in made.faults] == ["outcome", "event"]


# ---------------------------------------------------------------- review in a session


def test_a_held_request_goes_on_with_its_ticket_when_approved() -> None:
    """The grant carries the ticket into the intent."""
    made = world(ALLOW, ASK)
    session = made.session()
    waiting = held(session.judge(operation("delete", text="DELETE FROM t"), plan))
    assert came(waiting) is None
    made.reviews.approve(waiting.ticket, DBA)
    grant = granted(came(waiting))
    assert isinstance(session.record([grant], b"bytes"), Permit)
    intent = made.recorder.intents[-1]
    assert (intent.decision, intent.ticket, intent.rules) == ("review", waiting.ticket, ("ask",))


def test_the_intent_says_what_is_executed_and_not_what_was_approved() -> None:
    """Its binding is computed from what goes on: a statement swapped behind the approval is another one on record."""
    made = world(ALLOW, ASK)
    session = made.session()
    for text, is_same in (("DELETE FROM t", True), ("DELETE FROM u", False)):
        waiting = held(session.judge(operation("delete", text="DELETE FROM t"), plan))
        made.reviews.approve(waiting.ticket, DBA)
        grant = granted(came(waiting))
        grant.operation = replace(grant.operation, text=text)
        session.record([grant], b"bytes")
        intent = made.recorder.intents[-1]
        assert (intent.text, intent.ticket) == (text, waiting.ticket)
        assert (intent.binding == made.store.reviews[waiting.ticket].binding) is is_same
    session.judge(operation("select"), plan)
    assert granted(session.judge(operation("select"), plan)).ticket is None


def test_a_held_request_that_is_denied_is_recorded_as_denied() -> None:
    """The requester reads that a reviewer said no, and why."""
    made = world(ALLOW, ASK)
    waiting = held(made.session().judge(operation("delete"), plan))
    made.reviews.deny(waiting.ticket, DBA, "not on a Friday")
    refusal = refused(came(waiting))
    assert refusal.code is RefusalCode.REVIEW_DENIED
    assert "not on a Friday" in refusal.reason
    assert (made.recorder.intents[-1].decision, made.recorder.intents[-1].ticket) == ("deny", waiting.ticket)


def test_a_token_that_ran_out_while_waiting_is_not_served() -> None:
    """An approval does not outlive the identity that it was asked for."""
    made = world(ALLOW, ASK)
    session = made.session(identity(expires_at=made.clock.time + 30))
    waiting = held(session.judge(operation("delete"), plan))
    made.clock.time += 40
    made.reviews.approve(waiting.ticket, DBA)
    assert refused(came(waiting)).code is RefusalCode.EXPIRED


def test_the_end_of_a_session_withdraws_what_it_held() -> None:
    """Nobody can approve it afterwards."""
    made = world(ALLOW, ASK)
    session = made.session()
    waiting = held(session.judge(operation("delete"), plan))
    session.end("client left")
    assert made.store.reviews[waiting.ticket].state == "withdrawn"
    error = came(made.reviews.approve(waiting.ticket, DBA))
    assert getattr(error, "code", None) == "review.closed"
    assert came(waiting) is None


def test_a_ticket_refuses_at_once_and_serves_the_retry() -> None:
    """Where the client cannot wait: the first try tells the ticket, the second runs."""
    made = world(ALLOW, TICKET)
    first = refused(made.session().judge(operation("delete"), plan))
    assert first.code is RefusalCode.REVIEW_PENDING
    assert first.ticket is not None
    assert first.ticket in str(first.hint)
    assert made.recorder.intents[-1].ticket == first.ticket
    made.reviews.approve(first.ticket, DBA)
    assert granted(made.session(session="0ther").judge(operation("delete"), plan)).ticket == first.ticket
    assert refused(made.session().judge(operation("delete"), plan)).ticket != first.ticket


def test_an_unknown_effect_is_named_as_the_reason() -> None:
    """Who reads a rule about DROP for a DO block is told why that rule speaks of it."""
    made = world(ALLOW, Rule("never-drop", when='op.verb == "drop"', deny="no drops"))
    session, _ = ready(made)
    opaque = replace(operation("drop", "select"), facts={"is_opaque": True})
    known = session.judge(operation("drop"), plan)
    unknown = session.judge(opaque, plan)
    assert isinstance(known, Refusal)
    assert isinstance(unknown, Refusal)
    assert "cannot be known" in (unknown.hint or "")
    assert "cannot be known" not in (known.hint or "")


@pytest.mark.parametrize(("when", "facts", "names"), [
    ("op.page > 1", {}, "(op.page)"), ("op.page > 1", {"page": "all"}, "(op.page)"),
    ('op.path == "/x" && (op.page > 1 || op.size > 2)', {"path": "/x"}, "(op.page, op.size)"),
    ('op.verb == "drop" && op.page > 1', {}, "(op.page)"), ("op.page > 1", {"page": 2}, ""),
    ('op.verb == "drop" && op.page > 1', {"page": 2}, ""), ("1 / session.rows == 1", {}, ""),
])
def test_who_is_refused_for_what_cannot_be_told_reads_what_is_missing(when: str, facts: dict[str, object], names: str) -> None:
    """An agent can send it then; what the rule compares it with stays the policy's secret."""
    made = world(ALLOW, Rule("first", when='op.verb == "never"', deny="never"), Rule("rule", when=when, deny="no"))
    refusal = refused(made.session().judge(replace(operation("drop", "select"), facts=facts), plan))
    assert (refusal.rule, refusal.reason) == ("rule", "no")
    assert names in refusal.hint
    assert ("counts as met" in refusal.hint) is bool(names)
