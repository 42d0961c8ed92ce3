"""Two databases that differ in labelled columns only, and what a statement gives on both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import psycopg

from testbed.postgres import Server
from tests.unit.analysis.taint.world import SETUP

ONE = ("'219-09-0001'", "'219-09-0001'", "'219-09-0002'", "NULL", "'a'", "'x'", "'219-09-0003'", "'219-09-0002'")
TWO = ("'481-77-1001'", "'219-09-0001'", "NULL", "'481-77-1002'", "'b'", "'481-77-1001'", "'x'", "'a'")


def fill(values: tuple[str, ...], modulus: int) -> str:
    """Rows whose labelled columns hold the values, or numbers made of them; other columns are always the same."""
    rows = range(8)
    n = [sum(map(ord, value)) % modulus for value in values]
    parts = [
        "INSERT INTO t VALUES " + ", ".join(f"({i + 1}, 'n{i % 3}', {values[i]}, {n[i]})" for i in rows),
        "INSERT INTO u VALUES " + ", ".join(f"({i + 1}, {('NULL', chr(39) + 'a' + chr(39), chr(39) + 'x' + chr(39))[i % 3]}, {i % 5})"
                                            for i in range(6)),
        "INSERT INTO docs VALUES " + ", ".join(
            f"""({i + 1}, jsonb_build_object('k', {values[i]}::text, '{n[i]}', 1), array_fill({values[i]}::text, ARRAY[{n[i] % 3}]), {i % 2})"""
            for i in range(5)),
        "INSERT INTO gen(id, ssn) VALUES " + ", ".join(f"({i + 1}, {values[7 - i]})" for i in range(5)),
        "INSERT INTO par VALUES " + ", ".join(f"({i + 1}, {values[i]})" for i in range(3)),
        "INSERT INTO chi VALUES " + ", ".join(f"({i + 4}, {values[i + 3]}, 'e')" for i in range(3)),
        "INSERT INTO dup VALUES (1, 'open')", f"INSERT INTO q.dup VALUES (1, {values[0]})",
        "INSERT INTO comp VALUES " + ", ".join(f"({i + 1}, ROW({values[i]}, 'b'))" for i in range(3)),
        "INSERT INTO notes(id, body) VALUES (1, 'hello')", "INSERT INTO trig VALUES (1, 'a', 'a')",
        "REFRESH MATERIALIZED VIEW mv", "REFRESH MATERIALIZED VIEW mvf",
    ]
    return ";".join(parts)


@dataclass(frozen=True)
class Result:
    """Column names and rows, or the SQLSTATE of a failure."""

    names: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    error: str = ""

    def columns(self, numbers: list[int], *, is_ordered: bool = True) -> Counter[tuple[str | None, ...]]:
        """The rows, as far as these columns go; their order is not looked at, nor that of characters inside a value where
        it is not `is_ordered`."""
        def shown(value: str | None) -> str | None:
            return value if is_ordered or value is None else "".join(sorted(value))

        return Counter(tuple(shown(row[number]) for number in numbers) for row in self.rows)


class Pair:
    """Connections to the two databases."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connections: list[psycopg.Connection] = []
        for name, values, modulus in (("one", ONE, 7), ("two", TWO, 5)):
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                admin.execute(f"CREATE DATABASE {name}")
            connection = psycopg.connect(server.dsn(name), autocommit=True)
            connection.execute(SETUP)
            connection.execute(fill(values, modulus))
            connection.execute("SET search_path = p; SET statement_timeout = '5s'; SET jit = off")
            self.connections.append(connection)

    def run(self, text: str) -> tuple[Result, Result]:
        """What the statement gives on both; nothing stays changed."""
        one, two = (self._run(connection, text) for connection in self.connections)
        return one, two

    def _run(self, connection: psycopg.Connection, text: str) -> Result:
        connection.execute("BEGIN")
        try:
            cursor = connection.cursor()
            cursor.execute(text.encode())
            if cursor.description is None:
                return Result((), ((str(cursor.rowcount),),))
            names = tuple(column.name for column in cursor.description)
            return Result(names, tuple(tuple(None if cell is None else str(cell) for cell in row) for row in cursor.fetchall()))
        except psycopg.Error as error:
            return Result(error=error.sqlstate or "?")
        finally:
            connection.execute("ROLLBACK")

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
