"""The folder that tiles are published into: files appear whole, and are on the disk once `settle` returns.

Apart from the publisher so that a test can lose power between any two of its steps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lockgate.audit.keys import write_durably
from lockgate.audit.tiles.layout import CHECKPOINT, COSIGNED, Tile, parse_path

TILES_FOLDER: Final = "tiles"
"""Below the log's folder."""

_WAITS: Final = 4


class Disk:
    """One publication's folder. Its methods may raise `OSError`; what was put is then in an unknown state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unsettled: dict[Path, None] = {}

    def prepare(self) -> None:
        """Make the folder."""
        self._make(self.root)

    def put(self, tile: Tile, content: bytes) -> None:
        """Put a tile or bundle in place, whole, replacing what is there. Not durable before `settle`."""
        path = self.root / tile.path
        self._make(path.parent)
        temporary = path.with_name(f"{path.name}.new")
        temporary.write_bytes(content)
        temporary.replace(path)
        self._unsettled[path] = None
        self._unsettled[path.parent] = None

    def settle(self) -> None:
        """Wait until everything that was put is on the disk, with the folders that lead to it.

        Waits that run side by side share the file system's commits: measured, a tenth of the time.
        """
        if len(self._unsettled) == 1:
            _sync(*self._unsettled)
        elif self._unsettled:
            with ThreadPoolExecutor(_WAITS, "audit-publish") as waits:
                for _ in waits.map(_sync, self._unsettled):
                    pass
        self._unsettled.clear()

    def announce(self, note: str) -> None:
        """Put the checkpoint in place, durably. Everything that it needs must have settled."""
        write_durably(self.root / CHECKPOINT, note.encode(), 0o644)

    def endorse(self, note: str) -> None:
        """Put the newest cosigned note in place, durably. It is of a tree that was announced."""
        write_durably(self.root / COSIGNED, note.encode(), 0o644)

    def withdraw(self) -> None:
        """Take the checkpoint away, durably: what is in the folder is not vouched for any more."""
        for name in (COSIGNED, CHECKPOINT):
            (self.root / name).unlink(missing_ok=True)
        self._unsettled[self.root] = None
        self.settle()

    def has(self, tile: Tile) -> bool:
        """Whether there is a file of this name."""
        return (self.root / tile.path).is_file()

    def partial(self) -> Iterator[Tile]:
        """The full tile at every place where partial ones are kept."""
        for folder in self.root.glob("tile/**/*.p"):
            tile = parse_path(folder.relative_to(self.root).as_posix().removesuffix(".p"))
            if tile is not None:
                yield tile

    def drop_partial(self, tile: Tile) -> None:
        """Remove the partial tiles at a place that has a full one."""
        folder = self.root / f"{tile.folder}.p"
        if folder.is_dir():
            shutil.rmtree(folder)

    def _make(self, folder: Path) -> None:
        """A folder and those above it; each new one is settled with the one that it was made in."""
        if folder.is_dir():
            return
        if folder != self.root:
            self._make(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)
        self._unsettled[folder.parent] = None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
