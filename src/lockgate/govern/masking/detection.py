"""Detection: content masks over a chunk of result frames, by one search of its raw bytes.

1. One RE2 search over the whole chunk, headers and lengths included. Nothing found: the chunk goes
   on as the same object. (The prefilters allow for the length before a value, and where they cannot the
   value is looked at anyway; the property tests hold them to the precise detectors.)
2. Otherwise the frames and fields that a hit shares a byte with are looked up, and each such field
   is searched precisely and rewritten as its type allows (`search`, `conceal`); text fields of a chunk in
   one go. A find never crosses a field.
3. Columns whose encoding hides digits from a byte search (binary int8, numeric, inet, records) are read
   value by value, but only when a detector for them is in force.
4. Where a detector was elected in a column (`voting`), every value of it is read as well; and where most values
   of a column are finds, they are all read and the prefilter looks at the rest: that costs less.

Stands apart from `copying`, which finds the rows of a COPY stream. Anything that is structurally
unexpected raises RemoteProtocolError: the pipeline turns it into a refusal, never into a pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from lockgate.govern.masking.column_types import Shape, shape_of
from lockgate.govern.masking.copying import CopyFormat, CopyMask, Hits
from lockgate.govern.masking.detector import Detector, Origin
from lockgate.govern.masking.detectors import SHIPPED, DetectorSet
from lockgate.govern.masking.screen import Columns, Kind, screen
from lockgate.govern.masking.search import Find, Search, add_new
from lockgate.govern.masking.voting import Ballot, Terms
from lockgate.kernel.rows import (
    Edit,
    apply_edits,
    blanked,
    column_values,
    long_values,
    row_numbers,
    touched_fields,
)
from lockgate.model import DetectMask

_ROW_LIMIT = 64 << 20
_TERMS = Terms()
_LEAST_HOT = 32       # finds in one chunk before it is worth thinking about

Field = tuple[int, int, int, int, int]
"""Frame start, frame end, column, value start, value end."""

Found = tuple[Field, Search, list[Find]]


class ClearPlan(Protocol):
    """What both plans are (`govern.pipeline.ClearPlan`)."""

    masked: dict[str, int]

    def apply(self, chunk: bytes) -> bytes:
        """The chunk with every due mask applied."""
        ...


class PassPlan:
    """No mask is due: a chunk goes on as it came."""

    __slots__ = ("masked",)

    def __init__(self) -> None:
        self.masked: dict[str, int] = {}

    def apply(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        return chunk


class DetectPlan:
    """Content masks for one result. A chunk holds complete frames; those not of type `bulk` pass.

    `types`, `formats` and `origins` describe the columns in order; `origins` may be empty (nothing is
    known) or hold None for a column. For COPY `types` may be empty (a COPY stream names none): every
    column then is text. `terms` None switches voting off. `masked` counts finds by detector name. After
    an exception the plan must not be used again.
    """

    __slots__ = ("_ballot", "_bulk", "_copy", "_hot", "_made", "_rows", "_screen", "_width", "masked")

    def __init__(
        self,
        detects: tuple[DetectMask, ...],
        types: tuple[int, ...],
        formats: tuple[int, ...],
        kind: Kind,
        bulk: int,
        copy: CopyFormat | None = None,
        limit: int = _ROW_LIMIT,
        detectors: DetectorSet = SHIPPED,
        origins: Sequence[Origin | None] = (),
        terms: Terms | None = _TERMS,
    ) -> None:
        self._screen = screen(detects, detectors, types, formats, tuple(origins), kind)
        self.masked: dict[str, int] = {}
        self._bulk = bulk
        self._width = len(types)
        self._rows = 0
        self._hot: list[int] = []
        self._made: Columns | None = None
        self._ballot = Ballot(terms) if terms is not None and self._screen.votes else None
        self._copy = None if kind == "rows" else CopyMask(
            kind, copy or CopyFormat.of(kind), self._columns, bulk, limit, self._ballot, self._screen.must_read
        )

    def apply(self, chunk: bytes) -> bytes:
        """The chunk with every find masked; the same object when there is none.

        Raises RemoteProtocolError for what does not add up.
        """
        if self._copy is not None:
            return self._copy.apply(chunk, self._hits(chunk))
        long, total = long_values(chunk, self._bulk, self._width, self._screen.containers)
        touched = self._touched(chunk, long)
        found, edits = self._searched(chunk, touched) if touched else ([], [])
        if self._ballot is not None:
            found = self._voted(chunk, touched, found, self._ballot)
        self._rows += total
        if found or self._hot:
            self._hot = _hot_columns(found, total)
        for field, search, finds in found:
            first, last, _column, begin, end = field
            edits.append((first, last, begin, end, search.hidden(chunk[begin:end], finds)))
        if not edits:
            return chunk
        edits.sort(key=_place)
        return apply_edits(chunk, edits)

    def _touched(self, chunk: bytes, long: list[Field]) -> list[Field]:
        """The fields that have to be looked at closely, in their order."""
        hot = self._hot
        hits = self._hits(blanked(chunk, self._bulk, self._width, hot) if hot else chunk)
        touched = touched_fields(chunk, self._bulk, self._width, hits) if hits else []
        read = sorted({*self._screen.read, *hot})
        if read:
            values = column_values(chunk, self._bulk, self._width, read)
            touched = sorted({*touched, *values}) if touched else values
        return sorted({*touched, *long}) if long else touched

    def _columns(self) -> Columns:
        """What conceals the columns, made when it is needed for the first time."""
        made = self._made
        if made is None:
            made = self._made = self._screen.columns(self.masked)
        return made

    def _hits(self, chunk: bytes) -> Hits:
        """Where the prefilter finds something."""
        return [hit.span() for hit in self._screen.prefilter.finditer(chunk)]

    def _searched(self, chunk: bytes, touched: list[Field]) -> tuple[list[Found], list[Edit]]:
        """What is found in the touched text fields, and what becomes of the others."""
        columns = self._columns()
        groups: dict[Search, list[Field]] = {}
        edits: list[Edit] = []
        for field in touched:
            first, last, column, begin, end = field
            search = columns.searches[column]
            if search is not None:
                groups.setdefault(search, []).append(field)
                continue
            value = chunk[begin:end]
            new = columns.concealed[column](value)
            if new is not value:
                edits.append((first, last, begin, end, new))
        found: list[Found] = []
        for search, fields in groups.items():
            values = [chunk[begin:end] for _, _, _, begin, end in fields]
            found += [
                (field, search, finds) for field, finds in zip(fields, search.finds_in(values), strict=True) if finds
            ]
        return found, edits

    def _voted(self, chunk: bytes, touched: list[Field], found: list[Found], ballot: Ballot) -> list[Found]:
        """`found` after the vote: with what the weaker forms of elected detectors find in their columns."""
        votes = sorted({
            (field[0], field[2], find[2].name): find[2]
            for field, _, finds in found for find in finds if ballot.is_open(field[2], find[2])
        }.items())
        starts = sorted({start for (start, _, _), _ in votes})
        row_of = dict(zip(starts, row_numbers(chunk, self._bulk, starts), strict=True)) if starts else {}
        for (start, column, _), detector in votes:
            ballot.cast(self._rows + row_of[start], column, detector)
        known = {field[3]: finds for field, _, finds in found} if ballot.elected else {}
        for column, elections in ballot.elected.items():
            fields = [field for field in touched if field[2] == column] if column in self._hot else (
                column_values(chunk, self._bulk, self._width, [column]))
            found += self._suspected(chunk, fields, elections, known)
        return found

    def _suspected(
        self, chunk: bytes, fields: list[Field], elections: list[tuple[Detector, int]], known: dict[int, list[Find]]
    ) -> list[Found]:
        """The finds of the weaker forms in the fields of one column: added to the `known` ones of a field, by its
        start, or new.
        """
        search = self._columns().searches[fields[0][2]] if fields else None
        if search is None:
            return []
        new: list[Found] = []
        for detector, since in elections:
            due = fields if since < self._rows else self._behind(chunk, fields, since - self._rows)
            values = [chunk[begin:end] for _, _, _, begin, end in due]
            for field, more in zip(due, search.suspicions_in(values, detector), strict=True):
                if not more:
                    continue
                finds = known.get(field[3])
                if finds is None:
                    finds = known[field[3]] = []
                    new.append((field, search, finds))
                add_new(finds, more)
        return new

    def _behind(self, chunk: bytes, fields: list[Field], row: int) -> list[Field]:
        """Those of one column's `fields` that lie behind this row of the chunk."""
        numbers = row_numbers(chunk, self._bulk, [field[0] for field in fields])
        return [field for field, number in zip(fields, numbers, strict=True) if number > row]


def _hot_columns(found: list[Found], rows: int) -> list[int]:
    """The columns in which so many values were finds that looking for them costs more than reading all."""
    counts = Counter(field[2] for field, _, _ in found)
    return sorted(column for column, count in counts.items() if count >= _LEAST_HOT and count * 4 > rows)


def _place(edit: Edit) -> int:
    return edit[2]


def plan_for(
    detects: tuple[DetectMask, ...],
    types: tuple[int, ...],
    formats: tuple[int, ...],
    kind: Kind,
    bulk: int,
    copy: CopyFormat | None = None,
    *,
    detectors: DetectorSet = SHIPPED,
    origins: Sequence[Origin | None] = (),
    terms: Terms | None = _TERMS,
) -> ClearPlan:
    """A DetectPlan, or a PassPlan when no detector is in force or no column can hold a find."""
    if not any(mask.detectors for mask in detects):
        return PassPlan()
    if types and all(shape_of(oid) is Shape.FREE for oid in types):
        return PassPlan()
    return DetectPlan(detects, types, formats, kind, bulk, copy, detectors=detectors, origins=origins, terms=terms)


_HEX_RUN = re.compile(rb"\\x((?:[0-9a-fA-F]{2})+)")


def holds_find(detects: tuple[DetectMask, ...], text: bytes, detectors: DetectorSet = SHIPPED) -> bool:
    """Whether a detector in force finds something in the text of an error, notice or the like.

    Nothing is known of where its values come from, so a custom detector counts wherever it is meant to
    look; bytes written as hex are looked into as well.
    """
    active = detectors.active(detects)
    if not active:
        return False
    search = Search(active, {})
    return any(search.finds(piece) for piece in (text, *(
        bytes.fromhex(run[1].decode("ascii")) for run in _HEX_RUN.finditer(text)
    )))
