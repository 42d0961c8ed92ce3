"""An evidence package as a reader's pages: what it holds of the log, for people.

Only for a package that was verified, by the same open file: nothing is checked here again. Leaves come from the
range and from the single records around it, payloads from what is disclosed. Memory is bounded by the numbers of
disclosed payloads and of sessions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from lockgate.audit.evidence.archive import archive_members
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.package import member_place
from lockgate.audit.evidence.proofs import parse_tlog_proof
from lockgate.audit.reader import MISSING, Payload
from lockgate.audit.recording.shelf import FOLDER, SUFFIX
from lockgate.audit.storage.contract import Head, the_one_session
from lockgate.audit.tree import leaf_hash
from lockgate.errors import AuditError

WITHHELD: Final = "withheld"
_CHUNK: Final = 1 << 20
_SID = re.compile(rb'"sid":"([!-~]*?)"')
_INDEX = re.compile(rb'\{"index":(\d+),')
_Span = tuple[int, int | None, str]


class PackagePages:
    """`reader.Pages` over an open package."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `AuditError` where the file is no package: it was exchanged since it was verified."""
        self._file = file
        try:
            file.seek(0)
            self._members = {member.name: member for member in archive_members(file)}
            self._manifest: Mapping[str, Any] = orjson.loads(self._content("manifest.json"))
            self.first: int = self._manifest["first"]
            self.last: int = self._manifest["last"]
            self._extras = {member_place(name)[1]: parse_tlog_proof(self._content(name), name, "proof").leaf
                            for name in self._members if name.startswith("extra/")}
            self._disclosed = self._payload_lines()
            self._sessions, self.partial = self._spans()
        except (EvidenceError, KeyError, TypeError, ValueError) as error:
            raise AuditError(f"the package has changed while it was read: {error}") from None

    # ------------------------------------------------------------ what a reader asks for

    @property
    def whole(self) -> tuple[int, int | None]:
        """The range."""
        return self.first, self.last

    def head(self) -> Head:
        """The size of the log that the package is of; it has no frontier to go on from."""
        return Head(self._manifest["size"], 0, b"", "")

    def leaves(
        self, first: int = 0, last: int | None = None, containing: tuple[bytes, ...] = (),
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """As `Source.leaves`, of the leaves that are here."""
        end = self._manifest["size"] - 1 if last is None else last
        for index, leaf in self._all(first, end):
            if all(part in leaf for part in containing):
                yield index, leaf_hash(leaf), leaf

    def session(self, prefix: str) -> _Span:
        """As `Source.session`. One that began before the range is told apart from one that is not here."""
        found = [span for span in self._sessions.values() if span[2].startswith(prefix)]
        if not found and prefix and (begun := [sid for sid in self.partial if sid.startswith(prefix)]):
            raise AuditError(f"session {begun[0]} began before entry {self.first}, where the package begins",
                             advice="ask for a package of the session: lockgate audit export --session")
        return the_one_session(prefix, lambda: found)

    def payload(self, index: int, record: Mapping[str, Any]) -> Payload:
        """What is disclosed of an entry. `MISSING` where it was erased, too, as everywhere."""
        said = record.get("payload")
        if said is None:
            return Payload("none")
        if "kept" in said:
            return Payload("not kept")
        line = self._disclosed.get(index)
        if line is not None:
            return Payload("open", orjson.loads(orjson.loads(self._at(*line))["payload"]))
        ranges = self._manifest["withheld"]
        at = bisect_right(ranges, [index, self._manifest["size"]]) - 1
        return Payload(WITHHELD if at >= 0 and ranges[at][0] <= index <= ranges[at][1] else MISSING)

    def close(self) -> None:
        """Nothing is held but the file, which is whoever's opened it."""

    # ------------------------------------------------------------ recordings

    def streams(self, sid: str) -> dict[str, str]:
        """The recorded streams of a session that are here: stream → file in the package."""
        place = f"{FOLDER}/{sid}/"
        return {name[len(place):-len(SUFFIX)]: name for name in self._members if name.startswith(place)}

    def is_recording_withheld(self, sid: str) -> bool:
        """Whether the package says that it leaves a recording of this session out."""
        wanted = f'"sid":"{sid}"'.encode()
        return any(wanted in leaf for index in self._manifest["recordings_withheld"]
                   for _, leaf in self._all(index, index))

    def extract(self, name: str, folder: Path) -> Path:
        """Put one file of the package into a folder, under its last name."""
        path = folder / name.rpartition("/")[2]
        with path.open("xb") as out:
            for _, chunk in self._chunks(name):
                out.write(chunk)
        return path

    # ------------------------------------------------------------ the archive

    def _at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def _content(self, name: str) -> bytes:
        member = self._members[name]
        return self._at(member.offset, member.size)

    def _all(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        extras = sorted(self._extras.items())
        yield from ((index, leaf) for index, leaf in extras if first <= index <= last and index < self.first)
        if first <= self.last and last >= self.first:
            for index, leaf in enumerate(self._range(), self.first):
                if index > last:
                    break
                if index >= first:
                    yield index, leaf
        yield from ((index, leaf) for index, leaf in extras if first <= index <= last and index > self.last)

    def _range(self) -> Iterator[bytes]:
        """The leaves of the range, in order. Others may read in between."""
        rest = b""
        for _, chunk in self._chunks("leaves.jsonl"):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole

    def _chunks(self, name: str) -> Iterator[tuple[int, bytes]]:
        """The bytes of a file, piece by piece, and where each piece is in the archive."""
        member = self._members[name]
        for start in range(member.offset, member.offset + member.size, _CHUNK):
            yield start, self._at(start, min(_CHUNK, member.offset + member.size - start))

    def _payload_lines(self) -> dict[int, tuple[int, int]]:
        """Entry → where its payload is."""
        found, begun = {}, self._members["payloads.jsonl"].offset
        for start, chunk in self._chunks("payloads.jsonl"):
            place = chunk.find(b"\n")
            while place >= 0:
                size = start + place - begun
                index = _INDEX.match(self._at(begun, min(size, 32)))
                if index is None:
                    raise ValueError("a payload without its number")
                found[int(index[1])] = (begun, size)
                begun += size + 1
                place = chunk.find(b"\n", place + 1)
        return found

    def _spans(self) -> tuple[dict[str, _Span], list[str]]:
        """Sessions that begin in the range, and the ids of those that began before."""
        spans: dict[str, _Span] = {}
        partial: dict[str, None] = {}
        for index, leaf in self._all(self.first, self.last):
            match = _SID.search(leaf)
            if match is None:
                continue
            sid = match[1].decode()
            if b'"type":"session_begin"' in leaf:
                spans[sid] = (index, None, sid)
            elif sid not in spans:
                partial[sid] = None
            elif b'"type":"session_end"' in leaf:
                spans[sid] = (spans[sid][0], index, sid)
        return spans, list(partial)
