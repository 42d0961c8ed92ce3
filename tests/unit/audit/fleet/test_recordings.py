"""Recordings of a fleet are with the log in the database: whoever takes a shard over has them, plays, hands out and erases them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.audit.custody import Custody, submitting
from lockgate.audit.erasing import Wish
from lockgate.audit.evidence.main import verify_package
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import export_package
from lockgate.audit.reader import Reader
from lockgate.audit.recording.events import INPUT, Header
from lockgate.audit.recording.playback import Playback, Stream
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.shelf import shelf_of
from lockgate.audit.recording.studio import Studio, Terms
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.recordings import Recorder
from lockgate.errors import AuditError
from lockgate.model import Secret
from tests.unit.audit.fleet.nodes import execute, join, opened, records, verified
from tests.unit.audit.logs import Driven
from tests.unit.audit.recording.tapes import IDENTITY

SID = "r" * 16
TERMS = Terms((str(IDENTITY.to_public()),))


def tape(driven: Driven, studio: Studio, sid: str = SID, stream: str = "client") -> Any:
    """A running recording of 100 kB and more, of which something is marked already."""
    made = studio.begin(Header("sql", "line", sid, stream, 1_800_000_000_000), tuple, lambda _: None)
    until(driven, lambda: not made._is_busy)
    for number in range(3):
        made.put(float(number), INPUT, bytes([65 + number]) * 50_000)
        studio.tick()
        until(driven, lambda: not made._is_busy)
    return made


def until(driven: Driven, done: Any) -> None:
    while not done():
        driven.turns.get(timeout=20)()


@contextmanager
def recording(member: Membership) -> Iterator[tuple[Driven, Studio]]:
    driven = opened(member)
    studio = Studio(member.folder, driven.log, driven.turns.put, TERMS, Recorder(member.place, member.lease.shard))
    try:
        yield driven, studio
    finally:
        studio.close()
        driven.log.close()


@pytest.fixture
def recorded(place: Place, tmp_path: Path) -> Membership:
    """A member that has recorded one session whole, and is gone, its folder with it."""
    member = join(place, tmp_path / "made", count=1)
    with recording(member) as (driven, studio):
        driven.begin(SID)
        driven.run(SID)
        made = tape(driven, studio)
        made.finish()
        until(driven, lambda: made.is_over)
        driven.log.end_session(SID, "closed")
    member.leave()
    assert not (member.folder / "recordings").exists()
    return member


def other(place: Place, tmp_path: Path, recorded: Membership) -> Membership:
    return join(place, tmp_path / "other", count=1, key=recorded.base)


def test_another_gateway_plays_verifies_and_hands_out_a_recording(
    place: Place, tmp_path: Path, recorded: Membership,
) -> None:
    """Nothing of it is on the machine that does."""
    member = other(place, tmp_path, recorded)
    opened(member).log.close()
    with shelf_of(member.folder) as shelf:
        assert shelf.sessions() == [SID]
        assert shelf.sessions(idle=3_600.0) == []
        assert shelf.streams(SID) == ["client"]
        played = Playback(Stream(member.folder, SID, "client"), Opener([IDENTITY]))
        assert sum(len(event.data) for event in played.events()) == 150_000
        assert played.rest == 0
    with Reader(member.folder) as reader:
        end = reader.session(SID).end
    assert end is not None
    assert end["coverage"]["state"] == "whole"
    report = verified(member.base)["shard-1"]
    assert report.findings == []
    assert f"1 stream, {end['coverage']['chunks']} chunks" in str(report.covered["recordings"])
    export_package(member.folder, Asked(session=SID), tmp_path / "e.tar")
    with (tmp_path / "e.tar").open("rb") as file:
        package = verify_package(file, Pins((member.folder / "log.vkey").read_text()), "e.tar")
    assert package.findings == []
    assert "1 streams" in str(package.covered["recordings"])
    member.leave()


@pytest.mark.parametrize(("statement", "verdict", "said"), [
    ("UPDATE recordings SET chunk = set_byte(chunk, 200, 255 - get_byte(chunk, 200)) WHERE number = 1", Verdict.TAMPERED,
     "do not have the root"),
    ("DELETE FROM recordings WHERE number = 1", Verdict.INCOMPLETE, "MISSING"),
    ("DELETE FROM recordings", Verdict.INCOMPLETE, "MISSING"),
    ("INSERT INTO recordings SELECT shard, sid, stream, number + 1, chunk FROM recordings ORDER BY number DESC LIMIT 1",
     Verdict.TAMPERED, "something follows"),
])
def test_what_is_done_to_its_rows_is_found(
    place: Place, tmp_path: Path, recorded: Membership, statement: str, verdict: Verdict, said: str,
) -> None:
    """Every chunk is what was marked, none is missing, and none was added."""
    execute(place, statement)
    report = verified(recorded.base)["shard-1"]
    assert report.verdict is verdict
    assert said in report.findings[0].message


def test_a_crash_loses_what_was_not_marked_and_no_more(place: Place, tmp_path: Path) -> None:
    """Whoever ends a dead gateway's session finds its chunks, and says that the recording is cut, not lost."""
    dead = join(place, tmp_path / "dead", count=1)
    living = join(place, tmp_path / "living", count=2, key=dead.base)
    driven = opened(dead)
    studio = Studio(dead.folder, driven.log, driven.turns.put, TERMS, Recorder(place, 1))
    driven.begin(SID)
    tape(driven, studio)
    driven.run(SID)
    execute(place, "UPDATE shards SET expires = now() - interval '1 second' WHERE shard = 1")
    assert living.adopt() == [1]
    (end,) = [record for record in records(place, 1) if record["type"] == "session_end"]
    assert (end["coverage"]["state"], end["coverage"]["reason"]) == ("cut", "crash")
    assert end["coverage"]["chunks"] > 1
    assert verified(living.base)["shard-1"].findings == []
    studio.close()
    driven.log.close()
    for member in (dead, living):
        member.leave()


@contextmanager
def acting(member: Membership, **options: Any) -> Iterator[Custody]:
    """Acts on a member's log; its callbacks run on a thread that stands in for the loop's."""
    driven = opened(member, **options)
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set() or not driven.turns.empty():
            driven.turns.get()()

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield Custody(member.folder, submitting(driven.log, driven.turns.put))
    finally:
        stop.set()
        driven.turns.put(lambda: None)
        thread.join()
        driven.log.close()


def test_who_took_the_shard_over_erases_what_others_recorded(place: Place, tmp_path: Path, recorded: Membership) -> None:
    """The rows are gone, the log says by which record, and all of it verifies."""
    member = other(place, tmp_path, recorded)
    with acting(member) as custody:
        erased = custody.erase(Wish("asked", subject="alice", issuer="https://issuer.test"), ("local", "op"))
        assert (erased.recordings, erased.unfinished) == (1, ())
    assert execute(place, "SELECT count(*) FROM recordings") == [(0,)]
    member.leave()
    report = verified(member.base)["shard-1"]
    assert report.findings == []
    assert "1 stream erased" in str(report.covered["recordings"])


def test_retention_deletes_what_others_recorded(place: Place, tmp_path: Path, recorded: Membership) -> None:
    """What is older than its period goes, with a record; what the database has had for less is not looked at."""
    member = other(place, tmp_path, recorded)
    with acting(member, facts={"retention": {"recordings": 0}}) as custody:
        assert custody.retain(None, 3_600.0, 4_000_000_000.0) == 0
        execute(place, "UPDATE recordings SET made = made - interval '2 hours'")
        assert custody.retain(None, 3_600.0, 4_000_000_000.0) == 0     # the session ended a moment ago, says the log
        assert custody.retain(None, 0.0, 4_000_000_000.0) == 1
    assert execute(place, "SELECT count(*) FROM recordings") == [(0,)]
    member.leave()
    assert verified(member.base)["shard-1"].findings == []


def test_an_erased_stream_takes_no_more(place: Place, tmp_path: Path) -> None:
    """What a session still brings after its recording was erased is not kept, like with a file that was deleted."""
    member = join(place, tmp_path / "n", count=1)
    recorder = Recorder(place, 1)
    medium = recorder.medium(SID, "client")
    medium.open()
    medium.append([b"one", b"two"])
    with shelf_of(member.base) as shelf:
        assert shelf.remove(SID)
        assert not shelf.remove(SID)
    medium.append([b"three"])
    assert execute(place, "SELECT count(*) FROM recordings") == [(0,)]
    again = recorder.medium(SID, "client")
    again.open()
    again.append([b"one"])
    with pytest.raises(AuditError, match="there is one already"):
        recorder.medium(SID, "client").open()
    recorder.close()
    member.leave()


def test_a_database_that_is_away_cuts_the_recording(place: Place, tmp_path: Path) -> None:
    """A write that fails is told, and the log says that the rest is not recorded."""
    member = join(place, tmp_path / "n", count=1)
    failures: list[str] = []
    with recording(member) as (driven, studio):
        driven.begin(SID)
        made = studio.begin(Header("sql", "line", SID, "client", 1_800_000_000_000), tuple, failures.append)
        until(driven, lambda: not made._is_busy)
        execute(place, "ALTER TABLE recordings RENAME TO elsewhere")
        made.put(0.0, INPUT, b"x" * 1_000)
        studio.tick()
        until(driven, lambda: made.is_over)
        execute(place, "ALTER TABLE elsewhere RENAME TO recordings")
        driven.log.end_session(SID, "closed")
    member.leave()
    assert failures
    (end,) = [record for record in records(place, 1) if record["type"] == "session_end"]
    assert end["coverage"]["state"] == "lost"
    assert verified(member.base)["shard-1"].verdict is not Verdict.TAMPERED


def test_tables_of_the_earlier_format_are_brought_on(place: Place) -> None:
    """An administrator runs what is new; a role without the right to make tables is told so."""
    execute(place, "CREATE SCHEMA lockgate_audit")
    execute(place, schema._FIRST)
    execute(place, "INSERT INTO lockgate_audit.store VALUES (1)")
    execute(place, "DROP ROLE IF EXISTS lesser")
    execute(place, "CREATE ROLE lesser LOGIN PASSWORD 'lesser'")
    execute(place, "GRANT USAGE ON SCHEMA lockgate_audit TO lesser; GRANT SELECT ON lockgate_audit.store TO lesser")

    with Connection(replace(place, user="lesser", password=Secret("lesser"))) as connection:
        with pytest.raises(AuditError, match="of an earlier format") as caught:
            schema.require_tables(connection)
        assert "--since 1" in caught.value.advice()
        execute(place, schema.statements("lesser", since=1))
        schema.require_tables(connection)
        assert connection.value("SELECT count(*) FROM recordings") == 0
    execute(place, "DROP OWNED BY lesser")
    execute(place, "DROP ROLE lesser")
