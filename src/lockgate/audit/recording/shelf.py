"""Where recordings are kept: in the log's folder, or with the log in a fleet's database.

Either way a stream is the same sequence of bytes, as `evidence.recordings` describes it; in a database each chunk is a row
of its own. Whoever has the log then has its recordings as well, and what erases there erases them, whichever gateway
made them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from lockgate.audit import durable
from lockgate.audit.evidence.recordings import RECORDING_MAGIC
from lockgate.audit.removal import recorded_sessions, remove_recording
from lockgate.audit.storage.database.place import read_pointer
from lockgate.audit.storage.sqlite import FILE
from lockgate.errors import AuditError

FOLDER: Final = "recordings"
"""Below the log's folder: one folder for each session, in it one file for each stream."""
SUFFIX: Final = ".rec"


class Readable(Protocol):
    """A stream's bytes, read from some place on."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer only at the end. Raises OSError or `AuditError`."""

    def close(self) -> None:
        """Let go of it."""


class Medium(Protocol):
    """Where one stream is written. Used by one thread at a time; every method but `close` may raise `AuditError`."""

    def open(self) -> None:
        """Make the stream, which must not be there."""

    def append(self, chunks: Sequence[bytes]) -> None:
        """Add chunks durably. After an error nothing may be added any more."""

    def close(self) -> None:
        """Let go of it. Idempotent."""


class Shelf(Protocol):
    """The recordings of one log. A context manager; every method may raise `AuditError`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def sessions(self, idle: float = 0.0) -> list[str]:
        """Sessions that have recordings; where that is cheap to tell, only those of which nothing was recorded for `idle`
        seconds.
        """

    def streams(self, sid: str) -> list[str]:
        """The recorded streams of a session, by name."""

    def read(self, sid: str, stream: str) -> Readable:
        """A stream from its beginning. Raises FileNotFoundError where there is none."""

    def read_on(self, sid: str, stream: str, number: int, offset: int) -> Readable:
        """The same from chunk `number` on, which begins at byte `offset`."""

    def remove(self, sid: str) -> bool:
        """Delete a session's recordings; False where there are none."""


def stream_file(folder: Path, sid: str, stream: str) -> Path:
    """Where a stream of a session is, below the log's folder."""
    return folder / FOLDER / sid / (stream + SUFFIX)


class FolderShelf:
    """Recordings in the log's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sessions(self, idle: float = 0.0) -> list[str]:
        """As the folder has them."""
        return recorded_sessions(self.folder)

    def streams(self, sid: str) -> list[str]:
        """As the session's folder has them."""
        return sorted(path.stem for path in (self.folder / FOLDER / sid).glob("*" + SUFFIX))

    def read(self, sid: str, stream: str) -> Readable:
        """The file."""
        return stream_file(self.folder, sid, stream).open("rb")

    def read_on(self, sid: str, stream: str, number: int, offset: int) -> Readable:
        """The file, behind what was read."""
        file = stream_file(self.folder, sid, stream).open("rb")
        if file.read(len(RECORDING_MAGIC)) != RECORDING_MAGIC:
            file.close()
            raise ValueError("it is no recording")
        file.seek(offset)
        return file

    def remove(self, sid: str) -> bool:
        """The session's folder."""
        return remove_recording(self.folder, sid)


def shelf_of(folder: Path) -> Shelf:
    """The recordings of the log in a folder, or of the one that the folder points to. Raises `AuditError`."""
    pointer = None if (folder / FILE).is_file() else read_pointer(folder)
    if pointer is None:
        return FolderShelf(folder)
    # Here, because it brings a database driver along that no file needs.
    from lockgate.audit.storage.database.recordings import DatabaseShelf

    return DatabaseShelf(pointer.place, pointer.shard)


class FileMedium:
    """A stream in a file of its own. After an error the file ends with the last chunk that is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._file = -1

    def open(self) -> None:
        """The file, durable with its folders."""
        try:
            for made in (self._path.parent.parent, self._path.parent):
                made.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._write(RECORDING_MAGIC)
            os.fsync(self._file)
            for made in (self._path.parent, self._path.parent.parent, self._path.parent.parent.parent):
                durable.sync_folder(made)
        except OSError as error:
            self.close()
            raise _failed(error) from None

    def append(self, chunks: Sequence[bytes]) -> None:
        """Behind the last one."""
        try:
            for chunk in chunks:
                self._write(len(chunk).to_bytes(4, "big") + chunk)
            os.fsync(self._file)
        except OSError as error:
            self._cut_back()
            raise _failed(error) from None
        self._size += sum(4 + len(chunk) for chunk in chunks)

    def _write(self, data: bytes) -> None:
        """All of it: a write may take less than it is given, and does where a disk fills up."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest):]

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._file, len(RECORDING_MAGIC) + self._size)
        except OSError:
            pass            # a chunk that is not whole is seen by whoever reads the file
        self.close()

    def close(self) -> None:
        """The file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _failed(error: OSError) -> AuditError:
    return AuditError(f"the recording cannot be written: {error.strerror}",
                      advice="free or repair the disk of the state folder")
