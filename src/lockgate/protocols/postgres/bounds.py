"""What one message may still deliver and change under the row limits of its decision.

Apart from `bounded`, which handles the replies: here is decided, before anything is sent, what is counted,
what cannot be, and how an excess will be undone. An excess is an error, and an error undoes: so whatever
may come after the statement waits until its rows are through, and

- a simple Query outside of a block that has an effect is sent inside a transaction of the gateway's own;
- the Sync of an extended message waits too, unless nothing before it would become final with it;
- in a transaction block the block is made to fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockgate.analysis.sql import Statement
from lockgate.errors import RemoteProtocolError
from lockgate.govern.pipeline import Grant
from lockgate.kernel.frames import split_frames
from lockgate.model import Decision, Operation, Refusal, RefusalCode, RowLimits
from lockgate.protocols.postgres.operations import Problem, Seen
from lockgate.protocols.postgres.quota import OVER_LIMIT, CopyRows, Gauge, Quota, TaskQuota, detail_of

PURE: Final = frozenset({
    "select", "show", "explain", "fetch", "close", "declare", "prepare", "deallocate", "begin", "commit", "rollback",
    "savepoint", "empty", "copy",
})
"""Verbs that have nothing to undo. (COPY … FROM has the verb insert too.)"""
BEGIN: Final = "BEGIN;"
"""Stands in front of what is wrapped, in the same Query: if it fails, nothing behind it runs."""
_CHANGES: Final = frozenset({"insert", "update", "delete", "merge"})
_CONTEXTS: Final = {"insert": "InsertStmt", "update": "UpdateStmt", "delete": "DeleteStmt", "merge": "MergeStmt"}
_TAGS: Final = frozenset({b"INSERT", b"UPDATE", b"DELETE", b"MERGE"})
_UNCOUNTED: Final = frozenset({"ExplainStmt", "RuleStmt", "CreateTableAsStmt"})
"""Around a statement that changes rows, these have a tag of their own."""
_HOLD: Final = 0x20
"""CURSOR_OPT_HOLD of parsenodes.h."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The gauges of a cursor that SQL declared. A held one outlives its transaction."""

    gauges: tuple[Gauge, ...]
    is_held: bool


class Bound:
    """The limits of one message that is on its way. Mutable: lowered as rows pass."""

    __slots__ = ("changed", "completed", "copied", "gauges", "has_begun", "has_sync", "is_creating", "is_described", "is_each",
                 "is_over", "is_wrapped", "kept", "limits", "problem", "rule_of", "waits")

    def __init__(self, limits: RowLimits, rules: dict[str, str], gauges: list[Gauge]) -> None:
        self.limits = limits
        self.rule_of = rules
        self.gauges = gauges
        self.changed: int | None = None         # rows that a statement may change
        self.is_creating = False                # its SELECT tag counts rows that a new table got
        self.is_each = False                    # the first gauge is of one statement of the string
        self.waits = False                      # what follows waits for it, so that it can be undone
        self.is_wrapped = False                 # in a transaction of the gateway's own …
        self.has_begun = False                  # … which has begun
        self.has_sync = False                   # its Sync went on ahead
        self.copied: CopyRows | None = None     # of the COPY … TO STDOUT that is running
        self.completed = 0                      # statements of the string
        self.is_described = False               # the running one returns rows
        self.kept = b""                         # the last CommandComplete, until the transaction is committed
        self.problem: Problem | None = None     # what the client reads, once it is over a limit
        self.is_over = False                    # … and has read

    @property
    def left(self) -> int:
        """Rows that may still pass."""
        return min((gauge.left for gauge in self.gauges), default=1 << 62)

    def take(self, rows: int) -> None:
        """So many rows pass."""
        for gauge in self.gauges:
            gauge.take(rows)

    def passing(self, buffer: bytes, kind: int, start: int, end: int, count: int) -> tuple[int, int]:
        """Of `count` frames of rows or COPY data: how many rows pass, and where the last of them ends."""
        if self.problem is not None:
            return 0, start
        if self.copied is None and count <= self.left:
            self.take(count)
            return count, end
        rows, last = 0, start
        frames, rest = split_frames(buffer[start:end], 0, 0x7FFFFFFF)
        if rest != end - start:
            raise RemoteProtocolError("rows do not add up")
        for _, first, stop in frames:
            size = 1 if self.copied is None else self.copied.rows_in(buffer[start + first + 5:start + stop])
            if size > self.left:
                self.refuse_row()
                break
            self.take(size)
            rows += size
            last = start + stop
        return rows, last

    def refuse_row(self) -> None:
        """The next row is one too many."""
        self.problem = self.problem or min(self.gauges, key=lambda gauge: gauge.left).problem

    def next_statement(self) -> None:
        """Another statement of the string: it counts by itself."""
        self.completed += 1
        self.is_described = False
        self.copied = None
        if self.is_each and self.limits.rows is not None:
            self.gauges[0] = Quota(self.limits.rows, self.rule_of.get("rows"))

    def verify_change(self, tag: bytes) -> None:
        """A statement is complete: it may not have changed more rows than the limit says."""
        if self.changed is None or self.problem is not None:
            return
        word, _, rest = tag.partition(b" ")
        is_counted = word in _TAGS or (word == b"COPY" and self.copied is None) or (
            word == b"SELECT" and self.is_creating and not self.is_described)
        number = rest.rpartition(b" ")[2]
        if is_counted and not (number.isdigit() and len(number) < 20 and int(number) <= self.changed):
            self.problem = Problem(
                OVER_LIMIT, f"this changed {number.decode('ascii', 'replace')[:20]} rows, more than one statement may "
                f"change here ({self.changed})", detail_of(self.rule_of.get("changed")),
                "The change was taken back. Narrow it with WHERE, or ask those who own the policy.",
            )

    def refuse_part(self) -> None:
        """The client took a part of what a changing statement returns: how much it changed is not known yet."""
        if self.changed is not None and self.problem is None:
            self.problem = Problem(
                "0A000", "what a statement changed cannot be counted while rows of it are left to fetch",
                detail_of(self.rule_of.get("changed")), "The change was taken back. Execute it without a row limit.",
            )


def bound_of(grant: Grant, statement: Statement, portal_quota: Quota | None, cursors: list[Cursor]) -> Bound | None:
    """The limits of a message; None where it has none. `cursors` are those that it fetches from."""
    decision, operation = grant.decision, grant.operation
    limits = decision.limits
    if not limits and not cursors and portal_quota is None:
        return None
    rules = dict(decision.limit_rules)
    gauges: list[Gauge] = []
    if portal_quota is not None:
        gauges.append(portal_quota)
    elif limits.rows is not None:
        gauges.append(Quota(limits.rows, rules.get("rows")))
    if grant.task is not None and limits.task_rows is not None:
        gauges.append(TaskQuota(grant.task, limits.task_rows, rules.get("task_rows")))
    known = {gauge.task for gauge in gauges if isinstance(gauge, TaskQuota)}
    gauges += [gauge for cursor in cursors for gauge in cursor.gauges
               if not (isinstance(gauge, TaskQuota) and gauge.task in known)]      # a row is one row of the task
    bound = Bound(limits, rules, gauges)
    bound.is_each = portal_quota is None and limits.rows is not None and not cursors
    if changes_rows(operation, statement):
        bound.changed = limits.changed
        bound.is_creating = bool(statement.created)
    may_return = bool(gauges) and operation.returns and not is_call(statement)
    bound.waits = may_return or bound.changed is not None or bool(gauges and statement.cursors_declared)
    return bound


def is_call(statement: Statement) -> bool:
    """A CALL alone: it may commit, so nothing can wrap it, and it returns one row at most."""
    reading = statement.reading
    return reading is not None and statement.count == 1 and [name for name, _ in reading.utilities] == ["CallStmt"]


def has_effect(operation: Operation) -> bool:
    """Whether there may be something to undo."""
    return not operation.verbs <= PURE


def changes_rows(operation: Operation, statement: Statement) -> bool:
    """Whether a tag of the statement counts changed rows."""
    verbs = operation.verbs
    return not verbs.isdisjoint(_CHANGES) or statement.copy == "in" or bool(statement.created and "select" in verbs)


def held_cursors(statement: Statement) -> set[str]:
    """The cursors that a statement declares WITH HOLD."""
    utilities = [] if statement.reading is None else statement.reading.utilities
    return {body.get("portalname", "") for name, body in utilities
            if name == "DeclareCursorStmt" and int(body.get("options", 0)) & _HOLD}


# ---------------------------------------------------------------- what cannot be held


def refusal_of(operation: Operation, seen: Seen, decision: Decision, *, is_idle: bool, is_mixed: bool) -> Refusal | None:
    """Why a statement cannot run under the row limits in force. `is_idle`: outside of a block; `is_mixed`: a
    Query behind extended messages without a Sync between them."""
    limits, statement = decision.limits, seen.statement
    if not limits or statement is None:
        return None
    rules = dict(decision.limit_rules)
    if limits.changed is not None:
        reason = _uncountable(operation, statement)
        if reason is not None:
            return Refusal(
                RefusalCode.DENIED, f"how many rows this changes cannot be counted ({reason})", rule=rules.get("changed"),
                hint="Nothing was executed. One statement may change a limited number of rows here: send plain INSERT, "
                     "UPDATE, DELETE, MERGE or COPY, each by itself.",
            )
    counts = limits.changed is not None and changes_rows(operation, statement)
    returns = operation.returns and (limits.rows is not None or limits.task_rows is not None)
    if is_mixed and (counts or returns):
        return Refusal(RefusalCode.UNSUPPORTED, "under row limits a Query cannot follow other messages before a Sync",
                       hint="Send Sync first.")
    is_undone = counts or (returns and (has_effect(operation) or not is_idle))
    if statement.transaction and statement.count > 1 and is_undone:
        rule = rules.get("changed" if counts else "rows", rules.get("task_rows"))
        return Refusal(
            RefusalCode.DENIED, "under row limits a string may not both begin or end a transaction and do something else",
            rule=rule, hint="Nothing was executed. Send BEGIN, COMMIT and the statements between them one by one.",
        )
    return None


def _uncountable(operation: Operation, statement: Statement) -> str | None:
    """Why the tag would not say how many rows it changes."""
    verbs = operation.verbs
    if operation.facts.get("is_opaque"):
        return "its effect is not known"
    if "truncate" in verbs:
        return "TRUNCATE"
    reading = statement.whole.reading
    if verbs.isdisjoint(_CHANGES) or reading is None:
        return None
    names = {name for name, _ in reading.utilities}
    counted: set[int] = set()
    for target in reading.targets:
        use = target.use
        if use.context != _CONTEXTS.get(target.kind) or use.statement in counted:
            return "a WITH query that changes rows"
        counted.add(use.statement)
    if reading.targets and not names.isdisjoint(_UNCOUNTED):
        return "a statement inside another one"
    if any(name == "CopyStmt" and "query" in body and reading.targets for name, body in reading.utilities):
        return "a statement inside another one"
    if "tables_written" not in operation.facts:
        return "its relation is not known or has rewrite rules"
    return None
