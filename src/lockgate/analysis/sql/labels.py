"""Which columns are protected on one database: the policy's globs, closed over what derives from them.

Closure (each until nothing changes): partitions and inheritance in both directions, generated
columns, views and materialised views. On top of that some system relations, which show rows, texts
or statistics of others, are closed as a whole as soon as anything on the database is protected.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Final

import pgparse

from lockgate.analysis.sql.catalogue import Catalogue, Column, Relation
from lockgate.analysis.sql.functions import is_admitted
from lockgate.analysis.sql.lineage import tainted_outputs
from lockgate.analysis.sql.reading import Reader, Reading
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

    methods: dict[int, dict[int, MaskMethod]] = field(default_factory=dict)      # what reads splice
    protected: dict[int, dict[int, MaskMethod]] = field(default_factory=dict)    # with lineage of views
    reach: dict[int, Reach] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)                   # of view definitions
    pairs: frozenset[tuple[int, int]] = frozenset()
    sources: frozenset[tuple[int, int]] = frozenset()                            # for `taint`: what reads splice, 0 for all
    digest: str = ""                                                             # of masks and pairs

    def reach_of(self, relation: Relation) -> Reach:
        return self.reach.get(relation.oid, Reach.OPEN)

    def protected_names(self, relation: Relation) -> frozenset[str]:
        numbers = self.protected.get(relation.oid, {})
        return frozenset(column.name for column in relation.columns if column.number in numbers)


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


def matches(glob: str, relation: Relation, column: Column) -> bool:
    """`[[schema.]relation.]column` from the right, each part a case-sensitive glob over the stored name."""
    parts = glob.split(".")
    names = (relation.schema, relation.name, column.name)[-len(parts):]
    return len(parts) <= 3 and all(fnmatchcase(name, part) for name, part in zip(names, parts, strict=True))


def direct_labels(masks: Iterable[ColumnMask], relation: Relation) -> dict[int, MaskMethod]:
    """The columns of one relation that the globs name, with the strongest method."""
    found: dict[int, MaskMethod] = {}
    if relation.is_system:
        return found
    for mask in masks:
        for glob in mask.columns:
            for column in relation.columns:
                if matches(glob, relation, column):
                    found[column.number] = max(mask.method, found.get(column.number, mask.method))
    return found


def is_opaque_call(catalogue: Catalogue, schema: str | None, name: str) -> bool:
    """Whether a call by this name may run something else than a function of its arguments."""
    routines = [routine for routine in catalogue.functions.get(name, ()) if schema in (None, routine.schema)]
    if any(not routine.is_pure for routine in routines):
        return True
    return not routines and not is_admitted(schema, name)


def opaque_reason(reading: Reading, catalogue: Catalogue) -> str | None:
    """Why the effect of what was read is unknown even with the catalogue, or None."""
    for schema, name in reading.functions:
        if name == "set_config" and schema in (None, "pg_catalog") and "function set_config" not in reading.opaque:
            continue
        if is_opaque_call(catalogue, schema, name):
            return f"function {name}"
    for why in reading.opaque:
        if not why.startswith("function ") and why != "EXECUTE":
            return why
    if reading.unknown:
        return "syntax that is not understood"
    return _hidden_call(reading, catalogue)


def _hidden_call(reading: Reading, catalogue: Catalogue) -> str | None:
    """Calls that are not written as calls: operators, casts, attribute notation, newer keywords."""
    for schema, name in reading.operators:
        if any(not routine.is_pure and schema in (None, routine.schema)
               for routine in catalogue.operators.get(name, ())):
            return f"operator {name}"
    for _, name in reading.types:
        if name in catalogue.impure_casts:
            return f"cast to or from {name}"
    if catalogue.by_cast:
        for use in reading.uses:
            if any(relation.oid in catalogue.by_cast for relation in catalogue.candidates(use.schema, use.name)):
                return f"casts of {use.name}'s types"
    for name in reading.attributes | reading.keywords:
        for routine in catalogue.functions.get(name, ()):
            if not routine.is_pure and (routine.takes_row or name in reading.keywords):
                return f"function {name}"
    return None


class _Closure:
    def __init__(self, masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> None:
        self.masks = masks
        self.catalogue = catalogue
        self.labels = Labels()
        self.trees: dict[int, Any] = {}
        self.generated: dict[tuple[int, int], frozenset[str]] = {}
        self.by_oid = catalogue.by_oid

    def run(self) -> Labels:
        labels, catalogue = self.labels, self.catalogue
        for relation in catalogue.relations:
            if _is_closed(relation):
                labels.reach[relation.oid] = Reach.CLOSED
            found = direct_labels(self.masks, relation)
            if found:
                labels.methods[relation.oid] = found
                labels.protected[relation.oid] = dict(found)
        views = [relation for relation in catalogue.relations if relation.definition is not None]
        for view in views:
            self._read_view(view)
        changed = True
        while changed:
            changed = self._inherit() | self._generate() | self._compose() | self._all_views(views)
        for oid in labels.methods:
            labels.reach.setdefault(oid, Reach.MASKED)
        labels.pairs = frozenset((oid, number) for oid, found in labels.protected.items() for number in found)
        labels.sources = frozenset((oid, number) for oid, found in labels.methods.items() for number in found) | frozenset(
            (oid, 0) for oid, reach in labels.reach.items() if reach is Reach.CLOSED)
        content = [(mask.columns, int(mask.method)) for mask in self.masks], sorted(labels.pairs)
        labels.digest = hashlib.sha256(repr(content).encode()).hexdigest()
        return labels

    def _add(self, oid: int, number: int, method: MaskMethod, spliced: bool) -> bool:
        changed = False
        for table in (self.labels.protected, self.labels.methods) if spliced else (self.labels.protected,):
            found = table.setdefault(oid, {})
            if found.get(number, 0) < method:
                found[number] = method
                changed = True
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
                    method = self.labels.methods.get(source.oid, {}).get(column.number)
                    if method is not None and column.name in names:
                        changed |= self._add(target.oid, names[column.name], method, True)
        return changed

    def _generate(self) -> bool:
        changed = False
        for oid, found in list(self.labels.methods.items()):
            relation = self.by_oid[oid]
            names = self.labels.protected_names(relation)
            for column in relation.columns:
                if column.generated is None or column.number in found:
                    continue
                if not names.isdisjoint(self._references(relation, column)):
                    method = max(found.values())
                    changed |= self._add(oid, column.number, max(method, MaskMethod.REDACT), True)
        return changed

    def _compose(self) -> bool:
        """Columns that hold whole rows of a protected relation or values of a type with a protected part."""
        changed = False
        for relation in self.catalogue.relations:
            if relation.kind == "v":
                continue                        # what a view shows is known from its definition
            for column in relation.columns:
                if column.row_of and self.labels.protected.get(column.row_of):
                    changed |= self._add(relation.oid, column.number, MaskMethod.REDACT, True)
        return changed

    def _references(self, relation: Relation, column: Column) -> frozenset[str]:
        key = (relation.oid, column.number)
        if key not in self.generated:
            reading = _read(f"SELECT {column.generated}")
            if reading is None:
                self.generated[key] = frozenset(other.name for other in relation.columns)
            else:
                self.generated[key] = frozenset(names[-1] for names in reading.columns)
        return self.generated[key]

    # ---------------------------------------------------------------- views

    def _read_view(self, view: Relation) -> None:
        assert view.definition is not None
        reader = Reader()
        trees = _parse(view.definition)
        if trees is None or len(trees) != 1 or "SelectStmt" not in trees[0]["stmt"]:
            self._close(view)
            return
        reader.walk(trees[0]["stmt"], "SelectStmt")
        self.trees[view.oid] = trees[0]["stmt"]["SelectStmt"]
        self.labels.readings[view.oid] = reader.reading
        if opaque_reason(reader.reading, self.catalogue) is not None:
            self._close(view)

    def _close(self, view: Relation) -> bool:
        """The view cannot be looked through: closed as a whole, and everything on top of it."""
        if self.labels.reach.get(view.oid) is Reach.CLOSED:
            return False
        self.labels.reach[view.oid] = Reach.CLOSED
        for column in view.columns:
            self._add(view.oid, column.number, MaskMethod.REDACT, False)
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
        touched = False
        for use in reading.uses:
            for relation in self.catalogue.candidates(use.schema, use.name):
                reach = self.labels.reach.get(relation.oid)
                if reach is Reach.CLOSED:
                    return self._close(view)
                touched |= reach is Reach.DERIVED or relation.oid in self.labels.protected
        if not touched:
            return False
        changed = False
        if view.kind == "v" and self.labels.reach.get(view.oid) is not Reach.DERIVED:
            self.labels.reach[view.oid] = Reach.DERIVED
            changed = True
        taints = tainted_outputs(self.trees[view.oid], self._protected)
        for index, column in enumerate(view.columns):
            if taints is None or len(taints) != len(view.columns) or taints[index]:
                changed |= self._add(view.oid, column.number, MaskMethod.REDACT, view.kind == "m")
        return changed

    def _protected(self, schema: str | None, name: str) -> frozenset[str] | None:
        found = self.catalogue.candidates(schema, name)
        if not found:
            return None
        names: frozenset[str] = frozenset()
        for relation in found:
            if self.labels.reach.get(relation.oid) is Reach.CLOSED:
                return None
            names |= self.labels.protected_names(relation)
        return names


def _is_closed(relation: Relation) -> bool:
    if relation.kind == "t" or relation.schema == "pg_toast":
        return True                             # TOAST tables hold the long values of others
    if relation.schema == "pg_catalog":
        return bool(_CLOSED.match(relation.name))
    if relation.schema == "information_schema":
        return relation.name in ("user_mapping_options", "_pg_user_mappings")
    return relation.name == "pg_stat_statements"


def _parse(text: str) -> list[Any] | None:
    try:
        return list(pgparse.parse(text))
    except (pgparse.PGQueryError, RecursionError):
        return None


def _read(text: str) -> Reading | None:
    trees = _parse(text)
    if trees is None or len(trees) != 1:
        return None
    reader = Reader()
    reader.walk(trees[0]["stmt"], "SelectStmt")
    return reader.reading
