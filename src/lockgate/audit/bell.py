"""What the log's thread waits for: a ring, or a ring and a socket, whichever comes first."""

from __future__ import annotations

import contextlib
import os
import select
from queue import Empty, SimpleQueue


class Bell:
    """Rung by any thread, waited for by one, which may be woken once too often.

    A ring gives the interpreter's lock away only while somebody waits beside a socket: what is being admitted
    together is in the queue before the waiter sees any of it.
    """

    __slots__ = ("_descriptor", "_is_beside", "_rings")

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_beside = False

    def ring(self) -> None:
        """Let whoever waits go on; whoever is going to wait does not."""
        self._rings.put(None)
        if self._is_beside:     # set before the rings are looked at: one of the two is seen
            os.eventfd_write(self._descriptor, 1)

    def wait(self, seconds: float | None = None) -> None:
        """Return when it was rung, or after so many seconds."""
        with contextlib.suppress(Empty):
            self._rings.get(timeout=seconds)

    def wait_beside(self, other: int) -> bool:
        """True when there is something to read from the descriptor `other`, its end included; False when it was rung
        before that."""
        self._is_beside = True
        try:
            if self._was_rung():
                return False
            poll = select.poll()
            for descriptor in (other, self._descriptor):
                poll.register(descriptor, select.POLLIN)
            ready = [descriptor for descriptor, _ in poll.poll()]
        finally:
            self._is_beside = False
        if self._descriptor in ready:
            os.eventfd_read(self._descriptor)
            self._was_rung()
        return other in ready

    def close(self) -> None:
        """Let go of it. Nobody waits any more."""
        os.close(self._descriptor)

    def _was_rung(self) -> bool:
        """Whether it was rung since somebody waited last; forgets it."""
        found = False
        with contextlib.suppress(Empty):
            while True:
                self._rings.get_nowait()
                found = True
        return found
