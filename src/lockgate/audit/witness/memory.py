"""What a witness has seen: for each log the newest size and root, durable before anything is cosigned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from lockgate.errors import AuditError

_TABLE = ("CREATE TABLE IF NOT EXISTS seen(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL)"
          " STRICT, WITHOUT ROWID")


class Seen:
    """One log's place, while its turn lasts. `size` is 0 before the first checkpoint."""

    def __init__(self, connection: apsw.Connection, origin: str, size: int, root: bytes) -> None:
        self._connection = connection
        self._origin = origin
        self.size = size
        self.root = root

    def move(self, size: int, root: bytes) -> None:
        """From here on the log is at this size. Durable when the turn has ended."""
        self._connection.execute("INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT(origin) DO UPDATE SET"
                                 " size = excluded.size, root = excluded.root", (self._origin, size, root))


class Memory:
    """An SQLite file. A turn is one transaction: looking, checking and moving are atomic, also between processes."""

    def __init__(self, path: Path) -> None:
        try:
            path.touch(mode=0o600)
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(10_000)
            for pragma in ("journal_mode=DELETE", "synchronous=FULL", "trusted_schema=OFF"):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._connection.execute(_TABLE)
        except (apsw.Error, OSError) as error:
            raise AuditError(f"{path}: cannot be opened: {error}") from None
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, origin: str) -> Iterator[Seen]:
        """The log's place, for this caller alone. Raises `AuditError`; nothing has moved then."""
        try:
            with self._lock, self._connection:
                self._connection.execute("UPDATE seen SET size = size WHERE origin = ''")   # takes the write lock
                rows: list[Any] = self._connection.execute(
                    "SELECT size, root FROM seen WHERE origin = ?", (origin,)).fetchall()
                size, root = rows[0] if rows else (0, b"")
                yield Seen(self._connection, origin, size, root)
        except apsw.Error as error:
            raise AuditError(f"the witness's memory fails: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close(True)
