"""Real clients pass through the gateway unchanged."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from testbed.gateway import Gateway
from testbed.postgres import Server


def run_tool(backend: Server, front: Gateway, agent: str, name: str, *words: str,
             database: str = "plain") -> subprocess.CompletedProcess[str]:
    """One of PostgreSQL's own programs, through the gateway."""
    return subprocess.run([backend.bin / name, *words], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **front.environment(agent, database)})


def test_psql_runs_scripts_and_meta_commands(backend: Server, front: Gateway, agent: str) -> None:
    """psql works: queries, several statements at once, \\d, \\copy, variables, errors."""
    script = ("SELECT 1 AS one; SELECT 2 AS two;\n\\d plain\n\\dt\n\\copy (SELECT id FROM plain LIMIT 3) TO STDOUT\n"
              "BEGIN;\nSELECT count(*) FROM plain;\nROLLBACK;\nSELECT 1/0;\nSELECT 'after';\n\\l\n\\conninfo\n")
    done = subprocess.run([backend.bin / "psql", "-X", "-v", "VERBOSITY=verbose"], input=script, text=True,
                          capture_output=True, timeout=60,
                          env={**os.environ, **front.environment(agent, "plain")})
    assert "division by zero" in done.stderr
    for word in ("one", "two", '"plain_pkey" PRIMARY KEY', "1\n2\n3\n", "500", "after"):
        assert word in done.stdout, done.stdout + done.stderr


def test_psycopg_sync(front: Gateway, agent: str) -> None:
    """psycopg: parameters, transactions, savepoints, executemany, binary, prepared statements."""
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        assert connection.execute("SELECT %s::int + 1", (41,)).fetchone() == (42,)
        with connection.transaction():
            connection.execute("CREATE TEMP TABLE mine (id int, word text)")
            connection.cursor().executemany("INSERT INTO mine VALUES (%s, %s)", [(n, str(n)) for n in range(50)])
            with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                connection.execute("SELECT 1/0")
        assert connection.execute("SELECT count(*) FROM mine").fetchone() == (50,)
        for _ in range(10):
            rows = connection.execute("SELECT * FROM plain WHERE id < %s", (5,), prepare=True, binary=True).fetchall()
        assert len(rows) == 4


def test_psycopg_pipeline_mode(front: Gateway, agent: str) -> None:
    """psycopg's pipeline mode: many statements in flight, an error in the middle, order kept."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(100)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(100)]
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline() as pipeline:
            connection.execute("SELECT 1")
            connection.execute("SELECT 1/0")
            connection.execute("SELECT 2")
            pipeline.sync()
        assert connection.execute("SELECT 'alive'").fetchone() == ("alive",)


def test_psycopg_refusal_in_the_middle_of_a_pipeline(front: Gateway, agent: str) -> None:
    """A refused statement in a pipeline fails alone and in its place."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline() as pipeline:
            first = connection.execute("SELECT 1")
            pipeline.sync()
            connection.execute("DROP TABLE plain")
            pipeline.sync()
        assert first.fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM plain").fetchone() == (500,)


def test_psycopg_copy(front: Gateway, agent: str) -> None:
    """COPY in and out, text and binary, by rows and by blocks."""
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        connection.execute("CREATE TEMP TABLE target (id int, word text)")
        cursor = connection.cursor()
        with cursor.copy("COPY target FROM STDIN") as copy:
            for number in range(2000):
                copy.write_row((number, f"w{number}\t\\ü"))
        with cursor.copy("COPY target FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((5000, "binary"))
        assert connection.execute("SELECT count(*) FROM target").fetchone() == (2001,)
        with cursor.copy("COPY (SELECT * FROM target ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        assert rows[7] == (7, "w7\t\\ü")
        assert rows[-1] == (5000, "binary")
        with cursor.copy("COPY target TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            assert len(list(copy.rows())) == 2001


def test_copy_in_that_fails_leaves_the_session_usable(front: Gateway, agent: str) -> None:
    """A COPY IN that the client or the server breaks off ends in an error, and the session lives on."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE target (id int)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation), \
                connection.cursor().copy("COPY target FROM STDIN") as copy:
            copy.write("1\nnot a number\n")
        with pytest.raises(ZeroDivisionError), connection.cursor().copy("COPY target FROM STDIN") as copy:
            copy.write("1\n")
            raise ZeroDivisionError
        assert connection.execute("SELECT count(*) FROM target").fetchone() == (0,)


def test_psycopg_server_cursors(front: Gateway, agent: str) -> None:
    """Named cursors: DECLARE, FETCH in pieces, scroll, close."""
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        with connection.cursor("c1") as cursor:
            cursor.itersize = 37
            cursor.execute("SELECT id FROM plain ORDER BY id")
            assert [row[0] for row in cursor] == list(range(1, 501))
        with connection.cursor("c2", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM plain ORDER BY id")
            assert cursor.fetchmany(10)[-1] == (10,)
            cursor.scroll(-5)
            assert cursor.fetchone() == (6,)


async def test_psycopg_async_notifications_and_cancel(front: Gateway, agent: str) -> None:
    """psycopg async: LISTEN/NOTIFY arrives, and a cancel request stops the running statement."""
    connection = await psycopg.AsyncConnection.connect(front.dsn(agent, "plain"), autocommit=True)
    async with connection:
        await connection.execute("LISTEN news")
        await connection.execute("NOTIFY news, 'hello'")
        async for note in connection.notifies(timeout=10, stop_after=1):
            assert (note.channel, note.payload) == ("news", "hello")
        async with asyncio.TaskGroup() as group:
            async def sleeper() -> None:
                with pytest.raises(psycopg.errors.QueryCanceled):
                    await connection.execute("SELECT pg_sleep(60)")

            group.create_task(sleeper())
            async with await psycopg.AsyncConnection.connect(front.dsn(agent, "plain"), autocommit=True) as other:
                query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%'"
                while (await (await other.execute(query + " AND pid <> pg_backend_pid()")).fetchone()) != (1,):
                    pass
            await connection.cancel_safe(timeout=10)
        row = await (await connection.execute("SELECT 'alive'")).fetchone()
        assert row == ("alive",)


async def test_asyncpg(front: Gateway, agent: str) -> None:
    """asyncpg: binary results, prepared statements used again, cursors with partial fetch, COPY, close()."""
    connection = await asyncpg.connect(host="127.0.0.1", port=front.port, user="agent", password=agent,
                                       database="plain", ssl=False)
    try:
        for number in range(20):
            assert await connection.fetchval("SELECT $1::int * 2", number) == number * 2
        rows = await connection.fetch("SELECT * FROM plain ORDER BY id")
        assert len(rows) == 500
        assert rows[0]["tags"] == ["a", "b1"]
        async with connection.transaction():
            seen = [record["id"] async for record in
                    connection.cursor("SELECT id FROM plain ORDER BY id", prefetch=33)]
        assert seen == list(range(1, 501))
        await connection.execute("CREATE TEMP TABLE target (id int, word text)")
        await connection.copy_records_to_table("target", records=[(n, str(n)) for n in range(100)])
        assert await connection.fetchval("SELECT count(*) FROM target") == 100
        statement = await connection.prepare("SELECT word FROM target WHERE id = $1")
        assert [await statement.fetchval(n) for n in range(3)] == ["0", "1", "2"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE plain")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("DROP TABLE plain")
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await asyncio.wait_for(connection.close(), 10)


async def test_asyncpg_pool(front: Gateway, agent: str) -> None:
    """asyncpg's pool resets connections (several statements, DISCARD-like) and hands them out again."""
    async with asyncpg.create_pool(host="127.0.0.1", port=front.port, user="agent", password=agent,
                                   database="plain", ssl=False, min_size=2, max_size=4) as pool:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.fetchval("SELECT $1::int", n)) for n in range(40)]
        assert sorted(task.result() for task in tasks) == list(range(40))


def test_sqlalchemy_with_psycopg(front: Gateway, agent: str) -> None:
    """SQLAlchemy on psycopg: reflection, ORM-like DML with RETURNING, pool_pre_ping."""
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("postgresql+psycopg", "agent", agent, "127.0.0.1", front.port, "plain"),
        connect_args={"sslmode": "disable"}, pool_pre_ping=True)
    try:
        names = {column["name"] for column in sqlalchemy.inspect(engine).get_columns("plain")}
        assert {"word", "doc"} <= names
        table = sqlalchemy.Table("plain", sqlalchemy.MetaData(), autoload_with=engine)
        with engine.begin() as connection:
            row = connection.execute(table.select().where(table.c.id == 3)).one()
            assert row.word == "word 3"
            new = table.insert().values(id=9001, word="new").returning(table.c.id)
            assert connection.execute(new).scalar_one() == 9001
            assert connection.execute(table.delete().where(table.c.id == 9001)).rowcount == 1
    finally:
        engine.dispose()


async def test_sqlalchemy_with_asyncpg(front: Gateway, agent: str) -> None:
    """SQLAlchemy on asyncpg: the same through the extended protocol."""
    engine = create_async_engine(
        sqlalchemy.URL.create("postgresql+asyncpg", "agent", agent, "127.0.0.1", front.port, "plain"),
        connect_args={"ssl": False})
    try:
        async with engine.connect() as connection:
            query = sqlalchemy.text("SELECT word FROM plain WHERE id = :id")
            assert (await connection.execute(query, {"id": 7})).scalar_one() == "word 7"
            names = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names())
            assert "plain" in names
    finally:
        await engine.dispose()


def test_pg_dump_of_an_unprotected_database(backend: Server, front: Gateway, agent: str) -> None:
    """pg_dump through the gateway writes what a direct pg_dump writes."""
    words = ("--no-owner", "--restrict-key=test", "-t", "plain", "-t", "notes")
    through = run_tool(backend, front, agent, "pg_dump", *words)
    assert through.returncode == 0, through.stderr
    direct = subprocess.run([backend.bin / "pg_dump", *words, backend.dsn("plain")], capture_output=True, text=True)
    assert direct.returncode == 0, direct.stderr
    assert through.stdout == direct.stdout


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_in_all_protocol_modes(backend: Server, front: Gateway, agent: str, mode: str) -> None:
    """pgbench's own script runs in each protocol mode without a failed transaction."""
    setup = subprocess.run([backend.bin / "pgbench", "-i", "-q", "-s", "1", backend.dsn("plain")],
                           capture_output=True, text=True)
    assert setup.returncode == 0, setup.stderr
    with psycopg.connect(backend.dsn("plain"), autocommit=True) as admin:
        for table in ("accounts", "branches", "tellers", "history"):
            admin.execute(f"ALTER TABLE pgbench_{table} OWNER TO app")
    done = run_tool(backend, front, agent, "pgbench", "-n", "-M", mode, "-c", "4", "-t", "50", "plain")
    assert done.returncode == 0, done.stderr
    assert "number of transactions actually processed: 200/200" in done.stdout
    assert "number of failed transactions: 0" in done.stdout


def test_a_program_reads_its_password_file_again(front: Gateway, agent: str, tmp_path: Path) -> None:
    """PGPASSFILE is how a long-lived program renews its token: it is read at each connect."""
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{front.port}:*:*:{agent}\n")
    file.chmod(0o600)
    with psycopg.connect(host="127.0.0.1", port=front.port, user="agent", dbname="plain", passfile=str(file),
                         sslmode="disable") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
