"""One log in one SQLite file: the schema, the one transaction that commits a batch, and reading.

WAL and ``synchronous=FULL``: when COMMIT returns, the batch is on the disk. Checkpoints (SQLite's)
run on a connection of their own, see `checkpointer`. Rows go in by few multi-row statements,
because every step of a statement gives the interpreter's lock away and waits to have it back.

A batch and the head that it leads to are one transaction, guarded by compare-and-swap on size and
epoch: a second writer, or a file exchanged underneath, fails the commit instead of forking the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self

import apsw

from lockgate.audit import durable
from lockgate.audit.failures import Poisoned
from lockgate.audit.storage.checkpointer import Checkpointer
from lockgate.audit.storage.contract import Batch, Head, Source, the_one_session
from lockgate.audit.storage.database.place import read_pointer
from lockgate.errors import AuditError

FILE: Final = "log.db"
FORMAT: Final = "1"
_FIXED_WAL_RESET: Final = (3, 51, 3)   # sqlite.org/wal.html#walresetbug: fixed in 3.51.3
_BUSY_MS: Final = 30_000
_LENGTH: Final = 256 * 1024 * 1024     # no string or blob in a log is longer
_CHUNKS: Final = (256, 64, 16, 4, 1)
_HISTORY: Final = 256                  # entries between two checkpoints that are kept for good
_LAST: Final = 2**63 - 1

DESTROYED: Final = bytes(64)
"""What stands in the place of a key and its salt once they are destroyed. The row is overwritten where it is and not
deleted: when rows are deleted SQLite joins pages, moves the rows beside them, and where it builds a page anew leaves
the bytes of what was moved in its free space, whatever `secure_delete` says. So keys are never moved."""

SCHEMA: Final = {
    "checkpoints": "CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    "entries": "CREATE TABLE entries(idx INTEGER PRIMARY KEY, hash BLOB NOT NULL, leaf BLOB NOT NULL) STRICT",
    "head": "CREATE TABLE head(id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL,"
            " epoch INTEGER NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL) STRICT",
    "meta": "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "payload_keys": "CREATE TABLE payload_keys(idx INTEGER PRIMARY KEY, secret BLOB NOT NULL) STRICT",
    "payloads": "CREATE TABLE payloads(idx INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT",
    "sessions": "CREATE TABLE sessions(sid TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER)"
                " STRICT, WITHOUT ROWID",
}


class SqliteStore:
    """The writer's connection. Not thread-safe: opened by one thread, then used by one other."""

    def __init__(self, path: Path, connection: apsw.Connection, pseudonyms: bytes) -> None:
        self.path = path
        self.pseudonyms = pseudonyms
        """The key of the principals in this log's leaves."""
        self.connection = connection
        self._kept = 0
        self._checkpointer: Checkpointer | None = None

    @classmethod
    def open(cls, path: Path, *, origin: str, fresh_key: bytes, vfs: str | None = None) -> SqliteStore:
        """Open or create. Raises `AuditError`; a file of another log or format is refused.

        Before anything is appended the write-ahead log is copied into the file and emptied: after a
        failed fsync it may exist in the page cache only, and appending behind it would build on sand.
        """
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _FIXED_WAL_RESET:
            raise AuditError("this SQLite can lose committed records (WAL reset bug)",
                             advice="install apsw with SQLite 3.51.3 or later")
        try:
            path.touch(mode=0o600, exist_ok=True)
            connection = apsw.Connection(str(path), vfs=vfs)
            connection.set_busy_timeout(_BUSY_MS)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0",
                           "secure_delete=ON", "trusted_schema=OFF", "wal_checkpoint(TRUNCATE)"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
                _create(connection, origin, fresh_key)
            # The switch to a write-ahead log used a rollback journal. SQLite deletes it without syncing the
            # folder; a journal that came back after a loss of power would roll back all that was committed.
            durable.sync_folder(path.parent)
            meta = dict(connection.execute("SELECT name, value FROM meta"))
        except (apsw.Error, OSError, UnicodeDecodeError) as error:
            raise AuditError(f"{path}: cannot open the audit log: {error}") from None
        if meta.get("format") != FORMAT.encode() or meta.get("origin") != origin.encode():
            connection.close()
            raise AuditError(f"{path}: holds another log, or one of another format",
                             advice="the log's origin must not change; use an empty state folder")
        return cls(path, connection, bytes(meta["pseudonyms"]))

    def head(self) -> Head:
        """The head as stored."""
        try:
            return read_head(self.connection)
        except apsw.Error as error:
            raise _damaged(error) from None

    def commit(self, batch: Batch, old: Head, new: Head) -> None:
        """Add the batch durably, or raise `AuditError`; what is stored then is unknown."""
        try:
            self._commit(batch, old, new)
        except (apsw.Error, OSError) as error:
            self._let_go()
            raise AuditError(f"the audit log cannot be written: {error}") from None
        except Poisoned:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """End a failed transaction. It writes nothing, but a stale writer must not keep the lock of the one that
        has taken its place.
        """
        with contextlib.suppress(apsw.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _commit(self, batch: Batch, old: Head, new: Head) -> None:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(
            "UPDATE head SET size = ?, epoch = ?, frontier = ?, note = ? WHERE size = ? AND epoch = ?",
            (new.size, new.epoch, new.frontier, new.note, old.size, old.epoch),
        )
        if self.connection.changes() != 1:
            raise Poisoned("another process wrote to this log")
        _insert(cursor, "entries", 3, batch.entries)
        _insert(cursor, "payloads", 2, batch.payloads)
        _insert(cursor, "payload_keys", 2, batch.keys)
        _insert(cursor, "sessions(sid, first)", 2, batch.begun)
        for row in batch.ended:
            cursor.execute("UPDATE sessions SET last = ? WHERE sid = ?", row)
        for first, last in batch.destroyed:
            cursor.execute("UPDATE payload_keys SET secret = ? WHERE idx BETWEEN ? AND ?", (DESTROYED, first, last))
            cursor.execute("DELETE FROM payloads WHERE idx BETWEEN ? AND ?", (first, last))
        signed = new.signed
        if signed - self._kept >= _HISTORY or (batch.is_kept and signed > self._kept):
            cursor.execute("INSERT INTO checkpoints VALUES (?, ?)", (signed, new.note))
            self._kept = signed
        cursor.execute("COMMIT")

    def leaves(self) -> Iterator[tuple[Any, Any, Any]]:
        """Every stored row (index, hash, leaf) in order."""
        try:
            yield from read_leaves(self.connection)
        except (apsw.Error, ValueError) as error:
            raise _damaged(error) from None

    def terms(self) -> None:
        """A writer in another process needs nothing but the folder to open the same file."""

    def tail(self) -> None:
        """A log in a file is read whole: it is this machine's own, and short work."""

    def resume_history(self) -> None:
        """Continue the spacing of kept checkpoints where the file left off."""
        try:
            self._kept = self.connection.execute("SELECT coalesce(max(size), 0) FROM checkpoints").get
        except apsw.Error as error:
            raise _damaged(error) from None

    def checkpoint_apart(self, vfs: str | None = None) -> None:
        """From here on the write-ahead log is copied into the file by a thread of its own."""
        self._checkpointer = Checkpointer(self.path, self.connection, vfs)

    def finish(self) -> None:
        """Copy the write-ahead log into the file and empty it, so that the file alone is the log."""
        self._stop_checkpoints()
        try:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            pass    # a reader is at work, or the disk is full: the write-ahead log keeps everything

    def close(self) -> None:
        """Let go of the file. What was not committed is not in it."""
        self._stop_checkpoints()
        self.connection.close(True)

    def _stop_checkpoints(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.stop()
            self._checkpointer = None


def _create(connection: apsw.Connection, origin: str, pseudonyms: bytes) -> None:
    with connection:
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.execute("INSERT INTO head VALUES (1, 0, 0, ?, '')", (bytes(8),))
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [
            ("format", FORMAT.encode()), ("origin", origin.encode()), ("pseudonyms", pseudonyms)])


def _insert(cursor: apsw.Cursor, table: str, width: int, rows: list[Any]) -> None:
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            cursor.execute(_values(table, width, size), list(chain.from_iterable(rows[at : at + size])))
            at += size


_STATEMENTS: dict[tuple[str, int], str] = {}


def _values(table: str, width: int, rows: int) -> str:
    found = _STATEMENTS.get((table, rows))
    if found is None:
        row = f"({','.join('?' * width)})"
        # The table is one of this module's constants; values are always bound.
        found = f"INSERT INTO {table} VALUES {','.join([row] * rows)}"  # noqa: S608
        _STATEMENTS[(table, rows)] = found
    return found


# ---------------------------------------------------------------- reading, shared with the verifier


def read_head(connection: apsw.Connection) -> Head:
    """The one row of `head`. Raises `AuditError` where it is not what a writer leaves there."""
    rows = connection.execute("SELECT size, epoch, frontier, note FROM head").fetchall()
    if len(rows) != 1:
        raise AuditError("the log has no head")
    size, epoch, frontier, note = rows[0]
    if type(size) is not int or type(epoch) is not int or type(frontier) is not bytes or type(note) is not str:
        raise AuditError("the log's head is damaged")
    return Head(size, epoch, frontier, note)


def read_leaves(connection: apsw.Connection, first: int = 0) -> Iterator[tuple[Any, Any, Any]]:
    """Rows (index, hash, leaf) from `first` on, in order; the types are whatever the file holds."""
    return iter(connection.execute("SELECT idx, hash, leaf FROM entries WHERE idx >= ? ORDER BY idx", (first,)))


def open_read_only(path: Path) -> apsw.Connection:
    """A connection that cannot change the log, also while a gateway writes to it.

    Where the folder is not writable SQLite cannot make its shared-memory file; a log that was
    closed properly (no write-ahead log left) is then read as immutable.
    """
    uri = path.resolve().as_uri()
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"{uri}?mode=ro", flags=flags)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, _LENGTH)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.execute("PRAGMA trusted_schema=OFF").fetchall()
        connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close(True)
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        connection = apsw.Connection(f"{uri}?immutable=1", flags=flags)
    return connection


class SqliteSource:
    """A snapshot of one file (`contract.Source`), taken when it is opened."""

    def __init__(self, path: Path) -> None:
        try:
            self.connection = open_read_only(path)
        except apsw.Error as error:
            raise AuditError(f"{path}: cannot be read: {error}", advice="run `lockgate audit verify`") from None
        try:
            self.connection.execute("BEGIN")
            meta = dict(self.connection.execute("SELECT name, value FROM meta"))
            self.origin = bytes(meta["origin"]).decode()
            self.pseudonyms = bytes(meta["pseudonyms"])
        except (apsw.Error, KeyError, ValueError, TypeError) as error:
            self.connection.close(True)
            raise _damaged(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close(True)

    def head(self) -> Head:
        """The head of the snapshot."""
        try:
            return read_head(self.connection)
        except apsw.Error as error:
            raise _damaged(error) from None

    def leaves(
        self, first: int = 0, last: int | None = None, containing: tuple[bytes, ...] = (),
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Rows (index, leaf hash, leaf) from `first` to `last` included, in order; only leaves that contain
        each of these strings.
        """
        yield from self._rows("SELECT idx, hash, leaf FROM entries WHERE idx BETWEEN ? AND ?"  # noqa: S608
                              + " AND instr(leaf, ?)" * len(containing) + " ORDER BY idx",
                              first, _LAST if last is None else last, *containing)

    def hashes(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Leaf hashes from `first` to `last` included, in order."""
        for (digest,) in self._rows("SELECT hash FROM entries WHERE idx BETWEEN ? AND ? ORDER BY idx",
                                    first, _LAST if last is None else last):
            yield digest

    def note(self, size: int) -> str | None:
        """The checkpoint that is kept of exactly this size, or None."""
        for (note,) in self._rows("SELECT note FROM checkpoints WHERE size = ?", size):
            return str(note)
        head = self.head()
        return head.note if head.note and head.signed == size else None

    def notes(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint that is kept, by size."""
        yield from self._rows("SELECT size, note FROM checkpoints ORDER BY size")

    def rows(
        self, first: int = 0, last: int | None = None,
    ) -> Iterator[tuple[int, bytes, bytes, bytes | None, bytes | None]]:
        """Entries with their payloads, in order."""
        yield from self._rows(
            "SELECT e.idx, e.hash, e.leaf, k.secret, p.sealed FROM entries e LEFT JOIN payload_keys k"
            " ON k.idx = e.idx AND k.secret <> ?"
            " LEFT JOIN payloads p ON p.idx = e.idx WHERE e.idx BETWEEN ? AND ? ORDER BY e.idx",
            DESTROYED, first, _LAST if last is None else last)

    def counts(self) -> tuple[int, int, int]:
        """How many payload keys, payloads and sessions are stored."""
        (found,) = self._rows("SELECT (SELECT count(*) FROM payload_keys WHERE secret <> ?),"
                              " (SELECT count(*) FROM payloads), (SELECT count(*) FROM sessions)", DESTROYED)
        return found[0], found[1], found[2]

    def kept(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Key ‖ salt and the sealed payload of an entry; None for what is not there."""
        for secret, sealed in self._rows("SELECT (SELECT secret FROM payload_keys WHERE idx = ?1),"
                                         " (SELECT sealed FROM payloads WHERE idx = ?1)", index):
            return None if secret == DESTROYED else secret, sealed
        return None, None

    def session(self, prefix: str) -> tuple[int, int | None, str]:
        """First and last index (None while it is open) and id of the one session whose id begins so."""
        return the_one_session(prefix, lambda: self._rows(
            "SELECT first, last, sid FROM sessions WHERE substr(sid, 1, ?1) = ?2 ORDER BY sid <> ?2, first LIMIT 3",
            len(prefix), prefix))

    def sessions(self, first: int = 0, last: int | None = None) -> Iterator[tuple[str, int, int | None]]:
        """Sessions (id, first, last) that have records between two indices, in the order of their beginning."""
        yield from self._rows("SELECT sid, first, last FROM sessions WHERE first <= ? AND coalesce(last, ?) >= ?"
                              " ORDER BY first", _LAST if last is None else last, _LAST, first)

    def _rows(self, statement: str, *bindings: object) -> Iterator[Any]:
        try:
            yield from self.connection.execute(statement, bindings)
        except (apsw.Error, ValueError) as error:
            raise _damaged(error) from None


def _damaged(error: object) -> AuditError:
    return AuditError(f"the log is damaged: {error}", advice="run `lockgate audit verify`")


def open_source(folder: Path) -> Source:
    """A snapshot of the log in a folder, or of the one that the folder points to (`database.place`).

    Raises `AuditError` where there is none.
    """
    path = folder / FILE
    if not path.is_file():
        pointer = read_pointer(folder)
        if pointer is not None:
            # Here, because it brings a database driver along that no file needs.
            from lockgate.audit.storage.database.source import DatabaseSource

            return DatabaseSource(pointer.place, pointer.shard)
        raise AuditError(f"{folder}: there is no audit log here",
                         advice="give the gateway's state folder with --state")
    return SqliteSource(path)
