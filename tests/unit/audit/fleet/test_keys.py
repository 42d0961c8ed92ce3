"""Who signs a fleet's logs: a signer beside each gateway, keys that change shard by shard, and notes that name them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.audit import keys
from lockgate.audit.checkpoint import Checkpoint, Signer, Verifier
from lockgate.audit.custody import Custody, submitting
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Tampered
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.fleet.showing import show_heads
from lockgate.audit.fleet.witness import FleetLog
from lockgate.audit.log import AuditLog
from lockgate.audit.signing.contract import SignerRefused
from lockgate.audit.signing.guard import Guard
from lockgate.audit.signing.remote import SocketSigner
from lockgate.audit.signing.trust import draft_trust, read_trusts, sign_trust
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import FLEET, Place
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.tree import leaf_hash
from lockgate.cli.audit import app
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.fleet.nodes import ORIGIN, execute, findings, join, opened, records, signing, verified
from tests.unit.audit.logs import change_key
from tests.unit.audit.signing.test_kms import TOKEN, KeyServer

SHARD = f"{ORIGIN}/shard-1"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The fleet's key, as its signers have it."""
    keys.create_key(tmp_path / "fleet.key")
    return tmp_path / "fleet.key"


def session(member: Membership, sid: str) -> None:
    driven = opened(member)
    driven.begin(sid)
    driven.run(sid)
    driven.log.end_session(sid, "closed")
    driven.log.close()


def gone(place: Place, member: Membership) -> None:
    """As if the member's process had died, and its lease lapsed."""
    member._left.set()
    member._thread.join()
    os.close(member._lock)
    member._connection.close()
    execute(place, "UPDATE shards SET expires = now() - interval '1 second' WHERE shard = %s", member.lease.shard)


def signed(place: Place) -> int:
    with DatabaseSource(place, 1) as source:
        return source.head().signed


def caught_up(place: Place, guard: Guard) -> None:
    """Until all of the first shard is signed."""
    deadline = time.monotonic() + 10
    while guard.last().size < len(records(place, 1)):
        assert time.monotonic() < deadline, "the signer does not come to it"


# ---------------------------------------------------------------- a signer beside each gateway


def test_a_signer_keeps_its_word_through_a_take_over(place: Place, tmp_path: Path, key: Path) -> None:
    """Each gateway's signer is shown the others' shards. When its gateway takes one over, it goes on from there, and
    refuses what takes anything back, also of what another signer signed."""
    with signing(key, tmp_path / "a") as (first_socket, _, _), signing(key, tmp_path / "b") as (socket, guards, _):
        first = join(place, tmp_path / "n1", count=1, socket=first_socket)
        driven = opened(first)
        driven.begin("s" * 16)
        turns = 0
        while signed(place) <= 20 and turns < 2_000:    # what is signed behind the commits is stored with the next one
            turns += 1
            driven.run("s" * 16)
        watching = join(place, tmp_path / "n2", count=2, socket=socket)
        assert not (tmp_path / "n2" / "log.key").exists()
        assert show_heads(watching) == 1
        while show_heads(watching):
            pass
        seen = guards[SHARD].last()
        assert seen.size > 20
        watching.leave()
        driven.run("s" * 16)
        gone(place, first)
        execute(place, "UPDATE shards SET holder = 'x', expires = now() + interval '1 hour' WHERE shard = 2")
        second = join(place, tmp_path / "n3", count=1, socket=socket)
        session(second, "t" * 16)
        assert guards[SHARD].last().size > seen.size
        asked = SocketSigner.connect(socket, SHARD)
        with pytest.raises(SignerRefused, match="entries was signed"):
            asked.sign(seen)
        second.leave()
        error = driven.wait(lambda done: driven.log.event(Event("verify_run", {"verdict": "verified"}), done))      # the first one was only slow
        assert error is not None
        driven.log.close()
    report = verified(tmp_path / "n3")["shard-1"]
    assert (report.verdict, report.unsigned) == (Verdict.VERIFIED, 0)


def test_checkpoints_of_a_signer_that_lags_are_kept_as_well(place: Place, tmp_path: Path, key: Path) -> None:
    """A take-over goes on from a kept checkpoint, so there have to be some while a gateway runs, not only at its end."""
    with signing(key, tmp_path / "a") as (socket, guards, _):
        member = join(place, tmp_path / "n1", count=1, socket=socket)
        driven = opened(member)
        driven.begin("s" * 16)
        turns = 0
        while not execute(place, "SELECT 1 FROM checkpoints WHERE size > 300") and turns < 2_000:
            turns += 1
            driven.run("s" * 16)
        assert turns < 2_000
        caught_up(place, guards[SHARD])     # the process that is as if dead asks for nothing more
        gone(place, member)
        other = join(place, tmp_path / "n2", count=1, socket=socket)
        opened(other).log.close()
        other.leave()
        driven.log._thread.join(0)
        driven.log.close()
    assert verified(tmp_path / "n2")["shard-1"].findings == []


def rolled_back(place: Place, size: int, *head: object) -> None:
    for table in ("entries", "payloads", "payload_keys"):
        execute(place, f"DELETE FROM {table} WHERE shard = 1 AND idx >= %s", size)
    execute(place, "DELETE FROM sessions WHERE shard = 1 AND first >= %s", size)
    execute(place, "DELETE FROM checkpoints WHERE shard = 1 AND size > %s", size)
    execute(place, "UPDATE head SET size = %s, note = %s, frontier = %s, epoch = %s WHERE shard = 1", size, *head)


def test_a_shard_that_was_rolled_back_gets_no_signature_from_who_saw_more(place: Place, tmp_path: Path, key: Path) -> None:
    """The database holds an older state, signed head and all: a signer that was shown more stops the take-over, and
    says so as soon as it is shown the shard again."""
    with signing(key, tmp_path / "a") as (socket, _, _):
        first = join(place, tmp_path / "n1", count=1, socket=socket)
        session(first, "s" * 16)
        ((size, *head),) = execute(place, "SELECT size, note, frontier, epoch FROM head WHERE shard = 1")
        session(first, "t" * 16)
        first.leave()
        with signing(key, tmp_path / "b") as (other, _, _):
            execute(place, "UPDATE shards SET holder = 'x', expires = now() + interval '1 hour' WHERE shard = 1")
            watching = join(place, tmp_path / "n2", count=2, socket=other)
            assert show_heads(watching) == 1
            rolled_back(place, size, *head)
            with pytest.raises(Tampered, match=f"12 entries were signed, {size} are stored"):
                show_heads(watching)
            watching.leave()
            execute(place, "UPDATE shards SET expires = '-infinity' WHERE shard = 1")
            second = join(place, tmp_path / "n4", count=1, socket=other)
            with pytest.raises(Tampered, match="rolled back: 12 entries were signed"):
                opened(second)
            second.leave()


def test_another_history_of_a_shard_is_noticed_by_every_signer(place: Place, tmp_path: Path, key: Path) -> None:
    """Whoever has the key on one machine can sign a fork of a shard; the signers of the others do not go along."""
    with signing(key, tmp_path / "a") as (socket, _, _), signing(key, tmp_path / "b") as (other, _, refused):
        first = join(place, tmp_path / "n1", count=1, socket=socket)
        session(first, "s" * 16)
        watching = join(place, tmp_path / "n2", count=2, socket=other)
        show_heads(watching)
        session(first, "t" * 16)
        forged = Signer(SHARD, keys.read_key(key)).sign(Checkpoint(SHARD, 12, bytes(32)))
        execute(place, "UPDATE head SET note = %s WHERE shard = 1", forged)
        with pytest.raises(Tampered, match="not an extension"):
            show_heads(watching)
        assert len(refused) == 1
        execute(place, "UPDATE entries SET hash = sha256(hash) WHERE shard = 1 AND idx = 2")
        execute(place, "DELETE FROM checkpoints WHERE shard = 1")
        with pytest.raises(Tampered, match="are not those that were signed"):
            show_heads(watching)
        for member in (first, watching):
            member.leave()


def test_a_signer_with_another_key_is_not_taken(place: Place, tmp_path: Path, key: Path) -> None:
    """A fleet has one key at its signers: whoever has another is told, and nothing of it is kept."""
    other = tmp_path / "other.key"
    keys.create_key(other)
    with signing(key, tmp_path / "a") as (socket, _, _), signing(other, tmp_path / "b") as (wrong, _, _):
        first = join(place, tmp_path / "n1", socket=socket)
        session(first, "s" * 16)
        with pytest.raises(AuditError, match="not the key that this fleet signs with"):
            join(place, tmp_path / "n2", socket=wrong)
        assert not (tmp_path / "n2" / "log.vkey").exists()
        with pytest.raises(SignerRefused, match=f"this signer signs {ORIGIN}/fleet and 4 more, not {ORIGIN}/shard-9"):
            SocketSigner.connect(socket, f"{ORIGIN}/shard-9")
        second = join(place, tmp_path / "n2", socket=socket)
        log = FleetLog(second)
        assert log.tick() == 1
        log.end()
        for member in (first, second):
            member.leave()
    assert all(report.findings == [] for report in verified(tmp_path / "n1").values())


def test_a_key_service_signs_for_a_fleet(place: Place, tmp_path: Path) -> None:
    """One key by its id for every log, and a version of it for each once that was changed. A gateway that has not been
    told of the change leaves the shard alone."""
    service = KeyServer()
    try:
        (tmp_path / "token").write_text(TOKEN)
        signer = {"kms": {"url": service.url, "key": "log", "version": 2, "timeout": 5.0, "token": str(tmp_path / "token")}}

        def joined(name: str, count: int = 2) -> Membership:
            return Membership.join(place, tmp_path / name, ORIGIN, count=count, seconds=60.0, signer=signer)

        members = [joined("n1"), joined("n2")]
        log = FleetLog(members[0])
        for number, member in enumerate(members):
            assert show_heads(member) == 0
            session(member, f"{number}" * 16)
        assert log.tick() == 2
        log.end()
        for member in members:
            member.leave()
        service.rotate()
        names = [change_key(tmp_path / "n1" / folder) for folder in ("shard-1", "fleet")]
        assert [new.split("+")[2] == service_key(service, 3) for _, new in names] == [True, True]
        again = joined("n1")
        session(again, "2" * 16)
        log = FleetLog(again)
        assert log.tick() == 1
        log.end()
        again.leave()
        other = joined("n2")
        assert other.lease.shard == 2
        session(other, "3" * 16)
        execute(place, "UPDATE shards SET holder = 'dead', expires = now() - interval '1 second' WHERE shard = 1")
        with pytest.raises(AuditError, match="shard-1 goes on with a key that is not here") as refused:
            other.adopt()
        assert refused.value.advice() == "copy shard-1/log.vkey from the gateway where the key was changed"
        (tmp_path / "n2" / "shard-1").mkdir()
        shutil.copy(tmp_path / "n1" / "shard-1" / "log.vkey", tmp_path / "n2" / "shard-1" / "log.vkey")
        assert other.adopt() == [1]
        other.leave()
    finally:
        service.close()
    assert not list(tmp_path.rglob("log.key"))
    assert all(report.findings == [] for report in verified(tmp_path / "n1").values())
    assert all(report.findings == [] for report in verified(tmp_path / "n1", key=pinned(tmp_path, names[1][0])).values())


def pinned(folder: Path, key: str) -> Path:
    """A verifier key in a file, as an auditor has it."""
    (folder / "pinned").write_text(f"{key}\n")
    return folder / "pinned"


def service_key(service: KeyServer, version: int) -> str:
    """The last part of a verifier key."""
    return str(Verifier("x", service.versions[version].public_key().public_bytes_raw())).split("+")[2]


def test_a_fleet_is_moved_from_key_files_to_signers(place: Place, tmp_path: Path, key: Path) -> None:
    """The same key elsewhere: the verifier keys that are pinned say so, and the signer believes what it is shown first."""
    first = join(place, tmp_path / "n1", count=1)
    session(first, "a" * 16)
    first.leave()
    shutil.copy(tmp_path / "n1" / "log.key", key)
    for path in tmp_path.rglob("log.key"):
        path.unlink()
    with signing(key, tmp_path / "a") as (socket, guards, _):
        again = join(place, tmp_path / "n1", count=1, socket=socket)
        session(again, "b" * 16)
        again.leave()
        assert guards[SHARD].last().size == len(records(place, 1))
    assert verified(tmp_path / "n1")["shard-1"].findings == []


def test_a_signer_of_many_logs_changes_the_key_of_one(place: Place, tmp_path: Path, key: Path) -> None:
    """The next key is that log's own, the others go on with the common one. Another gateway's signer is not asked about
    the log before it has the key, and says what is missing; with it the gateway takes the shard over."""
    with signing(key, tmp_path / "a") as (socket, guards, _), signing(key, tmp_path / "b") as (second, _, _):
        member = join(place, tmp_path / "n1", count=2, socket=socket)
        session(member, "a" * 16)
        other = join(place, tmp_path / "n2", count=2, socket=second)
        session(other, "b" * 16)
        assert show_heads(other) == 1
        log = FleetLog(member)
        assert log.tick() == 2
        log.end()
        member.leave()
        (old, new), (first, later) = (change_key(tmp_path / "n1" / name) for name in ("shard-1", "fleet"))
        assert (str(guards[SHARD].verifier), str(guards[f"{ORIGIN}/fleet"].verifier)) == (new, later)
        assert old.split("+")[2] == first.split("+")[2] == str(guards[f"{ORIGIN}/shard-2"].verifier).split("+")[2]
        assert sorted(path.name for path in (tmp_path / "a").glob("*.key*")) == ["fleet.key", "shard-1.key"]
        member = join(place, tmp_path / "n1", count=2, socket=socket)       # goes on, by what it has of each log
        session(member, "c" * 16)
        log = FleetLog(member)
        assert log.tick() == 1
        log.end()
        gone(place, member)
        for act in (lambda: show_heads(other), other.adopt):
            with pytest.raises(AuditError, match="goes on with a key that is not here") as refused:
                act()
            assert not isinstance(refused.value, Tampered)
        assert "the signer's shard-1.key" in str(other.ring.misfit(1).advice())
    for name in ("shard-1", "fleet"):
        shutil.copy(tmp_path / "a" / f"{name}.key", tmp_path / "b" / f"{name}.key")
        (tmp_path / "n2" / name).mkdir(exist_ok=True)
        shutil.copy(tmp_path / "n1" / name / "log.vkey", tmp_path / "n2" / name / "log.vkey")
    with signing(key, tmp_path / "b") as (second, guards, _):
        while show_heads(other):
            pass
        assert other.adopt() == [1]
        assert guards[SHARD].last().size == len(records(place, 1))
        other.leave()
    assert findings(tmp_path / "n1") == {}
    assert findings(tmp_path / "n2", key=pinned(tmp_path, first)) == {}


def test_a_signer_that_lagged_when_its_gateway_died_is_gone_on_with(place: Place, tmp_path: Path, key: Path) -> None:
    """Behind the change there are entries, and the head still has the old key's note: the new key goes on, the old not."""
    with signing(key, tmp_path / "a") as (socket, _, _):
        member = join(place, tmp_path / "n1", count=1, socket=socket)
        session(member, "a" * 16)
        member.leave()
        change_key(tmp_path / "n1" / "shard-1")
        member = join(place, tmp_path / "n1", count=1, socket=socket)
        (handed,) = (record["index"] + 1 for record in records(place, 1) if record["type"] == "key_rotate")
        session(member, "b" * 16)
        with DatabaseSource(place, 1) as source:
            note = source.note(handed)
        execute(place, "UPDATE head SET note = %s WHERE shard = 1", note)
        with Connection(place) as connection:
            assert member.ring.fits(connection, 1)
            (member.folder / "log.vkey").unlink()
            member.ring.lend(1)
            assert not member.ring.fits(connection, 1)
        member.leave()


def test_the_command_begins_a_memory_for_each_log(tmp_path: Path) -> None:
    """`audit signer --shards --init` makes the key once, and later the memories that are missing; none is touched."""
    words = ["signer", "--origin", ORIGIN, "--key", str(tmp_path / "k"), "--socket", str(tmp_path / "s"), "--init"]
    made = CliRunner().invoke(app, [*words, "--shards", "2"], catch_exceptions=False)
    assert made.stdout.startswith(f"{ORIGIN}/fleet+")
    memory = tmp_path / "k.signed"
    assert sorted(path.name for path in memory.iterdir()) == ["fleet", "shard-1", "shard-2"]
    (memory / "shard-1").write_text("kept")
    again = CliRunner().invoke(app, [*words, "--shards", "3"], catch_exceptions=False)
    assert again.stdout == made.stdout
    assert (memory / "shard-1").read_text() == "kept"
    assert (memory / "shard-3").is_file()
    with pytest.raises(AuditError, match="--checkpoint is for one log"):
        CliRunner().invoke(app, [*words, "--shards", "3", "--checkpoint", str(tmp_path / "k")], catch_exceptions=False)


# ---------------------------------------------------------------- keys that change


def changed(place: Place, tmp_path: Path) -> tuple[Membership, FleetLog]:
    """Two shards; the key of the second one was changed on its own gateway, which is stopped now."""
    first = join(place, tmp_path / "n1", count=2)
    second = join(place, tmp_path / "n2", count=2, key=tmp_path / "n1")
    log = FleetLog(first)
    session(first, "a" * 16)
    session(second, "b" * 16)
    assert log.tick() == 2
    second.leave()
    old, new = change_key(tmp_path / "n2" / "shard-2")
    assert old.startswith(f"{ORIGIN}/shard-2+")
    assert old != new
    return first, log


def test_the_key_of_one_shard_is_changed(place: Place, tmp_path: Path) -> None:
    """The fleet log follows the change and names the new key; the gateway that made it goes on; one without the new key
    leaves the shard alone, and takes it with the key; with the fleet's first key pinned all of it verifies."""
    first, log = changed(place, tmp_path)
    assert log.tick() == 1
    again = join(place, tmp_path / "n2", count=2)
    assert again.lease.shard == 2
    session(again, "c" * 16)
    again.leave()
    assert log.tick() == 1
    new = (tmp_path / "n2" / "shard-2" / "log.vkey").read_text().strip()
    named = [record["data"] for record in records(place, FLEET) if record["type"] == "shard_checkpoint"]
    assert [data["key"] == new for data in named if data["origin"].endswith("/shard-2")] == [False, True, True]
    log.end()
    first.leave()
    third = join(place, tmp_path / "n3", count=2, key=tmp_path / "n1")
    assert third.lease.shard == 1
    with pytest.raises(AuditError, match="shard-2 goes on with a key that is not here"):
        join(place, tmp_path / "n4", count=2, key=tmp_path / "n1")
    execute(place, "UPDATE shards SET holder = 'dead', expires = now() - interval '1 second' WHERE shard = 2")
    with pytest.raises(AuditError, match="shard-2 goes on with a key that is not here"):
        third.adopt()
    (tmp_path / "n3" / "shard-2").mkdir()
    for name in ("log.key", "log.vkey"):
        shutil.copy(tmp_path / "n2" / "shard-2" / name, tmp_path / "n3" / "shard-2" / name)
    assert third.adopt() == [2]
    third.leave()
    reports = verified(tmp_path / "n1", key=tmp_path / "n1" / "log.vkey")
    assert set(reports) == {"shard-1", "shard-2", "fleet"}
    assert all(report.findings == [] for report in reports.values()), reports


@pytest.mark.parametrize("apart", [False, True])
def test_a_gateway_that_runs_changes_the_key_of_its_shard(place: Place, tmp_path: Path, apart: bool) -> None:
    """No restart is needed; the fleet log follows, and the next start has the new key."""
    member = join(place, tmp_path / "n1", count=1)
    log = AuditLog.open(member.folder, origin=member.origin, dispatch=lambda call: call(), apart=apart, place=place, shard=1)
    acts, fleet = Custody(member.folder, submitting(log, lambda call: call())), FleetLog(member)
    assert fleet.tick() == 1
    old, new = acts.rotate("yearly", ("local", "ann"))
    assert acts.append(Event("export", {}), ("local", "ann")) > 0
    assert fleet.tick() == 1
    log.close()
    fleet.end()
    member.leave()
    assert str(keys.read_verifier(tmp_path / "n1" / "shard-1" / "log.vkey")) == new != old
    member = join(place, tmp_path / "n1", count=1)
    session(member, "a" * 16)
    member.leave()
    for pinned in (None, tmp_path / "n1" / "log.vkey"):
        assert all(report.findings == [] for report in verified(tmp_path / "n1", key=pinned).values())


def test_a_key_that_no_old_key_vouches_for_is_noticed(place: Place, tmp_path: Path) -> None:
    """Whoever writes in the database can add a change of keys, but not the old key's signature on it."""
    first, log = changed(place, tmp_path)
    execute(place, "DELETE FROM checkpoints WHERE shard = 2 AND size = (SELECT idx + 1 FROM entries WHERE shard = 2"
                   " AND position('\"type\":\"key_rotate\"'::bytea IN leaf) > 0)")
    with pytest.raises(Tampered, match="shard-2: the checkpoint is"):
        log.tick()
    with pytest.raises(Tampered):
        log.end()
    first.leave()
    assert ("rotation", "the old key has not signed the change of keys", 7) in findings(tmp_path / "n1")["shard-2"]


def test_a_change_to_a_forged_key_is_noticed(place: Place, tmp_path: Path) -> None:
    """The tree that the old key signed last holds the change that was made, not one that was put in its place."""
    first, log = changed(place, tmp_path)
    forger = Signer(f"{ORIGIN}/shard-2", keys.create_key(tmp_path / "forged.key"))
    new = (tmp_path / "n2" / "shard-2" / "log.vkey").read_text().strip()
    ((index, leaf),) = execute(place, "SELECT idx, leaf FROM entries WHERE shard = 2"
                                      " AND position('\"type\":\"key_rotate\"'::bytea IN leaf) > 0")
    forged = bytes(leaf).replace(new.encode(), str(forger.verifier).encode())
    assert forged != leaf
    execute(place, "UPDATE entries SET leaf = %s, hash = %s WHERE shard = 2 AND idx = %s", forged, leaf_hash(forged), index)
    execute(place, "UPDATE head SET note = %s WHERE shard = 2",
            forger.sign(Checkpoint(f"{ORIGIN}/shard-2", index + 2, bytes(32))))
    with pytest.raises(Tampered, match="is not in the tree that the old key signed"):
        log.tick()
    with pytest.raises(Tampered):
        log.end()
    first.leave()


def test_the_fleet_logs_own_key_is_changed(place: Place, tmp_path: Path) -> None:
    """It is a log like the others; the pointer still names the shard of the gateway."""
    first, log = changed(place, tmp_path)
    log.tick()
    log.end()
    first.leave()
    change_key(tmp_path / "n1" / "fleet")
    first = join(place, tmp_path / "n1", count=2)
    assert first.lease.shard == 1
    session(first, "d" * 16)
    log = FleetLog(first)
    assert log.tick() == 1
    log.end()
    first.leave()
    assert all(report.findings == [] for report in verified(tmp_path / "n1").values())


# ---------------------------------------------------------------- trust notes


def test_trust_notes_name_the_keys_of_every_log(place: Place, tmp_path: Path) -> None:
    """A note for each log, signed by one root: the fleet verifies by them, from a folder or from nothing but the
    database; a log without a note, or with another key than its note says, is not trusted."""
    first, log = changed(place, tmp_path)
    log.tick()
    log.end()
    first.leave()
    root = keys.create_root(tmp_path / "root.key", "acme.test/audit")
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("shard-1", "shard-2", "fleet"):
        text = draft_trust(tmp_path / "n1" / name, 1, None, ())
        (notes / f"{name}.note").write_text(sign_trust(text, root.name, keys.read_key(tmp_path / "root.key")))
    assert (notes / "shard-2.note").read_text().count("\nlog ") == 2
    trusts = read_trusts(notes, tmp_path / "root.key.vkey")
    assert all(report.findings == [] for report in verified(tmp_path / "n1", trusts=trusts).values())
    url = f"postgresql://{place.user}@{place.host}:{place.port}/{place.database}?sslmode=disable"
    told = CliRunner(env={"PGPASSWORD": place.password.reveal()}).invoke(
        app, ["verify", url, "--trust", str(notes), "--root", str(tmp_path / "root.key.vkey")])
    assert (told.exit_code, told.stdout.count("VERIFIED")) == (0, 4), told.output
    assert "checkpoints of 2 shards" in told.stdout
    tiles = tmp_path / "published" / "tiles"
    tiles.mkdir(parents=True)
    Publisher(lambda: DatabaseSource(place, 2), keys.read_verifier(tmp_path / "n2" / "shard-2" / "log.vkey"), Disk(tiles),
              tmp_path / "cosigned").run()
    told = CliRunner().invoke(app, ["verify", str(tiles), "--trust", str(notes), "--root", str(tmp_path / "root.key.vkey")])
    assert told.exit_code == 0, told.output
    told = CliRunner(env={"PGPASSWORD": place.password.reveal()}).invoke(app, ["verify", url])
    assert told.exit_code == 4
    reports = verified(tmp_path / "n1", trusts={name: trusts[name] for name in trusts if "shard-1" not in name})
    assert [finding.message for finding in reports["shard-1"].findings] == [f"no trust note is about {SHARD}"]
    assert reports["shard-1"].verdict is Verdict.UNTRUSTED
    lines = (notes / "shard-2.note").read_text().splitlines()
    stale = f"{lines[0]}\n{lines[1]}\n{lines[2].rpartition(' ')[0]} 1-\nquorum none\n"     # as before the change of keys
    (notes / "shard-2.note").write_text(sign_trust(stale, root.name, keys.read_key(tmp_path / "root.key")))
    reports = verified(tmp_path / "n1", trusts=read_trusts(notes, tmp_path / "root.key.vkey"))
    assert reports["shard-2"].verdict is Verdict.UNTRUSTED
