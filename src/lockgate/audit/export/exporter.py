"""One target and its cursor: read a batch, deliver it, move the cursor, in this order and no other.

    snapshot → batch (bounded) → snapshot closed → deliver, until it is sure → cursor on the disk → next batch

So a crash at any step repeats a batch and loses none. A batch that could not be delivered is read again for
each try, later each time, so that what was erased meanwhile does not leave; nothing is skipped, ever: what the target refuses stands at the
head of the queue until somebody has looked, and the lag says so. Order is the log's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from lockgate.audit.export.cursor import Bookmark, Cursor, require_same_log
from lockgate.audit.export.told import Teller, Told
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

Deliver = Callable[[Sequence[Told]], None]
"""Gives a batch to the target and returns once it is the target's; raises `Undelivered` otherwise."""

BATCH: Final = 500              # leaves
_BYTES: Final = 2 * 1024 * 1024
_SPAN: Final = 5.0              # seconds that one run may take before it lets others have the thread
_SLICE: Final = 16              # entries, about half a millisecond of work
_GIVE_WAY: Final = 0.0001       # seconds
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


T = TypeVar("T")
_never = threading.Event()


def gently(items: Iterable[T]) -> Iterator[T]:
    """The same items, with a moment in between in which the interpreter is the requests'.

    A thread that only computes gives the interpreter's lock away every 5 ms when it is asked to: each
    statement would wait for that long.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % _SLICE == 0:
            _never.wait(_GIVE_WAY)


class Undelivered(AuditError):
    """The target did not take a batch. `after`: seconds that it asked us to wait, `smaller`: a batch of
    half the size may pass.
    """

    code = "audit.export.undelivered"

    def __init__(self, message: str, *, after: float = 0.0, smaller: bool = False) -> None:
        super().__init__(message)
        self.after = after
        self.smaller = smaller


@dataclass(frozen=True, slots=True)
class Progress:
    """How an exporter stands, as a person or a metric sees it.

    `behind` entries are in the log and not at the target, the oldest for `lag` seconds; `problem` is empty
    while it works.
    """

    name: str
    sent: int
    behind: int
    lag: float
    failures: int
    problem: str


class Exporter:
    """`run` is called now and then, by one thread at a time; `progress` from anywhere."""

    def __init__(
        self, name: str, open_source: Callable[[], Source], deliver: Deliver, bookmark: Bookmark, teller: Teller, *,
        batch: int = BATCH, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._open = open_source
        self._deliver = deliver
        self._bookmark = bookmark
        self._teller = teller
        self._largest = self._batch = batch
        self._now = now
        self._monotonic = monotonic
        self._cursor: Cursor | None = None
        self._pending: list[Told] = []
        self._size = self._sent = self._failures = 0
        self._oldest = 0.0
        self._pause = 0.0
        self._not_before = 0.0
        self._problem = ""

    @property
    def progress(self) -> Progress:
        """How it stands now."""
        behind = 0 if self._cursor is None else max(0, self._size - self._cursor.next)
        lag = max(0.0, self._now() - self._oldest) if behind and self._oldest else 0.0
        return Progress(self.name, self._sent, behind, lag, self._failures, self._problem)

    def run(self) -> None:
        """Deliver what there is, for a bounded time. Raises `AuditError` with what is in the way, and tries
        again at a later call.
        """
        end = self._monotonic() + _SPAN
        if self._monotonic() < self._not_before:
            self._measure()
            return
        try:
            while self._read():
                self._hand_over()
                if self._monotonic() >= end:
                    break
        except AuditError as error:
            self._failed(error)
            raise

    def _measure(self) -> None:
        """How far the log has grown meanwhile, so that the lag is true while a target is away."""
        with self._open() as source:
            self._size = source.head().size

    def _read(self) -> bool:
        """Fill the batch; False where there is nothing to deliver."""
        with self._open() as source:
            if self._cursor is None:
                self._cursor = self._bookmark.load(source.origin)
            require_same_log(self._cursor, source)
            self._size = source.head().size
            if not self._pending:
                weight = 0
                last = self._cursor.next + self._batch - 1
                for told in gently(self._teller.tell(source, self._cursor.next, last)):
                    self._pending.append(told)
                    weight += told.weight
                    if weight >= _BYTES:
                        break
                self._oldest = self._pending[0].leaf.record["time"] / 1000 if self._pending else 0.0
        return bool(self._pending)

    def _hand_over(self) -> None:
        assert self._cursor is not None
        batch = self._pending[: self._batch]
        self._deliver(batch)
        last = batch[-1].leaf
        self._cursor = Cursor(self._cursor.origin, last.index + 1, last.hash.hex())
        self._bookmark.save(self._cursor)
        del self._pending[: len(batch)]
        self._oldest = self._pending[0].leaf.record["time"] / 1000 if self._pending else 0.0
        self._sent += len(batch)
        self._batch = min(self._largest, self._batch * 2)
        self._pause = 0.0
        self._problem = ""

    def _failed(self, error: AuditError) -> None:
        """Wait longer each time; a cursor that could not be stored is read again from the disk."""
        self._failures += 1
        self._problem = str(error)
        self._pending = []
        self._teller.forget()
        after = 0.0
        if isinstance(error, Undelivered):
            after = error.after
            if error.smaller and self._batch > 1:
                self._batch //= 2
        else:
            self._cursor = None
        self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._pause * 2))
        self._not_before = self._monotonic() + max(self._pause, min(after, _LONGEST_PAUSE))
