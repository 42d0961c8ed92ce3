"""Does a WHERE restrict anything? Folding of constant conditions.

Kept apart from `reading` because it is a judgement about meaning, not about structure. It errs on
the side of calling a condition a tautology: one that names no column cannot restrict by row.
"""

from __future__ import annotations

import json
from typing import Any, Final

Node = dict[str, Any]

_TRUE: Final = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE: Final = frozenset(("f", "false", "n", "no", "off", "0"))
_REFLEXIVE: Final = {"=": True, "<=": True, ">=": True, "~~": True, "~~*": True, "<>": False, "<": False, ">": False}


def is_tautology(condition: Node | None) -> bool:
    """Whether the condition is true for every row (apart from NULLs), or depends on no row at all."""
    if condition is None:
        return True
    folded = fold(condition)
    return folded is True or (folded is None and not depends_on_row(condition))


def depends_on_row(condition: Any) -> bool:
    """Whether a column, or a sub-select that reads a relation, occurs anywhere in the condition."""
    stack = [condition]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            if "ColumnRef" in value or "RangeVar" in value or "CurrentOfExpr" in value:
                return True
            stack.extend(value.values())
        elif type(value) is list:
            stack.extend(value)
    return False


def fold(node: Node) -> bool | None:
    """True or False where the condition is so for every row (NULLs apart), None where it is not known."""
    kind, body = _opened(node)
    if kind == "A_Const":
        return _truth(body)
    if kind == "TypeCast":
        return fold(body.get("arg", {}))
    if kind == "BoolExpr":
        return _fold_boolean(body)
    if kind == "A_Expr":
        return _fold_operator(body)
    if kind == "BooleanTest":
        return _fold_boolean_test(body)
    if kind == "NullTest":
        argument = body.get("arg", {})
        if _constant(argument) is not None:
            return bool(body.get("nulltesttype") == "IS_NOT_NULL")
        return None
    if kind == "SubLink" and body.get("subLinkType") == "EXISTS_SUBLINK":
        select = body.get("subselect", {}).get("SelectStmt", {})
        if not select.get("fromClause") and not select.get("whereClause") and not select.get("limitCount"):
            return True
    if kind == "CoalesceExpr" and body.get("args"):
        return fold(body["args"][0])
    return None


def _opened(node: Node) -> tuple[str, Node]:
    """The node's name and its fields."""
    for kind, body in node.items():
        return kind, body
    return "", {}


def _fold_boolean(body: Node) -> bool | None:
    parts = [fold(part) for part in body.get("args", ())]
    operator = body.get("boolop")
    if operator == "NOT_EXPR":
        return None if parts[0] is None else not parts[0]
    if operator == "AND_EXPR":
        return False if False in parts else (True if all(parts) else None)
    if True in parts:
        return True
    if all(part is False for part in parts):
        return False
    return True if _complementary(body.get("args", [])) else None


def _complementary(parts: list[Node]) -> bool:
    """`x OR NOT x`, `x IS NULL OR x IS NOT NULL`, `a = 1 OR a <> 1`."""
    bare = [_bare(part) for part in parts]
    known = {_written(part) for part in bare}       # looked up by text: a list would make this quadratic
    for part in bare:
        kind, body = _opened(part)
        if kind == "BoolExpr" and body.get("boolop") == "NOT_EXPR":
            opposite = body["args"][0]
        elif kind == "NullTest":
            other = "IS_NULL" if body.get("nulltesttype") == "IS_NOT_NULL" else "IS_NOT_NULL"
            opposite = {kind: {**body, "nulltesttype": other}}
        elif kind == "A_Expr" and _operator(body) == "=":
            opposite = {kind: {**body, "name": [{"String": {"sval": "<>"}}]}}
        else:
            continue
        if _written(opposite) in known:
            return True
    return False


def _written(part: Node) -> str:
    """One text for equal trees."""
    return json.dumps(part, sort_keys=True)


def _fold_boolean_test(body: Node) -> bool | None:
    value = fold(body.get("arg", {}))
    if value is None:
        return None
    kind = body.get("booltesttype", "")
    if kind in ("IS_TRUE", "IS_NOT_FALSE"):
        return value
    if kind in ("IS_FALSE", "IS_NOT_TRUE"):
        return not value
    return bool(kind == "IS_NOT_UNKNOWN")


def _operator(body: Node) -> str:
    names = body.get("name") or [{}]
    return str(names[-1].get("String", {}).get("sval", ""))


def _fold_operator(body: Node) -> bool | None:
    kind = body.get("kind")
    left, right = body.get("lexpr"), body.get("rexpr")
    if left is None or right is None:
        return None
    operator = _operator(body)
    if kind in ("AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE"):
        one, two = _constant(left), _constant(right)
        if kind != "AEXPR_OP":
            return True if operator in ("~~", "~~*") and two is not None and set(str(two[1])) == {"%"} else \
                (_REFLEXIVE.get(operator) if _bare(left) == _bare(right) else None)
        if one is not None and two is not None:
            return _compare(operator, one, two)
        return _REFLEXIVE.get(operator) if _same(left, right) else None
    if kind == "AEXPR_NOT_DISTINCT" and _bare(left) == _bare(right):
        return True
    if kind == "AEXPR_DISTINCT" and _bare(left) == _bare(right):
        return False
    if kind == "AEXPR_IN":
        items = right.get("List", {}).get("items", ())
        if any(_bare(left) == _bare(item) for item in items):
            return operator == "="
        one = _constant(left)
        others = [_constant(item) for item in items]
        if one is not None and all(other is not None for other in others):
            return (one in others) == (operator == "=")
    if kind == "AEXPR_BETWEEN":
        one = _constant(left)
        low, high = ([_constant(item) for item in right.get("List", {}).get("items", ())] + [None, None])[:2]
        if one is not None and low is not None and high is not None:
            above, below = _compare(">=", one, low), _compare("<=", one, high)
            return None if above is None or below is None else above and below
        if all(_bare(left) == _bare(item) for item in right.get("List", {}).get("items", ())):
            return True
    return None


def _same(left: Node, right: Node) -> bool:
    """Equal expressions; a column equals itself whether it is qualified on one side or not."""
    one, two = _bare(left), _bare(right)
    if one == two:
        return True
    if "ColumnRef" in one and "ColumnRef" in two:
        fields, others = one["ColumnRef"].get("fields", []), two["ColumnRef"].get("fields", [])
        return bool(fields and others and fields[-1] == others[-1] and 1 in (len(fields), len(others)))
    return False


def _constant(node: Node) -> tuple[str, Any] | None:
    """Kind and value of a literal that is not NULL, through casts; None for anything else."""
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    body = node.get("A_Const")
    if body is None or body.get("isnull"):
        return None
    if "ival" in body:
        return ("number", float(body["ival"].get("ival", 0)))
    if "fval" in body:
        try:
            return ("number", float(body["fval"].get("fval", "0").replace("_", "")))
        except ValueError:
            return ("text", body["fval"].get("fval", ""))
    if "boolval" in body:
        return ("bool", bool(body["boolval"].get("boolval", False)))
    if "sval" in body:
        return ("text", body["sval"].get("sval", ""))
    return ("bits", body.get("bsval", {}).get("bsval", ""))


def _compare(operator: str, one: tuple[str, Any], two: tuple[str, Any]) -> bool | None:
    if one[0] != two[0]:
        try:                                    # '1' = 1 compares as numbers
            one, two = ("number", float(one[1])), ("number", float(two[1]))
        except (TypeError, ValueError):
            return None
    left, right = one[1], two[1]
    if operator == "=":
        return bool(left == right)
    if operator in ("<>", "!="):
        return bool(left != right)
    if operator == "<":
        return bool(left < right)
    if operator == ">":
        return bool(left > right)
    if operator == "<=":
        return bool(left <= right)
    if operator == ">=":
        return bool(left >= right)
    return None


def _truth(body: Node) -> bool | None:
    if body.get("isnull"):
        return False                            # WHERE NULL keeps no row
    if "boolval" in body:
        return bool(body["boolval"].get("boolval", False))
    if "sval" in body:
        word = body["sval"].get("sval", "").strip().lower()
        return True if word in _TRUE else (False if word in _FALSE else None)
    if "ival" in body:
        return bool(body["ival"].get("ival", 0) != 0)
    return None


def _bare(value: Any) -> Any:
    """The same tree without positions."""
    if type(value) is dict:
        return {key: _bare(child) for key, child in value.items() if key != "location"}
    if type(value) is list:
        return [_bare(child) for child in value]
    return value
