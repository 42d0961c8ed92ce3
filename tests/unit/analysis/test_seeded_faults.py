"""The checks of this folder see the faults that they are there for: each is seeded and must be noticed."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Masked
from lockgate.model import ColumnMask, MaskMethod, Predicates
from tests.unit.analysis.database import plan, standard
from tests.unit.analysis.faults import FAULTS

READS = {
    "view": ["SELECT s FROM v", "TABLE v"],
    "sublink": ["SELECT (SELECT ssn FROM t)", "SELECT 1 WHERE 'x' IN (SELECT ssn FROM t)", "SELECT ARRAY(SELECT ssn FROM t)"],
    "scope": ["WITH t AS (SELECT ssn FROM t) SELECT * FROM t", "SELECT ssn FROM t WHERE id IN (WITH t AS (SELECT 1) TABLE t)",
              "(WITH t AS (SELECT '') TABLE t) UNION ALL SELECT ssn FROM t"],
    "letter case": ['SELECT "SSN" FROM "Mixed"'],
    "where": ["SELECT note FROM u WHERE EXISTS (SELECT FROM t)", "SELECT 1 WHERE 'x' < ALL (SELECT ssn FROM t)"],
    "case": ["SELECT CASE WHEN true THEN (SELECT max(ssn) FROM t) END", "SELECT CASE (TABLE t LIMIT 1) WHEN NULL THEN 1 END"],
    "join qual": ["SELECT u.note FROM u JOIN u w ON u.note = (SELECT max(ssn) FROM t)",
                  "SELECT u.note FROM u LEFT JOIN u w ON EXISTS (SELECT FROM t WHERE t.ssn = u.note)"],
    "set operation": ["SELECT note FROM u UNION ALL SELECT ssn FROM t", "SELECT ssn FROM t EXCEPT SELECT note FROM u"],
    "join": ["SELECT ssn FROM u JOIN t ON true", "SELECT ssn FROM u LEFT JOIN (u u2 CROSS JOIN t) ON true"],
    "function": ["SELECT secret()"],
    "sample": ["SELECT ssn FROM t TABLESAMPLE SYSTEM (100)"],
    "window": ["SELECT sum(1) OVER (ORDER BY (SELECT max(ssn) FROM t)) FROM u",
               "SELECT sum(1) OVER w FROM u WINDOW w AS (PARTITION BY (SELECT max(ssn) FROM t))"],
}
MASKS = (ColumnMask(("*.ssn", "*.SSN"), MaskMethod.REDACT, Predicates.MASKED),)


def missed() -> set[str]:
    """The kinds of reads that go on without a mask."""
    database = standard()
    database.relation("Mixed", "id SSN")
    database.function("secret", pure=False)
    found = set()
    for kind, texts in READS.items():
        for text in texts:
            planned = plan(text, database, MASKS)
            if isinstance(planned, Masked) and "'xxxx'" not in planned.text:
                found.add(kind)
    return found


def test_nothing_is_missed() -> None:
    """Every kind of read is masked or refused."""
    assert missed() == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walker that is blind in one way is noticed by the reads of that kind."""
    FAULTS[fault](monkeypatch)
    assert fault in missed()
