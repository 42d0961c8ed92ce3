"""Soundness against a real server: what the analysis calls clean is the same on two databases that differ in
labelled columns only, with no mask in between.

Random statements are made anew in every run from the same seeds. `LOCKGATE_TAINT_STATEMENTS` asks for more of
them than the usual number, `LOCKGATE_TAINT_SEED` for others.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import pytest

from lockgate.analysis.sql import Catalogue
from testbed.noninterference.databases import snapshot
from tests.unit.analysis.taint.cases import CASES
from tests.unit.analysis.taint.faults import FAULTS
from tests.unit.analysis.taint.generator import Generator
from tests.unit.analysis.taint.pair import Pair, Result
from tests.unit.analysis.taint.world import World, catalogue

STATEMENTS = int(os.environ.get("LOCKGATE_TAINT_STATEMENTS", "900"))
SEED = os.environ.get("LOCKGATE_TAINT_SEED", "s")

NO_QUERIES = re.compile(r"(?:COPY|CALL|EXECUTE|FETCH|SHOW|LOCK|DECLARE|PREPARE|EXPLAIN)\b")
SURROUNDINGS = re.compile(r"\b(?:ctid|xmin|pg_class|current_\w+|now)\b")
"""What tells the two databases apart whatever they hold."""

REFUSED = {
    "42702": ("SELECT x.k FROM (SELECT id AS k, ssn AS k FROM t) x",),
    "42703": ("SELECT ssn FROM dup",),                                  # there is one in the other schema
    "42883": ("SELECT f.x FROM myfunc(1) AS f(x)", "SELECT f.x, t.id FROM t, myfunc(t.ssn) AS f(x, y)"),
    "42804": ("SELECT j.a, j.b FROM t, JSON_TABLE(",),                  # a constant is asked for
    "0A000": ("SELECT x.z, t.id FROM t, XMLTABLE(",),                   # built without libxml
    "23514": ("ALTER TABLE t ADD CHECK",),
}
"""Statements of the table that the server itself refuses."""


@dataclass(frozen=True)
class Run:
    """A statement that both databases took."""

    text: str
    one: Result
    two: Result


@pytest.fixture(scope="module")
def known(pair: Pair) -> Catalogue:
    return snapshot(pair.connections[0])


@pytest.fixture(scope="module")
def runs(pair: Pair) -> list[Run]:
    """The random statements that are valid and fail on neither side."""
    found = []
    for number in range(STATEMENTS):
        text = Generator(f"{SEED}{number}").statement()
        one, two = pair.run(text)
        if not one.error and not two.error:
            found.append(Run(text, one, two))
    return found


def is_unsound(world: World, run: Run) -> bool:
    """Whether something differs that the analysis calls clean."""
    taint = world.taint(run.text)
    if taint.is_top or taint.outputs is None or taint.controls or taint.equalities:
        return False
    if not run.one.names:
        return run.one.rows != run.two.rows             # how many rows were changed
    clean = [number for number, output in enumerate(taint.outputs) if not output.sources]
    is_ordered = "string_agg" not in run.text           # the order of rows is nobody's promise, and it goes into the text
    return run.one.columns(clean, is_ordered=is_ordered) != run.two.columns(clean, is_ordered=is_ordered)


def test_what_is_called_clean_is_equal(known: Catalogue, runs: list[Run]) -> None:
    """Outputs without sources in a statement without controls do not depend on labelled columns."""
    world = World(known)
    assert [run.text for run in runs if is_unsound(world, run)] == []


def test_the_random_statements_are_worth_running(known: Catalogue, runs: list[Run]) -> None:
    """Most are valid and understood; many are clean, many are not, and many that are not do differ."""
    world = World(known)
    assert len(runs) > STATEMENTS * 0.9
    taints = [(run, world.taint(run.text)) for run in runs]
    assert not [run.text for run, taint in taints if taint.is_top]
    clean = [run for run, taint in taints if taint.is_clean]
    partly = [run for run, taint in taints if taint.outputs and not taint.controls and not taint.equalities
              and taint.data and not all(output.sources for output in taint.outputs)]
    differ = [run for run in runs if run.one.rows != run.two.rows]
    assert len(clean) > STATEMENTS * 0.2
    assert len(partly) > STATEMENTS * 0.02
    assert len(differ) > STATEMENTS * 0.05


def test_a_failure_on_one_side_only_is_foreseen(known: Catalogue, pair: Pair) -> None:
    """Where labelled values decide whether an expression fails, they are among those that are computed with."""
    world = World(known)
    here, there = (set(result.rows) for result in pair.run("SELECT n FROM t"))
    (number,) = min(here - there)
    text = f"WITH c AS MATERIALIZED (SELECT id, 1 / (n - {number}) AS z FROM t) SELECT id FROM c"
    one, two = pair.run(text)
    assert {one.error, two.error} == {"22012", ""}
    taint = world.taint(text)
    assert taint.is_clean
    assert world.sources(taint.computed) == "t.n"


def test_direct_outputs_hold_the_columns_values(known: Catalogue, pair: Pair, runs: list[Run]) -> None:
    """What an output is said to be the value of does hold it, or NULL where a join found nothing."""
    world = World(known)
    held: dict[tuple[int, int], set[str | None]] = {}
    for oid, number in world.labelled:
        relation = known.by_oid[oid]
        for column in relation.columns:
            if column.number == number:
                one, _ = pair.run(f'SELECT "{column.name}" FROM "{relation.schema}"."{relation.name}"')
                held[oid, number] = {row[0] for row in one.rows} | {None}
    count = 0
    for run in runs:
        for number, output in enumerate(world.taint(run.text).outputs or ()):
            if output.direct is not None:
                count += 1
                assert {row[number] for row in run.one.rows} <= held[output.direct], run.text
    assert count > STATEMENTS * 0.02


def test_names_are_those_of_the_server(known: Catalogue, runs: list[Run]) -> None:
    """Each output has the name that the server gives it."""
    world = World(known)
    for run in runs:
        outputs = world.taint(run.text).outputs
        assert outputs is None or tuple(output.name for output in outputs) == run.one.names, run.text


def test_the_table_holds_on_a_server(known: Catalogue, pair: Pair) -> None:
    """The table's statements are valid, their columns have the names it says, and the clean ones are equal."""
    world = World(known)
    for text, _ in (case for cases in CASES.values() for case in cases):
        if NO_QUERIES.match(text):
            continue
        one, two = pair.run(re.sub(r"\$\d", "NULL", text))
        taint = world.taint(text)
        if one.error:
            assert taint.is_top or text.startswith(REFUSED.get(one.error, ())), (text, one.error)
            continue
        if taint.outputs is not None and one.names:
            assert tuple(output.name for output in taint.outputs) == one.names, text
        if not SURROUNDINGS.search(text) and not two.error:
            assert not is_unsound(world, Run(text, one, two)), text


def test_the_snapshot_is_the_catalogue(known: Catalogue) -> None:
    """The catalogue without a server says the same of every statement of the table as the server's own."""
    here, there = World(catalogue()), World(known)
    for text, _ in (case for cases in CASES.values() for case in cases):
        assert here.words(text) == there.words(text)


@pytest.mark.parametrize("fault", [
    "view", "sublink", "where", "window", "case", "set operation", "join qual", "group", "distinct",
])
def test_a_seeded_mistake_is_caught_by_the_databases(fault: str, known: Catalogue, runs: list[Run],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis that is blind in one way calls something clean that differs."""
    FAULTS[fault](monkeypatch)
    known.derived.clear()
    try:
        world = World(known)
        assert any(is_unsound(world, run) for run in runs)
    finally:
        known.derived.clear()
