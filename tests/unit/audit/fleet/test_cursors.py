"""Exports of a fleet go on where the gateway left off that had the shard before, wherever it ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lockgate.audit.export.cursor import Diverged
from lockgate.audit.export.exporter import Exporter
from lockgate.audit.export.told import Teller, Told
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.storage.database.cursors import DatabaseCursor
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.errors import AuditError
from tests.unit.audit.fleet.nodes import execute, join, opened


def exporter(place: Place, taken: list[int]) -> Exporter:
    """What a gateway makes of its settings, with a list for a target."""
    def deliver(batch: Sequence[Told]) -> None:
        taken.extend(told.leaf.index for told in batch)

    return Exporter("siem", lambda: DatabaseSource(place, 1), deliver, DatabaseCursor(place, 1, "siem"), Teller())


def session(member: Membership, sid: str) -> None:
    driven = opened(member)
    driven.begin(sid)
    driven.run(sid)
    driven.log.end_session(sid, "closed")
    driven.log.close()


def test_the_next_gateway_sends_the_rest_and_nothing_twice(place: Place, tmp_path: Path) -> None:
    """The cursor is with the shard, not on the machine that moved it."""
    first = join(place, tmp_path / "n1", count=1)
    session(first, "a" * 16)
    taken: list[int] = []
    exporter(place, taken).run()
    session(first, "b" * 16)
    first.leave()
    second = join(place, tmp_path / "n2", count=1, key=tmp_path / "n1")
    session(second, "c" * 16)
    exporter(place, taken).run()
    assert taken == list(range(18))
    second.leave()


def test_a_cursor_of_a_shard_that_was_rolled_back_or_is_damaged_stops_the_export(place: Place, tmp_path: Path) -> None:
    """As with a cursor in a file: nothing is sent twice or left out by itself."""
    member = join(place, tmp_path / "n1", count=1)
    session(member, "a" * 16)
    taken: list[int] = []
    exporter(place, taken).run()
    execute(place, "UPDATE entries SET hash = sha256(hash) WHERE shard = 1 AND idx = 5")
    with pytest.raises(Diverged):
        exporter(place, taken).run()
    execute(place, "UPDATE cursors SET cursor = 'x'")
    with pytest.raises(AuditError, match="the cursor is damaged"):
        exporter(place, taken).run()
    assert len(taken) == 6
    member.leave()
