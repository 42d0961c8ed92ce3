"""A fleet's record is one record: SQL, events and Parquet read every shard, and say which one a row is from."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from lockgate.audit.storage.database.place import Place
from lockgate.cli.audit import app
from lockgate.errors import AuditError
from tests.unit.audit.fleet.nodes import join, opened, records
from tests.unit.audit.logs import Ticking

RUN = CliRunner()


@pytest.fixture
def fleet(place: Place, tmp_path: Path) -> Path:
    """Sessions at 08:00:01 and 08:00:03 of one shard, and at 08:00:02 of another; the first one's audit folder."""
    clock = Ticking()
    first = join(place, tmp_path / "n0")
    second = join(place, tmp_path / "n1", key=tmp_path / "n0")
    logs = {member.lease.shard: opened(member, clock=clock) for member in (first, second)}
    for number, shard in enumerate((1, 2, 1)):
        clock.time += 1
        logs[shard].begin(f"s{number}")
        logs[shard].run(f"s{number}", f"SELECT {number}")
        logs[shard].log.end_session(f"s{number}", "closed")
    for driven in logs.values():
        driven.log.close()
    first.leave()
    second.leave()
    return tmp_path / "n0"


def run(*words: str) -> str:
    result = RUN.invoke(app, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("query", *words, "--format", "json").splitlines()]


def test_a_question_is_about_all_shards(fleet: Path) -> None:
    """`shard` says where a row is from; a session is joined with its own end; one shard's folder asks that one."""
    asked = "SELECT shard, sid, cause, records FROM sessions ORDER BY begun"
    assert rows(asked, "--state", str(fleet)) == [
        {"shard": shard, "sid": f"s{number}", "cause": "closed", "records": 3} for number, shard in enumerate((1, 2, 1))]
    assert [row["sid"] for row in rows(asked, "--state", str(fleet / "shard-2"))] == ["s1"]
    within = rows("SELECT DISTINCT shard, sid FROM requests", "--state", str(fleet),
                  "--from", "2027-01-15T08:00:02Z", "--to", "2027-01-15T08:00:02Z")
    assert within == [{"shard": 2, "sid": "s1"}]


def test_events_of_all_shards_come_in_the_order_of_time(fleet: Path) -> None:
    """Each names its log, and times never run backwards though shards are read one beside the other."""
    told = [json.loads(line) for line in run("events", "--state", str(fleet)).splitlines()]
    assert [event["time"] for event in told] == sorted(event["time"] for event in told)
    assert {event["metadata"]["log_name"].rpartition("/")[2] for event in told} == {"shard-1", "shard-2"}


def test_parquet_has_files_of_each_shard(fleet: Path, tmp_path: Path) -> None:
    """The file's name and a column say the shard."""
    said = run("parquet", "--out", str(tmp_path / "out"), "--state", str(fleet))
    found = duckdb.connect().sql(f"SELECT shard, count(*) FROM '{tmp_path}/out/*.parquet' GROUP BY ALL ORDER BY ALL").fetchall()
    assert [shard for shard, _ in found] == [1, 2]
    assert said.startswith(f"{sum(count for _, count in found)} entries in 2 files")
    assert {path.name.rpartition("-0")[0][:7] for path in (tmp_path / "out").iterdir()} == {"shard-1", "shard-2"}


def test_numbers_of_entries_are_those_of_one_shard(fleet: Path) -> None:
    """Entry 3 is another one in each shard, so a number alone names nothing; nor is a time without entries an answer."""
    for words in (("query", "SELECT 1"), ("events",), ("parquet", "--out", str(fleet / "out"))):
        with pytest.raises(AuditError, match="fleet of several") as caught:
            RUN.invoke(app, [*words, "--first", "3", "--state", str(fleet)], catch_exceptions=False)
        assert str(fleet / "shard-1") in caught.value.advice()
        with pytest.raises(AuditError, match="no shard"):
            RUN.invoke(app, [*words, "--from", "2999-01-01", "--state", str(fleet)], catch_exceptions=False)


def test_each_shard_whose_payloads_are_opened_says_so(place: Place, fleet: Path) -> None:
    """What was kept beside a log is opened for somebody only once that log has it on record."""
    texts = rows("SELECT shard, payload->>'text' AS text FROM requests ORDER BY time", "--state", str(fleet), "--payloads")
    assert texts == [{"shard": shard, "text": f"SELECT {number}"} for number, shard in enumerate((1, 2, 1))]
    run("events", "--state", str(fleet), "--names")
    for shard in (1, 2):
        acts = [record["data"]["by"] for record in records(place, shard) if record["type"] == "export"]
        assert acts == ["query", "events"]
