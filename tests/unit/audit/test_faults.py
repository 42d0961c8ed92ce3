"""Disks that fail: each fault closes the log, everybody who waits hears of it, and a restart finds all that was promised."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Overload, Poisoned
from lockgate.audit.log import AuditLog
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import Driven, edit, intent, start
from tests.unit.audit.test_apart import Apart
from tests.unit.audit.test_log import records

FAULTS = ("full", "short", "eio", "sync")


class Faults(apsw.VFS):
    """A file system that fails at one operation: `fault` is its kind, `after` how many of that kind still pass.

    ``full``: nothing is written (SQLITE_FULL). ``short``: half of it is. ``eio``: SQLITE_IOERR. ``sync``: fsync
    fails. While `gate` is closed, syncs wait.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.after = 0
        self.failed = False
        self.operations = 0
        self.gate = threading.Event()
        self.gate.set()
        self.name = f"faults-{id(self)}"
        super().__init__(self.name, "")

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> FaultyFile:
        return FaultyFile(self, name, flags)

    def fails(self, *kinds: str) -> bool:
        self.operations += 1
        if self.fault not in kinds or self.failed:
            return False
        self.after -= 1
        self.failed = self.after < 0
        return self.failed


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: Faults, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self.vfs.fails("full", "short", "eio"):
            if self.vfs.fault == "short":
                super().xWrite(data[: len(data) // 2], offset)
            raise apsw.IOError("input/output error") if self.vfs.fault == "eio" else apsw.FullError("disk full")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self.vfs.gate.wait(20)
        if self.vfs.fails("sync"):
            raise apsw.IOError("fsync failed")
        super().xSync(flags)


@pytest.fixture
def faults() -> Iterator[Faults]:
    vfs = Faults()
    yield vfs
    vfs.unregister()


def require_closed(log: AuditLog, kept: int) -> None:
    """No call is accepted any more."""
    assert not log.is_writable
    for call in (
        lambda: log.intent(intent("s"), None),
        lambda: log.outcome(Outcome("s", kept, OutcomeStatus.OK)),
        lambda: log.begin_session(start("t"), lambda _: None),
        lambda: log.event(Event("cancel", {})),
        lambda: log.end_session("s", "closed"),
        log.heartbeat,
    ):
        with pytest.raises(Poisoned):
            call()


def require_recovered(folder: Path, acknowledged: set[int]) -> None:
    """A restart finds every acknowledged intent, settles what is open, and the log verifies."""
    again = Driven(folder)
    again.begin("u")
    again.log.close()
    found = records(folder)
    intents = {record["sseq"] for record in found if record["type"] == "intent" and record["sid"] == "s"}
    assert intents >= acknowledged
    crashed = {record["record"] for record in found if record.get("sid") == "s" and record.get("reason") == "crash"}
    assert crashed == intents
    assert verify_log(folder).findings == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_operation_closes_the_log(tmp_path: Path, faults: Faults, fault: str) -> None:
    """Whichever write or sync of a commit fails, all waiters hear of it, nothing is tried again, and nothing
    acknowledged is missing after a restart."""
    seen = 0
    for after in range(40):
        folder = tmp_path / str(after)
        driven = Driven(folder, vfs=faults.name)
        driven.begin("s")
        acknowledged = {driven.intent("s", "x" * 9_000) for _ in range(2)}
        faults.fault, faults.after, faults.failed = fault, after, False
        answers: list[AuditError | None] = []
        for _ in range(5):
            driven.log.intent(intent("s", "y" * 3_000), answers.append)
        while len(answers) < 5:
            driven.turns.get(timeout=20)()
        operations, faults.fault = faults.operations, None
        if not faults.failed:
            driven.log.close()
            break
        seen += 1
        told = [number for number, answer in enumerate(answers, 3) if answer is None]
        assert all(isinstance(answer, Poisoned) for answer in answers[len(told):])
        assert len(told) < 5
        require_closed(driven.log, 1)
        driven.log.close()
        assert faults.operations == operations, "a failed write is never tried again"
        require_recovered(folder, acknowledged | set(told))
    assert seen >= (1 if fault == "sync" else 4)


def test_a_short_write_of_the_kernel_closes_the_log(tmp_path: Path) -> None:
    """`write` that writes less than asked, then fails: the page is torn, and no acknowledged record with it."""
    driven = Apart(tmp_path)
    driven.begin("s")
    kept = driven.intent("s")
    wal = tmp_path / "log.db-wal"
    limit = wal.stat().st_size + 24 + 1_000
    resource.prlimit(driven.child, resource.RLIMIT_FSIZE, (limit, limit))
    answers: list[AuditError | None] = []
    for _ in range(5):
        driven.log.intent(intent("s", "z" * 3_000), answers.append)
    while len(answers) < 5:
        driven.turns.get(timeout=20)()
    assert all(isinstance(answer, Poisoned) for answer in answers)
    assert wal.stat().st_size == limit, "a part of the page was written"
    require_closed(driven.log, kept)
    driven.log.close()
    require_recovered(tmp_path, {kept})


def test_a_slow_sync_holds_everything_back_and_loses_nothing(tmp_path: Path, faults: Faults) -> None:
    """While fsync hangs nothing is acknowledged, the queue fills to its bound and then refuses; all of it follows later."""
    driven = Driven(tmp_path, queue=10, vfs=faults.name)
    driven.begin("s")
    faults.gate.clear()
    answers: list[AuditError | None] = []
    numbers = []
    with pytest.raises(Overload):
        while True:
            numbers.append(driven.log.intent(intent("s"), answers.append))
    assert len(numbers) == 10
    assert driven.log.is_congested
    assert driven.log.is_writable
    assert driven.turns.empty(), "nobody was told anything"
    faults.gate.set()
    while len(answers) < 10:
        driven.turns.get(timeout=20)()
    assert answers == [None] * 10
    driven.intent("s")
    driven.log.close()
    found = [record["sseq"] for record in records(tmp_path) if record["type"] == "intent"]
    assert found == [*numbers, 11]
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("writer", [Driven, Apart])
def test_a_stale_writer_is_fenced(tmp_path: Path, writer: type[Driven]) -> None:
    """Two writers past the lock: the one that opened last goes on; the other's next commit fails, it writes nothing."""
    stale = writer(tmp_path)
    stale.begin("s")
    stale.intent("s")
    (tmp_path / "lock").unlink()
    fresh = Driven(tmp_path)
    size = fresh.log.size
    assert isinstance(stale.wait(lambda done: stale.log.intent(intent("s", "stale"), done)), Poisoned)
    require_closed(stale.log, 1)
    assert fresh.log.size == size
    fresh.begin("t")
    fresh.run("t")
    stale.log.close()
    fresh.log.close()
    found = records(tmp_path)
    assert [record["epoch"] for record in found if record["type"] == "node_start"] == [1, 2]
    assert sum(record["type"] == "intent" for record in found) == 2
    assert verify_log(tmp_path).findings == []


def test_of_two_writers_that_race_one_is_fenced(tmp_path: Path) -> None:
    """A second one opens while the first one commits: it comes too late, or none of the first one's records follows."""
    stale = Apart(tmp_path)
    stale.begin("s")
    answers: list[AuditError | None] = []
    for _ in range(3_000):
        stale.log.intent(intent("s"), answers.append)
    (tmp_path / "lock").unlink()
    fresh = None
    while fresh is None:
        try:
            fresh = Driven(tmp_path)
        except AuditError as error:
            assert "another process" in str(error)      # the first one committed between its recovery and its first record
    fresh.begin("t")
    fresh.run("t")
    while len(answers) < 3_000:
        stale.turns.get(timeout=20)()
    fresh.log.close()
    stale.log.close()
    found = records(tmp_path)
    opened = next(number for number, record in enumerate(found) if record.get("epoch") == 2)
    assert sum(record["type"] == "intent" for record in found[:opened]) == answers.count(None)
    assert not any(record["type"] == "intent" and record["sid"] == "s" for record in found[opened:])
    assert verify_log(tmp_path).findings == []


def test_an_unreadable_store_is_an_error_of_the_log(tmp_path: Path) -> None:
    """Damage that SQLite meets while a start reads the entries is reported as such, not as a traceback."""
    driven = Driven(tmp_path)
    driven.begin("s")
    for _ in range(40):
        driven.run("s", "x" * 3_000)
    driven.log.close()
    edit(tmp_path)
    content = bytearray((tmp_path / "log.db").read_bytes())
    for page in range(8, len(content) // 4_096):
        content[page * 4_096 : page * 4_096 + 8] = b"\xff" * 8
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(AuditError, match="damaged"):
        Driven(tmp_path)
