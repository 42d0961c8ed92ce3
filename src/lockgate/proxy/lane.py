"""One running generator of a session and the bytes that wait for the next.

A session has two: what comes from the client runs in one, what comes from the backend in the other,
so that a request that waits for a person does not stop the backend's side.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Final

from lockgate.wire.steps import Side, Steps


class Parked:
    """What a step's handler returns when its result comes later."""


PARKED: Final = Parked()


class Lane:
    """At most one generator, running or parked, and its inbox. Mutable; owned by one driver."""

    __slots__ = (
        "at_deadline", "generator", "grants", "has_ended", "impatience", "inbox", "inbox_size", "is_end_told",
        "is_running", "keep_alive", "key", "side", "since", "waits_for",
    )

    def __init__(self, side: Side, key: Hashable = None) -> None:
        self.side = side
        self.key = key              # of what a mediator forked: its name
        self.generator: Steps[Any] | None = None
        self.is_running = False
        self.waits_for: object = None
        """What the parked generator waits for: a `Pending`, a `Side`, a task's token, an endpoint."""
        self.at_deadline: object = None
        """What a parked login is told when its time is up; None: it is not told, the session closes."""
        self.grants: tuple[Any, ...] = ()
        self.keep_alive: TimerHandle | None = None
        self.impatience: TimerHandle | None = None
        self.since = 0.0            # when a held request began to wait
        self.inbox: list[bytes] = []
        self.inbox_size = 0
        self.has_ended = False      # no more bytes will come
        self.is_end_told = False    # and the mediator knows

    @property
    def is_busy(self) -> bool:
        """True while a generator runs or is parked here, or bytes wait."""
        return self.generator is not None or bool(self.inbox)

    def put(self, data: bytes) -> None:
        """Keep bytes for the next generator."""
        self.inbox.append(data)
        self.inbox_size += len(data)

    def peek(self) -> bytes:
        """All bytes that wait; they go on waiting."""
        return b"".join(self.inbox)

    def take(self) -> bytes:
        """All bytes that wait; empties the inbox."""
        inbox = self.inbox
        data = inbox[0] if len(inbox) == 1 else b"".join(inbox)
        inbox.clear()
        self.inbox_size = 0
        return data

    def drop(self) -> None:
        """Forget the generator and the bytes that wait."""
        generator, self.generator = self.generator, None
        self.waits_for = None
        self.inbox.clear()
        self.inbox_size = 0
        if generator is not None:
            with suppress(RuntimeError):    # one that yields while it is closed has lost its say
                generator.close()
