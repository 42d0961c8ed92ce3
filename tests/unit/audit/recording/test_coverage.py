"""What the log says of a recording: while it is made, at the end of its session, after a crash, and when it is verified."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.recordings import (
    CHUNK_LIMIT,
    RECORDING_CUT,
    RECORDING_MAGIC,
    RECORDING_MARK,
    RecordedStreams,
)
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import UnknownSession
from lockgate.audit.reader import Reader
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.reel import Mark
from lockgate.audit.recording.shelf import stream_file
from lockgate.audit.verify import verify_log
from lockgate.model import Event
from tests.unit.audit.logs import Driven, chunk_root

SID = "a" * 16
CHUNKS = [os.urandom(40 + number) for number in range(5)]


def data(chunks: int, *, final: bool = False, stream: str = "client", **other: object) -> dict[str, Any]:
    return {"stream": stream, "chunks": chunks, "bytes": 100 * chunks, "root": chunk_root(CHUNKS[:chunks]).hex(),
            "final": final, **other}


def mark(chunks: int) -> Mark:
    return Mark(chunks, 100 * chunks, chunk_root(CHUNKS[:chunks]))


def on_disk(folder: Path, chunks: int = 5, stream: str = "client") -> Path:
    path = stream_file(folder, SID, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(RECORDING_MAGIC + b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in CHUNKS[:chunks]))
    return path


def recorded(folder: Path, *, ends: bool = True) -> Driven:
    """A session of five chunks with three marks."""
    driven = Driven(folder)
    on_disk(folder)
    driven.begin(SID)
    driven.run(SID)
    driven.log.mark(SID, "client", mark(0), final=False)
    driven.log.mark(SID, "client", mark(2), final=False)
    if ends:
        driven.log.mark(SID, "client", mark(5), final=True)
        driven.log.end_session(SID, "closed")
    return driven


def end_of(folder: Path) -> dict[str, Any]:
    with Reader(folder) as reader:
        end = reader.session(SID).end
    assert end is not None
    return end


# ---------------------------------------------------------------- while it is made


def test_a_session_that_was_recorded_to_its_end_is_whole(tmp_path: Path) -> None:
    """The end says how much there is; the log verifies with the file, and every record has its place in the chain."""
    recorded(tmp_path).log.close()
    assert end_of(tmp_path)["coverage"] == {"state": "whole", "streams": 1, "chunks": 5, "bytes": 500, "reason": ""}
    report = verify_log(tmp_path)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert "1 stream, 5 chunks" in str(report.covered["recordings"])


def test_a_session_that_is_not_recorded_says_nothing_of_it(tmp_path: Path) -> None:
    """No coverage, as before."""
    driven = Driven(tmp_path)
    driven.begin(SID)
    driven.log.end_session(SID, "closed")
    driven.log.close()
    assert "coverage" not in end_of(tmp_path)


def test_an_end_without_the_final_mark_is_cut(tmp_path: Path) -> None:
    """The gateway ended before the recording did."""
    recorded(tmp_path, ends=False).log.close()
    end = end_of(tmp_path)
    assert (end["cause"], end["coverage"]["state"], end["coverage"]["reason"]) == ("shutdown", "cut", "unfinished")
    assert end["coverage"]["chunks"] == 2


@pytest.mark.parametrize(("chunks", "state"), [(2, "cut"), (0, "lost")])
def test_what_could_not_be_recorded_is_said(tmp_path: Path, chunks: int, state: str) -> None:
    """A truncation is a record of its own, and the end's coverage has its reason."""
    driven = Driven(tmp_path)
    on_disk(tmp_path, chunks)
    driven.begin(SID)
    driven.log.mark(SID, "client", mark(chunks), final=False)
    driven.log.truncated(SID, "client", 4_711, "the disk is full")
    driven.log.end_session(SID, "closed")
    driven.log.close()
    assert end_of(tmp_path)["coverage"] == {
        "state": state, "streams": 1, "chunks": chunks, "bytes": 100 * chunks, "reason": "the disk is full"}
    with Reader(tmp_path) as reader:
        cuts = [record["data"] for _, record, _ in reader.session(SID).events if record["type"] == RECORDING_CUT]
    assert cuts == [{"stream": "client", "bytes": 4_711, "reason": "the disk is full"}]
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED


def test_marks_are_not_an_event_that_anybody_may_offer(tmp_path: Path) -> None:
    """A protocol's note cannot pass for one, and a session that is over takes none."""
    driven = recorded(tmp_path)
    with pytest.raises(UnknownSession):
        driven.log.mark(SID, "client", mark(5), final=False)
    driven.begin("b" * 16)
    for kind in (RECORDING_MARK, RECORDING_CUT):
        with pytest.raises(UnknownSession):
            driven.log.event(Event(kind, data(1), "b" * 16))
    driven.log.close()


# ---------------------------------------------------------------- the grammar


@pytest.mark.parametrize(("before", "after"), [
    (data(2, final=True), data(2)), (data(2), data(1)), (data(2), data(3, bytes=100)), (data(2), {**data(3), "chunks": "3"}),
    (data(2), {"stream": "client"}), (data(2), data(2, bytes=201)),
])
def test_a_mark_that_does_not_follow_is_refused(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A stream only grows, and ends once."""
    streams = RecordedStreams()
    streams.take(RECORDING_MARK, before, 3)
    with pytest.raises(EvidenceError) as caught:
        streams.take(RECORDING_MARK, after, 4)
    assert (caught.value.check, caught.value.index) == ("recordings", 4)


@pytest.mark.parametrize("change", [
    {"chunks": 4}, {"bytes": 501}, {"streams": 2}, {"state": "splendid"}, {"state": "whole"}, {"more": 1},
])
def test_an_end_that_says_more_than_the_marks_is_refused(change: dict[str, Any]) -> None:
    """Coverage is derived, so it can be derived again."""
    streams = RecordedStreams()
    streams.take(RECORDING_MARK, data(5, final=True))
    streams.take(RECORDING_CUT, {"stream": "client", "bytes": 1, "reason": "full"})
    streams.require(streams.coverage())
    with pytest.raises(EvidenceError):
        streams.require({**streams.coverage(), **change})
    with pytest.raises(EvidenceError):
        streams.require(None)
    with pytest.raises(EvidenceError, match="has not"):
        RecordedStreams().require(streams.coverage())


def test_the_ledger_holds_every_end_against_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it: a log whose key signed a lie about a recording does not verify."""
    driven = recorded(tmp_path, ends=False)
    with monkeypatch.context() as lying:
        lying.setattr(RecordedStreams, "coverage", lambda *_: {
            "state": "whole", "streams": 1, "chunks": 2, "bytes": 200, "reason": ""})
        driven.log.end_session(SID, "closed")
    driven.log.close()
    assert [(found.check, found.verdict) for found in verify_log(tmp_path).findings] == [("recordings", Verdict.TAMPERED)]


# ---------------------------------------------------------------- after a crash


def crashed(folder: Path, harm: Callable[[Path], object]) -> dict[str, Any]:
    """What a start says of a session that was open: the log is copied while it runs, as a kill leaves it."""
    driven = recorded(folder, ends=False)
    assert driven.wait(lambda done: driven.log.event(Event("note", {}), done)) is None
    left = folder.with_name("left")
    shutil.copytree(folder, left)
    driven.log.close()
    harm(stream_file(left, SID, "client"))
    Driven(left).log.close()
    assert all(found.check == "recordings" for found in verify_log(left).findings)
    return end_of(left)


def test_a_crash_leaves_what_was_marked(tmp_path: Path) -> None:
    """Chunks behind the last mark are on the disk and not vouched for."""
    end = crashed(tmp_path / "log", lambda _: None)
    assert end["cause"] == "crash"
    assert end["coverage"] == {"state": "cut", "streams": 1, "chunks": 2, "bytes": 200, "reason": "crash"}


def test_a_torn_chunk_behind_the_last_mark_is_no_loss(tmp_path: Path) -> None:
    """What was being written when the power went."""
    end = crashed(tmp_path / "log", lambda path: path.write_bytes(path.read_bytes()[:-3]))
    assert end["coverage"]["state"] == "cut"


@pytest.mark.parametrize("harm", [
    lambda path: path.unlink(),
    lambda path: path.write_bytes(path.read_bytes()[:40]),
    lambda path: path.write_bytes(path.read_bytes()[:30] + b"!" + path.read_bytes()[31:]),
    lambda path: path.write_bytes(b"junk"),
])
def test_marked_chunks_that_are_gone_are_lost(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    """The start compares the disk with the last mark, whatever happened to the file meanwhile."""
    end = crashed(tmp_path / "log", harm)
    assert end["coverage"]["state"] == "lost"
    assert "not there any more" in end["coverage"]["reason"]


# ---------------------------------------------------------------- the verifier


@pytest.mark.parametrize(("harm", "verdict", "words"), [
    (lambda path: path.unlink(), Verdict.INCOMPLETE, "MISSING"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), Verdict.INCOMPLETE, "chunk 4 of stream client is MISSING: 5"),
    (lambda path: path.write_bytes(path.read_bytes() + b"x"), Verdict.TAMPERED, "something follows"),
    (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), Verdict.TAMPERED, "no recording"),
])
def test_harm_to_a_recording_is_named(
    tmp_path: Path, harm: Callable[[Path], object], verdict: Verdict, words: str,
) -> None:
    """With the entry of the mark that it does not fit."""
    recorded(tmp_path).log.close()
    harm(stream_file(tmp_path, SID, "client"))
    (found,) = verify_log(tmp_path).findings
    assert (found.check, found.verdict) == ("recordings", verdict)
    assert words in found.message
    assert found.index is not None


def test_every_cut_of_a_file_is_seen(tmp_path: Path) -> None:
    """What is whole of a file that a kill cut off can be read, and how much follows is said; a start has the magic only
    in part."""
    path = on_disk(tmp_path, 3)
    whole = path.read_bytes()
    ends = [len(on_disk(tmp_path / str(count), count).read_bytes()) for count in range(4)]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        rest: list[int] = []
        count = max((number for number, end in enumerate(ends) if end <= cut), default=0)
        assert list(chunks_of(BytesIO(path.read_bytes()), rest)) == CHUNKS[:count]
        assert rest == [cut - ends[count] if cut >= ends[0] else cut]


@pytest.mark.parametrize("data", [b"x", b"lockgate/rec/v2\n", RECORDING_MAGIC + bytes(8),
                                  RECORDING_MAGIC + (CHUNK_LIMIT + 1).to_bytes(4, "big")])
def test_a_file_that_is_no_recording_is_none(tmp_path: Path, data: bytes) -> None:
    """Another magic, an empty chunk and one beyond the limit are tampering, not a cut."""
    path = on_disk(tmp_path)
    path.write_bytes(data)
    with pytest.raises(EvidenceError) as caught:
        list(chunks_of(BytesIO(path.read_bytes())))
    assert caught.value.verdict == "tampered"


def test_every_flipped_byte_of_a_recording_is_found(tmp_path: Path) -> None:
    """Of a stream that was marked to its end."""
    recorded(tmp_path).log.close()
    path = stream_file(tmp_path, SID, "client")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        assert [found.check for found in verify_log(tmp_path).findings] == ["recordings"], at


def test_a_mark_that_names_a_way_out_is_not_followed(tmp_path: Path) -> None:
    """The stream's name is a name."""
    driven = Driven(tmp_path)
    driven.begin(SID)
    driven.log.mark(SID, "../../x", mark(0), final=False)
    driven.log.close()
    (found,) = verify_log(tmp_path).findings
    assert (found.check, found.message) == ("recordings", "a mark names no stream")
