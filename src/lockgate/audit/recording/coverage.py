"""What of a session is recorded, as its records in the log say: kept while it runs, read again when it is verified.

``whole``: every stream has its final mark, and nothing was dropped. ``cut``: some of it is there, up to the last mark.
``lost``: nothing is, or less than was marked. A session that is not recorded has no coverage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC, ChunkTree
from lockgate.audit.recording.reel import stream_file

MARK: Final = "rec_mark"
TRUNCATED: Final = "recording_truncated"
WHOLE: Final = "whole"
_CUT: Final = "cut"
_LOST: Final = "lost"
_REASON: Final = 100
_FIELDS: Final = {"stream": str, "chunks": int, "bytes": int, "root": str, "final": bool}


class Recorded:
    """The marks of one session, the last of each stream."""

    __slots__ = ("marks", "reasons")

    def __init__(self) -> None:
        self.marks: dict[str, Mapping[str, Any]] = {}
        self.reasons: list[str] = []

    @property
    def is_any(self) -> bool:
        """Whether the session was recorded, or should have been."""
        return bool(self.marks or self.reasons)

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """A mark or a truncation. Raises ValueError, with what is wrong, for one that cannot follow those before."""
        if kind == TRUNCATED:
            self.reasons.append(str(data.get("reason", ""))[:_REASON])
            return
        if set(data) != set(_FIELDS) or any(type(data[name]) is not wanted for name, wanted in _FIELDS.items()):
            raise ValueError("a mark has not the fields of one")
        before = self.marks.get(data["stream"])
        if before is not None and (
                before["final"] or data["chunks"] < before["chunks"] or data["bytes"] < before["bytes"]):
            raise ValueError(f"the mark of {data['stream']} does not follow the one before")
        self.marks[data["stream"]] = data

    def coverage(self, unfinished: str = "unfinished", *, is_lost: bool = False) -> dict[str, Any]:
        """What `session_end` says. `unfinished` is the reason where a stream has no final mark; `is_lost`: what was
        marked is not there."""
        chunks = sum(mark["chunks"] for mark in self.marks.values())
        reason = next(iter(self.reasons), "" if all(mark["final"] for mark in self.marks.values()) else unfinished)
        if is_lost:
            reason = "what was recorded is not there any more"
        state = WHOLE if not reason else _LOST if is_lost or not chunks else _CUT
        return {"state": state, "streams": len(self.marks), "chunks": chunks,
                "bytes": sum(mark["bytes"] for mark in self.marks.values()), "reason": reason[:_REASON]}

    def require(self, coverage: object) -> None:
        """Raise ValueError unless a `session_end` says what the marks do."""
        if not self.is_any:
            if coverage is not None:
                raise ValueError("the session states a recording that it has not")
            return
        wanted = self.coverage()
        if not isinstance(coverage, dict) or set(coverage) != set(wanted) or any(
                coverage[name] != wanted[name] for name in ("streams", "chunks", "bytes")):
            raise ValueError("the session states another recording than its marks")
        if (coverage["state"] == WHOLE and wanted["state"] != WHOLE) or coverage["state"] not in (WHOLE, _CUT, _LOST):
            raise ValueError("the session states more than is recorded")


def crash_coverage(folder: Path, sid: str, recorded: Recorded) -> dict[str, Any]:
    """What is left of a session that a crash ended: the chunks on the disk against the last marks. `folder`: the log's."""
    is_lost = not all(
        _is_there(stream_file(folder, sid, stream), mark) for stream, mark in recorded.marks.items())
    return recorded.coverage("crash", is_lost=is_lost)


def _is_there(path: Path, mark: Mapping[str, Any]) -> bool:
    tree = ChunkTree()
    try:
        for chunk in chunks_of(path):
            if tree.size == mark["chunks"]:
                break
            tree.append(chunk)
    except (OSError, EvidenceError):
        return False
    return (tree.size, tree.root().hex()) == (mark["chunks"], mark["root"])


def chunks_of(path: Path, rest: list[int] | None = None) -> Iterator[bytes]:
    """The whole chunks of a file, one at a time, as `evidence.recordings.split_chunks` finds them; `rest` gets the number
    of bytes behind the last one. Raises OSError, and `EvidenceError` for what is no recording."""
    with path.open("rb") as file:
        magic = file.read(len(RECORDING_MAGIC))
        if magic != RECORDING_MAGIC and not RECORDING_MAGIC.startswith(magic):
            raise EvidenceError("recordings", "the file is no recording")
        left = len(magic) if magic != RECORDING_MAGIC else 0
        while not left:
            head = file.read(4)
            length = int.from_bytes(head, "big")
            if len(head) < 4:
                left = len(head)
                break
            if not 0 < length <= CHUNK_LIMIT:
                raise EvidenceError("recordings", "a chunk has an impossible length")
            chunk = file.read(length)
            if len(chunk) < length:
                left = 4 + len(chunk)
                break
            yield chunk
        if rest is not None:
            rest.append(left)
