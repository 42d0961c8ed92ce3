"""Does a WHERE restrict anything? Folding of constant conditions.

Kept apart from `reading` because it is a judgement about meaning, not about structure. It errs on
the side of calling a condition a tautology: one that names no column cannot restrict by row.

Equal expressions are found by number: each part of a condition gets one, once, and equal parts get the
same. So a condition costs its size, however deep and however often its parts are compared.
"""

from __future__ import annotations

from typing import Any, Final

from lockgate.analysis.sql.parser import nodes

Node = dict[str, Any]

_TRUE: Final = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE: Final = frozenset(("f", "false", "n", "no", "off", "0"))
_REFLEXIVE: Final = {"=": True, "<=": True, ">=": True, "~~": True, "~~*": True, "<>": False, "<": False, ">": False}


def is_tautology(condition: Node | None) -> bool:
    """Whether the condition is true for every row (apart from NULLs), or depends on no row at all."""
    if condition is None:
        return True
    folded = _Folding().fold(condition)
    return folded is True or (folded is None and not depends_on_row(condition))


def depends_on_row(condition: Any) -> bool:
    """Whether a column, or a sub-select that reads a relation, occurs anywhere in the condition."""
    return any("ColumnRef" in node or "RangeVar" in node or "CurrentOfExpr" in node for node in nodes(condition))


class _Folding:
    """Of one condition. Its parts are numbered as they are compared; they live as long as this."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}              # by identity of the part
        self._known: dict[tuple[object, ...], int] = {}

    def fold(self, node: Node) -> bool | None:
        """True or False where the condition is so for every row (NULLs apart), None where it is not known."""
        kind, body = _opened(node)
        if kind == "A_Const":
            return _truth(body)
        if kind == "TypeCast":
            return self.fold(body.get("arg", {}))
        if kind == "BoolExpr":
            return self._boolean(body)
        if kind == "A_Expr":
            return self._comparison(body)
        if kind == "BooleanTest":
            return self._boolean_test(body)
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
            return self.fold(body["args"][0])
        return None

    def _boolean(self, body: Node) -> bool | None:
        args = body.get("args", [])
        parts = [self.fold(part) for part in args]
        operator = body.get("boolop")
        if operator == "NOT_EXPR":
            return None if parts[0] is None else not parts[0]
        if operator == "AND_EXPR":
            return False if False in parts else (True if all(parts) else None)
        if True in parts:
            return True
        if all(part is False for part in parts):
            return False
        return True if self._complementary(args) else None

    def _complementary(self, parts: list[Node]) -> bool:
        """`x OR NOT x`, `x IS NULL OR x IS NOT NULL`, `a = 1 OR a <> 1`."""
        opposites = []
        for part in parts:
            kind, body = _opened(part)
            if kind == "BoolExpr" and body.get("boolop") == "NOT_EXPR":
                opposites.append(self._number(body["args"][0]))
            elif kind == "NullTest" and body.get("nulltesttype") == "IS_NOT_NULL":
                opposites.append(self._numbered(self._null_test(body, "IS_NULL")))
            elif kind == "A_Expr" and _operator(body) == "<>":
                opposites.append(self._numbered(self._expression(body, ("=",))))
        return bool(opposites) and not {self._number(part) for part in parts}.isdisjoint(opposites)

    def _boolean_test(self, body: Node) -> bool | None:
        value = self.fold(body.get("arg", {}))
        if value is None:
            return None
        kind = body.get("booltesttype", "")
        if kind in ("IS_TRUE", "IS_NOT_FALSE"):
            return value
        if kind in ("IS_FALSE", "IS_NOT_TRUE"):
            return not value
        return bool(kind == "IS_NOT_UNKNOWN")

    def _comparison(self, body: Node) -> bool | None:
        kind = body.get("kind")
        left, right = body.get("lexpr"), body.get("rexpr")
        if left is None or right is None:
            return None
        if kind == "AEXPR_OP" and "ColumnRef" in left and "A_Const" in right:
            return None                                 # what most conditions are made of
        operator = _operator(body)
        if kind in ("AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE"):
            one, two = _constant(left), _constant(right)
            if kind != "AEXPR_OP":
                return True if operator in ("~~", "~~*") and two is not None and set(str(two[1])) == {"%"} else \
                    (_REFLEXIVE.get(operator) if self._equal(left, right) else None)
            if one is not None and two is not None:
                return _compare(operator, one, two)
            return _REFLEXIVE.get(operator) if self._same(left, right) else None
        if kind in ("AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT") and self._equal(left, right):
            return bool(kind == "AEXPR_NOT_DISTINCT")
        if kind in ("AEXPR_IN", "AEXPR_BETWEEN"):
            items = right.get("List", {}).get("items", ())
            return self._among(operator, left, items) if kind == "AEXPR_IN" else self._between(left, items)
        return None

    def _among(self, operator: str, left: Node, items: list[Node]) -> bool | None:
        if any(self._equal(left, item) for item in items):
            return operator == "="
        one = _constant(left)
        others = [_constant(item) for item in items]
        if one is not None and all(other is not None for other in others):
            return (one in others) == (operator == "=")
        return None

    def _between(self, left: Node, bounds: list[Node]) -> bool | None:
        one = _constant(left)
        low, high = ([_constant(item) for item in bounds] + [None, None])[:2]
        if one is not None and low is not None and high is not None:
            above, below = _compare(">=", one, low), _compare("<=", one, high)
            return None if above is None or below is None else above and below
        return True if all(self._equal(left, item) for item in bounds) else None

    # ---------------------------------------------------------------- equality

    def _same(self, left: Node, right: Node) -> bool:
        """Equal expressions; a column equals itself whether it is qualified on one side or not."""
        if self._equal(left, right):
            return True
        if "ColumnRef" in left and "ColumnRef" in right:
            fields, others = left["ColumnRef"].get("fields", []), right["ColumnRef"].get("fields", [])
            return bool(fields and others and fields[-1] == others[-1] and 1 in (len(fields), len(others)))
        return False

    def _equal(self, left: Node, right: Node) -> bool:
        """Whether the trees are the same apart from positions."""
        return left.keys() == right.keys() and self._number(left) == self._number(right)

    def _number(self, value: Any) -> int:
        known = self._numbers.get(id(value))
        if known is not None:
            return known
        if type(value) is dict:
            found = self._numbered(self._content(value))
        elif type(value) is list:
            found = self._numbered(("[", *[self._number(child) for child in value]))
        else:
            return self._numbered((type(value), value))     # equal scalars are not always one object
        self._numbers[id(value)] = found
        return found

    def _numbered(self, content: tuple[object, ...]) -> int:
        return self._known.setdefault(content, len(self._known))

    def _content(self, node: Node) -> tuple[object, ...]:
        """Equal for equal nodes. What conditions are made of is taken apart here, the rest field by field."""
        kind, body = _opened(node)
        if kind == "ColumnRef":
            return (kind, *_names(body.get("fields")))
        if kind == "A_Const":
            return (kind, *[(name, *value.items()) if type(value) is dict else (name, value)
                            for name, value in body.items() if name != "location"])
        if kind == "A_Expr":
            return self._expression(body, _names(body.get("name")))
        if kind == "NullTest":
            return self._null_test(body, body.get("nulltesttype"))
        return ("{", *[(name, self._number(child)) for name, child in node.items() if name != "location"])

    def _expression(self, body: Node, operator: tuple[str, ...]) -> tuple[object, ...]:
        return ("A_Expr", body.get("kind"), operator, self._operand(body.get("lexpr")), self._operand(body.get("rexpr")))

    def _operand(self, node: Node | None) -> object:
        """A column or constant as it is, which is quicker than giving it a number; of anything else the number."""
        if node is not None and ("ColumnRef" in node or "A_Const" in node):
            return self._content(node)
        return self._number(node)

    def _null_test(self, body: Node, test: str | None) -> tuple[object, ...]:
        return ("NullTest", test, body.get("argisrow"), self._number(body.get("arg")))


def _opened(node: Node) -> tuple[str, Node]:
    """The node's name and its fields."""
    for kind, body in node.items():
        return kind, body
    return "", {}


def _names(items: list[Node] | None) -> tuple[str, ...]:
    """Of a dotted name; a star is empty."""
    return tuple([item.get("String", {}).get("sval", "") for item in items or ()])


def _operator(body: Node) -> str:
    names = body.get("name") or [{}]
    return str(names[-1].get("String", {}).get("sval", ""))


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
