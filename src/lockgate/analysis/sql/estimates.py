"""What the planner expects of a statement: which statements it can be asked about, and what it answers.

Apart from `effects`, which reads what a statement does: how many rows that concerns only the database can
guess. An estimate is one: it decides whether somebody should look, never that nothing more will happen.
Source: PostgreSQL 18 manual, "EXPLAIN" and "Using EXPLAIN".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lockgate.analysis.sql.reading import Reading
    from lockgate.analysis.sql.statement import Statement

ESTIMATES: Final = ("estimated_rows", "estimated_cost")
"""Facts that the planner has to be asked for, unless it is sure that no rows are concerned."""
QUESTION: Final = "EXPLAIN (FORMAT JSON) "
"""Goes in front of the statement; the answer is one row with one text."""

_OF_ROWS: Final = frozenset({
    "select", "insert", "update", "delete", "merge", "truncate", "copy", "execute", "call", "do", "refresh",
})
_EXPLAINED: Final = frozenset({"DeclareCursorStmt", "CreateTableAsStmt", "ExecuteStmt"})
_DEEPEST: Final = 200


@dataclass(frozen=True, slots=True)
class Estimate:
    """Rows that are returned or changed, whichever is more, and the planner's cost of all of it."""

    rows: int
    cost: float


def concerns_no_rows(verbs: set[str] | frozenset[str], reading: Reading) -> bool:
    """Whether a statement of known effect neither returns rows of relations nor changes any. FETCH counts as
    such: its cursor was estimated when it was declared. So does PREPARE: its EXECUTE will be."""
    return verbs.isdisjoint(_OF_ROWS) or [name for name, _ in reading.utilities] == ["PrepareStmt"]


def is_explainable(statement: Statement) -> bool:
    """Whether the planner can be asked about it, and nothing of it runs by that. What a routine does is no part of a
    plan."""
    reading = statement.whole.reading
    if statement.count != 1 or statement.is_opaque or statement.runs_code or reading is None or "estimated_rows" in statement.facts:
        return False
    names = [name for name, _ in reading.utilities]
    return not names or (len(names) == 1 and names[0] in _EXPLAINED)


def read_estimate(answer: str) -> Estimate | None:
    """The estimate in the planner's JSON; None where it is not what the manual describes."""
    try:
        found = json.loads(answer)
        plan = found[0]["Plan"]
        changed = _changed(plan, 0)
        return Estimate(max(_number(plan["Plan Rows"]), changed), float(plan["Total Cost"]))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _changed(plan: dict[str, Any], depth: int) -> int:
    """Rows that every ModifyTable below gets to change: what its input is expected to give."""
    if depth > _DEEPEST:
        raise ValueError("a plan is nested too deeply")
    parts = plan.get("Plans", [])
    below = sum(_changed(part, depth + 1) for part in parts)
    if plan.get("Node Type") != "ModifyTable":
        return below
    return below + sum(_number(part["Plan Rows"]) for part in parts if part.get("Parent Relationship") == "Outer")


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number was expected")
    return int(value)
