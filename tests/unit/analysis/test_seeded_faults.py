"""The checks of this folder see the faults that they are there for: each is seeded and must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lockgate.analysis.sql import Masked
from lockgate.analysis.sql import covers as covers_module
from lockgate.analysis.sql import labels as labels_module
from lockgate.analysis.sql import reading as reading_module
from lockgate.analysis.sql.reading import Reader
from lockgate.analysis.sql.routines import verdicts as verdicts_module
from lockgate.model import ColumnMask, MaskMethod
from tests.unit.analysis.database import plan, standard

READS = {
    "view": ["SELECT s FROM v", "TABLE v"],
    "sublink": ["SELECT (SELECT ssn FROM t)", "SELECT 1 WHERE 'x' IN (SELECT ssn FROM t)", "SELECT ARRAY(SELECT ssn FROM t)"],
    "scope": ["WITH t AS (SELECT ssn FROM t) SELECT * FROM t", "SELECT ssn FROM t WHERE id IN (WITH t AS (SELECT 1) TABLE t)",
              "(WITH t AS (SELECT '') TABLE t) UNION ALL SELECT ssn FROM t"],
    "case": ['SELECT "SSN" FROM "Mixed"'],
    "set": ["SELECT note FROM u UNION ALL SELECT ssn FROM t", "SELECT ssn FROM t EXCEPT SELECT note FROM u"],
    "join": ["SELECT ssn FROM u JOIN t ON true", "SELECT ssn FROM u LEFT JOIN (u u2 CROSS JOIN t) ON true"],
    "function": ["SELECT secret()"],
    "sample": ["SELECT ssn FROM t TABLESAMPLE SYSTEM (100)"],
    "window": ["SELECT sum(1) OVER (ORDER BY (SELECT max(ssn) FROM t)) FROM u"],
}
MASKS = (ColumnMask(("*.ssn", "*.SSN"), MaskMethod.REDACT),)


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


def _view_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(labels_module._Closure, "_view", lambda self, view: False)


def _sublink_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reading_module._HANDLERS, "SubLink", lambda *_: None)


def _scope_blind(patch: pytest.MonkeyPatch) -> None:
    def everywhere(self: Reader, clause: Any, scope: frozenset[str], target: int, stack: Any) -> frozenset[str]:
        return original(self, {**clause, "recursive": True}, scope, target, stack)
    original = Reader._with
    patch.setattr(Reader, "_with", everywhere)


def _case_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(covers_module, "fnmatchcase", lambda name, glob: fnmatchcase(name, glob.lower()))


def _set_blind(patch: pytest.MonkeyPatch) -> None:
    original = Reader._select
    patch.setitem(reading_module._HANDLERS, "SelectStmt", lambda self, node, *rest: original(
        self, {key: child for key, child in node.items() if key != "rarg"}, *rest))


def _join_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reading_module._HANDLERS, "JoinExpr", lambda *_: None)


def _function_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdicts_module, "calls_of", lambda *_: iter(()))


def _sample_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(reading_module._HANDLERS, "RangeTableSample", lambda *_: None)


def _window_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading_module, "_LEAVES", reading_module._LEAVES | {"over"})
    original = Reader._function
    patch.setitem(reading_module._HANDLERS, "FuncCall", lambda self, node, *rest: original(
        self, {key: child for key, child in node.items() if key != "over"}, *rest))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "view": _view_blind, "sublink": _sublink_blind, "scope": _scope_blind, "case": _case_blind, "set": _set_blind,
    "join": _join_blind, "function": _function_blind, "sample": _sample_blind, "window": _window_blind,
}


def test_nothing_is_missed() -> None:
    """Every kind of read is masked or refused."""
    assert missed() == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walker that is blind in one way is noticed by the reads of that kind."""
    FAULTS[fault](monkeypatch)
    assert fault in missed()
