"""`lockgate audit verify`, `proof` and `verify-proof` on a published log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.audit.reader import Reader
from lockgate.cli import audit
from tests.unit.audit.logs import Driven, sample
from tests.unit.audit.tiles.published import publisher_of

RUN = CliRunner()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    sample(tmp_path / "state" / "audit")
    publisher_of(tmp_path / "state" / "audit").run()
    return tmp_path / "state"


def test_a_folder_of_tiles_is_verified_by_itself(state: Path, tmp_path: Path) -> None:
    """Copied away, without the store: verified with the pinned key, and the texts are said to be withheld."""
    tiles = (state / "audit/tiles").rename(tmp_path / "copy")
    (tmp_path / "pinned.vkey").write_bytes((state / "audit/log.vkey").read_bytes())
    result = RUN.invoke(audit.app, ["verify", str(tiles), "--key", str(tmp_path / "pinned.vkey")])
    assert result.exit_code == 0, result.output
    assert "8 withheld" in result.output
    assert result.output.splitlines()[-1].startswith("VERIFIED  16 entries, 2 sessions, 4 requests")
    (tiles / "tile/0/000.p/16").write_bytes(bytes(512))
    found = json.loads(RUN.invoke(
        audit.app, ["verify", str(tiles), "--key", str(tmp_path / "pinned.vkey"), "--json"]).output)
    assert (found["verdict"], found["index"], found["check"]) == ("tampered", 0, "tiles")
    assert RUN.invoke(audit.app, ["verify", str(tiles)]).exit_code == 3


def test_the_verification_of_tiles_can_be_recorded(state: Path) -> None:
    """In the log of --state, because tiles cannot be written to."""
    result = RUN.invoke(audit.app, ["verify", str(state / "audit/tiles"), "--state", str(state), "--record"])
    assert result.exit_code == 0, result.output
    with Reader(state / "audit") as reader:
        kinds = [reader.entry(index)[0].record["type"] for index in range(16, 19)]
    assert "verify_run" in kinds


def test_a_url_needs_a_pinned_key_and_a_server(state: Path) -> None:
    """3 without a key, 2 where nobody answers, 4 for what is no URL of a log."""
    key = str(state / "audit/log.vkey")
    assert RUN.invoke(audit.app, ["verify", "http://127.0.0.1:9/log"]).exit_code == 3
    result = RUN.invoke(audit.app, ["verify", "http://127.0.0.1:9/log", "--key", key])
    assert (result.exit_code, "ConnectError" in result.output) == (2, True)
    assert RUN.invoke(audit.app, ["verify", "http://a:b@127.0.0.1:9/log", "--key", key]).exit_code == 4


@pytest.mark.parametrize(("what", "index"), [("8", 8), ("0", 0), ("aaaa", 13), ("b" * 16, 14)])
def test_a_proof_is_made_and_checked_with_the_key_alone(state: Path, tmp_path: Path, what: str, index: int) -> None:
    """Of an entry by its number, of a session by its id: its last entry, which holds the session's root."""
    file = tmp_path / "one.tlog-proof"
    result = RUN.invoke(audit.app, ["proof", what, "--state", str(state), "--out", str(file)])
    assert result.exit_code == 0, result.output
    assert RUN.invoke(audit.app, ["proof", what, "--state", str(state)]).output == file.read_text()
    checked = RUN.invoke(audit.app, ["verify-proof", str(file), "--key", str(state / "audit/log.vkey")])
    assert checked.exit_code == 0, checked.output
    assert checked.output.endswith(f"VERIFIED  entry {index} of the 16 that lockgate.test/log signed\n")
    assert f'"index": {index}' in checked.output


def test_an_altered_proof_is_refused(state: Path, tmp_path: Path) -> None:
    """1 altered, 3 another key, 4 not there."""
    file = tmp_path / "one.tlog-proof"
    RUN.invoke(audit.app, ["proof", "8", "--state", str(state), "--out", str(file)])
    text, key = file.read_text(), str(state / "audit/log.vkey")
    for wrong in (text.replace("index 8", "index 9"), "", text[:-30]):
        file.write_text(wrong)
        assert RUN.invoke(audit.app, ["verify-proof", str(file), "--key", key]).exit_code == 1
    file.write_bytes(b"\xff" * 40)
    assert RUN.invoke(audit.app, ["verify-proof", str(file), "--key", key]).exit_code == 1
    file.write_text(text)
    Driven(tmp_path / "other").log.close()
    assert RUN.invoke(audit.app, ["verify-proof", str(file), "--key", str(tmp_path / "other/log.vkey")]).exit_code == 3
    assert RUN.invoke(audit.app, ["verify-proof", str(tmp_path / "no"), "--key", key]).exit_code == 4


def test_what_is_not_published_has_no_proof(state: Path, tmp_path: Path) -> None:
    """Entries beyond the checkpoint, sessions that are open, and a log without tiles: what to do is said."""
    for what in ("16", "zz"):
        result = RUN.invoke(audit.app, ["proof", what, "--state", str(state)])
        assert result.exit_code == 4, result.output
    driven = Driven(state / "audit")
    driven.begin("c" * 16)
    result = RUN.invoke(audit.app, ["proof", "cccc", "--state", str(state)])
    assert (result.exit_code, "still open" in result.output) == (4, True)
    driven.log.close()
    result = RUN.invoke(audit.app, ["proof", "cccc", "--state", str(state)])
    assert (result.exit_code, "not among the 16 that are published" in result.output) == (4, True)
    assert RUN.invoke(audit.app, ["proof", "8", "--state", str(tmp_path / "nothing")]).exit_code == 4
    assert RUN.invoke(audit.app, ["proof", "8", "--state", str(state), "--out", str(tmp_path)]).exit_code == 4
