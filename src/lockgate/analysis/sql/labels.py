"""Which columns are protected on one database: the policy's globs, closed over what derives from them.

Closure (each until nothing changes): partitions and inheritance in both directions, generated
columns, views and materialised views. On top of that some system relations, which show rows, texts
or statistics of others, are closed as a whole as soon as anything on the database is protected.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any, Final

from lockgate.analysis.sql.catalogue import Catalogue, Column, Relation
from lockgate.analysis.sql.code import Name, Routine, Trigger
from lockgate.analysis.sql.covers import Cover, direct_covers, put
from lockgate.analysis.sql.definitions import definition_of
from lockgate.analysis.sql.lineage import tainted_outputs
from lockgate.analysis.sql.reading import Reading
from lockgate.analysis.sql.routines.calls import Call, named
from lockgate.analysis.sql.routines.closure import closure_of
from lockgate.analysis.sql.routines.flows import Spread, spread_of, spread_of_expression
from lockgate.analysis.sql.routines.verdicts import Verdicts, asks_for_text
from lockgate.model import ColumnMask, MaskMethod

_CLOSED: Final = re.compile(
    r"^(?:pg_statistic|pg_statistic_ext_data|pg_stats|pg_stats_ext|pg_stats_ext_exprs|pg_stat_activity"
    r"|pg_stat_replication|pg_stat_wal_receiver|pg_stat_subscription|pg_largeobject|pg_prepared_statements"
    r"|pg_cursors|pg_authid|pg_shadow|pg_user_mapping|pg_user_mappings|pg_subscription|pg_replication_slots"
    r"|pg_replication_origin_status|pg_stat_replication_slots|pg_hba_file_rules|pg_ident_file_mappings"
    r"|pg_file_settings|pg_prepared_xacts|pg_stat_progress_\w+)$"
)
"""System relations that show values, statements or secrets of others (manual, "System Catalogs", "System
Views", "The Cumulative Statistics System")."""


class Reach(Enum):
    """What a relation is to the masks."""

    OPEN = "open"
    MASKED = "masked"           # its own columns are labelled
    DERIVED = "derived"         # a view to expand into its masked definition
    CLOSED = "closed"           # never readable


@dataclass(slots=True)
class Labels:
    """The result for one tuple of masks and one catalogue."""

    covers: dict[int, dict[int, Cover]] = field(default_factory=dict)            # what reads splice
    protected: dict[int, dict[int, Cover]] = field(default_factory=dict)         # with lineage of views
    reach: dict[int, Reach] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)                   # of view definitions
    projections: dict[tuple[object, ...], str] = field(default_factory=dict)     # made so far: `projection`
    filtered: set[int] = field(default_factory=set)     # views whose rows come and go with protected values
    scattered: set[int] = field(default_factory=set)    # split by protected values: partitioned tables, views of them
    pairs: frozenset[tuple[int, int]] = frozenset()
    escaping: set[int] = field(default_factory=set)      # relations whose triggers put values where no label follows
    carriers: set[int] = field(default_factory=set)      # relations without which code would put no label on others
    carrying: set[str] = field(default_factory=set)      # … and routines and domains, by name
    fills: dict[int, set[tuple[str | None, str]]] = field(default_factory=dict)     # … and where one does, by name
    sources: frozenset[tuple[int, int]] = frozenset()                            # for `taint`: what reads splice, 0 for all
    digest: str = ""                                                             # of masks and pairs
    _verdicts: Verdicts | None = field(default=None, init=False, repr=False)

    def reach_of(self, relation: Relation) -> Reach:
        return self.reach.get(relation.oid, Reach.OPEN)

    def is_protected(self, relation: Relation) -> bool:
        """Whether the relation is closed, or any column of it is protected."""
        return self.reach_of(relation) is not Reach.OPEN or bool(self.protected.get(relation.oid))

    def is_closed(self, relation: Relation) -> bool:
        return self.reach_of(relation) is Reach.CLOSED

    def is_filled(self, schema: str | None, name: str) -> bool:
        """Whether a trigger that writes protected values may find its target by that name."""
        return any(name == other and (where is None or schema in (None, where))
                   for found in self.fills.values() for where, other in found)

    @property
    def verdicts(self) -> Verdicts:
        """On routines, under these labels."""
        assert self._verdicts is not None, "the labels are not complete"
        return self._verdicts

    def protected_names(self, relation: Relation) -> frozenset[str]:
        numbers = self.protected.get(relation.oid, {})
        return frozenset(column.name for column in relation.columns if column.number in numbers)


def names_a_place(reading: Reading) -> bool:
    """Whether a text names a system column that says where a row lies: in which table, at which place."""
    return any(names[-1:] in (("tableoid",), ("ctid",)) for names in reading.columns)


def labels_for(masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> Labels:
    """The labels, computed once per masks and catalogue and kept with the catalogue."""
    key = ("labels", masks)
    found = catalogue.derived.get(key)
    if isinstance(found, Labels):
        return found
    labels = _Closure(masks, catalogue).run()
    if len(catalogue.derived) > 64:             # as many different sets of masks: start over
        catalogue.derived.clear()
    catalogue.derived[key] = labels
    return labels


class _Closure:
    def __init__(self, masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> None:
        self.masks = masks
        self.catalogue = catalogue
        self.labels = Labels()
        self.trees: dict[int, Any] = {}
        self.generated: dict[tuple[int, int], frozenset[str]] = {}
        self.handed: dict[int, dict[int, Cover]] = {}   # columns of views that are written to, for triggers of theirs
        self.quoting: dict[Name, bool] = {}     # functions of triggers that ask for a client's text
        self.reads: set[Name] = set()           # relations that code which fills columns names
        self.derived: dict[tuple[int, int], Cover] = {}     # columns that code fills
        self.by_oid = catalogue.by_oid
        self.verdicts = Verdicts(self.labels, catalogue)

    def run(self) -> Labels:
        labels, catalogue = self.labels, self.catalogue
        for relation in catalogue.relations:
            if _is_closed(relation):
                labels.reach[relation.oid] = Reach.CLOSED
            found = direct_covers(self.masks, relation, catalogue.known)
            if found:
                labels.covers[relation.oid] = found
                labels.protected[relation.oid] = dict(found)
        views = [relation for relation in catalogue.relations if relation.definition is not None]
        for view in views:
            self._read_view(view)
        if self.masks not in catalogue.filled and len(catalogue.filled) >= _MOST_MASKS:
            del catalogue.filled[next(iter(catalogue.filled))]
        kept = catalogue.filled.setdefault(self.masks, {})
        self._keep(kept)
        changed = True
        while changed:
            self.verdicts = Verdicts(labels, catalogue)
            changed = (self._inherit() | self._generate() | self._compose() | self._partitions() | self._all_views(views)
                       | self._all_triggers() | self._defaults() | self._refer() | self._expressions())
        for place, cover in self.derived.items():
            put(kept, place, cover)
        for oid in labels.covers:
            labels.reach.setdefault(oid, Reach.MASKED)
        labels.pairs = frozenset((oid, number) for oid, found in labels.protected.items() for number in found)
        labels.sources = frozenset((oid, number) for oid, found in labels.covers.items() for number in found) | frozenset(
            (oid, 0) for oid, reach in labels.reach.items() if reach is Reach.CLOSED)
        labels._verdicts = Verdicts(labels, catalogue)
        self._carry()
        labels.digest = hashlib.sha256(repr((self.masks, sorted(labels.pairs))).encode()).hexdigest()
        return labels

    def _add(self, oid: int, number: int, cover: Cover, spliced: bool) -> bool:
        changed = False
        for table in (self.labels.protected, self.labels.covers) if spliced else (self.labels.protected,):
            changed |= put(table.setdefault(oid, {}), number, cover)
        return changed

    def _inherit(self) -> bool:
        changed = False
        for child, parent in self.catalogue.inherits:
            one, two = self.by_oid.get(child), self.by_oid.get(parent)
            if one is None or two is None:
                continue
            for source, target in ((one, two), (two, one)):
                names = {column.name: column.number for column in target.columns}
                for column in source.columns:
                    cover = self.labels.covers.get(source.oid, {}).get(column.number)
                    if cover is not None and column.name in names:
                        changed |= self._add(target.oid, names[column.name], cover, True)
        return changed

    def _generate(self) -> bool:
        changed = False
        for oid, found in list(self.labels.covers.items()):
            relation = self.by_oid[oid]
            names = self.labels.protected_names(relation)
            for column in relation.columns:
                if column.generated is None or column.number in found:
                    continue
                if not names.isdisjoint(self._references(relation, column)):
                    changed |= self._add(oid, column.number, _whole(found), True)
        return changed

    def _compose(self) -> bool:
        """Columns that hold whole rows of a protected relation or values of a type with a protected part."""
        changed = False
        for relation in self.catalogue.relations:
            if relation.kind == "v":
                continue                        # what a view shows is known from its definition
            for column in relation.columns:
                found = self.labels.protected.get(column.row_of) if column.row_of else None
                if found:
                    changed |= self._add(relation.oid, column.number, _whole(found), True)
        return changed

    def _partitions(self) -> bool:
        """Partitions by a protected column: their rows tell of its values, so they are closed, at any depth."""
        changed = False
        for oid, numbers in self.catalogue.partition_keys.items():
            covers = self.labels.covers.get(oid, {})
            if not covers or oid in self.labels.scattered or not (0 in numbers or any(one in covers for one in numbers)):
                continue
            self.labels.scattered.add(oid)
            changed = True
            stack = list(self.catalogue.children.get(oid, ()))
            while stack:
                child = stack.pop()
                relation = self.by_oid.get(child)
                if relation is not None:
                    self._close(relation)
                stack += self.catalogue.children.get(child, ())
        return changed

    def _references(self, relation: Relation, column: Column) -> frozenset[str]:
        key = (relation.oid, column.number)
        if key not in self.generated:
            expression = definition_of(f"SELECT {column.generated}")
            if expression is None:
                self.generated[key] = frozenset(other.name for other in relation.columns)
            else:
                self.generated[key] = frozenset(names[-1] for names in expression.reading.columns)
        return self.generated[key]

    def _refer(self) -> bool:
        """A foreign key's columns hold the values of the columns that they refer to."""
        changed = False
        for oid, number, referred, other in self.catalogue.references:
            cover = self.labels.covers.get(referred, {}).get(other)
            if cover is not None and oid in self.by_oid:
                self.labels.carriers.add(referred)
                changed |= self._fills(oid, number, cover)
        return changed

    # ---------------------------------------------------------------- code

    def _keep(self, kept: dict[tuple[int, int], Cover]) -> None:
        """Columns that code has filled hold what it put there, also when the code is gone."""
        for (oid, number), cover in list(kept.items()):
            relation = self.by_oid.get(oid)
            if relation is None or all(column.number != number for column in relation.columns):
                del kept[oid, number]
            else:
                self._add(oid, number, cover, True)

    def _fills(self, oid: int, number: int, cover: Cover) -> bool:
        """A column of a table that code, or a foreign key, fills."""
        put(self.derived, (oid, number), cover)
        return self._add(oid, number, cover, True)

    def _carried(self, routine: Routine) -> None:
        """What an expression that makes labels needs."""
        for body in closure_of(Call(routine.name, (routine,)), self.catalogue).bodies:
            self.labels.carrying.update(name for _, name in body.reading.functions if name in self.catalogue.functions)
            self.reads.update((use.schema, use.name) for use in body.reading.uses if use.kind == "read")

    def _carry(self) -> None:
        """The protected relations that code which makes labels names, and what views among them are made of."""
        stack = [relation for schema, name in self.reads for relation in self.catalogue.candidates(schema, name)]
        seen: set[int] = set()
        while stack:
            relation = stack.pop()
            if relation.oid in seen or not self.labels.is_protected(relation) or relation.is_system:
                continue
            seen.add(relation.oid)
            reading = self.labels.readings.get(relation.oid)
            stack += () if reading is None else [
                below for use in reading.uses for below in self.catalogue.candidates(use.schema, use.name)]
        self.labels.carriers |= seen

    def _defaults(self) -> bool:
        """Columns whose default, or that of their domain, is made from protected data."""
        changed = False
        code = self.catalogue.code
        domains = {name for name, found in code.domains.items()
                   if any(map(self._shows, found))}
        for relation in self.catalogue.relations if domains else ():
            for column in relation.columns:
                if column.type_name in domains and relation.kind in _STORED:
                    changed |= self._fills(relation.oid, column.number, _CLOSED_COVER)
        for name in domains:
            self.labels.carrying.add(name)
            for routine in code.domains[name]:
                self._carried(routine)
        for oid, found in code.wired.items():
            for wired in found if oid in self.by_oid else ():       # a temporary table of some session is not
                if wired.kind == "default" and self._shows(wired.routine):
                    self._carried(wired.routine)
                    changed |= self._fills(oid, wired.number, _CLOSED_COVER)
        return changed

    def _all_triggers(self) -> bool:
        """Columns that a trigger fills from protected ones, of its own relation or of any other."""
        changed = False
        known: dict[tuple[object, ...], Spread] = {}
        for oid, triggers in self.catalogue.code.triggers.items():
            relation = self.by_oid.get(oid)
            if relation is None:
                continue
            handed = self.handed.get(oid, {})
            names = self.labels.protected_names(relation) | {
                column.name for column in relation.columns if column.number in handed}
            for trigger in triggers:
                if not names and not self.verdicts.of_trigger(trigger).shows and not self._quotes(trigger):
                    continue
                key = (replace(trigger, relation=0), names, tuple(column.name for column in relation.columns))
                if key not in known:
                    known[key] = spread_of(trigger, names, self.catalogue, self.verdicts, self._names)
                changed |= self._spread(relation, known[key])
        return changed

    def _quotes(self, trigger: Trigger) -> bool:
        """Whether it asks for what a client has sent: the values that statements write stand in it."""
        if trigger.function not in self.quoting:
            call = named(*trigger.function, self.catalogue)
            self.quoting[trigger.function] = call is not None and self._asks(call)
        return self.quoting[trigger.function] and bool(self.labels.covers)

    def _shows(self, routine: Routine) -> bool:
        """Whether an expression gives what may be a protected value."""
        return self.verdicts.of_routine(routine).shows or (
            bool(self.labels.covers) and self._asks(Call(routine.name, (routine,))))

    def _asks(self, call: Call) -> bool:
        return any(asks_for_text(body.reading) for body in closure_of(call, self.catalogue).bodies)

    def _expressions(self) -> bool:
        """Columns that functions of checks, indexes, policies and domains fill from the rows that they are given."""
        changed = False
        code = self.catalogue.code
        for oid in {*code.wired, *self.catalogue.checked} & {*self.labels.protected}:
            relation = self.by_oid[oid]
            names = self.labels.protected_names(relation)
            found = [wired.routine for wired in code.wired.get(oid, ()) if wired.kind != "default"]
            found += [routine for domain in self.catalogue.checked.get(oid, ()) for routine in code.domains[domain]]
            for expression in found:
                changed |= self._spread(relation, spread_of_expression(
                    expression, names | {"value"}, self.catalogue, self.verdicts, self._names))
        return changed

    def _spread(self, relation: Relation, spread: Spread) -> bool:
        found = [*self.labels.protected.get(relation.oid, {}).values(), *self.handed.get(relation.oid, {}).values()]
        cover = reduce(or_, found).derived() if found else _CLOSED_COVER
        changed = False
        for column in relation.columns:
            if spread.is_whole_row or column.name in spread.own:
                changed |= (self._add(relation.oid, column.number, cover, False) if relation.kind == "v"
                            else self._fills(relation.oid, column.number, cover))
        for (schema, name), columns in spread.columns.items():
            if columns is None or columns:
                self.labels.fills.setdefault(relation.oid, set()).add((schema, name))
            for target in self.catalogue.candidates(schema, name):
                for place, column in enumerate(target.columns):
                    if columns is None or column.name in columns or place in columns:
                        changed |= self._fill(target, column, cover)
        if not spread.is_empty:
            self.labels.carriers.add(relation.oid)
            self.labels.carrying |= spread.routines
            self.reads |= spread.reads
        if spread.escapes and relation.oid not in self.labels.escaping:
            self.labels.escaping.add(relation.oid)
            changed = True
        return changed

    def _fill(self, target: Relation, column: Column, cover: Cover) -> bool:
        """A column is written to; through a view, that of the table that it comes from is, at any depth, and triggers
        of the view are handed the value."""
        changed = False
        seen: set[tuple[int, int]] = set()
        stack = [(target, column)]
        while stack:
            relation, written = stack.pop()
            if (relation.oid, written.number) in seen:
                continue
            seen.add((relation.oid, written.number))
            if relation.kind != "v":
                changed |= self._fills(relation.oid, written.number, cover)
                continue
            changed |= put(self.handed.setdefault(relation.oid, {}), written.number, cover)
            stack += self._below(relation, written)
        return changed

    def _below(self, view: Relation, column: Column) -> Iterator[tuple[Relation, Column]]:
        """Where a column of a view may be stored: one that is a column of what is read, by name; all of them where
        rewrite rules, of which nothing is known here, stand in between."""
        reading = self.labels.readings.get(view.oid)
        if reading is None:
            return
        name = None if view.has_rules else _origin(self.trees[view.oid], view.columns.index(column))
        for use in reading.uses:
            for below in self.catalogue.candidates(use.schema, use.name):
                for one in below.columns:
                    if view.has_rules or one.name == name:
                        yield below, one

    def _names(self, schema: str | None, name: str) -> frozenset[str] | None:
        """The protected columns of what a name in a routine may mean; None where it is closed."""
        found = self.catalogue.candidates(schema, name)
        if any(self.labels.is_closed(relation) for relation in found):
            return None
        return frozenset(name for relation in found for name in self.labels.protected_names(relation))

    # ---------------------------------------------------------------- views

    def _read_view(self, view: Relation) -> None:
        assert view.definition is not None
        found = definition_of(view.definition)
        if found is None:
            self._close(view)
            return
        self.trees[view.oid], self.labels.readings[view.oid] = found

    def _close(self, view: Relation) -> bool:
        """The view cannot be looked through: closed as a whole, and everything on top of it."""
        if self.labels.reach.get(view.oid) is Reach.CLOSED:
            return False
        self.labels.reach[view.oid] = Reach.CLOSED
        for column in view.columns:
            self._add(view.oid, column.number, _CLOSED_COVER, False)
        return True

    def _all_views(self, views: list[Relation]) -> bool:
        changed = False
        for view in views:
            changed |= self._view(view)
        return changed

    def _view(self, view: Relation) -> bool:
        reading = self.labels.readings.get(view.oid)
        if reading is None or self.labels.reach.get(view.oid) is Reach.CLOSED:
            return False
        if self.verdicts.obstacle(reading) is not None:
            return self._close(view)
        touched = scattered = False
        cover: Cover | None = None
        for use in reading.uses:
            for relation in self.catalogue.candidates(use.schema, use.name):
                reach = self.labels.reach.get(relation.oid)
                if reach is Reach.CLOSED or (relation.oid in self.labels.scattered and names_a_place(reading)):
                    return self._close(view)
                scattered |= relation.oid in self.labels.scattered
                found = self.labels.protected.get(relation.oid)
                touched |= reach is Reach.DERIVED or found is not None
                if found:
                    cover = _whole(found) if cover is None else cover | _whole(found)
        if not touched:
            return False
        changed = False
        if view.kind == "v" and self.labels.reach.get(view.oid) is not Reach.DERIVED:
            self.labels.reach[view.oid] = Reach.DERIVED
            changed = True
        if scattered and view.kind == "v" and view.oid not in self.labels.scattered:
            self.labels.scattered.add(view.oid)
            changed = True
        taints = tainted_outputs(self.trees[view.oid], self._protected)
        if taints is None and view.kind == "m":
            return self._close(view)            # its columns can be masked, the number of its rows cannot
        if taints is None and view.oid not in self.labels.filtered:
            self.labels.filtered.add(view.oid)
            changed = True
        for index, column in enumerate(view.columns):
            if taints is None or len(taints) != len(view.columns) or taints[index]:
                changed |= self._add(view.oid, column.number, cover or _CLOSED_COVER, view.kind == "m")
        return changed

    def _protected(self, schema: str | None, name: str) -> frozenset[str] | None:
        found = self.catalogue.candidates(schema, name)
        if not found:
            return None
        names: frozenset[str] = frozenset()
        for relation in found:
            if self.labels.reach.get(relation.oid) is Reach.CLOSED or relation.oid in self.labels.filtered:
                return None
            names |= self.labels.protected_names(relation)
        return names


_CLOSED_COVER: Final = Cover(MaskMethod.REDACT)
_STORED: Final = frozenset("rpmf")
_MOST_MASKS: Final = 1_024


def _origin(select: Any, place: int) -> str | None:
    """The column that an output of a view is, by name; None where it is none, so that nothing can be written to it."""
    targets = select.get("targetList", ())
    if place >= len(targets):
        return None
    fields = targets[place].get("ResTarget", {}).get("val", {}).get("ColumnRef", {}).get("fields")
    return None if not fields else str(fields[-1].get("String", {}).get("sval", ""))


def _whole(found: dict[int, Cover]) -> Cover:
    """The cover of what may depend on any of these columns."""
    return reduce(or_, found.values()).derived()


def _is_closed(relation: Relation) -> bool:
    if relation.kind == "t" or relation.schema == "pg_toast":
        return True                             # TOAST tables hold the long values of others
    if relation.schema == "pg_catalog":
        return bool(_CLOSED.match(relation.name))
    if relation.schema == "information_schema":
        return relation.name in ("user_mapping_options", "_pg_user_mappings")
    return relation.name == "pg_stat_statements"
