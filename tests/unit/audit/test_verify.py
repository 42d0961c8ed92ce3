"""The verifier against everything that can be done to a log, each named with its entry."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Checkpoint, Signer
from lockgate.audit.entry import canonical, parse
from lockgate.audit.evidence.report import Report, Verdict, checklist
from lockgate.audit.keys import load_or_create
from lockgate.audit.tree import Frontier, leaf_hash
from lockgate.audit.verify import verify_log
from tests.unit.audit.logs import ORIGIN, Driven, copied, edit, sample, stored

RENUMBER = "UPDATE entries SET idx = -idx - 1 WHERE idx > {0}; UPDATE entries SET idx = -idx - 1 {1} WHERE idx < 0"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "log"
    sample(folder)
    return folder


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    return copied(original, tmp_path / "log")


def check(folder: Path, key: Path | None = None) -> Report:
    return verify_log(folder, key=key or folder / "log.vkey")


def altered_leaf(leaf: bytes, old: bytes, new: bytes) -> tuple[bytes, bytes]:
    assert old in leaf
    changed = leaf.replace(old, new, 1)
    return changed, leaf_hash(changed)


def test_every_check_says_what_it_covered(log: Path) -> None:
    """Nothing to check is only where there is nothing: no recording, no time-stamp, no erasure and no hold."""
    said = {name: (status, line) for _, name, status, line in checklist(check(log))}
    assert {name for name, (status, _) in said.items() if status == "none"} == {"recordings", "anchors", "holds"}
    assert said["uncosigned"] == ("ok", "16 of 16 entries")
    assert said["clocks"] == ("ok", "16 records in the order of their time")
    assert "1 signature by" in said["checkpoint"][1] or "signatures by" in said["checkpoint"][1]
    assert "the tree of 16 entries (published checkpoint) is the beginning of this one" in said["consistency"][1]


def test_time_stamps_that_nobody_pins_are_said_not_to_be_checked(log: Path) -> None:
    """Without the authorities of a trust note they prove nothing, and are not passed over in silence."""
    (log / "anchors").mkdir()
    (log / "anchors" / "16.tsr").write_bytes(b"nobody reads this")
    report = check(log)
    assert report.verdict is Verdict.VERIFIED
    assert any(note.startswith("1 time-stamp not checked") for note in report.notes)


# ---------------------------------------------------------------- without the log's key


@pytest.mark.parametrize("index", range(16))
def test_one_flipped_bit_in_any_leaf_is_named(log: Path, index: int) -> None:
    """A leaf whose bytes change is the first bad entry."""
    leaf = bytearray(stored(log)[index])
    leaf[len(leaf) // 2] ^= 1
    edit(log, ("UPDATE entries SET leaf = ? WHERE idx = ?", (bytes(leaf), index)))
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert (report.first.index, report.first.check) == (index, "leaf hash")


@pytest.mark.parametrize(("index", "check_name"), [
    (1, "chain"), (3, "chain"), (4, "chain"), (9, "chain"), (13, "checkpoint"), (10, "checkpoint"),
])
def test_a_leaf_rewritten_with_its_hash_is_found(log: Path, index: int, check_name: str) -> None:
    """Who also rewrites the stored hash is betrayed by the session's chain, its root, or the tree's."""
    leaf, digest = altered_leaf(stored(log)[index], b'"node":"', b'"node":"0')
    edit(log, ("UPDATE entries SET leaf = ?, hash = ? WHERE idx = ?", (leaf, digest, index)))
    report = check(log)
    first = report.first
    assert report.verdict is Verdict.TAMPERED
    assert first is not None
    assert first.index is not None
    if check_name == "checkpoint":
        assert first.index <= index <= (first.last or first.index)
    else:
        assert (first.index, first.check) == (index, check_name)


@pytest.mark.parametrize("index", [0, 4, 10, 15])
def test_a_removed_entry_is_named(log: Path, index: int) -> None:
    """A gap is a missing entry, and so is an end that comes too early."""
    edit(log, f"DELETE FROM entries WHERE idx = {index}")
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert report.first.index == index


@pytest.mark.parametrize("index", [0, 4, 10])
def test_an_entry_removed_with_the_others_moved_up_is_named(log: Path, index: int) -> None:
    """Closing the gap does not help: each leaf says its own place."""
    edit(log, f"DELETE FROM entries WHERE idx = {index}", *RENUMBER.format(index, "- 1").split(";"))
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert (report.first.index, report.first.check) == (index, "position")


def test_an_inserted_entry_is_named(log: Path) -> None:
    """A copy of an entry pushed in between stands at a place that it does not name."""
    leaf = stored(log)[4]
    edit(log, *RENUMBER.format(6, "+ 1").split(";"),
         ("INSERT INTO entries VALUES (7, ?, ?)", (leaf_hash(leaf), leaf)))
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert (report.first.index, report.first.check) == (7, "position")


def test_an_appended_entry_is_named(log: Path) -> None:
    """An entry behind the signed checkpoint was not signed."""
    leaf, digest = altered_leaf(stored(log)[15], b'"index":15', b'"index":16')
    edit(log, ("INSERT INTO entries VALUES (16, ?, ?)", (digest, leaf)))
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert report.first.index == 16


def test_exchanged_entries_are_named(log: Path) -> None:
    """Two entries that change places are found at the first of them."""
    edit(log, "UPDATE entries SET idx = 100 WHERE idx = 4", "UPDATE entries SET idx = 4 WHERE idx = 9",
         "UPDATE entries SET idx = 9 WHERE idx = 100")
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert (report.first.index, report.first.check) == (4, "position")


@pytest.mark.parametrize(("statement", "verdict"), [
    ("UPDATE payloads SET sealed = zeroblob(length(sealed)) WHERE idx = 8", Verdict.TAMPERED),
    ("UPDATE payload_keys SET secret = zeroblob(64) WHERE idx = 8", Verdict.TAMPERED),
    ("UPDATE payload_keys SET secret = substr(secret, 1, 32) || zeroblob(32) WHERE idx = 8", Verdict.TAMPERED),
    ("UPDATE payloads SET sealed = (SELECT sealed FROM payloads WHERE idx = 11) WHERE idx = 8", Verdict.TAMPERED),
    ("DELETE FROM payloads WHERE idx = 8", Verdict.INCOMPLETE),
    ("DELETE FROM payload_keys WHERE idx = 8", Verdict.INCOMPLETE),
])
def test_altered_and_missing_payloads_are_named(log: Path, statement: str, verdict: Verdict) -> None:
    """A payload that is not what was committed to is tampering; one that is gone is incomplete."""
    edit(log, statement.replace("||", "||") if "substr" not in statement else
         "UPDATE payload_keys SET secret = CAST(substr(secret, 1, 32) || zeroblob(32) AS BLOB) WHERE idx = 8")
    report = check(log)
    assert report.verdict is verdict
    assert report.first is not None
    assert (report.first.index, report.first.check) == (8, "payloads")


def test_a_payload_exchanged_together_with_its_key_is_named(log: Path) -> None:
    """Two payloads that change places with their keys open, and are not what was committed to."""
    edit(log, *(f"UPDATE {table} SET idx = {there} WHERE idx = {here}" for table in ("payloads", "payload_keys")
                for here, there in ((8, 100), (11, 8), (100, 11))))
    report = check(log)
    assert report.verdict is Verdict.TAMPERED
    assert report.first is not None
    assert report.first.index == 8
    assert "committed" in report.first.message


def test_foreign_rows_are_noticed(log: Path) -> None:
    """Payloads, keys or sessions that no entry speaks of are not part of a log."""
    for statement in (
        "INSERT INTO payloads VALUES (99, x'00')", "INSERT INTO payload_keys VALUES (0, zeroblob(64))",
        "INSERT INTO sessions VALUES ('zz', 1, 2)", "UPDATE sessions SET last = 12 WHERE first = 1",
        "UPDATE head SET epoch = 2", "UPDATE head SET frontier = zeroblob(40)",
        "UPDATE meta SET value = x'32' WHERE name = 'format'",
        "UPDATE meta SET value = zeroblob(32) WHERE name = 'pseudonyms'",
        "CREATE TABLE more(x)", "ALTER TABLE head ADD COLUMN x INTEGER",
    ):
        folder = copied(log, log.with_name("again"))
        edit(folder, statement)
        assert check(folder).verdict is Verdict.TAMPERED, statement
        shutil.rmtree(folder)


def resign(folder: Path, signer: Signer, leaves: list[bytes]) -> None:
    """Make tree, hashes and checkpoint of these leaves, as somebody with a signing key would."""
    frontier = Frontier()
    rows: list[tuple[str, tuple[object, ...]]] = []
    for index, leaf in enumerate(leaves):
        frontier.append(leaf_hash(leaf))
        rows.append(("INSERT INTO entries VALUES (?, ?, ?)", (index, leaf_hash(leaf), leaf)))
    note = signer.sign(Checkpoint(signer.verifier.name, frontier.size, frontier.root()))
    edit(folder, "DELETE FROM entries", *rows,
         ("UPDATE head SET size = ?, frontier = ?, note = ?", (frontier.size, frontier.to_bytes(), note)))
    (folder / "checkpoint").write_text(note)


def test_a_log_signed_by_another_key_is_untrusted(log: Path, original: Path) -> None:
    """A log that was rewritten and signed anew, vkey file included, does not pass the pinned key."""
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    leaves = stored(log)
    leaves[3] = leaves[3].replace(b'"select"', b'"delete"')
    resign(log, other, leaves)
    (log / "log.vkey").write_text(f"{other.verifier}\n")
    assert check(log, original / "log.vkey").verdict is Verdict.UNTRUSTED
    assert check(log, original / "missing.vkey").verdict is Verdict.UNTRUSTED


def test_a_broken_signature_is_tampering(log: Path) -> None:
    """A checkpoint that names the trusted key and is not by it was altered."""
    edit(log, "UPDATE head SET note = replace(note, char(10) || '16' || char(10), char(10) || '17' || char(10))")
    assert check(log).verdict is Verdict.TAMPERED


def test_truncation_and_roll_back_are_named(log: Path, tmp_path: Path) -> None:
    """Cutting the end off is found by the head's checkpoint, by the published one, or by one kept elsewhere."""
    signer = load_or_create(log, ORIGIN, may_create=False)
    newest = (log / "checkpoint").read_text()
    leaves = stored(log)[:10]
    edit(log, "DELETE FROM entries WHERE idx >= 10")
    report = check(log)
    assert (report.verdict, report.first and report.first.index) == (Verdict.TAMPERED, 10)
    resign(log, signer, leaves)
    (log / "checkpoint").write_text(newest)
    assert check(log).verdict is Verdict.TAMPERED
    (log / "checkpoint").unlink()
    kept = verify_log(log, key=log / "log.vkey", against=newest)
    assert kept.verdict is Verdict.TAMPERED
    assert any(found.check == "kept checkpoint" and found.index == 10 for found in kept.findings)


def test_what_is_missing_is_incomplete(log: Path, tmp_path: Path) -> None:
    """No store is incomplete, an empty one as well; neither is a verified log."""
    assert verify_log(tmp_path / "nowhere").verdict is Verdict.INCOMPLETE
    (log / "log.db").write_bytes(b"")
    assert check(log).verdict is not Verdict.VERIFIED


# ---------------------------------------------------------------- with the log's key: the grammar


def forged(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> Report:
    """A log that somebody with the key rewrote: chains, roots and places fit, the story does not."""
    records = [parse(leaf) for leaf in stored(folder)]
    change(records)
    frontier, leaves = Frontier(), []
    sessions: dict[str, Frontier] = {}
    last: dict[str, str] = {}
    for index, record in enumerate(records):
        record["index"] = index
        if "size" in record:
            record.update(size=index, root=frontier.root().hex())
        sid = record.get("sid")
        session = sessions.setdefault(sid or "", Frontier())
        if sid is not None:
            record.update(sseq=session.size, prev=last.get(sid, "0" * 64))
            if record["type"] == "session_end":
                record.update(count=session.size, root=session.root().hex())
        leaf = canonical(record)
        leaves.append(leaf)
        frontier.append(leaf_hash(leaf))
        if sid is not None:
            session.append(leaf_hash(leaf))
            last[sid] = leaf_hash(leaf).hex()
    resign(folder, load_or_create(folder, ORIGIN, may_create=False), leaves)
    return check(folder)


def _set(index: int, **fields: object) -> Callable[[list[dict[str, Any]]], None]:
    return lambda records: records[index].update(fields)


def _data(index: int, **fields: object) -> Callable[[list[dict[str, Any]]], None]:
    return lambda records: records[index]["data"].update(fields)


def _self_review(records: list[dict[str, Any]]) -> None:
    records[7]["reviewer"] = records[6]["requester"]


def _second_use(records: list[dict[str, Any]]) -> None:
    records.insert(9, dict(records[8]))


def _second_outcome(records: list[dict[str, Any]]) -> None:
    records.insert(5, dict(records[4]))
    for record in records[6:]:
        if record["type"] == "outcome" and record["sid"].startswith("a"):
            record["record"] += 1


@pytest.mark.parametrize(("change", "index", "name"), [
    (_set(8, ticket="T2"), 8, "review"),
    (lambda records: records[8].pop("ticket"), 8, "review"),
    (_self_review, 7, "review"),
    (lambda records: records[7].pop("reviewer"), 7, "review"),
    (_data(7, binding="00" * 32), 7, "review"),
    (_data(7, verdict="denied"), 8, "review"),
    (_set(6, requester="0" * 32), 8, "review"),
    (_second_use, 9, "review"),
    (_second_outcome, 5, "outcome"),
    (lambda records: records.pop(9), 12, "outcome"),
    (_set(4, record=9), 4, "outcome"),
    (_set(12, record=1, rows=1), 12, "outcome"),
    (lambda records: records.pop(4), 8, "outcome"),
    (_set(3, time=1), 3, "clock"),
    (_set(0, epoch=2), 0, "epoch"),
    (lambda records: records.pop(0), 9, "epoch"),
    (lambda records: records.pop(1), 2, "session"),
])
def test_a_log_rewritten_with_the_key_must_still_tell_a_possible_story(
    log: Path, change: Callable[[list[dict[str, Any]]], None], index: int, name: str
) -> None:
    """Even with the signing key: no unreviewed request, no second outcome, no result of a refusal."""
    report = forged(log, change)
    assert report.verdict is Verdict.TAMPERED
    named = [(found.index, found.check) for found in report.findings]
    assert (index, name) in named, named


def test_a_log_rewritten_without_a_change_verifies(log: Path) -> None:
    """The forger of these tests does nothing else that the verifier could trip over."""
    assert forged(log, lambda records: None).findings == []


# ---------------------------------------------------------------- damage of any kind


def content(folder: Path) -> list[list[Any]] | None:
    """Everything that the store says, or None where it cannot be read."""
    try:
        connection = apsw.Connection(str(folder / "log.db"), flags=apsw.SQLITE_OPEN_READONLY)
        return [connection.execute(f"SELECT * FROM {table}").fetchall()
                for table in ("entries", "payloads", "payload_keys", "sessions", "head", "meta", "checkpoints")]
    except (apsw.Error, UnicodeDecodeError):
        return None


def test_a_key_that_was_destroyed_without_a_record_is_named(log: Path) -> None:
    """Overwritten as an erasure does it, payload and all, and no erasure is on the log."""
    edit(log, "UPDATE payload_keys SET secret = zeroblob(64) WHERE idx = 8", "DELETE FROM payloads WHERE idx = 8")
    report = check(log)
    assert (report.verdict, report.first and report.first.index) == (Verdict.TAMPERED, 8)


@pytest.mark.parametrize("offset", range(2))
def test_no_flipped_byte_of_the_store_goes_unnoticed(original: Path, log: Path, offset: int) -> None:
    """Flip bytes all over the file: never a traceback, and VERIFIED only if no content changed."""
    whole = (original / "log.db").read_bytes()
    truth = content(original)
    noticed = 0
    for at in [*range(offset, 100, 2), *range(100 + offset * 31, len(whole), 61)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        (log / "log.db").write_bytes(damaged)
        if check(log).verdict is Verdict.VERIFIED:
            assert content(log) == truth, f"byte {at}"
        else:
            noticed += 1
    assert noticed > 40


def test_no_flipped_byte_of_the_write_ahead_log_goes_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite drops damaged commits without a word; the verifier does not."""
    monkeypatch.setattr("lockgate.audit.storage.structure._WAL_TRIES", 1)     # nobody is writing here
    driven = Driven(tmp_path / "live")
    driven.begin("s")
    driven.run("s")
    driven.intent("s")
    crashed = copied(tmp_path / "live", tmp_path / "crashed")
    driven.log.close()
    wal = crashed / "log.db-wal"
    whole = wal.read_bytes()
    assert check(crashed).verdict is Verdict.VERIFIED
    truth = content(crashed)
    wal.write_bytes(whole)
    for at in [*range(32), *range(32, len(whole), 331), *range(len(whole) - 4120, len(whole) - 4090)]:
        damaged = bytearray(whole)
        damaged[at] ^= 4
        wal.write_bytes(damaged)
        (crashed / "log.db-shm").unlink(missing_ok=True)
        if check(crashed).verdict is Verdict.VERIFIED:
            assert content(crashed) == truth, f"byte {at}"


def test_a_running_gateway_can_be_verified(tmp_path: Path) -> None:
    """The verifier reads beside the writer, and an open session is not an error."""
    driven = Driven(tmp_path)
    driven.begin("s")
    for _ in range(20):
        driven.run("s")
        report = check(tmp_path)
        assert report.findings == []
        assert report.open_sessions == 1
    driven.log.close()


def test_a_read_only_copy_can_be_verified(log: Path) -> None:
    """An auditor's copy on a medium that cannot be written to verifies as well."""
    for path in log.iterdir():
        path.chmod(0o400)
    log.chmod(0o500)
    try:
        assert check(log).verdict is Verdict.VERIFIED
    finally:
        log.chmod(0o700)
