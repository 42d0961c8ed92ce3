"""What each task has had, for rules that bound it (`limit: {task_rows: …, bytes: …, requests: …}`).

Apart from policy, which decides and remembers nothing: this is the count over all sessions of a task. A
task is an identity's agent on a connection (issuer, subject, agent, connection). Counts last as long as
the process; the number of tasks and of rates is bounded, and the one that asked least recently is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Final

from lockgate.model import Rate

Task = tuple[str, str, str | None, str]
"""Issuer, subject, agent, connection."""

_TASKS: Final = 65_536


class TaskSpent:
    """What one task has had: rows, and bytes of content. Mutable; shared by its sessions."""

    __slots__ = ("bytes", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0

    def left(self, limit: int) -> int:
        """Rows that may still be delivered under `limit`."""
        return max(0, limit - self.rows)


class Budget:
    """The tasks of one process."""

    def __init__(self, tasks: int = _TASKS) -> None:
        self._tasks: OrderedDict[Task, TaskSpent] = OrderedDict()
        self._full: OrderedDict[tuple[Task, Rate], float] = OrderedDict()
        """When a token bucket will be full again. One that is full need not be remembered."""
        self._most = tasks

    def of(self, task: Task) -> TaskSpent:
        """The task's count; a new one starts at zero."""
        found = self._tasks.get(task)
        if found is None:
            found = self._tasks[task] = TaskSpent()
            if len(self._tasks) > self._most:
                self._tasks.popitem(last=False)
        else:
            self._tasks.move_to_end(task)
        return found

    def wait(self, task: Task, rates: Sequence[Rate], now: float, *, counts: bool) -> tuple[Rate, int] | None:
        """None where a request at `now` (monotonic seconds) fits into every one of `rates`; it is counted if `counts`.
        Else the rate that makes it wait longest, and whole seconds, at least one; nothing is counted then.

        A token bucket for each rule: as many requests at once as the rate names, then one whenever its share of the
        time has gone by. So no more than twice the rate passes in any of its periods.
        """
        longest: tuple[float, Rate] | None = None
        for rate in rates:
            delay = max(self._full.get((task, rate), now), now) + rate.seconds / rate.count - rate.seconds - now
            if delay > _ROUNDING and (longest is None or delay > longest[0]):
                longest = delay, rate
        if longest is not None:
            return longest[1], max(1, ceil(longest[0] - _ROUNDING))
        if counts:
            for rate in rates:
                self._take((task, rate), now)
        return None

    def _take(self, key: tuple[Task, Rate], now: float) -> None:
        rate = key[1]
        self._full[key] = max(self._full.get(key, now), now) + rate.seconds / rate.count
        self._full.move_to_end(key)
        if len(self._full) > self._most:
            self._full.popitem(last=False)


_ROUNDING: Final = 1e-6
"""Seconds by which sums of floating-point numbers may be off."""
