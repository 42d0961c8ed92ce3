"""The constant side of `column = constant`: what an agent may look a protected value up by.

Apart from `expressions` because it asks for a form and not for a dependence. Casts of a constant are one;
an expression of constants is not.
"""

from __future__ import annotations

from typing import Any, Final

from lockgate.analysis.sql.taint.result import Constant

Node = dict[str, Any]

_WHOLE: Final = frozenset((("text",), ("pg_catalog", "text"), ("pg_catalog", "varchar"), ("varchar",)))
"""Types that hold a text of any length as it is. `session` says where a search path could give the bare names away."""
KINDS: Final = frozenset(("AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY"))


def is_equality(comparison: Node) -> bool:
    """Whether an A_Expr is `=`, `IN` or `= ANY` with the built-in operator's name."""
    if comparison.get("kind") not in KINDS:
        return False
    names = comparison.get("name") or [{}]
    if names[-1].get("String", {}).get("sval") != "=":
        return False
    return len(names) == 1 or names[-2].get("String", {}).get("sval") == "pg_catalog"


def constants_of(node: Node, kind: str) -> tuple[Constant, ...] | None:
    """The constants of the right side of a comparison; None where anything else is among them."""
    is_whole = True
    if kind == "AEXPR_OP":
        items, is_array = [node], False
    elif kind == "AEXPR_IN":
        items, is_array = node.get("List", {}).get("items", []), False
    elif "A_ArrayExpr" in _bare(node):
        items = _bare(node)["A_ArrayExpr"].get("elements", [])
        is_whole = "A_ArrayExpr" in node            # a cast of the array is one of each element
        # One element that is an array makes all of them arrays, and ANY compares with what is inside of them.
        is_array = any(_may_be_array(item) for item in items)
    else:
        items, is_array = [node], True
    found = []
    is_whole = is_whole and all(map(is_uncut, items))   # a list has one type, which each of them can decide
    for item in items:
        constant = _constant(item, is_array, is_whole=is_whole)
        if constant is None:
            return None
        found.append(constant)
    return tuple(found)


def _may_be_array(element: Node) -> bool:
    """Whether an element of ARRAY[…] may be an array by itself: one that is cast to an array, and a parameter that is
    not cast, whose type the client chooses. (The names of array types begin with an underscore.)"""
    cast = element.get("TypeCast")
    if cast is None:
        return "ParamRef" in element
    named = cast.get("typeName", {})
    names = named.get("names") or [{}]
    return bool(named.get("arrayBounds")) or names[-1].get("String", {}).get("sval", "_").startswith("_")


def _bare(node: Node) -> Node:
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    return node


def is_uncut(node: Node) -> bool:
    """Whether a constant is used with its whole value: it has no cast, or one to text or varchar of any length."""
    while "TypeCast" in node:
        named = node["TypeCast"].get("typeName", {})
        names = tuple(part.get("String", {}).get("sval") for part in named.get("names", ()))
        if names not in _WHOLE or "typmods" in named or "arrayBounds" in named or named.get("setof"):
            return False
        node = node["TypeCast"].get("arg", {})
    return "CollateClause" not in node


def _constant(node: Node, is_array: bool, *, is_whole: bool) -> Constant | None:
    bare = _bare(node)
    if "ParamRef" in bare:
        parameter = bare["ParamRef"]
        return Constant(parameter.get("location", 0), None, parameter.get("number", 0), is_array, is_whole)
    literal = bare.get("A_Const")
    if literal is None:
        return None
    return Constant(literal.get("location", 0), _text(literal), None, is_array, is_whole)


def _text(literal: Node) -> str | None:
    if literal.get("isnull"):
        return None
    if "sval" in literal:
        return str(literal["sval"].get("sval", ""))
    if "ival" in literal:
        return str(literal["ival"].get("ival", 0))
    if "boolval" in literal:
        return "true" if literal["boolval"].get("boolval") else "false"
    if "fval" in literal:
        return str(literal["fval"].get("fval", ""))
    return str(literal.get("bsval", {}).get("bsval", ""))
