"""A disk that loses power: an apsw VFS whose writes are volatile until the file is synced.

The running program sees an ordinary file system (SQLite's own, which also has the locks and the
shared memory that a write-ahead log needs). Beside it this keeps, in memory, what a disk would hold:
per file the content of its last sync and the writes and truncations since then, and for the folder
the same with files that appeared and vanished. When the power goes, each sector of what was not
synced is kept, dropped or torn for itself, so that later writes may survive earlier ones.

What is promised to SQLite is what Linux promises: `fsync` makes one file's content and size durable;
the folder is synced by the first sync of a new journal or write-ahead log (os_unix.c, UNIXFILE_DIRSYNC)
and by deletions that ask for it; bytes beside a write are not harmed (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
"""

from __future__ import annotations

import errno
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

SECTOR: Final = 512
FOLDER: Final = "/"
_PATIENCE: Final = 30.0     # seconds until a run that hangs becomes a failure
_JOURNALS: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_numbers = itertools.count()


@dataclass
class _File:
    """A file as the disk has it. `since` is what was done after the last sync: (offset, content), and
    (size, None) for a truncation.
    """

    durable: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        content = bytearray(self.durable)
        for at, data in self.since:
            _apply(content, at, data)
        self.durable = bytes(content)
        self.since.clear()

    def after_loss(self, dice: random.Random) -> bytes:
        """What is left: one choice how much the disk's cache got rid of, then each sector by itself."""
        kept = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        content = bytearray(self.durable)
        for at, data in self.since:
            if data is None:
                if dice.random() < kept:
                    _apply(content, at, None)
                continue
            for start, piece in _sectors(at, data):
                chance = dice.random()
                if chance < kept:
                    _apply(content, start, piece)
                elif chance < kept + 0.05:
                    _apply(content, start, piece[: dice.randrange(1, len(piece) + 1)])     # torn
        return bytes(content)


def _sectors(at: int, data: bytes) -> list[tuple[int, bytes]]:
    found = []
    end = at + len(data)
    start = at
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        found.append((start, data[start - at : stop - at]))
        start = stop
    return found


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


class Disk:
    """What one folder's files would be after a loss of power.

    The power goes at the `fails_at`-th operation that changes something (None: only when `cut` is
    called); from then on every operation raises. `ignores` names files whose syncs do nothing, by the
    end of their names, or the `FOLDER`: that is how the harness shows that it would notice.
    """

    def __init__(self, folder: Path, *, fails_at: int | None = None, ignores: tuple[str, ...] = ()) -> None:
        self.files = {path.name: _File(path.read_bytes()) for path in folder.glob("log.db*")
                      if not path.name.endswith("-shm")}
        self.is_off = False
        self.operations = 0
        self._fails_at = fails_at
        self._ignores = ignores
        self._lock = threading.RLock()
        self._durable = dict(self.files)
        self._since: list[tuple[str, _File | None]] = []
        self._armed = False
        self._held = threading.Event()
        self._go = threading.Event()

    # ------------------------------------------------------------ operations

    def write(self, name: str, at: int, data: bytes) -> None:
        with self._lock:
            self.require_power()
            self.files[name].since.append((at, data))
            self._operate()

    def truncate(self, name: str, size: int) -> None:
        with self._lock:
            self.require_power()
            self.files[name].since.append((size, None))
            self._operate()

    def create(self, name: str) -> None:
        with self._lock:
            self.require_power()
            self.files[name] = _File()
            self._since.append((name, self.files[name]))
            self._operate()

    def delete(self, name: str, *, sync: bool) -> None:
        with self._lock:
            self.require_power()
            self.files.pop(name, None)
            self._since.append((name, None))
            self._operate()
            if sync and FOLDER not in self._ignores:
                self._sync_folder()

    def sync(self, name: str, *, with_folder: bool) -> None:
        self._maybe_hold(name)
        with self._lock:
            self.require_power()
            self._operate()
            if not name.endswith(self._ignores or ("\0",)):
                self.files[name].sync()
                if with_folder and FOLDER not in self._ignores:
                    self._sync_folder()

    def sync_folder(self, folder: Path) -> None:
        """In the place of `durable.sync_folder`. Raises OSError without power."""
        with self._lock:
            try:
                self.require_power()
                self._operate()
            except apsw.IOError as error:
                raise OSError(errno.EIO, f"{folder}: {error}") from None
            if FOLDER not in self._ignores:
                self._sync_folder()

    def require_power(self) -> None:
        """Raise where there is none."""
        if self.is_off:
            raise apsw.IOError("the power is off")

    def _operate(self) -> None:
        self.operations += 1
        if self.operations == self._fails_at:
            self.cut()
            raise apsw.IOError("the power went off")

    def _sync_folder(self) -> None:
        for name, file in self._since:
            _put(self._durable, name, file)
        self._since.clear()

    # ------------------------------------------------------------ the loss

    def cut(self) -> None:
        """The power goes now."""
        with self._lock:
            self.is_off = True
            self._held.set()
            self._go.set()

    def write_remains(self, folder: Path, dice: random.Random) -> None:
        """What a machine finds in the folder when the power is back. Shared memory holds anything."""
        names = dict(self._durable)
        for name, file in self._since:
            if dice.random() < 0.5:
                _put(names, name, file)
        for name in sorted(names):
            (folder / name).write_bytes(names[name].after_loss(dice))
        if dice.random() < 0.3:
            (folder / "log.db-shm").write_bytes(dice.randbytes(32_768))

    # ------------------------------------------------------------ turns

    def hold_writer(self) -> None:
        """Stop the log's writer at its next sync of the write-ahead log, until `release`."""
        self._held.clear()
        self._go.clear()
        self._armed = True

    def wait_held(self, is_alive: Callable[[], bool]) -> None:
        """Until the writer stands at its sync, the power is off, or the writer is not alive any more."""
        deadline = time.monotonic() + _PATIENCE
        while not self._held.wait(0.01):
            if not is_alive():
                return
            if time.monotonic() > deadline:
                raise RuntimeError("the writer did not sync")

    def release(self) -> None:
        """Let the writer go on."""
        self._armed = False
        self._go.set()

    def _maybe_hold(self, name: str) -> None:
        if self._armed and name.endswith("-wal") and threading.current_thread().name == "audit-writer":
            self._armed = False
            self._held.set()
            self._go.wait(_PATIENCE)


def _put(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


class UndoesFolder(random.Random):
    """Dice for a loss at which all contents survive, and what was not synced of the folder is undone."""

    def random(self) -> float:
        return 0.99

    def choice(self, seq: Any) -> Any:
        return 1.0


class PowerVfs(apsw.VFS):
    """SQLite's file system for one folder, with a `Disk` below it. Unregister it after use."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.name = f"power-{next(_numbers)}"
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        self.disk.require_power()
        if name is None:
            return apsw.VFSFile("", name, flags)
        return _PowerFile(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.disk.delete(Path(filename).name, sync=syncdir)


class _PowerFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self.disk = disk
        self.file = Path(name if isinstance(name, str) else name.filename()).name
        self.is_new_journal = False
        if self.file not in disk.files:
            self.is_new_journal = bool(flags[0] & _JOURNALS)
            disk.create(self.file)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self.disk.require_power()
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.write(self.file, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.truncate(self.file, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.sync(self.file, with_folder=self.is_new_journal)
        self.is_new_journal = False
