"""On unprotected tables the gateway is not there: every byte of a result equals a direct connection's."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.pq import Format

from testbed.gateway import Gateway
from testbed.postgres import Server

STATEMENTS = [
    "SELECT * FROM plain ORDER BY id",
    "SELECT * FROM plain WHERE false",
    "SELECT NULL, '', repeat('x', 100000), 'ü€😀', E'\\\\x00'",
    "SELECT array_agg(id ORDER BY id), jsonb_agg(doc ORDER BY id), max(price), avg(amount) FROM plain",
    "SELECT p FROM plain p ORDER BY id LIMIT 5",
    "SELECT ROW(id, word), int4range(id, id + 3) FROM plain ORDER BY id LIMIT 5",
    "SELECT n FROM generate_series(1, 20000) n",
    "VALUES (1, 'a'), (2, NULL)",
    "SELECT",
    "SELECT 'infinity'::timestamptz, '-infinity'::date, 'NaN'::numeric, 'NaN'::float8, interval '1 mon 2 days'",
    "EXPLAIN (COSTS off) SELECT * FROM plain WHERE id = 3",
    "SHOW server_version",
    "INSERT INTO notes VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET body = notes.body RETURNING *",
    "SELECT 1/0",
    "SELECT * FROM nowhere",
    "SELEC 1",
    "",
]


def answer(dsn: str, statement: str, result_format: Format) -> list[object]:
    """Everything that a client sees of a statement, as raw as libpq has it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if result_format is Format.TEXT:
            results = [connection.pgconn.exec_(statement.encode())]
        else:
            results = [connection.pgconn.exec_params(statement.encode(), [], result_format=Format.BINARY)]
        seen: list[object] = []
        for result in results:
            columns = range(result.nfields)
            seen += [result.status, result.command_status, result.command_tuples,
                     result.error_field(psycopg.pq.DiagnosticField.SQLSTATE),
                     result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY)]
            seen += [(result.fname(c), result.ftype(c), result.fmod(c), result.fformat(c), result.ftablecol(c),
                      result.ftable(c)) for c in columns]
            seen += [[result.get_value(r, c) for c in columns] for r in range(result.ntuples)]
    return seen


@pytest.mark.parametrize("result_format", [Format.TEXT, Format.BINARY], ids=["simple-text", "extended-binary"])
@pytest.mark.parametrize("statement", STATEMENTS, ids=range(len(STATEMENTS)))
def test_results_are_byte_equal(backend: Server, front: Gateway, agent: str, statement: str,
                                result_format: Format) -> None:
    """Names, types, formats, values, tags and errors: the same through the gateway as without it."""
    direct = answer(backend.dsn("plain"), statement, result_format)
    through = answer(front.dsn(agent, "plain"), statement, result_format)
    assert through == direct
