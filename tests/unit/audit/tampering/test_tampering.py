"""Attacks on evidence, each named by its check and the first entry: the gateway's verifier and the stand-alone one agree."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockgate.audit.evidence.package import verify_package
from lockgate.audit.evidence.report import Report, Verdict, report_json
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.packaging.standalone import standalone
from lockgate.audit.verify import verify_log
from lockgate.cli import audit
from lockgate.errors import AuditError
from tests.unit.audit.packages import check, exported
from tests.unit.audit.tampering.archives import ALTERED, OTHER, Altered, Honest, honest_packages
from tests.unit.audit.tampering.corpus import Judged, corpus, honest_log
from tests.unit.audit.tampering.forge import Forge
from tests.unit.audit.tampering.rewrites import REWRITES, Rewritten, honest_rewrites

RUN = CliRunner()
VERDICTS = ["verified", "tampered", "incomplete", "untrusted"]


@pytest.fixture(scope="module")
def honest() -> Honest:
    return honest_log()


def judged(name: str) -> list[Judged]:
    """What there is of this name."""
    return [one for one in corpus() if one.name == name]


@pytest.fixture(scope="module")
def alone() -> types.ModuleType:
    """The stand-alone verifier, read as one program."""
    module = types.ModuleType("alone")
    sys.modules["alone"] = module
    exec(compile(standalone(), "verify.py", "exec", dont_inherit=True), module.__dict__)
    return module


def named(report: Report) -> tuple[str, int | None, Verdict] | None:
    """What decides."""
    first = report.first
    return None if first is None else (first.check, first.index, report.verdict)


def require_same(alone: types.ModuleType, package: bytes, pins: Pins, report: Report) -> None:
    """The stand-alone verifier says the same in everything."""
    found = alone.verify_package(io.BytesIO(package), alone.Pins(*pins), "evidence.tar")
    assert alone.report_json(found) == report_json(report)


@pytest.mark.parametrize("name", ["whole", "session", "withheld", "bare", "trusted", "named", "keys", "keys in part"])
def test_the_honest_packages_verify(honest: Honest, alone: types.ModuleType, name: str) -> None:
    """What the attacks start from is beyond reproach."""
    report = verify_package(io.BytesIO(honest.packages[name]), honest.pins_of(name), "evidence.tar")
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    require_same(alone, honest.packages[name], honest.pins_of(name), report)


def test_packages_with_all_that_may_come_along_verify(alone: types.ModuleType) -> None:
    """Changes of keys for whoever pinned any of them, cosignatures and time-stamps in every order."""
    names = [name for name, _, _ in honest_packages(honest_log())]
    assert len(names) >= 15
    for one in [one for one in corpus() if one.name in names]:
        report = verify_package(io.BytesIO(one.package), one.pins, "evidence.tar")
        assert (report.verdict, report.findings) == (Verdict.VERIFIED, []), one.name
        require_same(alone, one.package, one.pins, report)


@pytest.mark.parametrize("name", ["whole", "rotated in part, by key 1", "leaf_dropped", "payload_with_another_salt"])
def test_it_does_not_matter_how_much_is_read_at_once(alone: types.ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lines and hashes are put together from whatever pieces a file is read in, wherever it stood before."""
    (one,) = judged(name)
    usual = alone.verify_package(io.BytesIO(one.package), alone.Pins(*one.pins), "x")
    for size in (64, 512):
        monkeypatch.setattr(alone, "_CHUNK_SIZE", size)
        file = io.BytesIO(one.package)
        file.seek(5)
        assert alone.report_json(alone.verify_package(file, alone.Pins(*one.pins), "x")) == alone.report_json(usual)


@pytest.mark.parametrize("name", [name for name, _ in honest_rewrites()])
def test_a_forged_log_without_an_attack_verifies(name: str) -> None:
    """The forger leaves no traces of its own, so what is named below is the attack."""
    for one in judged(name):
        assert one.folder is not None
        assert one.folder.findings == []
        assert check(one.package, one.pins.key).findings == []


@pytest.mark.parametrize("number", range(14))
def test_a_range_of_any_kind_verifies(number: int) -> None:
    """Sessions cut in two, reviews from before the range, a session that is open."""
    for one in judged(f"range {number}"):
        assert check(one.package, one.pins.key).findings == []


@pytest.mark.parametrize("case", REWRITES, ids=lambda case: case.name)
def test_a_log_that_was_written_anew(alone: types.ModuleType, case: Rewritten) -> None:
    """Somebody with the log's key made hashes, chains and signature fit: what does not fit is named."""
    (one,) = judged(case.name)
    if case.in_folder:
        assert one.folder is not None
        assert named(one.folder) == (case.check, case.folder_index, case.verdict), one.folder.findings
    if case.in_package:
        report = check(one.package, one.pins.key)
        assert named(report) == (case.check, case.index, case.verdict), report.findings
        require_same(alone, one.package, one.pins, report)


@pytest.mark.parametrize("case", ALTERED, ids=lambda case: case.name)
def test_a_package_that_was_altered(alone: types.ModuleType, case: Altered) -> None:
    """Files, archive, proofs and notes of a finished package, with a manifest that fits: what does not fit is named."""
    (one,) = judged(case.name)
    report = verify_package(io.BytesIO(one.package), one.pins, "evidence.tar")
    assert named(report) == (case.check, case.index, case.verdict), report.findings
    require_same(alone, one.package, one.pins, report)


def test_the_attacks_are_many_and_have_names_of_their_own() -> None:
    """Two of one name would hide each other; every check is attacked."""
    names = Counter(case.name for case in (*REWRITES, *ALTERED))
    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) >= 450
    assert {case.check for case in (*REWRITES, *ALTERED)} >= {
        "archive", "manifest", "key", "trust", "checkpoint", "cosignature", "quorum", "cosigned checkpoint",
        "kept checkpoint", "entries", "leaf hash", "tree", "proof", "leaf grammar", "position", "epoch", "session",
        "gapless", "chain", "outcome", "session root", "review", "binding", "clock", "payloads", "recordings", "erasure",
        "hold", "rotation", "anchor"}


@pytest.mark.parametrize("name", ["leaf_exchanged", "rolled_back", "trust_note_missing", "no_key_was_pinned", "no_end"])
def test_both_commands_print_and_exit_alike(honest: Honest, tmp_path: Path, name: str) -> None:
    """`lockgate audit verify` and `python3 verify.py`: the same JSON and the same status."""
    case = next(case for case in ALTERED if case.name == name)
    package = tmp_path / "evidence.tar"
    package.write_bytes(case.made(honest))
    words = ["--json"]
    for option, text in zip(("key", "root", "policy", "against"), case.pinned(honest), strict=True):
        if text is not None:
            (tmp_path / option).write_text(text)
            words += [f"--{option}", str(tmp_path / option)]
    result = RUN.invoke(audit.app, ["verify", str(package), *words])
    (tmp_path / "verify.py").write_text(standalone())
    other = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "verify.py"), str(package), *words],
                           capture_output=True, text=True)
    one, two = json.loads(result.output), json.loads(other.stdout)
    assert comparable(one) == comparable(two)
    assert (one["verdict"], one["check"], one["index"]) == (case.verdict.name.lower(), case.check, case.index)
    assert result.exit_code == other.returncode == VERDICTS.index(one["verdict"])


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Without the advice, which the two give in words of their own."""
    return {name: value for name, value in report.items() if name != "notes"}


@pytest.mark.parametrize("name", ["leaf_that_is_no_json", "leaf_that_is_no_utf8", "leaf_that_is_an_array"])
def test_a_damaged_log_is_not_exported(honest: Honest, tmp_path: Path, name: str) -> None:
    """The exporter says so, where it has to read a record that is none."""
    forge = Forge(honest.folder)
    next(case for case in REWRITES if case.name == name).rewrite(forge)
    folder = forge.write(tmp_path / "log")
    if name == "leaf_that_is_an_array":
        assert named(check(exported(folder), honest.key)) == ("leaf grammar", 10, Verdict.TAMPERED)
        return
    with pytest.raises(AuditError, match="damaged"):
        exported(folder)


# ---------------------------------------------------------------- folders


def folder_checked(folder: Path, honest: Honest, against: str | None = None) -> tuple[str, int | None, Verdict] | None:
    return named(verify_log(folder, key=honest.folder / "log.vkey", against=against))


@pytest.mark.parametrize("kept", [17, 20])
def test_a_truncated_and_signed_folder_is_found_by_a_kept_checkpoint(honest: Honest, tmp_path: Path, kept: int) -> None:
    """The tail is cut off and the rest signed anew: the checkpoint that somebody kept names what is missing."""
    forge = Forge(honest.folder)
    del forge.rows[16:]
    folder = forge.write(tmp_path / "log")
    against = honest.forge.sign(kept, honest.forge.root(kept))
    assert folder_checked(folder, honest, against) == ("kept checkpoint", 16, Verdict.TAMPERED)


def test_two_checkpoints_of_one_size_are_a_split_view(honest: Honest, tmp_path: Path) -> None:
    """The key has signed two logs of one size."""
    forge = Forge(honest.folder)
    forge.notes[10] = forge.sign(10, bytes(32))
    folder = forge.write(tmp_path / "log")
    assert folder_checked(folder, honest) == ("checkpoint", 0, Verdict.TAMPERED)
    against = honest.forge.sign(24, bytes(32))
    report = verify_log(honest.folder, key=honest.folder / "log.vkey", against=against)
    assert report.verdict is Verdict.TAMPERED
    assert any("two logs of 24 entries" in found.message for found in report.findings)


def test_a_fork_before_what_was_kept_is_found_in_a_folder(honest: Honest, tmp_path: Path) -> None:
    """A record is changed and everything after it made to fit: the kept root is another one."""
    forge = Forge(honest.folder)
    forge[4].fields["rows"] = 9
    folder = forge.write(tmp_path / "log")
    against = honest.forge.sign(17, honest.forge.root(17))
    assert folder_checked(folder, honest) is None
    assert folder_checked(folder, honest, against) == ("kept checkpoint", 0, Verdict.TAMPERED)


def test_a_folder_signed_by_another_key_is_not_trusted(honest: Honest, tmp_path: Path) -> None:
    """The whole log signed by a key that nobody pinned, its verifier key beside it."""
    forge = Forge(honest.folder)
    folder = forge.write(tmp_path / "log")
    (tmp_path / "other.vkey").write_text(OTHER.vkey + "\n")
    report = verify_log(folder, key=tmp_path / "other.vkey")
    assert named(report) == ("published checkpoint", None, Verdict.UNTRUSTED)
