"""What the server calls a column that has no alias: its `FigureColname`, from PostgreSQL's `parse_target.c`.

Names of sub-selects' columns are resolved by it, so a wrong one would resolve to another column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Node = dict[str, Any]

NAMELESS: Final = "?column?"

_FIXED: Final = {
    "GroupingFunc": "grouping", "MergeSupportFunc": "merge_action", "A_ArrayExpr": "array", "RowExpr": "row",
    "CoalesceExpr": "coalesce", "XmlSerialize": "xmlserialize", "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar", "JsonSerializeExpr": "json_serialize", "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array", "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg", "JsonArrayAgg": "json_arrayagg",
}
_BY_OPERATION: Final = {
    "IS_GREATEST": "greatest", "IS_LEAST": "least",
    "SVFOP_CURRENT_DATE": "current_date", "SVFOP_CURRENT_TIME": "current_time", "SVFOP_CURRENT_TIME_N": "current_time",
    "SVFOP_CURRENT_TIMESTAMP": "current_timestamp", "SVFOP_CURRENT_TIMESTAMP_N": "current_timestamp",
    "SVFOP_LOCALTIME": "localtime", "SVFOP_LOCALTIME_N": "localtime", "SVFOP_LOCALTIMESTAMP": "localtimestamp",
    "SVFOP_LOCALTIMESTAMP_N": "localtimestamp", "SVFOP_CURRENT_ROLE": "current_role",
    "SVFOP_CURRENT_USER": "current_user", "SVFOP_USER": "user", "SVFOP_SESSION_USER": "session_user",
    "SVFOP_CURRENT_CATALOG": "current_catalog", "SVFOP_CURRENT_SCHEMA": "current_schema",
    "IS_XMLCONCAT": "xmlconcat", "IS_XMLELEMENT": "xmlelement", "IS_XMLFOREST": "xmlforest",
    "IS_XMLPARSE": "xmlparse", "IS_XMLPI": "xmlpi", "IS_XMLROOT": "xmlroot", "IS_XMLSERIALIZE": "xmlserialize",
    "JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value",
}
_NAMED_BY_OPERATION: Final = frozenset(("MinMaxExpr", "SQLValueFunction", "XmlExpr", "JsonFuncExpr"))


def name_of(node: Node, sublinks: Mapping[int, str | None]) -> str | None:
    """The column's name; None where it is that of a sub-select's column that is not known.

    `sublinks` has the name of the only column of each scalar sub-select, by the identity of its node.
    """
    return _figured(node, sublinks)[0]


def _figured(node: Node | None, sublinks: Mapping[int, str | None]) -> tuple[str | None, int]:
    """The name and how strong it is: 2 is kept, 1 gives way to another, 0 is none."""
    weaker: list[str] = []                      # names that count if nothing stronger stands inside
    name: str | None = None
    strength = 0
    while node:
        kind, body = next(iter(node.items()))
        node = None
        if kind == "TypeCast":
            names = body.get("typeName", {}).get("names") or [{}]
            weaker.append(names[-1].get("String", {}).get("sval", NAMELESS))
            node = body.get("arg")
        elif kind == "CollateClause":
            node = body.get("arg")
        elif kind == "CaseExpr":
            weaker.append("case")
            node = body.get("defresult")
        elif kind == "A_Indirection":
            name = _last(body.get("indirection", ()))
            strength = 2 if name is not None else 0
            if name is None:
                node = body.get("arg")
        else:
            name, strength = _plain(kind, body, sublinks)
    if strength == 2:
        return name, 2
    if weaker:
        return weaker[0], 1
    return NAMELESS, 0


def _plain(kind: str, body: Node, sublinks: Mapping[int, str | None]) -> tuple[str | None, int]:
    name: str | None = None
    if kind == "ColumnRef":
        name = _last(body.get("fields", ()))
    elif kind == "FuncCall":
        name = _last(body.get("funcname", ()))
    elif kind == "SubLink":
        link = body.get("subLinkType")
        if link == "EXPR_SUBLINK":
            return sublinks.get(id(body)), 2
        name = {"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array"}.get(link or "")
    elif kind == "A_Expr":
        name = "nullif" if body.get("kind") == "AEXPR_NULLIF" else None
    elif kind in _NAMED_BY_OPERATION:
        name = _BY_OPERATION.get(body.get("op", ""))
    else:
        name = _FIXED.get(kind)
    return name, 2 if name is not None else 0


def _last(items: Any) -> str | None:
    name = None
    for item in items:
        if "String" in item:
            name = item["String"].get("sval", "")
    return name
