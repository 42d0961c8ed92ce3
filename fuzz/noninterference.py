"""`make fuzz ARGS="noninterference --statements=10000"`: random statements on two databases, none may tell them apart.

Apart from the other targets, which end in errors of a reader's own: this one runs real servers. Statements come
from the grammar of the testbed and, where it is installed, from Debian's sqlsmith. A statement that tells the
databases apart is printed with its source and its number, so that it becomes a test.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from testbed.noninterference import smith
from testbed.noninterference.comparison import Verdict
from testbed.noninterference.databases import Databases, compared
from testbed.noninterference.direct import direct_harness
from testbed.noninterference.grammar import Grammar
from testbed.noninterference.harness import Harness, Report
from testbed.noninterference.models import CRM
from testbed.noninterference.outcome import Kind
from testbed.noninterference.smith import Smith
from testbed.noninterference.statements import Statement, alternating, written

_BATCH = 400
_SHOWN, _WIDTH = 5, 200
_LONGEST_RECORDED = 1_500
_RECORDED = {Kind.ROWS: 140, Kind.EMPTY: 30, Kind.ERROR: 30, Kind.CHANGE: 30}
"""How many of each kind a recording holds: short ones of which most say something."""


def _grammar(databases: Databases, seed: int) -> Iterator[Statement]:
    with psycopg.connect(databases.dsn("one")) as connection:
        grammar = Grammar(connection, seed, databases.model.closed)
    return iter(grammar)


def _smith(databases: Databases, seed: int) -> Iterator[Statement]:
    made = Smith(databases)
    dice = random.Random(seed)
    while True:
        yield from alternating(made.statements(dice.randrange(1, 1 << 31), _BATCH))


def run(seconds: float, statements: int | None, seed: int) -> int:
    """Compares until the time is over, or until so many statements have been compared. Returns the exit code."""
    with compared(CRM) as (databases,):
        sources = {"grammar": _grammar(databases, seed)}
        if smith.is_installed():
            sources["sqlsmith"] = _smith(databases, seed)
        reports = {name: Report() for name in sources}
        harness = direct_harness(databases)
        end = time.monotonic() + seconds
        while (time.monotonic() < end if statements is None else
               sum(report.total for report in reports.values()) < statements):
            for name, source in sources.items():
                harness.report = reports[name]
                # the grammar's statements are smaller and say more: two of them for one of sqlsmith's
                for _ in range(2 if name == "grammar" else 1):
                    harness.compare(next(source))
        harness.close()
    for name, report in reports.items():
        print(f"noninterference, {name}, seed {seed}: {report}", flush=True)
        _show(report)
    return int(any(report.differences for report in reports.values()))


def _show(report: Report) -> None:
    for found in report.differences:
        print(f"  DIFFERS ({found.statement.name}): {found.reason}\n    {found.statement.sql}")
    for found in report.unsettled[:_SHOWN]:
        print(f"  differs from itself ({found.statement.name}): {found.statement.sql[:_WIDTH]}")


def record(path: Path, seed: int) -> None:
    """Writes a recording of sqlsmith, short statements of which most say something."""
    with compared(CRM) as (databases,):
        harness = direct_harness(databases)
        kept = list(_chosen(harness, _smith(databases, seed)))
        harness.close()
    path.write_text(written(kept, (
        "Statements of sqlsmith 1.4 over the schema of testbed/noninterference/crm.sql, steered and settled by",
        f"testbed/noninterference/smith.py. Made by `make fuzz ARGS=\"noninterference --record={path} --seed={seed}\"`.",
    )), encoding="utf-8")


def _chosen(harness: Harness, source: Iterator[Statement]) -> Iterator[Statement]:
    missing = dict(_RECORDED)
    while any(missing.values()):
        statement = next(source)
        if len(statement.sql) > _LONGEST_RECORDED:
            continue
        before = harness.report.compared.copy()
        started = time.monotonic()
        if harness.compare(statement) is not Verdict.EQUAL or time.monotonic() - started > 0.1:
            continue
        for kind in harness.report.compared - before:
            if missing[kind] > 0:
                missing[kind] -= 1
                yield statement
