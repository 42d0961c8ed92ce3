"""The two sides of a model: the same database on two servers that have done the same things.

Two servers, because object and transaction ids count through a whole server: done in the same order on
both, they are the same on both, and so are the database's names. What still differs by itself (clocks,
random numbers) differs between two runs on one side as well. Each side is made from a template and can be
made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import psycopg
from psycopg import sql

from lockgate.analysis.sql import Catalogue
from testbed.noninterference.models import SIDES, Model
from testbed.postgres import Server, embedded

_SETTINGS: Final = {"autovacuum": "off", "max_parallel_workers_per_gather": "0", "jit": "off",
                    "wal_level": "minimal", "max_wal_senders": "0"}
"""Autovacuum would move rows and take transaction ids on one side at another time than on the other, and rows
from several workers come in any order."""
_REFRESHED: Final = "select oid::regclass::text from pg_class where relkind = 'm' order by oid"
_COLUMNS: Final = """
select c.oid::int8, a.attnum::int, quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(a.attname)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
order by c.oid, a.attnum
"""
_TABLES: Final = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by c.oid
"""
_CONSTRAINTS: Final = """
select k.conname::text, k.conrelid::int8, coalesce(k.conkey::int[], '{}'), k.confrelid::int8,
  coalesce(k.confkey::int[], '{}') from pg_constraint k where k.conrelid <> 0
union all
select c.relname::text, i.indrelid::int8, i.indkey::int2[]::int[] || array(
    select d.refobjsubid from pg_depend d where d.objid = c.oid and d.refobjid = i.indrelid), 0, '{}'
from pg_index i join pg_class c on c.oid = i.indexrelid where i.indisunique
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
    """`model` on two servers, one for each side, that have had nothing else to do than the other."""

    def __init__(self, servers: Sequence[Server], model: Model) -> None:
        self.model = model
        self._servers = dict(zip(SIDES, servers, strict=True))
        self._base = f"{model.name}_base"
        self._tidying: dict[str, psycopg.Connection] = {}
        for side in SIDES:
            self._make(side)
        with self._template("one") as connection:
            self.catalogue = snapshot(connection)

    def server(self, side: str) -> Server:
        return self._servers[side]

    def dsn(self, side: str) -> str:
        return self._servers[side].dsn(self.model.name)

    def close(self) -> None:
        for side in SIDES:
            self._leave(side)

    def restore(self, side: str) -> None:
        """Makes the database anew; whoever is connected to it is thrown out."""
        self._leave(side)
        name, path = sql.Identifier(self.model.name), sql.SQL(self.model.path)
        with self._admin(side) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))
            admin.execute(sql.SQL("create database {} template {}").format(name, sql.Identifier(self._base)))
            admin.execute(sql.SQL("alter database {} set search_path = {}").format(name, path))

    def tidy(self, side: str) -> None:
        """Removes what was rolled back: it takes room, which decides about plans, and so about the order of rows."""
        connection = self._tidying.get(side)
        if connection is None:
            connection = self._tidying[side] = psycopg.connect(self.dsn(side), autocommit=True)
        connection.execute(f"vacuum {', '.join(self._tables)}".encode())

    def copy(self, name: str) -> str:
        """One more database like that of `one`; returns its dsn. The other server makes one too, to stay in step."""
        for side in SIDES:
            with self._admin(side) as admin:
                admin.execute(sql.SQL("create database {} template {}").format(
                    sql.Identifier(name), sql.Identifier(self._base)))
        return self._servers["one"].dsn(name)

    @cached_property
    def _tables(self) -> list[str]:
        with self._template("one") as connection:
            return [name for (name,) in connection.execute(_TABLES).fetchall()]

    @cached_property
    def differing(self) -> dict[tuple[int, int], Differing]:
        """The stored columns in which the two sides differ, found by looking, whatever the masks say."""
        found = {}
        with self._template("one") as one, self._template("two") as two:
            for oid, number, relation, column in one.execute(_COLUMNS.encode()).fetchall():
                # format() asks the type itself: a cast to text may be somebody's own
                query = f"select case when {column} is null then '' else format('=%s', {column}) end"
                query += f" from only {relation} order by ctid"
                left, right = ([row[0] for row in side.execute(query.encode()).fetchall()] for side in (one, two))
                if left != right:
                    found[oid, number] = Differing(f"{relation}.{column}", frozenset(left), frozenset(right))
        return found

    def constraints(self) -> frozenset[str]:
        """Names of the constraints and unique indexes that speak of a differing column (class 23 tells of them)."""
        labelled = self.differing
        with self._template("one") as connection:
            return frozenset(
                name for name, relation, columns, other, others in connection.execute(_CONSTRAINTS).fetchall()
                if any((relation, number) in labelled for number in columns)
                or any((other, number) in labelled for number in others))

    def _leave(self, side: str) -> None:
        connection = self._tidying.pop(side, None)
        if connection is not None:
            connection.close()

    def _make(self, side: str) -> None:
        path = sql.SQL(self.model.path)
        with self._admin(side) as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(self._base)))
        with self._template(side) as connection:
            for script in (*self.model.setup, self.model.sides[side]):
                connection.execute(script.encode())
            for (name,) in connection.execute(_REFRESHED.encode()).fetchall():
                connection.execute(f"refresh materialized view {name}".encode())
            connection.execute("vacuum full")       # the rows at the same places on both sides
            connection.execute(sql.SQL("alter database {} set search_path = {}").format(
                sql.Identifier(self._base), path))
        self.restore(side)

    def _admin(self, side: str) -> psycopg.Connection:
        return psycopg.connect(self._servers[side].dsn(), autocommit=True)

    def _template(self, side: str) -> psycopg.Connection:
        return psycopg.connect(self._servers[side].dsn(self._base), autocommit=True)


@contextmanager
def compared(*models: Model) -> Iterator[list[Databases]]:
    """The databases of each model, on two servers of their own, until the block ends."""
    with ExitStack() as stack:
        servers = [stack.enter_context(embedded(_SETTINGS)) for _ in SIDES]
        found = [Databases(servers, model) for model in models]
        for databases in found:
            stack.callback(databases.close)
        yield found
