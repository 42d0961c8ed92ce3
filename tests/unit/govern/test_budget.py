"""A task's rows: one account for all its sessions, and a refusal when it is spent."""

from __future__ import annotations

from dataclasses import replace

from lockgate.govern.budget import Budget
from lockgate.govern.pipeline import Planned
from lockgate.model import Rate, ReviewTerms, RowLimits, Rule
from tests.unit.govern.fakes import granted, held, identity, operation, plan, refused, world

RULES = (Rule("all", allow=True), Rule("few", limits=RowLimits(task_rows=10)))


def test_a_task_is_an_identitys_agent_on_a_connection() -> None:
    """Another subject, agent, issuer or connection has an account of its own; the oldest are forgotten."""
    budget = Budget(tasks=3)
    first = budget.of(("i", "s", "a", "c"))
    first.rows = 4
    assert budget.of(("i", "s", "a", "c")).left(10) == 6
    assert budget.of(("i", "s", "b", "c")).left(10) == 10
    assert budget.of(("i", "s", None, "c")).left(3) == 3
    assert budget.of(("i", "s", "a", "c")) is first
    budget.of(("i", "s", "a", "d"))
    assert budget.of(("i", "s", "a", "c")) is first         # asked lately: another one went
    assert budget.of(("i", "s", "b", "c")).rows == 0


def test_a_spent_task_gets_no_more_rows() -> None:
    """What returns rows is refused with the rule's name and on record; what returns none passes."""
    made = world(*RULES)
    one, two = made.session(session="1"), made.session(session="2")
    grant = granted(one.judge(operation("select"), plan))
    assert grant.task is not None
    grant.task.rows += 10
    for session in (one, two):
        assert refused(session.judge(operation("select"), plan)).rule == "few"
        granted(session.judge(replace(operation("update"), returns=False), plan))
    assert made.recorder.intents[-1].refusal == "denied"
    granted(made.session(identity("other"), session="3").judge(operation("select"), plan))


def test_a_decision_that_wants_a_fact_asks_nobody() -> None:
    """What the protocol has to find out first comes before a person is asked, and after what denies anyway."""
    terms = ReviewTerms(frozenset({"dba"}), 60.0)
    made = world(Rule("all", allow=True), Rule("ask", review=terms, when="op.size > 5"),
                 Rule("never", deny="no", when='op.verb == "drop"'), Rule("always", review=terms))
    session = made.session()
    lacking = replace(operation("select", key="k"), lacks=frozenset({"size"}))
    grant = granted(session.judge(lacking, plan))
    assert grant.decision.wants == {"size"}
    assert made.store.reviews == {}
    refused(session.judge(replace(operation("drop", key="d"), lacks=frozenset({"size"})), plan))
    held(session.judge(operation("select", key="told", size=9), plan))


def test_comparisons_count_once_however_often_a_request_is_judged() -> None:
    """Judged first and asked about later, in a burst or behind a question, it counts the first time, and only then."""
    def looking(_: object) -> Planned:
        return Planned(b"forward", lookups=(("pii", 3),))

    made = world(Rule("all", allow=True))
    session = made.session()
    for _ in range(3):
        granted(session.judge(operation("select"), looking, ask=False, counts=True))
        granted(session.judge(operation("select"), looking, counts=False))
        granted(session.judge(operation("select"), looking, ask=False))     # prepared only
    refused(session.judge(operation("select"), looking, ask=False, counts=True))
    refused(session.judge(operation("select"), looking))


def test_every_rate_has_to_have_room_and_nothing_is_counted_otherwise() -> None:
    """Of two rates the one that is waited for longest is named; a refusal takes nothing from the other."""
    budget, task = Budget(), ("i", "s", "a", "c")
    second, hour = Rate(1, 1, "second"), Rate(2, 3600, "hour")
    assert budget.wait(task, (second, hour), 0.0, counts=True) is None
    assert budget.wait(task, (second, hour), 0.5, counts=True) == (second, 1)
    assert budget.wait(task, (second, hour), 1.0, counts=True) is None
    assert budget.wait(task, (second, hour), 2.0, counts=True) == (hour, 1798)
    assert budget.wait(task, (second,), 2.0, counts=True) is None
    assert budget.wait(("i", "other", "a", "c"), (second, hour), 2.0, counts=True) is None


def test_a_rate_that_is_only_asked_about_is_not_counted() -> None:
    """And the number of rates that are remembered is bounded."""
    budget, rate = Budget(tasks=2), Rate(1, 60, "r")
    for subject in "abc":
        for _ in range(3):
            assert budget.wait(("i", subject, None, "c"), (rate,), 0.0, counts=False) is None
        assert budget.wait(("i", subject, None, "c"), (rate,), 0.0, counts=True) is None
        assert budget.wait(("i", subject, None, "c"), (rate,), 0.0, counts=False) == (rate, 60)
    assert budget.wait(("i", "a", None, "c"), (rate,), 0.0, counts=False) is None      # forgotten: two are remembered
