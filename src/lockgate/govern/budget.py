"""Rows that each task has got, for rules that bound them (`limit: {task_rows: …}`).

Apart from policy, which decides and remembers nothing: this is the count over all sessions of a task. A
task is an identity's agent on a connection (issuer, subject, agent, connection). Counts last as long as
the process; the number of tasks is bounded, and the one that asked least recently is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

Task = tuple[str, str, str | None, str]
"""Issuer, subject, agent, connection."""

_TASKS: Final = 65_536


class TaskRows:
    """The rows of one task. Mutable; shared by its sessions."""

    __slots__ = ("spent",)

    def __init__(self) -> None:
        self.spent = 0

    def left(self, limit: int) -> int:
        """Rows that may still be delivered under `limit`."""
        return max(0, limit - self.spent)


class Budget:
    """The tasks of one process."""

    def __init__(self, tasks: int = _TASKS) -> None:
        self._tasks: OrderedDict[Task, TaskRows] = OrderedDict()
        self._most = tasks

    def of(self, task: Task) -> TaskRows:
        """The task's count; a new one starts at zero."""
        found = self._tasks.get(task)
        if found is None:
            found = self._tasks[task] = TaskRows()
            if len(self._tasks) > self._most:
                self._tasks.popitem(last=False)
        else:
            self._tasks.move_to_end(task)
        return found
