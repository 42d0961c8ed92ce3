"""Which statements the planner can be asked about, and what its answer says."""

from __future__ import annotations

import json

import pytest

from lockgate.analysis.sql import Analyzer, Estimate, is_explainable, read_estimate


@pytest.mark.parametrize("text", [
    "select 1 from t", "values (1)", "table t", "insert into t values (1)", "update t set a = 1", "delete from t",
    "merge into t using u on t.a = u.a when matched then delete", "with x as (delete from t returning 1) select * from x",
    "declare c cursor for select * from t", "create table n as select * from t", "select * into n from t",
    "select 1 from t where a = 5", "select nextval('s')",
])
def test_queries_can_be_asked_about(text: str) -> None:
    """Also those that cursors and tables are made of; nothing is known beforehand."""
    statement = Analyzer().statement(text)
    assert is_explainable(statement)
    assert "estimated_rows" not in statement.facts


@pytest.mark.parametrize("text", [
    "begin", "commit", "rollback to s", "set a = 1", "show a", "create table t (a int)", "drop table t", "alter table t add b int",
    "create view v as select 1", "prepare p as delete from t", "fetch all from c", "close c", "listen a", "explain delete from t",
    "lock t", "vacuum", "grant select on t to x", "", "begin; set a = 1; commit", "create index on t (a)",
])
def test_what_concerns_no_rows_is_zero(text: str) -> None:
    """It needs no question, so that a rule about rows is in nobody's way."""
    statement = Analyzer().statement(text)
    assert not is_explainable(statement)
    assert (statement.facts["estimated_rows"], statement.facts["estimated_cost"]) == (0, 0)


@pytest.mark.parametrize("text", [
    "truncate t", "copy t to stdout", "copy t from stdin", "copy (select 1) to stdout", "select 1; select 2", "do 'x'",
    "call p()", "select unheard_of()", "execute p", "explain analyze delete from t", "refresh materialized view m",
    "prepare p as delete from t; execute p", "select 1; set a = 1", "explain (analyze) select 1",
])
def test_what_cannot_be_asked_about_is_unknown(text: str) -> None:
    """Neither a question nor a number: a rule about rows applies."""
    statement = Analyzer().statement(text)
    assert not is_explainable(statement)
    assert "estimated_rows" not in statement.facts


def plan(node: dict[str, object]) -> str:
    return json.dumps([{"Plan": {"Total Cost": 12.5, "Plan Rows": 0, **node}}])


def test_the_answer_is_rows_returned_or_changed() -> None:
    """Of an UPDATE it is what its input gives, of a WITH that deletes too, and the larger of both."""
    assert read_estimate(plan({"Node Type": "Seq Scan", "Plan Rows": 7})) == Estimate(7, 12.5)
    scan = {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 40, "Total Cost": 1}
    change = {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [scan, scan]}
    assert read_estimate(plan(change)) == Estimate(80, 12.5)
    inside = {"Node Type": "CTE Scan", "Plan Rows": 3, "Plans": [{**change, "Parent Relationship": "InitPlan"}]}
    assert read_estimate(plan(inside)) == Estimate(80, 12.5)
    beside = {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [scan, {**scan, "Parent Relationship": "SubPlan"}]}
    assert read_estimate(plan(beside)) == Estimate(40, 12.5)


@pytest.mark.parametrize("answer", [
    "", "x", "[]", "{}", "[{}]", "null", '[{"Plan": 1}]', plan({"Plan Rows": "7"}), plan({"Plan Rows": True}),
    plan({"Total Cost": None}), plan({"Plans": [1]}), "[" * 100_000, plan({"Plans": [{"Node Type": "ModifyTable", "Plans": [
        {"Parent Relationship": "Outer"}]}]}), json.dumps([{"Plan": {"Plan Rows": 1e400, "Total Cost": 1}}]),
])
def test_another_answer_is_none(answer: str) -> None:
    """Whatever is not what the manual describes counts as no estimate."""
    assert read_estimate(answer) is None


def test_a_plan_without_end_is_none() -> None:
    """Depth costs no stack."""
    node: dict[str, object] = {"Node Type": "Append", "Plan Rows": 1, "Total Cost": 1}
    for _ in range(300):
        node = {"Node Type": "Append", "Plan Rows": 1, "Total Cost": 1, "Plans": [node]}
    assert read_estimate(json.dumps([{"Plan": node}])) is None
