"""GROUP BY a primary key: what depends on it has to be named once its relation is a sub-select.

    SELECT c.id, c.name, count(*) FROM customers c JOIN … GROUP BY c.id
    →                                                      GROUP BY c.id, "c"."name"

A query may use columns of a table that it does not group by, if it groups by the table's primary key (manual, "GROUP BY
Clause"; `check_functional_grouping` in pg_constraint.c). A sub-select has no key, so the columns that are used are
added to the list: each is a function of the key, or a mask, so the groups stay the same ones. Apart from `projection`,
which makes the sub-selects, because it is about the query around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.masks import quote_name
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.splice import Splices

Node = dict[str, Any]

_INCOMPARABLE: Final = frozenset(("json", "xml", "point", "box", "line", "lseg", "path", "polygon", "circle"))
"""Types that have no equality to group by (box and circle compare areas, which is not what is meant)."""


def regroup(trees: Sequence[Node], spliced: Mapping[int, Relation], catalogue: Catalogue, splices: Splices) -> None:
    """Adds to every GROUP BY what follows from the keys in it. `spliced`: position of a name → its relation."""
    if not catalogue.keys:
        return
    for select in nodes(trees):
        if "groupClause" not in select:
            continue
        for item in select.get("fromClause", ()):
            for alias, relation in _spliced(item, spliced):
                _extend(select, alias, relation, catalogue.keys.get(relation.oid, frozenset()), splices)


def _spliced(item: Node, spliced: Mapping[int, Relation]) -> Iterator[tuple[str, Relation]]:
    """Name and relation of everything in a FROM item that is a sub-select now."""
    stack = [item]
    while stack:
        node = stack.pop()
        if "RangeVar" in node:
            body = node["RangeVar"]
            relation = spliced.get(body.get("location", 0))
            if relation is not None and relation.name == body.get("relname"):
                yield body.get("alias", {}).get("aliasname", body["relname"]), relation
        elif "JoinExpr" in node:
            stack += [node["JoinExpr"].get("larg", {}), node["JoinExpr"].get("rarg", {})]


def _extend(select: Node, alias: str, relation: Relation, key: frozenset[int], splices: Splices) -> None:
    names = {column.name: column for column in relation.columns}
    wanted = {column.name for column in relation.columns if column.number in key}
    grouped, place = _grouped(select, alias, names)
    if not wanted or not wanted <= grouped or place is None:
        return
    used = _used(select, alias, names) - grouped
    more = [name for name in names if name in used and names[name].base not in _INCOMPARABLE]
    if more:
        location, parts = place
        splices.insert_behind(location, parts, "".join(f", {quote_name(alias)}.{quote_name(name)}" for name in more))


def _grouped(select: Node, alias: str, names: Mapping[str, Any]) -> tuple[set[str], tuple[int, int] | None]:
    """The relation's columns that are grouped by as they are, and where the last of them is written."""
    found: set[str] = set()
    place: tuple[int, int] | None = None
    for item in select["groupClause"]:
        fields = item.get("ColumnRef", {}).get("fields", ())
        name = _column(fields, alias, names)
        if name is not None:
            found.add(name)
            place = item["ColumnRef"].get("location", 0), len(fields)
    return found, place


def _used(select: Node, alias: str, names: Mapping[str, Any]) -> set[str]:
    """The relation's columns that the query names outside of FROM, WHERE and GROUP BY, at any depth."""
    found: set[str] = set()
    for node in nodes([select.get(key) for key in ("targetList", "havingClause", "sortClause", "distinctClause")]):
        fields = node.get("ColumnRef", {}).get("fields")
        if fields is not None:
            if "A_Star" in fields[-1] and (len(fields) == 1 or _text(fields[-2]) == alias):
                found.update(names)
            name = _column(fields, alias, names)
            if name is not None:
                found.add(name)
    return found


def _column(fields: Any, alias: str, names: Mapping[str, Any]) -> str | None:
    if not fields:
        return None
    name = _text(fields[-1])
    return name if name in names and (len(fields) == 1 or _text(fields[-2]) == alias) else None


def _text(field: Node) -> str:
    return str(field.get("String", {}).get("sval", ""))
