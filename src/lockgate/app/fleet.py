"""A gateway's part in a fleet, where the configuration puts the audit log into a database."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from lockgate.app.fleet_endorsement import fleet_endorsement
from lockgate.app.housekeeping import Chore
from lockgate.app.unheld import Unheld
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.fleet.showing import show_heads
from lockgate.audit.fleet.witness import FleetLog
from lockgate.audit.storage.database.place import FLEET, Place
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.config.duration import seconds
from lockgate.config.load import Loaded
from lockgate.config.secrets import read_secret
from lockgate.config.settings import AuditSettings, DatabaseSettings, Settings
from lockgate.errors import AuditError
from lockgate.model import Secret

log = structlog.get_logger("lockgate")
_UNHELD = 60.0


def place_of(settings: DatabaseSettings) -> Place:
    """Where the database is, with the password as it is now. Raises `ConfigError` where that cannot be read."""
    host, _, port = settings.address.rpartition(":")
    password = settings.password
    return Place(
        host.strip("[]"), int(port), settings.database, settings.user,
        Secret("") if password is None else read_secret(password),
        password_env=None if password is None else password.env,
        password_file=None if password is None or password.file is None else str(password.file.resolve()),
        tls=settings.tls.mode, ca=None if settings.tls.ca is None else str(settings.tls.ca.resolve()),
    )


class Fleet:
    """The shard that this gateway holds, and what it does for all of them."""

    def __init__(self, member: Membership, settings: DatabaseSettings, unheld: Unheld) -> None:
        self.member = member
        self._unheld = unheld
        self._log = FleetLog(member)
        self._settings = settings

    @classmethod
    def join(cls, loaded: Loaded, in_force: Callable[[], Settings]) -> Fleet | None:
        """Take a shard, or None where the log is in a file. `in_force` gives the settings as they are later. Raises
        `LockgateError`.
        """
        audit = loaded.settings.audit
        if audit.store is None:
            return None
        lease = seconds(audit.store.lease)
        member = Membership.join(place_of(audit.store), loaded.settings.state / "audit", audit.origin,
                                 count=audit.store.shards, seconds=lease,
                                 signer={} if audit.signer is None else audit.signer.terms())
        log.info("shard taken", shard=member.origin, holder=member.lease.holder, epoch=member.lease.epoch)
        return cls(member, audit.store, Unheld(member, in_force))

    def chores(self) -> list[Chore]:
        """What says that the shard is lost, ends what crashed gateways left, sees to what nobody holds, and lets no shard
        shrink unnoticed.
        """
        lease = seconds(self._settings.lease)
        return [Chore("unheld", max(lease, _UNHELD), self._unheld.run),
                Chore("lease", lease / 3, self.member.require_held), Chore("adoption", lease, self._adopt),
                Chore("fleet_log", seconds(self._settings.fleet_log), self._tick)]

    def endorsement(self, audit: AuditSettings, now: Callable[[], float], stack: ExitStack) -> list[Chore]:
        """What has the fleet log cosigned and time-stamped while this gateway writes it. Raises `LockgateError`."""
        member = self.member
        return fleet_endorsement(
            audit, member.ring.lend(FLEET), lambda: DatabaseSource(member.place, FLEET), lambda: self._log.is_held,
            seconds(self._settings.fleet_log), (now, time.monotonic), stack)

    def _adopt(self) -> None:
        for shard in self.member.adopt():
            log.warning("a crashed gateway's sessions are ended in the log", shard=shard)

    def _tick(self) -> None:
        try:
            show_heads(self.member)
        finally:
            self._log.tick()

    def leave(self) -> None:
        """Give everything back. A database that does not answer lets the leases lapse."""
        for ending in (self._log.end, self.member.leave):
            try:
                ending()
            except AuditError as error:
                log.error("fleet not left cleanly", code=error.code, error=str(error))
