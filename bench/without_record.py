"""A gateway without its log, to measure what the log costs. Never a way to run Lockgate.

Takes the place of `lockgate serve` in the benchmark: the same program, with the audit log swapped
for one that forgets. It lives outside of the package on purpose.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count

import lockgate.app.gateway
from lockgate.audit.log import AuditLog
from lockgate.cli.main import main
from lockgate.model import Event, Intent, Outcome, SessionStart


class ForgetfulLog(AuditLog):
    """An open log, which the rest of the gateway finds as it expects it, that keeps nothing of requests."""

    _numbers = count(1)

    def begin_session(self, start: SessionStart, done: Callable[[None], None]) -> None:
        self._dispatch(lambda: done(None))

    def intent(self, intent: Intent, done: Callable[[None], None] | None) -> int:
        if done is not None:
            self._dispatch(lambda: done(None))
        return next(self._numbers)

    def outcome(self, outcome: Outcome) -> None:
        pass

    def event(self, event: Event, done: Callable[[None], None] | None = None) -> None:
        if done is not None:
            self._dispatch(lambda: done(None))

    def end_session(self, session: str, cause: str, *_: object, **__: object) -> None:
        pass


if __name__ == "__main__":
    lockgate.app.gateway.AuditLog = ForgetfulLog  # type: ignore[misc]
    sys.exit(main())
