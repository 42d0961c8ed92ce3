"""What may be done on a connection with protected columns, besides reading and writing rows: utility statements.

Masking at the source covers reads, `predicates` and `returning` what DML evaluates on its target. Here is what would
make the catalogue lie or set something in motion. Every function returns a reason to refuse, worded without a
column's name, or None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from lockgate.analysis.sql.builtin_types import BY_NAME
from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.labels import Labels, Reach, names_a_place
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.reactions import has_protected_child, reacts_by_rule
from lockgate.analysis.sql.reading import Node, Reading, Use, strings

_OPEN_UTILITIES: Final = frozenset((
    "AlterCollationStmt", "AlterDatabaseRefreshCollStmt", "AlterDatabaseStmt",
    "AlterDefaultPrivilegesStmt", "AlterDomainStmt", "AlterEnumStmt", "AlterOwnerStmt",
    "AlterSeqStmt", "AlterStatsStmt", "AlterTableSpaceOptionsStmt",
    "AlterTableStmt", "AlterTableMoveAllStmt", "AlterTypeStmt", "CallStmt", "CheckPointStmt", "ClosePortalStmt", "ClusterStmt",
    "CommentStmt", "CompositeTypeStmt", "ConstraintsSetStmt", "CopyStmt", "CreateDomainStmt", "CreateEnumStmt",
    "CreateSchemaStmt", "CreateSeqStmt", "CreateStmt", "CreateStatsStmt", "CreateTableAsStmt",
    "DeallocateStmt", "DeclareCursorStmt", "DiscardStmt", "DoStmt", "DropOwnedStmt",
    "DropStmt", "DropTableSpaceStmt", "DropdbStmt", "ExecuteStmt", "ExplainStmt", "FetchStmt",
    "GrantStmt", "IndexStmt", "ListenStmt", "LockStmt", "NotifyStmt", "PrepareStmt",
    "ReassignOwnedStmt", "RefreshMatViewStmt", "ReindexStmt", "RenameStmt", "AlterObjectSchemaStmt",
    "TransactionStmt", "TruncateStmt", "UnlistenStmt", "VacuumStmt", "VariableSetStmt", "VariableShowStmt",
    "ViewStmt",
))
"""Utility statements that are not refused as such. (What CALL and DO run is judged by `routines`.) Whatever makes
a function, operator, cast, rule, trigger, policy, foreign object, publication or extension is: it could carry
values past the masks. So is what changes accounts: the gateway's own could be locked out, or another let in."""

# CLUSTER is not among them: the order of the rows would be that of an index on a protected column.
_ON_PROTECTED: Final = frozenset((
    "TruncateStmt", "DropStmt", "LockStmt", "VacuumStmt", "GrantStmt", "ReindexStmt", "RefreshMatViewStmt",
    "CommentStmt",
))
_RENAMED: Final = frozenset((
    "OBJECT_TABLE", "OBJECT_COLUMN", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_VIEW", "OBJECT_MATVIEW",
    "OBJECT_TABCONSTRAINT",
))
_RENAMED_RELATIONS: Final = _RENAMED - {"OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"}
_TAME_DOMAIN: Final = frozenset(("T", "N", "X"))     # default, DROP NOT NULL, DROP CONSTRAINT


def utility_reason(name: str, body: Node) -> str | None:
    """Why this kind of utility statement is refused whatever it names."""
    if name not in _OPEN_UTILITIES:
        return "this kind of statement could carry values past the masks"
    if name in ("RenameStmt", "AlterObjectSchemaStmt"):
        kind = body.get("renameType") or body.get("objectType")
        if kind not in _RENAMED:
            return "renaming this kind of object is not possible here"
    if name == "AlterDomainStmt" and body.get("subtype") not in _TAME_DOMAIN:
        # it is checked against the rows of every table, and its expression tells which values there are
        return "a constraint on a domain would be checked against protected columns"
    if name == "CreateDomainStmt" and strings(body.get("domainname"))[-1] in BY_NAME:
        return "a domain with the name of a built-in type would make casts mean something else"
    if name == "AlterTableStmt" and body.get("objtype") == "OBJECT_TYPE":
        return "changing a composite type would change the tables that are made of it"
    if name == "CopyStmt" and ("filename" in body or body.get("is_program")):
        return "COPY with a file or program of the server is not possible here"
    return None


class Indexed(NamedTuple):
    """What the indexes that a string makes are made of."""

    has_expression: bool
    names: frozenset[str]


def indexed(bodies: list[tuple[str, Node]]) -> Indexed:
    """Of all CREATE INDEX of a string."""
    has_expression = False
    names: set[str] = set()
    for name, body in bodies:
        if name == "IndexStmt":
            elements = [item.get("IndexElem", {}) for item in body.get("indexParams", ())]
            included = [item.get("IndexElem", {}) for item in body.get("indexIncludingParams", ())]
            has_expression |= "whereClause" in body or any("expr" in element for element in elements)
            names.update(element.get("name", "") for element in elements + included)
    return Indexed(has_expression, frozenset(names))


def referred(bodies: list[tuple[str, Node]]) -> dict[int, frozenset[str]]:
    """What the foreign keys that a string makes refer to: the relation's position and the columns; none where it is
    the primary key."""
    return {node["pktable"].get("location", 0): frozenset(strings(node.get("pk_attrs")))
            for name, body in bodies if name in ("CreateStmt", "AlterTableStmt")
            for node in nodes(body) if "pktable" in node}


def _refers_to_open(names: frozenset[str], relation: Relation, labels: Labels, catalogue: Catalogue) -> bool:
    """Whether a foreign key to these columns of a protected relation tells of open ones only."""
    if labels.reach_of(relation) is not Reach.MASKED:
        return False
    if not names:
        keys = catalogue.keys.get(relation.oid, frozenset())
        names = frozenset(column.name for column in relation.columns if column.number in keys)
    return bool(names) and names.isdisjoint(labels.protected_names(relation))


def use_reason(use: Use, relation: Relation, labels: Labels, catalogue: Catalogue, indexes: Indexed,
               keys: Mapping[int, frozenset[str]]) -> str | None:
    """Why a protected relation may not be named like this in a utility statement."""
    if use.location in keys and _refers_to_open(keys[use.location], relation, labels, catalogue):
        return None
    if use.context == "TruncateStmt" and labels.reach_of(relation) is Reach.CLOSED:
        return "which rows this partition has depends on protected columns"
    if use.context in _ON_PROTECTED:
        return None
    if use.context != "IndexStmt":
        return "this statement would change or copy the definition of a protected relation"
    if indexes.has_expression:
        return "an index with an expression or a condition on a protected relation is not possible here"
    if not labels.protected_names(relation).isdisjoint(indexes.names):
        # a unique one tells which values exist, and a scan of any tells their order
        return "an index on a protected column is not possible here"
    return None


def place_reason(use: Use, relation: Relation, labels: Labels, reading: Reading) -> str | None:
    """A table that is split by a protected column: where its rows lie, and how many where, tells of the values."""
    if use.context == "DropStmt":
        is_partition = labels.reach_of(relation) is Reach.CLOSED and relation.kind != "m"
        return "which rows this partition has depends on protected columns" if is_partition else None
    if relation.oid not in labels.scattered:
        return None
    if names_a_place(reading):
        return "where the rows of this relation lie depends on protected columns: leave out tableoid and ctid"
    return counts_reason(reading)


def counts_reason(reading: Reading) -> str | None:
    """EXPLAIN ANALYZE counts rows partition by partition."""
    if any(name == "ExplainStmt" and _analyzes(body) for name, body in reading.utilities):
        return "EXPLAIN ANALYZE would count the rows of partitions by protected columns"
    return None


def _analyzes(body: Node) -> bool:
    """Whether EXPLAIN has an ANALYZE that does not say that it is off in so many words; the last one counts."""
    given = [option.get("DefElem", {}) for option in body.get("options", ())]
    return any(element.get("defname", "").lower() == "analyze"
               and element.get("arg", {}).get("String", {}).get("sval", "").lower() not in ("false", "off")
               for element in given)


def rules_reason(relation: Relation, labels: Labels, catalogue: Catalogue) -> str | None:
    """A rewrite rule may run anything in place of the statement; so may one below an updatable view."""
    if relation.is_system and not relation.has_rules:
        return "system catalogues cannot be changed here"
    if reacts_by_rule(relation, labels, catalogue):
        return "the relation has rewrite rules, whose effect is not known here"
    return None


def definition_reason(use: Use, relation: Relation, labels: Labels, catalogue: Catalogue) -> str | None:
    """A new definition reaches the children, and what they hold would show under names that nobody labelled."""
    if use.context in ("AlterTableStmt", "RenameStmt") and has_protected_child(relation, labels, catalogue):
        return "this statement would change the definition of a protected relation"
    return None


def named_reason(reading: Reading, labels: Labels) -> str | None:
    """No relation may get or lose a name by which a trigger finds where it puts protected values: the server looks for
    it when the trigger runs, which can be much later."""
    for schema, name in _moved_names(reading) if labels.fills else ():
        if labels.is_filled(schema, name):
            return f'a trigger puts protected values into what it knows as "{name}"'
    return None


def _moved_names(reading: Reading) -> Iterator[tuple[str | None, str]]:
    for index, (schema, name) in enumerate(reading.created):
        yield "pg_temp" if index in reading.temporary else schema, name
    for kind, body in reading.utilities:
        relation = body.get("relation", {})
        if kind == "RenameStmt" and body.get("renameType") in _RENAMED_RELATIONS:
            yield relation.get("schemaname"), body.get("newname", "")
            yield relation.get("schemaname"), relation.get("relname", "")
        elif kind == "AlterObjectSchemaStmt" and body.get("objectType") in _RENAMED_RELATIONS:
            yield body.get("newschema"), relation.get("relname", "")


def created_reason(use: Use, relations: tuple[Relation, ...], labels: Labels) -> str | None:
    """Replacing a protected view would put another definition under its name."""
    if use.context != "ViewStmt":
        return None
    if any(labels.reach_of(relation) is not Reach.OPEN for relation in relations):
        return "a protected view cannot be replaced here"
    return None
