"""A gateway's place in a fleet: the shard that it holds, the folder beside it, and the key they all share.

    join : lock the folder → take a free shard → (the audit log opens and recovers it)
    while it runs : a thread renews the lease; sessions that a crashed gateway left open are ended
    leave : (the audit log is closed) → give the shard back

Each shard is a log of its own name, and any gateway may have to continue any shard, so all of them sign
with one key (`log.key`), which an operator copies to every gateway of the fleet. The name is part of
what is signed: a checkpoint of one shard is none of another.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lockgate.audit import keys
from lockgate.audit.checkpoint import Verifier, open_note
from lockgate.audit.failures import Locked, UntrustedNote
from lockgate.audit.log import AuditLog, Clock, SystemClock
from lockgate.audit.opening import lock_folder
from lockgate.audit.storage.database import schema, shards
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import (
    FLEET,
    Place,
    Pointer,
    fleet_folder,
    read_pointer,
    shard_folder,
    shard_origin,
    write_pointer,
)
from lockgate.audit.storage.sqlite import FILE
from lockgate.errors import AuditError

_NOTES: Final = "SELECT s.origin, h.note FROM head h JOIN shards s USING (shard) WHERE h.note <> '' LIMIT 64"
_COMMAND: Final = 30.0      # seconds, renewed, that a command holds a shard
_KEY: Final = "fleet key"       # its row in `meta`: which public key the first gateway made


class Membership:
    """A held shard. Made by `join` only, and renewed from then on: opening a long log takes its time."""

    def __init__(
        self, place: Place, folder: Path, origin: str, count: int, lease: shards.Lease, connection: Connection,
        lock: int,
    ) -> None:
        self.place = place
        self.base = folder
        """The gateway's audit folder: the key, the pointer, and a folder for each log."""
        self.fleet = origin
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
    ) -> Membership:
        """Take a free shard between `first` and `count`, best the one that was held before. Raises `AuditError`
        where none is free, or the key is not the fleet's.
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
            _require_key(connection, folder, origin)
            lease = _take(connection, folder, origin, seconds, first, count)
            write_pointer(folder, Pointer(place, origin, lease.shard, lease.holder))
            member = cls(place, folder, origin, count, lease, connection, lock)
            member.lend_key(lease.shard)
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

    def lend_key(self, shard: int) -> Path:
        """The folder of a shard, with the fleet's key in it."""
        folder = self.base / shard_folder(shard)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            pem = (self.base / keys.KEY_FILE).read_bytes()
            own = folder / keys.KEY_FILE
            if not own.exists() or own.read_bytes() != pem:
                keys.write_durably(own, pem, 0o600)
        except OSError as error:
            raise AuditError(f"{folder}: {error.strerror}", advice="make the state folder writable") from None
        return folder

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
        when somebody needs the shard. Returns which. Raises `AuditError`.
        """
        found: list[int] = []
        with self._adopting:
            if self._left.is_set():
                return found
            with Connection(self.place) as connection:
                for shard in shards.orphans(connection, self.count, self.lease.holder):
                    lease = shards.take(connection, self.fleet, f"{self.lease.holder}-adopts", self.lease.seconds,
                                        first=shard, last=shard)
                    if lease is not None:
                        self._recover(lease, clock or SystemClock())
                        shards.release(connection, lease)
                        found.append(shard)
        return found

    def _recover(self, lease: shards.Lease, clock: Clock) -> None:
        """Open and close a log: opening it is what recovers it."""
        AuditLog.open(self.lend_key(lease.shard), origin=lease.origin, dispatch=_at_once, clock=clock,
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
                             first=pointer.shard)
    try:
        yield member
    finally:
        member.leave()


def _at_once(call: Callable[[], None]) -> None:
    call()


def _take(
    connection: Connection, folder: Path, origin: str, seconds: float, first: int, count: int,
) -> shards.Lease:
    before = read_pointer(folder, password=False)
    known = before is not None and before.origin == origin
    lease = shards.take(connection, origin, before.holder if before and known else secrets.token_hex(8), seconds,
                        first=first, last=count,
                        preferred=before.shard if before and known else 0)
    if lease is None:
        raise Locked(f"all {count - first + 1} shards of the audit log are held: "
                     f"{shards.holders(connection, first, count)}",
                     advice="raise audit.store.shards to the number of gateways or more; the shard of one that "
                            "crashed is free when its lease has run out")
    return lease


def _require_key(connection: Connection, folder: Path, origin: str) -> None:
    """The fleet's key is in the folder, or this is the fleet's first gateway, which makes it."""
    is_first = not connection.value("SELECT EXISTS (SELECT 1 FROM head WHERE size > 0)")
    is_new = not (folder / keys.KEY_FILE).exists()
    try:
        signer = keys.load_or_create(folder, shard_origin(origin, FLEET), may_create=is_first)
    except AuditError as error:
        if is_new and not is_first:
            raise AuditError(f"{folder / keys.KEY_FILE}: the fleet has records, and its key is not here",
                             advice="copy log.key from another gateway of the fleet (mode 0600)") from error
        raise
    public = str(signer.verifier).encode()
    if is_new:
        connection.execute("INSERT INTO meta VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", FLEET, _KEY, public)
        if connection.value("SELECT value FROM meta WHERE shard = $1 AND name = $2", FLEET, _KEY) != public:
            (folder / keys.KEY_FILE).unlink()
            (folder / keys.VERIFIER_FILE).unlink()
            raise AuditError(f"{folder}: another gateway made the fleet's key at the same time",
                             advice="copy log.key from it (mode 0600)")
    rows = connection.rows(_NOTES)
    if rows and not any(_is_by(note, signer.verifier, name) for name, note in rows):
        raise AuditError(f"{folder / keys.KEY_FILE}: is not the key that this fleet signs with",
                         advice="copy log.key from another gateway of the fleet")


def _is_by(note: str, verifier: Verifier, name: str) -> bool:
    try:
        open_note(note, verifier.named(name))
    except UntrustedNote:
        return False
    return True
