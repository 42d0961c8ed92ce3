"""The recordings of a log against the marks in the log, in one pass and without any key.

A stream is read on from where its last mark left off, so that nothing is kept of it but its right edge. What is not there
may have been erased, which whoever asks for the complaints knows by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC, RECORDING_MARK, ChunkTree
from lockgate.audit.evidence.report import Verdict, counted
from lockgate.audit.recording.shelf import Shelf
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

_NAMED: Final = 100     # findings that are kept


def left_playing(
    shelf: Shelf, source: Source, erased_by: Callable[[int], int | None],
) -> Iterator[tuple[str, int]]:
    """Recordings that are there though all of their marks are erased: what to say, and the last mark."""
    for sid in shelf.sessions():
        try:
            first, last, _ = source.session(sid)
        except AuditError:
            continue
        marks = [index for index, _, _ in source.leaves(
            first, last, (f'"sid":"{sid}"'.encode(), f'"type":"{RECORDING_MARK}"'.encode()))]
        if marks and all(erased_by(index) is not None for index in marks):
            yield f"a recording was erased by record {erased_by(marks[-1])}, and it is there", marks[-1]


@dataclass(slots=True)
class _Stream:
    sid: str
    name: str
    tree: ChunkTree = field(default_factory=ChunkTree)
    offset: int = len(RECORDING_MAGIC)
    is_out: bool = False        # missing, or found to be wrong: not looked at again
    missing: list[int] | None = None    # its marks from the first that finds nothing, of which the first and last are kept


@dataclass(slots=True)
class RecordingCheck:
    """One run over a log."""

    shelf: Shelf
    chunks: int = 0
    streams: int = 0
    cut: int = 0
    """Sessions of which not all is recorded, as their end says."""
    erased: int = 0
    _open: dict[tuple[str, str], _Stream] = field(default_factory=dict)
    _missing: list[tuple[list[int], str]] = field(default_factory=list)
    _wrong: list[tuple[int, str]] = field(default_factory=list)

    def take(self, index: int, record: Mapping[str, Any]) -> None:
        """One entry of the log, which fits its grammar."""
        kind = record["type"]
        if kind == RECORDING_MARK:
            self._mark(index, record["sid"], record["data"])
        elif kind == "session_end" and isinstance(record.get("coverage"), dict):
            self.cut += record["coverage"].get("state") != "whole"

    @property
    def covered(self) -> str:
        """What was looked at, in words; ask after `complaints`."""
        return (f"{counted(self.streams, 'stream')}, {counted(self.chunks, 'chunk')} as they were marked, "
                f"{counted(self.erased, 'stream')} erased, {counted(self.cut, 'session')} recorded in part")

    def complaints(self, erased_by: Callable[[int], int | None]) -> Iterator[tuple[Verdict, str, int]]:
        """What is wrong, and what is missing although no erasure names its mark (`erased_by`)."""
        for index, message in self._wrong:
            yield Verdict.TAMPERED, message, index
        for marks, message in self._missing:
            if all(erased_by(index) is None for index in marks):
                yield Verdict.INCOMPLETE, message, marks[0]
            else:
                self.erased += 1

    def _mark(self, index: int, sid: str, data: Mapping[str, Any]) -> None:
        name = data["stream"]
        stream = self._open.get((sid, name))
        if stream is None:
            is_plain = "/" not in sid + name and not name.startswith(".") and not sid.startswith(".")
            if not is_plain:
                self._complain(index, "a mark names no stream")
                return
            stream = self._open[sid, name] = _Stream(sid, name)
            self.streams += 1
        if stream.missing is not None:
            stream.missing[1:] = [index]
        if not stream.is_out:
            self._advance(index, stream, data)
        if data["final"]:
            del self._open[sid, name]

    def _advance(self, index: int, stream: _Stream, data: Mapping[str, Any]) -> None:
        name = data["stream"]
        try:
            is_end = self._read(stream, data["chunks"], is_final=data["final"])
        except FileNotFoundError:
            self._lacks(stream, index, f"the recording of stream {name} is MISSING")
            return
        except (OSError, ValueError) as error:
            self._out(stream, index, f"the recording of stream {name} is damaged: {error}")
            return
        if stream.tree.size < data["chunks"]:
            self._lacks(stream, index, f"chunk {stream.tree.size} of stream {name} is MISSING: {data['chunks']} were "
                                       "recorded")
        elif stream.tree.root().hex() != data["root"]:
            self._out(stream, index, f"the first {data['chunks']} chunks of stream {name} do not have the root that was "
                                     "recorded")
        elif data["final"] and not is_end:
            self._out(stream, index, f"something follows the last chunk of stream {name}")

    def _read(self, stream: _Stream, count: int, *, is_final: bool) -> bool:
        """Up to so many chunks; with `is_final`, whether nothing follows."""
        with closing(self.shelf.read_on(stream.sid, stream.name, stream.tree.size, stream.offset)) as file:
            while stream.tree.size < count:
                head = file.read(4)
                length = int.from_bytes(head, "big")
                if len(head) == 4 and not 0 < length <= CHUNK_LIMIT:
                    raise ValueError(f"chunk {stream.tree.size} has an impossible length")
                chunk = file.read(length)
                if len(head) < 4 or len(chunk) < length:
                    return True
                stream.tree.append(chunk)
                stream.offset += 4 + length
                self.chunks += 1
            return is_final and not file.read(1)

    def _out(self, stream: _Stream, index: int, message: str) -> None:
        stream.is_out = True
        self._complain(index, message)

    def _lacks(self, stream: _Stream, index: int, message: str) -> None:
        stream.is_out, stream.missing = True, [index]
        if len(self._missing) < _NAMED:
            self._missing.append((stream.missing, message))

    def _complain(self, index: int, message: str) -> None:
        if len(self._wrong) < _NAMED:
            self._wrong.append((index, message))
