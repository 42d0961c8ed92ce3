"""What there is to write statements about: relations and columns, with types in groups that can replace one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

GROUPS: Final = {
    "int2": "int", "int4": "int", "int8": "int", "numeric": "num", "float8": "float", "bool": "bool",
    "text": "text", "varchar": "text", "bpchar": "text", "short_code": "text", "date": "date", "timestamp": "ts",
    "timestamptz": "tstz", "time": "time", "interval": "span", "uuid": "uuid", "jsonb": "jsonb", "json": "json",
    "bytea": "bytea", "_text": "texts", "_int4": "ints", "tier": "tier", "inet": "inet", "int4range": "range",
    "contact": "contact",
}
"""Type name → group. A column of another type is left out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column in scope: how it is written there, and the group of its type."""

    text: str
    group: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation by its qualified name. `kind` is that of pg_class; `writable` are the columns that DML may set,
    `key` the one that is the primary key. `is_target`: DML may name it."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    writable: tuple[Column, ...]
    key: str | None
    is_target: bool

    @property
    def is_table(self) -> bool:
        return self.kind in "rp"


_RELATIONS: Final = """
select c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text,
  (select quote_ident(a.attname) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
   where i.indrelid = c.oid and i.indisprimary and i.indnatts = 1),
  c.relkind in ('r', 'p') or c.relkind = 'v' and pg_relation_is_updatable(c.oid, false) & 28 = 28
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
order by c.oid
"""
_COLUMNS: Final = """
select quote_ident(a.attname), t.typname::text, a.attgenerated = '' and a.attidentity = ''
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


def read(connection: psycopg.Connection) -> tuple[Relation, ...]:
    """Every relation of a database, in the order in which they were made."""
    found = []
    for oid, name, kind, key, is_target in connection.execute(_RELATIONS).fetchall():
        rows = [(column, GROUPS[base], is_plain) for column, base, is_plain in
                connection.execute(_COLUMNS, [oid]).fetchall() if base in GROUPS]
        columns = tuple(Column(column, group) for column, group, _ in rows)
        writable = tuple(Column(column, group) for column, group, is_plain in rows if is_plain)
        found.append(Relation(name, kind, columns, writable, key, is_target))
    return tuple(found)
