"""Seeded mistakes: analyses that are blind in one way each, to be noticed by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lockgate.analysis.sql.taint import expressions, ranges
from lockgate.analysis.sql.taint.expressions import Expressions
from lockgate.analysis.sql.taint.queries import Queries
from lockgate.analysis.sql.taint.ranges import Ranges
from lockgate.analysis.sql.taint.relations import Found, Relations
from lockgate.analysis.sql.taint.result import NOTHING
from lockgate.analysis.sql.taint.rows import Row

Patch = pytest.MonkeyPatch


def _view(patch: Patch) -> None:
    """A view is a table of its own, with no labels."""
    patch.setattr(Relations, "_view", lambda self, view, schemas: Found(
        Row([(column.name, NOTHING, None) for column in view.columns]), schemas, (view,)))


def _sublink(patch: Patch) -> None:
    """Sub-selects in expressions are passed by."""
    patch.setattr(Expressions, "sublink", lambda self, node, scope: (NOTHING, None))


def _condition(where: str) -> Callable[[Patch], None]:
    def blind(patch: Patch) -> None:
        original = Expressions.condition
        patch.setattr(Expressions, "condition", lambda self, clause, node, scope: (
            None if clause == where else original(self, clause, node, scope)))
    return blind


def _window(patch: Patch) -> None:
    patch.setattr(Expressions, "window", lambda self, node, scope: NOTHING)


def _case(patch: Patch) -> None:
    patch.setitem(expressions._ACTIONS, "CaseExpr", Expressions._skip)


def _set_operation(patch: Patch) -> None:
    """The right arm of a set operation is not looked at."""
    patch.setattr(Queries, "_combined", lambda self, select, left, right: left)


def _membership(patch: Patch) -> None:
    """That set operations compare rows is overlooked."""
    _control("setop")(patch)


def _control(where: str) -> Callable[[Patch], None]:
    def blind(patch: Patch) -> None:
        original = Expressions.control
        patch.setattr(Expressions, "control", lambda self, clause, *rest: (
            None if clause == where else original(self, clause, *rest)))
    return blind


def _join(patch: Patch) -> None:
    """What joins compare is overlooked, ON as well as USING."""
    _condition("join")(patch)
    _control("using")(patch)


def _lateral(patch: Patch) -> None:
    """A lateral sub-select is taken for one that sees nothing, so that its names resolve further out."""
    patch.setitem(ranges._HANDLERS, "RangeSubselect", lambda self, node, scope: Ranges._subselect(
        self, {key: child for key, child in node.items() if key != "lateral"}, scope))


def _rows(patch: Patch) -> None:
    """How many rows a function returns is taken for constant."""
    patch.setattr(Relations, "may_return_set", lambda self, name: False)


def _fixpoint(patch: Patch) -> None:
    """A recursive query is gone through once."""
    patch.setattr(Queries, "_fixpoint", lambda self, cte, select, names, reach: self.query(
        select["larg"], cte.parent, reach))


def _whole_row(patch: Patch) -> None:
    """A relation's name as a value is taken for one without sources."""
    original: Any = Expressions._unqualified
    patch.setattr(Expressions, "_unqualified", lambda self, name, scope: (
        original(self, name, scope) if self._lookup(name, scope) is not None else (NOTHING, None)))


FAULTS: dict[str, Callable[[Patch], None]] = {
    "view": _view, "sublink": _sublink, "where": _condition("where"), "window": _window, "case": _case,
    "set operation": _set_operation, "join qual": _join,
    # beyond the design's seven
    "membership": _membership, "group": _control("group"), "order": _control("order"), "distinct": _control("distinct"),
    "rows": _rows, "fixpoint": _fixpoint, "whole row": _whole_row, "lateral": _lateral,
}
