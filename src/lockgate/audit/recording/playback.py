"""Reading a recording with the auditor's identity: from a file on the disk to its events, one chunk in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.events import Event, EventReader, Header
from lockgate.audit.recording.reel import FOLDER, SUFFIX
from lockgate.audit.recording.sealing import Opener
from lockgate.errors import AuditError


class Playback:
    """One stream's file, opened. `events` may be called again and starts anew."""

    def __init__(self, path: Path, opener: Opener) -> None:
        """Raises `AuditError` where the file is no recording, or the identity does not open it."""
        self.path = path
        self._opener = opener
        self.rest = 0
        """Bytes behind the last whole chunk, once all events were read: the file was cut there."""
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
            for number, chunk in enumerate(chunks_of(self.path, rest)):
                yield self._opener.open(chunk, number)
        except OSError as error:
            raise AuditError(f"{self.path}: {error.strerror}") from None
        except EvidenceError as error:
            raise AuditError(f"{self.path}: {error.message}", advice="run `lockgate audit verify`") from None
        self.rest = sum(rest)


def streams_of(folder: Path, sid: str) -> dict[str, Path]:
    """The recorded streams of a session in a log's folder, by name."""
    return {path.stem: path for path in sorted((folder / FOLDER / sid).glob("*" + SUFFIX))}
