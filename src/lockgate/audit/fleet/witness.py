"""The fleet's own log: its leaves are the shards' signed checkpoints, so no shard can shrink or go unnoticed.

Whichever gateway holds the fleet log's lease looks at all heads now and then and appends a
`shard_checkpoint` for each that moved. It appends none that a shard could not have come to honestly:
unsigned, or smaller than the last one. Whether each is a prefix of what the shard holds today is for
`verification`, which reads the leaves.

Each leaf names the shard's key as well. Another one than in the leaf before is taken from the shard itself: from
the change of keys that is the last entry of a tree which the old key signed.
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
from lockgate.audit.fleet.keyring import Keyring
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.leaves import Draft
from lockgate.audit.log import Clock, SystemClock
from lockgate.audit.opening import Recovered, recover, reopening
from lockgate.audit.storage.database import shards
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import FLEET
from lockgate.audit.storage.database.store import DatabaseStore
from lockgate.audit.storage.database.tail import frontier_at
from lockgate.audit.storage.sqlite import SqliteStore
from lockgate.audit.tree import leaf_hash
from lockgate.audit.writer import Item, Writer
from lockgate.errors import AuditError

RECORD: Final = "shard_checkpoint"
_HEADS: Final = ("SELECT s.shard, s.origin, h.note FROM shards s JOIN head h USING (shard) WHERE s.shard > 0 AND h.note <> ''"
                 " ORDER BY s.shard")
_CHANGES: Final = ("SELECT e.idx, e.leaf, c.note FROM entries e JOIN checkpoints c ON c.shard = e.shard AND c.size = e.idx + 1"
                   " WHERE e.shard = $1 AND e.idx >= $2 AND position('\"type\":\"key_rotate\"'::bytea IN e.leaf) > 0"
                   " ORDER BY e.idx")
_TAIL: Final = "SELECT leaf FROM entries WHERE shard = $1 AND idx >= $2 ORDER BY idx"
_NEWEST: Final = "SELECT leaf FROM entries WHERE shard = $1 AND position($2::bytea IN leaf) > 0 ORDER BY idx DESC LIMIT 1"
_RECENT: Final = 5_000      # leaves of the fleet log that say how large the shards were last; an idle one is looked for


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
                 folder: Path, ring: Keyring) -> None:
        self._writer = writer
        self._store = store
        self._connection = connection
        self._lease = lease
        self._folder = folder
        self._ring = ring
        self._sizes: dict[str, int] = {}
        self._keys: dict[str, Verifier] = {}

    @classmethod
    def take(cls, member: Membership, clock: Clock) -> _Open | None:
        """Take the lease, recover the log, and say that it was opened. None where another gateway has it."""
        connection = Connection(member.place)
        recovered: Recovered | None = None
        try:
            member.ring.require_fit(connection, FLEET)
            lease = shards.take(connection, member.fleet, member.lease.holder, max(member.lease.seconds, 60.0),
                                first=FLEET, last=FLEET)
            if lease is None:
                connection.close()
                return None
            folder = member.ring.lend(FLEET)
            recovered = recover(folder, lease.origin, place=member.place, shard=FLEET)
            recovered.writer.commit(reopening(recovered, clock.now(), {"shard": member.lease.shard}))
            opened = cls(recovered.writer, recovered.store, connection, lease, folder, member.ring)
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
            self._recall(bytes(leaf))
        for _, origin, _ in self._connection.rows(_HEADS):
            if origin not in self._sizes:
                for (leaf,) in self._connection.rows(_NEWEST, FLEET, f'"origin":"{origin}"'.encode()):
                    self._recall(bytes(leaf))

    def _recall(self, leaf: bytes) -> None:
        record = parse(leaf)
        if record["type"] == RECORD:
            data = record["data"]
            self._sizes[data["origin"]] = data["size"]
            if "key" in data:
                self._keys[data["origin"]] = Verifier.parse(data["key"])

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
                    "note": sha256(note.encode()).hexdigest(), "key": str(self._keys[checkpoint.origin])}})))
                self._sizes[checkpoint.origin] = checkpoint.size
        if items:
            self._writer.commit(items)
            self._writer.settle()
            keys.write_durably(self._folder / keys.CHECKPOINT_FILE, self._writer.note.encode(), 0o644)
        if faults:
            raise Tampered(f"the fleet is not what it was: {'; '.join(faults)}",
                           index=self._writer.size, check="fleet")
        return len(items)

    def _checkpoints(self, faults: list[str]) -> Iterator[tuple[Checkpoint, str]]:
        found = set()
        for shard, origin, note in self._connection.rows(_HEADS):
            found.add(origin)
            try:
                yield self._opened(shard, origin, note), note
            except AuditError as error:
                faults.append(f"{origin}: {error}")
        faults += [f"{origin} is gone" for origin in sorted(set(self._sizes) - found)]

    def _opened(self, shard: int, origin: str, note: str) -> Checkpoint:
        """A shard's checkpoint, by the key that it had, or that its entries lead to from there."""
        known = self._keys.get(origin) or self._ring.first(shard)
        try:
            found = open_note(note, known)
        except UntrustedNote:
            known = self._succeeded(shard, known, self._sizes.get(origin, 0))
            found = open_note(note, known)
        self._keys[origin] = known
        return found

    def _succeeded(self, shard: int, known: Verifier, size: int) -> Verifier:
        """The key after the changes since a size. Each old key has signed the tree that ends with its change."""
        for index, leaf, note in self._connection.rows(_CHANGES, shard, max(0, size - 1)):
            record = parse(bytes(leaf))
            if record["type"] != "key_rotate" or record["data"].get("old") != str(known):
                continue
            tree = frontier_at(self._connection, shard, index)
            tree.append(leaf_hash(bytes(leaf)))
            signed = open_note(note, known)
            if (signed.size, signed.root) != (index + 1, tree.root()):
                raise UntrustedNote(f"entry {index} is not in the tree that the old key signed")
            known = Verifier.parse(str(record["data"].get("new")))
        return known

    def end(self, now: float) -> None:
        """The last leaf, then the lease."""
        try:
            self._writer.commit([(None, 0, now, Draft({"type": "node_stop"}))])
            self._writer.settle()
            keys.write_durably(self._folder / keys.CHECKPOINT_FILE, self._writer.note.encode(), 0o644)
            shards.release(self._connection, self._lease)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._writer.close()
        self._store.close()
        self._connection.close()
