"""RETURNING of a protected relation: each name that stands for a protected column is replaced where it is written.

    RETURNING id, upper(ssn), *   →   RETURNING id, upper((SELECT 'xxxx'::text AS "ssn")), "t"."id", (SELECT …) …

Apart from `projection`, because the row that DML changes cannot be replaced by a sub-select. A scalar sub-select
keeps the output column's name as it was (`FigureColname` in parse_target.c takes it from the sub-select's own list).
Whole rows are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from lockgate.analysis.sql.catalogue import Relation
from lockgate.analysis.sql.covers import Cover
from lockgate.analysis.sql.masks import expression, quote_name
from lockgate.analysis.sql.projection import refuse
from lockgate.analysis.sql.reading import Node, Target
from lockgate.analysis.sql.splice import Splices
from lockgate.analysis.sql.taint import Reference

_HINT = "name the columns in RETURNING, one by one"


class Returning:
    """The RETURNING lists of one string. `covers` are those of the targets, views included."""

    def __init__(self, splices: Splices, covers: Mapping[int, Mapping[int, Cover]]) -> None:
        self._splices = splices
        self._covers = covers

    def replace(self, reference: Reference, targets: list[tuple[Target, Relation]], *, is_alone: bool,
                is_raw: bool) -> None:
        """Replaces one name. `is_alone`: the target's row is all that a bare `*` means. A column that is not protected
        stays: what the statement has written into it is a mask, unless `is_raw`.
        """
        names = reference.names
        meant = [(target, relation) for target, relation in targets if _is_meant(names, target, relation)]
        if len({relation.oid for _, relation in meant}) != 1:
            raise refuse("RETURNING names something that cannot be told from a protected column", _HINT)
        target, relation = meant[0]
        covers = self._covers.get(relation.oid, {})
        if names[-1] == "*":
            if len(names) == 1 and not is_alone:
                raise refuse("RETURNING * beside another relation cannot be masked", _HINT)
            self._splices.replace_name(reference.location, len(names), self._star(target, relation, covers))
            return
        column = next((column for column in relation.columns if column.name == names[-1]), None)
        cover = None if column is None else covers.get(column.number)
        if column is not None and cover is None and not is_raw:
            return
        if column is None or cover is None:
            raise refuse("RETURNING may not give the whole row of a relation with protected columns", _HINT)
        prefix = ".".join(quote_name(name) for name in names[:-1])
        self._splices.replace_name(reference.location, len(names), _hidden(expression(column, cover, prefix), column.name))

    def _star(self, target: Target, relation: Relation, covers: Mapping[int, Cover]) -> str:
        prefix = quote_name(target.use.alias or target.use.name)
        items = []
        for column in relation.columns:
            cover = covers.get(column.number)
            name = quote_name(column.name)
            items.append(f"{prefix}.{name}" if cover is None else _hidden(expression(column, cover, prefix), column.name))
        return ", ".join(items)


def _hidden(masked: str, name: str) -> str:
    return f"(SELECT {masked} AS {quote_name(name)})"


def _is_meant(names: tuple[str, ...], target: Target, relation: Relation) -> bool:
    """Whether a name can mean this target, or a column of it."""
    if len(names) > 1:
        return names[-2] == (target.use.alias or target.use.name)
    return names[0] == "*" or any(column.name == names[0] for column in relation.columns)


def is_alone_in(tree: Node) -> bool:
    """Whether a statement is DML on one relation with nothing beside it, so that a bare `*` means its row."""
    kind, body = next(iter(tree.items()))
    return (kind in ("InsertStmt", "UpdateStmt", "DeleteStmt") and "fromClause" not in body
            and "usingClause" not in body and "withClause" not in body)
