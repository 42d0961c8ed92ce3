"""The stand-alone verifier: one file, the standard library, old Pythons, and the same verdicts."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vermin

from lockgate.audit.evidence.report import report_json
from lockgate.audit.packaging.standalone import amalgamated, evidence_sources, standalone
from tests.unit.audit.logs import sample
from tests.unit.audit.packages import changed, check, exported, packed

OLDEST = (3, 8)


def _oldest_python() -> str | None:
    """A Python 3.8 of this machine, or None."""
    found = [shutil.which("python3.8"), *map(str, sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8")))]
    for candidate in filter(None, found):
        answer = subprocess.run([candidate, "-I", "-c", "import sys; print(sys.version_info[:2])"], capture_output=True)
        if answer.stdout.strip() == b"(3, 8)":
            return str(candidate)
    return None


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("standalone") / "verify.py"
    path.write_text(standalone())
    return path


def test_it_is_python_3_8() -> None:
    """The oldest grammar reads it, and nothing in it needs a newer library."""
    ast.parse(standalone(), feature_version=OLDEST)
    config = vermin.Config()
    config.set_eval_annotations(False)
    visitor = vermin.visit(standalone(), config)
    _, minimum = visitor.minimum_versions()
    assert minimum <= OLDEST, visitor.output_text()


def test_it_imports_the_standard_library_only() -> None:
    """Nothing has to be installed."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(standalone())):
        if isinstance(node, ast.Import):
            names |= {part.name.partition(".")[0] for part in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names <= sys.stdlib_module_names
    assert not names & {"socket", "urllib", "subprocess", "pickle", "ctypes", "marshal", "http"}


def test_modules_that_do_not_fit_into_one_file_are_refused() -> None:
    """A name that two modules have, a renamed import, or one of the gateway's would make another program."""
    for name, source in (
        ("one", "X = 1"), ("more", "EMPTY_ROOT = b''"), ("two", "import orjson as json"),
        ("two", "from lockgate.audit.evidence.leaf import parse_leaf as read"), ("three", "from lockgate.errors import AuditError"),
    ):
        with pytest.raises(ValueError, match=r"both define|renames|imports"):
            amalgamated({**evidence_sources(), "zero": "X = 2\nimport os", name: source})


def _run(python: str, verifier: Path, package: Path, key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-I", "-S", str(verifier), str(package), "--key", str(key), *more],
                          capture_output=True, text=True, cwd=verifier.parent, env={"PATH": os.defpath})


def test_it_says_what_the_gateways_verifier_says(verifier: Path, tmp_path: Path) -> None:
    """Same verdict, same first index, same lines: on good packages and bad ones, on this Python and on 3.8."""
    sample(tmp_path / "log")
    key = tmp_path / "log" / "log.vkey"
    good = exported(tmp_path / "log", session="a" * 16)
    cases = {
        "good": good, "whole": exported(tmp_path / "log"), "withheld": exported(tmp_path / "log", payloads=False),
        "leaf": changed(good, "leaves.jsonl", lambda data: data.replace(b'"rows":1', b'"rows":2', 1)),
        "payload": changed(good, "payloads.jsonl", lambda data: data.replace(b"SELECT 1", b"SELECT 2", 1)),
        "missing": changed(good, "payloads.jsonl", lambda data: data[data.index(b"\n") + 1:]),
        "deep": changed(good, "leaves.jsonl", lambda data: b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}\n" + data),
        "surrogate": changed(good, "leaves.jsonl", lambda data: data.replace(b'"v":1', b'"v":"\\ud800"', 1)),
        "large": changed(good, "leaves.jsonl", lambda data: data.replace(b'"v":1', b'"v":123456789012345678901', 1)),
        "twice": changed(good, "leaves.jsonl", lambda data: data.replace(b'"v":1', b'"v":1,"v":1', 1)),
        "float": changed(good, "leaves.jsonl", lambda data: data.replace(b'"v":1', b'"v":1.0', 1)),
        "short": good[:3000], "empty": b"", "another": packed({"README.txt": b""}),
    }
    pythons = [sys.executable, *filter(None, [_oldest_python()])]
    for name, package in cases.items():
        path = tmp_path / "evidence.tar"
        path.write_bytes(package)
        expected = report_json(check(package, key.read_text()))
        for python in pythons:
            answer = _run(python, verifier, path, key, "--json")
            assert answer.stderr == "", name
            found = json.loads(answer.stdout)
            assert found == {**expected, "notes": found["notes"]}, name
            verdicts = ["verified", "tampered", "incomplete", "untrusted"]
            assert answer.returncode == verdicts.index(expected["verdict"]), name
        assert (expected["verdict"] == "verified") is (name in ("good", "whole", "withheld"))


def test_wrong_usage_has_its_own_status(verifier: Path, tmp_path: Path) -> None:
    """4: no such file, no argument, a key that is no text."""
    (tmp_path / "binary").write_bytes(b"\xff")
    for arguments in ([], [str(tmp_path / "no.tar")], [str(tmp_path / "binary"), "--key", str(tmp_path / "binary")]):
        answer = subprocess.run([sys.executable, "-I", "-S", str(verifier), *arguments], capture_output=True)
        assert answer.returncode == 4


def test_recorded_text_cannot_drive_the_terminal(verifier: Path, tmp_path: Path) -> None:
    """A name with escape sequences in it is printed as text."""
    sample(tmp_path / "log")
    bad = tmp_path / "evidence.tar"
    bad.write_bytes(changed(exported(tmp_path / "log"), "README.txt", bytes, origin="\x1b[2J\x9b31m"))
    answer = _run(sys.executable, verifier, bad, tmp_path / "log" / "log.vkey")
    assert answer.returncode == 1
    assert "\x1b" not in answer.stdout
    assert "\x9b" not in answer.stdout
