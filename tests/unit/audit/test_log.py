"""The open log: what is acknowledged is durable, what cannot be written stops everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.entry import parse
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Locked, Overload, Poisoned, Tampered, UnknownSession
from lockgate.audit.keys import load_or_create
from lockgate.audit.log import AuditLog
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.govern.ports import Recorder
from lockgate.model import Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import (
    ORIGIN,
    Driven,
    Ticking,
    binding,
    copied,
    edit,
    intent,
    sample,
    start,
    stored,
)


def records(folder: Path) -> list[dict[str, object]]:
    return [parse(leaf) for leaf in stored(folder)]


def test_a_whole_log_verifies(tmp_path: Path) -> None:
    """Every kind of record, written and closed, is a log that the verifier accepts."""
    sample(tmp_path)
    report = verify_log(tmp_path, key=tmp_path / "log.vkey")
    assert report.findings == []
    assert (report.entries, report.sessions, report.open_sessions, report.intents) == (16, 2, 0, 4)
    assert [record["index"] for record in records(tmp_path)] == list(range(16))


def test_no_statement_can_be_guessed_from_leaves(tmp_path: Path) -> None:
    """Who has the leaves and tries a statement finds it nowhere: also the binding of a review is salted."""
    sample(tmp_path / "log")
    guess = binding("alice", "DELETE FROM customers")
    leaves = stored(tmp_path / "log")
    assert sum(b'"binding"' in leaf for leaf in leaves) == 3
    assert not any(guess.encode() in leaf for leaf in leaves)


def test_records_are_durable_when_acknowledged(tmp_path: Path) -> None:
    """After `done(None)` another connection reads the record, under a signature that covers it."""
    driven = Driven(tmp_path)
    driven.begin("s")
    assert driven.intent("s") == 1
    with_other = apsw.Connection(str(tmp_path / "log.db"))
    leaves = [parse(leaf) for (leaf,) in with_other.execute("SELECT leaf FROM entries ORDER BY idx")]
    assert [leaf["type"] for leaf in leaves] == ["node_start", "session_begin", "intent"]
    with_other.close()
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED
    driven.log.close()


def test_records_without_a_waiter_follow(tmp_path: Path) -> None:
    """`audit: async`: the number comes at once, and the record is in the log after closing."""
    driven = Driven(tmp_path)
    driven.begin("s")
    numbers = [driven.log.intent(intent("s"), None) for _ in range(5_000)]
    assert numbers == list(range(1, 5_001))
    driven.log.close()
    assert sum(record["type"] == "intent" for record in records(tmp_path)) == 5_000


def test_waiters_and_others_keep_their_order(tmp_path: Path) -> None:
    """A durable record has everything that was admitted before it in the log already."""
    driven = Driven(tmp_path)
    driven.begin("s")
    for _ in range(100):
        driven.log.intent(intent("s"), None)
    driven.intent("s")
    assert driven.log.size >= 103
    driven.log.close()
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED


def test_one_dispatch_tells_a_whole_batch(tmp_path: Path) -> None:
    """A batch costs one wake-up of the driver, whatever it holds."""
    turns: list[Callable[[], None]] = []
    answers: list[AuditError | None] = []
    log = AuditLog.open(tmp_path, origin=ORIGIN, dispatch=turns.append)
    log.begin_session(start("s"), answers.append)
    for _ in range(200):
        log.intent(intent("s"), answers.append)
    log.close()
    assert len(turns) <= 3
    for turn in turns:
        turn()
    assert answers == [None] * 201


def test_the_log_is_the_recorder_that_the_pipeline_asks_for(tmp_path: Path) -> None:
    """The log matches `govern.ports.Recorder` without importing it (checked by the type checker as well)."""
    driven = Driven(tmp_path)
    recorder: Recorder = driven.log
    assert recorder.is_writable
    driven.log.close()
    assert not recorder.is_writable


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_the_writer_poisons_as_well(tmp_path: Path) -> None:
    """Whatever ends the writer's thread, who waits is told and nothing is accepted afterwards."""
    driven = Driven(tmp_path)
    driven.begin("s")

    def broken(items: object) -> None:
        raise LookupError("a fault of this program")

    driven.log._writer.commit = broken  # type: ignore[method-assign]
    assert isinstance(driven.wait(lambda done: driven.log.intent(intent("s"), done)), Poisoned)
    with pytest.raises(Poisoned):
        driven.log.intent(intent("s"), None)
    driven.log.close()


def test_a_full_queue_refuses_and_recovers(tmp_path: Path) -> None:
    """At the bound an intent raises `audit.overload`, outcomes still have room, and later ones pass."""
    driven = Driven(tmp_path, queue=10)
    driven.begin("s")
    writer = driven.log._writer
    gate, commit = threading.Event(), writer.commit
    writer.commit = lambda items: (gate.wait(20), commit(items))[1]  # type: ignore[method-assign]
    numbers = []
    with pytest.raises(Overload) as caught:
        for _ in range(11):
            numbers.append(driven.log.intent(intent("s"), None))
    assert caught.value.code == "audit.overload"
    assert len(numbers) == 10
    assert driven.log.is_writable
    driven.log.outcome(Outcome("s", numbers[0], OutcomeStatus.OK))
    gate.set()
    while driven.log.queued:
        driven.log._thread.join(0.01)
    assert driven.intent("s") == 12
    driven.log.close()
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED


def test_a_queue_that_fills_up_is_congested_before_it_refuses(tmp_path: Path) -> None:
    """From half of the bound on senders are asked to wait for durability, and not any more when it drained."""
    driven = Driven(tmp_path, queue=10)
    driven.begin("s")
    writer = driven.log._writer
    gate, commit = threading.Event(), writer.commit
    writer.commit = lambda items: (gate.wait(20), commit(items))[1]  # type: ignore[method-assign]
    seen = []
    for _ in range(10):
        seen.append(driven.log.is_congested)
        driven.log.intent(intent("s"), None)
    assert seen == [False] * 6 + [True] * 4
    gate.set()
    while driven.log.queued:
        driven.log._thread.join(0.01)
    assert not driven.log.is_congested
    driven.log.close()


def test_a_disk_that_fills_up_loses_no_acknowledged_record(tmp_path: Path) -> None:
    """SQLite's own page limit reached in the middle of a load: what was acknowledged is there."""
    driven = Driven(tmp_path)
    driven.begin("s")
    pages = driven.log._store.connection.execute("PRAGMA page_count").get
    driven.log._store.connection.execute(f"PRAGMA max_page_count={pages + 40}").fetchall()
    acknowledged: list[int] = []
    error = None
    while error is None:
        numbers: list[int] = []
        error = driven.wait(
            lambda done, numbers=numbers: numbers.append(  # type: ignore[misc]
                driven.log.intent(intent("s", "x" * 2_000), done)))
        if error is None:
            acknowledged += numbers
    assert isinstance(error, Poisoned)
    assert acknowledged
    driven.log.close()
    Driven(tmp_path).log.close()
    stored_numbers = {record["sseq"] for record in records(tmp_path) if record["type"] == "intent"}
    assert stored_numbers >= set(acknowledged)
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED


WRITER = """
import sys
from pathlib import Path
from tests.unit.audit.logs import Driven, intent
driven = Driven(Path(sys.argv[1]))
driven.begin("s" * 16)
open_calls = 0
def more():
    numbers = []
    def done(error):
        sys.stdout.write(f"{numbers[0]}\\n"); sys.stdout.flush()
        more()
    numbers.append(driven.log.intent(intent("s" * 16, "x" * 300), done))
for _ in range(8):
    more()
while True:
    driven.turns.get()()
"""


@pytest.mark.parametrize("lines", [1, 150, 700])
def test_killed_in_the_middle_nothing_acknowledged_is_lost(tmp_path: Path, lines: int) -> None:
    """kill -9 under load: every acknowledged intent is in the log, closed as unknown, after a restart."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE,
                               env=environment, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split(b"\n")
    acknowledged += [int(line) for line in rest[:-1]]
    process.stdout.close()
    process.wait()
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED, "also before recovery"
    Driven(tmp_path).log.close()
    found = records(tmp_path)
    intents = {record["sseq"] for record in found if record["type"] == "intent"}
    settled = {record["record"] for record in found if record["type"] == "outcome"}
    assert intents >= set(acknowledged)
    assert settled == intents
    ends = [record for record in found if record["type"] == "session_end"]
    assert [end["cause"] for end in ends] == ["crash"]
    assert verify_log(tmp_path).findings == []


def test_open_intents_are_settled_when_their_session_ends(tmp_path: Path) -> None:
    """A session that ends leaves no intent without an outcome; refused ones need none."""
    driven = Driven(tmp_path)
    driven.begin("s")
    first = driven.intent("s")
    driven.intent("s", decision="deny", refusal="denied")
    driven.log.end_session("s", "client left")
    driven.log.end_session("s", "client left")
    with pytest.raises(UnknownSession):
        driven.log.intent(intent("s"), None)
    driven.log.close()
    found = records(tmp_path)
    unknown = [record for record in found if record["type"] == "outcome"]
    assert [(record["record"], record["status"], record["reason"]) for record in unknown] == [
        (first, "unknown", "session ended")]
    assert sum(record["type"] == "session_end" for record in found) == 1


def test_calls_that_break_the_grammar_are_refused_at_once(tmp_path: Path) -> None:
    """Nothing enters the queue that the verifier would have to call tampering."""
    driven = Driven(tmp_path)
    driven.begin("s")
    number = driven.intent("s")
    driven.log.outcome(Outcome("s", number, OutcomeStatus.OK))
    for call in (
        lambda: driven.log.outcome(Outcome("s", number, OutcomeStatus.OK)),
        lambda: driven.log.outcome(Outcome("s", 99, OutcomeStatus.OK)),
        lambda: driven.log.intent(intent("unknown"), None),
        lambda: driven.log.begin_session(start("s"), lambda _: None),
        lambda: driven.log.begin_session(start("not opaque"), lambda _: None),
        lambda: driven.log.event(Event("intent", {}, "s")),
        lambda: driven.log.event(Event("Not a type", {})),
    ):
        with pytest.raises(AuditError):
            call()
    driven.log.close()
    assert verify_log(tmp_path).findings == []


def test_hostile_text_cannot_stop_the_log(tmp_path: Path) -> None:
    """Lone surrogates, NULs, huge lists and odd field types are recorded like anything else."""
    driven = Driven(tmp_path)
    driven.begin("s")
    driven.run("s", "SELECT '\ud800\0\x1b[2J'", objects=tuple("\udfff" * 300 for _ in range(400)))
    driven.log.event(Event("cancel", {"\ud800": float("nan"), "b": {1: {2, 3}}, "c": 2**70}, "s", b"\xff"))
    driven.log.close()
    assert verify_log(tmp_path).findings == []


def test_payloads_beyond_the_limit_are_committed_to_and_marked(tmp_path: Path) -> None:
    """A payload that is too long to keep is not cut: its commitment covers all of it, the leaf says so."""
    driven = Driven(tmp_path, payload_limit=1_000)
    driven.begin("s")
    driven.run("s", "x" * 5_000)
    driven.log.close()
    said = next(record["payload"] for record in records(tmp_path) if record["type"] == "intent")
    assert isinstance(said, dict)
    assert said["kept"] is False
    assert said["size"] > 10_000
    assert verify_log(tmp_path).findings == []


def test_two_gateways_cannot_share_a_folder(tmp_path: Path) -> None:
    """The second one is refused with a clear error, and may come when the first has gone."""
    driven = Driven(tmp_path)
    with pytest.raises(Locked):
        Driven(tmp_path)
    driven.log.close()
    Driven(tmp_path).log.close()


def test_another_writer_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    """Compare-and-swap on the head: a file that moved on underneath fails the commit."""
    driven = Driven(tmp_path)
    driven.begin("s")
    edit(tmp_path, "UPDATE head SET epoch = epoch + 1")
    error = driven.wait(lambda done: driven.log.intent(intent("s"), done))
    assert isinstance(error, Poisoned)
    driven.log.close()


def test_time_never_runs_backwards(tmp_path: Path) -> None:
    """When the clock steps back the log's time stands still, and leaves say what the clock showed."""
    clock = Ticking()
    driven = Driven(tmp_path, clock=clock)
    driven.begin("s")
    clock.time -= 3_600
    driven.run("s")
    clock.time += 7_200
    driven.run("s")
    driven.log.close()
    found = records(tmp_path)
    times = [record["time"] for record in found]
    assert times == sorted(times)  # type: ignore[type-var]
    assert next(r for r in found if r["type"] == "intent")["clock"] == 1_799_996_400_000
    assert verify_log(tmp_path).findings == []


def test_a_start_refuses_an_altered_log_and_names_the_entry(tmp_path: Path) -> None:
    """Start-up reads the whole log: the first bad entry stops the gateway."""
    sample(tmp_path / "log")
    altered = copied(tmp_path / "log", tmp_path / "altered")
    edit(altered, "UPDATE entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'rows', 'rowz') AS BLOB) WHERE idx = 4")
    with pytest.raises(Tampered) as caught:
        Driven(altered)
    assert (caught.value.index, caught.value.check) == (4, "leaf hash")
    shorter = copied(tmp_path / "log", tmp_path / "shorter")
    edit(shorter, "DELETE FROM entries WHERE idx = 15")
    with pytest.raises(Tampered) as caught:
        Driven(shorter)
    assert caught.value.index == 15


def test_a_start_refuses_a_log_that_was_rolled_back(tmp_path: Path) -> None:
    """An older copy of the store, consistent in itself, is smaller than the published checkpoint."""
    sample(tmp_path / "log")
    older = (tmp_path / "log" / "log.db").read_bytes()
    Driven(tmp_path / "log").log.close()
    (tmp_path / "log" / "log.db").write_bytes(older)
    with pytest.raises(Tampered, match="rolled back"):
        Driven(tmp_path / "log")
    assert verify_log(tmp_path / "log").verdict is Verdict.TAMPERED


def test_a_start_refuses_a_log_that_is_not_the_published_one(tmp_path: Path) -> None:
    """A checkpoint by the log's own key over other entries: the store was exchanged, or rewritten."""
    sample(tmp_path)
    signer = load_or_create(tmp_path, ORIGIN, may_create=False)
    (tmp_path / "checkpoint").write_text(signer.sign(Checkpoint(ORIGIN, 7, b"x" * 32)))
    with pytest.raises(Tampered) as caught:
        Driven(tmp_path)
    assert (caught.value.index, caught.value.check) == (6, "published checkpoint")


def test_a_new_origin_or_a_missing_key_is_refused(tmp_path: Path) -> None:
    """A log keeps its name and its key for life."""
    sample(tmp_path)
    with pytest.raises(AuditError, match="another"):
        AuditLog.open(tmp_path, origin="other/log", dispatch=lambda _: None)
    (tmp_path / "log.key").unlink()
    with pytest.raises(AuditError, match="key is gone"):
        Driven(tmp_path)


def test_unusable_folders_are_clear_errors(tmp_path: Path) -> None:
    """A file in the folder's place, or a store that is no database, is an `AuditError`."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(AuditError):
        Driven(tmp_path / "file")
    sample(tmp_path / "log")
    (tmp_path / "log" / "log.db").write_bytes(b"not a database" * 100)
    with pytest.raises(AuditError, match="cannot open"):
        Driven(tmp_path / "log")


def test_heartbeats_publish_the_checkpoint(tmp_path: Path) -> None:
    """A heartbeat says how far the log is, and puts a signed checkpoint where a witness can fetch it."""
    driven = Driven(tmp_path, facts={"config": "ab" * 32, "mode": "full"})
    driven.begin("s")
    driven.log.heartbeat({"refusals": 3})
    driven.intent("s")      # the writer publishes before it takes the next batch
    assert (tmp_path / "checkpoint").read_text().split("\n")[:2] in ([ORIGIN, "3"], [ORIGIN, "4"])
    driven.log.close()
    found = records(tmp_path)
    assert found[0]["data"] == {"config": "ab" * 32, "mode": "full"}
    beat = next(record for record in found if record["type"] == "heartbeat")
    assert (beat["sessions"], beat["data"], beat["size"]) == (1, {"refusals": 3}, 2)
    assert json.dumps(found[-1]).count("node_stop") == 1
