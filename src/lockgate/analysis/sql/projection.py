"""What stands in a protected relation's place: a parenthesised SELECT of its columns, with masks for some of them.

Apart from `rewrite`, which finds the places: here is what goes into them. A view is expanded into its definition
over projections, so that what it computes is computed on masks as well.
"""

from __future__ import annotations

from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.grouping import regroup
from lockgate.analysis.sql.labels import Labels, Reach
from lockgate.analysis.sql.masks import expression, quote_name
from lockgate.analysis.sql.reading import Reading
from lockgate.analysis.sql.splice import Splices, parsed, require_projection
from lockgate.model import ColumnMask, Refusal, RefusalCode

MAX_DEPTH: Final = 16
"""Views on views that are expanded; deeper ones are refused."""

MAX_LENGTH: Final = 4_194_304
"""Bytes of a rewritten statement."""

SYSTEM_COLUMNS: Final = frozenset(("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"))
_MOST_KEPT: Final = 512
_LONGEST_KEPT: Final = 65_536
_STORED: Final = frozenset(("r", "p", "m", "f"))
_ONLY: Final = frozenset(("r", "p", "f"))


class Refused(Exception):
    """The statement cannot go on under the masks; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def closed(name: str) -> Refused:
    """Why a relation that can hold values of any other is not read, written or asked."""
    return refuse(f'relation "{name}" is closed on connections with protected columns',
                  "It can show values of protected columns, or statements that hold them. Do without it.")


def refuse(reason: str, hint: str | None = None, code: RefusalCode = RefusalCode.NOT_ENFORCEABLE) -> Refused:
    """The exception for a reason."""
    return Refused(Refusal(code, reason, hint=hint))


def system_columns(reading: Reading) -> frozenset[str]:
    """The system columns that a text names; a projection has those and no others. A star would show them."""
    named = SYSTEM_COLUMNS.intersection(names[-1] for names in reading.columns)
    if named and any(names[-1] == "*" for names in reading.columns):
        raise refuse("a system column cannot stand beside * where a relation has protected columns",
                     "name the columns instead of *")
    return named


class Projections:
    """The projections of one plan: one set of masks over one catalogue."""

    def __init__(self, masks: tuple[ColumnMask, ...], labels: Labels, catalogue: Catalogue,
                 raw: frozenset[tuple[int, int]] = frozenset()) -> None:
        self._masks = masks
        self._labels = labels
        self._catalogue = catalogue
        self._raw = raw

    def of(self, relation: Relation, inherit: bool, system: frozenset[str] = frozenset(), sample: str = "",
           depth: int = 0) -> str:
        """A parenthesised SELECT with the relation's columns, protected ones replaced by their masks. It was parsed,
        so that a rewritten text can be checked without it (`Splices.outline`); one with a sample is not kept, for the
        clause is the client's own text."""
        if sample:
            return self._made(relation, inherit, system, sample, depth)
        key, kept = (relation.oid, inherit, system, self._raw), self._labels.projections
        known = kept.get(key)
        if known is None:
            known = self._made(relation, inherit, system, "", depth)
            require_projection(known)
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            if len(known) <= _LONGEST_KEPT:
                kept[key] = known
        return known

    def _made(self, relation: Relation, inherit: bool, system: frozenset[str], sample: str, depth: int) -> str:
        covers = self._labels.covers.get(relation.oid, {})
        columns = []
        for column in relation.columns:
            name = quote_name(column.name)
            cover = covers.get(column.number)
            if cover is None or (relation.oid, column.number) in self._raw:
                columns.append(name)
            else:
                columns.append(f"{expression(column, cover)} AS {name}")
        if relation.kind in _STORED:
            columns += sorted(system)
        source = f"{quote_name(relation.schema)}.{quote_name(relation.name)}"
        if self._labels.reach_of(relation) is Reach.DERIVED:
            inner = self.definition(relation, depth + 1)
            names = ", ".join(quote_name(column.name) for column in relation.columns)
            source = f"({inner}) AS {quote_name(relation.name)}({names})"
        elif not inherit and relation.kind in _ONLY:
            source = f"ONLY {source}"
        return f"(SELECT {', '.join(columns)} FROM {source}{sample})"  # noqa: S608 - quoted names and constants

    def definition(self, view: Relation, depth: int) -> str:
        """The view's definition over masked relations, as one SELECT."""
        if depth > MAX_DEPTH:
            raise refuse("views are nested too deeply for the masks")
        key = ("definition", self._masks, view.oid, self._raw)
        known = self._catalogue.derived.get(key)
        if isinstance(known, str):
            return known
        reading = self._labels.readings.get(view.oid)
        if reading is None or view.definition is None:
            raise refuse(f'relation "{view.name}" cannot be masked')
        splices = Splices(view.definition.encode())
        replaced: set[tuple[str, str]] = set()
        spliced: dict[int, Relation] = {}
        system = system_columns(reading)
        for use in reading.uses:
            found = self._catalogue.candidates(use.schema, use.name)
            if all(self._labels.reach_of(relation) is Reach.OPEN for relation in found):
                continue
            if len(found) != 1 or self._labels.reach_of(found[0]) is Reach.CLOSED:
                raise refuse(f'relation "{view.name}" cannot be masked')
            sample = splices.take_sample(use)
            projection = self.of(found[0], use.inherit, system, sample, depth)
            splices.relation(use, projection)
            spliced[use.location] = found[0]
            if use.alias is None:
                replaced.add((found[0].schema, use.name))
        if reading.groups:
            regroup(parsed(view.definition), spliced, self._catalogue, splices)
        splices.unqualify_all(reading, replaced)
        text = splices.apply().decode().rstrip("; \t\n\r\f\v")
        if len(text) > MAX_LENGTH:
            raise refuse("the statement would become too long under the masks", code=RefusalCode.TOO_LARGE)
        self._catalogue.derived[key] = text
        return text
