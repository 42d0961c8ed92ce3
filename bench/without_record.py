"""A gateway without its log, to measure what the log costs. Never a way to run Lockgate.

Takes the place of `lockgate serve` in the benchmark: the same program, with the audit log swapped
for one that forgets. It lives outside of the package on purpose.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import lockgate.app.gateway
from lockgate.cli.main import main
from lockgate.model import Event, Intent, Outcome, SessionStart


class ForgetfulLog:
    """Answers like the audit log and keeps nothing."""

    is_writable = True
    is_congested = False

    def __init__(self, dispatch: Callable[[Callable[[], None]], None]) -> None:
        self._dispatch = dispatch
        self._next = 0

    @classmethod
    def open(cls, _folder: Path, *, dispatch: Callable[[Callable[[], None]], None], **_: object) -> ForgetfulLog:
        return cls(dispatch)

    def begin_session(self, start: SessionStart, done: Callable[[None], None]) -> None:
        self._dispatch(lambda: done(None))

    def intent(self, intent: Intent, done: Callable[[None], None] | None) -> int:
        self._next += 1
        if done is not None:
            self._dispatch(lambda: done(None))
        return self._next

    def outcome(self, outcome: Outcome) -> None:
        pass

    def event(self, event: Event, done: Callable[[None], None] | None = None) -> None:
        if done is not None:
            self._dispatch(lambda: done(None))

    def end_session(self, session: str, cause: str) -> None:
        pass

    def heartbeat(self, counts: object = None) -> None:
        pass

    def close(self) -> None:
        pass


if __name__ == "__main__":
    lockgate.app.gateway.AuditLog = ForgetfulLog  # type: ignore[misc, assignment]
    sys.exit(main())
