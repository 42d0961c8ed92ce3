"""What goes into a package: the range of the question, the payloads that it is about, and what both rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import export_package
from lockgate.audit.packaging.proving import Proofs
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tree import Frontier, consistency_proof, inclusion_proof, leaf_hash
from lockgate.audit.verify import verify_log
from lockgate.cli import audit
from lockgate.errors import AuditError
from tests.unit.audit.logs import Driven, Ticking, edit, review_events, sample
from tests.unit.audit.logs import binding as bound
from tests.unit.audit.packages import check, exported, members

RUN = CliRunner()
A, B = "a" * 16, "b" * 16


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "log"
    sample(folder)
    return folder


def key_of(folder: Path) -> str:
    return (folder / "log.vkey").read_text()


def manifest(package: bytes) -> dict[str, Any]:
    return orjson.loads(members(package)["manifest.json"])


def disclosed(package: bytes) -> list[int]:
    return [orjson.loads(line)["index"] for line in members(package)["payloads.jsonl"].splitlines()]


@pytest.mark.parametrize(("asked", "span", "payloads", "withheld"), [
    ({}, (0, 15), [1, 2, 3, 5, 6, 7, 8, 11], []),
    ({"session": A}, (1, 13), [1, 3, 6, 7, 8], [[2, 2], [5, 5], [11, 11]]),
    ({"session": "b"}, (2, 14), [2, 5, 11], [[3, 3], [6, 8]]),
    ({"subject": "bob"}, (2, 14), [2, 5, 11], [[3, 3], [6, 8]]),
    ({"subject": "alice", "withhold": ((0, 3), (8, 8))}, (1, 13), [6, 7], [[1, 5], [8, 11]]),
    ({"payloads": False}, (0, 15), [], [[1, 11]]),
])
def test_the_range_and_the_payloads_are_those_of_the_question(
    log: Path, asked: dict[str, Any], span: tuple[int, int], payloads: list[int], withheld: list[list[int]]
) -> None:
    """A session's package has its payloads and its reviews'; those of others are named as withheld."""
    package = exported(log, **asked)
    found = manifest(package)
    assert (found["first"], found["last"], found["withheld"]) == (*span, withheld)
    assert disclosed(package) == payloads
    report = check(package, key_of(log))
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert (report.entries, report.payloads) == (span[1] - span[0] + 1, len(payloads))


def test_packages_of_one_question_are_equal(log: Path) -> None:
    """Nothing in it depends on when or where it is written."""
    assert exported(log, session=A) == exported(log, session=A)


def test_the_package_appears_whole_and_for_its_owner_only(log: Path, tmp_path: Path) -> None:
    """It holds what others may not read; nothing of the spool is left."""
    export_package(log, Asked(), tmp_path / "evidence.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.tar"]
    assert (tmp_path / "evidence.tar").stat().st_mode & 0o777 == 0o600
    with pytest.raises(AuditError):
        export_package(log, Asked(), tmp_path / "nowhere" / "evidence.tar")


@pytest.mark.parametrize("asked", [{"session": "zz"}, {"subject": "nobody"}, {"start": 10**14}, {"end": 5}])
def test_a_question_without_an_answer_is_said_to_have_none(log: Path, asked: dict[str, Any], tmp_path: Path) -> None:
    """No package is written then."""
    with pytest.raises(AuditError):
        export_package(log, Asked(**asked), tmp_path / "evidence.tar")
    assert list(tmp_path.iterdir()) == []


def timed(folder: Path) -> Driven:
    """Three sessions, a second apart each: 0 start · 1–4 at 1 s · 5–8 at 2 s · 9–12 at 3 s."""
    clock = Ticking()
    driven = Driven(folder, clock=clock)
    for number in range(3):
        clock.time += 1
        driven.begin(f"s{number}", "erin")
        driven.run(f"s{number}", f"SELECT {number}")
        driven.log.end_session(f"s{number}", "closed")
    return driven


def test_a_period_comes_with_its_neighbours(tmp_path: Path) -> None:
    """From and to are those of the records; the ones before and behind show that none is left out."""
    timed(tmp_path / "log").log.close()
    start = int(Ticking().time * 1000)
    package = exported(tmp_path / "log", start=start + 1001, end=start + 2999)
    found = manifest(package)
    assert (found["first"], found["last"]) == (5, 8)
    assert found["scope"] == {"from": start + 2000, "to": start + 2000}
    assert {"extra/4.tlog-proof", "extra/9.tlog-proof"} <= set(members(package))
    report = check(package, key_of(tmp_path / "log"))
    assert (report.verdict, report.sessions, report.payloads) == (Verdict.VERIFIED, 1, 2)


def test_the_verifier_says_what_was_asked_for(log: Path, tmp_path: Path) -> None:
    """A package of another session, or of a shorter period, verifies as well: whoever asked has to see which one it is."""
    def said(package: bytes, key: str) -> str:
        return check(package, key).covered["manifest"][-1]

    assert said(exported(log, session=B), key_of(log)).startswith(f"asked for session {B}: entries 2 to ")
    assert said(exported(log), key_of(log)).startswith("asked for the whole log: entries 0 to ")
    assert said(exported(log, subject="bob"), key_of(log)).startswith("asked for the sessions of ")
    folder, clock = tmp_path / "log", Ticking()
    driven = Driven(folder, clock=clock)
    for number in range(3):
        clock.time = 1_800_000_000 + 60 * number
        driven.begin(f"s{number}", "erin")
    driven.log.close()
    period = exported(folder, start=1_800_000_050_000, end=1_800_000_070_000)
    assert said(period, key_of(folder)).startswith("asked for 2027-01-15T08:01:00")
    assert "before them entry 1 is of 2027-01-15T08:00:00" in said(period, key_of(folder))
    assert "after them entry 3 is of 2027-01-15T08:02:00" in said(period, key_of(folder))


def test_reviews_from_before_the_range_come_along(tmp_path: Path) -> None:
    """A request by a ticket of an earlier session relies on records outside the range: they come with proofs."""
    driven = Driven(tmp_path / "log")
    driven.begin("early")
    for event in review_events("T1", "alice", "carol", "early"):
        driven.log.event(event)
    driven.log.end_session("early", "closed")
    driven.begin("late")
    text = "DELETE FROM customers"
    driven.run("late", text, decision="review", ticket="T1", binding=bound("alice", text))
    driven.log.end_session("late", "closed")
    driven.log.close()
    package = exported(tmp_path / "log", session="late")
    assert {"extra/2.tlog-proof", "extra/3.tlog-proof"} <= set(members(package))
    assert {2, 3} < set(disclosed(package))
    report = check(package, key_of(tmp_path / "log"))
    assert report.findings == []
    assert "1 of them computed again" in "".join(report.covered["sessions"])


def test_open_sessions_reach_to_the_newest_entry(tmp_path: Path) -> None:
    """A session that runs is packaged as far as it has come."""
    driven = timed(tmp_path / "log")
    driven.begin("open")
    driven.run("open")
    package = exported(tmp_path / "log", session="open")
    driven.log.close()
    assert manifest(package)["last"] == manifest(package)["size"] - 1
    report = check(package, key_of(tmp_path / "log"))
    assert (report.verdict, report.open_sessions) == (Verdict.VERIFIED, 1)


def test_a_lost_payload_is_missing_and_not_withheld(tmp_path: Path) -> None:
    """What the store has lost without an erasure: incomplete, at its entry."""
    sample(tmp_path / "log")
    edit(tmp_path / "log", "DELETE FROM payload_keys WHERE idx = 8", "DELETE FROM payloads WHERE idx = 8")
    report = check(exported(tmp_path / "log"), key_of(tmp_path / "log"))
    assert report.first is not None
    assert (report.verdict, report.first.index, report.first.message) == (
        Verdict.INCOMPLETE, 8, "the entry's payload is MISSING")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_proofs_are_made_in_one_pass(size: int) -> None:
    """Every proof of a small tree is the one that is made with all leaves at hand."""
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    proofs = Proofs(size)
    for number in range(size):
        proofs.want_inclusion(number)
        proofs.want_consistency(number + 1)
        proofs.want_frontier(number)
    proofs.read(hashes)
    for number in range(size):
        before = Frontier()
        for digest in hashes[:number]:
            before.append(digest)
        assert proofs.inclusion(number) == inclusion_proof(number, hashes)
        assert proofs.consistency(number + 1) == consistency_proof(number + 1, hashes)
        assert proofs.frontier(number) == before.nodes
    with pytest.raises(AuditError):
        Proofs(size + 1).read(hashes)


def test_the_command_exports_records_and_verifies(tmp_path: Path) -> None:
    """One command: the package, its verdict, and a record of who took what out of the log."""
    sample(tmp_path / "state" / "audit")
    out = tmp_path / "evidence.tar"
    result = RUN.invoke(audit.app, ["export", "--state", str(tmp_path / "state"), "--session", "aaaa", "--out", str(out),
                                    "--withhold", "3", "--reason", "case 7"])
    assert result.exit_code == 0, result.output
    assert "entries 1 to 13 of 16, 4 payloads disclosed" in result.output
    verified = RUN.invoke(audit.app, ["verify", str(out), "--key", str(tmp_path / "state" / "audit" / "log.vkey")])
    assert verified.exit_code == 0, verified.output
    assert "VERIFIED" in verified.output
    assert RUN.invoke(audit.app, ["verify", str(out)]).exit_code == 3
    with open_source(tmp_path / "state" / "audit") as source:
        said = [orjson.loads(leaf) for _, _, leaf in source.leaves(containing=(b'"type":"export"',))]
    assert [(one["data"]["first"], one["data"]["last"], one["data"]["disclosed"]) for one in said] == [(1, 13, 4)]
    assert said[0]["requester"]
    assert verify_log(tmp_path / "state" / "audit").findings == []
    again = RUN.invoke(audit.app, ["export", "--state", str(tmp_path / "state"), "--out", str(out)])
    assert (again.exit_code, "give a file that is new" in again.stderr) == (4, True)


def test_no_package_leaves_without_its_record(log: Path, tmp_path: Path) -> None:
    """Where the export cannot be put on record, there is no file, whole or in part."""
    def refuse(_: object) -> None:
        assert list(tmp_path.glob("*.tar")) == []
        raise AuditError("the log is full")

    with pytest.raises(AuditError, match="full"):
        export_package(log, Asked(), tmp_path / "evidence.tar", refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [
    ["--session", "a", "--subject", "b"], ["--from", "yesterday"], ["--withhold", "x"], ["--session", "zz"],
])
def test_wrong_questions_are_usage_errors(log: Path, tmp_path: Path, arguments: list[str]) -> None:
    """4, and no file."""
    out = tmp_path / "evidence.tar"
    result = RUN.invoke(audit.app, ["export", "--state", str(log), "--out", str(out), *arguments])
    assert (result.exit_code, out.exists()) == (4, False)
