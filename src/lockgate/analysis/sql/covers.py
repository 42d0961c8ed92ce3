"""What hides one column: every mask of the policy that names it, composed into one `Cover`.

Apart from `labels`, which closes covers over views, partitions and generated columns: here is whether a
mask names a column at all, and what two masks for one column come to. Composition does not depend on
order: every part takes the stricter of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TypeVar

import re2

from lockgate.analysis.sql.catalogue import Column, Relation
from lockgate.model import ColumnMask, KeyScope, MaskMethod, Predicates

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Cover:
    """How one column is hidden.

    `labels` are the names that notices and records use. `paths` are JSON paths to hide inside the value;
    empty where the whole value is hidden. `lookups` and `returns` as in `model.ColumnMask`.
    """

    method: MaskMethod
    predicates: Predicates = Predicates.REFUSE
    labels: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    scope: KeyScope = KeyScope.TASK
    lookups: int = 0
    returns: bool = False

    def __or__(self, other: Cover) -> Cover:
        """The cover that is as strict as both."""
        predicates = max(self.predicates, other.predicates)
        bounds = [cover.lookups for cover in (self, other) if cover.predicates is predicates is Predicates.EQUALITY]
        return Cover(
            max(self.method, other.method), predicates, self.labels | other.labels,
            self.rules | other.rules,
            self.paths | other.paths if self.paths and other.paths else frozenset(),
            max(self.scope, other.scope), min(bounds, default=0), self.returns and other.returns,
        )

    def derived(self) -> Cover:
        """The cover of what is computed from the column: at least redacted, as a whole."""
        return replace(self, method=max(self.method, MaskMethod.REDACT), paths=frozenset(), returns=False)


def matches(glob: str, relation: Relation, column: Column) -> bool:
    """`[[schema.]relation.]column` from the right, each part a case-sensitive glob over the stored name."""
    parts = glob.split(".")
    names = (relation.schema, relation.name, column.name)[-len(parts):]
    return len(parts) <= 3 and all(fnmatchcase(name, part) for name, part in zip(names, parts, strict=True))


def is_named(mask: ColumnMask, relation: Relation, column: Column, known: KnownColumns | None) -> bool:
    """Whether the mask names this column, in any of its ways."""
    return (
        any(matches(glob, relation, column) for glob in mask.columns)
        or any(pattern(text).search(column.name) is not None for text in mask.names)
        or any(fnmatchcase(name, glob) for glob in mask.types for name in (column.type_name, column.type))
        or (mask.is_new and known is not None and not known.holds(relation, column))
    )


def cover_of(mask: ColumnMask, glob: str = "") -> Cover:
    """What one mask alone comes to."""
    return Cover(
        mask.method, mask.predicates, frozenset((mask.label or glob or ", ".join(mask.columns),)),
        frozenset((mask.rule,)) if mask.rule else frozenset(), frozenset(mask.paths), mask.scope, mask.lookups,
        mask.returns,
    )


def direct_covers(masks: Iterable[ColumnMask], relation: Relation, known: KnownColumns | None) -> dict[int, Cover]:
    """The covers that the masks give the columns of one relation, by attribute number."""
    found: dict[int, Cover] = {}
    if relation.is_system:
        return found
    for mask in masks:
        for column in relation.columns:
            if is_named(mask, relation, column, known):
                put(found, column.number, cover_of(mask))
    return found


def put(table: dict[K, Cover], key: K, cover: Cover) -> bool:
    """Composes a cover with what is known under a key; whether something new is known then."""
    before = table.get(key)
    after = cover if before is None else before | cover
    table[key] = after
    return after != before


class KnownColumns:
    """The columns that somebody has classified: a connection's `known_columns`, globs over all three parts."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._globs: list[str] = []
        for glob in globs:
            if any(mark in glob for mark in "*?["):
                self._globs.append(glob)
            else:
                self._exact.add(glob)

    def holds(self, relation: Relation, column: Column) -> bool:
        """Whether the column is on the list."""
        return (f"{relation.schema}.{relation.name}.{column.name}" in self._exact
                or any(matches(glob, relation, column) for glob in self._globs))


@lru_cache(maxsize=1024)
def pattern(text: str) -> re2._Regexp:
    """A compiled pattern over column names; the configuration has checked it."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


Covers = Mapping[int, Mapping[int, Cover]]
"""Relation OID → attribute number → cover."""
