"""What a statement wants to do with protected columns besides showing them, and what the policy lets it.

Masks at the source make every result a function of masked data, so ``WHERE email = 'x@y'`` would quietly compare
with masks and an agent would read "no such customer" as a fact. Here the taint analysis says where protected columns
decide about rows, and for each of them the policy's `predicates` says what becomes of it:

- `refuse` (the default): a clear error that names the clause and the way to ask;
- `masked`: it compares with masks, as the rewritten text does by itself (never in DML, which changes real rows);
- `equality`: comparisons with constants use the real value, are counted and limited in rate;
- `allow`: any condition uses the real value.

Real values are then in the statement (`raw`): every output that may depend on them is masked in the result, and where
that cannot be, the statement is refused. The same way keyed masks get their values: a column of which the statement
wants nothing but to show it is fetched as it is and masked on its way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.covers import Cover, Covers
from lockgate.analysis.sql.projection import refuse
from lockgate.analysis.sql.reading import Node
from lockgate.analysis.sql.taint import Control, Equality, Output, Source, Sources, Taint, Write
from lockgate.model import MaskMethod, Predicates

_CLAUSES: Final = {
    "where": "WHERE", "join": "JOIN … ON", "using": "JOIN … USING", "having": "HAVING", "group": "GROUP BY",
    "order": "ORDER BY", "distinct": "DISTINCT", "limit": "LIMIT", "window": "a window", "setop": "UNION, INTERSECT or EXCEPT",
    "in": "IN or EXISTS", "filter": "FILTER", "rows": "a set-returning function", "sample": "TABLESAMPLE",
    "cycle": "CYCLE", "when": "WHEN", "conflict": "ON CONFLICT", "constraint": "ON CONFLICT without the columns of a key",
}
_REAL: Final = frozenset(("conflict", "constraint"))
"""Clauses that look at the rows that are there, past any mask."""
_WAY: Final = (
    "Show the column instead of comparing with it, or find the rows by another column. Whether comparisons are "
    "possible is said by `predicates` of the mask: ask those who own the policy."
)
_EQUAL_ONLY: Final = "Only `column = constant`, alone or joined with AND, is possible on this column."
_NAME_KEY: Final = "Name the key by which rows may conflict: ON CONFLICT (id) DO NOTHING."
_NO_VIEW: Final = "Read the tables of the view, without its condition."
_SINGLY: Final = (
    "How many comparisons an array stands for cannot be told beforehand. Write each constant by itself: "
    "`column IN ($1, $2)`, or `column = ANY (ARRAY[$1::text, $2::text])`."
)

_SEE_THROUGH: Final = frozenset((MaskMethod.DATE_SHIFT, MaskMethod.FPE, MaskMethod.TOKEN, MaskMethod.HASH, MaskMethod.FAKE))
"""Methods that need the value and a key: no text can hold them."""


@dataclass(frozen=True, slots=True)
class ResultMask:
    """One column of the result that holds real values until the gateway masks it.

    `sources` are the labelled columns that the backend may name as its origin; `source` is the one whose value it
    is, None where it is computed from them and hidden as a whole.
    """

    index: int
    cover: Cover
    sources: Sources
    source: Source | None


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """A column of the result that is not what it seems: its name, and the labels and rules that say so."""

    name: str
    labels: frozenset[str]
    rules: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A comparison of a protected column with one constant that was let through (a list of them is as many): its label
    and how many an hour may hold (0: any)."""

    label: str
    per_hour: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy lets a statement do. `raw`: columns that are read as they are."""

    raw: Sources = frozenset()
    results: tuple[ResultMask, ...] = ()


NOTHING: Final = Verdict()



class Predication:
    """The judgement of one statement. `text` is its UTF-8, for the words of a refusal."""

    def __init__(self, covers: Covers, text: bytes, catalogue: Catalogue) -> None:
        self._covers = covers
        self._text = text
        self._catalogue = catalogue
        self.lookups: list[Lookup] = []
        """The comparisons that were let through, of everything judged."""

    def cover(self, source: Source) -> Cover:
        """What hides a labelled column; one that is closed as a whole has the strictest of all."""
        found = self._covers.get(source[0], {})
        return found.get(source[1], Cover(MaskMethod.REDACT))

    def judge(self, taint: Taint, *, is_shown: bool, changes: bool) -> Verdict:
        """The verdict, or a refusal raised.

        `is_shown`: the outputs are the columns of the one result, in their order, so they can be masked in it.
        `changes`: rows are changed by what decides about them.
        """
        raw: set[Source] = set()
        told = {control.source for control in taint.controls if control.where == "effect"}
        for control in taint.controls:
            if control.where == "constraint" and not self._catalogue.is_unique(*control.source):
                continue                            # no constraint tells anything of it
            if self._control(control, changes=changes):
                raw.add(control.source)
        for equality in taint.equalities:
            if self._equality(equality, changes=changes):
                raw.add(equality.source)
        real = self.real_sources(taint)             # DML has the real row anyway
        if not told.isdisjoint(raw | real):
            raise refuse("the real values of a masked column may not be given to a function that keeps them or shows that "
                         "it was called", "Call it in a statement of its own.")
        raw -= real
        exposed = taint.data | taint.stored | frozenset(
            source for write in taint.writes for source in write.sources)
        if not raw.isdisjoint(exposed) and not (is_shown and taint.outputs is not None and not taint.writes):
            raise refuse("a condition may use the real values of a masked column only where the statement is a plain "
                         "query whose result can be masked", "Send the SELECT alone, or show other columns.")
        if is_shown and taint.outputs is not None:
            raw |= self._keyed(taint, taint.outputs)
        if not raw:
            return NOTHING
        whole = frozenset(raw)
        results = () if taint.outputs is None else tuple(self._results(taint.outputs, whole))
        return Verdict(whole, results)

    def real_sources(self, taint: Taint) -> Sources:
        """What conditions and assignments of DML read of the very row that they change: no mask is there."""
        return frozenset(
            source for reference in taint.references if reference.is_target and not reference.in_returning
            for source in reference.sources)

    def may_compute(self, write: Write) -> bool:
        """Whether a value computed from real ones may be written: into a column of the same label, where policy
        lets conditions use the values (an expression that fails for some of them tells as much)."""
        if write.target is None:
            return False
        labels = self.cover(write.target).labels
        return all(
            self.cover(source).predicates is Predicates.ALLOW and self.cover(source).labels <= labels
            for source in write.sources)

    def shown(self, taint: Taint) -> tuple[ShownColumn, ...]:
        """The columns of the result that show masks, or are computed from them."""
        found = []
        for output in taint.outputs or ():
            covers = [self.cover(source) for source in output.sources]
            if covers:
                found.append(ShownColumn(
                    output.name, frozenset().union(*(cover.labels for cover in covers)),
                    frozenset().union(*(cover.rules for cover in covers))))
        return tuple(found)

    # ---------------------------------------------------------------- conditions

    def _control(self, control: Control, *, changes: bool) -> bool:
        """Whether the condition uses the real value; refused where it may not be there at all."""
        cover = self.cover(control.source)
        mode = cover.predicates
        if mode is Predicates.ALLOW:
            self.lookups.append(Lookup(", ".join(sorted(cover.labels)), 0))
            return True
        if mode is Predicates.MASKED and not (changes or control.where in _REAL):
            return False
        raise refuse(self._sentence(control, mode), _hint(control, mode))

    def _equality(self, equality: Equality, *, changes: bool) -> bool:
        cover = self.cover(equality.source)
        label = ", ".join(sorted(cover.labels))
        if cover.predicates is Predicates.ALLOW:
            self.lookups.append(Lookup(label, 0))
            return True
        if cover.predicates is Predicates.EQUALITY:
            if any(constant.is_array for constant in equality.constants):
                raise refuse("a masked column can be compared with single constants here, not with an array",
                             _SINGLY)
            self.lookups += [Lookup(label, cover.lookups)] * max(1, len(equality.constants))
            return True
        return self._control(Control(equality.source, "where", equality.column), changes=changes)

    def _sentence(self, control: Control, mode: Predicates) -> str:
        clause = _CLAUSES.get(control.where, "a condition")
        if control.view is not None:
            view = self._catalogue.by_oid.get(control.view)
            name = "" if view is None else f" {view.name}"
            return f'the view{name} decides by a column that is masked for you ({clause})'
        name = "" if control.where in _REAL else _written(self._text, control.location)
        if name.isdigit():                          # ORDER BY 2
            relation = self._catalogue.by_oid.get(control.source[0])
            columns = () if relation is None else relation.columns
            name = next((column.name for column in columns if column.number == control.source[1]), name)
        what = f"a masked column ({name})" if name else "a masked column"
        if mode is Predicates.MASKED:
            return f"{clause} of a statement that changes rows may not use {what}"
        return f"{clause} may not use {what}"

    # ---------------------------------------------------------------- results

    def _keyed(self, taint: Taint, outputs: Iterable[Output]) -> set[Source]:
        """Columns with a keyed mask of which the statement wants nothing but to show them."""
        shown = {output.direct for output in outputs if output.direct is not None}
        other = taint.computed | frozenset(
            source for output in outputs if output.direct is None for source in output.sources)
        other |= frozenset(control.source for control in taint.controls)
        other |= frozenset(equality.source for equality in taint.equalities)
        other |= frozenset(
            source for output in outputs if output.direct is not None for source in output.sources - {output.direct})
        return {source for source in shown if source not in other and _needs_value(self.cover(source))}

    def _results(self, outputs: Iterable[Output], raw: Sources) -> Iterable[ResultMask]:
        for index, output in enumerate(outputs):
            real = output.sources & raw
            if not real:
                continue
            direct = output.direct if output.direct in raw and real == {output.direct} else None
            covers = [self.cover(source) for source in sorted(real)]
            cover = covers[0]
            for more in covers[1:]:
                cover |= more
            yield ResultMask(index, cover if direct is not None else cover.derived(), real, direct)


def _needs_value(cover: Cover) -> bool:
    """Whether the mask cannot be written into the text as an expression."""
    return cover.method in _SEE_THROUGH or bool(cover.paths)


def _hint(control: Control, mode: Predicates) -> str:
    """What may be written instead."""
    if control.view is not None:
        return _NO_VIEW
    if control.where == "constraint":
        return _NAME_KEY
    return _EQUAL_ONLY if mode is Predicates.EQUALITY else _WAY


def _written(text: bytes, location: int) -> str:
    """The name at a position as the client wrote it: it can read its own words."""
    if not 0 <= location < len(text):
        return ""
    end = location
    while end < len(text) and end - location < 128 and (text[end] in b"._$\"" or chr(text[end]).isalnum() or text[end] > 127):
        end += 1
    return text[location:end].decode("utf-8", "replace")


def is_plain_query(tree: Node) -> bool:
    """Whether a statement is a query and nothing else, so that its outputs are the columns of its result."""
    select = tree.get("SelectStmt")
    return select is not None and "intoClause" not in select
