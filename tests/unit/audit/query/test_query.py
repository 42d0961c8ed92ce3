"""SQL over a real log: what the views say, and what a question cannot do."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from lockgate.audit.query.engine import QueryError, asked
from lockgate.audit.query.parquet import write_parquet
from lockgate.audit.query.portion import Portion
from lockgate.audit.query.tables import COLUMNS
from lockgate.audit.storage.sqlite import open_source
from lockgate.cli.audit import app
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.logs import Driven, edit, sample, stored

RUN = CliRunner()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    sample(folder / "audit")
    driven = Driven(folder / "audit")
    driven.log.event(Event("config_change", {"before": "a", "after": "b"}))
    driven.begin("c" * 16)
    driven.run("c" * 16, "SELECT 1", objects=("evil\x1b[31m,\"name\"",))
    driven.log.close()
    return folder


def ask(state: Path, question: str, **options: Any) -> list[tuple[Any, ...]]:
    first, last = options.pop("first", 0), options.pop("last", None)
    with asked([Portion(state / "audit", first=first, last=last)], question, **options) as answer:
        return [row for batch in answer.rows() for row in batch]


def test_the_views_answer_what_people_ask(state: Path) -> None:
    """Requests are joined with their outcomes, sessions with their ends, tickets with their decisions."""
    assert ask(state, "SELECT record, verbs, decision, status, rows, microseconds FROM requests ORDER BY index LIMIT 3") == [
        (1, ["select"], "allow", "ok", 1, 1500), (1, ["drop"], "deny", None, None, None),
        (4, ["delete"], "review", "ok", 1, 1500)]
    assert ask(state, "SELECT sid[1], connection, cause, records, first, last FROM sessions ORDER BY first") == [
        ("a", "crm", "closed", 6, 1, 13), ("b", "crm", "closed", 4, 2, 14), ("c", "crm", "shutdown", 3, 18, 21)]
    assert ask(state, "SELECT detector, sum(hidden) FROM masked GROUP BY detector") == [("email", 8)]
    assert ask(state, "SELECT ticket, verdict, requester <> reviewer, request, review FROM reviews") == [
        ("T1", "approved", True, 6, 7)]
    assert ask(state, "SELECT type, data->>'after' FROM acts") == [("config_change", "b")]
    assert ask(state, "SELECT type, epoch, sessions FROM nodes ORDER BY index LIMIT 2") == [
        ("node_start", 1, None), ("heartbeat", None, 2)]


def test_the_leaf_is_there_as_it_is_hashed(state: Path) -> None:
    """The column `leaf` is the stored text and `hash` its hash; nothing of it is written again."""
    rows = ask(state, "SELECT leaf, hash FROM leaves ORDER BY index")
    assert [leaf.encode() for leaf, _ in rows] == stored(state / "audit")
    with open_source(state / "audit") as source:
        assert [digest for _, digest in rows] == [digest.hex() for digest in source.hashes()]
    assert ask(state, "SELECT min(index), max(index) FROM leaves", first=3, last=5) == [(3, 5)]


def test_payloads_are_there_only_when_asked_for(state: Path) -> None:
    """Texts and names are decrypted for a question only with `payloads`."""
    question = "SELECT count(payload), string_agg(payload->>'text', '|' ORDER BY index) FROM leaves"
    assert ask(state, question) == [(0, None)]
    [(count, texts)] = ask(state, question, payloads=True)
    assert count == 10
    assert texts.split("|")[:2] == ["SELECT 1", "DROP TABLE customers"]


@pytest.mark.parametrize("question", [
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/*')", "SELECT * FROM read_blob('/proc/self/environ')", "COPY leaves TO '/tmp/lockgate-out.csv'",
    "ATTACH '/tmp/lockgate-other.db'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '100GB'", "RESET threads",
    "DELETE FROM leaves", "CREATE TABLE mine (a INT)", "INSERT INTO leaves (index) VALUES (1)", "DROP VIEW requests",
    "SELECT 1; SELECT 2", "", "-- nothing", "EXPORT DATABASE '/tmp/lockgate-export'", "PRAGMA database_list",
    "SELECT * FROM query('COPY leaves TO ''/tmp/x''')", "SELECT * FROM 'https://127.0.0.1:9/x.parquet'", "SELEC 1",
    "SELECT getenv('HOME')", "SELECT nothing FROM leaves", "CALL pragma_version()",
])
def test_a_question_reads_the_log_and_nothing_else(state: Path, question: str) -> None:
    """No file, no network, no extension, no settings, no change: one statement that reads, or an error."""
    payloads = "read_" in question      # in memory, where nothing but the locks stands in the way
    with pytest.raises(QueryError):
        ask(state, question, payloads=payloads)


def test_a_large_question_is_refused_and_does_not_take_the_machine(state: Path) -> None:
    """Memory is bounded: with payloads, which never go to a disk, what does not fit is an error."""
    with pytest.raises(QueryError, match="Out of Memory"):
        ask(state, "SELECT list(repeat('x', 4000000)) FROM range(600)", payloads=True)


def test_nothing_is_left_behind(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that a question reads goes away with it; with payloads none is written at all."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with asked([Portion(state / "audit")], "SELECT 1") as answer:
        next(answer.rows())
        assert [path.name for path in tmp_path.rglob("*.duckdb")] == ["log.duckdb"]
    with asked([Portion(state / "audit")], "SELECT payload FROM leaves", payloads=True) as answer:
        next(answer.rows())
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_entry_is_an_error_with_its_number(tmp_path: Path) -> None:
    """What cannot be read is not left out of an answer."""
    sample(tmp_path / "audit")
    edit(tmp_path / "audit", "UPDATE entries SET leaf = zeroblob(9) WHERE idx = 5")
    with pytest.raises(AuditError, match="entry 5"):
        ask(tmp_path, "SELECT 1")


def test_parquet_is_what_duckdb_reads_outside(state: Path, tmp_path: Path) -> None:
    """Files by ranges with every entry in order, for the owner's eyes only; a folder with something in it is refused."""
    files = list(write_parquet([Portion(state / "audit")], tmp_path / "out", part=10))
    assert [path.name for path in files] == [
        "leaves-000000000000-000000000009.parquet", "leaves-000000000010-000000000019.parquet",
        "leaves-000000000020-000000000022.parquet"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert sorted(tmp_path.joinpath("out").iterdir()) == files
    with pytest.raises(AuditError, match="not empty"):
        write_parquet([Portion(state / "audit")], tmp_path / "out")
    outside = duckdb.connect().sql(f"SELECT * FROM '{tmp_path}/out/*.parquet' ORDER BY index")
    assert outside.columns == list(COLUMNS)
    assert [row[outside.columns.index("leaf")].encode() for row in outside.fetchall()] == stored(state / "audit")


# ---------------------------------------------------------------- the commands


def run(*arguments: str) -> str:
    result = RUN.invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_forms_of_an_answer(state: Path, tmp_path: Path) -> None:
    """A table without control characters, JSON lines in ASCII, CSV, and Parquet in a new file of one's own."""
    question = "SELECT index, objects[1] AS name, rows FROM requests ORDER BY index DESC LIMIT 2"
    arguments = ("query", question, "--state", str(state))
    table = run(*arguments)
    assert "\x1b" not in table
    assert r'evil\x1b[31m,"name"' in table
    assert [json.loads(line) for line in run(*arguments, "--format", "json").splitlines()] == [
        {"index": 19, "name": 'evil\x1b[31m,"name"', "rows": 1}, {"index": 11, "name": "public.customers", "rows": 1}]
    rows = list(csv.reader(io.StringIO(run(*arguments, "--format", "csv"))))
    assert rows == [["index", "name", "rows"], ["19", 'evil\x1b[31m,"name"', "1"], ["11", "public.customers", "1"]]
    out = tmp_path / "answer.parquet"
    run(*arguments, "--format", "parquet", "--out", str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    assert duckdb.connect().sql(f"SELECT index FROM '{out}'").fetchall() == [(19,), (11,)]
    assert run(*arguments, "--limit", "1").splitlines()[-1].startswith("… more than 1 rows")


def test_an_answer_overwrites_nothing_and_leaves_no_half(state: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is; after an error none is there."""
    there = tmp_path / "there"
    there.write_text("mine")
    for arguments in (("SELECT 1", "--out", str(there)), ("SELECT 1", "--format", "parquet"),
                      ("SELECT nope FROM leaves", "--format", "csv", "--out", str(tmp_path / "half")),
                      ("SELECT nope FROM leaves", "--format", "parquet", "--out", str(tmp_path / "half"))):
        with pytest.raises(AuditError):
            RUN.invoke(app, ["query", *arguments, "--state", str(state)], catch_exceptions=False)
    assert there.read_text() == "mine"
    assert not (tmp_path / "half").exists()


def test_events_prints_a_range_as_ascii_json(state: Path) -> None:
    """One event a line, for the entries that were asked for; a control character stays an escape."""
    lines = run("events", "--state", str(state), "--first", "4", "--last", "20").splitlines()
    assert all(line.isascii() and "\x1b" not in line for line in lines)
    assert {json.loads(line)["metadata"]["sequence"] for line in lines} == {4, 5, 6, 7, 9, 10, 12, 13, 14, 15, 16, 17, 18, 20}


def test_opening_payloads_is_on_record_before_anything_is_shown(tmp_path: Path) -> None:
    """Who asks for names or texts leaves an `export` entry with the question; who asks for neither leaves none."""
    sample(tmp_path / "audit")
    state = ("--state", str(tmp_path))
    run("query", "SELECT 1", *state)
    run("events", *state)
    assert ask(tmp_path, "SELECT count(*) FROM acts") == [(0,)]
    assert '"alice"' in run("events", *state, "--names", "--last", "3")
    run("query", "SELECT 2", *state, "--payloads")
    run("parquet", *state, "--payloads", "--out", str(tmp_path / "out"))
    acts = ask(tmp_path, "SELECT type, data->>'by', payload->>'body' FROM acts ORDER BY index", payloads=True)
    assert [act[:2] for act in acts] == [("export", "events"), ("export", "query"), ("export", "parquet")]
    assert json.loads(acts[1][2])["question"] == "SELECT 2"
    with (tmp_path / "audit" / "log.key").open("w"), pytest.raises(AuditError):
        RUN.invoke(app, ["query", "SELECT 3", *state, "--payloads"], catch_exceptions=False)


def test_events_can_follow_a_log_that_grows(tmp_path: Path) -> None:
    """With --follow what is written later comes out later, until it is stopped."""
    sample(tmp_path / "audit")
    program = f"from lockgate.cli.audit import app; app(['events', '--state', {str(tmp_path)!r}, '--follow'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        for line in following.stdout:
            index = json.loads(line)["metadata"]["sequence"]
            if index == 15:
                Driven(tmp_path / "audit").log.close()
            if index == 17:
                break
        following.kill()
