"""Which logs a command reads that reads whole logs: the one of a state folder, or in a fleet every shard.

A fleet is meant where the gateway's own folder is given; one shard where that shard's folder is (`state/audit/shard-2`).
The fleet's own log, which holds the shards' checkpoints, is read as `state/audit/fleet` alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lockgate.audit.query.portion import Portion
from lockgate.audit.storage.database.place import POINTER, fleet_folder, read_pointer, shard_folder
from lockgate.cli.period import Period
from lockgate.cli.state import audit_folder
from lockgate.errors import AuditError


def logs_of(state: Path) -> list[Portion]:
    """Each whole log that a folder stands for. Raises `AuditError`."""
    base = audit_folder(state)
    if not (base / POINTER).is_file():
        found = fleet_folder(base)
        return [Portion(base, None if found is None else found[1])]
    # Here, because it brings a database driver along that no file needs.
    from lockgate.audit.storage.database.connection import Connection
    from lockgate.audit.storage.database.shards import begun

    pointer = read_pointer(base)
    if pointer is None:
        return []
    with Connection(pointer.place) as connection:
        shards = begun(connection)
    return [Portion(base / shard_folder(shard), shard) for shard in shards]


def portions_of(state: Path, period: Period, *, waits: bool = False) -> list[Portion]:
    """The part of each log that lies in a period; raises `AuditError` where no log has any, unless somebody `waits` for
    what is written later. Numbers of entries are those of one log and refused for several.
    """
    logs = logs_of(state)
    if len(logs) == 1:
        return [_of_one(logs[0], period, waits=waits)]
    if (period.first, period.last) != (None, None):
        raise AuditError("entries' numbers count in one shard, and this is a fleet of several",
                         advice=f"give a shard, like --state {audit_folder(state) / shard_folder(1)}, or times with --from and --to")
    found = []
    for log in logs:
        with log.opened() as source:
            span = period.entries(source, waits=True) if waits else period.maybe_entries(source)
        if span is not None:
            found.append(replace(log, first=span[0], last=span[1]))
    if not found:
        raise AuditError("no shard of the fleet has an entry there")
    return found


def _of_one(log: Portion, period: Period, *, waits: bool) -> Portion:
    if period == Period():
        return log
    with log.opened() as source:
        first, last = period.entries(source, waits=waits)
    return replace(log, first=first, last=last)
