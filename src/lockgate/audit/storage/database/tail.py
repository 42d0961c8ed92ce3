"""The end of a shard, as a take-over reads it (`contract.Tail`): kept checkpoints, what came after one, what is open.

Everything is read in one REPEATABLE READ transaction. Rows that are not needed stay in the database: the
leaves of sessions that are open for long are picked out there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final, Self

from lockgate.audit.storage.contract import Kept
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.tree import Frontier
from lockgate.errors import AuditError

_PLAIN: Final = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_KEPT: Final = ("SELECT size, note, frontier, epoch FROM checkpoints WHERE shard = $1 AND size <= $2"
                " ORDER BY size DESC LIMIT 1")
_HASHES: Final = "SELECT hash FROM entries WHERE shard = $1 AND idx BETWEEN $2 AND $3 ORDER BY idx"
_ROWS: Final = "SELECT idx, hash, leaf FROM entries WHERE shard = $1 AND idx >= $2 ORDER BY idx"
# A quote inside a string is escaped, so that only the key itself matches; "data" sorts before it and has no such key.
_OF_SESSIONS: Final = ("SELECT idx, hash, leaf FROM entries WHERE shard = $1 AND idx BETWEEN $2 AND $3"
                       " AND substring(encode(leaf, 'escape') FROM '\"sid\":\"([^\"]*)\"') = ANY($4) ORDER BY idx")
_OPEN: Final = "SELECT sid, first FROM sessions WHERE shard = $1 AND last IS NULL ORDER BY first"
_START: Final = ("SELECT leaf FROM entries WHERE shard = $1 AND idx < $2"
                 " AND position('\"type\":\"node_start\"'::bytea IN leaf) > 0 ORDER BY idx DESC LIMIT 1")


class DatabaseTail:
    """One snapshot of a shard's end, on a connection that somebody else closes. A context manager."""

    def __init__(self, connection: Connection, shard: int) -> None:
        self._connection = connection
        self._shard = shard

    def __enter__(self) -> Self:
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._connection.raw.is_closed():
            self._connection.execute("ROLLBACK")

    def kept(self, size: int) -> Kept | None:
        """The newest checkpoint that is kept of a tree of at most `size` entries."""
        rows = self._connection.rows(_KEPT, self._shard, size)
        return Kept(*rows[0]) if rows else None

    def hashes(self, first: int, last: int) -> Iterator[bytes]:
        """Leaf hashes from `first` to `last` included, in order."""
        for (digest,) in self._connection.stream(_HASHES, self._shard, first, last, chunk=10_000):
            yield digest

    def rows(self, first: int) -> Iterator[tuple[Any, Any, Any]]:
        """Rows (index, hash, leaf) from `first` on, in order."""
        for row in self._connection.stream(_ROWS, self._shard, first):
            yield tuple(row)

    def rows_of(self, sids: Collection[str], first: int, last: int) -> Iterator[tuple[Any, Any, Any]]:
        """Rows from `first` to `last` included that belong to these sessions. Raises `AuditError` for an id that
        needs an escape in JSON.
        """
        if not all(map(_PLAIN.fullmatch, sids)):
            raise AuditError("the log has sessions with unusual ids")
        for row in self._connection.stream(_OF_SESSIONS, self._shard, first, last, list(sids)):
            yield tuple(row)

    def open_sessions(self) -> dict[str, int]:
        """Sessions without an end, and the index that each began at."""
        return dict(self._connection.rows(_OPEN, self._shard))

    def last_start(self, before: int) -> bytes | None:
        """The leaf of the newest `node_start` before an index."""
        found = self._connection.value(_START, self._shard, before)
        return None if found is None else bytes(found)


def frontier_at(connection: Connection, shard: int, size: int) -> Frontier:
    """The tree of a shard at an earlier size, from the nearest kept one. Raises `AuditError` where it never had one."""
    with DatabaseTail(connection, shard) as tail:
        kept = tail.kept(size)
        try:
            frontier = Frontier() if kept is None else Frontier.from_bytes(kept.frontier)
        except ValueError:
            raise AuditError(f"shard {shard}: a kept checkpoint is damaged", advice="run `lockgate audit verify`") from None
        for digest in tail.hashes(frontier.size, size - 1):
            frontier.append(digest)
    if frontier.size != size:
        raise AuditError(f"shard {shard}: {size} entries are wanted, {frontier.size} are stored",
                         advice="run `lockgate audit verify`")
    return frontier
