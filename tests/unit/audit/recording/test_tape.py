"""One stream on its way to the disk: order, marks, bounds, and every way in which it cannot go on."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.audit.recording import shelf
from lockgate.audit.recording.events import Event
from lockgate.audit.recording.reel import LINE
from lockgate.audit.recording.sealing import PLAIN_LIMIT
from lockgate.audit.recording.tape import FULL, MOST, Room
from lockgate.errors import ConfigError
from lockgate.model import Secret
from tests.unit.audit.recording.tapes import Desk


def test_what_was_put_is_what_is_read_in_order_and_marked(tmp_path: Path) -> None:
    """A stream is whole: every event, the final mark over all chunks, and nothing behind it."""
    desk = Desk(tmp_path)
    desk.tape.put(0.5, "i", b"ask")
    desk.tape.note(0.6, "w", {"columns": 80, "rows": 24})
    desk.tape.put(0.75, "o", b"answer")
    desk.run()
    desk.tape.tick()
    desk.run()
    desk.tape.put(2.0, "o", b"more")
    desk.tape.finish()
    desk.run()
    assert desk.events() == [Event(0.5, "i", b"ask"), Event(0.6, "w", b"", {"columns": 80, "rows": 24}),
                             Event(0.75, "o", b"answer"), Event(2.0, "o", b"more")]
    assert desk.unmarked() == 0
    assert [mark["data"]["final"] for mark in desk.said.marks] == [False, False, True]  # type: ignore[index]
    assert desk.said.marks[0]["data"]["chunks"] == 0  # type: ignore[index]
    assert (desk.over, desk.said.cuts) == ([1], [])
    assert os.stat(desk.path).st_mode & 0o777 == 0o600


def test_a_quiet_stream_is_written_at_the_tick_and_not_before(tmp_path: Path) -> None:
    """A second's worth goes together."""
    desk = Desk(tmp_path)
    desk.run()
    desk.tape.put(0.0, "o", b"x")
    assert desk.run() == 0
    desk.tape.tick()
    assert desk.run() == 1
    desk.tape.tick()
    assert desk.run() == 0, "nothing new, no new mark"


def test_a_mebibyte_is_written_at_once_and_what_queued_is_written_together(tmp_path: Path) -> None:
    """Chunks stay within their limit, and one mark covers what one sync did."""
    desk = Desk(tmp_path)
    desk.run()
    piece = os.urandom(100_000)
    for number in range(60):
        desk.tape.put(float(number), "o", piece)
    assert len(desk.jobs) == 1
    desk.run()
    desk.tape.finish()
    desk.run()
    assert b"".join(event.data for event in desk.events()) == piece * 60
    assert desk.unmarked() == 0
    assert len(desk.said.marks) <= 2 + 60 * 100_064 // PLAIN_LIMIT
    assert max(data["chunks"] for data in (mark["data"] for mark in desk.said.marks)) >= 6  # type: ignore[index, attr-defined]


def test_no_chunk_is_made_for_what_a_full_one_leaves_over(tmp_path: Path) -> None:
    """A chunk costs a key exchange however small it is: what does not fit into full ones goes with what comes next."""
    desk = Desk(tmp_path)
    desk.run()
    piece = os.urandom(65_536)
    for number in range(100):
        desk.tape.put(float(number), "o", piece)
        desk.run()
    written = desk.said.marks[-1]["data"]
    assert written["chunks"] == 100 // (PLAIN_LIMIT // (len(piece) + LINE)) == len(desk.said.marks) - 1  # type: ignore[index]
    desk.tape.finish()
    desk.run()
    assert b"".join(event.data for event in desk.events()) == piece * 100
    assert desk.unmarked() == 0


def test_an_event_may_be_larger_than_a_chunk(tmp_path: Path) -> None:
    """A row of many megabytes becomes several chunks, byte for byte."""
    desk = Desk(tmp_path)
    large = os.urandom(MOST + 12_345)
    desk.tape.put(1.0, "o", large)
    desk.tape.put(1.0, "o", b"after")
    desk.tape.finish()
    desk.run()
    assert b"".join(event.data for event in desk.events()) == large + b"after"
    assert desk.unmarked() == 0


def test_who_brings_more_than_fits_waits(tmp_path: Path) -> None:
    """The bound is kept, and whoever waits goes on when there is room; nothing is dropped."""
    desk = Desk(tmp_path)
    piece, count = bytes(1 << 20), 0
    while not desk.tape.is_full:
        desk.tape.put(0.0, "o", piece)
        count += 1
    assert count <= FULL // len(piece) + 1
    went_on: list[bool] = []
    desk.tape.when_room(lambda: went_on.append(desk.tape.is_full))
    desk.run(1)         # the file is made
    assert not went_on
    desk.run(1)
    assert went_on == [False]
    desk.tape.finish()
    desk.run()
    assert sum(len(event.data) for event in desk.events()) == count * len(piece)


def test_all_tapes_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many streams that wait for one disk do not fill the memory; a tape that holds nothing is asked again at the tick."""
    monkeypatch.setattr(Room, "limit", 1_000)
    desk = Desk(tmp_path)
    desk.run()
    room = desk.tape._room
    room.used += 1_000
    assert desk.tape.is_full
    went_on: list[int] = []
    desk.tape.when_room(lambda: went_on.append(1))
    desk.tape.tick()
    assert not went_on
    room.used -= 1_000
    desk.tape.tick()
    assert went_on == [1]
    desk.tape.put(0.0, "o", b"x" * 5_000)
    desk.tape.finish()
    desk.run()
    assert room.used == 0


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond this size: writes get shorter, then fail (setrlimit(2))."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_disk_that_is_full_leaves_whole_chunks_and_says_how_much_is_lost(tmp_path: Path) -> None:
    """A write that comes up short is no success: the file ends with the last whole chunk, and the last mark stands."""
    desk = Desk(tmp_path)
    desk.run()
    desk.tape.put(0.0, "o", b"kept")
    desk.tape.tick()
    desk.run()
    desk.tape.put(1.0, "o", os.urandom(300_000))
    desk.tape.tick()
    desk.tape.put(1.1, "o", b"never written")
    with at_most(100_000):
        desk.run()
    assert desk.events() == [Event(0.0, "o", b"kept")]
    assert desk.unmarked() == 0
    assert not any(mark["data"]["final"] for mark in desk.said.marks)  # type: ignore[index]
    ((stream, dropped, reason),) = desk.said.cuts
    assert (stream, dropped > 0) == ("client", True)
    assert "cannot be written" in reason
    assert (desk.failures, desk.over) == ([reason], [1])
    desk.tape.put(2.0, "o", b"ignored")
    desk.tape.finish()
    assert desk.run() == 0
    assert not desk.tape.is_full


@pytest.mark.parametrize("where", ["fsync", "open"])
def test_a_disk_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A failed sync is never tried again: no mark says that the chunk is there. Nor where there is no file at all."""
    desk = Desk(tmp_path)
    if where == "fsync":
        desk.run()

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shelf.os, where, fail)
    desk.tape.put(0.0, "o", b"x")
    desk.tape.tick()
    desk.run()
    assert desk.failures == ["the recording cannot be written: Input/output error"]
    assert all(mark["data"]["chunks"] == 0 for mark in desk.said.marks)  # type: ignore[index]
    assert desk.over == [1]


def test_a_cut_writes_what_came_before_it(tmp_path: Path) -> None:
    """At a limit the recording ends, and what was recorded until then is whole."""
    desk = Desk(tmp_path)
    desk.tape.put(0.0, "o", b"before")
    desk.tape.cut("the limit of 6 bytes is reached", 9)
    desk.tape.put(0.0, "o", b"after")
    desk.run()
    assert [event.data for event in desk.events()] == [b"before"]
    assert desk.said.cuts == [("client", 9, "the limit of 6 bytes is reached")]
    assert desk.unmarked() == 0
    assert (desk.failures, desk.over) == ([], [1])


def test_credentials_do_not_get_into_the_file(tmp_path: Path) -> None:
    """Torn between two chunks, in both directions; the end of what was held back is written at last."""
    desk = Desk(tmp_path, [Secret("s3cret-canary")])
    desk.run()
    for piece in (b"is s3cre", b"t-canary!", b" and s3cr"):
        for kind in ("i", "o"):
            desk.tape.put(0.0, kind, piece)
        desk.tape.tick()
        desk.run()
    desk.tape.finish()
    desk.run()
    for kind in ("i", "o"):
        assert b"".join(event.data for event in desk.events() if event.kind == kind) == b"is *************! and s3cr"


def test_credentials_in_statements_do_not_get_into_the_file(tmp_path: Path) -> None:
    """What somebody sends as a password becomes asterisks, as many as it had; what comes back stays as it is."""
    desk = Desk(tmp_path)
    desk.run()
    for piece in (b"Q\0\0\0'ALTER ROLE r PASS", b"WORD 'c4nary'\0"):
        desk.tape.put(0.0, "i", piece)
    desk.tape.put(0.0, "o", b"password = 'x'")
    desk.tape.finish()
    desk.run()
    heard = {kind: b"".join(event.data for event in desk.events() if event.kind == kind) for kind in ("i", "o")}
    assert heard == {"i": b"Q\0\0\0'ALTER ROLE r PASSWORD '******'\0", "o": b"password = 'x'"}


def test_a_credential_that_cannot_be_read_stops_the_recording(tmp_path: Path) -> None:
    """What could not be looked for is not written."""
    desk = Desk(tmp_path)

    def unreadable() -> list[Secret]:
        raise ConfigError("gone")

    desk.tape._reel._credentials = unreadable
    desk.tape.put(0.0, "o", b"x")
    desk.tape.finish()
    desk.run()
    assert "could not be kept out" in desk.failures[0]
    assert desk.events() == []


def test_a_file_that_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    """A session's id is used once."""
    desk = Desk(tmp_path)
    desk.run()
    again = Desk(tmp_path)
    again.run()
    assert "File exists" in again.failures[0]
