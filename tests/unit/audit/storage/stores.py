"""The two stores behind one face, so that one suite of tests holds both to the same contract."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from lockgate.audit.opening import open_store
from lockgate.audit.storage.contract import Source, Store
from lockgate.audit.storage.database.place import Place, Pointer, shard_origin, write_pointer
from lockgate.audit.storage.sqlite import open_source
from lockgate.model import Secret
from testbed.postgres import Server
from tests.unit.audit.logs import ORIGIN, Driven

DATABASE = "audit"
DURABLE = {"fsync": "on", "wal_sync_method": "fdatasync"}


def place_of(server: Server, folder: Path, database: str = DATABASE, **more: Any) -> Place:
    """The superuser's place; its password is in a file."""
    path = folder / "database-password"
    path.write_text(server.password)
    return replace(Place("127.0.0.1", server.port, database, "postgres", Secret(server.password),
                         password_file=str(path), tls="disable"), **more)


class FileLog:
    """A log in a file."""

    kind = "file"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.folder.mkdir()
        self.origin = ORIGIN

    def open(self, **options: Any) -> Driven:
        return Driven(self.folder, origin=self.origin, **options)

    def store(self) -> Store:
        return open_store(self.folder, self.origin, bytes(range(32)), None, 0)

    def source(self) -> Source:
        return open_source(self.folder)

    @contextmanager
    def saved(self) -> Iterator[Any]:
        """A copy of the log now; call what is yielded to put it back."""
        kept = self.folder.parent / "kept.db"
        shutil.copy(self.folder / "log.db", kept)

        def restore() -> None:
            for path in self.folder.glob("log.db*"):
                path.unlink()
            shutil.copy(kept, self.folder / "log.db")

        yield restore


class DatabaseLog(FileLog):
    """A log in a database: a shard of its own for each test."""

    kind = "database"
    numbers = count(1)

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder)
        self.shard = next(self.numbers)
        self.server = server
        self.origin = shard_origin(ORIGIN, self.shard)
        self.place = place_of(server, folder)
        write_pointer(self.folder, Pointer(self.place, ORIGIN, self.shard, "tests"))

    def open(self, **options: Any) -> Driven:
        return Driven(self.folder, origin=self.origin, **{"place": self.place, "shard": self.shard, **options})

    def store(self) -> Store:
        return open_store(self.folder, self.origin, bytes(range(32)), self.place, self.shard)

    def execute(self, statement: str, *values: object) -> list[Any]:
        """What somebody with every right in the database does to it."""
        with psycopg.connect(self.server.dsn(DATABASE, options="-csearch_path=lockgate_audit"), autocommit=True) as admin:
            cursor = admin.execute(statement, values)     # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def saved(self) -> Iterator[Any]:
        head = self.execute("SELECT size, epoch, frontier, note FROM head WHERE shard = %s", self.shard)[0]

        def restore() -> None:
            for table in ("entries", "payloads", "payload_keys"):
                self.execute(f"DELETE FROM {table} WHERE shard = %s AND idx >= %s", self.shard, head[0])
            self.execute("UPDATE head SET size = %s, epoch = %s, frontier = %s, note = %s WHERE shard = %s",
                         *head, self.shard)
            self.execute("DELETE FROM sessions WHERE shard = %s AND first >= %s", self.shard, head[0])

        yield restore
