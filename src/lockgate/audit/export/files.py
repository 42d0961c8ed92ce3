"""JSON lines in a file, which rotates by size or age.

A batch is appended and fsynced before the cursor moves. The file is opened anew for every batch, so that
something else may rotate it as well; a line that a crash cut short is removed before the next one is
written, because its batch comes again.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from lockgate.audit import durable
from lockgate.audit.export.exporter import Undelivered

_TAIL: Final = 65_536
_STAMP: Final = re.compile(r"\d{8}T\d{6}Z(-\d{6})?", re.ASCII)
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class JsonLinesFile:
    """`write` puts lines on the disk. A file of `size` bytes or `age` seconds (0: no bound) is renamed to
    ``<name>.<UTC time>`` first; of those the newest `keep` stay (0: all).
    """

    def __init__(
        self, path: Path, *, size: int = 0, age: float = 0.0, keep: int = 0, now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._size = size
        self._age = age
        self._keep = keep
        self._now = now
        self._seen: tuple[int, float] = (0, 0.0)

    def write(self, lines: Iterable[bytes]) -> None:
        """Append the lines and wait until they are on the disk. Raises `Undelivered`."""
        data = b"".join(line + b"\n" for line in lines)
        if not data:
            return
        try:
            self._rotate()
            self._append(data)
        except OSError as error:
            raise Undelivered(f"{self.path}: {error.strerror}") from None

    def _append(self, data: bytes) -> None:
        is_new = not self.path.exists()
        descriptor = os.open(self.path, _OPEN, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Undelivered(f"{self.path}: is not a regular file")
            _drop_torn_line(descriptor)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view):]    # a full disk writes short before it fails
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            durable.sync_folder(self.path.parent)

    def _rotate(self) -> None:
        try:
            found = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if self._seen[0] != found.st_ino:       # a system keeps no time of birth that one could rely on
            self._seen = (found.st_ino, min(found.st_mtime, self._now()))
        old = bool(self._age) and self._now() - self._seen[1] >= self._age
        if not old and not (self._size and found.st_size >= self._size):
            return
        rotated = sorted(path for path in self.path.parent.glob(f"{glob.escape(self.path.name)}.*")
                         if _STAMP.fullmatch(path.name.removeprefix(f"{self.path.name}.")))
        newest = rotated[-1].name.removeprefix(f"{self.path.name}.") if rotated else ""
        target = self.path.with_name(f"{self.path.name}.{_stamp(self._now(), newest)}")
        self.path.rename(target)
        durable.sync_folder(self.path.parent)
        if self._keep:
            for left in [*rotated, target][: -self._keep]:
                left.unlink(missing_ok=True)


def _stamp(now: float, newest: str) -> str:
    """A name that sorts behind the newest one, also within a second and where the clock ran backwards."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    base, _, number = newest.partition("-")
    if stamp > base:
        return stamp
    return f"{base}-{int(number or 0) + 1:06}"


def _drop_torn_line(descriptor: int) -> None:
    end = os.fstat(descriptor).st_size
    at = end
    while at:
        start = max(0, at - _TAIL)
        newline = os.pread(descriptor, at - start, start).rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at != end:
        os.ftruncate(descriptor, at)
