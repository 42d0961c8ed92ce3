"""A gateway's place in a fleet: the shard that it holds, and the folder beside it. The keys are in `keyring`.

join : lock the folder → take a free shard → (the audit log opens and recovers it)
while it runs : a thread renews the lease; sessions that a crashed gateway left open are ended
leave : (the audit log is closed) → give the shard back
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lockgate.audit.failures import Locked
from lockgate.audit.fleet.keyring import Keyring
from lockgate.audit.log import AuditLog, Clock, SystemClock
from lockgate.audit.opening import lock_folder
from lockgate.audit.signing.opening import Settings, recall
from lockgate.audit.storage.database import schema, shards
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import (
    Place,
    Pointer,
    fleet_folder,
    read_pointer,
    shard_folder,
    write_pointer,
)
from lockgate.audit.storage.sqlite import FILE
from lockgate.errors import AuditError

_COMMAND: Final = 30.0      # seconds, renewed, that a command holds a shard


class Membership:
    """A held shard. Made by `join` only, and renewed from then on: opening a long log takes its time."""

    def __init__(
        self, place: Place, ring: Keyring, count: int, lease: shards.Lease, connection: Connection, lock: int,
    ) -> None:
        self.place = place
        self.ring = ring
        self.base = ring.folder
        """The gateway's audit folder: the key, the pointer, and a folder for each log."""
        self.fleet = ring.origin
        self.count = count
        self.lease = lease
        self._connection = connection
        self._lock = lock
        self._busy = threading.Lock()
        self._adopting = threading.Lock()
        self._left = threading.Event()
        self._trouble: AuditError | None = None
        self._thread = threading.Thread(target=self._keep, name="audit-lease", daemon=True)
        self._thread.start()

    @classmethod
    def join(
        cls, place: Place, folder: Path, origin: str, *, count: int, seconds: float, first: int = 1,
        signer: Settings | None = None, is_pointed_to: bool = True,
    ) -> Membership:
        """Take a free shard between `first` and `count`, best the one that was held before. `signer` says who signs
        (`signing.opening`), by default whoever did last. With `is_pointed_to` the folder's pointer names the shard.
        Raises `AuditError` where none is free, or the key is not the fleet's.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = lock_folder(folder / "lock")
        except OSError as error:
            raise AuditError(f"{folder}: {error.strerror}", advice="make the state folder writable") from None
        connection: Connection | None = None
        try:
            if (folder / FILE).exists():
                raise AuditError(f"{folder}: holds a log in a file, and the configuration has one in a database",
                                 advice="move the old log away, or give the gateway a new state folder")
            connection = Connection(place)
            schema.require_durable(connection)
            schema.require_tables(connection)
            shards.ensure(connection, origin, count)
            ring = Keyring(folder, origin, recall(folder) if signer is None else signer)
            ring.require(connection)
            lease = _take(connection, ring, seconds, first, count)
            if is_pointed_to:
                write_pointer(folder, Pointer(place, origin, lease.shard, lease.holder))
            ring.lend(lease.shard)
            member = cls(place, ring, count, lease, connection, lock)
        except AuditError:
            if connection is not None:
                connection.close()
            os.close(lock)
            raise
        return member

    @property
    def folder(self) -> Path:
        """Where the held shard's checkpoint and all that is derived from it belong."""
        return self.base / shard_folder(self.lease.shard)

    @property
    def origin(self) -> str:
        """The held shard's name."""
        return self.lease.origin

    def renew(self) -> None:
        """Say that this gateway lives. Raises `AuditError`; `Locked` where the shard is lost."""
        with self._busy:
            if not self._left.is_set():
                shards.renew(self._working(), self.lease)

    def _keep(self) -> None:
        while not self._left.wait(self.lease.seconds / 3):
            try:
                self.renew()
                self._trouble = None
            except AuditError as error:
                self._trouble = error

    def require_held(self) -> None:
        """Raise `AuditError` where the lease could not be renewed the last time."""
        if self._trouble is not None:
            raise self._trouble

    def adopt(self, clock: Clock | None = None) -> list[int]:
        """Recover the shards that crashed gateways left, so that their sessions end in the log now and not
        when somebody needs the shard. Returns which. Raises `AuditError`, after the others were tried.
        """
        found: list[int] = []
        trouble: AuditError | None = None
        with self._adopting:
            if self._left.is_set():
                return found
            with Connection(self.place) as connection:
                for shard in shards.orphans(connection, self.count, self.lease.holder):
                    try:
                        self.ring.require_fit(connection, shard)
                        lease = shards.take(connection, self.fleet, f"{self.lease.holder}-adopts", self.lease.seconds,
                                            first=shard, last=shard)
                        if lease is not None:
                            self._recover(lease, clock or SystemClock())
                            shards.release(connection, lease)
                            found.append(shard)
                    except AuditError as error:
                        trouble = error
        if trouble is not None:
            raise trouble
        return found

    @contextmanager
    def visiting(self, shard: int, facts: Mapping[str, object]) -> Iterator[AuditLog | None]:
        """The log of a shard that nobody holds, open for a moment; None where somebody has it by now. Raises `AuditError`."""
        with self._adopting, Connection(self.place) as connection:
            self.ring.require_fit(connection, shard)
            lease = shards.take(connection, self.fleet, f"{self.lease.holder}-visits", max(self.lease.seconds, _COMMAND),
                                first=shard, last=shard)
            if lease is None:
                yield None
                return
            log = AuditLog.open(self.ring.lend(shard), origin=lease.origin, dispatch=_at_once, place=self.place, shard=shard,
                                facts=facts)
            try:
                yield log
            finally:
                log.close()
                shards.release(connection, lease)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other thread of this gateway takes over a shard."""
        with self._adopting:
            yield

    def _recover(self, lease: shards.Lease, clock: Clock) -> None:
        """Open and close a log: opening it is what recovers it."""
        AuditLog.open(self.ring.lend(lease.shard), origin=lease.origin, dispatch=_at_once, clock=clock,
                      place=self.place, shard=lease.shard, facts={"adopted": True}).close()

    def _working(self) -> Connection:
        """The connection, or a new one where the server has ended it."""
        if self._connection.raw.is_closed():
            self._connection.close()
            self._connection = Connection(self.place)
        return self._connection

    def leave(self) -> None:
        """Give the shard back. Idempotent; a database that does not answer lets the lease lapse instead."""
        with self._busy:
            if self._left.is_set():
                return
            self._left.set()
            try:
                shards.release(self._working(), self.lease)
            finally:
                self._connection.close()
                os.close(self._lock)


@contextmanager
def rejoined(folder: Path) -> Iterator[Membership]:
    """The shard whose folder this is, held for a command while its gateway does not run. Raises `AuditError`
    where there is no such shard, or another gateway has it by now.
    """
    pointer = read_pointer(folder)
    found = fleet_folder(folder)
    if pointer is None or found is None:
        raise AuditError(f"{folder}: points to no database")
    member = Membership.join(pointer.place, found[0], pointer.origin, count=pointer.shard, seconds=_COMMAND,
                             first=pointer.shard, is_pointed_to=False)
    try:
        yield member
    finally:
        member.leave()


def _at_once(call: Callable[[], None]) -> None:
    call()


def _take(connection: Connection, ring: Keyring, seconds: float, first: int, count: int) -> shards.Lease:
    """A free shard that this gateway has the key of."""
    before = read_pointer(ring.folder, password=False)
    known = before is not None and before.origin == ring.origin
    holder = before.holder if before and known else secrets.token_hex(8)
    foreign: list[int] = []
    while True:
        lease = shards.take(connection, ring.origin, holder, seconds, first=first, last=count,
                            preferred=before.shard if before and known else 0, without=foreign)
        if lease is not None and ring.fits(connection, lease.shard):
            return lease
        if lease is not None:
            shards.release(connection, lease)
            foreign.append(lease.shard)
        elif foreign:
            ring.require_fit(connection, foreign[0])
        else:
            raise Locked(f"all {count - first + 1} shards of the audit log are held: "
                         f"{shards.holders(connection, first, count)}",
                         advice="raise audit.store.shards to the number of gateways or more; the shard of one that "
                                "crashed is free when its lease has run out")
