"""Queries: SELECT, VALUES, set operations and WITH.

Clauses are taken in the order in which the server analyses them, since each sees the names of those before.
ORDER BY and GROUP BY also take an output's name or number (`findTargetlistEntrySQL92` in PostgreSQL's
`parse_clause.c`). A recursive WITH query is gone through again until nothing is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lockgate.analysis.sql.taint.naming import name_of
from lockgate.analysis.sql.taint.ranges import Ranges, texts
from lockgate.analysis.sql.taint.result import NOTHING, Sources
from lockgate.analysis.sql.taint.rows import Column, Row, aligned, renamed, union
from lockgate.analysis.sql.taint.scope import Item, Node, Scope, Top

_CLAUSES: Final = frozenset((
    "distinctClause", "targetList", "fromClause", "whereClause", "groupClause", "groupDistinct", "havingClause",
    "windowClause", "valuesLists", "sortClause", "limitOffset", "limitCount", "limitOption", "lockingClause",
    "withClause", "intoClause", "op", "all", "larg", "rarg",
))
_CONSTANTS: Final = frozenset(("A_Const", "ParamRef", "SetToDefault"))


class Cte:
    """One query of a WITH. `columns` is None until they are known; while a recursive one is gone through they are
    what is known so far. `extra` are those of SEARCH and CYCLE, which `*` leaves out in all queries but `home`'s."""

    __slots__ = ("columns", "extra", "home", "is_done", "is_open", "node", "parent")

    def __init__(self, node: Node, parent: Scope | None, home: Mapping[str, Any]) -> None:
        self.node = node
        self.parent = parent
        self.home = home
        self.columns: list[Column] | None = None
        self.extra: list[Column] = []
        self.is_open = self.is_done = False


class Queries(Ranges):
    """Queries in every form."""

    into: Node | None = None
    """The INTO of the statement, which stands in the first arm of a set operation."""

    def change(self, kind: str, node: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> list[Column]:
        """The RETURNING columns of DML."""
        raise NotImplementedError

    def query(self, select: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> list[Column]:
        self.spend(1)
        for key in select:
            if key not in _CLAUSES:
                raise Top(f"{key} is not understood")
        clause = select.get("withClause")
        if clause is not None:
            ctes = self.with_clause(clause, parent, ctes)
        if select.get("op", "SETOP_NONE") != "SETOP_NONE":
            columns = self._set_operation(select, parent, ctes)
        elif "valuesLists" in select:
            columns = self._values(select["valuesLists"], Scope([], parent, ctes))
            self._ordered(select, columns, parent, ctes)
        else:
            columns = self._select(select, Scope([], parent, ctes, clause is not None))
        if "intoClause" in select:
            self.into = select["intoClause"]
        return columns

    # ---------------------------------------------------------------- SELECT

    def _select(self, select: Node, scope: Scope) -> list[Column]:
        if "fromClause" in select:
            self.from_clause(select["fromClause"], scope)
        if "windowClause" in select:
            for item in select["windowClause"]:
                window = item["WindowDef"]
                refers = {key: child for key, child in window.items() if key != "name"}
                scope.windows[window.get("name", "")] = self.window(refers, scope)
        columns = self.targets(select.get("targetList", ()), scope)
        if "whereClause" in select:
            self.condition("where", select["whereClause"], scope)
        if "groupClause" in select:
            self._sorted("group", select["groupClause"], columns, scope)
        if "havingClause" in select:
            self.decides("having", select["havingClause"], scope)
        if "distinctClause" in select:
            items = [item for item in select["distinctClause"] if item]
            if items:
                self._sorted("distinct", items, columns, scope)
            else:
                self.control("distinct", union(columns), 0)
        self._tail(select, columns, scope)
        return columns

    def _tail(self, select: Node, columns: list[Column], scope: Scope) -> None:
        """ORDER BY and LIMIT."""
        if "sortClause" in select:
            self._sorted("order", select["sortClause"], columns, scope)
        for key in ("limitCount", "limitOffset"):
            if key in select:
                self.decides("limit", select[key], scope)

    def targets(self, items: Sequence[Node], scope: Scope) -> list[Column]:
        """The columns of a select or RETURNING list."""
        columns: list[Column] = []
        for item in items:
            target = item["ResTarget"]
            node = target["val"]
            name = target.get("name")
            reference = node.get("ColumnRef")
            if reference is not None:
                if "A_Star" in reference["fields"][-1]:
                    self._star_target(reference, scope, columns)
                    continue
                known = len(self.mentions)
                sources, direct = self.value(node, scope)
                if name is None:
                    name = reference["fields"][-1]["String"]["sval"]
                    if len(self.mentions) > known:
                        self.outputs.add(reference.get("location", 0))
                columns.append((name, sources, direct))
                continue
            sources, direct = self.value(node, scope)
            if "A_Indirection" in node and "A_Star" in node["A_Indirection"]["indirection"][-1]:
                columns.append((None, sources, None))
                continue
            columns.append((name if name is not None else name_of(node, self.sublinks), sources, direct))
        return columns

    def _star_target(self, reference: Node, scope: Scope, columns: list[Column]) -> None:
        for item in self.star_items([field["String"]["sval"] for field in reference["fields"][:-1]], scope):
            self.spend(4 * len(item.row.columns))
            columns += item.row.columns
        if self.column(reference, scope)[0]:
            self.outputs.add(reference.get("location", 0))

    # ---------------------------------------------------------------- GROUP BY, ORDER BY, DISTINCT ON

    def _sorted(self, where: str, items: Sequence[Node], columns: list[Column], scope: Scope) -> None:
        stack = list(reversed(items))
        while stack:
            node = stack.pop()
            if "SortBy" in node:
                node = node["SortBy"]["node"]
            if "GroupingSet" in node:
                stack += reversed(node["GroupingSet"].get("content", []))
                continue
            if "RowExpr" in node and where == "group":
                stack += reversed(node["RowExpr"].get("args", []))
                continue
            since = len(self.mentions)
            found, location = self._sort_key(where, node, columns, scope)
            if found:
                self.control(where, found, since, location)

    def _sort_key(self, where: str, node: Node, columns: list[Column], scope: Scope) -> tuple[Sources, int]:
        """What one item depends on: an output's name or number, or an expression over the FROM."""
        constant = node.get("A_Const")
        if constant is not None:
            number = constant.get("ival", {}).get("ival", 0) if "ival" in constant else 0
            return self._numbered(number, columns), constant.get("location", -1)
        reference = node.get("ColumnRef")
        if reference is None or len(reference["fields"]) != 1 or "String" not in reference["fields"][0]:
            return self.sources(node, scope), -1
        name, location = reference["fields"][0]["String"]["sval"], reference.get("location", 0)
        outputs = [column for column in columns if column[0] == name]
        self.spend(len(columns))
        if where != "group" and outputs:
            return union(outputs), location
        local = self._lookup(name, Scope(scope.items, None, scope.ctes))
        is_certain = local is not None and not local[1]
        runs = [column for column in columns if column[0] is None]
        if (where == "group" and is_certain) or (not outputs and not runs):
            return self.sources(node, scope), location
        # an output's name, or one of the columns that are not known, or a column of the FROM
        return union(outputs) | union(runs) | (local[0][0] if local is not None else NOTHING), location

    @staticmethod
    def _numbered(number: int, columns: list[Column]) -> Sources:
        if any(column[0] is None for column in columns[:max(number, 0)]):
            return union(columns)
        return columns[number - 1][1] if 0 < number <= len(columns) else NOTHING

    # ---------------------------------------------------------------- VALUES, set operations

    def _values(self, lists: Sequence[Node], scope: Scope) -> list[Column]:
        rows: list[Column] | None = None
        first = lists[0]["List"]["items"]
        found = [NOTHING] * len(first)
        for row in lists:
            items = row["List"]["items"]
            for index, item in enumerate(items):
                if not _CONSTANTS.isdisjoint(item):
                    continue
                if ("ColumnRef" in item and "A_Star" in item["ColumnRef"]["fields"][-1]) or len(items) != len(found):
                    rows = rows or []
                    rows.append((None, self.sources(item, scope), None))
                    continue
                found[index] |= self.value(item, scope)[0]
        if rows is not None:                            # a star in a list: how many columns there are is not known
            whole = union(rows)
            for sources in found:
                whole |= sources
            return [(None, whole, None)]
        return [(f"column{index + 1}", sources, None) for index, sources in enumerate(found)]

    def _set_operation(self, select: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> list[Column]:
        arms: list[Node] = []
        node = select
        while True:                                     # a chain of UNIONs leans to the left
            arms.append(node)
            left = node["larg"]
            if left.get("op", "SETOP_NONE") == "SETOP_NONE" or not is_bare(left):
                break
            node = left
            self.spend(1)
        columns = self.query(arms[-1]["larg"], parent, ctes)
        for arm in reversed(arms):
            columns = self._combined(arm, columns, self.query(arm["rarg"], parent, ctes))
        self._ordered(select, columns, parent, ctes)
        return columns

    def _combined(self, select: Node, left: list[Column], right: list[Column]) -> list[Column]:
        """The columns of two arms. All but UNION ALL asks which rows are equal."""
        operation = select["op"]
        if operation != "SETOP_UNION" or not select.get("all"):
            both = union(left) | union(right)
            if both:
                self.control("setop", both, 0)
        if operation == "SETOP_EXCEPT" and len(left) == len(right):
            return left
        return aligned(left, right)

    def _ordered(self, select: Node, columns: list[Column], parent: Scope | None, ctes: Mapping[str, Any]) -> None:
        """ORDER BY and LIMIT of a set operation or VALUES see its columns and nothing else."""
        if not is_bare(select):
            self._tail(select, columns, Scope([Item(None, Row(columns))], parent, ctes))

    # ---------------------------------------------------------------- WITH

    def with_clause(self, clause: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> dict[str, Any]:
        """The WITH queries in reach after this clause."""
        reach = dict(ctes)
        found = [item["CommonTableExpr"] for item in clause["ctes"]]
        self.spend(len(reach) + len(found))
        if clause.get("recursive"):
            made = [Cte(node, parent, reach) for node in found]
            reach.update((cte.node["ctename"], cte) for cte in made)
            for cte in made:
                self._solve(cte, reach, is_recursive=True)
            return reach
        for node in found:
            cte = Cte(node, parent, reach)
            self._solve(cte, reach, is_recursive=False)
            reach[node["ctename"]] = cte
        return reach

    def with_row(self, cte: Cte, is_home: bool) -> Row:
        if not cte.is_done and not cte.is_open:
            self._solve(cte, cte.home, is_recursive=True)
        if cte.columns is None:
            raise Top(f'the WITH query "{cte.node["ctename"]}" refers to itself')
        if not cte.extra:
            return Row(cte.columns)
        row = Row([*cte.columns, *cte.extra])
        if not is_home:
            row.columns = cte.columns
        return row

    def _solve(self, cte: Cte, reach: Mapping[str, Any], *, is_recursive: bool) -> None:
        """Finds the columns of a WITH query."""
        if cte.is_done:
            return
        cte.is_open = is_recursive
        kind, body = next(iter(cte.node["ctequery"].items()))
        names = texts(cte.node.get("aliascolnames"))
        before = self.in_returning
        self.in_returning = False
        if kind != "SelectStmt":
            columns = self.change(kind, body, cte.parent, reach)
        elif is_recursive and body.get("op") == "SETOP_UNION":
            columns = self._fixpoint(cte, body, names, reach)
        else:
            columns = self.query(body, cte.parent, reach)
        self.in_returning = before
        cte.columns = renamed(columns, names)
        self._search_and_cycle(cte)
        cte.is_open, cte.is_done = False, True

    def _fixpoint(self, cte: Cte, select: Node, names: list[str], reach: Mapping[str, Any]) -> list[Column]:
        if "withClause" in select:
            reach = self.with_clause(select["withClause"], cte.parent, reach)
        columns = self.query(select["larg"], cte.parent, reach)
        while True:
            self.spend(4 * len(columns))
            cte.columns = renamed(columns, names)
            self._search_and_cycle(cte)
            grown = self._combined(select, columns, self.query(select["rarg"], cte.parent, reach))
            grown = aligned(columns, grown)
            if grown == columns:
                break
            columns = grown
        self._ordered(select, columns, cte.parent, reach)
        return columns

    def _search_and_cycle(self, cte: Cte) -> None:
        """The columns that SEARCH and CYCLE add. Where a cycle is seen, the recursion ends."""
        assert cte.columns is not None
        cte.extra = []
        row = Row(cte.columns)
        search, cycle = cte.node.get("search_clause"), cte.node.get("cycle_clause")
        if search is not None:
            cte.extra.append((search["search_seq_column"], _of(row, search["search_col_list"]), None))
        if cycle is not None:
            found = _of(row, cycle["cycle_col_list"])
            if found:
                self.control("cycle", found, 0, cycle.get("location", -1))
            cte.extra.append((cycle["cycle_mark_column"], found, None))
            cte.extra.append((cycle["cycle_path_column"], found, None))


def is_bare(select: Node) -> bool:
    """A set operation with no clauses of its own."""
    return not any(key in select for key in ("withClause", "sortClause", "limitCount", "limitOffset"))


def _of(row: Row, names: Sequence[Node]) -> Sources:
    found = NOTHING
    for name in texts(names):
        found |= row.named.get(name, (row.whole, None))[0]
    return found
