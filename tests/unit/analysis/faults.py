"""Faults to seed into the analysis: a walker that does not see one kind of place. Who checks the analysis must notice.

Two checks use them: the reads of `test_seeded_faults`, statement by statement, and the noninterference harness, which
knows nothing of the analysis. A fault is a function that patches one in; `FAULTS` names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lockgate.analysis.sql import covers as covers_module
from lockgate.analysis.sql import labels as labels_module
from lockgate.analysis.sql import reading as reading_module
from lockgate.analysis.sql.reading import Reader
from lockgate.analysis.sql.routines import verdicts as verdicts_module

Fault = Callable[[pytest.MonkeyPatch], None]


def _view_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(labels_module._Closure, "_view", lambda self, view: False)


def _without(patch: pytest.MonkeyPatch, node: str, *keys: str) -> None:
    """The walker goes past these parts of a node."""
    original = reading_module._HANDLERS.get(node)

    def handle(self: Reader, body: Any, scope: Any, target: int, stack: Any) -> None:
        rest = {key: child for key, child in body.items() if key not in keys}
        if original is not None:
            original(self, rest, scope, target, stack)
        else:
            stack.append((rest, scope, target))
    patch.setitem(reading_module._HANDLERS, node, handle)


def _skipping(*nodes: str) -> Fault:
    def seed(patch: pytest.MonkeyPatch) -> None:
        for node in nodes:
            patch.setitem(reading_module._HANDLERS, node, lambda *_: None)
    return seed


def _window_blind(patch: pytest.MonkeyPatch) -> None:
    _without(patch, "FuncCall", "over")
    _without(patch, "SelectStmt", "windowClause")


def _scope_blind(patch: pytest.MonkeyPatch) -> None:
    def everywhere(self: Reader, clause: Any, scope: frozenset[str], target: int, stack: Any) -> frozenset[str]:
        return original(self, {**clause, "recursive": True}, scope, target, stack)
    original = Reader._with
    patch.setattr(Reader, "_with", everywhere)


def _letter_case_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(covers_module, "fnmatchcase", lambda name, glob: fnmatchcase(name, glob.lower()))


def _function_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdicts_module, "calls_of", lambda *_: iter(()))


FAULTS: dict[str, Fault] = {
    "view": _view_blind,
    "sublink": _skipping("SubLink"),
    "where": lambda patch: _without(patch, "SelectStmt", "whereClause"),
    "window": _window_blind,
    "case": _skipping("CaseExpr"),
    "set operation": lambda patch: _without(patch, "SelectStmt", "rarg"),
    "join qual": lambda patch: _without(patch, "JoinExpr", "quals"),
    "join": _skipping("JoinExpr"),
    "scope": _scope_blind,
    "letter case": _letter_case_blind,
    "function": _function_blind,
    "sample": _skipping("RangeTableSample"),
}
"""The first seven are those of the masking design, "The oracle"."""
