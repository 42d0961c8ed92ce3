"""What a change of one relation sets in motion in others: foreign keys, triggers, rules, children.

Apart from `labels` because it is about effects, not about columns: an error or a notice that arises on
the way may quote a whole row of a relation that the statement never named.
"""

from __future__ import annotations

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.labels import Labels


def may_speak_of_protected(relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether a change of the relation reaches a protected one, or a function that could say anything."""
    seen: set[int] = set()
    stack = [relation.oid]
    while stack:
        oid = stack.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if oid == 0 or labels.protected.get(oid):
            return True
        stack += catalogue.reactions.get(oid, ())
        stack += catalogue.children.get(oid, ())
        stack += _below(oid, labels, catalogue)
    return False


def has_protected_child(relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether a partition or child, at any depth, has protected columns."""
    seen: set[int] = set()
    stack = list(catalogue.children.get(relation.oid, ()))
    while stack:
        oid = stack.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if labels.protected.get(oid):
            return True
        stack += catalogue.children.get(oid, ())
    return False


def runs_triggers(relation: Relation, catalogue: Catalogue) -> bool:
    """Whether a function of a trigger sees rows on their way into the relation or its children."""
    seen: set[int] = set()
    stack = [relation.oid]
    while stack:
        oid = stack.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if 0 in catalogue.reactions.get(oid, ()):
            return True
        stack += catalogue.children.get(oid, ())
    return False


def reacts_by_rule(relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether rewrite rules stand in the way of DML, on the relation or below it as an updatable view."""
    seen: set[int] = set()
    stack = [relation.oid]
    while stack:
        oid = stack.pop()
        if oid in seen:
            continue
        seen.add(oid)
        found = catalogue.by_oid.get(oid)
        if found is not None and found.has_rules:
            return True
        stack += _below(oid, labels, catalogue)
    return False


def _below(oid: int, labels: Labels, catalogue: Catalogue) -> list[int]:
    """The relations that a view reads."""
    reading = labels.readings.get(oid)
    if reading is None:
        return []
    return [found.oid for use in reading.uses for found in catalogue.candidates(use.schema, use.name)]
