"""What the gateways of a fleet owe to shards that nobody holds: exports to their last record, and their periods.

A gateway that stopped for good leaves a shard whose last records were perhaps not exported, and whose payloads grow
old. Whoever runs sees to it: the cursor of each export is with the shard, and what is older than its period is
destroyed in the shard, which is opened for that moment, with a record that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import time

from lockgate.app.custody import in_force
from lockgate.app.targets import LogAt, exporters
from lockgate.audit.custody import Custody, submitting
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.storage.database import shards
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.schema import LOCK
from lockgate.config.duration import seconds
from lockgate.config.settings import Settings
from lockgate.errors import AuditError, LockgateError


class Unheld:
    """`run` is called now and then, by one thread at a time. `settings` gives those in force."""

    def __init__(self, member: Membership, settings: Callable[[], Settings], clock: Callable[[], float] = time) -> None:
        self._member = member
        self._settings = settings
        self._clock = clock
        self._custodies: dict[int, Custody] = {}

    def run(self) -> None:
        """See to every free shard, one gateway at a time. Raises the last `LockgateError`, after the others were tried."""
        trouble: LockgateError | None = None
        with Connection(self._member.place) as connection:
            for shard, origin, size in shards.free(connection):
                with _alone(connection, shard) as is_alone:
                    if not is_alone:
                        continue
                    for duty in (partial(self._export, shard, origin, size), partial(self._retain, shard)):
                        try:
                            duty()
                        except LockgateError as error:
                            trouble = error
        if trouble is not None:
            raise trouble

    def _export(self, shard: int, origin: str, size: int) -> None:
        at = LogAt(origin, Path(), self._member.place, shard)
        for exporter in exporters(self._settings(), at):
            if at.bookmark(exporter.name).load(origin).next < size:
                exporter.run()

    def _retain(self, shard: int) -> None:
        """Open the shard only where something is too old."""
        audit = self._settings().audit
        payloads, recordings = (None if period is None else seconds(period)
                                for period in (audit.retention.payloads, audit.retention.recordings))
        if payloads is None and recordings is None:
            return
        custody = self._custodies.setdefault(shard, Custody(self._member.ring.lend(shard), _nothing))
        if not custody.is_due(payloads, recordings, self._clock()):
            return
        with self._member.visiting(shard, {"visited": True, **in_force(audit)}) as log:
            if log is not None:
                custody.submit = submitting(log, lambda call: call())
                try:
                    custody.retain(payloads, recordings, self._clock())
                finally:
                    custody.submit = _nothing


def _nothing(_: object) -> int:
    raise AuditError("this shard is not open")


@contextmanager
def _alone(connection: Connection, shard: int) -> Iterator[bool]:
    """Whether no other gateway sees to this shard at the moment (an advisory lock of the session)."""
    key = LOCK ^ (shard << 8)
    is_alone = bool(connection.value("SELECT pg_try_advisory_lock($1)", key))
    try:
        yield is_alone
    finally:
        if is_alone:
            connection.execute("SELECT pg_advisory_unlock($1)", key)
