"""Rules on what the planner expects: asked on the session's own connection, before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database
from tests.e2e.test_attacks_controls import SYNC, Raw, bind, execute, message, parse, query
from tests.e2e.test_review import Held, wait_pending

RULES = """\
  - name: small-reads
    connections: [crm]
    when: op.estimated_rows > 100
    deny: ask for less
  - name: big-deletes-need-a-person
    connections: [plain]
    when: op.verb == "delete" && op.estimated_rows > 100
    review: {{by: [dba], expires: 5m}}
  - name: not-dear
    connections: [plain]
    when: op.estimated_cost > 100000000.0
    deny: too dear
  - name: no-updates
    connections: [plain]
    when: op.verb == "update"
    deny: no updates
  - name: hide-ssn
    connections: [crm]
    mask: [{{columns: ["*.ssn"], with: redact}}]
"""

SCHEMA = """
CREATE TABLE many (id int PRIMARY KEY, word text);
INSERT INTO many SELECT n, 'word ' || n FROM generate_series(1, 1000) n;
ANALYZE many;
CREATE FUNCTION leaves_a_trace() RETURNS int LANGUAGE sql AS 'INSERT INTO many VALUES (-1, NULL) RETURNING 1';
"""


@pytest.fixture(scope="module")
def database(backend: Server) -> Iterator[str]:
    """The database, with statistics."""
    with own_database(backend, "estimated", SCHEMA, "template_plain") as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE TABLE not_ours (word text)")
        yield dsn


@pytest.fixture(scope="module")
def front(backend: Server, database: str, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose rules read estimates."""
    head = HEAD.replace("    tls: {{mode: disable}}\n", "    tls: {{mode: disable}}\n    options: {{database: estimated}}\n")
    with gateway(tmp_path_factory.mktemp("estimated"), head + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


DENIED = psycopg.errors.InsufficientPrivilege


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
@pytest.mark.parametrize("text", [
    "SELECT * FROM many WHERE id > {}", "UPDATE many SET word = word WHERE id > {}", "DELETE FROM many WHERE id > {}",
    "INSERT INTO many SELECT id + (random() * 1000000000)::int, word FROM many WHERE id > {}", "SELECT id FROM many WHERE id > {} FOR UPDATE",
    "WITH d AS (DELETE FROM many WHERE id > {} RETURNING id) SELECT count(*) FROM d",
    "MERGE INTO many a USING many b ON a.id = b.id AND b.id > {} WHEN MATCHED THEN DELETE",
])
def test_more_than_the_planner_may_expect_is_denied(
    front: Gateway, agent: str, database: str, text: str, autocommit: bool
) -> None:
    """By Query and by Execute with its parameters; few rows pass, many do not, and nothing was executed."""
    with connect(front, agent, autocommit) as connection:
        for few, many in ((text.format("990"), text.format("0")), (text.format("%s"), text.format("%s"))):
            params = ((990,), (0,)) if "%s" in few else (None, None)
            with pytest.raises(DENIED, match="ask for less") as caught:
                connection.execute(many, params[1])
            assert caught.value.diag.message_detail == "rule: small-reads"
            connection.rollback()
            connection.execute(few, params[0])
            connection.rollback()
    with psycopg.connect(database, autocommit=True) as direct:
        direct.execute("DELETE FROM many WHERE id > 1000 OR id < 1")
        direct.execute("INSERT INTO many SELECT n, '' FROM generate_series(1, 1000) n ON CONFLICT DO NOTHING")
        direct.execute("ANALYZE many")


def connect(front: Gateway, agent: str, autocommit: bool = True, database: str = "crm") -> psycopg.Connection:
    return psycopg.connect(front.dsn(agent, database), autocommit=autocommit)


def test_what_concerns_no_rows_is_not_asked_about(front: Gateway, agent: str) -> None:
    """Transactions, settings, definitions, cursors' ends: they are zero, and none of them is in the way."""
    with connect(front, agent) as connection:
        for text in ("BEGIN", "SAVEPOINT a", "SET LOCAL work_mem = '8MB'", "CREATE TEMP TABLE x (a int)",
                     "DECLARE c CURSOR FOR SELECT * FROM many WHERE id < 5", "FETCH ALL FROM c", "CLOSE c",
                     "ROLLBACK TO a", "COMMIT", "SHOW work_mem", "LISTEN a", "EXPLAIN SELECT * FROM many", ""):
            connection.execute(text, prepare=False)
        with pytest.raises(DENIED), connection.transaction():
            connection.execute("DECLARE c CURSOR FOR SELECT * FROM many")


@pytest.mark.parametrize("text", ["COPY many TO STDOUT", "TRUNCATE many", "SELECT leaves_a_trace()", "DO 'BEGIN END'",
                                  "SELECT 1; SELECT 2", "EXPLAIN ANALYZE SELECT 1", "EXECUTE unknown"])
def test_what_cannot_be_estimated_counts_as_too_much(front: Gateway, agent: str, database: str, text: str) -> None:
    """The fact is missing, so the rule applies; a function is not even planned."""
    with connect(front, agent) as connection, pytest.raises(DENIED, match="ask for less"):
        connection.execute(text, prepare=False)
    with psycopg.connect(database) as direct:
        assert direct.execute("SELECT count(*) FROM many WHERE id = -1").fetchone() == (0,)


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
@pytest.mark.parametrize("params", [None, (1,)], ids=["simple", "extended"])
def test_an_error_of_the_planner_is_the_statements_own(
    front: Gateway, agent: str, autocommit: bool, params: tuple[int] | None
) -> None:
    """A missing column is 42703 at its place, the block fails as it would, and the refusal is on record."""
    where = "id = %s" if params else "id = 1"
    with connect(front, agent, autocommit, "plain") as connection:
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            connection.execute(f"DELETE FROM many WHERE nothing = 1 AND {where}", params)
        assert caught.value.diag.statement_position == "24"
        if not autocommit:
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("SELECT 1")
            connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("DELETE FROM many WHERE id = 1/0")
        connection.rollback()


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
def test_a_question_that_failed_is_in_nobodys_way(front: Gateway, agent: str, autocommit: bool) -> None:
    """What fails when it is explained was parsed before; the next question, and the one after it, are asked all the same."""
    with connect(front, agent, autocommit, "plain") as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                connection.execute("DELETE FROM not_ours WHERE word = %s", ("x",))
            connection.rollback()
            assert connection.execute("DELETE FROM many WHERE id = -1 AND word = %s", ("x",)).rowcount == 0
            connection.rollback()


def test_an_error_about_masked_data_is_worded_anew(front: Gateway, agent: str) -> None:
    """Planning folds constants: what it says is held as everything else about labelled relations."""
    with connect(front, agent) as connection, pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught:
        connection.execute("SELECT ssn FROM customers WHERE id = 'canary'::int")
    assert "canary" not in str(caught.value)


def test_settings_of_the_client_are_left_as_they_were(front: Gateway, agent: str) -> None:
    """The question's time-out is undone, in a block, outside, and by messages."""
    for autocommit in (True, False):
        with connect(front, agent, autocommit) as connection:
            connection.execute("SET statement_timeout = '77s'")
            for params in (None, (5,)):
                connection.execute("SELECT 1 WHERE 1 < " + ("%s" if params else "5"), params)
                assert connection.execute("SHOW statement_timeout").fetchone() == ("77s",)


def test_unnamed_statements_and_portals_stay_the_clients(front: Gateway, agent: str) -> None:
    """A statement prepared without a name is executed again and again, each time with a question before it."""
    raw = Raw(front, agent)
    raw.send(parse("", "SELECT id FROM many WHERE id = $1", 23), SYNC)
    for number in (1, 2, 3):
        found = raw.send(bind("", "", str(number).encode()), execute(""), SYNC)
        assert b"".join(kind for kind, _ in found) == b"2DCZ"
        assert found[1][1].endswith(str(number).encode())
    found = raw.send(parse("", "SELECT id FROM many WHERE id > $1", 23), bind("", "", (0).to_bytes(4, "big"), binary=True),
                     execute(""), SYNC, parse("", "SELECT 1"), bind("", ""), execute(""), SYNC, ready=2)
    assert b"".join(kind for kind, _ in found) == b"12EZ12DCZ"
    raw.close()


def test_a_pipeline_is_asked_about_statement_by_statement(front: Gateway, agent: str) -> None:
    """Each gets its answer in order; the one that is too much discards the rest of its segment."""
    with connect(front, agent) as connection:
        with connection.pipeline():
            cursors = [connection.execute("SELECT id FROM many WHERE id = %s", (n,)) for n in range(1, 21)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(1, 21)]
        with pytest.raises(DENIED), connection.pipeline():
            connection.execute("UPDATE many SET word = 'changed' WHERE id = 1")
            connection.execute("SELECT * FROM many WHERE id > %s", (0,))
        assert connection.execute("SELECT word FROM many WHERE id = 1").fetchone() != ("changed",)

    async def others() -> None:
        other = await asyncpg.connect(host="127.0.0.1", port=front.port, user="agent", password=agent, database="crm",
                                      ssl=False)
        for _ in range(3):
            assert await other.fetchval("SELECT id FROM many WHERE id = $1", 7) == 7
            with pytest.raises(asyncpg.exceptions.InsufficientPrivilegeError):
                await other.fetch("SELECT * FROM many WHERE id > $1", 0)
        await other.executemany("UPDATE many SET word = $2 WHERE id = $1", [(n, "w") for n in range(1, 6)])
        await other.close()

    asyncio.run(others())


def test_a_person_is_asked_about_what_is_expected_to_be_big(front: Gateway, agent: str, dba: str) -> None:
    """A small delete goes through at once; a big one waits for a person, who has the last word."""
    with connect(front, agent, database="plain") as connection:
        connection.execute("DELETE FROM many WHERE id = 999")
        connection.execute("INSERT INTO many VALUES (999, '')")
        with pytest.raises(DENIED, match="no updates"):
            connection.execute("UPDATE many SET word = nothing")        # denied before the planner is asked

        held = Held(lambda: connection.execute("DELETE FROM many WHERE id > 500").rowcount)
        ticket = wait_pending(front, dba, "DELETE FROM many WHERE id > 500")["ticket"]
        run("review", "approve", ticket, "--url", front.control_url, env={"LOCKGATE_TOKEN": dba})
        held.join(30)
        assert held.result == 500
        connection.execute("INSERT INTO many SELECT n, '' FROM generate_series(501, 1000) n")
        with pytest.raises(DENIED, match="too dear"):
            connection.execute("SELECT * FROM many a, many b, many c, many d, many e WHERE a.word < b.word")


def test_the_question_takes_no_longer_than_its_time(front: Gateway, agent: str, database: str) -> None:
    """A planner that waits for a lock is stopped, and the client reads why."""
    with psycopg.connect(database) as blocker, connect(front, agent) as connection:
        blocker.execute("LOCK TABLE many IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.QueryCanceled, match="how many rows"):
            connection.execute("SELECT * FROM many WHERE id < 5")
        blocker.rollback()
        assert connection.execute("SELECT count(*) FROM many WHERE id < 5").fetchone() == (4,)


def test_a_client_that_leaves_during_the_question_leaves_nothing(front: Gateway, agent: str, database: str) -> None:
    """Terminate behind a question that is not answered yet."""
    raw = Raw(front, agent)
    raw.socket.sendall(query("DELETE FROM many WHERE id = 1") + message(b"X"))
    raw.close()
    raw = Raw(front, agent)
    found = raw.send(query("SELECT id FROM many WHERE id = 2"), query("SELECT id FROM many WHERE id = 3"), ready=2)
    assert b"".join(kind for kind, _ in found) == b"TDCZTDCZ"
    raw.close()
