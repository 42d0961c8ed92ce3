"""The reader's side: one shard as of one moment (`contract.Source`), while its gateway goes on writing.

The snapshot is a REPEATABLE READ transaction, in PostgreSQL a snapshot of the whole database (manual,
13.2.2). Rows come a portion at a time, so that a long log does not have to fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from lockgate.audit.storage.contract import Head, the_one_session
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.store import read_head
from lockgate.errors import AuditError

_LAST: Final = 2**63 - 1
_SEALED: Final = 32         # rows with payloads, of 4 MiB at most, that are fetched at a time


class DatabaseSource:
    """A snapshot of one shard, taken when it is opened."""

    def __init__(self, place: Place, shard: int) -> None:
        self.connection = Connection(place, statement=600.0)
        self.shard = shard
        try:
            self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            meta = {row["name"]: row["value"] for row in
                    self.connection.rows("SELECT name, value FROM meta WHERE shard = $1", shard)}
            if not {"origin", "pseudonyms"} <= set(meta):
                raise AuditError(f"{place.address}: there is no shard {shard} in this database")
            self.origin = bytes(meta["origin"]).decode("utf-8", "replace")
            self.pseudonyms = bytes(meta["pseudonyms"])
        except AuditError:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def head(self) -> Head:
        """The head of the snapshot."""
        return read_head(self.connection, self.shard)

    def leaves(
        self, first: int = 0, last: int | None = None, containing: tuple[bytes, ...] = (),
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Rows (index, leaf hash, leaf) from `first` to `last` included, in order; only leaves that contain
        each of these strings.
        """
        wanted = "".join(f" AND position(${number}::bytea IN leaf) > 0" for number in range(4, 4 + len(containing)))
        yield from self._rows("SELECT idx, hash, leaf FROM entries WHERE shard = $1 AND idx BETWEEN $2 AND $3"  # noqa: S608
                              + wanted + " ORDER BY idx", first, _LAST if last is None else last, *containing)

    def hashes(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Leaf hashes from `first` to `last` included, in order."""
        for (digest,) in self._rows("SELECT hash FROM entries WHERE shard = $1 AND idx BETWEEN $2 AND $3 ORDER BY idx",
                                    first, _LAST if last is None else last, chunk=10_000):
            yield digest

    def note(self, size: int) -> str | None:
        """The checkpoint that is kept of exactly this size, or None."""
        for (note,) in self._rows("SELECT note FROM checkpoints WHERE shard = $1 AND size = $2", size):
            return str(note)
        head = self.head()
        return head.note if head.note and head.signed == size else None

    def notes(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint that is kept, by size."""
        yield from self._rows("SELECT size, note FROM checkpoints WHERE shard = $1 ORDER BY size")

    def rows(
        self, first: int = 0, last: int | None = None,
    ) -> Iterator[tuple[int, bytes, bytes, bytes | None, bytes | None]]:
        """Entries with their payloads, in order."""
        yield from self._rows(
            "SELECT e.idx, e.hash, e.leaf, k.secret, p.sealed FROM entries e LEFT JOIN payload_keys k USING (shard, idx)"
            " LEFT JOIN payloads p USING (shard, idx) WHERE e.shard = $1 AND e.idx BETWEEN $2 AND $3 ORDER BY e.idx",
            first, _LAST if last is None else last, chunk=_SEALED)

    def counts(self) -> tuple[int, int, int]:
        """How many payload keys, payloads and sessions are stored."""
        (found,) = self._rows(
            "SELECT (SELECT count(*) FROM payload_keys WHERE shard = $1), (SELECT count(*) FROM payloads WHERE shard = $1),"
            " (SELECT count(*) FROM sessions WHERE shard = $1)")
        return found[0], found[1], found[2]

    def kept(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Key ‖ salt and the sealed payload of an entry; None for what is not there."""
        for secret, sealed in self._rows("SELECT (SELECT secret FROM payload_keys WHERE shard = $1 AND idx = $2),"
                                         " (SELECT sealed FROM payloads WHERE shard = $1 AND idx = $2)", index):
            return secret, sealed
        return None, None

    def session(self, prefix: str) -> tuple[int, int | None, str]:
        """First and last index (None while it is open) and id of the one session whose id begins so."""
        return the_one_session(prefix, lambda: self._rows(
            "SELECT first, last, sid FROM sessions WHERE shard = $1 AND starts_with(sid, $2)"
            " ORDER BY sid <> $2, first LIMIT 3", prefix))

    def sessions(self, first: int = 0, last: int | None = None) -> Iterator[tuple[str, int, int | None]]:
        """Sessions (id, first, last) that have records between two indices, in the order of their beginning."""
        yield from self._rows("SELECT sid, first, last FROM sessions WHERE shard = $1 AND first <= $2"
                              " AND coalesce(last, $4) >= $3 ORDER BY first",
                              _LAST if last is None else last, first, _LAST)

    def _rows(self, statement: str, *values: object, chunk: int = 2_000) -> Iterator[Any]:
        for row in self.connection.stream(statement, self.shard, *values, chunk=chunk):
            yield tuple(row)
