"""What a folder no longer holds, against what its log says was destroyed, by whose right.

The verifier feeds it while it reads the entries; the questions that need other entries again (is what an
erasure names really gone, was it on hold, was it old enough) are answered at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from lockgate.audit.entry import parse
from lockgate.audit.evidence.erasures import Destroyed, HoldBook, erased_ranges, is_period_over
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.removal import recorded_sessions

_NAMED: Final = 100     # findings of one kind


@dataclass(frozen=True, slots=True)
class Complaint:
    """A finding of this check."""

    check: str
    verdict: Verdict
    message: str
    index: int


@dataclass(slots=True)
class _Erasure:
    index: int
    record: dict[str, Any]
    ranges: list[tuple[int, int]]
    holds: HoldBook | None
    period: object


class Disposal:
    """One run over a log."""

    def __init__(self) -> None:
        self.destroyed = Destroyed()
        self._holds = HoldBook()
        self.erasures: list[_Erasure] = []
        self._period: object = None
        self._missing: list[list[int]] = []

    def take(self, index: int, record: dict[str, Any]) -> None:
        """One entry of the log; only few kinds matter."""
        kind = record["type"]
        if kind == "erasure":
            ranges = erased_ranges(record)
            if ranges is not None:      # the grammar has said so where it is None
                self.destroyed.add(index, ranges)
                holds = self._holds.copy() if self._holds.standing else None
                self.erasures.append(_Erasure(index, record, ranges, holds, self._period))
        elif kind == "legal_hold":
            self._holds.take(record)
        elif kind in ("node_start", "config_change"):
            data = record.get("data")
            if isinstance(data, dict) and (kind == "node_start" or "retention" in data):
                self._period = data.get("retention")

    def lacks(self, index: int) -> None:
        """The entry's payload or key is not there."""
        if self._missing and self._missing[-1][1] == index - 1:
            self._missing[-1][1] = index
        else:
            self._missing.append([index, index])

    @property
    def erased(self) -> dict[int, int]:
        """How many payloads are not there because of each erasure, by the index of its record."""
        return dict(Counter(by for first, last in self._missing for index in range(first, last + 1)
                            if (by := self.destroyed.by(index)) is not None))

    # ------------------------------------------------------------ at the end

    def complaints(self, connection: apsw.Connection, folder: Path) -> Iterator[Complaint]:
        """Everything that does not fit. `folder` is where recordings are."""
        yield from self._unexplained()
        yield from self._left_over(connection)
        if self.erasures:
            yield from self._left_playing(connection, folder)
        for erasure in self.erasures:
            yield from self._wrongful(connection, erasure)

    def _unexplained(self) -> Iterator[Complaint]:
        named = 0
        for first, last in self._missing:
            for index in range(first, last + 1):
                if self.destroyed.by(index) is None:
                    yield Complaint("payloads", Verdict.INCOMPLETE, "the entry's payload is MISSING", index)
                    named += 1
                    if named == _NAMED:
                        return

    def _left_over(self, connection: apsw.Connection) -> Iterator[Complaint]:
        for first, last, leaf in self.destroyed.ranges():
            for table in ("payload_keys WHERE secret <> zeroblob(64)", "payloads WHERE true"):
                for (index,) in connection.execute(
                    f"SELECT idx FROM {table} AND idx BETWEEN ? AND ? ORDER BY idx LIMIT 1", (first, last),  # noqa: S608
                ):
                    yield Complaint("erasure", Verdict.TAMPERED,
                                    f"entry {index} was erased by record {leaf}, and its payload is there", index)

    def _left_playing(self, connection: apsw.Connection, folder: Path) -> Iterator[Complaint]:
        """Recordings all of whose marks are erased, and whose files are there."""
        for sid in recorded_sessions(folder):
            marks = [index for index, in connection.execute(
                "SELECT e.idx FROM sessions s JOIN entries e ON e.idx BETWEEN s.first AND coalesce(s.last, e.idx)"
                " WHERE s.sid = ? AND instr(e.leaf, ?) AND instr(e.leaf, ?) ORDER BY e.idx",
                (sid, f'"sid":"{sid}"'.encode(), b'"type":"rec_mark"'))]
            if marks and all(self.destroyed.by(index) is not None for index in marks):
                yield Complaint("erasure", Verdict.TAMPERED,
                                f"a recording was erased by record {self.destroyed.by(marks[-1])}, and it is there", marks[-1])

    def _wrongful(self, connection: apsw.Connection, erasure: _Erasure) -> Iterator[Complaint]:
        """An erasure of what was on hold, or a retention of what was not old enough."""
        if erasure.record["data"].get("cause") == "retention":
            yield from self._too_early(connection, erasure)
        if erasure.holds is None:
            return
        people = _People(connection)
        for first, last in erasure.ranges:
            for index, record in _records(connection, first, last):
                if "payload" not in record and record["type"] != "rec_mark":
                    continue
                name = erasure.holds.holding(index, record.get("sid"), people.of(record))
                if name is not None:
                    yield Complaint("hold", Verdict.TAMPERED, f"entry {index}, under the legal hold {name!r}, was "
                                    f"erased by record {erasure.index}", erasure.index)
                    return

    def _too_early(self, connection: apsw.Connection, erasure: _Erasure) -> Iterator[Complaint]:
        newest = erasure.ranges[-1][1]
        if not all(is_period_over(record, erasure.period, erasure.record["time"], is_last=index == newest)
                   for first, last in erasure.ranges for index, record in _records(connection, first, last)):
            yield Complaint("erasure", Verdict.TAMPERED,
                            "erased as older than a period that was not in force, or not over", erasure.index)


class _People:
    """Whose an entry is, as principals."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._known: dict[str, list[str]] = {}

    def of(self, record: Mapping[str, Any]) -> list[str]:
        found = [record[role] for role in ("principal", "requester", "reviewer") if isinstance(record.get(role), str)]
        sid = record.get("sid")
        return found if sid is None else found + self._of_session(sid)

    def _of_session(self, sid: str) -> list[str]:
        if sid not in self._known:
            self._known[sid] = []
            for (first,) in self._connection.execute("SELECT first FROM sessions WHERE sid = ?", (sid,)):
                for _, begin in _records(self._connection, first, first):
                    self._known[sid] = [str(begin.get("principal"))]
        return self._known[sid]


def _records(connection: apsw.Connection, first: int, last: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, leaf in connection.execute(
        "SELECT idx, leaf FROM entries WHERE idx BETWEEN ? AND ? ORDER BY idx", (first, last),
    ):
        try:
            yield index, parse(bytes(leaf))
        except (MalformedEntry, TypeError):
            continue        # the grammar has said so
