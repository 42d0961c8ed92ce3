"""What a statement would take away that other columns have their labels from.

A trigger, default or foreign key that fills columns from protected ones puts its label on them. When it goes, or what it
needs, the values stay, and a later start of the gateway would not know them: so it stays too. What the owner drops by another way
is remembered for as long as the gateway runs (`Catalogue.filled`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.effects import NAMED_RELATIONS
from lockgate.analysis.sql.reading import Node, qualified

if TYPE_CHECKING:
    from lockgate.analysis.sql.labels import Labels

_ROUTINES: Final = frozenset(("OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE"))


def dropped_reason(name: str, body: Node, labels: Labels, catalogue: Catalogue) -> str | None:
    """What code has put into columns stays there when it goes, and its labels would not."""
    if not labels.carriers and not labels.carrying:
        return None
    if name == "DropOwnedStmt" or (name == "DropStmt" and _drops_carrier(body, labels, catalogue)):
        return "other columns are masked because of what this would drop"
    if name == "AlterDomainStmt" and body.get("subtype") == "T" and qualified(body.get("typeName"))[1] in labels.carrying:
        return "other columns are masked because of this default"
    if name == "AlterTableStmt" and any(
            item.get("AlterTableCmd", {}).get("behavior") == "DROP_CASCADE" for item in body.get("cmds", ())):
        relation = body.get("relation", {})
        if _carries(relation.get("schemaname"), relation.get("relname", ""), labels, catalogue):
            return "other columns are masked because of what CASCADE could drop"
    return None


def _drops_carrier(body: Node, labels: Labels, catalogue: Catalogue) -> bool:
    kind, is_cascade = body.get("removeType"), body.get("behavior") == "DROP_CASCADE"
    for item in body.get("objects", ()):
        if kind == "OBJECT_TRIGGER":
            found = _carries(*qualified(item.get("List", {}).get("items", ())[:-1]), labels, catalogue)
        elif kind in NAMED_RELATIONS and kind != "OBJECT_INDEX":
            found = _carries(*qualified(item.get("List", {}).get("items")), labels, catalogue)
        elif kind in _ROUTINES:
            found = qualified(item.get("ObjectWithArgs", {}).get("objname"))[1] in labels.carrying
        elif kind == "OBJECT_SCHEMA":
            found = is_cascade and _holds_carrier(item.get("String", {}).get("sval", ""), labels, catalogue)
        else:
            found = is_cascade
        if found:
            return True
    return False


def _carries(schema: str | None, name: str, labels: Labels, catalogue: Catalogue) -> bool:
    return any(relation.oid in labels.carriers for relation in catalogue.candidates(schema, name))


def _holds_carrier(schema: str, labels: Labels, catalogue: Catalogue) -> bool:
    relations = (catalogue.by_oid.get(oid) for oid in labels.carriers)
    return any(relation is not None and relation.schema == schema for relation in relations) or any(
        routine.schema == schema for name in labels.carrying for routine in catalogue.functions.get(name, ()))
