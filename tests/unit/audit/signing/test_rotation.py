"""A change of the log's key: before, after, and at every point in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import orjson
import pytest
from typer.testing import CliRunner

from lockgate.audit import keys
from lockgate.audit.checkpoint import Verifier, open_note
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.keys import read_verifier
from lockgate.audit.opening import recover, reopening
from lockgate.audit.signing.rotation import install_successor, prepare_successor
from lockgate.audit.storage.sqlite import FILE
from lockgate.audit.verify import verify_log
from lockgate.cli.audit import app
from lockgate.errors import AuditError
from tests.unit.audit.logs import ORIGIN, Driven, change_key, edit
from tests.unit.audit.test_log import records

NOW = 1_800_000_100.0


def work(folder: Path, session: str) -> None:
    driven = Driven(folder)
    driven.begin(session)
    driven.run(session)
    driven.log.close()


def rotated(folder: Path) -> tuple[str, str]:
    work(folder, "a" * 16)
    names = change_key(folder)
    work(folder, "b" * 16)
    return names


def test_the_old_key_signs_that_the_new_one_goes_on(tmp_path: Path) -> None:
    """The tree that the leaf is the last entry of is kept and by the old key, the next one is by the new one."""
    old, new = rotated(tmp_path)
    assert str(read_verifier(tmp_path / "log.vkey")) == new != old
    found = [record for record in records(tmp_path) if record["type"] == "key_rotate"]
    assert [record["data"] for record in found] == [{"old": old, "new": new}]
    size = found[0]["index"] + 1
    connection = apsw.Connection(str(tmp_path / FILE))
    kept = connection.execute("SELECT note FROM checkpoints WHERE size = ?", (size,)).get
    head = connection.execute("SELECT note FROM head").get
    connection.close()
    assert open_note(kept, Verifier.parse(old)).size == size
    assert open_note(head, Verifier.parse(new)).size > size


@pytest.mark.parametrize("pinned", [0, 1])
def test_either_pinned_key_verifies_the_whole_log(tmp_path: Path, pinned: int) -> None:
    """Who pinned the old key follows it to the new one, and the other way round."""
    names = rotated(tmp_path)
    (tmp_path / "pinned").write_text(names[pinned] + "\n")
    report = verify_log(tmp_path, key=tmp_path / "pinned")
    assert report.verdict is Verdict.VERIFIED, report.findings
    again = change_key(tmp_path)
    assert again[0] == names[1]
    assert verify_log(tmp_path, key=tmp_path / "pinned").verdict is Verdict.VERIFIED
    (tmp_path / "pinned").write_text(str(Verifier(ORIGIN, b"\x01" * 32)) + "\n")
    assert verify_log(tmp_path, key=tmp_path / "pinned").verdict is Verdict.UNTRUSTED


def reopened(folder: Path) -> str:
    """What a start makes of it: the key that goes on. The log must verify afterwards."""
    work(folder, "c" * 16)
    report = verify_log(folder)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert not (folder / "log.key.next").exists()
    return str(read_verifier(folder / "log.vkey"))


def test_a_crash_at_any_step_leaves_a_log_that_opens(tmp_path: Path) -> None:
    """Before the leaf the old key goes on, after it the new one, whichever of the files is in place."""
    folder = tmp_path / "log"
    work(folder, "a" * 16)
    old = str(read_verifier(folder / "log.vkey"))

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    prepare_successor(folder / "log.key", ORIGIN)
    assert reopened(copy("prepared")) == old
    recovered = recover(folder, ORIGIN)       # drops the key that nobody used
    assert not (folder / "log.key.next").exists()
    recovered.writer.commit(reopening(recovered, NOW, {}))
    successor = prepare_successor(folder / "log.key", ORIGIN)
    recovered.writer.rotate(NOW, successor.verifier, {"actor": ["local", "root"], "reason": "x"})
    recovered.close()
    new = str(successor.verifier)
    assert reopened(copy("committed")) == new
    keys.publish(folder, successor.verifier)
    assert reopened(copy("published")) == new
    install_successor(folder, folder / "log.key", successor)
    assert reopened(copy("installed")) == new


def test_a_key_that_the_log_does_not_name_cannot_continue_it(tmp_path: Path) -> None:
    """The old key is refused after the change, and so is one that nobody handed the log to."""
    folder = tmp_path / "log"
    work(folder, "a" * 16)
    before = (folder / "log.key").read_bytes()
    old, _ = change_key(folder)
    (folder / "log.key").write_bytes(before)
    with pytest.raises(AuditError, match="another key"):
        work(folder, "b" * 16)
    (folder / "log.vkey").write_text(old + "\n")
    with pytest.raises(AuditError, match="goes on with another key"):
        work(folder, "b" * 16)


def test_a_change_of_keys_that_the_old_key_did_not_sign_is_not_believed(tmp_path: Path) -> None:
    """Without its checkpoint of exactly that size a leaf hands nothing over."""
    rotated(tmp_path)
    size = next(record["index"] for record in records(tmp_path) if record["type"] == "key_rotate") + 1
    edit(tmp_path, f"DELETE FROM checkpoints WHERE size = {size}")
    report = verify_log(tmp_path)
    assert (report.verdict, report.first and report.first.check) == (Verdict.UNTRUSTED, "rotation")


def test_the_commands_make_a_trust_note_that_follows_the_keys(tmp_path: Path) -> None:
    """Rotate, draft, sign, show and verify: from the log alone to a verdict that only the root vouches for."""
    state, run = tmp_path / "state", CliRunner()
    work(state / "audit", "a" * 16)
    done = run.invoke(app, ["rotate-key", "--state", str(state), "--reason", "yearly"])
    assert done.exit_code == 0, done.output
    work(state / "audit", "b" * 16)
    root, text, note = tmp_path / "root.key", tmp_path / "trust.txt", tmp_path / "trust.note"
    assert run.invoke(app, ["trust", "init-root", "acme.test/audit", "--key", str(root)]).exit_code == 0
    assert run.invoke(app, ["trust", "draft", "--state", str(state), "--out", str(text)]).exit_code == 0
    assert run.invoke(app, ["trust", "sign", str(text), "--key", str(root), "--out", str(note)]).exit_code == 0
    vkey = tmp_path / "root.key.vkey"
    shown = run.invoke(app, ["trust", "show", str(note), "--root", str(vkey)])
    assert shown.output == text.read_text()
    assert shown.output.count("\nlog ") == 2
    verified = ["verify", str(state / "audit"), "--trust", str(note), "--root", str(vkey), "--json"]
    done = run.invoke(app, verified)
    assert (done.exit_code, orjson.loads(done.output)["verdict"]) == (0, "verified")
    assert run.invoke(app, ["rotate-key", "--state", str(state), "--reason", "unknown to the note"]).exit_code == 0
    done = run.invoke(app, verified)
    assert done.exit_code == 3
    assert "trust" in {finding["check"] for finding in orjson.loads(done.output)["findings"]}
    assert run.invoke(app, ["verify", str(state / "audit"), "--trust", str(note)]).exit_code == 4
    note.write_text(note.read_text().replace("serial 1", "serial 2"))
    assert run.invoke(app, verified).exit_code == 3
