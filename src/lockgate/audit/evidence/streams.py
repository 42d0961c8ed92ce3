"""The recordings of a package against the marks in its records, and what became of those that are not in it.

A recorded stream is known by the last of its marks: an erasure of a recording names that one, and so does
the manifest where a recording is withheld. What is neither here, nor erased, nor withheld is MISSING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from lockgate.audit.evidence.archive import Member
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC, require_marks
from lockgate.audit.evidence.report import Report, Verdict

RECORDINGS_FOLDER = "recordings/"
RECORDING_SUFFIX = ".rec"
_NAMED_STREAMS = 100    # streams that are named one by one


class StreamKey(NamedTuple):
    """A stream of a session."""

    sid: str
    stream: str

    @property
    def member(self) -> str:
        """The name of its file in a package."""
        return f"{RECORDINGS_FOLDER}{self.sid}/{self.stream}{RECORDING_SUFFIX}"


class StreamBook:
    """Sees every record; then `compare` says what became of every stream. `members` are the package's files."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.notes: list[str] = []
        self._files = {name: member for name, member in members.items() if name.startswith(RECORDINGS_FOLDER)}
        self._last: dict[StreamKey, tuple[int, int]] = {}
        self._marks: dict[StreamKey, list[Mapping[str, Any]]] = {}

    def take(self, index: int, record: dict[str, Any]) -> None:
        """One record of the range, in the order of the log."""
        kind, data = record["type"], record.get("data")
        if kind == "session_end":
            self._stated(record)
        if kind != "rec_mark" or not isinstance(data, dict) or type(data.get("chunks")) is not int:
            return
        key = StreamKey(str(record.get("sid")), str(data.get("stream")))
        self._last[key] = (index, data["chunks"])
        if key.member in self._files:
            self._marks.setdefault(key, []).append({"index": index, "data": data})

    def _stated(self, record: Mapping[str, Any]) -> None:
        said = record.get("coverage")
        if isinstance(said, dict) and said.get("state") != "whole" and len(self.notes) < _NAMED_STREAMS:
            self.notes.append(f"the recording of session {record.get('sid')} is {said.get('state')}: "
                              f"{said.get('reason')}")

    def compare(
        self, report: Report, read: Callable[[int, int], bytes], erased_by: Callable[[int], int | None],
        withheld: list[int],
    ) -> None:
        """Every file against its marks; every stream without a file against erasures and the manifest."""
        chunks, erased, left_out = 0, 0, []
        known = {key.member: key for key in self._last}
        for name, member in self._files.items():
            key = known.get(name)
            if key is None:
                report.find("recordings", Verdict.TAMPERED, f"no record of the range marks {name}")
                continue
            by = erased_by(self._last[key][0])
            if by is not None:
                report.find("recordings", Verdict.TAMPERED, f"{name} was erased by record {by}, and is here", by)
            chunks += self._last[key][1]
            self._file(report, key, member, read)
        for key, (index, count) in sorted(self._last.items(), key=lambda item: item[1][0]):
            if key.member in self._files or not count:
                continue
            if erased_by(index) is not None:
                erased += 1
            elif index in withheld:
                left_out.append(index)
            else:
                report.find("recordings", Verdict.INCOMPLETE, f"the recording {key.stream} of session {key.sid} is "
                            "MISSING", index)
        if left_out != withheld:
            report.find("recordings", Verdict.TAMPERED, "the manifest withholds other recordings than are left out")
        if self._last:
            report.cover("recordings", f"{len(self._files)} streams, {chunks} chunks, each as the log marked them; "
                         f"{erased} erased, {len(left_out)} withheld")

    def _file(
        self, report: Report, key: StreamKey, member: Member, read: Callable[[int, int], bytes]
    ) -> None:
        try:
            left = require_marks(self._marks[key], recorded_chunks(member, read))
        except EvidenceError as error:
            report.blame(error)
            return
        if left:
            report.find("recordings", Verdict.TAMPERED, f"{member.name} holds {left} chunks that no record marks",
                        self._last[key][0])


def recorded_chunks(member: Member, read: Callable[[int, int], bytes]) -> Iterator[bytes]:
    """The chunks of a recording in an archive, one at a time; `read` gives bytes by offset and size."""
    place, end = member.offset, member.offset + member.size
    if read(place, min(len(RECORDING_MAGIC), member.size)) != RECORDING_MAGIC:
        raise EvidenceError("recordings", f"{member.name} is no recording")
    place += len(RECORDING_MAGIC)
    while place < end:
        length = int.from_bytes(read(place, 4), "big")
        if not 0 < length <= min(CHUNK_LIMIT, end - place - 4):
            raise EvidenceError("recordings", f"{member.name} holds a chunk of an impossible length")
        yield read(place + 4, length)
        place += 4 + length
