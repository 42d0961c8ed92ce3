"""FROM: relations, sub-selects, functions, joins and tables made of documents, as items of a scope.

Items see their left siblings where they are LATERAL (functions always are), and a join's condition sees its
two sides (manual, "Table Expressions"). A join's condition decides on rows, so do the arguments of functions
that return sets; what an outer join leaves empty is still the column's value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from lockgate.analysis.sql.taint.expressions import Expressions
from lockgate.analysis.sql.taint.result import Control, Sources
from lockgate.analysis.sql.taint.rows import Column, Row, Value, merged, union
from lockgate.analysis.sql.taint.scope import Item, Node, Scope, Top
from lockgate.analysis.sql.taint.sets import shape_of


def texts(items: Sequence[Node] | None) -> list[str]:
    """The texts of a list of String nodes."""
    return [item["String"].get("sval", "") for item in items or ()]


class Ranges(Expressions):
    """Items of FROM."""

    def with_row(self, cte: Any, is_home: bool) -> Row:
        """The row of a WITH query. `is_home`: named by the query that the WITH belongs to."""
        raise NotImplementedError

    def from_clause(self, items: Sequence[Node], scope: Scope) -> None:
        """Adds the items of a FROM list to the scope, each seeing those before it."""
        for item in items:
            scope.items += self.range(item, scope)

    def range(self, node: Node, scope: Scope) -> list[Item]:
        """The items that one entry makes visible. `scope` holds what stands to its left."""
        kind, body = next(iter(node.items()))
        if kind == "RangeVar":
            return [self.relation(body, scope)]
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise Top(f"{kind} is not understood")
        return handler(self, body, scope)

    # ---------------------------------------------------------------- relations

    def relation(self, node: Node, scope: Scope) -> Item:
        """A relation or WITH query by its name."""
        name, schema, alias = node["relname"], node.get("schemaname"), node.get("alias")
        if schema is None and name in scope.ctes:
            cte = scope.ctes[name]
            row = self.with_row(cte, scope.has_with and cte.home is scope.ctes)
            schemas: frozenset[str] | None = None
        else:
            found = self.relations.find(schema, name, self.in_session)
            if found is None:
                raise Top(f'relation "{name}" is not known')
            row, schemas = found.row, found.schemas
            for control in found.controls:
                self.controls[Control(control.source, control.where, node.get("location", 0), control.view)] = None
            if found.computed:
                self.computed |= found.computed
        if alias is None:
            return Item(name, row, schemas)
        if "colnames" in alias:
            row = row.renamed(texts(alias["colnames"]))
        return Item(alias["aliasname"], row)

    def _sample(self, node: Node, scope: Scope) -> list[Item]:
        items = self.range(node["relation"], scope)
        self.decides("sample", [node.get("args", []), node.get("repeatable", {})], scope)
        return items

    def _subselect(self, node: Node, scope: Scope) -> list[Item]:
        select = node["subquery"]["SelectStmt"]
        columns = self.query(select, scope if node.get("lateral") else scope.parent, scope.ctes)
        return [self._aliased(node, None, columns)]

    @staticmethod
    def _aliased(node: Node, default: str | None, columns: Sequence[Column]) -> Item:
        alias = node.get("alias", {})
        return Item(alias.get("aliasname", default), Row(columns).renamed(texts(alias.get("colnames"))))

    # ---------------------------------------------------------------- joins

    def _join(self, node: Node, scope: Scope) -> list[Item]:
        left = self.range(node["larg"], scope)
        seen = scope
        if "RangeVar" not in node["rarg"]:
            seen = Scope(scope.items + left, scope.parent, scope.ctes, scope.has_with)
        right = self.range(node["rarg"], seen)
        items = left + right
        self.spend(len(items))
        shared = self._shared(node, left, right)
        if shared:
            items = self._merged(node, shared, left, right)
        if "quals" in node:
            self.condition("join", node["quals"], Scope(items, scope.parent, scope.ctes))
        if "alias" in node:
            columns = [column for item in items if item.is_open for column in item.row.columns]
            return [self._aliased(node, None, columns)]
        return items

    def _shared(self, node: Node, left: list[Item], right: list[Item]) -> list[str]:
        """The columns that USING or NATURAL joins by."""
        if not node.get("isNatural"):
            return texts(node.get("usingClause"))
        ours, theirs = ([item.row for item in items if item.is_open] for items in (left, right))
        if any(row.rest is not None for row in (*ours, *theirs)):
            if any(row.whole for row in (*ours, *theirs)):
                raise Top("NATURAL joins by columns that are not known")
            return []
        others = {name for row in theirs for name in row.named}
        return list(dict.fromkeys(name for row in ours for name, _, _ in row.columns if name in others and name))

    def _merged(self, node: Node, shared: list[str], left: list[Item], right: list[Item]) -> list[Item]:
        """The items of a join with USING: its columns once in front, the sides by name only."""
        columns: list[Column] = []
        location = node["rarg"].get("RangeVar", {}).get("location", -1)
        for name in shared:
            one, two = _column(left, name), _column(right, name)
            both = one[0] | two[0]
            if both:
                self.control("using", both, len(self.mentions), location)
            columns.append((name, both, one[1] if one[1] == two[1] else None))
        joined = len(columns)
        names = set(shared)
        for item in left + right:
            if item.is_open:
                columns += [column for column in item.row.columns if column[0] not in names]
            item.is_open = False
        items = [*left, *right, Item(None, Row(columns))]
        if "join_using_alias" in node:
            items.append(Item(node["join_using_alias"]["aliasname"], Row(columns[:joined]), is_open=False))
        return items

    # ---------------------------------------------------------------- functions

    def _function(self, node: Node, scope: Scope) -> list[Item]:
        functions = [entry["List"]["items"] for entry in node.get("functions", ())]
        alias = node.get("alias", {})
        columns: list[Column] = []
        name: str | None = None
        for parts in functions:
            call = parts[0]
            since = len(self.mentions)
            sources = self.sources(call, scope)
            if sources:
                self.computed |= sources
                if "FuncCall" not in call:
                    self.control("rows", sources, since)
            defined = parts[1].get("List", {}).get("items", []) if len(parts) > 1 else []
            called = call["FuncCall"]["funcname"][-1]["String"]["sval"] if "FuncCall" in call else None
            name = name or called
            own = alias.get("aliasname") if len(functions) == 1 else None
            columns += self._shape(call, called, own, sources, defined or node.get("coldeflist", []))
        if node.get("ordinality"):
            columns.append(("ordinality", union(columns), None))
        return [self._aliased(node, name, columns)]

    def _shape(self, call: Node, name: str | None, alias: str | None, sources: Sources,
               defined: list[Node]) -> list[Column]:
        """The columns of one function in FROM."""
        if defined:
            return [(item["ColumnDef"]["colname"], sources, None) for item in defined]
        shape = None
        if name is not None and not self.relations.is_overloaded(name):
            shape = shape_of(name, call["FuncCall"].get("args", []))
        if shape is None or name is None:
            return [(None, sources, None)]
        return [(column, sources, None) for column in shape or (alias or name,)]

    # ---------------------------------------------------------------- documents

    def _xml_table(self, node: Node, scope: Scope) -> list[Item]:
        rows = self.decides("rows", [node.get(key, {}) for key in ("docexpr", "rowexpr", "namespaces")], scope)
        columns: list[Column] = []
        for item in node.get("columns", ()):
            column = item["RangeTableFuncCol"]
            own = self.sources([column.get(key, {}) for key in ("colexpr", "coldefexpr")], scope)
            columns.append((column.get("colname", ""), rows | own, None))
        self.computed |= union(columns)
        return [self._aliased(node, "xmltable", columns)]

    def _json_table(self, node: Node, scope: Scope) -> list[Item]:
        own = {key: child for key, child in node.items() if key not in ("columns", "alias")}
        rows = self.decides("rows", own, scope)
        columns: list[Column] = []
        self._json_columns(node.get("columns", ()), rows, scope, columns)
        self.computed |= union(columns)
        return [self._aliased(node, "json_table", columns)]

    def _json_columns(self, items: Sequence[Node], rows: Sources, scope: Scope, columns: list[Column]) -> None:
        """Those of each level first, then those of the levels nested in it."""
        nested = []
        for item in items:
            column = item["JsonTableColumn"]
            if "columns" in column:
                nested.append(column)
                continue
            own = self.sources({key: child for key, child in column.items() if key != "name"}, scope)
            columns.append((column.get("name", ""), rows | own, None))
        for column in nested:
            path = self.decides("rows", column.get("pathspec", {}), scope)
            self._json_columns(column["columns"], rows | path, scope, columns)


def _column(items: list[Item], name: str) -> Value:
    """A column of one side of a join by its name."""
    value: Value | None = None
    rest: Sources | None = None
    for item in items:
        if item.is_open:
            found = item.row.named.get(name)
            if found is not None:
                value = found if value is None else merged(value, found)
            elif item.row.rest is not None:
                rest = item.row.rest if rest is None else rest | item.row.rest
    if value is None:
        if rest is None:
            raise Top(f'column "{name}" is not known')
        return rest, None
    return (value[0] | rest, None) if rest else value


_Handler = Callable[[Ranges, Node, Scope], list[Item]]
_HANDLERS: Final[dict[str, _Handler]] = {
    "RangeSubselect": Ranges._subselect,
    "RangeFunction": Ranges._function,
    "RangeTableSample": Ranges._sample,
    "RangeTableFunc": Ranges._xml_table,
    "JsonTable": Ranges._json_table,
    "JoinExpr": Ranges._join,
}
