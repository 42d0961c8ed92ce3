"""What a change of one relation sets in motion in others: foreign keys, rules, children, views of them.

Apart from `labels` because it is about effects, not about columns. What triggers and other code add to it is
found by `routines.verdicts`, which asks here for the next relations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lockgate.analysis.sql.catalogue import Catalogue, Relation

if TYPE_CHECKING:
    from lockgate.analysis.sql.labels import Labels


def reached_by_change(oid: int, labels: Labels, catalogue: Catalogue) -> Iterator[int]:
    """Relations (OIDs) whose rows a change of this one may change or check, one step away."""
    yield from catalogue.reactions.get(oid, ())
    yield from catalogue.children.get(oid, ())
    yield from _below(oid, labels, catalogue)


def has_protected_child(relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether a partition or child, at any depth, has protected columns."""
    def children(oid: int) -> Iterable[int]:
        return catalogue.children.get(oid, ())

    return any(labels.protected.get(oid) for oid in _reached(children(relation.oid), children))


def reacts_by_rule(relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether rewrite rules stand in the way of DML, on the relation or below it as an updatable view."""
    found = map(catalogue.by_oid.get, _reached([relation.oid], lambda oid: _below(oid, labels, catalogue)))
    return any(reached is not None and reached.has_rules for reached in found)


def _reached(start: Iterable[int], onwards: Callable[[int], Iterable[int]]) -> Iterator[int]:
    """The relations (OIDs) that `onwards` leads to from `start`, those included, each once."""
    seen: set[int] = set()
    stack = list(start)
    while stack:
        oid = stack.pop()
        if oid not in seen:
            seen.add(oid)
            yield oid
            stack += onwards(oid)


def _below(oid: int, labels: Labels, catalogue: Catalogue) -> list[int]:
    """The relations that a view reads."""
    reading = labels.readings.get(oid)
    if reading is None:
        return []
    return [found.oid for use in reading.uses for found in catalogue.candidates(use.schema, use.name)]
