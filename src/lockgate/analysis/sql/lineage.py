"""Which output columns of a stored view may depend on protected columns. Conservative by names.

Used where a view cannot be expanded into its masked definition: materialised views, whose rows are
already stored, and views as targets of DML. `pg_get_viewdef` has expanded every star and qualified
every column, so names are enough; whatever is not plainly clean is tainted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lockgate.analysis.sql.parser import nodes

Node = dict[str, Any]
Protected = Callable[[str | None, str], "frozenset[str] | None"]
"""(schema, name) → names of the protected columns, or None where the relation cannot be resolved or its
rows come and go with protected values: whatever is made of it is tainted."""

_SIMPLE: Final = frozenset(("RangeVar", "JoinExpr", "RangeSubselect"))


class _GiveUp(Exception):
    """The definition has a shape that names cannot resolve: every column is tainted."""


def tainted_outputs(select: Node, protected: Protected) -> list[bool] | None:
    """For each output column whether it may depend on a protected column; None for "all of them".

    `select` is the body of a SelectStmt node.
    """
    try:
        return _Lineage(protected).outputs(select)
    except (_GiveUp, KeyError, IndexError, RecursionError):
        return None


class _Lineage:
    def __init__(self, protected: Protected) -> None:
        self.protected = protected
        self.names: set[str] = set()            # column names that may hold protected values, in any scope
        self.whole: set[str] = set()            # aliases whose whole row does
        self.ctes: dict[str, tuple[list[str], list[bool]]] = {}

    def outputs(self, select: Node) -> list[bool]:
        clause = select.get("withClause")
        if clause is not None:
            self._with(clause)
        if select.get("op", "SETOP_NONE") != "SETOP_NONE":
            left, right = self.outputs(select["larg"]), self.outputs(select["rarg"])
            if len(left) != len(right):
                raise _GiveUp
            both = [one or two for one, two in zip(left, right, strict=True)]
            if any(both) and (select["op"] != "SETOP_UNION" or not select.get("all")):
                raise _GiveUp                   # which rows are there depends on the values
            return both
        if "valuesLists" in select:
            if self._touches(select["valuesLists"]):
                raise _GiveUp
            return [False] * len(select["valuesLists"][0]["List"]["items"])
        for item in select.get("fromClause", ()):
            self._from(item)
        control = ("whereClause", "groupClause", "havingClause", "windowClause", "sortClause", "distinctClause",
                   "limitCount", "limitOffset")
        if any(self._touches(select.get(key)) for key in control):
            raise _GiveUp
        taints = [self._touches(target["ResTarget"].get("val")) for target in select.get("targetList", ())]
        if any(taints) and "distinctClause" in select:
            raise _GiveUp                       # how often a clean value is there depends on the others
        return taints

    def _with(self, clause: Node) -> None:
        for item in clause["ctes"]:
            cte = item["CommonTableExpr"]
            body = cte["ctequery"].get("SelectStmt")
            if clause.get("recursive") or body is None:
                if self._reads_protected(cte["ctequery"]):
                    raise _GiveUp
                self.ctes[cte["ctename"]] = ([], [])
                continue
            taints = self.outputs(body)
            names = [name["String"]["sval"] for name in cte.get("aliascolnames", ())] or _names(body)
            self.ctes[cte["ctename"]] = (names, taints)

    def _from(self, item: Node) -> None:
        kind, body = next(iter(item.items()))
        if kind not in _SIMPLE:
            if self._touches(body) or self._reads_protected(body):
                raise _GiveUp
            return
        if kind == "JoinExpr":
            self._from(body["larg"])
            self._from(body["rarg"])
            if self._touches(body.get("quals")) or self._joins_on(body) or "alias" in body:
                raise _GiveUp
            return
        alias = body.get("alias", {})
        renamed = [name["String"]["sval"] for name in alias.get("colnames", ())]
        if kind == "RangeSubselect":
            select = body["subquery"]["SelectStmt"]
            taints = self.outputs(select)
            self._note(alias.get("aliasname", ""), renamed or _names(select), taints)
            return
        name, schema = body["relname"], body.get("schemaname")
        if schema is None and name in self.ctes:
            names, taints = self.ctes[name]
            self._note(alias.get("aliasname", name), renamed or names, taints)
            return
        found = self.protected(schema, name)
        if found is None or (found and renamed):
            raise _GiveUp
        if found:
            self.names |= found
            self.whole.add(alias.get("aliasname", name))

    def _note(self, alias: str, names: list[str], taints: list[bool]) -> None:
        if not any(taints):
            return
        if len(names) < len(taints):
            raise _GiveUp
        self.names.update(name for name, taint in zip(names, taints, strict=False) if taint)
        self.whole.add(alias)

    def _joins_on(self, body: Node) -> bool:
        if body.get("isNatural"):
            return bool(self.names)
        return any(name["String"]["sval"] in self.names for name in body.get("usingClause", ()))

    def _touches(self, value: Any) -> bool:
        """Whether an expression names a protected column or row, or sub-selects from one."""
        for node in nodes(value):
            fields = node.get("ColumnRef", {}).get("fields") if "ColumnRef" in node else None
            if fields is not None:
                last = fields[-1].get("String", {}).get("sval")
                if last is None or last in self.names or last in self.whole:
                    return bool(self.names)
            if "SubLink" in node and self._reads_protected(node["SubLink"]):
                return True
        return False

    def _reads_protected(self, value: Any) -> bool:
        for node in nodes(value):
            if "RangeVar" in node:
                relation = node["RangeVar"]
                name, schema = relation["relname"], relation.get("schemaname")
                if schema is None and name in self.ctes:
                    if any(self.ctes[name][1]):
                        return True
                elif self.protected(schema, name) != frozenset():
                    return True
        return False


def _names(select: Node) -> list[str]:
    """The output names of a select, as far as they are written."""
    while select.get("op", "SETOP_NONE") != "SETOP_NONE":
        select = select["larg"]
    if "valuesLists" in select:
        return [f"column{number + 1}" for number in range(len(select["valuesLists"][0]["List"]["items"]))]
    names = []
    for item in select.get("targetList", ()):
        target = item["ResTarget"]
        name = target.get("name")
        if name is None:
            fields = target.get("val", {}).get("ColumnRef", {}).get("fields")
            name = fields[-1].get("String", {}).get("sval") if fields else None
        if name is None:
            raise _GiveUp                       # the server makes one up (`count`, `case`, …)
        names.append(name)
    return names
