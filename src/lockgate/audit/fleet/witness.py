"""The fleet's own log: its leaves are the shards' signed checkpoints, so no shard can shrink or go unnoticed.

Whichever gateway holds the fleet log's lease looks at all heads now and then and appends a
`shard_checkpoint` for each that moved. It appends none that a shard could not have come to honestly:
unsigned, or smaller than the last one. Whether each is a prefix of what the shard holds today is for
`verification`, which reads the leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from lockgate.audit import keys
from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.entry import parse
from lockgate.audit.failures import Tampered, UntrustedNote
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.leaves import Draft
from lockgate.audit.log import Clock, SystemClock
from lockgate.audit.opening import Recovered, recover, reopening
from lockgate.audit.storage.database import shards
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import FLEET
from lockgate.audit.storage.database.store import DatabaseStore
from lockgate.audit.storage.sqlite import SqliteStore
from lockgate.audit.writer import Item, Writer
from lockgate.errors import AuditError

RECORD: Final = "shard_checkpoint"
_HEADS: Final = ("SELECT s.origin, h.note FROM shards s JOIN head h USING (shard) WHERE s.shard > 0 AND h.note <> ''"
                 " ORDER BY s.shard")
_TAIL: Final = "SELECT leaf FROM entries WHERE shard = $1 AND idx >= $2 ORDER BY idx"
_RECENT: Final = 5_000      # leaves of the fleet log that say how large the shards were last


class FleetLog:
    """Writes the fleet log while this gateway has its lease. `tick` is called now and then, from any thread."""

    def __init__(self, member: Membership, *, clock: Clock | None = None) -> None:
        self._member = member
        self._clock = clock or SystemClock()
        self._busy = threading.Lock()
        self._open: _Open | None = None
        self._ended = False

    @property
    def is_held(self) -> bool:
        """Whether this gateway is the one that writes the fleet log."""
        return self._open is not None

    def tick(self) -> int:
        """Append what moved; returns how many checkpoints that were, 0 where another gateway does it.

        Raises `AuditError`: nothing could be read or written, or (`Tampered`) a shard is not what it was;
        the checkpoints of the others are appended then all the same.
        """
        with self._busy:
            if self._ended:
                return 0
            if self._open is None:
                self._open = _Open.take(self._member, self._clock)
                if self._open is None:
                    return 0
            try:
                return self._open.append(self._clock.now())
            except Tampered:
                raise
            except AuditError:
                self._open.close()
                self._open = None
                raise

    def end(self) -> None:
        """Append what moved and `node_stop`, and give the lease back, if this gateway has it. Idempotent. Raises
        `AuditError`.
        """
        with self._busy:
            self._ended = True
            if self._open is not None:
                opened, self._open = self._open, None
                try:
                    opened.append(self._clock.now())
                finally:
                    opened.end(self._clock.now())


class _Open:
    """The fleet log, opened for writing."""

    def __init__(self, writer: Writer, store: SqliteStore | DatabaseStore, connection: Connection, lease: shards.Lease,
                 folder: Path, verifier: Verifier) -> None:
        self._writer = writer
        self._store = store
        self._connection = connection
        self._lease = lease
        self._folder = folder
        self._verifier = verifier
        self._sizes: dict[str, int] = {}

    @classmethod
    def take(cls, member: Membership, clock: Clock) -> _Open | None:
        """Take the lease, recover the log, and say that it was opened. None where another gateway has it."""
        connection = Connection(member.place)
        recovered: Recovered | None = None
        try:
            lease = shards.take(connection, member.fleet, member.lease.holder, max(member.lease.seconds, 60.0),
                                first=FLEET, last=FLEET)
            if lease is None:
                connection.close()
                return None
            folder = member.lend_key(FLEET)
            recovered = recover(folder, lease.origin, place=member.place, shard=FLEET)
            recovered.writer.commit(reopening(recovered, clock.now(), {"shard": member.lease.shard}))
            opened = cls(recovered.writer, recovered.store, connection, lease, folder, recovered.signer.verifier)
            opened.remember()
        except AuditError:
            if recovered is not None:
                recovered.close()
            connection.close()
            raise
        return opened

    def remember(self) -> None:
        """How large the shards were when they were last looked at."""
        for (leaf,) in self._connection.rows(_TAIL, FLEET, max(0, self._writer.size - _RECENT)):
            record = parse(bytes(leaf))
            if record["type"] == RECORD:
                self._sizes[record["data"]["origin"]] = record["data"]["size"]

    def append(self, now: float) -> int:
        """One leaf for each shard that moved."""
        shards.renew(self._connection, self._lease)
        faults: list[str] = []
        items: list[Item] = []
        for checkpoint, note in self._checkpoints(faults):
            known = self._sizes.get(checkpoint.origin, 0)
            if checkpoint.size < known:
                faults.append(f"{checkpoint.origin} had {known} entries and has {checkpoint.size}")
            elif checkpoint.size > known:
                items.append((None, 0, now, Draft({"type": RECORD, "data": {
                    "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
                    "note": sha256(note.encode()).hexdigest()}})))
                self._sizes[checkpoint.origin] = checkpoint.size
        if items:
            self._writer.commit(items)
            keys.write_durably(self._folder / keys.CHECKPOINT_FILE, self._writer.note.encode(), 0o644)
        if faults:
            raise Tampered(f"the fleet is not what it was: {'; '.join(faults)}",
                           index=self._writer.size, check="fleet")
        return len(items)

    def _checkpoints(self, faults: list[str]) -> Iterator[tuple[Checkpoint, str]]:
        found = set()
        for origin, note in self._connection.rows(_HEADS):
            found.add(origin)
            try:
                yield open_note(note, self._verifier.named(origin)), note
            except UntrustedNote as error:
                faults.append(f"{origin}: {error}")
        faults += [f"{origin} is gone" for origin in sorted(set(self._sizes) - found)]

    def end(self, now: float) -> None:
        """The last leaf, then the lease."""
        try:
            self._writer.commit([(None, 0, now, Draft({"type": "node_stop"}))])
            keys.write_durably(self._folder / keys.CHECKPOINT_FILE, self._writer.note.encode(), 0o644)
            shards.release(self._connection, self._lease)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._store.close()
        self._connection.close()


