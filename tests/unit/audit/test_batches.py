"""How records become transactions: who waits together is written together, and two transactions overlap."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from lockgate.audit.bell import Bell
from lockgate.audit.log import AuditLog
from lockgate.errors import AuditError
from lockgate.model import Outcome, OutcomeStatus
from tests.unit.audit.logs import intent, start


class Committer:
    """Takes two batches at a time and settles them when it is told to."""

    size, note, ahead = 0, "", 2

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.submitted: SimpleQueue[int] = SimpleQueue()
        self.settled, self._settle = os.pipe()

    def prepare(self, sid: str | None, number: int, now: float, value: object) -> tuple[Any, int]:
        return value, 1

    def submit(self, items: Sequence[Any]) -> None:
        self.batches.append(len(items))
        self.submitted.put(len(items))

    def wait_settled(self, bell: Bell) -> bool:
        return bell.wait_beside(self.settled)

    def collect(self) -> None:
        os.read(self.settled, 1)

    def settle(self, batches: int = 1) -> None:
        os.write(self._settle, b"x" * batches)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        for descriptor in (self.settled, self._settle):
            if descriptor >= 0:
                os.close(descriptor)
        self.settled = self._settle = -1


def no_change(now: float, who: object) -> None:
    raise AssertionError("nobody asked for another key")


class Line:
    """A log over such a committer, and one session of it."""

    def __init__(self, folder: Path) -> None:
        self.committer = Committer()
        self.turns: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.told = 0
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
        self.log = AuditLog(self.committer, self.committer, folder, lock, dispatch=self.turns.put, queue=10_000,
                            clock=Still(), rotate=no_change)  # type: ignore[arg-type]
        self.log.begin_session(start("s"), self.count)
        assert self.submitted() == 1

    def count(self, error: AuditError | None) -> None:
        assert error is None
        self.told += 1

    def ask(self, times: int) -> None:
        for _ in range(times):
            self.log.intent(intent("s"), self.count)

    def settle(self, batches: int = 1) -> None:
        """These are durable, and who waits for them is told."""
        self.committer.settle(batches)
        for _ in range(batches):
            self.turns.get(timeout=20)()

    def together(self, times: int) -> None:
        """So many intents, by somebody who is told of the last batch."""
        count, self.count = self.count, lambda _: self.ask(times)  # type: ignore[method-assign]
        self.log.intent(intent("s"), self.count)
        self.count = count  # type: ignore[method-assign]
        assert self.submitted() == 1
        self.settle()

    def submitted(self) -> int:
        return self.committer.submitted.get(timeout=20)

    def end(self) -> None:
        self.committer.settle(100)
        self.log.close()


class Still:
    def now(self) -> float:
        return 1_800_000_000.0


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    line.settle()
    yield line
    line.end()


def test_what_many_wait_for_is_two_transactions(line: Line) -> None:
    """Where nothing is being committed, half of a large batch goes first: who is told of it goes on while the other
    half is committed."""
    line.together(128)
    assert [line.submitted(), line.submitted()] == [64, 64]
    line.settle(2)
    assert line.told == 129


@pytest.mark.parametrize(("before", "parts", "enough"), [(90, 1, 48), (400, 2, 100)])
def test_a_small_batch_waits_for_the_one_before_it(line: Line, before: int, parts: int, enough: int) -> None:
    """Behind a batch that is being committed only one that is large, and at least half as large, is worth a sync of its
    own."""
    line.together(before)
    assert line.submitted() * parts == before
    if parts == 2:
        assert line.submitted() * parts == before
        line.settle()
    line.ask(enough)
    assert line.submitted() == enough
    line.settle(2)
    assert line.told == 1 + before + enough


def test_who_is_told_together_is_written_together(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """What callers record when they are told of the last batch is one batch: the writer is woken behind the last of
    them."""
    waiting: list[int] = []
    ring = Bell.ring

    def noted(bell: Bell) -> None:
        waiting.append(len(line.log._items))
        ring(bell)

    def again(_: AuditError | None) -> None:
        line.log.outcome(Outcome("s", numbers.pop(0), OutcomeStatus.OK))
        line.ask(1)

    def many(_: AuditError | None) -> None:
        numbers.extend([line.log.intent(intent("s"), again) for _ in range(20)])

    numbers: list[int] = []
    line.log.intent(intent("s"), many)
    assert line.submitted() == 1
    monkeypatch.setattr(Bell, "ring", noted)
    line.settle()
    assert line.submitted() == 20
    line.settle()
    assert line.submitted() == 40
    assert waiting == [20, 40]
    line.settle()
