"""All recordings of one process: the threads that write them, and the terms on which they are made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from lockgate.audit.recording.events import Header
from lockgate.audit.recording.reel import Mark, Reel
from lockgate.audit.recording.scrub import Credentials
from lockgate.audit.recording.sealing import Sealer
from lockgate.audit.recording.shelf import FileMedium, Medium, stream_file
from lockgate.audit.recording.tape import Log, Room, Tape, Work
from lockgate.errors import AuditError

_THREADS: Final = 2
"""One compresses while the other waits for the disk."""


class Recorder(Protocol):
    """Where streams are written if not into files."""

    def medium(self, sid: str, stream: str) -> Medium:
        """Where one of them is."""

    def close(self) -> None:
        """Once no thread writes any more."""


class OnCut(StrEnum):
    """What happens to a session of which nothing more can be recorded."""

    END = "end"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Terms:
    """How sessions are recorded. `limit`: bytes of one session, None for no bound. `every`: whether sessions are recorded
    where neither their connection nor a rule says so."""

    recipients: tuple[str, ...] = ()
    every: bool = False
    limit: int | None = None
    on_limit: OnCut = OnCut.END
    on_error: OnCut = OnCut.END


class Studio:
    """Makes tapes. Used on the driver's thread, where `dispatch` calls back too."""

    def __init__(
        self, folder: Path, log: Log, dispatch: Callable[[Callable[[], None]], None], terms: Terms,
        recorder: Recorder | None = None,
    ) -> None:
        """`folder` is the log's; with a `recorder` what is recorded is kept with the log in a database. `ConfigError`
        for recipients that are none."""
        self._folder = folder
        self._recorder = recorder
        self._log = log
        self._dispatch = dispatch
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lockgate-recording")
        self._tapes: set[Tape] = set()
        self._room = Room()
        self.use(terms)

    def use(self, terms: Terms) -> None:
        """Make tapes on these terms from here on; those that run keep theirs."""
        self._sealer = Sealer(terms.recipients)
        self.terms = terms

    def begin(self, header: Header, credentials: Credentials, on_failure: Callable[[str], None]) -> Tape:
        """A tape for one stream. `on_failure` is told why it cannot go on."""
        medium = (FileMedium(stream_file(self._folder, header.sid, header.stream)) if self._recorder is None
                  else self._recorder.medium(header.sid, header.stream))
        tape = Tape(header.sid, header.stream, Reel(medium, header, self._sealer, credentials), self._log, self._submit,
                    self._room, on_failure)
        self._tapes.add(tape)
        tape.when_over(partial(self._tapes.discard, tape))
        tape.begin()
        return tape

    def tick(self) -> None:
        """Once a second: write what waits, so that a mark is never older than the next tick."""
        for tape in tuple(self._tapes):
            tape.tick()

    def close(self) -> None:
        """Let go of the threads. What is still being written is waited for; what waits is dropped, and the log says of
        such a session that its recording is cut."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._recorder is not None:
            self._recorder.close()
        self._tapes.clear()

    def _submit(self, work: Work, then: Callable[[Mark | AuditError], None]) -> None:
        def done(future: Future[Mark]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None and not isinstance(error, AuditError):
                error = AuditError(f"the recording failed: {type(error).__name__}")
            answer = future.result() if error is None else error
            try:
                self._dispatch(lambda: then(answer))
            except RuntimeError:
                pass        # the driver's loop is closed: nobody is left to be told

        try:
            self._threads.submit(work).add_done_callback(done)
        except RuntimeError:
            pass            # closed meanwhile: the tape stays unfinished, and the log says that it is cut
