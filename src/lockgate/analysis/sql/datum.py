"""Which constants of a statement are data: written into a row or shown as they are; and which are only compared.

Apart from `placement`, which follows constants to protected columns: here no column matters and no catalogue is
needed. Whoever would put another value in a constant's place has to know that nothing is decided by it: `DELETE … WHERE
n = 4111111111111111` with another number deletes another row. What is not surely data is not called so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockgate.analysis.sql.literals import literal_places
from lockgate.analysis.sql.parser import nodes, parse_trees
from lockgate.analysis.sql.placement import assignments, choices, literal_of, parts, rows

Node = dict[str, Any]

_AROUND: Final = ("ExplainStmt", "PrepareStmt", "DeclareCursorStmt", "CopyStmt", "CreateTableAsStmt")
_CHANGES: Final = frozenset(("InsertStmt", "UpdateStmt", "MergeStmt"))
_CONDITIONS: Final = ("whereClause", "joinCondition", "quals", "havingClause")
_MOST_COLUMNS: Final = 2_000
_KEPT: Final = frozenset("""
array_to_json btrim concat concat_ws format initcap json_build_array json_build_object jsonb_build_array
jsonb_build_object lower ltrim quote_literal quote_nullable rtrim to_json to_jsonb upper
""".split())
"""Functions that hand on what they are given."""


@dataclass(frozen=True, slots=True)
class Uses:
    """Literals (by their place among `literals`) and parameters (by number) of one kind."""

    literals: frozenset[int]
    parameters: frozenset[int]


@dataclass(frozen=True, slots=True)
class Data:
    """`data`: what is only written or shown; `compared`: what stands in conditions only. `columns`: where a literal or
    (with a minus) a parameter is a whole value that is written: the relation's schema and name, and the column's name or
    its place in the row."""

    data: Uses
    compared: Uses
    columns: dict[int, tuple[str | None, str, str | int]]


def data_of(text: str) -> Data:
    """Of a text that parsed before."""
    trees = parse_trees(text)
    places = literal_places(text)
    counts: dict[int, int] = {}
    for node in nodes(trees):
        if "ParamRef" in node:
            number = node["ParamRef"].get("number", 0)
            counts[number] = counts.get(number, 0) + 1
    data = _Found(places, counts)
    compared = _Found(places, counts)
    columns: dict[int, tuple[str | None, str, str | int]] = {}
    for tree in trees:
        for node in nodes(tree):
            for kind in _CHANGES.intersection(node):
                _note_columns(kind, node[kind], places, columns)
                for value in _written(kind, node[kind]):
                    data.add(value)
            for key in _CONDITIONS:
                if key in node:
                    compared.add_all(node[key])
        for value in _shown(tree.get("stmt", {})):
            data.add(value)
    return Data(data.uses(), compared.uses(), columns)


def settings_of(text: str) -> list[str]:
    """The texts that SET gives to parameters, which may be written as names."""
    return [constant["A_Const"]["sval"].get("sval", "") for node in nodes(parse_trees(text)) if "VariableSetStmt" in node
            for constant in nodes(node["VariableSetStmt"].get("args", ())) if "sval" in constant.get("A_Const", ())]


def _shown(statement: Node) -> Iterator[Node]:
    """The values of a statement's own result."""
    for kind in _AROUND:
        if kind in statement:
            statement = statement[kind].get("query", {})
    select = statement.get("SelectStmt")
    if select is not None and _keeps_rows(select):
        for part in parts(select):
            for row in rows(part):
                yield from row


def _written(kind: str, body: Node) -> Iterator[Node]:
    """The values that are only written. Those of an INSERT also decide, where rows that are there are looked for by them."""
    conflict = body.get("onConflictClause", {})
    inferred = [item.get("IndexElem", {}).get("name") for item in conflict.get("infer", {}).get("indexElems", ())]
    is_plain = not conflict or (bool(inferred) and None not in inferred and "cols" in body)
    own = [id(item.get("ResTarget", {}).get("val")) for item in conflict.get("targetList", ())]
    keeps_rows = _keeps_rows(body.get("selectStmt", {}).get("SelectStmt", {}))
    for name, value, _ in assignments(kind, body, range(_MOST_COLUMNS)):
        if id(value) in own or (keeps_rows and is_plain and name not in inferred):
            yield value


def _keeps_rows(select: Node) -> bool:
    return all(part.get("op", "SETOP_NONE") in ("SETOP_NONE", "SETOP_UNION") for part in parts(select))


def _note_columns(kind: str, body: Node, places: dict[int, int], columns: dict[int, tuple[str | None, str, str | int]]) -> None:
    target = body.get("relation", {})
    for name, value, _ in assignments(kind, body, range(_MOST_COLUMNS)):
        constant = literal_of(value) if "TypeCast" not in value else None
        if constant is None or constant[2] is not None:
            continue
        key = -constant[1] if constant[1] else places.get(constant[0])
        if key is not None:
            columns[key] = (target.get("schemaname"), target.get("relname", ""), name)


class _Found:
    """Constants that were found in places of one kind. A parameter counts where all its uses are."""

    def __init__(self, places: dict[int, int], counts: dict[int, int]) -> None:
        self._places = places
        self._counts = counts
        self._literals: set[int] = set()
        self._seen: set[int] = set()                # constants by identity: a place can be come to twice
        self._parameters: dict[int, int] = {}

    def add(self, value: Node) -> None:
        """A value, with what it is put together from without a decision."""
        stack = [value]
        while stack:
            node = stack.pop()
            if not self._note(node):
                stack += _pieces(node)

    def add_all(self, condition: Any) -> None:
        """Every constant inside."""
        for node in nodes(condition):
            self._note(node)

    def uses(self) -> Uses:
        """All that was found."""
        return Uses(frozenset(self._literals), frozenset(
            number for number, count in self._parameters.items() if count == self._counts.get(number)))

    def _note(self, node: Node) -> bool:
        constant = node.get("A_Const") or node.get("ParamRef")
        if constant is None:
            return False
        if id(constant) not in self._seen:
            self._seen.add(id(constant))
            if "ParamRef" in node:
                number = constant.get("number", 0)
                self._parameters[number] = self._parameters.get(number, 0) + 1
            elif constant.get("location", 0) in self._places:
                self._literals.add(self._places[constant.get("location", 0)])
        return True


def _pieces(node: Node) -> Sequence[Node]:
    found = choices(node)
    if found:
        return found
    if "TypeCast" in node or "CollateClause" in node:
        return [(node.get("TypeCast") or node.get("CollateClause") or {}).get("arg", {})]
    if "A_ArrayExpr" in node:
        return list(node["A_ArrayExpr"].get("elements", ()))
    if "RowExpr" in node:
        return list(node["RowExpr"].get("args", ()))
    if "FuncCall" in node:
        name = node["FuncCall"]["funcname"][-1].get("String", {}).get("sval", "")
        return list(node["FuncCall"].get("args", ())) if name in _KEPT else ()
    if "A_Expr" in node and node["A_Expr"].get("kind") == "AEXPR_OP" and [
            part.get("String", {}).get("sval") for part in node["A_Expr"].get("name", ())] == ["||"]:
        return [node["A_Expr"].get(side, {}) for side in ("lexpr", "rexpr")]
    return ()
