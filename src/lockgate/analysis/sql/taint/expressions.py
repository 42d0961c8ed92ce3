"""Expressions: what a value depends on is the union over everything inside.

No node needs to be known for that: whatever is not a name, a sub-select or a call is gone through. Only what
binds names in a place where none is expected ends the analysis. The walk has a stack of its own, so that a
long chain of operators costs memory and not the C stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.analysis.sql.builtin_names import VOLATILE
from lockgate.analysis.sql.functions import is_builtin
from lockgate.analysis.sql.taint.equality import constants_of, is_equality
from lockgate.analysis.sql.taint.relations import InSession, Relations
from lockgate.analysis.sql.taint.result import NOTHING, Equality, Sources
from lockgate.analysis.sql.taint.rows import Column, Value, union
from lockgate.analysis.sql.taint.scope import Names, Node, Scope, Top

_SKIPPED: Final = frozenset((
    "A_Const", "ParamRef", "SetToDefault", "SQLValueFunction", "CurrentOfExpr", "MergeSupportFunc", "A_Star", "String",
    "typeName", "TypeName",         # a type's modifiers are parsed like columns
    "GroupingFunc",                 # says which grouping a row is of, not what is in it
))
_BINDING: Final = frozenset((
    "SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "RangeVar", "RangeSubselect", "RangeFunction",
    "RangeTableFunc", "RangeTableSample", "JsonTable", "JoinExpr", "CommonTableExpr", "WithClause", "withClause",
    "subselect", "subquery",
))


class Expressions(Names):
    """Values and conditions. Queries are left to a class below (`query`)."""

    def __init__(self, relations: Relations, in_session: InSession | None) -> None:
        super().__init__()
        self.relations = relations
        self.in_session = in_session
        self.sublinks: dict[int, str | None] = {}       # names of scalar sub-selects' columns, for `naming`

    def may_be_function(self, name: str) -> bool:
        return is_builtin(name) or name in self.relations.catalogue.functions

    def query(self, select: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> list[Column]:
        """The columns of a SelectStmt's body."""
        raise NotImplementedError

    # ---------------------------------------------------------------- values

    def value(self, node: Node, scope: Scope) -> Value:
        """What an expression depends on, and the column whose value it is."""
        while "CollateClause" in node:
            node = node["CollateClause"]["arg"]
        if "ColumnRef" in node:
            found = self.column(node["ColumnRef"], scope)
        elif "SubLink" in node:
            found = self.sublink(node["SubLink"], scope)
        elif "A_Indirection" in node:
            found = self._part(node["A_Indirection"], scope)
        else:
            found = self.sources(node, scope), None
        if found[0] and found[1] is None:
            self.computed |= found[0]
        return found

    def sources(self, node: Any, scope: Scope) -> Sources:
        """What an expression, or a list of them, depends on."""
        found = NOTHING
        stack = [node]
        visited = 0
        actions = _ACTIONS
        while stack:
            value = stack.pop()
            visited += 1
            if type(value) is list:
                stack += value
                continue
            for key, child in value.items():
                if type(child) is dict:
                    action = actions.get(key)
                    if action is None:
                        stack.append(child)
                    else:
                        part = action(self, child, scope, stack)
                        if part:
                            found |= part
                elif type(child) is list and key != "name":
                    stack.append(child)
        self.spend(visited)
        return found

    def _reference(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        return self.column(node, scope)[0]

    def _skip(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        return NOTHING

    def _bind(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        raise Top("names are bound where an expression is expected")

    def _call(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        name = node["funcname"][-1]["String"]["sval"]
        arguments = node.get("args", [])
        is_set, has_effect = self.relations.may_return_set(name), name in VOLATILE
        if not is_set and not has_effect and "agg_filter" not in node and "over" not in node and "agg_order" not in node:
            stack.append(arguments)
            return NOTHING
        since = len(self.mentions)
        found = self.sources(arguments, scope)
        if found and is_set:
            self.control("rows", found, since, node.get("location", 0))
        if found and has_effect:                        # advisory locks, sequences, sleeping: others can tell
            self.control("effect", found, since, node.get("location", 0))
        return found | self._aggregate(node, scope, [])

    def _aggregate(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        """The clauses of an aggregate or window function, in a FuncCall or a JSON aggregate's constructor."""
        found = NOTHING
        if "agg_within_group" in node:
            found |= self.sources(node["agg_order"], scope)         # the aggregate's argument
        elif "agg_order" in node:
            found |= self.decides("order", node["agg_order"], scope)
        if "agg_filter" in node:
            found |= self.decides("filter", node["agg_filter"], scope)
        if "over" in node:
            found |= self.window(node["over"], scope)
        return found

    def window(self, node: Node, scope: Scope) -> Sources:
        """What a window depends on: its own clauses and those of the window that it refers to."""
        found = NOTHING
        for key in ("partitionClause", "orderClause", "startOffset", "endOffset"):
            if key in node:
                found |= self.decides("window", node[key], scope)
        for key in ("refname", "name"):
            found |= scope.windows.get(node.get(key, ""), NOTHING)
        return found

    def _indirection(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        return self._part(node, scope)[0]

    def _part(self, node: Node, scope: Scope) -> Value:
        """`(row).field`, `array[index]`."""
        argument, steps = node["arg"], node.get("indirection", [])
        indices = self.sources([step for step in steps if "A_Indices" in step], scope)
        if "ColumnRef" in argument and steps and "String" in steps[0]:
            sources, direct = self.field(argument["ColumnRef"], steps[0]["String"]["sval"], scope)
            return sources | indices, direct if len(steps) == 1 else None
        return self.sources(argument, scope) | indices, None

    # ---------------------------------------------------------------- sub-selects

    def sublink(self, node: Node, scope: Scope) -> Value:
        """A sub-select in an expression. Of EXISTS only the rows count, and what decides on them is noted there."""
        since = len(self.mentions)
        columns = self.query(node["subselect"]["SelectStmt"], scope, scope.ctes)
        kind = node.get("subLinkType")
        if kind == "EXISTS_SUBLINK":
            return NOTHING, None
        found = union(columns)
        if kind == "EXPR_SUBLINK":
            is_known = len(columns) == 1 and columns[0][0] is not None
            self.sublinks[id(node)] = columns[0][0] if is_known else None
            return found, columns[0][2] if is_known else None
        if kind != "ARRAY_SUBLINK":
            if "testexpr" in node:
                found |= self.sources(node["testexpr"], scope)
            if found:
                self.control("in", found, since, node.get("location", 0))
        return found, None

    def _sublink(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        return self.sublink(node, scope)[0]

    def _json_query(self, node: Node, scope: Scope, stack: list[Any]) -> Sources:
        return union(self.query(node["query"]["SelectStmt"], scope, scope.ctes))

    # ---------------------------------------------------------------- what decides on rows

    def decides(self, where: str, node: Any, scope: Scope) -> Sources:
        """Notes that rows depend on an expression or a list of them."""
        since = len(self.mentions)
        found = self.sources(node, scope)
        if found:
            self.control(where, found, since)
        return found

    def condition(self, where: str, node: Node, scope: Scope) -> None:
        """A WHERE or ON: equalities with constants apart, the rest as controls."""
        parts = [node]
        while parts:
            part = parts.pop()
            junction = part.get("BoolExpr")
            if junction is not None and junction.get("boolop") == "AND_EXPR":
                parts += reversed(junction["args"])
                continue
            comparison = part.get("A_Expr")
            if comparison is None or not is_equality(comparison) or not self._compared(where, comparison, scope):
                self.decides(where, part, scope)

    def _compared(self, where: str, comparison: Node, scope: Scope) -> bool:
        """An equality with a column on one side; False where there is none, and nothing was done."""
        kind = comparison["kind"]
        left, right = comparison.get("lexpr", {}), comparison.get("rexpr", {})
        if kind == "AEXPR_OP" and "ColumnRef" not in left:
            left, right = right, left
        if "ColumnRef" not in left:
            return False
        since = len(self.mentions)
        sources, direct = self.column(left["ColumnRef"], scope)
        if direct is not None:
            self.spend(10 + 8 * len(right.get("List", {}).get("items", ())))
            constants = constants_of(right, kind)
            if constants is not None:
                for source in sources:
                    self.equalities[Equality(source, comparison.get("location", 0), constants,
                                             left["ColumnRef"].get("location", 0))] = None
                return True
        found = sources | self.sources(right, scope)
        if found:
            self.control(where, found, since)
        return True


_Action = Callable[[Expressions, Node, Scope, list[Any]], Sources]
_ACTIONS: Final[dict[str, _Action]] = {
    "ColumnRef": Expressions._reference,
    "FuncCall": Expressions._call,
    "SubLink": Expressions._sublink,
    "A_Indirection": Expressions._indirection,
    "JsonArrayQueryConstructor": Expressions._json_query,
    "constructor": Expressions._aggregate,
    **dict.fromkeys(_SKIPPED, Expressions._skip),
    **dict.fromkeys(_BINDING, Expressions._bind),
}
