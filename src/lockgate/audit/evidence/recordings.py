"""The container of a recording, and whether its chunks are those that the log committed to.

A file ``<stream>.rec`` is `RECORDING_MAGIC`, then for each chunk its length (u32, big-endian) and the chunk: age over
zstandard over at most a mebibyte, for the auditor's key. Nothing in here decrypts: a mark in the log (`rec_mark`) holds the
RFC 6962 root over the *ciphertext*, so whoever has no key can still see that nothing was cut, swapped or added.

What lies behind the last mark is not vouched for: a gateway that was killed leaves at most a second or a mebibyte of it,
and at most one chunk that is not whole.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence

from lockgate.audit.evidence.failures import EvidenceError

RECORDING_MAGIC = b"lockgate/rec/v1\n"
CHUNK_LIMIT = 1_114_112
"""Bytes of the longest chunk: a mebibyte that cannot be compressed, and what age adds, for each recipient too."""
RECORDING_MARK = "rec_mark"
RECORDING_CUT = "recording_truncated"
_RECORDINGS = "recordings"
_REASON_LENGTH = 100
_MARK_FIELDS = {"stream": str, "chunks": int, "bytes": int, "root": str, "final": bool}


class ChunkTree:
    """The RFC 6962 tree over ciphertext chunks, as far as it has grown; keeps its right edge only."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: List[bytes] = []

    def append(self, chunk: bytes) -> None:
        """The next chunk."""
        node = sha256(b"\0" + chunk).digest()
        size = self.size
        while size & 1:
            node = sha256(b"\1" + self._edge.pop() + node).digest()
            size >>= 1
        self._edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all chunks so far; of none, SHA-256 of nothing."""
        if not self._edge:
            return sha256().digest()
        node = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            node = sha256(b"\1" + left + node).digest()
        return node


class RecordedStreams:
    """The marks of one session as the log tells them, the last of each stream: what of it is recorded.

    ``whole``: every stream has its final mark, and nothing was dropped. ``cut``: some of it is there, up to the last
    mark. ``lost``: nothing is, or less than was marked. A session that is not recorded has no coverage.
    """

    def __init__(self) -> None:
        self.marks: Dict[str, Mapping[str, Any]] = {}
        self.reasons: List[str] = []

    def take(self, kind: str, data: Mapping[str, Any], index: int | None = None) -> None:
        """A mark or a truncation. Raises `EvidenceError` for one that cannot follow those before."""
        if kind == RECORDING_CUT:
            self.reasons.append(str(data.get("reason", ""))[:_REASON_LENGTH])
            return
        mark = _mark_data({"data": data, "index": index})
        before = self.marks.get(mark["stream"])
        if before is not None:
            _require_growth({"index": index}, before, mark)
        self.marks[mark["stream"]] = mark

    @property
    def is_any(self) -> bool:
        """Whether the session was recorded, or should have been."""
        return bool(self.marks or self.reasons)

    def coverage(self, unfinished: str = "unfinished", is_lost: bool = False) -> Dict[str, Any]:
        """What `session_end` says. `unfinished` is the reason where a stream has no final mark; `is_lost`: what was
        marked is not there."""
        marks = self.marks.values()
        chunks = sum(mark["chunks"] for mark in marks)
        reason = "" if all(mark["final"] for mark in marks) else unfinished
        if self.reasons:
            reason = self.reasons[0]
        if is_lost:
            reason = "what was recorded is not there any more"
        state = "whole" if not reason else "lost" if is_lost or not chunks else "cut"
        return {"state": state, "streams": len(self.marks), "chunks": chunks,
                "bytes": sum(mark["bytes"] for mark in marks), "reason": reason[:_REASON_LENGTH]}

    def require(self, coverage: Any, index: int | None = None) -> None:
        """Raise `EvidenceError` unless a `session_end` says no more than the marks do."""
        if not self.is_any:
            if coverage is not None:
                raise EvidenceError(_RECORDINGS, "the session states a recording that it has not", index)
            return
        wanted = self.coverage()
        if not isinstance(coverage, dict) or set(coverage) != set(wanted) or any(
                coverage[name] != wanted[name] for name in ("streams", "chunks", "bytes")):
            raise EvidenceError(_RECORDINGS, "the session states another recording than its marks", index)
        if coverage["state"] not in ("whole", "cut", "lost") or (
                coverage["state"] == "whole" and wanted["state"] != "whole"):
            raise EvidenceError(_RECORDINGS, "the session states more than is recorded", index)


def require_marks(marks: Sequence[Mapping[str, Any]], chunks: Iterable[bytes]) -> int:
    """Raise `EvidenceError` unless the chunks are what the marks of their stream say; how many chunks no mark covers.

    `marks` are the records (leaves) of type ``rec_mark`` of one stream in the order of the log. Reads `chunks` once, so
    it may be an iterator over a large file. Behind a mark that is ``final`` nothing may follow.
    """
    tree, source = ChunkTree(), iter(chunks)
    before: Mapping[str, Any] = {"chunks": 0, "bytes": 0, "final": False}
    for mark in marks:
        data = _mark_data(mark)
        _require_growth(mark, before, data)
        _grow_to(tree, source, mark, data["chunks"])
        if tree.root().hex() != data["root"]:
            raise EvidenceError(_RECORDINGS, f"the first {data['chunks']} chunks of {data['stream']} do not have the root "
                                             "that was recorded", mark.get("index"))
        before = data
    left = sum(1 for _ in source)
    if before["final"] and left:
        raise EvidenceError(_RECORDINGS, f"something follows the last chunk of {before['stream']}",
                            marks[-1].get("index"))
    return left


def _mark_data(mark: Mapping[str, Any]) -> Mapping[str, Any]:
    data = mark.get("data")
    if not isinstance(data, dict) or set(data) != set(_MARK_FIELDS):
        raise EvidenceError(_RECORDINGS, "a mark has not the fields of one", mark.get("index"))
    for name, kind in _MARK_FIELDS.items():
        if type(data[name]) is not kind:
            raise EvidenceError(_RECORDINGS, f"a mark has no valid {name}", mark.get("index"))
    return data


def _require_growth(mark: Mapping[str, Any], before: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    if before["final"]:
        problem = f"a mark follows the final one of {data['stream']}"
    elif before.get("stream", data["stream"]) != data["stream"]:
        problem = f"marks of two streams, {before['stream']} and {data['stream']}, are taken for one"
    elif data["chunks"] < before["chunks"] or data["bytes"] < before["bytes"]:
        problem = f"{data['stream']} has become smaller"
    elif (data["chunks"] > before["chunks"]) != (data["bytes"] > before["bytes"]):
        problem = f"chunks and bytes of {data['stream']} do not grow together"
    else:
        return
    raise EvidenceError(_RECORDINGS, problem, mark.get("index"))


def _grow_to(tree: ChunkTree, source: Iterator[bytes], mark: Mapping[str, Any], size: int) -> None:
    while tree.size < size:
        chunk = next(source, None)
        if chunk is None:
            raise EvidenceError(_RECORDINGS, f"chunk {tree.size} of {mark['data']['stream']} is MISSING: {size} were "
                                             "recorded", mark.get("index"), "incomplete")
        tree.append(chunk)
