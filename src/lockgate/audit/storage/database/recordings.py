"""Recordings in a fleet's database: a row for each chunk (`recording.shelf` says what a shelf is).

Whatever gateway recorded a session, and whether it still lives: who has the log has the recording, and who erases in
the log erases it. A stream whose rows were erased while it is recorded takes no more, like a file that was deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Final, Self

from lockgate.audit.evidence.recordings import RECORDING_MAGIC
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place
from lockgate.errors import AuditError

_PORTION: Final = 16        # chunks, of 64 KiB of plaintext each, that are fetched at a time
_SESSIONS: Final = ("SELECT sid FROM recordings WHERE shard = $1 GROUP BY sid"
                    " HAVING max(made) <= clock_timestamp() - make_interval(secs => $2) ORDER BY sid")
_STREAMS: Final = "SELECT DISTINCT stream FROM recordings WHERE shard = $1 AND sid = $2 ORDER BY stream"
_CHUNKS: Final = ("SELECT number, chunk FROM recordings WHERE shard = $1 AND sid = $2 AND stream = $3"
                  " AND number >= $4 AND number < $5 ORDER BY number")
_IS_THERE: Final = "SELECT EXISTS (SELECT 1 FROM recordings WHERE shard = $1 AND sid = $2 AND stream = $3)"
_REMOVE: Final = "DELETE FROM recordings WHERE shard = $1 AND sid = $2"
_ADD: Final = ("INSERT INTO recordings (shard, sid, stream, number, chunk)"
               " SELECT $1::int, $2::text, $3::text, u.* FROM unnest($4::int[], $5::bytea[]) u WHERE $6::int = 0 OR EXISTS"
               " (SELECT 1 FROM recordings WHERE shard = $1 AND sid = $2 AND stream = $3 AND number = $6 - 1)")


class DatabaseShelf:
    """The recordings of one shard. A context manager, which is connected meanwhile."""

    def __init__(self, place: Place, shard: int) -> None:
        self._place = place
        self._shard = shard
        self._open: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            self._open = Connection(self._place, statement=600.0)
        return self._open

    def sessions(self, idle: float = 0.0) -> list[str]:
        """By the database's clock; whether a session is old enough the log says."""
        return [sid for (sid,) in self._connection.rows(_SESSIONS, self._shard, idle)]

    def streams(self, sid: str) -> list[str]:
        """By name."""
        return [stream for (stream,) in self._connection.rows(_STREAMS, self._shard, sid)]

    def read(self, sid: str, stream: str) -> _Rows:
        """As a file would have it."""
        if not self._connection.value(_IS_THERE, self._shard, sid, stream):
            raise FileNotFoundError(f"stream {stream} of session {sid}")
        return _Rows(RECORDING_MAGIC, self._chunks(sid, stream, 0))

    def read_on(self, sid: str, stream: str, number: int, offset: int) -> _Rows:
        """From a chunk on; a stream without chunks has no rows."""
        return _Rows(b"", self._chunks(sid, stream, number))

    def remove(self, sid: str) -> bool:
        """Delete the rows. What PostgreSQL keeps of them goes as it is cleaned up, like that of payloads."""
        return self._connection.execute(_REMOVE, self._shard, sid) != "DELETE 0"

    def _chunks(self, sid: str, stream: str, number: int) -> Iterator[bytes]:
        """Up to the first one that is missing: a few at first, since often no more are wanted."""
        portion = 2
        while True:
            rows = self._connection.rows(_CHUNKS, self._shard, sid, stream, number, number + portion)
            for found, chunk in rows:
                if found != number:
                    return
                yield bytes(chunk)
                number += 1
            if len(rows) < portion:
                return
            portion = min(_PORTION, portion * 2)


class _Rows:
    """Chunks as the bytes of a file."""

    def __init__(self, begin: bytes, chunks: Iterator[bytes]) -> None:
        self._buffer = bytearray(begin)
        self._chunks = chunks

    def close(self) -> None:
        """The connection is the shelf's."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer only at the end."""
        while len(self._buffer) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer += len(chunk).to_bytes(4, "big") + chunk
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


class Recorder:
    """Writes streams of one shard from several threads, each with a connection of its own."""

    def __init__(self, place: Place, shard: int) -> None:
        self.place = place
        self.shard = shard
        self._own = threading.local()
        self._all: list[Connection] = []

    def medium(self, sid: str, stream: str) -> DatabaseMedium:
        """Where a stream is written."""
        return DatabaseMedium(self, sid, stream)

    def connection(self) -> Connection:
        """This thread's. Raises `AuditError`, also for a server on which what it acknowledges may be lost."""
        found: Connection | None = getattr(self._own, "connection", None)
        if found is None or found.raw.is_closed():
            found = Connection(self.place)
            try:
                schema.require_durable(found)
            except AuditError:
                found.close()
                raise
            self._own.connection = found
            self._all.append(found)
        return found

    def close(self) -> None:
        """Once no thread writes any more."""
        for connection in self._all:
            connection.close()


class DatabaseMedium:
    """One stream (`recording.shelf.Medium`)."""

    def __init__(self, recorder: Recorder, sid: str, stream: str) -> None:
        self._recorder = recorder
        self._key = (recorder.shard, sid, stream)
        self._number = 0

    def open(self) -> None:
        """Nothing is written before the first chunk."""
        if self._recorder.connection().value(_IS_THERE, *self._key):
            raise AuditError("the recording cannot be written: there is one already")

    def append(self, chunks: Sequence[bytes]) -> None:
        """In one transaction."""
        connection = self._recorder.connection()
        try:
            connection.run(self._append(connection, chunks))
        except AuditError:
            connection.close()      # whether it is there is not known
            raise
        self._number += len(chunks)

    async def _append(self, connection: Connection, chunks: Sequence[bytes]) -> None:
        raw, first = connection.raw, self._number
        await raw.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        if await raw.fetchval("SELECT current_setting('synchronous_commit')") not in schema.SYNCHRONOUS:
            await raw.execute("SET LOCAL synchronous_commit = on")
        await raw.execute(_ADD, *self._key, list(range(first, first + len(chunks))), list(chunks), first)
        await raw.execute("COMMIT")

    def close(self) -> None:
        """The connection is the thread's."""
