"""One suite for every store: what the writer and the readers of a log rely on, in a file as in a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lockgate.audit.apart.link import Link
from lockgate.audit.checkpoint import open_note
from lockgate.audit.entry import parse
from lockgate.audit.failures import Poisoned, Tampered
from lockgate.audit.keys import read_verifier
from lockgate.audit.reader import Reader, Wanted
from lockgate.audit.storage.contract import Batch, Head, Source
from lockgate.audit.tree import Frontier, leaf_hash, tree_root
from lockgate.errors import AuditError
from lockgate.model import Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import Driven, binding, intent, review_events, start
from tests.unit.audit.storage.stores import DatabaseLog, FileLog

BYTES = [b"", b"\0", b"\0\xff\n\\x00'\"", bytes(range(256)), b"x" * 3_000, "\u00fc\u2028".encode()]


def records(kept: FileLog) -> list[dict[str, Any]]:
    with kept.source() as source:
        return [parse(leaf) for _, _, leaf in source.leaves()]


def require_sound(kept: FileLog) -> None:
    """The stored leaves have the stored hashes, and the head's root over them is signed."""
    with kept.source() as source:
        rows = list(source.leaves())
        assert [index for index, _, _ in rows] == list(range(len(rows)))
        assert all(leaf_hash(leaf) == digest for _, digest, leaf in rows)
        head = source.head()
        note = open_note(head.note, read_verifier(kept.folder / "log.vkey"))
        assert (note.size, note.root) == (len(rows), tree_root([digest for _, digest, _ in rows]))
        assert Frontier.from_bytes(head.frontier).root() == note.root


def work(driven: Driven) -> None:
    """Every kind of record once, with text that no database likes."""
    driven.begin("a" * 16)
    driven.begin("b" * 16, "bob")
    driven.run("a" * 16, objects=tuple(f"table_{n}" for n in range(400)))
    driven.intent("b" * 16, "DROP TABLE customers", decision="deny", refusal="denied", verbs=("drop",))
    for event in review_events("T1", "alice", "carol", "a" * 16):
        driven.log.event(event)
    driven.run("a" * 16, "DELETE FROM customers", decision="review", ticket="T1", verbs=("delete",),
               binding=binding("alice", "DELETE FROM customers"))
    driven.run("b" * 16, "SELECT '\ud800\0\x1b[2J'", objects=("\udfff" * 300,))
    driven.log.event(Event("cancel", {"\ud800": float("nan"), "c": 2**70}, "b" * 16, b"\xff\0"))
    driven.run("b" * 16, "x" * 5_000, parameters=("\u00fc", None, "\udc80"), forwarded=bytes(range(256)))
    driven.log.end_session("a" * 16, "closed")
    driven.log.close()


# ---------------------------------------------------------------- appending, reopening


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_a_log_is_continued_where_it_ended(kept: FileLog, apart: bool) -> None:
    """Closed and opened again, by either kind of writer, the log is one log."""
    for turn in range(3):
        driven = kept.open(apart=apart != (turn == 1))
        driven.begin(f"s{turn}")
        for _ in range(40):
            driven.log.intent(intent(f"s{turn}"), None)
        driven.run(f"s{turn}")
        driven.log.close()
    found = records(kept)
    assert [record["epoch"] for record in found if record["type"] == "node_start"] == [1, 2, 3]
    assert sum(record["type"] == "intent" for record in found) == 123
    assert found[-1]["type"] == "node_stop"
    require_sound(kept)


def test_what_a_crash_left_open_is_closed(kept: FileLog) -> None:
    """A writer that vanished leaves open sessions; the next start ends them as unknown."""
    driven = kept.open()
    driven.begin("s")
    number = driven.intent("s")
    driven.log._closing = True      # what is left of a process that was killed: nothing
    driven.log._bell.ring()
    driven.log._thread.join()
    driven.log._store.close()
    os.close(driven.log._lock)
    kept.open().log.close()
    ends = [record for record in records(kept) if record.get("sid") == "s"][2:]
    assert [(end["type"], end.get("record"), end.get("reason"), end.get("cause")) for end in ends] == [
        ("outcome", number, "crash", None), ("session_end", None, None, "crash")]
    require_sound(kept)


def test_both_stores_hold_the_same_log(both: tuple[FileLog, DatabaseLog]) -> None:
    """What a record says does not depend on where it is kept, and people read the same of it."""
    # The store's own: its node, its times, and what is made with its key.
    own = ("node", "time", "prev", "root", "principal", "requester", "reviewer", "payload", "binding", "salt")

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(item) for name, item in value.items() if name not in own}
        return value

    seen = []
    for kept in both:
        work(kept.open(payload_limit=1_000))
        require_sound(kept)
        with Reader(kept.folder) as reader:
            views = reader.sessions(Wanted(verb="select"))
            shown = [(view.sid, view.who.content, view.requests, view.refused, view.rows, view.matching)
                     for view in views]
            texts = [(statement.payload.state, without(statement.payload.content), len(statement.reviews))
                     for view in views for statement in reader.session(view.sid[:3]).statements]
        leaves = [without(record) for record in records(kept)]
        seen.append((leaves, shown, texts))
    assert seen[0] == seen[1]
    assert any(state == "not kept" for state, _, _ in seen[0][2])


# ---------------------------------------------------------------- the contract, row by row


def batch(first: int, leaves: list[bytes]) -> Batch:
    return Batch(entries=[(first + n, leaf_hash(leaf), leaf) for n, leaf in enumerate(leaves)])


def grown(old: Head, size: int, *, epoch: int | None = None) -> Head:
    return Head(size, old.epoch if epoch is None else epoch, b"frontier\0%d" % size, f"note \u2014 {size}\n")


def filled(kept: FileLog) -> Head:
    """A log of rows with every kind of bytes; what they say does not matter to a store."""
    store = kept.store()
    try:
        head = store.head()
        assert head == Head(0, 0, bytes(8), "")
        rows = batch(0, BYTES)
        rows.payloads = [(n, content * 7) for n, content in enumerate(BYTES)]
        rows.keys = [(n, content) for n, content in enumerate(BYTES)]
        rows.begun = [("alpha", 0), ("alpine", 1), ("beta", 2)]
        rows.ended = [(4, "beta")]
        store.commit(rows, head, grown(head, 6, epoch=1))
        head = store.head()
        rows = batch(6, [b"six", b'{"sid":"alpha"}', b"eight"])
        rows.ended = [(7, "alpha")]
        rows.keys, rows.payloads = [(7, b"k"), (8, b"k")], [(7, b"p"), (8, b"p")]
        rows.destroyed = [(1, 2), (8, 8)]
        store.commit(rows, head, grown(head, 9))
        for size in (300, 301, 700):
            head = store.head()
            store.commit(batch(head.size, [b"n"] * (size - head.size)), head, grown(head, size))
        return store.head()
    finally:
        store.close()


def everything(source: Source) -> dict[str, Any]:
    return {
        "origin": source.origin.startswith("lockgate.test/log"), "pseudonyms": len(source.pseudonyms), "head": source.head(),
        "leaves": list(source.leaves()), "some": list(source.leaves(2, 7)), "none": list(source.leaves(5, 4)),
        "beyond": list(source.leaves(699)), "containing": list(source.leaves(0, None, (b"\0\xff", b"\\x00"))),
        "also": list(source.leaves(0, 8, (b'"sid":"alpha"',))), "empty": list(source.leaves(0, 3, (b"",))),
        "hashes": list(source.hashes()), "few": list(source.hashes(3, 3)),
        "notes": {size: source.note(size) for size in (0, 6, 9, 300, 301, 700, 701)},
        "all notes": list(source.notes()), "rows": list(source.rows()), "counts": source.counts(),
        "kept": [source.kept(n) for n in range(10)],
        "sessions": [list(source.sessions(*bounds)) for bounds in ((), (0, 0), (3,), (5, 9), (8,))],
        "session": [found(source, prefix) for prefix in ("alpha", "alpi", "al", "", "gamma", "%", "\0", "\ud800")],
    }


def found(source: Source, prefix: str) -> object:
    try:
        return source.session(prefix)
    except AuditError as error:
        return str(error).split(" ")[0]


def test_both_sources_tell_the_same(both: tuple[FileLog, DatabaseLog]) -> None:
    """Every method of a source gives the same for the same rows, whatever bytes they hold."""
    seen = []
    for kept in both:
        filled(kept)
        with kept.source() as source:
            seen.append(everything(source))
    assert seen[0] == seen[1]
    assert seen[0]["kept"][:3] == [(b"", b""), (None, None), (None, None)]
    assert seen[0]["kept"][7:9] == [(b"k", b"p"), (None, None)]
    assert seen[0]["sessions"][0] == [("alpha", 0, 7), ("alpine", 1, None), ("beta", 2, 4)]
    assert [size for size, note in seen[0]["notes"].items() if note] == [300, 700]


@pytest.mark.parametrize("wrong", ["size", "epoch"])
def test_a_commit_from_anywhere_else_adds_nothing(kept: FileLog, wrong: str) -> None:
    """The head moves by compare-and-swap: who does not know it exactly is fenced, and no row of his stays."""
    head = filled(kept)
    store = kept.store()
    stale = Head(head.size - (wrong == "size"), head.epoch - (wrong == "epoch"), head.frontier, head.note)
    rows = batch(head.size, [b"forged"])
    rows.payloads, rows.keys, rows.begun = [(head.size, b"p")], [(head.size, b"k")], [("forged", head.size)]
    rows.destroyed = [(0, 0)]
    with pytest.raises(Poisoned, match="another process wrote"):
        store.commit(rows, stale, grown(head, head.size + 1))
    store.close()
    with kept.source() as source:
        assert (source.head(), list(source.leaves(head.size))) == (head, [])
        assert source.kept(0) == (b"", b"")
        assert source.kept(head.size) == (None, None)
        assert found(source, "forged") == "no"


def test_a_batch_is_added_whole_or_not_at_all(kept: FileLog) -> None:
    """A row that cannot be stored takes its whole batch with it, the head included."""
    head = filled(kept)
    store = kept.store()
    rows = batch(head.size, [b"new"])
    rows.begun = [("alpha", head.size)]         # a session begins once
    with pytest.raises(AuditError):
        store.commit(rows, head, grown(head, head.size + 1))
    store.close()
    with kept.source() as source:
        assert (source.head(), list(source.leaves(head.size))) == (head, [])


def test_payloads_of_any_size_are_kept(kept: FileLog) -> None:
    """A batch may hold more than fits into one statement."""
    store = kept.store()
    head = store.head()
    rows = batch(0, [b"leaf %d" % n for n in range(6)])
    rows.payloads = [(n, os.urandom(4 * 1024 * 1024 + n)) for n in range(5)] + [(5, b"")]
    store.commit(rows, head, grown(head, 6, epoch=1))
    store.close()
    with kept.source() as source:
        assert all(source.kept(n)[1] == sealed for n, sealed in rows.payloads)


# ---------------------------------------------------------------- reading beside a writer


def test_a_source_is_one_moment(kept: FileLog) -> None:
    """A reader sees the log as it was when it opened it, however the writer goes on."""
    driven = kept.open()
    driven.begin("s")
    driven.run("s")
    with kept.source() as source:
        rows = source.leaves()
        first = next(rows)
        size = source.head().size
        for _ in range(30):
            driven.run("s")
        driven.log.end_session("s", "closed")
        driven.begin("t")
        assert source.head().size == size
        assert [first, *rows] == list(source.leaves())
        assert len(list(source.hashes())) == size
        assert list(source.sessions()) == [("s", 1, None)]
    with kept.source() as source:
        assert source.head().size > size
        assert [sid for sid, _, _ in source.sessions()] == ["s", "t"]
    driven.log.close()


# ---------------------------------------------------------------- two writers, crashes


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_the_stale_of_two_writers_is_fenced(kept: FileLog, apart: bool) -> None:
    """Who was taken for dead and comes back records nothing any more, so nothing is forwarded for him."""
    stale = kept.open(apart=apart)
    stale.begin("s")
    (kept.folder / "lock").unlink()         # nothing but the store itself keeps the two apart
    fresh = kept.open(apart=apart)
    fresh.begin("t")
    error = stale.wait(lambda done: stale.log.intent(intent("s", "SELECT 'stale'"), done))
    assert isinstance(error, Poisoned)
    with pytest.raises(Poisoned):
        stale.log.intent(intent("s"), None)
    stale.log.close()
    fresh.run("t")
    fresh.log.close()
    assert [record["sid"] for record in records(kept) if record["type"] == "intent"] == ["t"]
    require_sound(kept)


def test_a_store_that_was_rolled_back_is_refused(kept: FileLog) -> None:
    """An older state of the store is consistent in itself; the checkpoint that was published gives it away."""
    driven = kept.open()
    driven.begin("s")
    driven.log.close()
    with kept.saved() as restore:
        driven = kept.open()
        driven.begin("t")
        driven.log.close()
        restore()
    require_sound(kept)
    with pytest.raises(Tampered, match="rolled back"):
        kept.open()


def test_an_altered_entry_stops_the_next_start(kept: FileLog) -> None:
    """Recovery reads what it continues: it does not build on an entry that was changed."""
    kept.open().log.close()
    if isinstance(kept, DatabaseLog):
        kept.execute("UPDATE entries SET leaf = leaf || '\\x20' WHERE shard = %s AND idx = 1", kept.shard)
    else:
        from tests.unit.audit.logs import edit
        edit(kept.folder, "UPDATE entries SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 1")
    with pytest.raises(Tampered) as caught:
        kept.open()
    assert caught.value.index == 1


def test_waiters_share_commits(kept: FileLog) -> None:
    """64 who wait at a time cost far fewer than 64 commits, and each is told once."""
    driven = kept.open()
    for number in range(64):
        driven.begin(f"s{number}")
    answers: list[AuditError | None] = []
    for _ in range(5):
        for number in range(64):
            driven.log.intent(intent(f"s{number}"), answers.append)
    turns = 0
    while len(answers) < 320:
        driven.turns.get(timeout=20)()
        turns += 1
    assert answers == [None] * 320
    assert turns < 100
    driven.log.close()
    require_sound(kept)


GATEWAY = """
import sys
from pathlib import Path
from lockgate.audit.storage.database.place import read_pointer
from tests.unit.audit.logs import Driven, intent
folder, origin = Path(sys.argv[1]), sys.argv[2]
pointer = read_pointer(folder)
more = {} if pointer is None else {"place": pointer.place, "shard": pointer.shard}
driven = Driven(folder, origin=origin, apart=True, **more)
driven.begin("s" * 16)
sys.stdout.write(f"{driven.log._writer.process}\\n")
def go():
    numbers = []
    def done(error):
        if error is None:
            sys.stdout.write(f"{numbers[0]}\\n"); sys.stdout.flush()
            go()
        else:
            sys.stdout.write(f"poisoned\\n"); sys.stdout.flush()
    numbers.append(driven.log.intent(intent("s" * 16, "x" * 300), done))
for _ in range(8):
    go()
while True:
    driven.turns.get()()
"""


@pytest.mark.parametrize(("victim", "lines"), [("writer", 300), ("gateway", 5)])
def test_a_kill_at_any_moment_loses_nothing_acknowledged(kept: FileLog, victim: str, lines: int) -> None:
    """kill -9 of the writer's process or of the gateway: what was acknowledged is there, the rest settled."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", GATEWAY, str(kept.folder), kept.origin], stdout=subprocess.PIPE,
                               env=environment, cwd=Path(__file__).parents[4])
    assert process.stdout is not None
    child = int(process.stdout.readline())
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    if victim == "writer":
        os.kill(child, signal.SIGKILL)
        for line in process.stdout:
            if line == b"poisoned\n":
                break
            acknowledged.append(int(line))
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split(b"\n")[:-1] if line != b"poisoned"]
    process.stdout.close()
    process.wait()
    kept.open(apart=True).log.close()
    stored = records(kept)
    intents = {record["sseq"] for record in stored if record["type"] == "intent"}
    assert intents >= set(acknowledged)
    assert {record["record"] for record in stored if record["type"] == "outcome"} == intents
    require_sound(kept)


def test_the_writers_process_learns_the_password_in_private(kept: FileLog) -> None:
    """Neither its command line nor its environment, which other processes may read, holds the password."""
    driven = kept.open(apart=True)
    link = driven.log._writer
    assert isinstance(link, Link)
    for name in ("cmdline", "environ"):
        assert b"backend-secret" not in Path(f"/proc/{link.process}/{name}").read_bytes()
    driven.log.close()


def test_outcomes_and_starts_are_kept_in_order(kept: FileLog) -> None:
    """Records of one session come in the order of their numbers, whoever waits for them."""
    driven = kept.open()
    driven.wait(lambda done: driven.log.begin_session(start("s"), done))
    numbers = [driven.log.intent(intent("s"), None) for _ in range(500)]
    for number in numbers:
        driven.log.outcome(Outcome("s", number, OutcomeStatus.OK))
    driven.log.close()
    assert [record["sseq"] for record in records(kept) if record.get("sid") == "s"] == list(range(1_002))
