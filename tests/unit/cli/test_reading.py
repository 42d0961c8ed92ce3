"""The record's commands on an evidence package: what it discloses is shown, once it verifies, and nothing before."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.audit.packaging.pages import PackagePages
from lockgate.cli import audit, session
from lockgate.errors import AuditError
from tests.unit.audit.logs import Driven, Ticking, sample
from tests.unit.audit.packages import changed, exported, listed, members

RUN = CliRunner()
A, B = "a" * 16, "b" * 16


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two sessions, and packages: of all of it, of one session, and of one without payloads."""
    place = tmp_path_factory.mktemp("reading")
    folder = place / "state" / "audit"
    sample(folder)
    for name, asked in (("all", {}), ("a", {"session": A}), ("bare", {"session": A, "payloads": False})):
        (place / f"{name}.tar").write_bytes(exported(folder, **asked))
    return place


def shown(place: Path, name: str, *words: str, status: int = 0) -> str:
    """What a command prints of a package, read with the log's key."""
    program = audit.app if words[0] == "audit" else session.app
    result = RUN.invoke(program, [*words[words[0] == "audit":], "--package", str(place / f"{name}.tar"),
                                  "--key", str(place / "state/audit/log.vkey")])
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.stderr


def of_log(place: Path, *words: str) -> str:
    result = RUN.invoke(session.app, [*words, "--state", str(place / "state")])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("words", [
    ["list"], ["list", "--verb", "delete", "--object", "customers"], ["list", "--json"], ["show", "aaaa"], ["show", "bbbb", "--json"],
    ["replay", "aaaa"], ["replay", "aaaa", "--json"],
])
def test_a_package_of_all_reads_as_the_log_does(place: Path, words: list[str]) -> None:
    """Sessions, statements, parameters, reviews and outcomes: the very same words."""
    assert shown(place, "all", *words) == of_log(place, *words)
    assert "DELETE FROM customers" in shown(place, "all", "replay", "aaaa")


def test_what_is_withheld_is_said_to_be(place: Path) -> None:
    """Other people's sessions in the range, and all payloads where none are disclosed."""
    assert "alice" in shown(place, "a", "list")
    assert "(withheld)" in shown(place, "a", "list")
    assert "bob" not in shown(place, "a", "list")
    assert "(statement withheld)" in shown(place, "bare", "replay", A)
    assert "approved by" in shown(place, "bare", "replay", A)
    assert "payload: withheld" in shown(place, "a", "audit", "show", "2")
    assert "DELETE FROM customers" in shown(place, "a", "audit", "show", "8")
    assert "no entry 14 here" in shown(place, "a", "audit", "show", "14", status=4)


def test_nothing_is_shown_of_a_package_that_does_not_verify(place: Path) -> None:
    """Altered, or by nobody who is pinned: the report and its status, and not one word of the package."""
    package = (place / "a.tar").read_bytes()
    (place / "bad.tar").write_bytes(changed(package, "payloads.jsonl", lambda data: data.replace(b"DELETE", b"SELECT")))
    for command in (["list"], ["show", "aaaa"], ["replay", "aaaa"]):
        result = RUN.invoke(session.app, [*command, "--package", str(place / "bad.tar"), "--key", str(place / "state/audit/log.vkey")])
        assert (result.exit_code, result.stdout) == (1, "")
        assert "TAMPERED at index 6" in result.stderr
        result = RUN.invoke(session.app, [*command, "--package", str(place / "a.tar")])
        assert (result.exit_code, result.stdout) == (3, "")
        assert "no key was pinned" in result.stderr


def test_pins_without_a_package_are_wrong_usage(place: Path) -> None:
    """Nothing is verified where the log itself is read, so nothing is pinned; nor is there a package that cannot be read."""
    key = str(place / "state/audit/log.vkey")
    result = RUN.invoke(session.app, ["list", "--state", str(place / "state"), "--key", key])
    assert (result.exit_code, "lockgate audit verify" in result.stderr) == (4, True)
    assert RUN.invoke(session.app, ["list", "--package", str(place / "no.tar"), "--key", key]).exit_code == 4


def test_a_session_that_began_before_the_range_is_told_apart(tmp_path: Path) -> None:
    """A period may hold the rest of a session only: it is counted, and asked for it says what to ask for instead."""
    clock = Ticking()
    driven = Driven(tmp_path / "state" / "audit", clock=clock)
    for sid in (A, B):
        driven.begin(sid)
        clock.time += 1
    for sid in (A, B):
        driven.log.end_session(sid, "closed")
    driven.log.close()
    (tmp_path / "late.tar").write_bytes(exported(tmp_path / "state/audit", start=int(Ticking().time * 1000) + 1000))
    result = RUN.invoke(session.app, ["list", "--package", str(tmp_path / "late.tar"), "--key", str(tmp_path / "state/audit/log.vkey")])
    assert "1 of the sessions began before entry 2" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert "began before entry 2" in shown(tmp_path, "late", "show", A, status=4)


def test_the_leaves_of_a_large_package_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that lie across pieces, and payloads that are longer than one, are whole."""
    monkeypatch.setattr("lockgate.audit.packaging.pages._CHUNK", 700)
    driven = Driven(tmp_path / "state/audit")
    driven.begin(A)
    driven.run(A, "SELECT '" + "x" * 5_000 + "'")
    driven.run(A, "SELECT 2")
    driven.log.end_session(A, "closed")
    driven.log.close()
    (tmp_path / "all.tar").write_bytes(exported(tmp_path / "state/audit"))
    assert shown(tmp_path, "all", "replay", A, "--json") == of_log(tmp_path, "replay", A, "--json")


def test_a_package_that_is_exchanged_after_its_verification_is_no_traceback(place: Path) -> None:
    """What is read is the file that was verified; one that was written over meanwhile is an error in words."""
    files = members((place / "a.tar").read_bytes())
    other = place / "other.tar"
    other.write_bytes(listed({**files, "payloads.jsonl": b"nonsense\n"}))
    with other.open("rb") as file, pytest.raises(AuditError, match="changed while it was read"):
        PackagePages(file)
