"""DML: what is written, what decides on it, and what RETURNING shows.

The row that a statement changes is an item like those of FROM, but one that no mask at the source can reach;
references to it are marked. After the change its columns depend on what was written into them as well. What
triggers, rules and defaults do is judged elsewhere (`reactions`, `permitted`); only that a trigger may move
values between the columns of a row is taken into account here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lockgate.analysis.sql.catalogue import Relation
from lockgate.analysis.sql.reading import strings
from lockgate.analysis.sql.taint.queries import Queries, is_bare
from lockgate.analysis.sql.taint.result import NOTHING, Source, Sources, Write
from lockgate.analysis.sql.taint.rows import CLEAN, Column, Row, Value, union
from lockgate.analysis.sql.taint.scope import Item, Node, Scope, Top

_CLAUSES: Final = {
    "InsertStmt": frozenset(("relation", "cols", "selectStmt", "onConflictClause", "returningList", "withClause",
                             "override")),
    "UpdateStmt": frozenset(("relation", "targetList", "whereClause", "fromClause", "returningList", "withClause")),
    "DeleteStmt": frozenset(("relation", "usingClause", "whereClause", "returningList", "withClause")),
    "MergeStmt": frozenset(("relation", "sourceRelation", "joinCondition", "mergeWhenClauses", "returningList",
                            "withClause")),
}
_UNCHANGED: Final = frozenset(("A_Const", "ParamRef", "SetToDefault"))


def _is_harmless(node: Node, scope: Scope) -> bool:
    """Whether nobody can tell if an expression without labelled columns is evaluated: a constant, a parameter, a column
    of `excluded`. Any other column can stand for an expression of a sub-select or view. A constant may be of a type that
    the grammar knows: any other name can be that of a domain with a check."""
    if "TypeCast" in node:
        names = strings(node["TypeCast"].get("typeName", {}).get("names"))
        return names[:1] == ("pg_catalog",) and "A_Const" in node["TypeCast"].get("arg", {})
    if "ColumnRef" in node:
        return strings(node["ColumnRef"].get("fields"))[:-1] == ("excluded",) and any(
            item.name == "excluded" and not item.is_open for item in scope.items)
    return "A_Const" in node or "ParamRef" in node


class Target:
    """The relation that a statement changes and what it writes into it."""

    __slots__ = ("is_mixed", "name", "relations", "row", "schemas", "written")

    def __init__(self, item: Item, relations: tuple[Relation, ...], *, is_mixed: bool) -> None:
        self.name = item.name
        self.row = item.row
        self.schemas = item.schemas
        self.relations = relations
        self.is_mixed = is_mixed                # triggers may move values between columns
        self.written: dict[str | None, Sources] = {}    # None: a column that is not known

    @property
    def names(self) -> list[str] | None:
        """The columns in their order, or None where they are not known."""
        names = [column[0] for column in self.row.columns if column[0] is not None]
        return names if len(names) == len(self.row.columns) else None

    def item(self, row: Row | None = None) -> Item:
        """The row that is changed, as it was or as it is then."""
        return Item(self.name, row or self.row, self.schemas, is_target=True)

    def added(self, name: str | None) -> Sources:
        """What a column depends on because of what is written."""
        is_generated = any(column.generated is not None for relation in self.relations
                           for column in relation.columns if column.name == name)
        if not self.is_mixed and name is not None and not is_generated:
            return self.written.get(name, NOTHING) | self.written.get(None, NOTHING)
        return NOTHING.union(*self.written.values())

    def after(self) -> Row:
        """The row once it is written."""
        if not self.written:
            return self.row
        row = Row([(name, sources | self.added(name), direct) for name, sources, direct in self.row.columns],
                  self.row.has_system)
        row.maybe = self.row.maybe
        for name, value in self.row.named.items():
            if name not in row.named:                   # several relations under one name
                row.named[name] = (value[0] | NOTHING.union(*self.written.values()), value[1])
        return row

    def proposed(self) -> Row:
        """`excluded`: the row that was to be inserted, which is the client's own where no trigger has seen it."""
        if self.is_mixed or self.row.rest is not None:
            return self.after()
        return Row([(name, self.added(name), None) for name, _, _ in self.row.columns], has_system=True)


class Changes(Queries):
    """INSERT, UPDATE, DELETE and MERGE."""

    def change(self, kind: str, node: Node, parent: Scope | None, ctes: Mapping[str, Any]) -> list[Column]:
        self.spend(1)
        known = _CLAUSES.get(kind)
        if known is None:
            raise Top(f"{kind} is not understood")
        for key in node:
            if key not in known:
                raise Top(f"{key} is not understood")
        clause = node.get("withClause")
        if clause is not None:
            ctes = self.with_clause(clause, parent, ctes)
        scope = Scope([], parent, ctes, clause is not None)
        target = self._target(node["relation"])
        if kind == "InsertStmt":
            return self._insert(node, target, scope)
        if kind == "UpdateStmt":
            return self._update(node, target, scope)
        if kind == "DeleteStmt":
            return self._delete(node, target, scope)
        return self._merge(node, target, scope)

    def _target(self, node: Node) -> Target:
        """The relation that is changed. It is never a WITH query."""
        item = self.relation(node, Scope([], None, {}))
        found = self.relations.find(node.get("schemaname"), node["relname"], self.in_session)
        relations = found.relations if found is not None else ()
        triggers, children = self.relations.catalogue.code.triggers, self.relations.catalogue.children
        seen: set[int] = set()
        stack = [relation.oid for relation in relations]
        while stack:
            oid = stack.pop()
            if oid not in seen:
                seen.add(oid)
                stack += children.get(oid, ())
        is_mixed = any(triggers.get(oid) for oid in seen)
        return Target(item, relations, is_mixed=is_mixed)

    # ---------------------------------------------------------------- statements

    def _insert(self, node: Node, target: Target, scope: Scope) -> list[Column]:
        values = self._inserted(node, scope)
        names = self._columns(node.get("cols"), target, scope)
        own = target.names
        if names is None:
            names = own
        if names is None or any(column[0] is None for column in values):
            every = union(values)
            self._write(target, None, (every, None))
        else:
            for name, column in zip(names, values, strict=False):
                self._write(target, name, (column[1], column[2]))
        conflict = node.get("onConflictClause")
        if conflict is not None:
            self._conflict(conflict, target, scope)
        return self._returning(node, target, target.after(), [], scope)

    def _inserted(self, node: Node, scope: Scope) -> list[Column]:
        """The columns of what is inserted. A VALUES list of one row keeps what is a column's value."""
        select = node.get("selectStmt", {}).get("SelectStmt")
        if select is None:
            return []
        lists = select.get("valuesLists", ())
        if len(lists) == 1 and is_bare(select):
            return self._values_of(lists[0]["List"]["items"], Scope([], scope.parent, scope.ctes))
        return self.query(select, scope.parent, scope.ctes)

    def _values_of(self, items: Sequence[Node], scope: Scope) -> list[Column]:
        """A list of values to write."""
        found: list[Column] = []
        for item in items:
            if "ColumnRef" in item and "A_Star" in item["ColumnRef"]["fields"][-1]:
                return [(None, self.sources(list(items), scope), None)]
            found.append(("", *self._written_value(item, scope)))
        return found

    def _columns(self, items: Sequence[Node] | None, target: Target, scope: Scope) -> list[str] | None:
        """The columns of an INSERT's list; None where there is no list."""
        if items is None:
            return None
        names = []
        for item in items:
            column = item["ResTarget"]
            names.append(column.get("name", ""))
            self._subscripts(column, target, scope)
        return names

    def _conflict(self, node: Node, target: Target, scope: Scope) -> None:
        """ON CONFLICT: which rows are there already decides on what happens."""
        inference = node.get("infer")
        row = target.item()
        proposed = Item("excluded", target.proposed(), is_open=False, is_target=target.is_mixed)
        if inference is None or "conname" in inference:
            if target.row.whole:
                self.control("constraint", target.row.whole, len(self.mentions), node.get("location", -1))
        else:
            alone = Scope([row], scope.parent, scope.ctes)
            for entry in inference.get("indexElems", ()):
                element = entry["IndexElem"]
                name = element.get("name")
                if name is None:
                    self.decides("conflict", element.get("expr", {}), alone)
                else:
                    found = target.row.named.get(name, (target.row.whole, None))[0]
                    self.control("conflict", found, len(self.mentions), inference.get("location", -1))
            if "whereClause" in inference:
                self.decides("conflict", inference["whereClause"], alone)
        both = Scope([row, proposed], scope.parent, scope.ctes)
        self._assignments(node.get("targetList", ()), target, both)
        if "whereClause" in node:
            self.condition("where", node["whereClause"], both)

    def _update(self, node: Node, target: Target, scope: Scope) -> list[Column]:
        scope.items.append(target.item())
        self.from_clause(node.get("fromClause", ()), scope)
        self._assignments(node.get("targetList", ()), target, scope)
        if "whereClause" in node:
            self.condition("where", node["whereClause"], scope)
        return self._returning(node, target, target.after(), scope.items[1:], scope)

    def _delete(self, node: Node, target: Target, scope: Scope) -> list[Column]:
        scope.items.append(target.item())
        self.from_clause(node.get("usingClause", ()), scope)
        if "whereClause" in node:
            self.condition("where", node["whereClause"], scope)
        return self._returning(node, target, target.row, scope.items[1:], scope)

    def _merge(self, node: Node, target: Target, scope: Scope) -> list[Column]:
        source = self.range(node["sourceRelation"], scope)
        scope.items += [target.item(), *source]
        self.condition("join", node["joinCondition"], scope)
        for entry in node.get("mergeWhenClauses", ()):
            clause = entry["MergeWhenClause"]
            if "condition" in clause:
                self.decides("when", clause["condition"], scope)
            if clause.get("commandType") == "CMD_INSERT":
                values = self._values_of(clause.get("values", ()), scope)
                names = self._columns(clause.get("targetList"), target, scope) or target.names
                if names is None or any(column[0] is None for column in values):
                    self._write(target, None, (union(values), None))
                else:
                    for name, column in zip(names, values, strict=False):
                        self._write(target, name, (column[1], column[2]))
            else:
                self._assignments(clause.get("targetList", ()), target, scope)
        return self._returning(node, target, target.after(), source, scope, is_merge=True)

    # ---------------------------------------------------------------- RETURNING

    def _returning(self, node: Node, target: Target, row: Row, others: list[Item], scope: Scope, *,
                   is_merge: bool = False) -> list[Column]:
        """The columns of RETURNING. MERGE shows its source first; `old` and `new` are rows where nothing else has
        the name (manual, "Returning Data from Modified Rows")."""
        items = node.get("returningList")
        if not items:
            return []
        visible = [*others, target.item(row)] if is_merge else [target.item(row), *others]
        inner = Scope(visible, scope.parent, scope.ctes, scope.has_with)
        for name, image in (("old", target.row), ("new", row)):
            if not self._items(name, inner):
                inner.items.append(Item(name, image, is_open=False, is_target=True))
        before = self.in_returning
        self.in_returning = True
        columns = self.targets(items, inner)
        self.in_returning = before
        return columns

    # ---------------------------------------------------------------- writing

    def _assignments(self, items: Sequence[Node], target: Target, scope: Scope) -> None:
        """SET column = value, (columns) = (values)."""
        several: list[Column] = []
        for item in items:
            column = item["ResTarget"]
            value = column["val"]
            self._subscripts(column, target, scope)
            reference = value.get("MultiAssignRef")
            if reference is None:
                self._write(target, column["name"], self._written_value(value, scope))
                continue
            number = reference.get("colno", 1)
            if number == 1:
                several = self._several(reference["source"], scope)
            if any(part[0] is None for part in several) or number > len(several):
                self._write(target, column["name"], (union(several), None))
            else:
                self._write(target, column["name"], (several[number - 1][1], several[number - 1][2]))

    def _several(self, source: Node, scope: Scope) -> list[Column]:
        if "SubLink" in source:
            return [column if column[0] is not None else (None, column[1], None)
                    for column in self.query(source["SubLink"]["subselect"]["SelectStmt"], scope, scope.ctes)]
        if "RowExpr" in source:
            return self._values_of(source["RowExpr"].get("args", ()), scope)
        return [(None, self.sources(source, scope), None)]

    def _subscripts(self, column: Node, target: Target, scope: Scope) -> None:
        """`SET a[i] = …`, `SET a.b = …`: where in the column it goes is part of what is written."""
        steps = column.get("indirection")
        if steps:
            self._write(target, column.get("name", ""), (self.sources(steps, scope), None))

    def _written_value(self, node: Node, scope: Scope) -> Value:
        """What is written, and the column whose value it is unless it is a constant."""
        if not _UNCHANGED.isdisjoint(node):
            return CLEAN
        choices = node.get("CoalesceExpr", {}).get("args")
        if choices is None:
            return self.value(node, scope)
        sources, direct, is_kept = NOTHING, None, True
        for choice in choices:
            found = self._written_value(choice, scope)
            if sources and not found[0] and not _is_harmless(choice, scope):
                is_kept = False                 # it is evaluated, and may fail, where the column is NULL
            sources |= found[0]
            is_kept = is_kept and (not found[0] or (found[1] is not None and direct in (None, found[1])))
            direct = found[1] or direct
        if sources and not is_kept:
            self.computed |= sources
        return sources, direct if is_kept else None

    def _write(self, target: Target, name: str | None, value: Value) -> None:
        sources = value[0]
        if sources:
            target.written[name] = target.written.get(name, NOTHING) | sources
        attributes = list(self._attributes(target, name))
        for attribute in attributes:
            if sources or attribute in self.relations.labelled:
                self.writes.append(Write(attribute, sources, value[1]))
        if not attributes and sources:
            self.writes.append(Write(None, sources, value[1]))

    def _attributes(self, target: Target, name: str | None) -> list[Source]:
        """The catalogue's columns that a written one can be; of a view also those below, which it shows unchanged."""
        found: list[Source] = []
        for relation in target.relations:
            found += [(relation.oid, column.number) for column in relation.columns if name in (None, column.name)]
        below = target.row.named.get(name or "", CLEAN)[1]
        if below is not None and below not in found:
            found.append(below)
        return found
