"""Gateways that share a trail: who writes which shard, what a crash leaves, and what no one can take away."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from lockgate.audit.admin import recorded
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Locked, Poisoned, Tampered
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.fleet.witness import FleetLog
from lockgate.audit.keys import load_or_create
from lockgate.audit.log import AuditLog
from lockgate.audit.storage.database.place import FLEET, Place
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.fleet.nodes import ORIGIN, execute, findings, join, node, opened, records, verified
from tests.unit.audit.logs import intent


def members(place: Place, tmp_path: Path, number: int, *, count: int = 4) -> list[Membership]:
    """The first one makes the key, which the others are given."""
    first = join(place, tmp_path / "n0", count=count)
    return [first, *(join(place, tmp_path / f"n{n}", count=count, key=tmp_path / "n0") for n in range(1, number))]


def expire(place: Place, shard: int) -> None:
    """As if the lease's time had passed."""
    execute(place, "UPDATE shards SET expires = now() - interval '1 second' WHERE shard = %s", shard)


def session(member: Membership, sid: str) -> None:
    driven = opened(member)
    driven.begin(sid)
    driven.run(sid)
    driven.log.end_session(sid, "closed")
    driven.log.close()


# ---------------------------------------------------------------- leases


def test_each_gateway_has_a_shard_of_its_own(place: Place, tmp_path: Path) -> None:
    """Four gateways take four shards with stable names; a fifth is told who has them; one that leaves makes room."""
    fleet = members(place, tmp_path, 4)
    assert sorted(member.origin for member in fleet) == [f"{ORIGIN}/shard-{n}" for n in (1, 2, 3, 4)]
    with pytest.raises(Locked, match="all 4 shards") as caught:
        join(place, tmp_path / "n5", key=tmp_path / "n0")
    assert fleet[1].lease.holder in str(caught.value)
    assert "audit.store.shards" in caught.value.advice()
    free = fleet[1].lease.shard
    fleet[1].leave()
    late = join(place, tmp_path / "n5", key=tmp_path / "n0")
    assert late.lease.shard == free
    for member in (*fleet, late):
        member.leave()
        member.leave()


def test_a_gateway_comes_back_to_its_shard(place: Place, tmp_path: Path) -> None:
    """After a clean stop it asks for the shard it had; after a crash it has it at once, its lease still running."""
    first, second, third = members(place, tmp_path, 3)
    first.leave()
    second.leave()
    again = join(place, tmp_path / "n1")
    assert again.lease.shard == second.lease.shard
    os.close(third._lock)               # the process is gone, its lease is not
    third._connection.close()
    back = join(place, tmp_path / "n2")
    assert back.lease.shard == third.lease.shard
    assert back.lease.epoch == third.lease.epoch + 1
    again.leave()
    back.leave()


def test_a_lease_that_lapsed_is_lost(place: Place, tmp_path: Path) -> None:
    """Who did not renew in time finds his shard with another, and cannot give it back in the other's name."""
    (sleeper,) = members(place, tmp_path, 1, count=1)
    sleeper.renew()
    expire(place, 1)
    other = join(place, tmp_path / "other", count=1, key=tmp_path / "n0")
    with pytest.raises(Locked, match="taken this shard over"):
        sleeper.renew()
    sleeper.require_held()      # its thread has not asked since
    sleeper.leave()
    other.renew()
    other.leave()


def test_renewing_survives_a_lost_connection(place: Place, tmp_path: Path) -> None:
    """A server that restarts costs one renewal, not the shard."""
    (member,) = members(place, tmp_path, 1)
    execute(place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                   " AND application_name = 'lockgate-audit'")
    with pytest.raises(AuditError):
        member.renew()
    member.renew()
    member.leave()


def test_one_key_for_the_fleet(place: Place, tmp_path: Path) -> None:
    """The first gateway makes the key; one without it, or with another, does not get in."""
    (first,) = members(place, tmp_path, 1)
    session(first, "s")
    with pytest.raises(AuditError, match="its key is not here"):
        join(place, tmp_path / "without")
    (tmp_path / "elsewhere").mkdir()
    other = place_elsewhere(tmp_path)
    with pytest.raises(AuditError, match="not the key that this fleet signs with"):
        join(place, tmp_path / "wrong", key=other)
    (tmp_path / "n9").mkdir()
    shutil.copy(tmp_path / "n0" / "log.key", tmp_path / "n9" / "log.key")
    with pytest.raises(Locked, match="holds the fleet"):
        Membership.join(place, tmp_path / "n9", "other.test/log", count=4, seconds=60.0)
    first.leave()


def place_elsewhere(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "elsewhere", f"{ORIGIN}/fleet", may_create=True)
    return tmp_path / "elsewhere"


def test_a_log_in_a_file_is_not_left_behind(place: Place, tmp_path: Path) -> None:
    """A state folder with a log in a file does not become a fleet's in passing."""
    (tmp_path / "n0").mkdir()
    (tmp_path / "n0" / "log.db").touch()
    with pytest.raises(AuditError, match="holds a log in a file"):
        join(place, tmp_path / "n0")


def test_no_command_writes_a_shard_past_its_gateway(place: Place, tmp_path: Path) -> None:
    """Opening a shard without its lease would fence the gateway that has it, so it is refused."""
    (member,) = members(place, tmp_path, 1)
    driven = opened(member)
    (member.folder / "lock").unlink()       # the lock of a living gateway is not what stands in the way
    with pytest.raises(AuditError, match="only a gateway that holds it"):
        AuditLog.open(member.folder, origin=member.origin, dispatch=lambda _: None)
    driven.begin("s")
    driven.log.close()
    member.leave()


# ---------------------------------------------------------------- crashes


def test_a_killed_gateways_shard_is_taken_over(place: Place, tmp_path: Path) -> None:
    """Four writers on four shards under load; one is killed; another takes its shard when the lease has run out,
    ends its session as unknown, and everything verifies."""
    (first,) = members(place, tmp_path, 1)
    session(first, "first")
    first.leave()
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(place, tmp_path / f"p{n}", tmp_path / "n0")) for n in range(4)]
        assert sorted(each.shard for each in nodes) == [1, 2, 3, 4]
        killed = nodes[2]
        acknowledged = {killed.line()[1] for _ in range(100)}
        os.kill(killed.writer, signal.SIGKILL)
        os.kill(killed.process.pid, signal.SIGKILL)
        with pytest.raises(Locked):
            join(place, tmp_path / "late", key=tmp_path / "n0")
        expire(place, killed.shard)
        late = join(place, tmp_path / "late", key=tmp_path / "n0")
        assert late.lease.shard == killed.shard
        opened(late).log.close()
        stored = [record for record in records(place, killed.shard) if record.get("sid") not in (None, "first")]
        assert {record["sseq"] for record in stored if record["type"] == "intent"} >= acknowledged
        assert stored[-1]["type"] == "session_end"
        assert stored[-1]["cause"] == "crash"
        late.leave()
    assert findings(tmp_path / "late").keys() <= {"fleet"}       # which nobody has written yet
    assert all(report.verdict is Verdict.VERIFIED for name, report in verified(tmp_path / "late").items()
               if name != "fleet")


def test_a_gateway_that_slept_through_its_lease_forwards_nothing(place: Place, tmp_path: Path) -> None:
    """SIGSTOP, another takes over, SIGCONT: what the sleeper records from then on is refused, and so nothing of it
    is forwarded; what it forwarded before is in the log."""
    (first,) = members(place, tmp_path, 1)
    session(first, "first")
    first.leave()
    with node(place, tmp_path / "p", tmp_path / "n0") as sleeper:
        before = {sleeper.line()[1] for _ in range(50)}
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        os.kill(sleeper.writer, signal.SIGSTOP)
        expire(place, sleeper.shard)
        execute(place, "UPDATE shards SET expires = now() + interval '1 hour', holder = 'x' WHERE shard <> %s",
                sleeper.shard)
        awake = join(place, tmp_path / "awake", key=tmp_path / "n0")
        assert awake.lease.shard == sleeper.shard
        driven = opened(awake)
        taken = driven.log.size
        driven.begin("awake")
        os.kill(sleeper.writer, signal.SIGCONT)
        os.kill(sleeper.process.pid, signal.SIGCONT)
        forwarded = before | set(sleeper.until_poisoned())
        driven.run("awake")
        driven.log.close()
        awake.leave()
        stored = records(place, sleeper.shard)
        theirs = {record["sseq"] for record in stored[:taken]
                  if record["type"] == "intent" and record["sid"] not in ("first", "awake")}
        assert theirs >= forwarded
        assert {record["sid"] for record in stored[taken:] if "sid" in record} == {"awake"}
    assert verified(tmp_path / "awake")[f"shard-{awake.lease.shard}"].findings == []


def test_a_living_gateway_ends_what_a_dead_one_left(place: Place, tmp_path: Path) -> None:
    """No spare gateway is needed for a crashed one's sessions to be closed in the log."""
    first, second = members(place, tmp_path, 2)
    dead = opened(second)
    dead.begin("s" * 16)
    dead.intent("s" * 16)
    assert first.adopt() == []
    expire(place, second.lease.shard)
    assert first.adopt() == [second.lease.shard]
    assert first.adopt() == []
    ends = [record for record in records(place, second.lease.shard) if record.get("sid") == "s" * 16][-2:]
    assert [(end["type"], end.get("reason", end.get("cause"))) for end in ends] == [
        ("outcome", "crash"), ("session_end", "crash")]
    error = dead.wait(lambda done: dead.log.intent(intent("s" * 16), done))     # the dead one was only slow
    assert isinstance(error, Poisoned)
    dead.log.close()
    second.leave()
    first.leave()


# ---------------------------------------------------------------- the fleet log


def ticked(place: Place, tmp_path: Path) -> tuple[Membership, Membership, FleetLog]:
    """Two members with closed sessions, all of it in the fleet log."""
    first, second = members(place, tmp_path, 2)
    log = FleetLog(first)
    for turn in range(3):
        session(first, f"a{turn}")
        session(second, f"b{turn}")
        assert log.tick() == 2
    assert log.tick() == 0
    return first, second, log


def left(first: Membership, second: Membership, log: FleetLog) -> None:
    log.end()
    for member in (first, second):
        member.leave()


def test_the_fleet_log_holds_every_shard(place: Place, tmp_path: Path) -> None:
    """Each checkpoint of a shard is a leaf, written by whoever has the lease, and the whole fleet verifies."""
    first, second, log = ticked(place, tmp_path)
    other = FleetLog(second)
    assert other.tick() == 0
    assert (log.is_held, other.is_held) == (True, False)
    log.end()
    session(second, "more")
    assert other.tick() == 1
    assert other.is_held
    left(first, second, other)
    leaves = [record for record in records(place, FLEET) if record["type"] == "shard_checkpoint"]
    assert [(leaf["data"]["origin"][-7:], leaf["data"]["size"]) for leaf in leaves] == [
        ("shard-1", 6), ("shard-2", 6), ("shard-1", 12), ("shard-2", 12), ("shard-1", 18), ("shard-2", 18),
        ("shard-2", 24)]
    reports = verified(tmp_path / "n0", key=tmp_path / "n0" / "log.vkey")
    assert set(reports) == {"shard-1", "shard-2", "fleet"}
    assert all(report.findings == [] for report in reports.values())
    assert "7 checkpoints of 2 shards" in reports["fleet"].covered["consistency"][-1]


def test_a_deleted_shard_is_noticed(place: Place, tmp_path: Path) -> None:
    """Every row of a shard is gone, its name as well: the fleet log names it."""
    left(*ticked(place, tmp_path))
    for table in ("entries", "payloads", "payload_keys", "sessions", "checkpoints", "head", "meta", "shards"):
        execute(place, f"DELETE FROM {table} WHERE shard = 2")
    assert findings(tmp_path / "n0")["fleet"] == [("fleet log", f"{ORIGIN}/shard-2 is gone", 2)]


def shrink(place: Place, size: int, *head: object) -> None:
    """Shard 2 as it was at `size`, signed head and all: what a restored backup looks like."""
    for table in ("entries", "payloads", "payload_keys"):
        execute(place, f"DELETE FROM {table} WHERE shard = 2 AND idx >= %s", size)
    execute(place, "DELETE FROM sessions WHERE shard = 2 AND first >= %s", size)
    execute(place, "UPDATE head SET size = %s, note = %s, frontier = %s, epoch = %s WHERE shard = 2", size, *head)


def test_a_shard_that_shrank_is_noticed(place: Place, tmp_path: Path) -> None:
    """An older state of a shard verifies by itself; the fleet log says that there was more, to the verifier, to the
    gateway that looks next, and whichever shard it is."""
    first, second = members(place, tmp_path, 2)
    session(second, "b")
    ((size, *head),) = execute(place, "SELECT size, note, frontier, epoch FROM head WHERE shard = 2")
    session(second, "c")
    log = FleetLog(first)
    assert log.tick() == 1
    shrink(place, size, *head)
    (tmp_path / "n1" / "shard-2" / "checkpoint").unlink()       # this machine's own memory is gone too
    with pytest.raises(Tampered, match="had 12 entries and has 6"):
        log.tick()
    session(first, "a")
    with pytest.raises(Tampered):
        log.tick()      # the others are appended all the same
    with pytest.raises(Tampered):
        log.end()
    first.leave()
    second.leave()
    found = findings(tmp_path / "n1")
    assert found["shard-2"] == [("fleet log", "12 entries were signed, 6 are stored", 6)]
    assert [record["data"]["origin"] for record in records(place, FLEET) if record["type"] == "shard_checkpoint"] == [
        f"{ORIGIN}/shard-2", f"{ORIGIN}/shard-1"]


def test_a_shard_that_was_rewritten_is_noticed(place: Place, tmp_path: Path) -> None:
    """Whoever holds the key can sign another history of a shard; its root at an old size is in the fleet log."""
    first, second, log = ticked(place, tmp_path)
    left(first, second, log)
    for table in ("entries", "payloads", "payload_keys", "sessions", "checkpoints"):
        execute(place, f"DELETE FROM {table} WHERE shard = 2")
    execute(place, "UPDATE head SET size = 0, epoch = 0, note = '', frontier = %s WHERE shard = 2", bytes(8))
    (tmp_path / "n1" / "shard-2" / "checkpoint").unlink()
    forged = join(place, tmp_path / "n1")
    assert forged.lease.shard == 2
    for turn in range(6):
        session(forged, f"forged{turn}")
    forged.leave()
    found = findings(tmp_path / "n1")
    assert found["shard-2"] == [("fleet log", "the first 6 entries do not have the root that was signed", 0)]


def test_a_fleet_log_that_was_cut_is_noticed(place: Place, tmp_path: Path) -> None:
    """The fleet log is a log like any other: its last leaf does not go unseen."""
    left(*ticked(place, tmp_path))
    execute(place, "DELETE FROM entries WHERE shard = 0 AND idx = (SELECT max(idx) FROM entries WHERE shard = 0)")
    assert findings(tmp_path / "n0")["fleet"]


def test_a_key_of_somebody_else_verifies_nothing(place: Place, tmp_path: Path) -> None:
    """The pinned key decides, whatever the folder holds."""
    left(*ticked(place, tmp_path))
    (tmp_path / "elsewhere").mkdir()
    other = place_elsewhere(tmp_path)
    reports = verified(tmp_path / "n0", key=other / "log.vkey")
    assert {report.verdict for report in reports.values()} == {Verdict.UNTRUSTED}


def test_threads_of_a_member_take_turns(place: Place, tmp_path: Path) -> None:
    """Renewing, adopting and leaving come from different threads."""
    first, second = members(place, tmp_path, 2)
    expire(place, second.lease.shard)
    threads = [threading.Thread(target=call) for call in (first.renew, first.adopt, first.renew, first.adopt)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.leave()
    second.leave()
    assert execute(place, "SELECT holder FROM shards WHERE shard = %s", first.lease.shard) == [("",)]


def test_the_lease_is_renewed_while_the_log_is_being_opened(place: Place, tmp_path: Path) -> None:
    """A thread of the membership renews from the moment the shard is taken, and tells when it is lost."""
    member = join(place, tmp_path / "n0", seconds=0.3)
    ((first,),) = execute(place, "SELECT expires FROM shards WHERE shard = %s", member.lease.shard)
    while execute(place, "SELECT expires FROM shards WHERE shard = %s", member.lease.shard) == [(first,)]:
        member._thread.join(0.02)
    execute(place, "UPDATE shards SET epoch = epoch + 1 WHERE shard = %s", member.lease.shard)
    while member._trouble is None:
        member._thread.join(0.02)
    with pytest.raises(Locked, match="taken this shard over"):
        member.require_held()
    member.leave()


def test_a_command_records_on_a_stopped_gateways_shard(place: Place, tmp_path: Path) -> None:
    """It takes the lease like a gateway, and not where another gateway has the shard."""
    (member,) = members(place, tmp_path, 1)
    session(member, "s")
    member.leave()
    with recorded(member.folder) as log:
        index = log.append(Event("verify_run", {"verdict": "verified"}))
    found = records(place, member.lease.shard)
    assert found[index]["type"] == "verify_run"
    assert found[-1]["type"] == "node_stop"
    other = join(place, tmp_path / "other", count=1, key=tmp_path / "n0")
    with pytest.raises(Locked, match="all 1 shards"), recorded(member.folder):
        pass
    other.renew()
    other.leave()
