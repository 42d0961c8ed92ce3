"""One stream of one session while it is recorded: takes events, and says when whoever feeds it has to wait.

Everything here runs on the driver's thread and is short. A mebibyte is written at once, and what queued while the disk
was busy is written together, so that a disk that takes milliseconds to sync does not slow a bulk result down; a stream
that is quiet is written at the studio's next tick, once a second.

A tape ends in one of two ways. *Finished*: all of it is on the disk. *Cut*: a write failed, or the limit was reached;
what had not been written is dropped, the log says so (`recording_truncated`), and of a failure `on_failure` is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from lockgate.audit.recording.events import Tag, fields_line
from lockgate.audit.recording.reel import LINE, Mark, Piece, Reel
from lockgate.audit.recording.sealing import PLAIN_LIMIT
from lockgate.errors import AuditError

FULL: Final = 8 << 20
"""Bytes of one stream that may wait to be written; whoever brings more waits."""
CHUNK: Final = PLAIN_LIMIT
"""Bytes that are written at once, without waiting for the tick."""
MOST: Final = 4 * PLAIN_LIMIT
"""Bytes that are written together, under one sync and one mark."""


class Room:
    """How much waits in all tapes of a process."""

    __slots__ = ("used",)
    limit = 256 << 20

    def __init__(self) -> None:
        self.used = 0


class Log(Protocol):
    """What a tape tells the audit log. Both may raise `AuditError`."""

    def mark(self, session: str, stream: str, mark: Mark, *, final: bool) -> None: ...

    def truncated(self, session: str, stream: str, dropped: int, reason: str) -> None: ...


Work = Callable[[], Mark]
Submit = Callable[[Work, Callable[[Mark | AuditError], None]], None]
"""Run the first in a thread, then the second, with what came of it, on the driver's."""


class Tape:
    """See the module's docstring. Made by `studio.Studio`."""

    def __init__(self, sid: str, stream: str, reel: Reel, log: Log, submit: Submit, room: Room,
                 on_failure: Callable[[str], None]) -> None:
        self.sid = sid
        self.stream = stream
        self._reel = reel
        self._log = log
        self._submit = submit
        self._room = room
        self._on_failure = on_failure
        self._pieces: list[Piece] = []
        self._waiting = 0           # bytes in `_pieces`
        self._writing = 0           # bytes that a thread has
        self._is_busy = False
        self._is_ending = False
        self.is_over = False
        self._when_room: list[Callable[[], None]] = []
        self._when_over: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        """True while as much waits as may, here or in all tapes together."""
        return self._waiting + self._writing >= FULL or self._room.used >= Room.limit

    def put(self, at: float, kind: str, data: bytes, tag: Tag | None = None) -> None:
        """Record bytes that passed `at` seconds after the session began."""
        if self._is_ending:
            return
        self._pieces.append((at, kind, data, tag))
        size = len(data) + LINE
        self._waiting += size
        self._room.used += size
        if self._waiting >= CHUNK and not self._is_busy:
            self._write()

    def note(self, at: float, kind: str, fields: Mapping[str, Any]) -> None:
        """Record something without bytes."""
        self.put(at, kind, fields_line(at, kind, fields))

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once when the tape is not full any more."""
        self._when_room.append(call)

    def tick(self) -> None:
        """Write what waits; look again whether somebody has to wait."""
        if self._pieces and not self._is_busy:
            self._write()
        self._make_room()

    def when_over(self, call: Callable[[], None]) -> None:
        """Call once when all of it is on the disk, or will never be; at once where that is so."""
        if self.is_over:
            call()
        else:
            self._when_over.append(call)

    def finish(self) -> None:
        """No more comes: write all of it."""
        if not self._is_ending:
            self._is_ending = True
            if not self._is_busy:
                self._write()

    def leave_out(self, reason: str, dropped: int) -> None:
        """Have the log say that so many bytes are not recorded, of a stream that is recorded for the rest."""
        if not self._is_ending:
            self._tell_truncated(reason, dropped)

    def cut(self, reason: str, dropped: int = 0) -> None:
        """Record nothing more: what waits is written, and the log says that it is not all."""
        if self._is_ending:
            return
        self._is_ending = True
        self._tell_truncated(reason, dropped)
        if not self._is_busy:
            self._write()

    # ------------------------------------------------------------ writing

    def begin(self) -> None:
        """Make the file; the first mark says in the log that there is one."""
        reel = self._reel

        def work() -> Mark:
            reel.open()
            return reel.mark

        self._is_busy = True
        self._submit(work, self._written)

    def _write(self) -> None:
        pieces, size = self._taken()
        is_last = self._is_ending and not self._pieces
        reel = self._reel

        def work() -> Mark:
            mark = reel.write(pieces, is_last=is_last)
            if is_last:
                reel.close()
            return mark

        self._is_busy = True
        self._writing = size
        self._submit(work, self._closed if is_last else self._written)

    def _taken(self) -> tuple[list[Piece], int]:
        """What is written next: all of it where it is less than a chunk, else what fills whole chunks, up to `MOST`.

        The piece that would begin another chunk waits for more: a chunk costs a key exchange however small it is.
        """
        if self._waiting < CHUNK:
            taken, self._pieces = self._pieces, []
            size, self._waiting = self._waiting, 0
            return taken, size
        most = min(self._waiting // CHUNK * CHUNK, MOST)
        size = len(self._pieces[0][2]) + LINE       # at least one, even if it is larger
        count = 1
        while count < len(self._pieces) and (more := size + len(self._pieces[count][2]) + LINE) <= most:
            size = more
            count += 1
        taken = self._pieces[:count]
        del self._pieces[:count]
        self._waiting -= size
        return taken, size

    def _came(self) -> None:
        """A thread is done with what it had."""
        self._is_busy = False
        self._room.used -= self._writing
        self._writing = 0

    def _written(self, mark: Mark | AuditError) -> None:
        self._came()
        if isinstance(mark, AuditError):
            self._failed(str(mark.args[0]))
            return
        self._mark(mark, final=False)
        if self._is_ending or self._waiting >= CHUNK:
            self._write()
        self._make_room()

    def _closed(self, mark: Mark | AuditError) -> None:
        self._came()
        if isinstance(mark, AuditError):
            self._failed(str(mark.args[0]))
            return
        self._mark(mark, final=True)
        self._over()

    def _failed(self, reason: str) -> None:
        """The file takes nothing more: the last mark stands, and what waits is dropped."""
        dropped, self._waiting = self._waiting, 0
        self._room.used -= dropped
        self._pieces.clear()
        self._is_ending = True
        self._tell_truncated(reason, dropped)
        self._over()
        self._on_failure(reason)

    def _mark(self, mark: Mark, *, final: bool) -> None:
        try:
            self._log.mark(self.sid, self.stream, mark, final=final)
        except AuditError:
            pass            # a log that is closed ends every session by itself

    def _tell_truncated(self, reason: str, dropped: int) -> None:
        try:
            self._log.truncated(self.sid, self.stream, dropped, reason)
        except AuditError:
            pass

    def _over(self) -> None:
        self.is_over = True
        self._make_room()
        calls, self._when_over = self._when_over, []
        for call in calls:
            call()

    def _make_room(self) -> None:
        if self._when_room and not self.is_full:
            calls, self._when_room = self._when_room, []
            for call in calls:
                call()
