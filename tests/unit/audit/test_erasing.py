"""Erasure: what is named is gone, bytes and all; everything else stands, and the log says who, what and why."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from lockgate.audit.custody import Custody, Erased, Refused, submitting
from lockgate.audit.erasing import Held, NothingToErase, Wish
from lockgate.audit.evidence.recordings import RECORDING_MAGIC
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.log import AuditLog
from lockgate.audit.reader import Reader
from lockgate.audit.recording.reel import Mark
from lockgate.audit.recording.shelf import stream_file
from lockgate.audit.removal import scrub
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tree import EMPTY_ROOT
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Erasure, Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import ORIGIN, Driven, Ticking, binding, edit, intent, review_events, sample, start
from tests.unit.audit.packages import check, exported
from tests.unit.audit.test_log import records

ME = ("local", "ann")


@contextmanager
def custody(folder: Path, apart: bool = False) -> Iterator[Custody]:
    """The log of a folder, open for administrative acts."""

    def at_once(call: Callable[[], None]) -> None:
        call()

    log = AuditLog.open(folder, origin=ORIGIN, dispatch=at_once, apart=apart)
    try:
        yield Custody(folder, submitting(log, at_once))
    finally:
        log.close()


def erase(folder: Path, **wish: object) -> Erased:
    with custody(folder) as acts:
        return acts.erase(Wish("asked for by the person", **wish), ME)  # type: ignore[arg-type]


def states(folder: Path) -> dict[int, str]:
    """Index → state of the payload, of entries that committed to one."""
    with Reader(folder) as reader:
        return {record["index"]: reader.entry(record["index"])[1].state
                for record in records(folder) if "payload" in record}


def rows(folder: Path) -> list[tuple[int, bytes, bytes | None]]:
    """Index, key with salt, and sealed payload, as stored."""
    connection = apsw.Connection(str(folder / "log.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = list(connection.execute("SELECT k.idx, k.secret, p.sealed FROM payload_keys k LEFT JOIN payloads p USING (idx)"
                                    " WHERE k.secret <> zeroblob(64)"))
    connection.close()
    return found


def raw(folder: Path) -> bytes:
    """Every byte of the store's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("log.db*")))


def test_a_subject_is_erased_and_nobody_else(tmp_path: Path) -> None:
    """All of the person's sessions and the reviews that name the person go; roots and other people's payloads stay."""
    sample(tmp_path)
    root = (tmp_path / "checkpoint").read_text()
    before = states(tmp_path)
    assert set(before.values()) == {"open"}
    done = erase(tmp_path, subject="alice")
    after = states(tmp_path)
    leaf = done.leaves[0]
    gone = {index for index, state in after.items() if state != "open"}
    assert gone == {1, 3, 6, 7, 8}                     # begin, select, request, review, delete
    assert {after[index] for index in gone} == {f"erased by record {leaf}"}
    assert (done.payloads, done.recordings, done.unfinished, done.is_scrubbed) == (5, 0, (), True)
    record = records(tmp_path)[leaf]
    assert record["data"]["cause"] == "subject"
    assert record["data"]["approvals"] == 1
    with Reader(tmp_path) as reader:
        assert json.loads(reader.entry(leaf)[1].content["body"]) == {
            "requester": list(ME), "reason": "asked for by the person"}
    report = verify_log(tmp_path, key=tmp_path / "log.vkey", against=root)
    assert report.findings == []
    assert (report.payloads, sum(report.erased.values())) == (4, 5)


@pytest.mark.parametrize("apart", [False, True])
def test_the_bytes_are_gone_from_every_file(tmp_path: Path, apart: bool) -> None:
    """Neither a key nor a sealed payload is left in the file or its write-ahead log, while the log stays open."""
    sample(tmp_path)
    before = {index: (secret, sealed) for index, secret, sealed in rows(tmp_path)}
    with custody(tmp_path, apart) as acts:
        done = acts.erase(Wish("reason", records=((3, 5),)), ME)
        assert done.is_scrubbed
        files = raw(tmp_path)
        for index, (secret, sealed) in before.items():
            assert sealed is not None
            is_there = [part in files for part in (secret, sealed[:24], sealed[-24:])]
            assert is_there == [index not in (3, 5)] * 3, index
    assert verify_log(tmp_path).findings == []


def test_what_was_moved_between_pages_is_gone_as_well(tmp_path: Path) -> None:
    """SQLite moves rows when pages are joined, and may leave a copy of what was moved: of keys and salts there is none, in
    whatever order erasures come, so that a stray piece of a sealed payload says nothing."""
    driven = Driven(tmp_path)
    driven.begin("s")
    for number in range(900):
        driven.log.intent(_intent(number), None)
    driven.log.close()
    keys = {index: secret for index, secret, _ in rows(tmp_path)}
    order = sorted(keys, key=lambda _: secrets.token_bytes(4))
    with custody(tmp_path) as acts:
        for at in range(0, len(order) - 100, 50):
            acts.erase(Wish("reason", records=tuple((index, index) for index in order[at : at + 50])), ME)
    files = raw(tmp_path)
    left = {index for index, _, _ in rows(tmp_path)}
    assert len(left) == 51 + 17        # what was not erased, and the records of the erasures
    for index, secret in keys.items():
        assert [part in files for part in (secret[:12], secret[20:32], secret[32:44], secret[-12:])] == [index in left] * 4
    assert verify_log(tmp_path).findings == []


def _intent(number: int) -> object:
    return intent("s", f"SELECT {number} " + "x" * (number % 700))


def test_a_reader_that_keeps_the_old_snapshot_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads an older snapshot its pages stay in the write-ahead log: the answer says so, and the
    next chance is taken."""
    monkeypatch.setattr("lockgate.audit.custody.scrub", lambda path: scrub(path, 0.2))
    sample(tmp_path)
    with custody(tmp_path) as acts:
        with open_source(tmp_path):
            assert not acts.erase(Wish("reason", records=((3, 3),)), ME).is_scrubbed
        acts.retain(None, None, 0.0)
        assert acts.is_scrubbed


def test_a_large_erasure_is_many_small_ones(tmp_path: Path) -> None:
    """A part has at most 60 ranges and 1,000 payloads, so that no transaction is long."""
    driven = Driven(tmp_path)
    for sid, subject in (("a", "alice"), ("b", "bob"), ("c", "alice")):
        driven.begin(sid, subject)
    for number in range(1_800):
        sid = "a" if number < 1_500 else "abc"[number % 3]
        driven.log.outcome(Outcome(sid, driven.log.intent(intent(sid), None), OutcomeStatus.OK))
    for sid in "abc":
        driven.log.end_session(sid, "closed")
    driven.log.close()
    done = erase(tmp_path, subject="alice")
    leaves = [records(tmp_path)[index] for index in done.leaves]
    assert done.payloads == 2 + 1_500 + 200
    assert len(leaves) == 3
    for leaf in leaves:
        ranges = leaf["data"]["ranges"]
        assert len(ranges) <= 60
        assert sum(last - first + 1 for first, last in ranges) <= 2_000
    kept = {index for index, state in states(tmp_path).items() if state == "open"}
    assert len(kept) == 1 + 100 + len(leaves)
    assert verify_log(tmp_path).findings == []


def test_who_is_meant_is_clear_or_nobody_is_erased(tmp_path: Path) -> None:
    """A name that two issuers know, one that nobody knows, a record without payload: nothing happens."""
    driven = Driven(tmp_path)
    driven.begin("a")
    other = replace(start("b"), issuer="https://other.test")
    assert driven.wait(lambda done: driven.log.begin_session(other, done)) is None
    driven.log.close()
    size = len(records(tmp_path))
    with custody(tmp_path) as acts:
        with pytest.raises(AuditError, match="several issuers know a alice"):
            acts.erase(Wish("reason", subject="alice"), ME)
        for wish in (Wish("r", subject="carol"), Wish("r", subject="alice", issuer="https://third.test"),
                     Wish("r", records=((3, 3),)), Wish("r", records=((900, 999),))):
            with pytest.raises(NothingToErase):
                acts.erase(wish, ME)
        for reason in ("", "  ", "x" * 2_001):
            with pytest.raises(Refused):
                acts.erase(Wish(reason, records=((1, 1),)), ME)
        assert acts.erase(Wish("r", subject="alice", issuer="https://other.test"), ME).payloads == 1
        with pytest.raises(NothingToErase):
            acts.erase(Wish("r", subject="alice", issuer="https://other.test"), ME)
    assert states(tmp_path)[1] == "open"
    assert len(records(tmp_path)) == size + 3          # start, erasure, stop


def test_recordings_go_with_their_session(tmp_path: Path) -> None:
    """Files of ended sessions are removed and their marks named; a session that runs keeps its file, and is told of."""
    driven = Driven(tmp_path)
    for sid in "ab":
        driven.begin(sid)
        driven.run(sid)
        _recorded(driven, sid)
    driven.log.end_session("a", "closed")
    driven.begin("z", "bob")        # waits until what was queued before is durable
    with _open_again(driven) as acts:
        done = acts.erase(Wish("reason", subject="alice"), ME)
    assert (done.recordings, done.unfinished) == (1, ("b",))
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["b"]
    marks = [record["index"] for record in records(tmp_path) if record["type"] == "rec_mark"]
    named = records(tmp_path)[done.leaves[0]]["data"]["ranges"]
    assert [any(first <= mark <= last for first, last in named) for mark in marks] == [True, False]
    report = verify_log(tmp_path)
    assert (report.findings, sum(report.erased.values())) == ([], done.payloads)
    with Reader(tmp_path) as reader:
        assert {view.sid: view.erased_by for view in reader.sessions()} == {"a": done.leaves[0], "b": None, "z": None}
        assert reader.session("a").erased_by == done.leaves[0]
    # A crash between the record and the files: found, and made good at the next start.
    (tmp_path / "recordings" / "a").mkdir()
    (tmp_path / "recordings" / "a" / "sql.rec").write_bytes(RECORDING_MAGIC)
    assert ("erasure", marks[0]) in [(f.check, f.index) for f in verify_log(tmp_path).findings]
    with custody(tmp_path) as acts:
        acts.retain(None, None, 0.0)
        assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["b"]
        # What is gone already is not counted a second time.
        assert acts.erase(Wish("again", subject="alice", issuer="https://issuer.test"), ME).recordings == 1
    assert list((tmp_path / "recordings").iterdir()) == []


def _recorded(driven: Driven, sid: str, is_marked: bool = True) -> None:
    """An empty recording of a session."""
    if is_marked:
        driven.log.mark(sid, "sql", Mark(0, 0, EMPTY_ROOT), final=True)
    path = stream_file(driven.log.folder, sid, "sql")
    path.parent.mkdir(parents=True)
    path.write_bytes(RECORDING_MAGIC)


@contextmanager
def _open_again(driven: Driven) -> Iterator[Custody]:
    """Acts on a log that a test drives; its callbacks run on a thread that stands in for the loop's."""
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set() or not driven.turns.empty():
            driven.turns.get()()

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield Custody(driven.log._folder, submitting(driven.log, driven.turns.put))
    finally:
        stop.set()
        driven.turns.put(lambda: None)
        thread.join()
        driven.log.close()


# ---------------------------------------------------------------- what the verifier finds


def test_a_payload_without_an_erasure_is_missing(tmp_path: Path) -> None:
    """What no erasure names is MISSING, with its index, also beside something that was erased."""
    sample(tmp_path)
    erase(tmp_path, records=((3, 3),))
    edit(tmp_path, "DELETE FROM payload_keys WHERE idx = 8", "DELETE FROM payloads WHERE idx = 8")
    report = verify_log(tmp_path)
    assert [(f.check, f.verdict, f.index) for f in report.findings] == [("payloads", Verdict.INCOMPLETE, 8)]
    assert "MISSING" in report.findings[0].message
    assert (states(tmp_path)[3], states(tmp_path)[8]) == ("erased by record 17", "MISSING")


@pytest.mark.parametrize("table", ["payload_keys", "payloads"])
def test_an_erased_payload_that_is_there_is_found(tmp_path: Path, table: str) -> None:
    """Restored from a backup, or never destroyed: an erasure that names what is still there is no erasure."""
    sample(tmp_path)
    connection = apsw.Connection(str(tmp_path / "log.db"))
    kept = connection.execute(f"SELECT * FROM {table} WHERE idx = 3").fetchall()
    connection.close()
    erase(tmp_path, records=((3, 3),))
    edit(tmp_path, (f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", kept[0]))
    found = [(f.check, f.verdict, f.index) for f in verify_log(tmp_path).findings]
    assert ("erasure", Verdict.TAMPERED, 3) in found


def test_the_log_takes_no_erasure_that_names_what_is_not_there(tmp_path: Path) -> None:
    """Ranges are of earlier entries, in order and apart; a wrong one is refused before it could poison the log."""
    driven = Driven(tmp_path)
    for ranges in ((), ((0, 1),), ((5, 9),), ((1, 0),), ((0, 0), (0, 0)), tuple((0, 0) for _ in range(61)), ((-1, 0),)):
        with pytest.raises(AuditError):
            driven.log.append(Erasure("record", ranges, ME, "reason"), lambda error: None)
    assert driven.log.is_writable
    driven.log.close()
    assert len(records(tmp_path)) == 2


# ---------------------------------------------------------------- holds


@pytest.mark.parametrize("scope", [
    {"all": True}, {"session": "a" * 16}, {"subject": "alice"}, {"first": 8, "last": 8}, {"session": "aaaa"},
])
def test_what_is_held_is_not_erased(tmp_path: Path, scope: dict[str, object]) -> None:
    """A hold on anything that an erasure would destroy refuses all of it, by name; lifted, it goes."""
    sample(tmp_path)
    with custody(tmp_path) as acts:
        acts.hold("case-7", "set", scope, "litigation", ME)
        for wish in (Wish("reason", subject="alice"), Wish("reason", records=((8, 8),))):
            with pytest.raises(Held, match="case-7"):
                acts.erase(wish, ME)
        acts.retain(0.0, 0.0, 4e9)
    assert states(tmp_path)[8] == "open"
    with custody(tmp_path) as acts:         # the hold is in the log, not in the process
        with pytest.raises(Held, match="case-7"):
            acts.erase(Wish("reason", records=((8, 8),)), ME)
        acts.hold("case-7", "lift", None, "settled", ME)
        acts.erase(Wish("reason", records=((8, 8),)), ME)
    assert states(tmp_path)[8] != "open"
    held = [record for record in records(tmp_path) if record["type"] == "legal_hold"]
    assert [record["data"]["action"] for record in held] == ["set", "lift"]
    assert held[0]["data"]["scope"] == held[1]["data"]["scope"]
    assert all("requester" in record for record in held)
    assert b"alice" not in json.dumps(held).encode()


def test_holds_are_set_once_and_lifted_once(tmp_path: Path) -> None:
    """A name twice, a lift of nothing, no reason, no scope: refused before it is on record."""
    sample(tmp_path)
    with custody(tmp_path) as acts:
        acts.hold("one", "set", {"all": True}, "why", ME)
        for name, action, scope, reason in (
            ("one", "set", {"all": True}, "why"), ("two", "lift", None, "why"), ("two", "set", None, "why"),
            ("two", "set", {"all": True}, " "), ("two words", "set", {"all": True}, "why"),
            ("two", "set", {"first": 5, "last": 3}, "why"), ("two", "keep", {"all": True}, "why"),
        ):
            with pytest.raises(Refused):
                acts.hold(name, action, scope, reason, ME)
        with pytest.raises(AuditError, match="no session begins"):
            acts.hold("two", "set", {"session": "zz"}, "why", ME)
    assert sum(record["type"] == "legal_hold" for record in records(tmp_path)) == 1


@pytest.mark.parametrize("scope", [{"all": True}, {"session": "a" * 16}, {"subject": "alice"}, {"first": 8, "last": 8}])
def test_an_erasure_under_hold_that_happened_anyway_is_found(tmp_path: Path, scope: dict[str, object]) -> None:
    """Whoever writes an erasure past the hold, with the log's own key, is named by the verifier."""
    sample(tmp_path)
    with custody(tmp_path) as acts:
        acts.hold("case-7", "set", scope, "litigation", ME)
        leaf = acts.submit(Erasure("record", ((8, 8),), ME, "reason"))
    report = verify_log(tmp_path)
    assert [(f.check, f.verdict, f.index) for f in report.findings] == [("hold", Verdict.TAMPERED, leaf)]
    assert "case-7" in report.findings[0].message


def used_elsewhere(folder: Path) -> None:
    """A ticket that one session asked for and another one used, which is closed as well.

    0 start · 1 begin early · 2 request · 3 review · 4 end · 5 begin late · 6/7 delete by the ticket · 8 end · 9 stop
    """
    driven = Driven(folder)
    driven.begin("early")
    for event in review_events("T1", "alice", "carol", "early"):
        driven.log.event(event)
    driven.log.end_session("early", "closed")
    driven.begin("late")
    text = "DELETE FROM customers"
    driven.run("late", text, decision="review", ticket="T1", binding=binding("alice", text))
    driven.log.end_session("late", "closed")
    driven.log.close()


@pytest.mark.parametrize("scope", [{"session": "late"}, {"session": "early"}, {"first": 6, "last": 6}])
def test_a_hold_keeps_what_was_said_about_the_tickets_of_a_session(tmp_path: Path, scope: dict[str, object]) -> None:
    """Request and review of a ticket are kept with the session that used it or asked for it, from people and from time."""
    used_elsewhere(tmp_path)
    with custody(tmp_path) as acts:
        acts.hold("case-7", "set", scope, "litigation", ME)
        for wish in (Wish("reason", subject="carol"), Wish("reason", records=((2, 3),)), Wish("reason", records=((3, 3),))):
            with pytest.raises(Held, match=r"entry [23] is under the legal hold 'case-7'"):
                acts.erase(wish, ME)
        acts.retain(0.0, 0.0, 4e9)
    assert {index: state for index, state in states(tmp_path).items() if index in (2, 3)} == {2: "open", 3: "open"}
    with custody(tmp_path) as acts:
        acts.hold("case-7", "lift", None, "settled", ME)
        acts.erase(Wish("reason", subject="carol"), ME)
    assert states(tmp_path)[3] != "open"
    assert [found for found in verify_log(tmp_path).findings if found.check == "hold"] == []


@pytest.mark.parametrize("index", [2, 3])
@pytest.mark.parametrize("scope", [{"session": "late"}, {"first": 6, "last": 6}])
def test_a_review_that_was_erased_under_hold_is_found(tmp_path: Path, scope: dict[str, object], index: int) -> None:
    """In the log and in a package of the session: whose hold it was is told by the request that used the ticket."""
    folder = tmp_path / "log"
    used_elsewhere(folder)
    with custody(folder) as acts:
        acts.hold("case-7", "set", scope, "litigation", ME)
        leaf = acts.submit(Erasure("record", ((index, index),), ME, "reason"))
    for report in (verify_log(folder), check(exported(folder, session="late"), (folder / "log.vkey").read_text())):
        assert [(f.check, f.verdict, f.index) for f in report.findings] == [("hold", Verdict.TAMPERED, leaf)]
        assert f"entry {index}, under the legal hold 'case-7'" in report.findings[0].message


def test_a_ticket_that_is_used_only_later_was_not_on_hold(tmp_path: Path) -> None:
    """What was erased before a session on hold used the ticket could be erased."""
    driven = Driven(tmp_path)
    driven.begin("late")
    for event in review_events("T1", "alice", "carol"):
        driven.log.event(event)
    with open_source(tmp_path) as source:
        assert source.session("late")[0] == 1
    driven.log.event(Event("legal_hold", {"hold": "case-7", "action": "set", "scope": {"session": "late"}}))
    assert driven.wait(lambda done: driven.log.append(Erasure("record", ((3, 3),), ME, "reason"), done)) is None
    text = "DELETE FROM customers"
    driven.run("late", text, decision="review", ticket="T1", binding=binding("alice", text))
    driven.log.end_session("late", "closed")
    driven.log.close()
    assert verify_log(tmp_path).findings == []


def test_a_package_brings_the_erasure_of_what_was_said_outside(tmp_path: Path) -> None:
    """A review from before the range whose payload was erased is erased in the package as well, and not MISSING."""
    folder = tmp_path / "log"
    used_elsewhere(folder)
    erase(folder, records=((3, 3),))
    report = check(exported(folder, session="late"), (folder / "log.vkey").read_text())
    assert (report.verdict, sum(report.erased.values())) == (Verdict.VERIFIED, 1), report.findings


# ---------------------------------------------------------------- retention


def test_what_is_older_than_its_period_goes_and_what_is_held_stays(tmp_path: Path) -> None:
    """Payloads by their own age, in bounded batches; progress and holds are read from the log, also after a restart."""
    clock = Ticking()
    facts = {"retention": {"payloads": 3_600}}
    driven = Driven(tmp_path, clock=clock, facts=facts)
    driven.begin("a")
    driven.run("a")
    clock.time += 1_800
    driven.begin("b", "bob")
    driven.run("b")
    clock.time += 1_900
    with _open_again(driven) as acts:
        acts.hold("bob", "set", {"first": 1, "last": 1}, "why", ME)
        assert acts.retain(3_600.0, None, clock.time) == 1
        assert acts.retain(3_600.0, None, clock.time) == 0
    assert [index for index, state in states(tmp_path).items() if state != "open"] == [2]
    clock.time += 3_700
    driven = Driven(tmp_path, clock=clock, facts=facts)
    with _open_again(driven) as acts:
        assert acts.retain(3_600.0, None, clock.time) == 1
        acts.hold("bob", "lift", None, "why", ME)
        assert acts.retain(3_600.0, None, clock.time) == 1
    kept = [records(tmp_path)[index]["type"] for index, state in states(tmp_path).items() if state == "open"]
    assert set(kept) <= {"erasure", "legal_hold"}
    assert verify_log(tmp_path).findings == []


def test_a_clock_that_goes_back_makes_no_retention_too_early(tmp_path: Path) -> None:
    """What is old enough is asked of the log's own time, which the record of the erasure cannot be behind."""
    clock = Ticking()
    driven = Driven(tmp_path, clock=clock, facts={"retention": {"payloads": 3_600}})
    driven.begin("a")
    clock.time += 10
    driven.begin("b")
    with _open_again(driven) as acts:
        assert acts.retain(3_600.0, None, clock.time + 86_400) == 0
    assert set(states(tmp_path).values()) == {"open"}


def test_a_retention_before_its_time_is_found(tmp_path: Path) -> None:
    """Nobody erases under the name of a period that is not in force, or not over."""
    for name, facts in (("none", {}), ("long", {"retention": {"payloads": 3_600}})):
        driven = Driven(tmp_path / name, facts=facts)
        driven.begin("a")
        with _open_again(driven) as acts:
            leaf = acts.submit(Erasure("retention", ((1, 1),), ("lockgate", "gateway"), "old"))
        assert [(f.check, f.index) for f in verify_log(tmp_path / name).findings] == [("erasure", leaf)]


def test_recordings_have_a_period_of_their_own(tmp_path: Path) -> None:
    """They go while payloads stay; the record names their marks, or the session's end where there are none."""
    clock = Ticking()
    driven = Driven(tmp_path, clock=clock, facts={"retention": {"payloads": 9_000, "recordings": 60}})
    for sid in "abc":
        driven.begin(sid)
        _recorded(driven, sid, is_marked=sid != "b")
        if sid != "c":
            driven.log.end_session(sid, "closed")
    (tmp_path / "recordings" / "foreign").mkdir()
    clock.time += 61
    driven.begin("z")
    with _open_again(driven) as acts:
        assert acts.retain(9_000.0, 60.0, clock.time) == 2
        assert acts.retain(9_000.0, 60.0, clock.time) == 0
    assert sorted(path.name for path in (tmp_path / "recordings").iterdir()) == ["c", "foreign"]
    assert set(states(tmp_path).values()) == {"open"}
    assert verify_log(tmp_path).findings == []


# ---------------------------------------------------------------- two persons


def asked(acts: Custody, wish: Wish, driven: Driven, reviewer: str = "carol", ticket: str = "T9") -> None:
    """A review of this wish, as the desk records it."""
    plan, key = acts.plan(wish)
    bound = plan.binding(key, ("https://issuer.test", "ann"), wish.reason)
    for event in review_events(ticket, "ann", reviewer):
        event.fields["binding"] = bound  # type: ignore[index]
        driven.turns.put(lambda event=event: driven.log.event(event))  # type: ignore[misc]


@pytest.mark.parametrize("fault", [None, "alone", "self", "reason", "set", "twice", "unasked", "order"])
def test_two_persons_agree_on_exactly_one_erasure(tmp_path: Path, fault: str | None) -> None:
    """Ticket, both people, reason and set are the approved ones, once; anything else is found at its record."""
    ann, carol = ("https://issuer.test", "ann"), ("https://issuer.test", "carol")
    driven = Driven(tmp_path, facts={"approvals": 2})
    for sid in ("a", "b"):
        driven.begin(sid)
    for number in range(130):
        driven.run("a")
        driven.begin(f"x{number}", "bob")
        driven.begin(f"y{number}", "bob")
    with _open_again(driven) as acts:
        wish = Wish("reason", subject="alice")
        plan, _ = acts.plan(wish)
        assert len(plan.parts) > 1
        if fault != "unasked":
            asked(acts, wish, driven, "ann" if fault == "self" else "carol")
        if fault in (None, "twice"):
            acts.carry_out(plan, ann, "reason", carol, "T9")
        leaf = None
        if fault == "twice":
            leaf = acts.submit(Erasure("subject", plan.parts[-1], ann, "reason", carol, "T9", ""))
        elif fault == "alone":
            leaf = acts.submit(Erasure("subject", plan.parts[0], ann, "reason"))
        elif fault == "self":
            leaf = acts.submit(Erasure("subject", plan.parts[0], ann, "reason", ann, "T9", plan.links()[1])) - 1
        elif fault == "reason":
            leaf = acts.submit(Erasure("subject", plan.parts[0], ann, "another", carol, "T9", plan.links()[1]))
        elif fault == "set":
            leaf = acts.submit(Erasure("subject", ((2, 2),), ann, "reason", carol, "T9", plan.links()[1]))
        elif fault == "unasked":
            leaf = acts.submit(Erasure("subject", plan.parts[0], ann, "reason", carol, "T9", plan.links()[1]))
        elif fault == "order":
            leaf = acts.submit(Erasure("subject", plan.parts[1], ann, "reason", carol, "T9", plan.links()[2]))
    found = [(f.check, f.index) for f in verify_log(tmp_path).findings]
    check = "review" if fault == "self" else "erasure"
    assert found == ([] if fault is None else [(check, leaf)])


def test_one_person_is_not_enough_where_two_are_needed(tmp_path: Path) -> None:
    """The local path is refused, and says where to ask."""
    sample(tmp_path)
    with custody(tmp_path) as acts:
        acts.approvals = lambda: 2
        with pytest.raises(Refused, match="two persons"):
            acts.erase(Wish("reason", subject="alice"), ME)
