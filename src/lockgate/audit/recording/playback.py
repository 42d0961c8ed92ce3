"""Reading a recording with the auditor's identity: from where it is kept to its events, one chunk in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.events import Event, EventReader, Header
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.shelf import FolderShelf, Readable, shelf_of, stream_file
from lockgate.errors import AuditError


@dataclass(frozen=True, slots=True)
class Stream:
    """A recorded stream of a log; one that is in a file that somebody has is not."""

    folder: Path
    sid: str
    name: str

    def __str__(self) -> str:
        return f"session {self.sid}, stream {self.name}"

    def open(self) -> Readable:
        """From its beginning; to be closed. Raises OSError or `AuditError`."""
        with ExitStack() as stack:
            shelf = stack.enter_context(shelf_of(self.folder))
            return _Lent(shelf.read(self.sid, self.name), stack.pop_all())


class _Lent:
    """A stream and the shelf that it is on, closed together."""

    def __init__(self, file: Readable, stack: ExitStack) -> None:
        self._file = file
        self._stack = stack

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._stack.close()


class Playback:
    """One stream, opened. `events` may be called again and starts anew."""

    def __init__(self, path: Path | Stream, opener: Opener) -> None:
        """Raises `AuditError` where it is no recording, or the identity does not open it."""
        self.path = path
        self._opener = opener
        self.rest = 0
        """Bytes behind the last whole chunk, once all events were read: the recording was cut there."""
        reader = EventReader()
        for plain in self._plain():
            reader.feed(plain)
            break
        if reader.header is None:
            raise AuditError(f"{path}: the recording is empty")
        self.header: Header = reader.header

    def events(self) -> Iterator[Event]:
        """Every event, in order. Raises `AuditError` at the first chunk that is damaged."""
        reader = EventReader()
        for plain in self._plain():
            yield from reader.feed(plain)

    def _plain(self) -> Iterator[bytes]:
        rest: list[int] = []
        try:
            with closing(self.path.open("rb") if isinstance(self.path, Path) else self.path.open()) as file:
                for number, chunk in enumerate(chunks_of(file, rest)):
                    yield self._opener.open(chunk, number)
        except OSError as error:
            raise AuditError(f"{self.path}: {error.strerror}") from None
        except EvidenceError as error:
            raise AuditError(f"{self.path}: {error.message}", advice="run `lockgate audit verify`") from None
        self.rest = sum(rest)


def streams_of(folder: Path, sid: str) -> dict[str, Path]:
    """The recorded streams of a session in a log's folder, by name."""
    shelf = FolderShelf(folder)
    return {name: stream_file(folder, sid, name) for name in shelf.streams(sid)}
