"""A task's rows: one account for all its sessions, and a refusal when it is spent."""

from __future__ import annotations

from dataclasses import replace

from lockgate.govern.budget import Budget
from lockgate.model import ReviewTerms, RowLimits, Rule
from tests.unit.govern.fakes import granted, held, identity, operation, plan, refused, world

RULES = (Rule("all", allow=True), Rule("few", limits=RowLimits(task_rows=10)))


def test_a_task_is_an_identitys_agent_on_a_connection() -> None:
    """Another subject, agent, issuer or connection has an account of its own; the oldest are forgotten."""
    budget = Budget(tasks=3)
    first = budget.of(("i", "s", "a", "c"))
    first.spent = 4
    assert budget.of(("i", "s", "a", "c")).left(10) == 6
    assert budget.of(("i", "s", "b", "c")).left(10) == 10
    assert budget.of(("i", "s", None, "c")).left(3) == 3
    assert budget.of(("i", "s", "a", "c")) is first
    budget.of(("i", "s", "a", "d"))
    assert budget.of(("i", "s", "a", "c")) is first         # asked lately: another one went
    assert budget.of(("i", "s", "b", "c")).spent == 0


def test_a_spent_task_gets_no_more_rows() -> None:
    """What returns rows is refused with the rule's name and on record; what returns none passes."""
    made = world(*RULES)
    one, two = made.session(session="1"), made.session(session="2")
    grant = granted(one.judge(operation("select"), plan))
    assert grant.task is not None
    grant.task.spent += 10
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
