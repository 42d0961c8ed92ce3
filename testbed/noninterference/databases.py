"""The databases of one model on a real server: `one` and `two`, and an identical copy of each.

The copies tell what differs by itself (clocks, random numbers, the database's own name) from what differs
by the labelled values. Each is made from a template and can be made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from lockgate.analysis.sql import Catalogue
from testbed.noninterference.models import SIDES, Model
from testbed.postgres import Server

DATABASES: Final = {"one": "one", "two": "two", "one_copy": "one", "two_copy": "two"}
"""Name and side."""

_REFRESHED: Final = "select oid::regclass::text from pg_class where relkind = 'm' order by oid"
_COLUMNS: Final = """
select c.oid::int8, a.attnum::int, c.oid::regclass::text, quote_ident(a.attname)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
order by c.oid, a.attnum
"""
_CONSTRAINTS: Final = """
select conname::text, conrelid::int8, coalesce(conkey::int[], '{}'), confrelid::int8, coalesce(confkey::int[], '{}')
from pg_constraint where conrelid <> 0
union all
select c.relname::text, i.indrelid::int8, i.indkey::int2[]::int[], 0, '{}' from pg_index i
join pg_class c on c.oid = i.indexrelid where i.indisunique
"""


@dataclass(frozen=True, slots=True)
class Differing:
    """A column that is not the same on both sides, and its values there as text."""

    name: str
    one: frozenset[str]
    two: frozenset[str]


def snapshot(connection: psycopg.Connection, version: int = 1) -> Catalogue:
    """The catalogue as the gateway takes it."""
    connection.rollback()
    with connection.transaction():
        connection.execute("set local search_path = ''")
        rows = {name: [tuple(row) for row in connection.execute(query).fetchall()]
                for name, query in Catalogue.QUERIES.items()}
        found = connection.execute(Catalogue.FINGERPRINT).fetchone()
    assert found is not None
    return Catalogue.from_rows(rows, version, str(found[0]))


class Databases:
    """The databases of `model`. Needs a server with `autovacuum` off, or the sides drift apart by chance."""

    def __init__(self, server: Server, model: Model) -> None:
        self.server = server
        self.model = model
        with self._admin() as admin:
            self._create(admin, self._base("empty"), "template0")
        with self._inside("empty") as connection:
            for script in model.setup:
                connection.execute(script.encode())
            connection.execute(sql.SQL("alter database {} set search_path = {}").format(
                sql.Identifier(self._base("empty")), sql.SQL(model.path)))
        for side in SIDES:
            with self._admin() as admin:
                self._create(admin, self._base(side), self._base("empty"))
            with self._inside(side) as connection:
                connection.execute(model.sides[side].encode())
                for (name,) in connection.execute(_REFRESHED.encode()).fetchall():
                    connection.execute(f"refresh materialized view {name}".encode())
                connection.execute("vacuum full")       # the rows at the same places on both sides
        with self._inside("one") as connection:
            self.catalogue = snapshot(connection)
        for database in DATABASES:
            self.restore(database)

    def name(self, database: str) -> str:
        """The name on the server of one of `DATABASES`."""
        return f"{self.model.name}_{database}"

    def dsn(self, database: str) -> str:
        return self.server.dsn(self.name(database))

    def restore(self, database: str) -> None:
        """Makes the database anew; whoever is connected to it is thrown out."""
        with self._admin() as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(
                sql.Identifier(self.name(database))))
            self._create(admin, self.name(database), self._base(DATABASES[database]))
            admin.execute(sql.SQL("alter database {} set search_path = {}").format(
                sql.Identifier(self.name(database)), sql.SQL(self.model.path)))

    def base(self) -> str:
        """A dsn of the template of `one`, for reading only: a connection to it blocks `restore`."""
        return self.server.dsn(self._base("one"))

    def differing(self) -> dict[tuple[int, int], Differing]:
        """The stored columns in which the two sides differ, found by looking, whatever the masks say."""
        found = {}
        with self._inside("one") as one, self._inside("two") as two:
            for oid, number, relation, column in one.execute(_COLUMNS.encode()).fetchall():
                # format() asks the type itself: a cast to text may be somebody's own
                query = f"select case when {column} is null then '' else format('=%s', {column}) end" \
                        f" from only {relation} order by ctid".encode()
                left, right = ([row[0] for row in side.execute(query).fetchall()] for side in (one, two))
                if left != right:
                    found[oid, number] = Differing(f"{relation}.{column}", frozenset(left), frozenset(right))
        return found

    def constraints(self) -> frozenset[str]:
        """Names of the constraints and unique indexes that speak of a differing column (class 23 tells of them)."""
        labelled = self.differing()
        with self._inside("one") as connection:
            return frozenset(
                name for name, relation, columns, other, others in connection.execute(_CONSTRAINTS).fetchall()
                if any((relation, number) in labelled for number in columns)
                or any((other, number) in labelled for number in others))

    def _base(self, side: str) -> str:
        return f"{self.model.name}_base_{side}"

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self.server.dsn(), autocommit=True)

    def _inside(self, side: str) -> psycopg.Connection:
        return psycopg.connect(self.server.dsn(self._base(side)), autocommit=True)

    def _create(self, admin: psycopg.Connection, name: str, template: str) -> None:
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
