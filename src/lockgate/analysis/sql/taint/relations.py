"""Relations by name: the row that a name stands for, with the labelled columns and with views looked through.

Made once for each catalogue and set of labels and kept with the catalogue. A view is what its definition
says, plus its own labels; one that cannot be looked through makes every statement that names it TOP. What
a session made itself is not in the catalogue: its names resolve to rows of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.taint.result import NOTHING, Control, Source, Sources
from lockgate.analysis.sql.taint.rows import UNKNOWN, Column, Row, either
from lockgate.analysis.sql.taint.scope import Top
from lockgate.analysis.sql.taint.sets import SETS, is_plain

MAX_DEPTH: Final = 32
"""Views on views."""

InSession = Callable[[str | None, str], bool]
"""(schema, name) → whether the session may have made a relation of that name."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a view's definition says: its columns, and what decides on its rows or is computed inside."""

    columns: tuple[Column, ...]
    controls: frozenset[tuple[Source, str]]
    computed: Sources


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for. `controls` are those inside of views, with the view's OID."""

    row: Row
    schemas: frozenset[str]
    relations: tuple[Relation, ...]
    controls: tuple[Control, ...] = ()
    computed: Sources = NOTHING


Expand = Callable[[Relation, "Relations"], Expansion]


class Relations:
    """The relations of one catalogue under one set of labels."""

    def __init__(self, catalogue: Catalogue, labelled: frozenset[Source], expand: Expand) -> None:
        self.catalogue = catalogue
        self.labelled = labelled
        self._expand = expand
        self._rows: dict[int, Found] = {}
        self._names: dict[tuple[str | None, str, bool], Found | None] = {}
        self._open: list[int] = []              # views that are being looked through

    @staticmethod
    def of(catalogue: Catalogue, labelled: frozenset[Source], expand: Expand) -> Relations:
        """The one that is kept with the catalogue."""
        key = ("taint", labelled)
        found = catalogue.derived.get(key)
        if not isinstance(found, Relations):
            found = catalogue.derived[key] = Relations(catalogue, labelled, expand)
        return found

    def find(self, schema: str | None, name: str, in_session: InSession | None) -> Found | None:
        """All that the name can mean as one row; None where there is no such relation."""
        is_ours = in_session is not None and in_session(schema, name)
        key = (schema, name, is_ours)
        if key not in self._names:
            relations = () if schema == "pg_temp" else self.catalogue.candidates(schema, name)
            self._names[key] = self._found(relations, is_ours)
            if len(self._names) > 8_192:        # names that somebody made up
                self._names.clear()
                return self._found(relations, is_ours)
        return self._names[key]

    def _found(self, relations: tuple[Relation, ...], is_ours: bool) -> Found | None:
        found = [self.of_relation(relation) for relation in relations]
        if len(found) == 1 and not is_ours:
            return found[0]
        if not found and not is_ours:
            return None
        rows = [one.row for one in found] + ([UNKNOWN] if is_ours else [])
        schemas = frozenset(relation.schema for relation in relations) | ({"pg_temp"} if is_ours else set())
        return Found(either(rows), schemas, relations, tuple(control for one in found for control in one.controls),
                     frozenset(source for one in found for source in one.computed))

    def of_relation(self, relation: Relation) -> Found:
        """One relation of the catalogue."""
        found = self._rows.get(relation.oid)
        if found is None:
            found = self._rows[relation.oid] = self._made(relation)
        return found

    def _made(self, relation: Relation) -> Found:
        oid, schemas = relation.oid, frozenset((relation.schema,))
        if (oid, 0) in self.labelled:
            return Found(Row([(None, frozenset(((oid, 0),)), None)]), schemas, (relation,))
        if relation.kind in "vm" and relation.definition is not None and not relation.is_system:
            return self._view(relation, schemas)
        if relation.is_system or relation.kind not in "rpmvf":
            return Found(UNKNOWN, schemas, (relation,))
        columns: list[Column] = []
        for column in relation.columns:
            source = (oid, column.number)
            is_labelled = source in self.labelled
            columns.append((column.name, frozenset((source,)), source) if is_labelled else (column.name, NOTHING, None))
        return Found(Row(columns, relation.kind != "v"), schemas, (relation,))

    def _view(self, view: Relation, schemas: frozenset[str]) -> Found:
        """A view as its definition. A materialised one has stored what it says: a label of its own replaces it."""
        if view.oid in self._open or len(self._open) > MAX_DEPTH:
            raise Top(f'view "{view.name}" is nested too deeply')
        self._open.append(view.oid)
        try:
            expansion = self._expand(view, self)
        finally:
            self._open.pop()
        if len(expansion.columns) != len(view.columns):
            raise Top(f'view "{view.name}" cannot be looked through')
        is_stored = view.kind == "m"
        columns: list[Column] = []
        for column, (name, sources, direct) in zip(view.columns, expansion.columns, strict=True):
            if name is None:
                raise Top(f'view "{view.name}" cannot be looked through')
            own = (view.oid, column.number)
            if own in self.labelled:
                replaced = is_stored or not sources
                sources, direct = frozenset((own,)) | (NOTHING if is_stored else sources), own if replaced else direct
            columns.append((column.name, sources, None if is_stored and direct != own else direct))
        controls = tuple(Control(source, where, -1, view.oid) for source, where in sorted(expansion.controls))
        return Found(Row(columns, is_stored), schemas, (view,), controls, NOTHING if is_stored else expansion.computed)

    # ---------------------------------------------------------------- functions

    def may_return_set(self, name: str) -> bool:
        """Whether a call by that name may give more or fewer rows than one."""
        routines = self.catalogue.functions.get(name)
        if routines is None:
            return not is_plain(name)
        return name in SETS or any(routine.returns_set for routine in routines)

    def is_overloaded(self, name: str) -> bool:
        """Whether somebody added a function of that name."""
        return name in self.catalogue.functions
