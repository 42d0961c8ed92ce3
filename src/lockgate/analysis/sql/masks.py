"""What a masked column shows: a SQL expression of the column's own type.

Mask text holds no regular-expression metacharacter, so that a predicate on it cannot fail (manual,
"Pattern Matching"). Constants are valid for the type; a type that is not known gets NULL. Only
`partial` looks at the value, and only at textual ones; it keeps NULL as NULL, `redact` does not.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.analysis.sql.builtin_types import BY_NAME, EMPTY_ARRAY, REDACTED, WIDEST_BITS
from lockgate.analysis.sql.catalogue import Column
from lockgate.analysis.sql.covers import Cover
from lockgate.model import MaskMethod

TEXTUAL: Final = frozenset(("text", "varchar", "bpchar", "name"))
EMAIL: Final = "[!-?A-~]+@([A-Za-z0-9-]+[.])+[A-Za-z]{2,24}"
"""What `partial` takes for an e-mail: one address and nothing beside it. The server's and Python's engines read it
alike, in linear time, and it holds nothing that a string literal would have to escape.
"""
_WITH_CONSTANTS: Final = frozenset("brm")           # pg_type.typtype: base types, ranges, multiranges
_KEYS: Final = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_LENGTH: Final = re.compile(r"^character(?: varying)?\((\d+)\)$")
_BITS: Final = re.compile(r"^bit\((\d+)\)$")


def quote_name(name: str) -> str:
    """A name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def expression(column: Column, cover: Cover, prefix: str = "") -> str:
    """The SQL expression that stands for the column, cast to its type. `prefix` is the relation's quoted name,
    where the column's alone could mean another's.

    A method that needs a key is no matter of the text (keys never enter it): the column is redacted here.
    """
    method = cover.method
    name = f"{prefix}.{quote_name(column.name)}" if prefix else quote_name(column.name)
    if cover.paths and column.base == "jsonb":
        parts = [keys for path in sorted(cover.paths) if (keys := plain_keys(path)) is not None]
        if len(parts) == len(cover.paths):
            return _paths(column, name, parts, method)
    if method is MaskMethod.PARTIAL and column.kind == "b" and column.base in TEXTUAL:
        return _partial(column, name)
    if method is not MaskMethod.NULL:
        constant = redacted(column)
        if constant is not None:
            quoted = constant.replace("'", "''")
            return f"'{quoted}'::{column.type}"
    return f"NULL::{column.type}"


def plain_keys(path: str) -> list[str] | None:
    """The keys of a JSON path that only goes from key to key (`$.a.b`), None for any other."""
    if not _KEYS.fullmatch(path):
        return None
    return path[2:].split(".")


def _paths(column: Column, name: str, parts: list[list[str]], method: MaskMethod) -> str:
    """The value with a constant at each path that it has; one that is no object has none of them.

    `jsonb_set` leaves a value without the path as it is; an array on the way is an error for a key, so such a
    value is hidden as a whole.
    """
    constant = "null" if method is MaskMethod.NULL else f'"{REDACTED}"'
    value = name
    guards: list[str] = [f"pg_catalog.jsonb_typeof({name}) OPERATOR(pg_catalog.=) 'object'"]
    for keys in parts:
        path = "ARRAY[" + ", ".join(f"'{key}'" for key in keys) + "]::pg_catalog.text[]"
        value = f"pg_catalog.jsonb_set({value}, {path}, '{constant}', false)"
        for length in range(1, len(keys)):
            above = "ARRAY[" + ", ".join(f"'{key}'" for key in keys[:length]) + "]::pg_catalog.text[]"
            guards.append(
                f"COALESCE(pg_catalog.jsonb_typeof(pg_catalog.jsonb_extract_path({name}, VARIADIC {above})), 'object')"
                " OPERATOR(pg_catalog.=) 'object'")
    test = " AND ".join(dict.fromkeys(guards))
    return (f"(CASE WHEN {name} IS NULL THEN NULL WHEN {test} THEN {value}"
            f" ELSE '\"{REDACTED}\"'::pg_catalog.jsonb END)::{column.type}")


def redacted(column: Column) -> str | None:
    """The text of the type's constant, or None where only NULL is sure to be valid."""
    if column.base is None or column.kind not in _WITH_CONSTANTS:
        return None
    if column.base.startswith("_"):
        return EMPTY_ARRAY
    found = BY_NAME.get(column.base)
    if found is None:
        return None
    bits = _BITS.match(column.type)                 # the cast fills up with zeros
    if bits is not None and int(bits.group(1)) > WIDEST_BITS:
        return None
    limit = _LENGTH.match(column.type)
    if limit is not None:
        return found.text[:int(limit.group(1))]
    if column.base == "bpchar" and column.type == "character":
        return found.text[:1]
    return found.text


def _partial(column: Column, name: str) -> str:
    """One e-mail address keeps first letter and domain, a text of 8 and more its last four, the rest nothing."""
    # everything is qualified: a domain named `text` with a CHECK would otherwise see the value; and the pattern is only
    # tried where it may fit, because it costs more than all the rest
    value = f"{name}::pg_catalog.text"
    plain = f'{value} COLLATE pg_catalog."C"'       # a collation that is not deterministic knows no patterns
    masked = (
        f"CASE WHEN {name} IS NULL THEN NULL"
        f" WHEN pg_catalog.strpos({plain}, '@') OPERATOR(pg_catalog.>) 1 AND {plain} OPERATOR(pg_catalog.~) '^{EMAIL}$'"
        f" THEN pg_catalog.concat(pg_catalog.left({value}, 1), 'xxx@', pg_catalog.split_part({plain}, '@', 2))"
        f" WHEN pg_catalog.length({value}) OPERATOR(pg_catalog.>=) 8"
        f" THEN pg_catalog.concat('xxxx', pg_catalog.right({value}, 4)) ELSE 'xxxx' END"
    )
    return f"({masked})::{column.type}"
