"""The entrance: `taint_of` takes one statement of a parse tree and says what depends on labelled columns.

Pure, and total: whatever the tree holds, the answer is a `Taint`; what is not understood, too deep or too much
is TOP. Views are taken apart here too, since a definition is a statement like others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pgparse

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.parser import parse_trees
from lockgate.analysis.sql.taint.changes import Changes
from lockgate.analysis.sql.taint.ranges import texts
from lockgate.analysis.sql.taint.relations import Expansion, InSession, Relations
from lockgate.analysis.sql.taint.result import NOTHING, Output, Reference, Source, Taint, Write
from lockgate.analysis.sql.taint.rows import Column, renamed, union
from lockgate.analysis.sql.taint.scope import Budget, Item, Node, Scope, Top

_CHANGES: Final = frozenset(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"))
_VALUELESS: Final = frozenset((
    "TruncateStmt", "LockStmt", "VacuumStmt", "GrantStmt", "ReindexStmt", "CommentStmt", "DropStmt",
    "RefreshMatViewStmt",
))
"""Utility statements that name relations and evaluate nothing on their rows that a client could see."""
_MALFORMED: Final = (KeyError, IndexError, TypeError, AttributeError, StopIteration)


def taint_of(statement: Node, catalogue: Catalogue, labelled: frozenset[Source],
             in_session: InSession | None = None, budget: Budget | None = None) -> Taint:
    """What of a statement (`{"SelectStmt": …}`) depends on the labelled columns.

    `labelled` (`Labels.sources`) has the columns as (relation OID, attribute number), closed over partitions,
    inheritance, generated columns and materialised views; number 0 closes a relation as a whole. Views need not be
    there: they are looked through. Pass the same frozenset again: what is known of relations is kept with it.
    `in_session` tells of relations that are not in the catalogue. A `budget` is shared by the statements of one string.
    """
    analysis = Analysis(Relations.of(catalogue, labelled, expand), in_session)
    if budget is not None:
        analysis.work = budget.left
    try:
        return analysis.run(statement)
    except Top as top:
        return Taint(outputs=None, created=None, is_top=True, reason=str(top), unknown=top.column)
    except RecursionError:
        return Taint(outputs=None, created=None, is_top=True, reason="the statement is nested too deeply")
    except _MALFORMED:
        return Taint(outputs=None, created=None, is_top=True, reason="the statement is not understood")
    finally:
        if budget is not None:
            budget.left = analysis.work


def expand(view: Relation, relations: Relations) -> Expansion:
    """What a view's definition says. Raises `Top` where it cannot be told."""
    try:
        trees = parse_trees(view.definition or "")
    except pgparse.PGQueryError:
        raise Top(f'the definition of view "{view.name}" cannot be read') from None
    if len(trees) != 1 or "SelectStmt" not in trees[0]["stmt"]:
        raise Top(f'the definition of view "{view.name}" is not a query')
    analysis = Analysis(relations, None)
    columns = analysis.query(trees[0]["stmt"]["SelectStmt"], None, {})
    controls = {(control.source, control.where) for control in analysis.controls}
    controls |= {(equality.source, "where") for equality in analysis.equalities}
    return Expansion(tuple(columns), frozenset(controls), analysis.computed)


class Analysis(Changes):
    """One statement."""

    created: list[Column] | None = None

    def run(self, statement: Node) -> Taint:
        columns = self._statement(statement)
        references = tuple(
            Reference(mention.location, mention.names, mention.sources, mention.direct, mention.is_target,
                      mention.in_returning, mention.location in self.outputs)
            for mention in dict.fromkeys(self.mentions))
        return Taint(
            outputs=_outputs(columns), data=union(columns), controls=tuple(self.controls),
            equalities=tuple(self.equalities), writes=tuple(dict.fromkeys(self.writes)),
            created=_outputs(self.created or []), stored=union(self.created or ()), computed=self.computed,
            references=references)

    def _create(self, node: Node, columns: list[Column]) -> None:
        self.created = renamed(columns, texts(node.get("colNames")))

    # ---------------------------------------------------------------- kinds of statements

    def _statement(self, statement: Node) -> list[Column]:
        """The columns of the result."""
        kind, body = next(iter(statement.items()))
        if kind == "SelectStmt":
            columns = self.query(body, None, {})
            if self.into is None:
                return columns
            self._create(self.into, columns)
            return []
        if kind in _CHANGES:
            return self.change(kind, body, None, {})
        handler = _HANDLERS.get(kind)
        if handler is not None:
            return handler(self, body)
        return self._utility(kind, body)

    def _nested(self, body: Node) -> list[Column]:
        return self._statement(body["query"])

    def _explain(self, body: Node) -> list[Column]:
        self._statement(body["query"])
        return [("QUERY PLAN", NOTHING, None)]

    def _create_as(self, body: Node) -> list[Column]:
        self._create(body["into"], self._statement(body["query"]))
        return []

    def _make_view(self, body: Node) -> list[Column]:
        self.created = renamed(self._statement(body["query"]), texts(body.get("aliases")))
        return []

    def _copy(self, body: Node) -> list[Column]:
        if "query" in body:
            return self._statement(body["query"])
        item = self.relation(body["relation"], Scope([], None, {}))
        item.is_target = True
        names = texts(body.get("attlist"))
        if not body.get("is_from"):
            return self._copied(body, item, names)
        found = self.relations.find(body["relation"].get("schemaname"), body["relation"]["relname"], self.in_session)
        for relation in found.relations if found is not None else ():
            for column in relation.columns:
                source = (relation.oid, column.number)
                if source in self.relations.labelled and (not names or column.name in names):
                    self.writes.append(Write(source, NOTHING))
        if "whereClause" in body:
            self.condition("where", body["whereClause"], Scope([item], None, {}))
        return []

    def _copied(self, body: Node, item: Item, names: list[str]) -> list[Column]:
        """COPY of a table leaves generated columns out where it has no list."""
        row = item.row
        if names:
            return [(name, *row.named.get(name, (row.whole, None))) for name in names]
        found = self.relations.find(body["relation"].get("schemaname"), body["relation"]["relname"], self.in_session)
        relations = found.relations if found is not None else ()
        if len(relations) > 1:
            return [(None, row.whole, None)]
        generated = {column.name for relation in relations for column in relation.columns if column.generated}
        return [column for column in row.columns if column[0] not in generated]

    def _procedure(self, body: Node) -> list[Column]:
        """What a procedure gives back is not known; a statement with one is refused before it comes here."""
        since = len(self.mentions)
        sources = self.sources(body["funccall"].get("args", []), Scope([], None, {}))
        self.control("rows", sources, since)
        return [(None, sources, None)]

    def _fetched(self, body: Any) -> Any:
        raise Top("EXECUTE and FETCH give what the statement gives that they name")

    def _utility(self, kind: str, body: Node) -> list[Column]:
        if kind not in _VALUELESS:
            self._require_unlabelled(body)
        return [(None, NOTHING, None)]

    def _require_unlabelled(self, body: Node) -> None:
        stack: list[Any] = [body]
        while stack:
            node = stack.pop()
            self.spend(1)
            if type(node) is list:
                stack += node
            elif type(node) is dict:
                if "relname" in node:
                    found = self.relations.find(node.get("schemaname"), node["relname"], self.in_session)
                    if found is not None and (found.row.whole or found.controls):
                        raise Top("the statement works on a labelled relation in a way that is not looked into")
                stack += node.values()


def _outputs(columns: list[Column]) -> tuple[Output, ...] | None:
    outputs = []
    for name, sources, direct in columns:
        if name is None:
            return None
        outputs.append(Output(name, sources, direct))
    return tuple(outputs)


_Handler = Callable[[Analysis, Node], list[Column]]
_HANDLERS: Final[Mapping[str, _Handler]] = {
    "ExplainStmt": Analysis._explain,
    "PrepareStmt": Analysis._nested,
    "DeclareCursorStmt": Analysis._nested,
    "CreateTableAsStmt": Analysis._create_as,
    "ViewStmt": Analysis._make_view,
    "CopyStmt": Analysis._copy,
    "CallStmt": Analysis._procedure,
    "ExecuteStmt": Analysis._fetched,
    "FetchStmt": Analysis._fetched,
}

