"""Noninterference through the real gateway: everything that a client receives, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import psycopg
import pytest

from testbed.noninterference.comparison import Verdict
from testbed.noninterference.databases import Databases
from testbed.noninterference.grammar import Grammar
from testbed.noninterference.harness import Harness
from testbed.noninterference.outcome import Kind
from testbed.noninterference.statements import Statement, alternating, recording
from testbed.noninterference.through import gateway_harness
from tests.noninterference.test_statements import WRITTEN

SEED = 5


@pytest.fixture(scope="module")
def harnesses(models: dict[str, Databases], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Harness, Harness]]:
    with gateway_harness(models["crm"], tmp_path_factory.mktemp("front")) as found:
        yield found


def test_nothing_that_a_client_receives_tells_the_sides_apart(harnesses: tuple[Harness, Harness], crm: Databases,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    """The written statements and some of the grammar: rows, tags, errors, notices, all messages as they came."""
    masked, _ = harnesses
    with psycopg.connect(crm.dsn("one")) as connection:
        grammar = Grammar(connection, SEED, crm.model.closed)
    masked.compare_all(alternating(recording(WRITTEN)))
    report = masked.compare_all(islice(grammar, 40))
    masked.close()
    with capsys.disabled():
        print(f"\nthrough the gateway: {report}")
    assert report.differences == []
    assert report.compared[Kind.ROWS] > 80


@pytest.mark.parametrize("statement", [
    Statement("select ssn from people"), Statement("select ssn from people", is_binary=True),
    Statement("select count(*) from v_rich"), Statement("select 1 / (score - 1) from people"),
    Statement("copy people to stdout"), Statement("select name from people where ssn = $1", parameters=("219-09-9999",)),
    Statement("delete from people where salary > 1000"), Statement("update items set price = (select max(score) from people)"),
], ids=str)
def test_the_comparison_can_fail(harnesses: tuple[Harness, Harness], statement: Statement) -> None:
    """Without masks the same comparison tells the sides apart, by rows, counts, errors and what was stored."""
    _, bare = harnesses
    assert bare.compare(statement) is Verdict.DIFFERENT
    bare.close()
