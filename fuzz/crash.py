"""`make fuzz ARGS="crash --crashes=1000"`: the power fails while the log is written; nothing acknowledged may be lost.

A machine lives several times on one folder. In each life it recovers the log, records at random until the
power goes at a random operation of the file system (during the recovery as well), and what the disk then
holds is opened and verified. The same with syncs that do nothing must come out broken: that is the proof
that a loss would be seen (`power` says what is lost).

The order of all operations follows from the seed: the writer is held at its first sync while the rest of a
group is queued and checkpoints are made, so that its batches do not depend on the scheduler. Every fifth
machine runs the log's own checkpointer instead, in its thread; its interleaving is the scheduler's.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import apsw

from fuzz.power import FOLDER, Disk, PowerVfs
from lockgate.audit import durable
from lockgate.audit.checkpoint import open_note
from lockgate.audit.keys import read_verifier
from lockgate.audit.log import AuditLog
from lockgate.audit.storage import checkpointer
from lockgate.audit.tree import Frontier
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import ORIGIN, Ticking, intent, review_events, start

TEETH: Final[dict[str, tuple[str, ...]]] = {
    "every sync ignored": (".db", "-wal", "-journal", FOLDER),
    "syncs of the write-ahead log ignored": ("-wal",),
    "syncs of the database ignored": (".db",),
}
"""Disks that lie. What is lost on each of them has to be noticed."""

_LIVES: Final = 8
_STEPS: Final = 40
_MODES: Final = (apsw.SQLITE_CHECKPOINT_PASSIVE, apsw.SQLITE_CHECKPOINT_FULL, apsw.SQLITE_CHECKPOINT_RESTART,
                 apsw.SQLITE_CHECKPOINT_TRUNCATE)
_KEPT: Final = ("log.key", "log.vkey", "checkpoint")    # put in place by rename after fsync, or not at all


@dataclass
class Promise:
    """What was acknowledged: the newest checkpoint under which a `done(None)` was called, and the entries below it."""

    note: str = ""
    hashes: list[bytes] = field(default_factory=list)


@dataclass
class Tally:
    """What a run came to."""

    crashes: int = 0
    acknowledged: int = 0
    machines: int = 0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (f"{self.crashes:,} crashes of {self.machines} machines, {self.acknowledged:,} records acknowledged, "
                f"{len(self.broken)} machines lost some or were damaged")


def run(crashes: int, seed: int, ignores: tuple[str, ...] = (), keep: Path | None = None) -> Tally:
    """Crash so many times. Each machine has a seed of its own, counted up from `seed`; one that is broken ends,
    and its folder is copied to `keep`.
    """
    tally = Tally()
    while tally.crashes < crashes:
        with tempfile.TemporaryDirectory(prefix="lockgate-crash-", dir=_memory()) as root:
            machine = _Machine(Path(root), seed + tally.machines, ignores)
            broken = machine.live(min(_LIVES, crashes - tally.crashes))
            tally.machines += 1
            tally.crashes += machine.crashes
            tally.acknowledged += len(machine.promise.hashes)
            if broken is not None:
                where = ""
                if keep is not None:
                    where = f"; kept in {shutil.copytree(root, keep / str(machine.seed))}"
                tally.broken.append(f"seed {machine.seed}, crash {machine.crashes}: {broken}{where}")
    return tally


def _memory() -> str | None:
    """The folders of a run are on no disk at all where the system has such a place: real syncs prove nothing here."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class _Machine:
    """One seed: a folder, its lives, and what it has promised."""

    def __init__(self, root: Path, seed: int, ignores: tuple[str, ...]) -> None:
        self.root = root
        self.seed = seed
        self.dice = random.Random(seed)
        self.ignores = ignores
        self.crashes = 0
        self.promise = Promise()
        self.clock = Ticking()

    def live(self, lives: int) -> str | None:
        """Returns why it is broken, or None."""
        folder = self.root / "0"
        folder.mkdir()
        for life in range(1, lives + 1):
            fails_at = int(10 ** self.dice.uniform(0.3, 2.9))
            disk = Disk(folder, fails_at=fails_at, ignores=self.ignores)
            with _registered(PowerVfs(disk)) as vfs:
                _Life(self, folder, vfs).run()
            self._remember(folder)
            after = self._restarted(folder, disk, life)
            self.crashes += 1
            broken = self._broken(after)
            if broken is not None:
                return broken
            folder = after
        return None

    def _remember(self, folder: Path) -> None:
        """The entries that the promise covers, as the running program left them."""
        if self.promise.note:
            size = int(self.promise.note.split("\n")[1])
            if size > len(self.promise.hashes):
                self.promise.hashes = _hashes(folder)[:size]

    def _restarted(self, folder: Path, disk: Disk, life: int) -> Path:
        after = self.root / str(life)
        after.mkdir()
        disk.write_remains(after, self.dice)
        for name in _KEPT:
            if (folder / name).exists():
                shutil.copyfile(folder / name, after / name)
                (after / name).chmod(0o600)
        return after

    def _broken(self, folder: Path) -> str | None:
        """What is wrong with a folder after the power is back, judged on a copy."""
        copy = Path(shutil.copytree(folder, self.root / "judged"))
        try:
            AuditLog.open(copy, origin=ORIGIN, dispatch=lambda turn: turn(), clock=self.clock).close()
            report = verify_log(copy)
            if report.findings:
                return f"does not verify: {report.findings[0]}"
            return self._lost(copy)
        except AuditError as error:
            return f"does not open: {error}"
        finally:
            shutil.rmtree(copy)

    def _lost(self, copy: Path) -> str | None:
        if not self.promise.note:
            return None
        promised = open_note(self.promise.note, read_verifier(copy / "log.vkey"))
        found = _hashes(copy)[: promised.size]
        if found != self.promise.hashes:
            return f"{promised.size} entries were acknowledged, {len(found)} are there, or others"
        frontier = Frontier()
        for digest in found:
            frontier.append(digest)
        return None if frontier.root() == promised.root else "the acknowledged checkpoint has another root"


@contextmanager
def _registered(vfs: PowerVfs) -> Iterator[PowerVfs]:
    real = durable.sync_folder
    durable.sync_folder = vfs.disk.sync_folder
    try:
        yield vfs
    finally:
        durable.sync_folder = real
        vfs.unregister()


def _hashes(folder: Path) -> list[bytes]:
    connection = apsw.Connection(str(folder / "log.db"))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try:
        return [digest for (digest,) in connection.execute("SELECT hash FROM entries ORDER BY idx")]
    finally:
        connection.close()


class _Life:
    """From one start to the loss of power."""

    def __init__(self, machine: _Machine, folder: Path, vfs: PowerVfs) -> None:
        self.machine = machine
        self.folder = folder
        self.vfs = vfs
        self.disk = vfs.disk
        self.dice = machine.dice
        self.turns: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.waiting = 0
        self.open: dict[str, list[int]] = {}
        self.tickets = 0

    def run(self) -> None:
        """Record until the power goes, at the latest when there is nothing more to do."""
        real = self.machine.seed % 5 == 0
        with _checkpoints_after(self.dice.randrange(1, 40) if real else None):
            try:
                self.log = AuditLog.open(self.folder, origin=ORIGIN, dispatch=self.turns.put,
                                         clock=self.machine.clock, vfs=self.vfs.name)
            except AuditError:
                self.disk.cut()
                return
            with suppress(AuditError):
                for _ in range(self.dice.randrange(1, _STEPS)):
                    self._step(real)
                if self.dice.random() < 0.5:
                    self._group(real, self._end_all)    # `close` would queue it on a writer that may be awake
                    self._drain()
                    self.log.close()
            self.disk.cut()
            with suppress(AuditError, apsw.Error):
                self.log.close()
            self._hear()

    # ------------------------------------------------------------ steps

    def _step(self, real: bool) -> None:
        self.machine.clock.time += self.dice.choice((0.001, 0.5, 60.0, -30.0))
        chance = self.dice.random()
        if chance < 0.15 or not self.open:
            self._begin()
        elif chance < 0.3 and not real:
            self._checkpoint(self.dice.choice(_MODES))
        else:
            self._group(real, self._any)
        self._drain()

    def _begin(self) -> None:
        sid = f"{self.machine.crashes}-{len(self.open)}-{self.dice.randrange(10**9)}"
        self.waiting += 1
        self.log.begin_session(start(sid, self.dice.choice(("alice", "bob"))), self._done)
        self.open[sid] = []

    def _group(self, real: bool, more: Callable[[], None]) -> None:
        """One record that is waited for; while the writer syncs it `more` queue, and become one batch."""
        self.disk.hold_writer()
        try:
            self._event("group")
            self.disk.wait_held(lambda: self.log.is_writable)
            for _ in range(self.dice.randrange(1, 12)):
                more()
            if self.dice.random() < 0.3 and not real:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._event("group")
        finally:
            self.disk.release()

    def _end_all(self) -> None:
        for sid in sorted(self.open):
            self._end(sid)

    def _end(self, sid: str) -> None:
        del self.open[sid]
        self.log.end_session(sid, "closed")

    def _event(self, kind: str, sid: str | None = None) -> None:
        self.waiting += 1
        self.log.event(Event(kind, {"at": self.dice.randrange(99)}, sid, b"why"), self._done)

    def _any(self) -> None:
        if not self.open:
            self._begin()
            return
        sid = self.dice.choice(sorted(self.open))
        waiting = self.open[sid]
        chance = self.dice.random()
        if chance < 0.4 and waiting:
            record = waiting.pop(self.dice.randrange(len(waiting)))
            self.log.outcome(Outcome(sid, record, self.dice.choice(tuple(OutcomeStatus)), 3, 100, {"email": 1}, 0.1))
        elif chance < 0.8:
            self._intent(waited=self.dice.random() < 0.5)
        elif chance < 0.85:
            self.log.heartbeat({"refusals": self.dice.randrange(9)})
        elif chance < 0.9:
            self._end(sid)
        elif chance < 0.95:
            self.tickets += 1
            for event in review_events(f"T{self.machine.crashes}-{self.tickets}", "alice", "carol", sid):
                self.log.event(event)
        else:
            self._event("cancel", sid)

    def _intent(self, *, waited: bool) -> None:
        sid = self.dice.choice(sorted(self.open))
        text = "x" * int(10 ** self.dice.uniform(1, 4.3))
        is_refused = self.dice.random() < 0.2
        fields = {"decision": "deny", "refusal": "denied"} if is_refused else {}
        self.waiting += waited
        number = self.log.intent(intent(sid, text, **fields), self._done if waited else None)
        if not is_refused:
            self.open[sid].append(number)

    def _checkpoint(self, mode: int) -> None:
        """What the checkpointer does, on a connection of its own, at a moment that the seed chose."""
        with suppress(apsw.Error):
            connection = apsw.Connection(str(self.folder / "log.db"), vfs=self.vfs.name)
            try:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.execute("PRAGMA synchronous=FULL").fetchall()
                connection.wal_checkpoint(mode=mode)
            finally:
                connection.close()

    # ------------------------------------------------------------ what the log says

    def _done(self, error: AuditError | None) -> None:
        self.waiting -= 1
        if error is None:
            self.machine.promise.note = self.log._writer.note      # durable: its commit has returned

    def _drain(self) -> None:
        """Until everything is durable or refused."""
        while self.waiting:
            self.turns.get(timeout=30)()
        while self.log.queued and self.log.is_writable:
            self.log._thread.join(0.001)
        self._hear()
        if not self.log.is_writable:
            raise AuditError("the log is closed")

    def _hear(self) -> None:
        while not self.turns.empty():
            self.turns.get()()


@contextmanager
def _checkpoints_after(pages: int | None) -> Iterator[None]:
    """Let the log's checkpointer run that soon (None: as ever, which is never in a run this short)."""
    passive, force = checkpointer.PASSIVE, checkpointer.FORCE
    if pages is not None:
        checkpointer.PASSIVE, checkpointer.FORCE = pages, 3 * pages     # type: ignore[misc]
    try:
        yield
    finally:
        checkpointer.PASSIVE, checkpointer.FORCE = passive, force       # type: ignore[misc]


def main(crashes: int, seed: int) -> int:
    """The whole run: an honest disk, then the lying ones. Returns the exit code."""
    keep = Path(tempfile.mkdtemp(prefix="lockgate-crash-"))
    honest = run(crashes, seed, keep=keep)
    print(f"crash, seed {seed}: {honest}", flush=True)
    for broken in honest.broken:
        print(f"  {broken}; again: make fuzz ARGS=\"crash --crashes={_LIVES} --seed={broken.split()[1][:-1]}\"")
    if not honest.broken:
        keep.rmdir()
    toothless = False
    for name, ignores in TEETH.items():
        tally = run(max(crashes // 10, _LIVES), seed, ignores)
        print(f"crash, {name}: {tally}", flush=True)
        toothless = toothless or not tally.broken
    return int(bool(honest.broken) or toothless)
