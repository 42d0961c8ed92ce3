"""Packages with everything that others say of a log: trust note, witnesses, time-stamps; and with recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.audit.evidence.policy import parse_policy
from lockgate.audit.evidence.recordings import RECORDING_MAGIC
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.timestamp import canonical_response, read_response
from lockgate.audit.evidence.trust import parse_trust
from lockgate.audit.recording.reel import Mark
from lockgate.audit.signing.trust import draft_trust
from lockgate.audit.verify import verify_log
from lockgate.cli import audit
from testbed.timestamps import Authority
from tests.unit.audit.evidence.keys import W1, W2, W3, NoteSigner
from tests.unit.audit.logs import Driven, chunk_root, sample
from tests.unit.audit.packages import changed, check, exported, listed, members

ACME = NoteSigner("acme.test/audit")
POLICY = f"witness one {W1.vkey}\nwitness two {W2.vkey}\ngroup both all one two\nquorum both\n"
A = "a" * 16


@pytest.fixture(scope="module")
def endorsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 19 entries whose first 16 two witnesses cosigned and an authority time-stamped."""
    folder = tmp_path_factory.mktemp("endorsed") / "log"
    sample(folder)
    note = (folder / "checkpoint").read_text()
    text = note.partition("\n\n")[0] + "\n"
    (folder / "cosigned").write_text(note + W1.cosign(text) + W2.cosign(text, 1_700_000_005))
    authority = Authority(folder.parent / "authority")
    trust = draft_trust(folder, 1, POLICY, [f"own={authority.folder / 'signer.pem'}"])
    (folder / "trust.note").write_text(f"{trust}\n{ACME.line(trust)}")
    (folder / "anchors").mkdir()
    (folder / "anchors" / "16.checkpoint").write_text(note)
    (folder / "anchors" / "16.tsr").write_bytes(
        canonical_response(read_response(authority.stamp(note.encode())), parse_trust(trust).authorities))
    driven = Driven(folder)
    driven.log.heartbeat()
    driven.log.close()
    return folder


def test_the_root_key_alone_is_enough(endorsed: Path) -> None:
    """From one pinned key: the log's key, the quorum, the consistency of what was cosigned, and the time-stamp."""
    report = check(exported(endorsed, session=A), root=ACME.vkey)
    assert report.findings == []
    assert (report.size, report.cosigned) == (19, 16)
    assert report.uncosigned_seconds is not None
    assert "cosigned by one, two" in report.covered["checkpoint"][1]
    assert "1 time-stamps, the newest by own" in report.covered["anchors"][-1]
    assert "trust note 1" in report.covered["trust"][0]


def test_witnesses_that_nobody_knows_are_not_taken_for_noise(endorsed: Path) -> None:
    """With the log's key alone a cosignature is by somebody unknown; with a policy it counts."""
    package, key = exported(endorsed), (endorsed / "log.vkey").read_text()
    report = check(package, key)
    assert (report.verdict, report.first and report.first.check) == (Verdict.UNTRUSTED, "cosignature")
    report = check(package, key, policy=POLICY)
    assert (report.verdict, report.cosigned) == (Verdict.VERIFIED, 16)


def test_a_cosigned_log_is_exported_with_a_verdict_that_its_witnesses_count_for(endorsed: Path, tmp_path: Path) -> None:
    """By the trust note beside the log, by the pinned root, or by a policy; a wrong root is told."""
    state = tmp_path / "state"
    shutil.copytree(endorsed, state / "audit")
    (tmp_path / "root.vkey").write_text(f"{ACME.vkey}\n")
    (tmp_path / "other.vkey").write_text(f"{NoteSigner('acme.test/other').vkey}\n")
    (tmp_path / "policy").write_text(POLICY)

    def run(*arguments: str, name: str) -> tuple[int, str]:
        out = tmp_path / f"{name}.tar"
        result = CliRunner().invoke(audit.app, ["export", "--state", str(state), "--out", str(out), *arguments])
        return result.exit_code, result.output

    status, said = run(name="note")
    assert status == 0, said
    assert "cosigned by one, two" in said
    assert run("--root", str(tmp_path / "root.vkey"), name="root")[0] == 0
    assert run("--root", str(tmp_path / "other.vkey"), name="other")[0] == 3
    (state / "audit" / "trust.note").unlink()
    status, said = run(name="none")
    assert (status, "--policy" in said) == (3, True)
    assert run("--policy", str(tmp_path / "policy"), name="policy")[0] == 0


@pytest.fixture(scope="module")
def witnessed(endorsed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log of an organisation that has witnesses and no trust note; the gateway has put their policy there."""
    folder = tmp_path_factory.mktemp("witnessed") / "state" / "audit"
    shutil.copytree(endorsed, folder)
    (folder / "trust.note").unlink()
    shutil.rmtree(folder / "anchors")
    (folder / "witness.policy").write_text(f"# ours\n{POLICY}")
    return folder


def test_a_witnessed_log_without_a_trust_note_is_exported_as_what_it_is(witnessed: Path, tmp_path: Path) -> None:
    """By the gateway's own policy for the organisation; for an auditor as far as the auditor has pinned."""
    package, key = exported(witnessed), (witnessed / "log.vkey").read_text()
    assert members(package)["witnesses.vkey"].decode() == f"{W1.vkey}\n{W2.vkey}\n"
    report = check(package, key)
    assert (report.verdict, report.cosigned) == (Verdict.VERIFIED, 0), report.findings
    assert any("cosigned by witness.test/w1, witness.test/w2, whom only the package names" in note for note in report.notes)
    report = check(package, key, policy=POLICY)
    assert (report.verdict, report.cosigned) == (Verdict.VERIFIED, 16), report.findings
    assert check(package, key, policy=f"witness three {W3.vkey}\nquorum three\n").verdict is not Verdict.VERIFIED
    state = shutil.copytree(witnessed.parent, tmp_path / "state")
    words = ["export", "--state", str(state), "--out"]
    result = CliRunner().invoke(audit.app, [*words, str(tmp_path / "e.tar")])
    assert (result.exit_code, "16 entries cosigned by one, two" in result.output) == (0, True), result.output
    (state / "audit" / "cosigned").unlink()     # no quorum has come together yet
    result = CliRunner().invoke(audit.app, [*words, str(tmp_path / "f.tar")])
    assert (result.exit_code, "not cosigned by a witness" in result.output) == (0, True), result.output
    assert check((tmp_path / "f.tar").read_bytes(), key, policy=POLICY).verdict is Verdict.UNTRUSTED


def test_who_a_package_names_as_witnesses_can_be_neither_changed_nor_made_up(witnessed: Path) -> None:
    """Every byte of the names and of what they signed is bound, though nobody pinned them; none is there for nothing."""
    package, key = exported(witnessed), (witnessed / "log.vkey").read_text()
    files = members(package)
    for name in ("witnesses.vkey", "cosigned"):
        data = files[name]
        for place in range(len(data)):
            flipped = data[:place] + bytes([data[place] ^ (1 << place % 7)]) + data[place + 1:]
            assert check(listed({**files, name: flipped}), key).findings, (name, place)
    cases = {
        "more": files["witnesses.vkey"] + f"{W3.vkey}\n".encode(), "twice": files["witnesses.vkey"] * 2,
        "fewer": f"{W1.vkey}\n".encode(), "none": b"", "log": key.encode(), "blank": files["witnesses.vkey"] + b"\n",
    }
    for name, data in cases.items():
        found = check(listed({**files, "witnesses.vkey": data}), key).first
        assert found is not None, name
        assert found.check == "cosignature", (name, found)
    rest = {name: data for name, data in files.items() if name != "witnesses.vkey"}
    assert check(listed(rest), key).verdict is Verdict.UNTRUSTED
    alone = {name: data for name, data in files.items() if not name.startswith("cosigned")}
    assert check(listed(alone), key).findings


def test_a_folders_own_policy_counts_as_far_as_its_own_key(witnessed: Path, tmp_path: Path) -> None:
    """Where nothing is pinned it says who cosigned; beside a pinned key it is named, and does not count."""
    key, policy = witnessed / "log.vkey", tmp_path / "policy"
    policy.write_text(POLICY)
    for pins, cosigned in (({}, 16), ({"key": key}, 0), ({"key": key, "policy": parse_policy(POLICY)}, 16)):
        report = verify_log(witnessed, **pins)  # type: ignore[arg-type]
        assert (report.verdict, report.cosigned) == (Verdict.VERIFIED, cosigned), report.findings
    assert "whom only the folder's own witness.policy names" in "".join(verify_log(witnessed, key=key).notes)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(audit.app, ["verify", str(witnessed), "--key", str(key), *words])
        return done.exit_code, done.output

    assert run("--policy", str(policy))[0] == 0
    policy.write_text(f"witness three {W3.vkey}\nquorum three\n")
    assert run("--policy", str(policy))[0] == 1
    policy.write_text("nonsense\n")
    status, said = run("--policy", str(policy))
    assert (status, "is no witness policy" in said) == (4, True), said
    other = shutil.copytree(witnessed, tmp_path / "other")
    (other / "witness.policy").write_text(f"witness three {W3.vkey}\nquorum three\n")     # it was changed since
    report = verify_log(other)
    assert (report.verdict, report.cosigned) == (Verdict.VERIFIED, 0)
    assert "by witness.policy the cosigned checkpoint is none" in "".join(report.notes)


def test_what_endorses_a_log_can_be_neither_changed_nor_left_out(endorsed: Path) -> None:
    """Another root, fewer witnesses, no cosigned checkpoint, an altered stamp or proof: each is named."""
    package = exported(endorsed)
    files = members(package)
    assert check(package, root=NoteSigner("acme.test/other").vkey).verdict is Verdict.UNTRUSTED
    lines = files["cosigned"].decode().splitlines(keepends=True)
    cases = {
        "trust": changed(package, "trust.note", lambda data: data.replace(b"quorum both", b"quorum one")),
        "quorum": listed({**files, "cosigned": "".join(lines[:-1]).encode()}),
        "anchor": changed(package, "anchors/16.tsr", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        "cosigned checkpoint": changed(package, "cosigned.consistency", lambda data: b"AAAA" + data[4:]),
    }
    for name, bad in cases.items():
        report = check(bad, root=ACME.vkey)
        assert report.verdict is not Verdict.VERIFIED
        assert [found for found in report.findings if found.check in (name, "key")], (name, report.findings)
    without = {name: data for name, data in files.items() if not name.startswith("cosigned")}
    report = check(listed(without), root=ACME.vkey)
    assert [(found.check, found.verdict) for found in report.findings] == [("quorum", Verdict.UNTRUSTED)]
    bare = {name: data for name, data in files.items() if name != "trust.note"}
    assert check(listed(bare), root=ACME.vkey).verdict is Verdict.INCOMPLETE


@pytest.mark.parametrize("size", [16, 19])
def test_a_kept_checkpoint_is_compared(endorsed: Path, size: int) -> None:
    """One of this log fits, whether the range reaches its size or it is the newest; another log's does not."""
    package = exported(endorsed)
    kept = (members(package)["checkpoint"] if size == 19 else (endorsed / "anchors" / "16.checkpoint").read_bytes()).decode()
    assert check(package, root=ACME.vkey, against=kept).findings == []
    other = kept.replace(kept.split("\n")[2], "A" * 43 + "=")
    assert check(package, root=ACME.vkey, against=other).verdict is not Verdict.VERIFIED


# ---------------------------------------------------------------- recordings


def recorded(folder: Path) -> None:
    """Two recorded sessions, of two chunks and of one; what the second one's file holds behind its mark is cut off."""
    driven = Driven(folder)
    for sid, chunks in (("rec1", [b"one" * 9, b"two" * 9]), ("rec2", [b"three" * 9])):
        driven.begin(sid)
        path = folder / "recordings" / sid / "sql.rec"
        path.parent.mkdir(parents=True)
        path.write_bytes(RECORDING_MAGIC + b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in chunks))
        driven.log.mark(sid, "sql", Mark(len(chunks), 10, chunk_root(chunks)), final=True)
        driven.log.end_session(sid, "closed")
    driven.log.close()


def test_recordings_come_along_and_are_held_to_their_marks(tmp_path: Path) -> None:
    """A session's own is in its package, others are withheld; one that is lost, cut or exchanged is named."""
    folder = tmp_path / "log"
    recorded(folder)
    key, name = (folder / "log.vkey").read_text(), "recordings/rec1/sql.rec"
    package = exported(folder, session="rec1")
    assert [file for file in members(package) if file.startswith("recordings/")] == [name]
    report = check(package, key)
    assert report.findings == []
    assert report.covered["recordings"] == ["1 streams, 2 chunks, each as the log marked them; 0 erased, 0 withheld"]
    whole = check(exported(folder, withhold=((5, 6),)), key)
    assert (whole.findings, whole.covered["recordings"][0][-22:]) == ([], "; 0 erased, 1 withheld")
    for change in (lambda data: data[:-31], lambda data: data + data[-31:], lambda data: data.replace(b"two", b"TWO")):
        report = check(changed(package, name, change), key)
        assert (report.verdict is Verdict.VERIFIED, report.first and report.first.number) == (False, 10)
    rest = {file: data for file, data in members(package).items() if file != name}
    report = check(listed(rest), key)
    assert (report.verdict, report.first and report.first.check) == (Verdict.INCOMPLETE, "recordings")
    (folder / name).unlink()
    assert check(exported(folder), key).verdict is Verdict.INCOMPLETE
