"""How many rows may still go to the client: gauges that are read and lowered, and rows counted in COPY data.

Apart from `bounds`, which says which of them hold for a message: a gauge outlives messages (a portal's
rows come over several Executes, a cursor's over several FETCHes, a task's over all its sessions).
"""

from __future__ import annotations

from typing import Final, Protocol

from lockgate.analysis.sql import CopyOptions
from lockgate.govern.budget import TaskSpent
from lockgate.kernel.copy_text import split_lines, split_tuples
from lockgate.protocols.postgres.operations import Problem

OVER_LIMIT: Final = "54000"
"""SQLSTATE program_limit_exceeded. Not one of class 53 (insufficient resources), which drivers take for a passing
state and try again on: the same statement would be cut again."""

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00"
_HEADER: Final = 19
_NEWLINE: Final = 10


class Gauge(Protocol):
    """Rows that are left, and what the client reads about the one too many."""

    @property
    def left(self) -> int: ...

    def take(self, rows: int) -> None: ...

    @property
    def problem(self) -> Problem: ...


class Quota:
    """Rows that one result may have (one statement, one portal, one cursor)."""

    __slots__ = ("left", "limit", "rule")

    def __init__(self, limit: int, rule: str | None, spent: int = 0) -> None:
        self.limit = limit
        self.left = max(0, limit - spent)
        self.rule = rule

    def take(self, rows: int) -> None:
        """So many rows go to the client."""
        self.left -= rows

    @property
    def problem(self) -> Problem:
        """What the client reads in place of the next row."""
        return Problem(
            OVER_LIMIT, f"the result has more rows than one statement may return here ({self.limit})", detail_of(self.rule),
            "What was delivered is not the whole result, and the statement counts as failed. Narrow it with WHERE or "
            "LIMIT, or ask those who own the policy.",
        )


class TaskQuota:
    """Rows that the caller's task may still get."""

    __slots__ = ("limit", "rule", "task")

    def __init__(self, task: TaskSpent, limit: int, rule: str | None) -> None:
        self.task = task
        self.limit = limit
        self.rule = rule

    @property
    def left(self) -> int:
        """Rows that are left to the task."""
        return self.task.left(self.limit)

    def take(self, rows: int) -> None:
        """So many rows go to the client."""
        self.task.rows += rows

    @property
    def problem(self) -> Problem:
        """What the client reads in place of the next row."""
        return Problem(
            OVER_LIMIT, f"this task has got the {self.limit} rows that it may get", detail_of(self.rule),
            "What was delivered is not the whole result, and the statement counts as failed. For more rows ask those "
            "who own the policy.",
        )


def detail_of(rule: str | None) -> str | None:
    """The deciding rule, as errors name it."""
    return None if rule is None else f"rule: {rule}"


class CopyRows:
    """Rows in the data of one COPY … TO STDOUT, counted where they begin. PostgreSQL sends each in a message of
    its own; a binary one that came in parts would be counted too often, never too seldom."""

    __slots__ = ("_is_binary", "_is_inside", "_is_open", "_is_started", "_quote", "_titles")

    def __init__(self, stated: CopyOptions | None, is_binary: bool) -> None:
        known = stated if stated is not None and stated.problem is None else CopyOptions()
        self._is_binary = is_binary
        self._quote = known.quote.encode() if known.format == "csv" else b""
        self._titles = 1 if known.has_header and not is_binary else 0
        self._is_open = False           # a line goes on in the next message
        self._is_inside = False         # … in a quoted value
        self._is_started = False        # the header of the binary format has been seen

    def rows_in(self, body: bytes) -> int:
        """Rows that the next message of the stream holds or begins."""
        if self._is_binary:
            return self._tuples(body)
        count = self._lines(body)
        titles, self._titles = self._titles, max(0, self._titles - count)
        return max(0, count - titles)

    def _lines(self, body: bytes) -> int:
        if not body:
            return 0
        was_open = self._is_open
        if self._quote:
            data = self._quote + body if self._is_inside else body
            self._is_inside = data.count(self._quote) % 2 == 1
            lines, rest = split_lines(data, self._quote)
            count, self._is_open = len(lines), bool(rest)
        else:
            count, self._is_open = body.count(b"\n"), body[-1] != _NEWLINE
        return count + self._is_open - was_open

    def _tuples(self, body: bytes) -> int:
        start = 0
        if not self._is_started:
            self._is_started = True
            if body.startswith(_SIGNATURE) and len(body) >= _HEADER:
                start = _HEADER + int.from_bytes(body[_HEADER - 4:_HEADER], "big")
        if start >= len(body):
            return 0
        found, rest = split_tuples(body, start, len(body))
        is_over = bool(found) and body[found[-1][0]:found[-1][1]] == b"\xff\xff"
        return len(found) - is_over + (rest < len(body))
