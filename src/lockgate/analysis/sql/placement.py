"""Where the constants of a statement go: which literal or parameter is compared with, or written into, which
protected column.

Apart from `literals`, which finds constants and knows no columns, and from `taint`, which follows columns and not
constants. A token that an agent was shown may only be turned back where it goes straight into a comparison with its
own column or into that column; anywhere else the value could come back to the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockgate.analysis.sql.catalogue import Relation
from lockgate.analysis.sql.covers import Cover
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.taint import Source, Taint

Node = dict[str, Any]
Find = Callable[[str | None, str], tuple[Relation, ...]]
"""(schema, name) → the relations that a target's name can mean."""

_KINDS: Final = frozenset(("InsertStmt", "UpdateStmt", "MergeStmt"))


@dataclass(frozen=True, slots=True)
class Placed:
    """One constant: `literal` is its place among the literals of the text (-1 for a parameter), `number` the
    parameter's ($1 is 1; 0 for a literal). `cover` hides the column that it goes into. `is_written`: it is stored,
    not compared. `redacted` is the text of the constant that the column's mask shows, None where that is NULL.
    """

    literal: int
    number: int
    cover: Cover
    is_written: bool
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant's position: byte offset of a literal, or a parameter's number."""

    location: int
    number: int
    source: Source
    is_written: bool


def constants(trees: Sequence[Node], taints: Sequence[Taint], find: Find,
              labelled: frozenset[Source]) -> list[Constant]:
    """Every constant that goes straight into a comparison with a protected column, or into one."""
    found = [
        Constant(constant.location, constant.number or 0, equality.source, is_written=False)
        for taint in taints for equality in taint.equalities for constant in equality.constants if not constant.is_array
    ]
    for tree in trees:
        for kind, body in _changes(tree):
            found += _written(kind, body, find, labelled)
    return found


def parameter_uses(trees: Sequence[Node]) -> dict[int, int]:
    """How often each parameter is named."""
    counts: dict[int, int] = {}
    for node in nodes(trees):
        parameter = node.get("ParamRef")
        if parameter is not None:
            number = parameter.get("number", 0)
            counts[number] = counts.get(number, 0) + 1
    return counts


def _changes(tree: Node) -> Iterator[tuple[str, Node]]:
    for node in nodes(tree):
        for kind in _KINDS.intersection(node):
            yield kind, node[kind]


def _written(kind: str, body: Node, find: Find, labelled: frozenset[Source]) -> Iterator[Constant]:
    target = body.get("relation", {})
    for relation in find(target.get("schemaname"), target.get("relname", "")):
        numbers = {column.name: column.number for column in relation.columns}
        order = [column.name for column in relation.columns]
        for name, value in _assignments(kind, body, order):
            source = (relation.oid, numbers.get(name, -1))
            constant = _constant(value) if source in labelled else None
            if constant is not None:
                yield Constant(constant[0], constant[1], source, is_written=True)


def _assignments(kind: str, body: Node, order: list[str]) -> Iterator[tuple[str, Node]]:
    """(column, value) of everything that a statement writes as it stands there."""
    if kind == "InsertStmt":
        names = [item["ResTarget"].get("name", "") for item in body["cols"]] if "cols" in body else order
        select = body.get("selectStmt", {}).get("SelectStmt", {})
        for row in select.get("valuesLists", ()):
            yield from zip(names, row.get("List", {}).get("items", ()), strict=False)
        if "targetList" in select and "fromClause" not in select:
            yield from zip(names, [item["ResTarget"].get("val", {}) for item in select["targetList"]], strict=False)
        yield from _set(body.get("onConflictClause", {}).get("targetList", ()))
    elif kind == "UpdateStmt":
        yield from _set(body.get("targetList", ()))
    else:
        for item in body.get("mergeWhenClauses", ()):
            clause = item.get("MergeWhenClause", {})
            if "values" in clause:
                names = [one["ResTarget"].get("name", "") for one in clause.get("targetList", ())] or order
                yield from zip(names, clause["values"], strict=False)
            else:
                yield from _set(clause.get("targetList", ()))


def _set(items: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    for item in items:
        target = item.get("ResTarget", {})
        yield target.get("name", ""), target.get("val", {})


def _constant(node: Node) -> tuple[int, int] | None:
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    if "ParamRef" in node:
        return -1, node["ParamRef"].get("number", 0)
    if "A_Const" in node and not node["A_Const"].get("isnull"):
        return node["A_Const"].get("location", 0), 0
    return None
