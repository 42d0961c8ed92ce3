"""Tickets: what they are bound to, who may answer, how they end, and that each is used once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from lockgate.errors import AuditError
from lockgate.govern.review import Approval, Ask, Hold, ReviewDesk, ReviewError, binding, new_ticket
from lockgate.model import RefusalCode, Review, ReviewMode, ReviewTerms
from tests.unit.govern.fakes import FakeClock, FakeRecorder, FakeStore, came, identity, refused

TERMS = ReviewTerms(frozenset({"dba"}), 60.0)
TICKETS = replace(TERMS, mode=ReviewMode.TICKET)
DBA = identity("dora", "dba")
ASK = Ask(identity("agent"), "crm", "s1", "DELETE FROM t WHERE id = $1", ("1",), ("ask",), TERMS, "h")


class Desk:
    """A desk over fakes."""

    def __init__(self, **bounds: int) -> None:
        self.clock, self.recorder, self.store = FakeClock(), FakeRecorder(), FakeStore()
        self.desk = ReviewDesk(self.store, self.recorder, self.clock, **bounds)

    def hold(self, ask: Ask = ASK) -> Hold:
        answer = self.desk.request(ask)
        assert isinstance(answer, Hold)
        return answer

    def state(self, ticket: str) -> str:
        return str(self.store.reviews[ticket].state)

    def approve(self, ticket: str, reviewer: object = DBA, comment: str = "") -> Review | str:
        answer = came(self.desk.approve(ticket, reviewer, comment))  # type: ignore[arg-type]
        assert isinstance(answer, (Review, ReviewError))
        return answer.code if isinstance(answer, ReviewError) else answer


def test_tickets_are_readable_and_not_guessable() -> None:
    """No sign that can be mistaken for another; no two alike."""
    tickets = {new_ticket() for _ in range(2000)}
    assert len(tickets) == 2000
    assert all(re.fullmatch(r"LG-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}", ticket) for ticket in tickets)


@pytest.mark.parametrize("change", [
    {"identity": identity("other")}, {"connection": "hr"}, {"policy_hash": "g"}, {"text": "DELETE FROM t"},
    {"parameters": ("2",)}, {"parameters": ("1", None)}, {"parameters": (None,)}, {"parameters": ()},
])
def test_an_approval_is_bound_to_what_was_reviewed(change: dict[str, object]) -> None:
    """Another caller, connection, policy, statement or parameter needs its own ticket."""
    made, other = Desk(), replace(ASK, **change)  # type: ignore[arg-type]
    assert binding(other) != binding(ASK)
    ticket = refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket
    made.approve(str(ticket))
    assert not isinstance(made.desk.request(replace(other, terms=TICKETS)), Approval)
    assert isinstance(made.desk.request(replace(ASK, terms=TICKETS)), Approval)


def test_the_binding_tells_parts_apart() -> None:
    """Moving text from one part to the next gives another binding."""
    assert binding(replace(ASK, text="a", parameters=("b",))) != binding(replace(ASK, text='a","b', parameters=()))
    assert binding(replace(ASK, parameters=(None,))) != binding(replace(ASK, parameters=("null",)))


def test_an_approved_ticket_serves_a_retry_in_another_session_once() -> None:
    """Single use, whichever session comes first."""
    made = Desk()
    ticket = str(refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket)
    made.approve(ticket)
    assert made.desk.request(replace(ASK, session="s2", terms=TICKETS)) == Approval(ticket)
    assert made.state(ticket) == "used"
    assert refused(made.desk.request(replace(ASK, session="s3", terms=TICKETS))).ticket != ticket


def test_a_denial_answers_the_retries_of_who_did_not_wait() -> None:
    """With its comment, for the same statement of the same requester, until the ticket expires; nothing new is asked."""
    made = Desk()
    ticket = str(refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket)
    made.desk.deny(ticket, DBA, "use archive_orders() instead")
    for session in ("s2", "s3"):
        answer = refused(made.desk.request(replace(ASK, session=session, terms=TICKETS)))
        assert (answer.code, answer.ticket) == (RefusalCode.REVIEW_DENIED, ticket)
        assert "use archive_orders() instead" in answer.reason
    other = refused(made.desk.request(replace(ASK, text="something else", terms=TICKETS)))
    assert (other.code, other.ticket == ticket) == (RefusalCode.REVIEW_PENDING, False)
    assert refused(made.desk.request(replace(ASK, parameters=("9",), terms=TICKETS))).code is RefusalCode.REVIEW_PENDING
    made.clock.time += TERMS.expires + 1
    assert refused(made.desk.request(replace(ASK, terms=TICKETS))).code is RefusalCode.REVIEW_PENDING


@pytest.mark.parametrize("noun", ["request", "statement"])
def test_a_refusal_speaks_the_words_of_its_protocol(noun: str) -> None:
    """Whatever becomes of a ticket: where it is no statement that was asked about, no statement is spoken of."""
    made, ask = Desk(per_identity=2), replace(ASK, noun=noun)
    said = [refused(made.desk.request(replace(ask, terms=TICKETS)))]

    def told(text: str, end: Callable[[Hold], object]) -> Hold:
        hold = made.hold(replace(ask, text=text))
        end(hold)
        said.append(refused(came(hold)))
        return hold

    told("sent away", lambda hold: hold.postpone())
    said.append(refused(made.desk.request(replace(ask, text="one too many"))))
    made.desk.policy_changed("new")
    told("denied", lambda hold: made.desk.deny(hold.ticket, DBA))
    told("of another policy", lambda _: made.desk.policy_changed("new"))
    held = made.hold(ask)
    made.clock.time += TERMS.expires + 1
    made.desk.expire_due()
    first, second = made.hold(ask), made.hold(replace(ask, session="s2"))
    made.approve(first.ticket)
    said += [refused(came(held)), refused(came(second))]
    texts = [f"{one.reason} {one.hint}" for one in said]
    assert len(texts) == 7
    assert all(f"this {noun}" in text or f"same {noun}" in text for text in texts), texts
    assert noun == "statement" or not any("statement" in text for text in texts)


def test_who_waited_for_a_denial_may_ask_anew() -> None:
    """It was read then."""
    made = Desk()
    hold = made.hold()
    made.desk.deny(hold.ticket, DBA)
    assert made.hold().ticket != hold.ticket


def test_a_pending_ticket_is_joined() -> None:
    """Asking again for the same thing opens no second ticket."""
    made = Desk()
    first = refused(made.desk.request(replace(ASK, terms=TICKETS)))
    assert refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket == first.ticket
    assert made.recorder.types() == ["review_request"]


def test_one_approval_serves_one_of_those_who_wait() -> None:
    """Two holds on one ticket: one goes on, the other is told to ask anew."""
    made = Desk()
    first, second = made.hold(), made.hold(replace(ASK, session="s2"))
    assert first.ticket == second.ticket
    made.approve(first.ticket)
    assert came(first) == Approval(first.ticket)
    assert refused(came(second)).code is RefusalCode.REVIEW_EXPIRED


def test_nobody_approves_their_own_request() -> None:
    """Same issuer and subject, whatever the groups; the same subject of another issuer is another person."""
    made = Desk()
    ticket = made.hold().ticket
    assert made.approve(ticket, identity("agent", "dba")) == "review.self"
    stranger = replace(identity("agent", "dba"), issuer="https://other")
    assert isinstance(made.approve(ticket, stranger), Review)


def test_a_reviewer_is_in_the_groups_that_the_rules_name() -> None:
    """One of `by`, and one of every further set where several rules ask."""
    made = Desk()
    terms = replace(TERMS, by=frozenset({"dba", "lead"}), also=(frozenset({"security"}),))
    ticket = made.hold(replace(ASK, terms=terms)).ticket
    assert made.approve(ticket, identity("bob", "staff")) == "review.groups"
    assert made.approve(ticket, identity("bob", "lead")) == "review.groups"
    assert made.approve(ticket, identity("bob", "security")) == "review.groups"
    assert isinstance(made.approve(ticket, identity("bob", "lead", "security")), Review)


def test_an_expired_reviewer_decides_nothing() -> None:
    """The reviewer's token is still valid when they answer."""
    made = Desk()
    ticket = made.hold().ticket
    assert made.approve(ticket, identity("bob", "dba", expires_at=made.clock.time)) == "review.expired"


def test_a_ticket_expires() -> None:
    """Nobody decides in time: who waits is refused, and a late answer does not count."""
    made = Desk()
    hold = made.hold()
    made.clock.time += 59
    made.desk.expire_due()
    assert came(hold) is None
    made.clock.time += 1
    assert made.approve(hold.ticket) == "review.expired"
    made.desk.expire_due()
    assert refused(came(hold)).code is RefusalCode.REVIEW_EXPIRED
    assert made.state(hold.ticket) == "expired"
    assert made.approve(hold.ticket) == "review.closed"


def test_an_approved_ticket_expires_too() -> None:
    """It serves a retry only within its life, timer or not."""
    made = Desk()
    ticket = str(refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket)
    made.approve(ticket)
    made.clock.time += 60
    assert not isinstance(made.desk.request(replace(ASK, terms=TICKETS)), Approval)
    made.desk.expire_due()
    assert made.state(ticket) == "expired"


def test_a_client_that_leaves_withdraws_its_request() -> None:
    """Afterwards nobody can approve it, and the withdrawal is on record."""
    made = Desk()
    hold = made.hold()
    hold.withdraw()
    assert made.state(hold.ticket) == "withdrawn"
    assert made.approve(hold.ticket) == "review.closed"
    assert made.recorder.events[-1].fields["verdict"] == "withdrawn"


def test_a_request_stays_while_another_waits_for_it() -> None:
    """Of two clients with the same request, one may leave."""
    made = Desk()
    first, second = made.hold(), made.hold()
    first.withdraw()
    assert made.state(first.ticket) == "pending"
    made.approve(first.ticket)
    assert came(second) == Approval(first.ticket)


def test_an_approval_counts_once_its_record_is_durable() -> None:
    """Until then the request waits; if the record fails, the ticket is as it was."""
    made = Desk()
    hold = made.hold()
    made.recorder.is_instant = False
    answer = made.desk.approve(hold.ticket, DBA)
    assert came(hold) is None
    assert made.state(hold.ticket) == "pending"
    assert made.approve(hold.ticket) == "review.busy"
    made.recorder.flush(AuditError("disk full"))
    assert getattr(came(answer), "code", None) == "review.unrecorded"
    assert came(hold) is None
    made.recorder.is_instant = True
    made.approve(hold.ticket)
    assert came(hold) == Approval(hold.ticket)


def test_a_withdrawal_wins_over_an_approval_that_is_not_durable_yet() -> None:
    """The client left while the approval was being written: nothing is approved."""
    made = Desk()
    hold = made.hold()
    made.recorder.is_instant = False
    answer = made.desk.approve(hold.ticket, DBA)
    hold.withdraw()
    made.recorder.flush()
    assert getattr(came(answer), "code", None) == "review.closed"
    assert made.state(hold.ticket) == "withdrawn"


@pytest.mark.parametrize("raises", [True, False])
def test_a_request_that_cannot_be_recorded_is_refused(raises: bool) -> None:
    """At the call or at the commit: no ticket without its `review_request`."""
    made = Desk()
    if raises:
        made.recorder.raises = AuditError("queue full")
        answer: object = made.desk.request(ASK)
    else:
        made.recorder.is_instant = False
        answer = made.desk.request(ASK)
        made.recorder.flush(AuditError("disk full"))
    assert refused(came(answer)).code is RefusalCode.AUDIT_UNAVAILABLE
    assert {str(review.state) for review in made.store.reviews.values()} == {"withdrawn"}


def test_a_new_policy_ends_every_ticket_of_the_old_one() -> None:
    """Pending and approved alike; who waits is told to ask again."""
    made = Desk()
    hold = made.hold()
    approved = str(refused(made.desk.request(replace(ASK, text="other", terms=TICKETS))).ticket)
    made.approve(approved)
    made.desk.policy_changed("h")
    assert came(hold) is None
    made.desk.policy_changed("g")
    assert refused(came(hold)).code is RefusalCode.REVIEW_EXPIRED
    assert (made.state(hold.ticket), made.state(approved)) == ("expired", "expired")


def test_pending_requests_are_bounded_per_caller_and_in_total() -> None:
    """A runaway agent cannot bury the reviewers, nor keep others from asking."""
    made = Desk(per_identity=2, in_total=3)
    for text in ("a", "b"):
        made.hold(replace(ASK, text=text))
    assert refused(made.desk.request(replace(ASK, text="c"))).code is RefusalCode.DENIED
    other = replace(ASK, identity=identity("other"))
    made.hold(replace(other, text="a"))
    assert refused(made.desk.request(replace(other, text="b"))).code is RefusalCode.DENIED


def test_a_restart_expires_what_was_pending_and_keeps_what_was_approved() -> None:
    """Nobody waits for the one any more; the other serves its retry."""
    made = Desk()
    pending = made.hold(replace(ASK, text="held")).ticket
    approved = str(refused(made.desk.request(replace(ASK, terms=TICKETS))).ticket)
    made.approve(approved)
    made.desk = ReviewDesk(made.store, made.recorder, made.clock)
    made.desk.recover()
    assert made.state(pending) == "expired"
    assert made.desk.request(replace(ASK, terms=TICKETS)) == Approval(approved)


def test_records_name_ids_in_fields_and_people_in_the_payload() -> None:
    """Leaves of the log hold nothing personal: no statement, no subject, no comment."""
    made = Desk()
    ticket = made.hold().ticket
    made.approve(ticket, comment="fine by me")
    request, review = made.recorder.events
    assert (request.type, review.type) == ("review_request", "review")
    assert request.fields["binding"] == review.fields["binding"] == binding(ASK)
    for event in (request, review):
        assert not re.search("DELETE|dora|agent|fine", repr(event.fields))
    assert b"dora" in review.payload
    assert b"fine by me" in review.payload


def test_an_unknown_ticket_is_said_to_be_unknown() -> None:
    """Deciding what does not exist is an error that says so."""
    assert Desk().approve("LG-0000-0000") == "review.unknown"
