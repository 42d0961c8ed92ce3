"""Going on with a long shard: its end is read and checked, the rest is bound by what was signed and seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Tampered
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.tail import DatabaseTail
from lockgate.model import Outcome, OutcomeStatus
from tests.unit.audit.fleet.nodes import execute, join, opened, records, verified
from tests.unit.audit.logs import Driven, intent

LONG = "l" * 16         # begins the log and is open at its end
SHORT = "s" * 16


def grow(driven: Driven, sid: str, times: int) -> None:
    """Two entries each time; a commit for every hundred of them."""
    for turn in range(times):
        number = driven.intent(sid) if turn % 50 == 49 else driven.log.intent(intent(sid), None)
        driven.log.outcome(Outcome(sid, number, OutcomeStatus.OK, 1, 20, {}, 0.001))
    driven.run(sid)


@pytest.fixture
def abandoned(place: Place, tmp_path: Path) -> Membership:
    """A member that died: 1,500 entries, a session that was open all the time, and one that began late."""
    member = join(place, tmp_path / "dead", count=1)
    driven = opened(member)
    driven.begin(LONG)
    driven.begin("m" * 16)
    driven.run(LONG)
    grow(driven, "m" * 16, 700)
    driven.log.end_session("m" * 16, "closed")
    driven.log.heartbeat()
    driven.begin(SHORT)
    driven.intent(SHORT)
    driven.log.withhold("dead")
    left = member.folder / "checkpoint"
    assert left.is_file()
    os.close(member._lock)
    execute(place, "UPDATE shards SET expires = now() - interval '1 second'")
    return member


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which entries a take-over reads."""
    found: list[int] = []
    for name in ("rows", "rows_of"):
        read = getattr(DatabaseTail, name)

        def counted(tail: DatabaseTail, *asked: Any, read: Any = read) -> Iterator[Any]:
            for row in read(tail, *asked):
                found.append(row[0])
                yield row

        monkeypatch.setattr(DatabaseTail, name, counted)
    return found


def taken(place: Place, tmp_path: Path, name: str = "next") -> Membership:
    return join(place, tmp_path / name, count=1, key=tmp_path / "dead")


def refused(place: Place, tmp_path: Path, name: str = "next") -> Tampered:
    member = taken(place, tmp_path, name)
    try:
        with pytest.raises(Tampered) as caught:
            opened(member)
    finally:
        member.leave()
    return caught.value


def test_only_the_end_of_a_long_shard_is_read(
    place: Place, tmp_path: Path, abandoned: Membership, rows: list[int],
) -> None:
    """Another gateway goes on after it has read what came after the newest kept checkpoint, and the sessions that are
    open; it ends those, and all of it verifies."""
    size = len(records(place, 1))
    assert size > 1_400
    member = taken(place, tmp_path)
    opened(member).log.close()
    assert len(rows) < 600
    assert rows[0] == 1                 # the long session's begin
    stored = records(place, 1)[size:]
    assert [(record["type"], record.get("sid")) for record in stored if "sid" in record] == [
        ("session_end", LONG), ("outcome", SHORT), ("session_end", SHORT)]
    assert verified(tmp_path / "next", key=tmp_path / "dead" / "log.vkey")["shard-1"].verdict is Verdict.VERIFIED
    member.leave()


@pytest.mark.parametrize(("statement", "check", "index"), [
    ("UPDATE entries SET leaf = leaf || ' '::bytea WHERE idx = 101", "leaf hash", 101),
    ("DELETE FROM entries WHERE idx = 4", "entries", 4),       # the last one of a session that is open
    ("UPDATE sessions SET last = 9 WHERE sid = 'llllllllllllllll'", "session", None),
])
def test_what_is_not_read_is_for_the_verification(
    place: Place, tmp_path: Path, abandoned: Membership, statement: str, check: str, index: int | None,
) -> None:
    """What was altered long before the end does not keep a gateway from going on; `verify` finds it."""
    execute(place, statement)
    member = taken(place, tmp_path)
    opened(member).log.close()
    member.leave()
    found = [(finding.check, finding.index) for finding in verified(tmp_path / "next")["shard-1"].findings]
    assert any(name == check and index in (None, at) for name, at in found), found


@pytest.mark.parametrize(("statement", "said", "index"), [
    ("UPDATE entries SET leaf = leaf || ' '::bytea WHERE idx = (SELECT max(idx) - 1 FROM entries)", "not the one", None),
    ("DELETE FROM entries WHERE idx = (SELECT max(idx) - 1 FROM entries)", "is missing", None),
    ("UPDATE entries SET leaf = leaf || ' '::bytea WHERE idx = 4", "not the one", 4),       # of the long session
    ("DELETE FROM entries WHERE idx = 3", "record 1 is missing", 4),
    ("UPDATE sessions SET last = 9 WHERE sid = 'ssssssssssssssss'", "index of sessions", None),
    ("UPDATE sessions SET last = NULL WHERE sid = 'mmmmmmmmmmmmmmmm'", "index of sessions", None),
    ("UPDATE head SET epoch = epoch + 1", "does not fit", None),
    ("UPDATE checkpoints SET epoch = epoch + 1", "does not fit", None),
    ("UPDATE checkpoints SET frontier = set_byte(frontier, 20, 255 - get_byte(frontier, 20))", "not of its tree", None),
])
def test_an_end_that_was_altered_is_refused(
    place: Place, tmp_path: Path, abandoned: Membership, statement: str, said: str, index: int | None,
) -> None:
    """What is read is checked as if all of it were, and so is what stands for the rest."""
    execute(place, statement)
    error = refused(place, tmp_path)
    assert said in str(error)
    assert index is None or error.index == index


def shrink(place: Place, size: int) -> None:
    """The shard as it was at a kept checkpoint: an old backup, signed head and all."""
    for table in ("entries", "payloads", "payload_keys"):
        execute(place, f"DELETE FROM {table} WHERE idx >= %s", size)
    execute(place, "DELETE FROM sessions WHERE first >= %s", size)
    execute(place, "UPDATE sessions SET last = NULL WHERE last >= %s", size)
    execute(place, "DELETE FROM checkpoints WHERE size > %s", size)
    execute(place, "UPDATE head h SET size = c.size, note = c.note, frontier = c.frontier, epoch = c.epoch"
                   " FROM checkpoints c WHERE c.size = %s", size)


def test_a_shard_that_was_rolled_back_is_refused_by_who_saw_more(
    place: Place, tmp_path: Path, abandoned: Membership,
) -> None:
    """The checkpoint beside the log is of a larger tree than the one that is there."""
    sizes = [size for (size,) in execute(place, "SELECT size FROM checkpoints ORDER BY size")]
    assert len(sizes) > 3
    seen = tmp_path / "next" / "shard-1"
    seen.mkdir(parents=True, mode=0o700)
    (seen / "checkpoint").write_bytes((abandoned.folder / "checkpoint").read_bytes())
    shrink(place, sizes[2])
    error = refused(place, tmp_path)
    assert "rolled back" in str(error)
    assert error.check == "published checkpoint"


def test_a_shard_that_was_rewritten_since_is_refused_by_who_saw_less(
    place: Place, tmp_path: Path, abandoned: Membership,
) -> None:
    """From the newest tree that this machine has seen, the hashes have to lead to the kept checkpoint."""
    (old,) = execute(place, "SELECT note FROM checkpoints ORDER BY size LIMIT 1")
    seen = tmp_path / "next" / "shard-1"
    seen.mkdir(parents=True, mode=0o700)
    (seen / "checkpoint").write_text(old[0])
    execute(place, "UPDATE entries SET hash = sha256(hash) WHERE idx = (SELECT min(size) + 5 FROM checkpoints)")
    assert "do not lead" in str(refused(place, tmp_path))
    fresh = taken(place, tmp_path, "fresh")     # who has seen nothing has nothing to hold against it
    opened(fresh).log.close()
    fresh.leave()
    assert verified(tmp_path / "fresh")["shard-1"].verdict is Verdict.TAMPERED
