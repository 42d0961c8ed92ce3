"""The writer's side: one shard of the log in a database, one transaction for every batch.

    BEGIN; SET LOCAL synchronous_commit
    UPDATE head WHERE size and epoch are the writer's own, and INSERT everything else if that hit a row
    COMMIT

Why READ COMMITTED is serialisable here: every transaction of a shard begins with the update of that
shard's one head row, whose lock it then holds to its end. So the transactions of a shard run one
after the other; the second one waits for the lock, sees the first one's row, and hits nothing unless
it knows exactly that size and epoch. Nothing else that is read decides what is written, the inserted
rows are keyed by indices that only the holder of that size may use, and shards share no row. That
is also the fence: a writer that was taken for dead and comes back has an old epoch, whatever any
clock says, and its next commit adds nothing. One that is stopped in the middle of a transaction holds
the lock for `_IDLE` seconds more, until the server ends it.

What makes COMMIT's answer true is looked at in the same transaction (`schema.require_durable` does it
when the store is opened): the settings may be changed while the server runs. Any error ends the
connection; whether a COMMIT without an answer happened is not known, so it is never sent again, and
only the recovery of a new start finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from lockgate.audit.failures import Poisoned
from lockgate.audit.storage.contract import Batch, Head, signed_size
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.recordings import DatabaseShelf
from lockgate.audit.storage.database.tail import DatabaseTail
from lockgate.errors import AuditError

FORMAT: Final = b"1"
_HISTORY: Final = 256                   # entries between two checkpoints that are kept for good
_IDLE: float = 5.0                      # seconds, after which a writer that stopped loses the head's lock
_CHUNK: Final = 16 * 1024 * 1024        # bytes of payload in one statement

_BEGIN: Final = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "SET LOCAL synchronous_commit = {}")
_ADD: Final = """
WITH moved AS ({moved}),
 e AS (INSERT INTO entries SELECT $1::int, u.* FROM moved, unnest($2::bigint[], $3::bytea[], $4::bytea[]) u),
 k AS (INSERT INTO payload_keys SELECT $1::int, u.* FROM moved, unnest($5::bigint[], $6::bytea[]) u),
 p AS (INSERT INTO payloads SELECT $1::int, u.* FROM moved, unnest($7::bigint[], $8::bytea[]) u)
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit FROM moved"""
_FIRST: Final = _ADD.format(moved=(
    "UPDATE head SET size = $9, epoch = $10, frontier = $11, note = $12"
    " WHERE shard = $1 AND size = $13 AND epoch = $14 RETURNING 1"))
_MORE: Final = _ADD.format(moved="SELECT 1")
_BEGUN: Final = "INSERT INTO sessions SELECT $1::int, u.* FROM unnest($2::text[], $3::bigint[], $4::bigint[]) u"
_ENDED: Final = ("UPDATE sessions s SET last = u.last FROM unnest($2::bigint[], $3::text[]) u(last, sid)"
                 " WHERE s.shard = $1 AND s.sid = u.sid")
_DESTROY: Final = tuple(
    f"DELETE FROM {table} t USING unnest($2::bigint[], $3::bigint[]) r(first, last)"  # noqa: S608 - constants
    " WHERE t.shard = $1 AND t.idx BETWEEN r.first AND r.last" for table in ("payload_keys", "payloads"))
_KEEP: Final = "INSERT INTO checkpoints VALUES ($1, $2, $3, $4, $5)"

Columns = tuple[list[int], list[bytes]]


class DatabaseStore:
    """A writer's connection to one shard (`contract.Store`). Used by one thread at a time."""

    def __init__(self, place: Place, shard: int, connection: Connection, pseudonyms: bytes) -> None:
        self.place = place
        self.shard = shard
        self.pseudonyms = pseudonyms
        """The key of the principals in this log's leaves; the same for all shards of a fleet."""
        self._connection = connection
        self._kept = 0
        setting = connection.value("SELECT current_setting('synchronous_commit')")
        # A server that asks for more than its own disk is not talked out of it.
        wanted = setting if setting in schema.SYNCHRONOUS else "on"
        self._begin = "; ".join(_BEGIN).format(wanted)

    @classmethod
    def open(cls, place: Place, *, shard: int, origin: str, fresh_key: bytes) -> DatabaseStore:
        """Open or create a shard. Raises `AuditError`; one of another name or format is refused, and so is
        a server on which an acknowledged record may be lost.
        """
        connection = Connection(place, idle=_IDLE)
        try:
            schema.require_durable(connection)
            schema.require_tables(connection)
            if fresh_key:
                connection.run(_create(connection, shard, origin, fresh_key))
            meta = {row["name"]: row["value"]
                    for row in connection.rows("SELECT name, value FROM meta WHERE shard = $1", shard)}
            if meta.get("format") != FORMAT or meta.get("origin") != origin.encode():
                raise AuditError(f"{place.address}: shard {shard} is another log, or of another format",
                                 advice="a log's origin must not change; use an empty database")
            return cls(place, shard, connection, bytes(meta["pseudonyms"]))
        except AuditError:
            connection.close()
            raise

    def terms(self) -> dict[str, Any]:
        """What a writer in another process needs to open the same shard; holds the password."""
        return {"place": self.place.terms(), "shard": self.shard}

    def head(self) -> Head:
        """The head as stored."""
        return read_head(self._connection, self.shard)

    def commit(self, batch: Batch, old: Head, new: Head) -> None:
        """Add the batch durably, or raise `AuditError`; what is stored then is unknown."""
        try:
            self._connection.run(self._commit(batch, old, new))
        except AuditError:
            self._connection.close()
            raise

    async def _commit(self, batch: Batch, old: Head, new: Head) -> None:
        raw = self._connection.raw
        chunks = _payload_chunks(batch.payloads)
        entries = _columns(batch.entries, 3)
        keys = _columns(batch.keys, 2)
        await raw.execute(self._begin)
        found = await raw.fetchrow(
            _FIRST, self.shard, *entries, *keys, *next(chunks), new.size, new.epoch, new.frontier, new.note,
            old.size, old.epoch)
        if found is None:
            raise Poisoned("another process wrote to this log")
        for chunk in chunks:
            await raw.fetchrow(_MORE, self.shard, [], [], [], [], [], *chunk)
        await self._index(raw, batch)
        await self._keep(raw, batch, new)
        self._require_flush(found)
        await raw.execute("COMMIT")

    async def _keep(self, raw: Any, batch: Batch, new: Head) -> None:
        """Now and then, the newest tree that is signed: a take-over goes on from there. A signer that lags has signed an
        older one than this batch's.
        """
        size, note, frontier = new.size, new.note, new.frontier
        if new.signed != new.size:
            if batch.signed is None:
                return
            note, frontier = batch.signed
            size = signed_size(note, 0)
        if size - self._kept >= _HISTORY or (batch.is_kept and size > self._kept):
            await raw.execute(_KEEP, self.shard, size, note, frontier, new.epoch)
            self._kept = size

    async def _index(self, raw: Any, batch: Batch) -> None:
        if batch.begun:
            ends = {sid: last for last, sid in batch.ended}
            await raw.execute(_BEGUN, self.shard, [sid for sid, _ in batch.begun],
                              [first for _, first in batch.begun], [ends.get(sid) for sid, _ in batch.begun])
        begun = {sid for sid, _ in batch.begun}
        ended = [(last, sid) for last, sid in batch.ended if sid not in begun]
        if ended:
            await raw.execute(_ENDED, self.shard, *_columns(ended, 2))
        if batch.destroyed:
            for statement in _DESTROY:
                await raw.execute(statement, self.shard, *_columns(batch.destroyed, 2))

    def _require_flush(self, found: Any) -> None:
        if (found["fsync"], found["full_page_writes"]) != ("on", "on") \
                or found["synchronous_commit"] not in schema.SYNCHRONOUS:
            raise AuditError(f"{self._connection.address}: the server no longer flushes what it commits (fsync "
                             f"{found['fsync']}, full_page_writes {found['full_page_writes']}, synchronous_commit "
                             f"{found['synchronous_commit']})", advice="set all three to on, then restart")

    def leaves(self) -> Iterator[tuple[Any, Any, Any]]:
        """Every stored row (index, hash, leaf) in order, as of one moment."""
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for row in self._connection.stream("SELECT idx, hash, leaf FROM entries WHERE shard = $1 ORDER BY idx",
                                           self.shard):
            yield tuple(row)
        self._connection.execute("COMMIT")

    def tail(self) -> DatabaseTail:
        """The shard's end: a take-over does not read what others have verified."""
        return DatabaseTail(self._connection, self.shard)

    def shelf(self) -> DatabaseShelf:
        """The shard's recordings."""
        return DatabaseShelf(self.place, self.shard)

    def resume_history(self) -> None:
        """Continue the spacing of kept checkpoints where the shard left off."""
        self._kept = self._connection.value("SELECT coalesce(max(size), 0) FROM checkpoints WHERE shard = $1",
                                            self.shard)

    def finish(self) -> None:
        """Nothing is left to do: a committed batch is where it belongs."""

    def close(self) -> None:
        """Let go of the connection. What was not committed is not in the log. Idempotent."""
        self._connection.close()


async def _create(connection: Connection, shard: int, origin: str, fresh_key: bytes) -> None:
    """The rows that a shard begins with, unless they are there. One key of principals serves the whole
    fleet, so that a person is the same one in every shard.
    """
    raw = connection.raw
    async with raw.transaction():
        await raw.execute("SELECT pg_advisory_xact_lock($1)", schema.LOCK)
        if await raw.fetchval("SELECT 1 FROM head WHERE shard = $1", shard):
            return
        key = await raw.fetchval("SELECT value FROM meta WHERE name = 'pseudonyms' ORDER BY shard LIMIT 1")
        await raw.execute("INSERT INTO shards (shard, origin) VALUES ($1, $2) ON CONFLICT DO NOTHING", shard, origin)
        await raw.executemany("INSERT INTO meta VALUES ($1, $2, $3)", [
            (shard, "format", FORMAT), (shard, "origin", origin.encode()), (shard, "pseudonyms", key or fresh_key)])
        await raw.execute("INSERT INTO head VALUES ($1, 0, 0, $2, '')", shard, bytes(8))


def read_head(connection: Connection, shard: int) -> Head:
    """The head of a shard. Raises `AuditError` where there is none."""
    rows = connection.rows("SELECT size, epoch, frontier, note FROM head WHERE shard = $1", shard)
    if not rows:
        raise AuditError("the log has no head")
    return Head(*rows[0])


def _columns(rows: list[Any], width: int) -> list[Any]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _payload_chunks(rows: list[tuple[int, bytes]]) -> Iterator[Columns]:
    """Payloads by columns, at most about `_CHUNK` bytes at a time; at least one chunk, which may be empty."""
    indices: list[int] = []
    blobs: list[bytes] = []
    size = 0
    for index, sealed in rows:
        if size + len(sealed) > _CHUNK and indices:
            yield indices, blobs
            indices, blobs, size = [], [], 0
        indices.append(index)
        blobs.append(sealed)
        size += len(sealed)
    yield indices, blobs
