"""A target and its cursor: at least once, in order, nothing skipped, and never in another history."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from lockgate.audit.export.cursor import Cursor, CursorFile, Diverged, load_cursor, save_cursor
from lockgate.audit.export.exporter import Exporter, Undelivered
from lockgate.audit.export.told import Teller, Told
from lockgate.audit.storage.sqlite import open_source
from lockgate.errors import AuditError
from tests.unit.audit.logs import ORIGIN, Driven, edit, sample
from tests.unit.audit.test_erasing import erase


class Target:
    """Takes what it is given, or refuses as often as it was told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.refusals: list[AuditError] = []

    def take(self, batch: Sequence[Told]) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.batches.append([told.leaf.index for told in batch])

    @property
    def seen(self) -> list[int]:
        return [index for batch in self.batches for index in batch]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def exporter(folder: Path, target: Target, clock: Clock | None = None, batch: int = 4) -> Exporter:
    clock = clock or Clock()
    return Exporter("siem", lambda: open_source(folder), target.take, CursorFile(folder / "export" / "siem.cursor"), Teller(),
                    batch=batch, monotonic=clock, now=lambda: 1_900_000_000.0)


def test_everything_arrives_once_and_in_order_and_then_what_is_new(tmp_path: Path) -> None:
    """Batches are bounded; a second run sends what came meanwhile; a new process continues where the old one stood."""
    sample(tmp_path)
    target = Target()
    running = exporter(tmp_path, target)
    running.run()
    assert target.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    running.run()
    Driven(tmp_path).log.close()
    exporter(tmp_path, target).run()
    assert target.seen == list(range(18))
    assert load_cursor(tmp_path / "export" / "siem.cursor", ORIGIN).next == 18


def test_what_is_refused_stands_at_the_head_and_is_tried_later_and_later(tmp_path: Path) -> None:
    """A failure skips nothing: the same batch comes again, after 1, 2, 4 … seconds, and the lag tells of it."""
    sample(tmp_path)
    target, clock = Target(), Clock()
    target.refusals = [Undelivered("busy"), Undelivered("busy"), Undelivered("busy", after=30.0)]
    running = exporter(tmp_path, target, clock)
    for at, due in ((0.0, True), (0.9, False), (1.0, True), (2.9, False), (3.0, True), (32.9, False), (33.0, True)):
        clock.now = at
        waiting = len(target.refusals)
        if due and waiting:
            with pytest.raises(Undelivered):
                running.run()
            assert len(target.refusals) == waiting - 1
            assert running.progress.behind == 16
            assert running.progress.lag > 0
            assert running.progress.problem == "busy"
        else:
            running.run()
            assert bool(target.batches) is (at == 33.0)
    assert target.seen == list(range(16))
    assert (running.progress.behind, running.progress.lag, running.progress.problem) == (0, 0.0, "")


def test_what_was_erased_while_the_target_was_away_does_not_leave(tmp_path: Path) -> None:
    """Neither in a batch that waited, nor as the name or the statement of a session that was remembered."""
    driven = Driven(tmp_path)
    driven.begin("a", "alice")
    driven.intent("a", "SELECT canary")
    driven.log.close()
    target, clock, kept = Target(), Clock(), list[Told]()

    def take(batch: Sequence[Told]) -> None:
        target.take(batch)
        kept.extend(batch)

    running = Exporter("siem", lambda: open_source(tmp_path), take, CursorFile(tmp_path / "siem.cursor"),
                       Teller(names=True, statements=True), batch=2, monotonic=clock, now=lambda: 1_900_000_000.0)
    target.refusals = [Undelivered("away")]
    with pytest.raises(Undelivered):
        running.run()
    erase(tmp_path, subject="alice")
    clock.now = 60.0
    running.run()
    assert [told.leaf.record["type"] for told in kept][1:4] == ["session_begin", "intent", "outcome"]
    assert "alice" not in repr(kept)
    assert "canary" not in repr(kept)


def test_a_batch_that_is_too_large_comes_in_halves(tmp_path: Path) -> None:
    """413 and its like: half as many, down to one, until it passes; then more again."""
    sample(tmp_path)
    target, clock = Target(), Clock()
    target.refusals = [Undelivered("large", smaller=True), Undelivered("large", smaller=True)]
    running = exporter(tmp_path, target, clock, batch=8)
    for _ in range(2):
        with pytest.raises(Undelivered):
            running.run()
        clock.now += 100.0
    running.run()
    assert target.batches[0] == [0, 1]
    assert target.seen == list(range(16))
    assert max(map(len, target.batches)) > 2


def test_the_lag_grows_while_the_target_is_away(tmp_path: Path) -> None:
    """What is written meanwhile counts, also between two attempts."""
    sample(tmp_path)
    target, clock = Target(), Clock()
    target.refusals = [Undelivered("away")]
    running = exporter(tmp_path, target, clock)
    with pytest.raises(Undelivered):
        running.run()
    Driven(tmp_path).log.close()
    running.run()
    assert running.progress.behind == 18
    assert target.batches == []


def test_a_log_that_was_rolled_back_or_replaced_stops_the_export(tmp_path: Path) -> None:
    """The cursor knows the last entry's hash: another history under it is an error and nothing is sent."""
    log = tmp_path / "log"
    sample(log)
    old = tmp_path / "old"
    shutil.copytree(log, old)
    target = Target()
    exporter(log, target).run()
    sent = len(target.batches)
    Driven(log).log.close()
    exporter(log, target).run()
    shutil.copy(old / "log.db", log / "log.db")
    with pytest.raises(Diverged, match="rolled back"):
        exporter(log, target).run()
    other = tmp_path / "other"
    sample(other)
    for _ in range(2):
        Driven(other).log.close()
    shutil.copy(other / "log.db", log / "log.db")
    with pytest.raises(Diverged, match="replaced"):
        exporter(log, target).run()
    edit(log, "UPDATE meta SET value = CAST('another/log' AS BLOB) WHERE name = 'origin'")
    with pytest.raises(Diverged, match="belongs to the log"):
        exporter(log, target).run()
    assert len(target.batches) == sent + 1


@pytest.mark.parametrize("content", [b"", b"7", b"{}", b'{"v":1,"origin":"x","next":5,"hash":""}',
                                     b'{"v":2,"origin":"x","next":0,"hash":""}', b'{"v":1,"origin":"x","next":-1,"hash":""}',
                                     b'{"v":1,"origin":"x","next":1,"hash":"zz"}'])
def test_a_damaged_cursor_is_an_error_and_no_new_beginning(tmp_path: Path, content: bytes) -> None:
    """Starting over by itself would hide what happened to the log; a person removes the file."""
    path = tmp_path / "siem.cursor"
    path.write_bytes(content)
    with pytest.raises(AuditError, match="damaged"):
        load_cursor(path, "x")


def test_a_cursor_is_stored_whole(tmp_path: Path) -> None:
    """What is saved is loaded; without a file it stands before the first entry."""
    path = tmp_path / "export" / "siem.cursor"
    assert load_cursor(path, ORIGIN) == Cursor(ORIGIN)
    save_cursor(path, Cursor(ORIGIN, 3, "ab" * 32))
    assert load_cursor(path, ORIGIN) == Cursor(ORIGIN, 3, "ab" * 32)


KILLED = """
import os, signal, sys
from pathlib import Path
from lockgate.audit.export.cursor import CursorFile
from lockgate.audit.export.exporter import Exporter
from lockgate.audit.export.files import JsonLinesFile
from lockgate.audit.export.told import Teller
from lockgate.audit.storage.sqlite import open_source

folder, step = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def deadly(name, real):
    def call(*arguments, **options):
        global steps
        steps += 1
        if steps == step:
            if name == "write":
                real(arguments[0], bytes(arguments[1])[:7])     # torn in the middle
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

for name in ("write", "fsync", "open"):
    setattr(os, name, deadly(name, getattr(os, name)))
Path.replace = deadly("replace", Path.replace)
file = JsonLinesFile(folder / "out" / "events.jsonl", size=1200)
Exporter("siem", lambda: open_source(folder), lambda batch: file.write([told.leaf.text for told in batch]),
         CursorFile(folder / "export" / "siem.cursor"), Teller(), batch=4).run()
sys.exit(42)
"""


def test_kill_9_at_every_step_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    """Killed at the first, second, … call that touches the disk, again and again over one log and one file:
    when it has come through, every entry is there, and taking repeated ones away leaves the log's order.
    """
    log = tmp_path / "log"
    sample(log)
    kills = 0
    for first in (1, 9):
        folder = tmp_path / f"run{first}"
        shutil.copytree(log, folder)
        (folder / "out").mkdir()
        for step in range(first, first + 40, 2):
            done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(step)], check=False)
            if done.returncode == 42:
                break
            assert done.returncode == -9
            kills += 1
        else:
            pytest.fail("it never came through")
        files = [*sorted((folder / "out").glob("events.jsonl.*")), folder / "out" / "events.jsonl"]
        assert len(files) > 1
        found = [orjson.loads(line)["index"] for file in files if file.exists() for line in file.read_bytes().splitlines()]
        assert list(dict.fromkeys(found)) == list(range(16))
    assert kills >= 8


def test_a_cursor_that_moves_first_loses_records(tmp_path: Path) -> None:
    """The harness has teeth: with the two steps the other way round a kill between them is a loss."""
    sample(tmp_path)
    (tmp_path / "out").mkdir()
    wrong = KILLED.replace("batch=4)", "batch=4)\nExporter._hand_over = wrong\nrunning").replace(
        'file = Json', '''def wrong(self):
    batch = self._pending[:self._batch]
    last = batch[-1].leaf
    from lockgate.audit.export import exporter as module
    self._cursor = module.Cursor(self._cursor.origin, last.index + 1, last.hash.hex())
    self._bookmark.save(self._cursor)
    self._deliver(batch)
    del self._pending[: len(batch)]
file = Json''').replace('Exporter("siem"', 'running = Exporter("siem"').replace("running.run()", "running.run()")
    for step in range(1, 30, 2):
        if subprocess.run([sys.executable, "-c", wrong, str(tmp_path), str(step)], check=False).returncode == 42:
            break
    files = [*sorted((tmp_path / "out").glob("events.jsonl.*")), tmp_path / "out" / "events.jsonl"]
    found = {orjson.loads(line)["index"] for file in files if file.exists() for line in file.read_bytes().splitlines()}
    assert found != set(range(16))
