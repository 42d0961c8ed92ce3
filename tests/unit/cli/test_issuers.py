"""`lockgate audit export --subject` where several issuers know the name: they are several persons."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from lockgate.audit.evidence.archive import archive_members
from lockgate.cli import audit
from lockgate.model import SessionStart
from tests.unit.audit.logs import Driven

RUN = CliRunner()
ONE, TWO = "https://one.test", "https://two.test"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Sessions of two Anns and of one Bob."""
    driven = Driven(tmp_path / "audit")
    for sid, issuer, subject in (("a", ONE, "ann"), ("b", TWO, "ann"), ("c", TWO, "bob")):
        start = SessionStart(sid * 16, issuer, subject, None, None, None, (), "ab" * 32, "crm", "postgres", "", "cd" * 32, {})
        assert driven.wait(lambda done, start=start: driven.log.begin_session(start, done)) is None  # type: ignore[misc]
        driven.log.end_session(sid * 16, "closed")
    driven.log.close()
    return tmp_path


def sessions(package: Path) -> list[str]:
    """The sessions that a package discloses."""
    data = package.read_bytes()
    files = {one.name: data[one.offset:one.offset + one.size] for one in archive_members(io.BytesIO(data))}
    shown = {orjson.loads(line)["index"] for line in files["payloads.jsonl"].splitlines()}
    leaves = [orjson.loads(line) for line in files["leaves.jsonl"].splitlines()]
    return [leaf["sid"][0] for leaf in leaves if leaf["index"] in shown]


def test_an_ambiguous_subject_names_the_issuers(state: Path, tmp_path: Path) -> None:
    """Without an issuer nobody is disclosed for somebody else of the same name; with it, one of them is."""
    out = tmp_path / "ann.tar"
    words = ["export", "--state", str(state), "--out", str(out), "--subject"]
    result = RUN.invoke(audit.app, [*words, "ann"])
    assert result.exit_code == 4
    assert f"several issuers know a 'ann': {ONE}, {TWO}" in result.stderr
    assert "--issuer" in result.stderr
    assert not out.exists()
    assert RUN.invoke(audit.app, [*words, "ann", "--issuer", TWO]).exit_code == 0
    assert sessions(out) == ["b"]


def test_an_issuer_goes_with_a_subject_that_it_knows(state: Path, tmp_path: Path) -> None:
    """One issuer is found by itself; one that does not know the subject, or that stands alone, is wrong usage."""
    out = tmp_path / "one.tar"
    words = ["export", "--state", str(state), "--out", str(out)]
    for wrong in (["--subject", "bob", "--issuer", ONE], ["--issuer", ONE], ["--session", "aaaa", "--issuer", ONE]):
        assert RUN.invoke(audit.app, [*words, *wrong]).exit_code == 4
        assert not out.exists()
    assert RUN.invoke(audit.app, [*words, "--subject", "bob"]).exit_code == 0
    assert sessions(out) == ["c"]
