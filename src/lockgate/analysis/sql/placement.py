"""Where the constants of a statement go: which literal or parameter is compared with, or written into, which
protected column.

Apart from `literals`, which finds constants and knows no columns, and from `taint`, which follows columns and not
constants. A token that an agent was shown may only be turned back where it goes straight and whole into a comparison
with its own column or into that column; anywhere else the value, or a part of it, could come back to the agent. A mask
that is written back is looked for more widely: through sub-selects too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lockgate.analysis.sql.builtin_types import EMPTY_ARRAY
from lockgate.analysis.sql.catalogue import Relation
from lockgate.analysis.sql.covers import Cover
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.taint import Source, Taint, is_uncut

Node = dict[str, Any]
Name = TypeVar("Name", str, int)
Find = Callable[[str | None, str], tuple[Relation, ...]]
"""(schema, name) → the relations that a target's name can mean."""

_KINDS: Final = frozenset(("InsertStmt", "UpdateStmt", "MergeStmt"))
_QUERIES: Final = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"))
_ONE_ROW: Final = frozenset(("valuesLists", "limitOption", "op"))
"""The parts of VALUES whose rows go each by itself into the columns; with any other, a column of them has one type."""
_MOST_SOURCES: Final = 10_000
"""Constants that are followed through sub-selects."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One constant: `literal` is its place among the literals of the text (-1 for a parameter), `number` the
    parameter's ($1 is 1; 0 for a literal). `cover` hides the column that it goes into. `is_written`: it is stored,
    not compared. `opens`: a token there may be turned back. `redacted` is the text of the constant that the column's
    mask shows, None where that is NULL, and `base` the column's type. `text` is set where the constant is no literal
    of the scanner's (`false`, `ARRAY[]`): it is neither a literal nor a parameter then.
    """

    literal: int
    number: int
    cover: Cover
    is_written: bool
    redacted: str | None = None
    base: str = ""
    opens: bool = False
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant's position: byte offset of a literal, or a parameter's number. `is_whole`: the column gets, or is
    compared with, all of it, and nothing else of the statement does. `text`: see `Placed`."""

    location: int
    number: int
    source: Source
    is_written: bool
    is_whole: bool = False
    text: str | None = None


def constants(trees: Sequence[Node], taints: Sequence[Taint], find: Find,
              labelled: frozenset[Source]) -> list[Constant]:
    """Every constant that goes straight into a comparison with a protected column, or into one."""
    found = [
        Constant(constant.location, constant.number or 0, equality.source, is_written=False, is_whole=constant.is_whole)
        for taint in taints for equality in taint.equalities for constant in equality.constants if not constant.is_array
    ]
    for tree in trees:
        written = list(_changes(tree))
        sources = _Sources(tree) if written else None
        for kind, body in written:
            assert sources is not None
            found += _written(kind, body, find, labelled, sources)
    return found


def may_open(trees: Sequence[Node], *, parameters: bool) -> bool:
    """Whether tokens may be turned back in this text at all: it is one query or change of its own, for anything else
    keeps the text or shows it (EXPLAIN, a view, a prepared statement, a cursor). With `parameters`, whose values no
    text holds, cursors may be declared too."""
    if len(trees) != 1:
        return False
    statement = trees[0].get("stmt", {})
    if parameters and "DeclareCursorStmt" in statement:
        statement = statement["DeclareCursorStmt"].get("query", {})
    return not _QUERIES.isdisjoint(statement) and not any("intoClause" in part for part in parts(statement.get("SelectStmt", {})))


def parameter_uses(trees: Sequence[Node]) -> dict[int, int]:
    """How often each parameter is named."""
    counts: dict[int, int] = {}
    for node in nodes(trees):
        parameter = node.get("ParamRef")
        if parameter is not None:
            number = parameter.get("number", 0)
            counts[number] = counts.get(number, 0) + 1
    return counts


def literal_of(node: Node) -> tuple[int, int, str | None] | None:
    """Location, parameter's number and text (of what is no literal of the scanner's) of a constant, through casts."""
    while "TypeCast" in node or "CollateClause" in node:
        node = (node.get("TypeCast") or node.get("CollateClause") or {}).get("arg", {})
    if "ParamRef" in node:
        return -1, node["ParamRef"].get("number", 0), None
    if "A_ArrayExpr" in node and not node["A_ArrayExpr"].get("elements"):
        return -1, 0, EMPTY_ARRAY
    constant = node.get("A_Const")
    if constant is None or constant.get("isnull"):
        return None
    if "boolval" in constant:
        return -1, 0, "true" if constant["boolval"].get("boolval") else "false"
    return constant.get("location", 0), 0, None


def _changes(tree: Node) -> Iterator[tuple[str, Node]]:
    for node in nodes(tree):
        for kind in _KINDS.intersection(node):
            yield kind, node[kind]


def _written(kind: str, body: Node, find: Find, labelled: frozenset[Source], sources: _Sources) -> Iterator[Constant]:
    target = body.get("relation", {})
    meant = find(target.get("schemaname"), target.get("relname", ""))
    shown = _shown_again(body.get("onConflictClause", {}))
    for relation in meant:
        numbers = {column.name: column.number for column in relation.columns}
        order = [column.name for column in relation.columns]
        for name, value, is_alone in assignments(kind, body, order):
            source = (relation.oid, numbers.get(name, -1))
            if source not in labelled:
                continue
            is_whole = is_alone and len(meant) == 1 and is_uncut(value) and shown.isdisjoint((name, "*"))
            for one, is_direct in sources.values(value):
                constant = literal_of(one)
                if constant is not None:
                    location, number, text = constant
                    yield Constant(location, number, source, is_written=True, is_whole=is_whole and is_direct, text=text)


def _shown_again(conflict: Node) -> frozenset[str]:
    """Columns of `excluded` that ON CONFLICT uses otherwise than to write them into the column of that name (`*`: any)."""
    found: set[str] = set()
    own: set[int] = set()
    for item in conflict.get("targetList", ()):
        target = item.get("ResTarget", {})
        reference = target.get("val", {}).get("ColumnRef")
        if reference is not None and "indirection" not in target and _names(reference) == ("excluded", target.get("name")):
            own.add(id(reference))
    for node in nodes(conflict):
        reference = node.get("ColumnRef")
        if reference is None or id(reference) in own:
            continue
        names = _names(reference)
        if names[0] == "excluded" or "excluded" in names[:-1] or names == ("*",):
            found.add(names[1] if len(names) == 2 else "*")
    return frozenset(found)


def _names(reference: Node) -> tuple[str, ...]:
    return tuple("*" if "A_Star" in field else field.get("String", {}).get("sval", "") for field in reference["fields"])


def assignments(kind: str, body: Node, order: Sequence[Name]) -> Iterator[tuple[str | Name, Node, bool]]:
    """(column, value, whether nothing else is done with it) of everything that a statement writes."""
    if kind == "InsertStmt":
        names: Sequence[str | Name] = [
            item["ResTarget"].get("name", "") for item in body["cols"]] if "cols" in body else order
        is_plain = not any("indirection" in item["ResTarget"] for item in body.get("cols", ()))
        select = body.get("selectStmt", {}).get("SelectStmt", {})
        for part in parts(select):
            is_alone = is_plain and part is select and ("targetList" in part or _ONE_ROW.issuperset(part))
            for row in rows(part):
                yield from ((name, value, is_alone) for name, value in zip(names, row, strict=False))
        yield from _set(body.get("onConflictClause", {}).get("targetList", ()))
    elif kind == "UpdateStmt":
        yield from _set(body.get("targetList", ()))
    else:
        for item in body.get("mergeWhenClauses", ()):
            clause = item.get("MergeWhenClause", {})
            if "values" in clause:
                columns = [one["ResTarget"] for one in clause.get("targetList", ())]
                is_plain = not any("indirection" in column for column in columns)
                names = [column.get("name", "") for column in columns] or order
                yield from ((name, value, is_plain) for name, value in zip(names, clause["values"], strict=False))
            else:
                yield from _set(clause.get("targetList", ()))


def _set(items: Sequence[Node]) -> Iterator[tuple[str, Node, bool]]:
    for item in items:
        target = item.get("ResTarget", {})
        name, value = target.get("name", ""), target.get("val", {})
        several = value.get("MultiAssignRef")
        if several is None:
            yield name, value, "indirection" not in target
            continue
        position = several.get("colno", 1) - 1
        source = several.get("source", {})
        lists = [source["RowExpr"].get("args", [])] if "RowExpr" in source else [
            row for part in parts(source.get("SubLink", {}).get("subselect", {}).get("SelectStmt", {})) for row in rows(part)]
        for row in lists:
            if position < len(row):
                yield name, row[position], False


def parts(select: Node) -> Iterator[Node]:
    """A SELECT and those that it is the union (and the like) of."""
    stack = [select]
    while stack:
        one = stack.pop()
        yield one
        stack += [one[side] for side in ("rarg", "larg") if side in one]


def rows(select: Node) -> Iterator[list[Node]]:
    """The rows of VALUES, or the one list of a SELECT."""
    for row in select.get("valuesLists", ()):
        yield row.get("List", {}).get("items", [])
    if "targetList" in select:
        yield [item.get("ResTarget", {}).get("val", {}) for item in select["targetList"]]


def choices(node: Node) -> list[Node]:
    """The expressions of which a COALESCE or CASE gives one."""
    if "CoalesceExpr" in node:
        return list(node["CoalesceExpr"].get("args", ()))
    case = node.get("CaseExpr")
    return [] if case is None else [
        *(one.get("CaseWhen", {}).get("result", {}) for one in case.get("args", ())), case.get("defresult", {})]


class _Sources:
    """What the columns of a statement's sub-selects may hold, by the column's name alone: more than they do."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self._by_name: dict[str, list[Node]] | None = None
        self._left = _MOST_SOURCES

    def values(self, node: Node) -> Iterator[tuple[Node, bool]]:
        """The expression itself (True), and where it is a column those that it may stand for."""
        yield node, True
        seen: set[str] = set()
        stack = [node]
        while stack:
            one = stack.pop()
            for inner in _inside(one):
                if not isinstance(inner, str):
                    yield inner, False
                    stack.append(inner)
                elif inner not in seen:
                    seen.add(inner)
                    found = self._named().get(inner, ())
                    self._left -= len(found)
                    if self._left >= 0:
                        stack += found
                        yield from ((value, False) for value in found)

    def _named(self) -> dict[str, list[Node]]:
        if self._by_name is None:
            self._by_name = {}
            for node in nodes(self._tree):
                if "RangeSubselect" in node:
                    self._note(node["RangeSubselect"].get("subquery", {}), node["RangeSubselect"].get("alias", {}).get("colnames"))
                elif "CommonTableExpr" in node:
                    self._note(node["CommonTableExpr"].get("ctequery", {}), node["CommonTableExpr"].get("aliascolnames"))
        return self._by_name

    def _note(self, query: Node, names: Sequence[Node] | None) -> None:
        assert self._by_name is not None
        given = [name.get("String", {}).get("sval", "") for name in names or ()]
        for part in parts(query.get("SelectStmt", {})):
            own = [_column_name(item.get("ResTarget", {})) for item in part.get("targetList", ())]
            for row in rows(part):
                for index, value in enumerate(row):
                    name = given[index] if index < len(given) else own[index] if index < len(own) else f"column{index + 1}"
                    self._by_name.setdefault(name, []).append(value)


def _inside(node: Node) -> list[Node | str]:
    """What may be the value of an expression that computes nothing: a column's name, the choices of a COALESCE or CASE,
    the columns of a sub-select."""
    while "TypeCast" in node or "CollateClause" in node:
        node = (node.get("TypeCast") or node.get("CollateClause") or {}).get("arg", {})
    if "ColumnRef" in node:
        return [_names(node["ColumnRef"])[-1]]
    found = choices(node)
    if found:
        return [*found]
    if "SubLink" in node and node["SubLink"].get("subLinkType") == "EXPR_SUBLINK":
        select = node["SubLink"].get("subselect", {}).get("SelectStmt", {})
        return [value for part in parts(select) for row in rows(part) for value in row[:1]]
    return []


def _column_name(target: Node) -> str:
    if "name" in target:
        return str(target["name"])
    reference = target.get("val", {}).get("ColumnRef")
    return _names(reference)[-1] if reference is not None else "?column?"
