"""Leases: which gateway may write which shard, and for how long unless it says that it lives.

A lease only keeps gateways out of each other's way. It runs by the database's clock, is taken with
one statement under row locks, and decides nothing about the log: that two holders never both write is
the head's compare-and-swap (`store`), so a clock that jumps or a gateway that sleeps through its
lease costs the sleeper a restart and the log nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lockgate.audit.failures import Locked
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import shard_folder, shard_origin

_ENSURE: Final = ("INSERT INTO shards (shard, origin) SELECT n, CASE n WHEN 0 THEN $2 || '/fleet'"
                  " ELSE $2 || '/shard-' || n END FROM generate_series(0, $1::int) n ON CONFLICT DO NOTHING")
_TAKE: Final = """
WITH free AS (
  SELECT shard FROM shards
  WHERE shard BETWEEN $1 AND $2 AND shard <> ALL($6::int[]) AND (expires < clock_timestamp() OR holder = $3)
  ORDER BY holder <> $3, shard <> $5, holder = '', shard LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE shards s SET holder = $3, epoch = s.epoch + 1, expires = clock_timestamp() + make_interval(secs => $4)
FROM free WHERE s.shard = free.shard RETURNING s.shard, s.origin, s.epoch"""
_RENEW: Final = ("UPDATE shards SET expires = clock_timestamp() + make_interval(secs => $4)"
                 " WHERE shard = $1 AND holder = $2 AND epoch = $3")
_RELEASE: Final = ("UPDATE shards SET holder = '', expires = '-infinity'"
                   " WHERE shard = $1 AND holder = $2 AND epoch = $3")
_HELD: Final = ("SELECT shard, holder, ceil(extract(epoch FROM expires - clock_timestamp()))::int AS seconds"
                " FROM shards WHERE shard BETWEEN $1 AND $2 ORDER BY shard")
_FREE: Final = ("SELECT s.shard, s.origin, h.size FROM shards s JOIN head h USING (shard) WHERE s.shard > 0 AND s.holder = ''"
                " AND h.size > 0 ORDER BY s.shard")
_BEGUN: Final = "SELECT shard FROM meta WHERE name = 'origin' AND shard > 0 ORDER BY shard"
_HOLDER: Final = "SELECT CASE WHEN expires > clock_timestamp() THEN holder ELSE '' END FROM shards WHERE shard = $1"
_ORPHANS: Final = ("SELECT shard FROM shards WHERE shard BETWEEN 1 AND $1 AND holder <> '' AND holder <> $2"
                   " AND expires < clock_timestamp() ORDER BY shard")


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard that a holder may write until it is released, lapses, or somebody else has a later `epoch`."""

    shard: int
    origin: str
    holder: str
    epoch: int
    seconds: float


def ensure(connection: Connection, origin: str, count: int) -> None:
    """Rows for `count` shards and the fleet's own log, unless they are there."""
    connection.execute(_ENSURE, count, origin)


def take(
    connection: Connection, origin: str, holder: str, seconds: float, *, first: int, last: int, preferred: int = 0,
    without: Sequence[int] = (),
) -> Lease | None:
    """A lease on one shard between `first` and `last` and `without` some, or None where none is free.

    Best is what this holder has already: its earlier process is gone, which the lock on its folder
    shows. Then comes the one it held before, then one that was left by a crash, then a fresh one.
    Raises `AuditError`, also where the database belongs to a fleet of another name.
    """
    rows = connection.rows(_TAKE, first, last, holder, seconds, preferred, list(without))
    if not rows:
        return None
    shard, stored, epoch = rows[0]
    lease = Lease(shard, stored, holder, epoch, seconds)
    if stored != shard_origin(origin, shard):
        release(connection, lease)
        raise Locked(f"the database holds the fleet {stored.rpartition('/')[0]}, not {origin}",
                     advice="a log's origin must not change; give each fleet a database of its own")
    return lease


def renew(connection: Connection, lease: Lease) -> None:
    """Hold on for as long again. Raises `Locked` where somebody else has taken the shard over."""
    if connection.execute(_RENEW, lease.shard, lease.holder, lease.epoch, lease.seconds) != "UPDATE 1":
        raise Locked(f"{lease.origin}: another gateway has taken this shard over; nothing that this one "
                     "records is accepted any more", advice="restart this gateway; it takes a free shard then")


def release(connection: Connection, lease: Lease) -> None:
    """Give the shard back, unless it is somebody else's by now."""
    connection.execute(_RELEASE, lease.shard, lease.holder, lease.epoch)


def holders(connection: Connection, first: int, last: int) -> str:
    """Who has the shards from `first` to `last`, for the message to a gateway that got none."""
    said = []
    for shard, holder, seconds in connection.rows(_HELD, first, last):
        name = shard_folder(shard)
        said.append(f"{name} by {holder} for {seconds} s more" if holder else f"{name} by nobody")
    return ", ".join(said[:8]) + (f" and {len(said) - 8} more" if len(said) > 8 else "")


def holder_of(connection: Connection, shard: int) -> str:
    """Who has a shard now; empty where nobody has."""
    return str(connection.value(_HOLDER, shard) or "")


def free(connection: Connection) -> list[tuple[int, str, int]]:
    """Shards that were begun and that nobody holds: number, name and size."""
    return [(shard, origin, size) for shard, origin, size in connection.rows(_FREE)]


def begun(connection: Connection) -> list[int]:
    """The shards that have a log, in order; the fleet's own log is none of them."""
    return [shard for (shard,) in connection.rows(_BEGUN)]


def orphans(connection: Connection, last: int, holder: str) -> list[int]:
    """Shards that a holder left without giving them back."""
    return [shard for (shard,) in connection.rows(_ORPHANS, last, holder)]
