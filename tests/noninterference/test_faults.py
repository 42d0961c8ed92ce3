"""The harness sees the faults that it is there for: each is seeded into the analysis and must show as a difference."""

from __future__ import annotations

import psycopg
import pytest

from lockgate.analysis.sql import Masked
from testbed.noninterference.comparison import Verdict
from testbed.noninterference.databases import Databases, snapshot
from testbed.noninterference.direct import Direct, direct_harness
from testbed.noninterference.harness import Difference
from testbed.noninterference.statements import Statement, recording, shapes
from tests.noninterference.test_statements import SPLIT, WRITTEN
from tests.unit.analysis.faults import FAULTS

STATEMENTS = {"crm": recording(WRITTEN), "shapes": shapes(), "split": recording(SPLIT)}


def plans(databases: Databases) -> dict[Statement, str | None]:
    """What every statement becomes, with nothing kept of earlier analyses."""
    model = databases.model
    with psycopg.connect(databases.dsn("one"), autocommit=True) as connection:
        databases.catalogue = snapshot(connection)      # it holds what was derived from it
    session = Direct(databases.dsn("one"), model.masks, databases.catalogue, model.path)
    try:
        planned = {statement: session.plan(statement.sql) for statement in STATEMENTS[model.name]}
    finally:
        session.close()
    return {statement: plan.text if isinstance(plan, Masked) else None for statement, plan in planned.items()}


@pytest.fixture(scope="module")
def sound(models: dict[str, Databases]) -> dict[str, dict[Statement, str | None]]:
    """The plans of the analysis as it is."""
    return {name: plans(databases) for name, databases in models.items()}


def first_difference(databases: Databases, sound: dict[Statement, str | None]) -> Difference | None:
    """The first of the statements with another plan than usual that tells the sides apart."""
    harness = direct_harness(databases)
    try:
        for statement, text in plans(databases).items():
            if text != sound[statement] and harness.compare(statement) is Verdict.DIFFERENT:
                return harness.report.differences[0]
    finally:
        harness.close()
    return None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_caught(fault: str, models: dict[str, Databases],
                                  sound: dict[str, dict[Statement, str | None]],
                                  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An analysis that is blind in one way lets a statement through that tells the sides apart."""
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        found = next(filter(None, (first_difference(databases, sound[name]) for name, databases in models.items())), None)
    for databases in models.values():
        plans(databases)                        # nothing derived under the fault stays
    assert found is not None
    with capsys.disabled():
        print(f"\n{fault}: {found.statement.sql!r}: {found.reason}")
