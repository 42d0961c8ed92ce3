"""Makes the scratch ground over a direct connection, puts it back after a shape that changed it, and drops it.

Apart from `campaign`, which never sees the direct connection but as a control: what is fired and what is made
belong to different accounts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event

from lockgate.errors import BackendError
from lockgate.wire.leaktest import Canary, Ground, LeakSession

_PAUSE = 0.25       # seconds between two looks at whether the gateway masks


class Keeper:
    """One ground and the session that made it."""

    def __init__(self, ground: Ground, session: LeakSession) -> None:
        self._ground = ground
        self._session = session
        self._state: object = None
        self._may_drop = False

    def build(self) -> Ground:
        """Make it. Returns the ground with the forms that the backend gives its canaries."""
        self._make()
        cells = frozenset(cell for statement in self._ground.harvest for cell in self._session.cells(statement))
        return replace(self._ground, canaries=(*self._ground.canaries, Canary("of many types", "", cells)))

    def _make(self) -> None:
        try:
            self._session.run(self._ground.guard)
            self._may_drop = True
            for statement in self._ground.build:
                self._session.run(statement)
        except BackendError as error:
            raise BackendError(f"the scratch ground cannot be made: {error}",
                               advice="The account of the direct connection has to be allowed to create schemas.") from None
        self._state = self._session.run(self._ground.state)

    def restore(self) -> bool:
        """Make it again if it is not as it was made; True if it had to be."""
        try:
            if self._session.run(self._ground.state) == self._state:
                return False
        except BackendError:
            pass                            # what the look needs is gone
        self._make()
        return True

    def drop(self) -> None:
        """Drop all of it, and end the session. What the guard found to be somebody else's stays."""
        try:
            for statement in self._ground.drop if self._may_drop else ():
                self._session.run(statement)
        finally:
            self._session.close()


def wait_masked(unmasked: Callable[[], tuple[str, ...]], seconds: float) -> tuple[str, ...]:
    """Ask until nothing is shown any more or the time is over; returns what is shown then."""
    deadline = time.monotonic() + seconds
    pause = Event()
    while True:
        shown = unmasked()
        if not shown or time.monotonic() >= deadline:
            return shown
        pause.wait(_PAUSE)
