"""Tapes on real files with a real log's words, and threads that run when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pyrage

from lockgate.audit.evidence.recordings import require_marks
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.events import Event, EventReader, Header
from lockgate.audit.recording.reel import Mark, Reel
from lockgate.audit.recording.sealing import Opener, Sealer
from lockgate.audit.recording.shelf import FileMedium, stream_file
from lockgate.audit.recording.tape import Room, Tape, Work
from lockgate.errors import AuditError
from lockgate.model import Secret

IDENTITY = pyrage.x25519.Identity.generate()
HEADER = Header("sql", "line", "5e55", "client", 1_800_000_000_000)


class Said:
    """What a tape told the log."""

    def __init__(self) -> None:
        self.marks: list[dict[str, object]] = []
        self.cuts: list[tuple[str, int, str]] = []

    def mark(self, session: str, stream: str, mark: Mark, *, final: bool) -> None:
        self.marks.append({"type": "rec_mark", "index": len(self.marks), "data": {
            "stream": stream, "chunks": mark.chunks, "bytes": mark.size, "root": mark.root.hex(), "final": final}})

    def truncated(self, session: str, stream: str, dropped: int, reason: str) -> None:
        self.cuts.append((stream, dropped, reason))


class Desk:
    """One tape, its file and everything that it asks for. `run` does what a thread would."""

    def __init__(self, folder: Path, secrets: Sequence[Secret] = ()) -> None:
        self.said = Said()
        self.jobs: list[tuple[Work, Callable[[Mark | AuditError], None]]] = []
        self.failures: list[str] = []
        self.path = stream_file(folder, "5e55", "client")
        reel = Reel(FileMedium(self.path), HEADER, Sealer([str(IDENTITY.to_public())]), lambda: secrets)
        self.tape = Tape("5e55", "client", reel, self.said, lambda work, then: self.jobs.append((work, then)), Room(),
                         self.failures.append)
        self.over: list[int] = []
        self.tape.when_over(lambda: self.over.append(1))
        self.tape.begin()

    def run(self, times: int = 1_000) -> int:
        """Do what waits, and what comes of it; how much it was."""
        done = 0
        while self.jobs and done < times:
            work, then = self.jobs.pop(0)
            try:
                answer: Mark | AuditError = work()
            except AuditError as error:
                answer = error
            then(answer)
            done += 1
        return done

    def events(self) -> list[Event]:
        """What the file holds."""
        reader, opener = EventReader(), Opener([IDENTITY])
        return [event for number, chunk in enumerate(chunks_of(BytesIO(self.path.read_bytes()))) for event in reader.feed(opener.open(chunk, number))]

    def unmarked(self) -> int:
        """Chunks behind the last mark; raises where marks and file differ."""
        rest: list[int] = []
        chunks = list(chunks_of(BytesIO(self.path.read_bytes()), rest))
        assert rest == [0]
        return require_marks(self.said.marks, chunks)
