"""Noninterference in every run: the lists, a recording of sqlsmith, and the grammar by a fixed seed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import psycopg
import pytest

from testbed.noninterference.databases import Databases
from testbed.noninterference.direct import MOST_ROWS, direct_harness
from testbed.noninterference.grammar import Grammar
from testbed.noninterference.harness import Report
from testbed.noninterference.outcome import Kind
from testbed.noninterference.statements import Statement, alternating, recording
from testbed.noninterference.statements import shapes as leak_shapes

DATA = Path(__file__).parents[1] / "data"
WRITTEN = DATA / "noninterference-written.sql"
SPLIT = DATA / "noninterference-split.sql"
SMITH = DATA / "noninterference-sqlsmith.sql"
SEED = 20_260


def compare(databases: Databases, statements: Iterable[Statement], capsys: pytest.CaptureFixture[str]) -> Report:
    harness = direct_harness(databases, timeout=5_000)
    try:
        report = harness.compare_all(statements)
    finally:
        harness.close()
    with capsys.disabled():
        print(f"\n{databases.model.name}: {report}")
    return report


def test_no_leak_shape_tells_the_sides_apart(shapes: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """Every leak shape gives the same for other values, in text and in binary."""
    statements = leak_shapes()
    report = compare(shapes, [*statements, *(one.binary() for one in statements if one.is_single)], capsys)
    assert report.differences == []
    assert report.compared[Kind.ROWS] > 0.5 * len(statements)


def test_no_written_statement_tells_the_sides_apart(crm: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """Statements with a labelled column in every place of the grammar."""
    report = compare(crm, alternating(recording(WRITTEN)), capsys)
    assert report.differences == []
    assert report.compared[Kind.ROWS] > 60


def test_where_rows_lie_does_not_tell_the_sides_apart(split: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is split by a labelled column can be read and changed, but not piece by piece."""
    report = compare(split, recording(SPLIT), capsys)
    assert report.differences == []
    assert report.total >= 8


def test_a_long_result_is_cut_alike(crm: Databases) -> None:
    """Its first rows are compared; how far the server gets until it is stopped is chance."""
    session = direct_harness(crm).sides["one"]
    for count in (MOST_ROWS + 1, 10 * MOST_ROWS):
        outcome = session.observe(Statement(f"select g from generate_series(1, {count}) g; select 1"))
        assert (outcome.is_cut, outcome.state, outcome.tags) == (True, "", [])
        assert len(outcome.messages) == 1 + MOST_ROWS
    session.close()


def test_no_statement_of_sqlsmith_tells_the_sides_apart(crm: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording, so that it needs no sqlsmith; `make fuzz` makes new ones."""
    report = compare(crm, alternating(recording(SMITH)), capsys)
    assert report.differences == []
    assert report.compared[Kind.ROWS] > 100


def test_no_statement_of_the_grammar_tells_the_sides_apart(crm: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """The same statements in every run; most of them are let through and have rows or change something."""
    with psycopg.connect(crm.dsn("one")) as connection:
        grammar = Grammar(connection, SEED, crm.model.closed)
    report = compare(crm, islice(grammar, 500), capsys)
    assert report.differences == []
    assert report.compared[Kind.ROWS] + report.compared[Kind.CHANGE] > 200
    assert report.refused.total() < 100
