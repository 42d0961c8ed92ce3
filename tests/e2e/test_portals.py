"""What a FETCH runs: portals and cursors that share one space of names, opened by messages, by SQL and by code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, everywhere
from tests.e2e.test_attacks_controls import FLUSH, SYNC, Raw, bind, close, execute, kinds, parse, query

RULES = """\
  - name: hide-words
    connections: [crm]
    mask:
      - {{columns: ["spoken.word"], with: hash, predicates: equality}}
      - {{columns: ["kept.word"], with: redact}}
  - name: deletes-need-a-person
    connections: [plain]
    when: op.verb == "delete"
    review: {{by: [dba], expires: 5m, mode: ticket}}
  - name: not-this-table
    connections: [plain]
    when: '"public.kept" in op.tables'
    deny: this table is closed
"""
SCHEMA = """
CREATE TABLE spoken (id int, word text); INSERT INTO spoken VALUES (1, 'raw-word');
CREATE TABLE kept (id int, word text); INSERT INTO kept VALUES (1, 'raw-word');
CREATE TABLE prey (id int); INSERT INTO prey VALUES (1), (2);
CREATE TABLE watched (id int); INSERT INTO watched VALUES (1);
CREATE FUNCTION leaves_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE c refcursor := 'named'; d refcursor; BEGIN OPEN c FOR SELECT * FROM kept; OPEN d FOR SELECT * FROM kept; RETURN NULL; END $$;
CREATE TRIGGER opens AFTER UPDATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION leaves_open();
"""
TABLES = ("spoken", "kept", "prey", "watched")


@pytest.fixture(scope="module")
def front(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Masks whose values are in the result until they leave, on `crm`; a closed table and reviews on `plain`."""
    everywhere(backend, SCHEMA)
    with gateway(tmp_path_factory.mktemp("portals"), HEAD + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running
    everywhere(backend, f"DROP TABLE {', '.join(TABLES)}; DROP FUNCTION leaves_open()")


def prey(backend: Server, database: str = "crm") -> int:
    with psycopg.connect(backend.dsn(database), autocommit=True) as admin:
        row = admin.execute("SELECT count(*) FROM prey").fetchone()
    assert row is not None
    return int(row[0])


def said(replies: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join(body for _, body in replies)


@pytest.mark.parametrize("name", ["p", ""])
@pytest.mark.parametrize("block", [
    "DECLARE c refcursor := '{0}'; x text; BEGIN FETCH c INTO x; RAISE NOTICE '%', x; END",
    "DECLARE c refcursor; x text; BEGIN c := '{0}'; FETCH c INTO x; INSERT INTO watched VALUES (length(x)); RAISE NOTICE '%', x; END",
])
def test_code_reads_no_portal_that_it_has_not_opened(front: Gateway, agent: str, block: str, name: str) -> None:
    """A bound portal holds real values until its result is masked: no block reads them on another way."""
    with closing(Raw(front, agent)) as raw:
        raw.send(query("BEGIN"))
        raw.send(parse("s", "SELECT word FROM spoken"), bind(name, "s"), SYNC)
        replies = raw.send(query(f"DO $$ {block.format(name)} $$"))
        assert b"raw-word" not in said(replies)
        assert b"E" in kinds(replies)


UNJUDGED = {"crm": "SELECT word FROM spoken", "plain": "DELETE FROM prey WHERE id = 2 RETURNING id"}


@pytest.mark.parametrize("database", ["crm", "plain"])
@pytest.mark.parametrize("failing", [
    "DECLARE c CURSOR FOR SELECT 1", "SELECT 1/0; CLOSE c", "SELECT 1/0; CLOSE ALL", "SELECT 1/0; DISCARD ALL",
    "SELECT 1/0; DECLARE c CURSOR FOR SELECT 1",
])
def test_a_portal_outlives_what_fails(backend: Server, front: Gateway, agent: str, failing: str, database: str) -> None:
    """A DECLARE or CLOSE that fails closes nothing: what is bound there is still nobody's to run unjudged."""
    last = failing.rsplit("; ", maxsplit=1)[-1]
    by_message = (parse("x", last), bind("", "x"), parse("y", "SELECT 1/0"), bind("z", "y"), execute("z"), execute(""), SYNC)
    for messages in ((query(failing),), by_message):
        with closing(Raw(front, agent, database)) as raw:
            raw.send(query("BEGIN"))
            raw.send(parse("s", UNJUDGED[database]), bind("c", "s"), SYNC)
            raw.send(query("SAVEPOINT a"))
            assert b"E" in kinds(raw.send(*messages))
            raw.send(query("ROLLBACK TO a"))
            replies = raw.send(query("FETCH c"))
            assert b"E" in kinds(replies)
            assert b"raw-word" not in said(replies)
            raw.send(query("COMMIT"))
        assert prey(backend, database) == 2


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_a_close_that_is_discarded_closes_nothing(backend: Server, front: Gateway, agent: str, database: str) -> None:
    """Its Sync goes by, and what is behind it is judged before anybody knows."""
    with closing(Raw(front, agent, database)) as raw:
        raw.send(query("BEGIN"))
        raw.send(parse("s", UNJUDGED[database]), parse("t", "SELECT 1"), bind("c", "s"), SYNC)
        raw.send(query("SAVEPOINT a"))
        failing = parse("", "SELECT 1/0") + bind("", "") + execute("")
        replies = raw.send(failing, close(b"P", "c"), SYNC, query("ROLLBACK TO a"), query("FETCH c"), ready=3)
        raw.send(query("ROLLBACK TO a"))
        replies += raw.send(failing, close(b"P", "c"), SYNC, query("ROLLBACK TO a"), bind("c", "t"), SYNC,
                            query("ROLLBACK TO a"), query("FETCH c"), ready=5)
        raw.send(query("ROLLBACK TO a"))
        replies += raw.send(query("FETCH c"))
        assert b"raw-word" not in said(replies)
        raw.send(query("COMMIT"))
    assert prey(backend, database) == 2


@pytest.mark.parametrize("drops", ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"])
def test_a_deallocate_takes_no_name_that_came_after_it(front: Gateway, agent: str, drops: str) -> None:
    """What is prepared behind it in one packet is known when the next PREPARE of that name fails."""
    with closing(Raw(front, agent)) as raw:
        raw.send(query("PREPARE s AS SELECT 'x'::text"))
        raw.send(parse("", drops), bind("", ""), execute(""), parse("s", "SELECT word FROM spoken"), SYNC)
        raw.send(query("PREPARE s AS SELECT 'x'::text"))
        raw.send(query("CREATE TEMP TABLE lk AS EXECUTE s"))
        assert b"raw-word" not in said(raw.send(query("SELECT * FROM lk")))
        assert b"raw-word" not in said(raw.send(query("EXECUTE s")))


def test_a_close_takes_no_name_that_came_after_it(backend: Server, front: Gateway, agent: str) -> None:
    """The same with cursors."""
    with closing(Raw(front, agent)) as raw:
        raw.send(query("BEGIN"))
        raw.send(query("DECLARE c CURSOR FOR SELECT 'x'::text"))
        raw.send(parse("s", "SELECT word FROM spoken"), SYNC)
        raw.send(parse("", "CLOSE c"), bind("", ""), execute(""), bind("c", "s"), SYNC)
        raw.send(query("SAVEPOINT a"))
        raw.send(query("DECLARE c CURSOR FOR SELECT 'x'::text"))
        raw.send(query("ROLLBACK TO a"))
        assert b"raw-word" not in said(raw.send(query("FETCH c")))


@pytest.mark.parametrize("database", ["crm", "plain"])
@pytest.mark.parametrize("name", ["named", '"<unnamed portal 1>"', '"<unnamed portal 2>"', '"<unnamed portal 3>"'])
@pytest.mark.parametrize("ends", ["ROLLBACK; BEGIN", "ROLLBACK|BEGIN", "CLOSE {0}", "ROLLBACK TO a", "COMMIT|BEGIN", "COMMIT AND CHAIN"])
def test_a_cursor_is_known_while_it_is_open(front: Gateway, agent: str, database: str, name: str, ends: str) -> None:
    """Afterwards another one, which code has opened and nobody has judged, may bear its name."""
    with closing(Raw(front, agent, database)) as raw:
        for text in ("BEGIN", "SAVEPOINT a", f"DECLARE {name} CURSOR FOR SELECT 1", *ends.format(name).split("|"),
                     "UPDATE watched SET id = 1"):
            raw.send(query(text))
        assert b"raw-word" not in said(raw.send(query(f"FETCH ALL FROM {name}")))
        raw.send(query("ROLLBACK"))
        for text in ("BEGIN", "SAVEPOINT a"):
            raw.send(query(text))
        ended = ends.format(name).replace("|", "; ")
        replies = raw.send(query(f"DECLARE {name} CURSOR FOR SELECT 1; {ended}; UPDATE watched SET id = 1; FETCH ALL FROM {name}"))
        assert b"raw-word" not in said(replies)


@pytest.mark.parametrize("database", ["crm", "plain"])
@pytest.mark.parametrize("ends", ["ROLLBACK TO a", "ROLLBACK; BEGIN", "COMMIT AND CHAIN", "COMMIT; BEGIN", "EXECUTE closes"])
def test_no_execute_takes_a_cursor_for_its_portal(front: Gateway, agent: str, database: str, ends: str) -> None:
    """A portal that ended with its transaction or savepoint does not run what code has opened under its name."""
    with closing(Raw(front, agent, database)) as raw:
        raw.send(parse("s", "SELECT n, 'x' FROM generate_series(1, 3) n"), parse("closes", "CLOSE named"), SYNC)
        for executes in (b"", execute("named", 1)):
            raw.send(query("BEGIN; SAVEPOINT a"))
            raw.send(bind("named", "s"), executes, SYNC)
            raw.send(query(ends))
            raw.send(query("UPDATE watched SET id = 1"))
            assert b"raw-word" not in said(raw.send(execute("named"), SYNC))
            raw.send(query("ROLLBACK"))


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_explain_opens_no_cursor(backend: Server, front: Gateway, agent: str, database: str) -> None:
    """EXPLAIN DECLARE plans only, with ANALYZE too: neither is a cursor known, nor is a portal forgotten."""
    for explain in ("EXPLAIN DECLARE named CURSOR FOR SELECT 1", "EXPLAIN ANALYZE DECLARE named CURSOR FOR SELECT 1"):
        with closing(Raw(front, agent, database)) as raw:
            raw.send(query("BEGIN"))
            raw.send(query(explain))
            raw.send(query("UPDATE watched SET id = 1"))
            assert b"raw-word" not in said(raw.send(query("FETCH ALL FROM named")))
            raw.send(query("ROLLBACK; BEGIN"))
            raw.send(parse("s", UNJUDGED[database]), bind("named", "s"), SYNC)
            raw.send(query(explain))
            assert b"raw-word" not in said(raw.send(query("FETCH ALL FROM named")))
            raw.send(query("COMMIT"))
        assert prey(backend, database) == 2


@pytest.mark.parametrize("database", ["crm", "plain"])
@pytest.mark.parametrize("ends", ["sync", "query"])
@pytest.mark.parametrize("opens", [
    parse("s", "SELECT n FROM generate_series(1, 3) n") + bind("named", "s") + execute("named", 1),
    parse("", "DECLARE named CURSOR FOR SELECT 1") + bind("", "") + execute(""),
], ids=["portal", "cursor"])
def test_an_implicit_transaction_ends_its_cursors(front: Gateway, agent: str, database: str, opens: bytes, ends: str) -> None:
    """With its Sync or the next Query, whose reply nobody has seen when the FETCH behind it is judged."""
    with closing(Raw(front, agent, database)) as raw:
        raw.socket.sendall(parse("", "SELECT 1") + bind("", "") + execute("") + opens + FLUSH)
        kind = tag = b""
        while kind not in (b"s", b"E") and not (kind == b"C" and tag.startswith(b"DECLARE")):
            kind, tag = raw.read()
        ending = SYNC if ends == "sync" else query("SELECT 1")
        replies = raw.send(ending, query("UPDATE watched SET id = 1; FETCH ALL FROM named"), ready=2)
        assert b"raw-word" not in said(replies)


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_a_cursor_that_is_not_there(front: Gateway, agent: str, database: str) -> None:
    """The answer is the server's own, not a rule that cannot tell what it would show."""
    with psycopg.connect(front.dsn(agent, database), autocommit=True) as connection:
        connection.execute("BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT")
        connection.execute("BEGIN")
        connection.execute("CLOSE held")
        connection.execute("ROLLBACK")
        for name in ("held", "never"):
            with pytest.raises(psycopg.errors.InvalidCursorName):
                connection.execute(f"FETCH {name}")


def test_execute_is_judged_by_what_it_runs(backend: Server, front: Gateway, agent: str) -> None:
    """Behind rules about tables and verbs; what a person has to approve is to be sent itself."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        connection.execute("PREPARE looks AS SELECT count(*) FROM prey")
        assert connection.execute("EXECUTE looks").fetchone() == (2,)
        connection.execute("CREATE TEMP TABLE counted AS EXECUTE looks")
        connection.pgconn.prepare(b"spies", b"SELECT * FROM prey")
        assert len(connection.execute("EXECUTE spies").fetchall()) == 2
        for text in ("PREPARE closed AS SELECT * FROM kept", "EXECUTE closed", "PREPARE deletes AS DELETE FROM prey", "EXECUTE deletes",
                     "EXECUTE nobody"):
            with pytest.raises(psycopg.errors.Error):
                connection.execute(text)
    assert prey(backend, "plain") == 2


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_ordinary_cursors(front: Gateway, agent: str, database: str) -> None:
    """Declared, fetched from, carried over savepoints and commits, and closed, one message at a time and in one string."""
    with psycopg.connect(front.dsn(agent, database)) as connection:
        with connection.cursor("one") as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT n FROM generate_series(1, 6) n")
            found = []
            for (number,) in cursor:
                found.append(number)
                with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                    connection.execute("SELECT 1/0")
                with connection.transaction():
                    connection.execute("UPDATE prey SET id = id WHERE id = 9")
            assert found == [1, 2, 3, 4, 5, 6]
        with connection.cursor("two", withhold=True) as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 3) n")
            connection.commit()
            assert cursor.fetchall() == [(1,), (2,), (3,)]
        connection.commit()
        connection.execute("DECLARE three SCROLL CURSOR WITH HOLD FOR SELECT 3; MOVE three; FETCH PRIOR FROM three")
        connection.execute("CLOSE three")
        connection.execute("DEALLOCATE ALL")
        connection.execute("PREPARE four AS SELECT 4")
        connection.rollback()
    with closing(Raw(front, agent, database)) as raw:
        raw.send(query("BEGIN"))
        raw.send(parse("s", "SELECT n FROM generate_series(1, 4) n"), bind("c", "s"), execute("c", 1), SYNC)
        assert kinds(raw.send(query("FETCH c"))) == b"TDCZ"
        assert kinds(raw.send(execute("c", 1), SYNC)) == b"DsZ"
        raw.send(query("SAVEPOINT a"))
        assert b"E" in kinds(raw.send(query("SELECT 1/0")))
        raw.send(query("ROLLBACK TO a"))
        assert kinds(raw.send(execute("c", 1), SYNC)) == b"DsZ"
        assert kinds(raw.send(close(b"P", "c"), bind("c", "s"), execute("c"), SYNC)) == b"32DDDDCZ"
