"""Shards that nobody holds: a gateway that runs exports them to their end, and destroys in them what is too old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from lockgate.app.unheld import Unheld
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.storage.database.place import Place
from lockgate.config.exports import ExportSettings
from lockgate.config.settings import AuditSettings, RetentionSettings, Settings
from testbed.postgres import embedded
from tests.unit.audit.fleet.nodes import execute, join, opened, records, verified
from tests.unit.audit.logs import Ticking
from tests.unit.audit.storage.stores import DURABLE, place_of


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with embedded(DURABLE) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE fleet")
        yield place_of(server, tmp_path, "fleet")


def session(member: Membership, sid: str) -> None:
    driven = opened(member, facts={"retention": {"payloads": 60}})
    driven.begin(sid)
    driven.run(sid)
    driven.log.end_session(sid, "closed")
    driven.log.close()


def settings(folder: Path) -> Settings:
    """As far as they are looked at."""
    audit = AuditSettings(retention=RetentionSettings(payloads="60s"),
                          export=(ExportSettings(name="lines", to="file", path=folder / "out.jsonl"),))
    return Settings.model_construct(audit=audit, telemetry=None)


def test_what_is_left_is_exported_and_grows_old_like_the_rest(place: Place, tmp_path: Path) -> None:
    """Once each: the rest goes to the target, and a payload that is older than its period goes with a record; a shard
    in which nothing is due is not opened, and one that somebody holds is left alone."""
    first = join(place, tmp_path / "n1", count=2)
    second = join(place, tmp_path / "n2", count=2, key=tmp_path / "n1")
    session(second, "b" * 16)
    now = records(place, 2)[-1]["time"] / 1000
    times = [now]
    unheld = Unheld(first, lambda: settings(tmp_path), lambda: times[0])
    unheld.run()
    assert not (tmp_path / "out.jsonl").exists()
    second.leave()
    unheld.run()
    lines = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert {line["metadata"]["log_name"] for line in lines} == {second.origin}
    size = len(records(place, 2))
    unheld.run()
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == len(lines)
    assert len(records(place, 2)) == size
    # By the log's own time nothing is a minute old before something in the log is a minute later.
    times[0] = now + 120
    unheld.run()
    assert len(records(place, 2)) == size
    execute(place, "UPDATE shards SET holder = 'x' WHERE shard = 1")
    late = join(place, tmp_path / "n3", count=2, key=tmp_path / "n1")
    assert late.lease.shard == 2
    opened(late, clock=Ticking(now + 120), facts={"retention": {"payloads": 60}}).log.close()
    late.leave()
    unheld.run()
    assert execute(place, "SELECT count(*) FROM payloads WHERE shard = 2 AND idx < %s", size) == [(0,)]
    (erasure,) = [record for record in records(place, 2) if record["type"] == "erasure"]
    assert erasure["data"]["cause"] == "retention"
    assert execute(place, "SELECT holder FROM shards WHERE shard = 2") == [("",)]
    execute(place, "UPDATE shards SET holder = %s WHERE shard = 1", first.lease.holder)
    first.leave()
    report = verified(tmp_path / "n1")["shard-2"]
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
