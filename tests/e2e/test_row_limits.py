"""Row limits by real clients: what is delivered, what is taken back, and ways round them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import asyncpg
import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database
from tests.e2e.test_attacks_controls import FLUSH, SYNC, Raw, bind, close, execute, message, parse, query

RULES = """\
  - {{name: ten-rows, who: {{groups: [ten]}}, limit: {{rows: 10}}}}
  - {{name: five-changes, who: {{groups: [five]}}, limit: {{changed: 5}}}}
  - {{name: task-budget, who: {{groups: [task]}}, limit: {{task_rows: 25}}}}
  - name: ten-customers
    who: {{groups: [customers]}}
    when: '"public.customers" in op.tables'
    limit: {{rows: 1}}
  - name: cards-in-notes
    who: {{groups: [cards]}}
    when: '"public.notes" in op.tables'
    mask: [{{detect: [credit_card], with: partial}}]
"""

SCHEMA = """
CREATE TABLE many (id int PRIMARY KEY, word text);
INSERT INTO many SELECT n, 'word ' || n FROM generate_series(1, 1000) n;
CREATE TABLE box (id int PRIMARY KEY, word text DEFAULT 'x', CHECK (id < 1000000));
CREATE TABLE late (id int PRIMARY KEY, other int REFERENCES box DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE ruled (id int);
CREATE RULE more AS ON INSERT TO ruled DO ALSO SELECT * FROM many;
CREATE TABLE log (id serial);
"""


@pytest.fixture(scope="module")
def database(backend: Server) -> Iterator[str]:
    """The database that is changed and looked at directly."""
    with own_database(backend, "limited", SCHEMA, "template_plain") as dsn:
        yield dsn


@pytest.fixture(scope="module")
def front(backend: Server, database: str, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with limits by the caller's group, and one mask by content."""
    head = HEAD.replace("    tls: {{mode: disable}}\n", "    tls: {{mode: disable}}\n    options: {{database: limited}}\n", 1)
    with gateway(tmp_path_factory.mktemp("limited"), head + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture
def box(database: str) -> Iterator[Callable[[], int]]:
    """Empties `box`; counts its rows over a direct connection."""
    with psycopg.connect(database, autocommit=True) as direct:
        direct.execute("TRUNCATE box, late, ruled, log")
        direct.execute("INSERT INTO box SELECT n FROM generate_series(1, 100) n")
        yield lambda: direct.execute("SELECT count(*) FROM box").fetchone()[0]  # type: ignore[index]


def connect(front: Gateway, tokens: Issuer, *groups: str, autocommit: bool = True, subject: str = "") -> psycopg.Connection:
    token = tokens.token(subject or f"agent-{'-'.join(groups)}", "agents", *groups)
    return psycopg.connect(front.dsn(token), autocommit=autocommit)


OVER = psycopg.errors.ProgramLimitExceeded


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("prepare", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
def test_the_row_too_many_is_an_error(front: Gateway, tokens: Issuer, prepare: bool, autocommit: bool) -> None:
    """Ten rows pass, eleven are an error with rule and way out; the block is failed on both ends, the session lives."""
    with connect(front, tokens, "ten", autocommit=autocommit) as connection:
        params = (0,) if prepare else None
        text = "SELECT * FROM many WHERE id > %s" if prepare else "SELECT * FROM many WHERE id > 0"
        assert len(connection.execute(text + " LIMIT 10", params).fetchall()) == 10
        with pytest.raises(OVER) as caught:
            connection.execute(text, params)
        assert caught.value.diag.message_detail == "rule: ten-rows"
        assert "LIMIT" in (caught.value.diag.message_hint or "")
        if not autocommit:
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("SELECT 1")
            connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert len(connection.execute(text + " LIMIT 10", params).fetchall()) == 10


def test_rows_up_to_the_limit_are_delivered(front: Gateway, tokens: Issuer) -> None:
    """A client that reads row by row has the first ten; the record says ten."""
    raw = Raw(front, tokens.token("raw-1", "agents", "ten"))
    found = raw.send(query("SELECT id FROM many"))
    assert b"".join(kind for kind, _ in found) == b"T" + b"D" * 10 + b"EZ"
    assert found[-1] == (b"Z", b"I")
    found = raw.send(parse("", "SELECT id FROM many"), bind("", ""), execute(""), SYNC)
    assert b"".join(kind for kind, _ in found) == b"12" + b"D" * 10 + b"EZ"
    raw.close()


def test_each_statement_of_a_string_counts_by_itself(front: Gateway, tokens: Issuer) -> None:
    """Three times ten rows in one string pass; the statement that goes over ends the string."""
    raw = Raw(front, tokens.token("raw-2", "agents", "ten"))
    ten = "SELECT id FROM many LIMIT 10;"
    kinds = b"".join(kind for kind, _ in raw.send(query(ten * 3)))
    assert kinds == (b"T" + b"D" * 10 + b"C") * 3 + b"Z"
    found = raw.send(query(ten + "SELECT id FROM many;" + ten))
    assert b"".join(kind for kind, _ in found) == b"T" + b"D" * 10 + b"CT" + b"D" * 10 + b"EZ"
    assert b"".join(kind for kind, _ in raw.send(query("SELECT 1"))) == b"TDCZ"
    raw.close()


def test_a_portal_counts_over_all_its_executes(front: Gateway, tokens: Issuer) -> None:
    """Four rows at a time: the third Execute is cut in the middle, and a savepoint brings the portal no new rows."""
    raw = Raw(front, tokens.token("raw-3", "agents", "ten"))
    raw.send(query("BEGIN"))
    found = raw.send(parse("", "SELECT id FROM many"), bind("p", ""), execute("p", 4), SYNC)
    assert b"".join(kind for kind, _ in found) == b"12DDDDsZ"
    raw.send(query("SAVEPOINT s"))
    assert b"".join(kind for kind, _ in raw.send(execute("p", 4), SYNC)) == b"DDDDsZ"
    found = raw.send(execute("p", 4), SYNC)
    assert b"".join(kind for kind, _ in found) == b"DDEZ"
    assert found[-1] == (b"Z", b"E")
    raw.send(query("ROLLBACK TO s"))
    found = raw.send(execute("p", 4), SYNC)
    assert b"D" not in [kind for kind, _ in found]
    assert found[-2][0] == b"E"
    raw.close()


def test_a_cursor_counts_over_all_its_fetches(front: Gateway, tokens: Issuer) -> None:
    """FETCH in a loop gets ten rows, with and without HOLD, also behind a savepoint and by a failing DECLARE."""
    with connect(front, tokens, "ten") as connection:
        for hold in ("", "WITH HOLD"):
            with pytest.raises(OVER), connection.transaction():
                connection.execute(f"DECLARE c CURSOR {hold} FOR SELECT * FROM many")
                for _ in range(5):
                    assert len(connection.execute("FETCH 2 FROM c").fetchall()) == 2
                connection.execute("FETCH 1 FROM c")
        connection.execute("DECLARE h CURSOR WITH HOLD FOR SELECT * FROM many")
        assert len(connection.execute("FETCH 10 FROM h").fetchall()) == 10
        for text in ("FETCH h", "FETCH ALL FROM h", "FETCH BACKWARD 3 FROM h",
                     "FETCH h; DECLARE h CURSOR WITH HOLD FOR SELECT 1", "SELECT 1; FETCH h"):
            with pytest.raises((OVER, psycopg.errors.DuplicateCursor)) as caught:
                connection.execute(text)
            assert "54000" in str(caught.value.sqlstate), text
        connection.execute("CLOSE h")
        connection.execute("DECLARE h CURSOR WITH HOLD FOR SELECT * FROM many")
        assert len(connection.execute("FETCH 10 FROM h").fetchall()) == 10


def test_a_server_side_cursor_of_a_driver_is_cut(front: Gateway, tokens: Issuer) -> None:
    """psycopg's named cursors fetch in parts."""
    with connect(front, tokens, "ten", autocommit=False) as connection:
        with connection.cursor(name="c") as cursor:
            cursor.itersize = 4
            cursor.execute("SELECT * FROM many")
            rows = 0
            with pytest.raises(OVER):
                for _ in cursor:
                    rows += 1
            assert rows == 8
            connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("options", ["", "(FORMAT csv, HEADER)", "(FORMAT binary)", "(FORMAT csv, QUOTE 'w')"])
@pytest.mark.parametrize("source", ["many", "(SELECT id, 'a' || chr(10) || word FROM many)"])
def test_copy_out_is_cut_by_rows(front: Gateway, tokens: Issuer, options: str, source: str) -> None:
    """Rows, not messages or lines, in all formats; the header is no row."""
    raw = Raw(front, tokens.token("raw-4", "agents", "ten"))
    found = raw.send(query(f"COPY {source} TO STDOUT {options}"))
    data = [body for kind, body in found if kind == b"d"]
    assert len(data) == 10 + ("HEADER" in options)
    assert [kind for kind, _ in found][-2:] == [b"E", b"Z"]
    exact = source.replace("FROM many", "FROM many LIMIT 10") if "SELECT" in source else "(SELECT * FROM many LIMIT 10)"
    found = raw.send(query(f"COPY {exact} TO STDOUT {options}"))
    assert [kind for kind, _ in found][-3:] == [b"c", b"C", b"Z"]
    raw.close()


def test_what_returned_too_much_has_changed_nothing(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """INSERT … RETURNING over the limit is taken back, whichever way it came; under it, it stays."""
    text = "INSERT INTO box SELECT n FROM generate_series({0}, {1}) n RETURNING id"
    raw = Raw(front, tokens.token("raw-5", "agents", "ten"))
    assert b"".join(kind for kind, _ in raw.send(query(text.format(201, 211)))) == b"T" + b"D" * 10 + b"EZ"
    found = raw.send(parse("", text.format(201, 211)), bind("", ""), execute(""), SYNC)
    assert b"".join(kind for kind, _ in found) == b"12" + b"D" * 10 + b"EZ"
    assert b"".join(kind for kind, _ in raw.send(query("INSERT INTO box VALUES (300); SELECT * FROM many"))).endswith(b"DEZ")
    assert b"".join(kind for kind, _ in raw.send(query("SELECT * FROM many; INSERT INTO box VALUES (301)"))).endswith(b"DEZ")
    assert box() == 100
    assert b"".join(kind for kind, _ in raw.send(query(text.format(201, 210)))) == b"T" + b"D" * 10 + b"CZ"
    assert box() == 110
    raw.close()


def test_a_pipeline_is_rolled_back_with_the_statement_that_went_over(
    front: Gateway, tokens: Issuer, box: Callable[[], int]
) -> None:
    """What came before in the segment is not committed, what comes behind is discarded, the next segment runs."""
    raw = Raw(front, tokens.token("raw-6", "agents", "ten"))
    insert = [parse("", "INSERT INTO box VALUES (500)"), bind("", ""), execute("")]
    big = [parse("", "SELECT id FROM many"), bind("", ""), execute("")]
    found = raw.send(*insert, *big, *insert, SYNC, *insert, SYNC, ready=2)
    assert b"".join(kind for kind, _ in found) == b"12C12" + b"D" * 10 + b"EZ" + b"12CZ"
    assert box() == 101
    found = raw.send(query("DELETE FROM box WHERE id = 500"), *big, FLUSH, *insert, SYNC, ready=2)
    assert b"".join(kind for kind, _ in found) == b"CZ12" + b"D" * 10 + b"EZ"
    assert box() == 100
    raw.close()


def test_a_rule_that_adds_rows_to_an_insert_is_not_trusted(front: Gateway, tokens: Issuer, database: str, box: Callable[[], int]) -> None:
    """Rows of a statement that should return none end the session: nothing was done to undo it."""
    raw = Raw(front, tokens.token("raw-7", "agents", "ten"))
    found = raw.send(query("INSERT INTO ruled VALUES (1)"))
    assert [kind for kind, _ in found].count(b"D") <= 10
    assert raw.read()[0] == b""
    raw.close()


def test_asyncpg_is_cut_and_lives(front: Gateway, tokens: Issuer) -> None:
    """asyncpg: fetch, cursors, a transaction, and the connection stays usable."""
    async def run() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=front.port, user="agent", password=tokens.token("async-1", "agents", "ten"),
            database="crm", ssl=False)
        assert len(await connection.fetch("SELECT * FROM many WHERE id <= $1", 10)) == 10
        for _ in range(2):
            with pytest.raises(asyncpg.exceptions.ProgramLimitExceededError):
                await connection.fetch("SELECT * FROM many WHERE id > $1", 0)
        with pytest.raises(asyncpg.exceptions.ProgramLimitExceededError):
            async with connection.transaction():
                async for _ in connection.cursor("SELECT * FROM many", prefetch=3):
                    pass
        with pytest.raises(asyncpg.exceptions.ProgramLimitExceededError):
            await connection.execute("SELECT * FROM many")
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    asyncio.run(run())


def test_a_condition_on_tables_follows_cursors(front: Gateway, tokens: Issuer) -> None:
    """A limit for one table holds for a cursor on it, though FETCH names no table."""
    with connect(front, tokens, "customers") as connection:
        assert len(connection.execute("SELECT * FROM many").fetchall()) == 1000
        with pytest.raises(OVER):
            connection.execute("SELECT * FROM customers")
        with pytest.raises(OVER), connection.transaction():
            connection.execute("DECLARE c CURSOR FOR SELECT * FROM customers")
            connection.execute("FETCH 1 FROM c")
            connection.execute("FETCH 1 FROM c")
        connection.execute("DECLARE h CURSOR WITH HOLD FOR SELECT * FROM many")
        assert len(connection.execute("FETCH ALL FROM h").fetchall()) == 1000


def test_a_condition_on_tables_follows_a_cursor_of_a_function(front: Gateway, tokens: Issuer, database: str) -> None:
    """It may close the session's own and open one on another table under the same name."""
    with psycopg.connect(database, autocommit=True) as direct:
        direct.execute("""CREATE OR REPLACE FUNCTION opener() RETURNS refcursor LANGUAGE plpgsql AS
            $$ DECLARE c refcursor := 'cc'; BEGIN OPEN c FOR SELECT * FROM customers; RETURN c; END $$;
            CREATE OR REPLACE FUNCTION swapper() RETURNS refcursor LANGUAGE plpgsql AS
            $$ DECLARE c refcursor := 'cc'; BEGIN CLOSE c; OPEN c FOR SELECT * FROM customers; RETURN c; END $$""")
    with connect(front, tokens, "customers") as connection:
        with pytest.raises(OVER), connection.transaction():
            connection.execute("SELECT opener()")
            connection.execute("FETCH ALL FROM cc")
        with pytest.raises(OVER), connection.transaction():
            connection.execute("DECLARE cc CURSOR FOR SELECT * FROM many")
            connection.execute("SELECT swapper()")
            connection.execute("FETCH ALL FROM cc")
        with connection.transaction():
            connection.execute("DECLARE cc CURSOR FOR SELECT * FROM many")
            assert len(connection.execute("FETCH ALL FROM cc").fetchall()) == 1000


@pytest.mark.parametrize("child", ["ALTER TABLE customers INHERIT par", "ALTER TABLE par_parts ATTACH PARTITION customers DEFAULT"])
def test_a_condition_on_tables_follows_a_new_parent(front: Gateway, tokens: Issuer, child: str) -> None:
    """In the transaction that makes it the parent, which no catalogue shows yet, and behind it."""
    parent = "par_parts" if "par_parts" in child else "par"
    columns = "(id int NOT NULL, name text, email text, ssn text, balance numeric, born date)"
    with connect(front, tokens, "customers", autocommit=False) as connection:
        for read in (f"SELECT * FROM {parent}", f"SELECT * FROM public.{parent}", f"TABLE {parent}"):
            connection.execute(f"CREATE TABLE {parent} {columns}" + (" PARTITION BY LIST (id)" if "parts" in parent else ""))
            connection.execute(child)
            with pytest.raises(OVER):
                connection.execute(read)
            connection.rollback()
        assert len(connection.execute("SELECT * FROM many").fetchall()) == 1000


@pytest.mark.parametrize("texts", [
    ("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes", "FETCH ALL c"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes; FETCH 1 c", "FETCH ALL c", "FETCH FIRST c"),
    ("BEGIN", "SELECT notes_opener()", "FETCH ALL cc"),
    ("BEGIN", "DECLARE cc CURSOR FOR SELECT * FROM plain", "SELECT count(*) FROM plain", "COMMIT", "BEGIN",
     "SELECT notes_opener()", "FETCH ALL cc"),
    ("CREATE TEMP VIEW own AS SELECT * FROM notes", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM own",
     "CREATE OR REPLACE TEMP VIEW own AS SELECT 1 AS id, '' AS body", "FETCH ALL c"),
    ("PREPARE p AS SELECT * FROM notes", "EXECUTE p"),
    ("BEGIN", "CREATE TABLE par (id int NOT NULL, body text)", "ALTER TABLE notes INHERIT par", "TABLE par"),
])
def test_a_mask_for_a_table_follows_what_names_it_later(front: Gateway, tokens: Issuer, database: str, texts: tuple[str, ...]) -> None:
    """FETCH, EXECUTE and a new parent name no table of a rule, and deliver its rows all the same."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("SET ROLE app")
        admin.execute("""CREATE OR REPLACE FUNCTION notes_opener() RETURNS refcursor LANGUAGE plpgsql AS
            $$ DECLARE c refcursor := 'cc'; BEGIN OPEN c FOR SELECT * FROM notes; RETURN c; END $$""")
    raw = Raw(front, tokens.token("agent-cards", "agents", "cards"))
    found = [message for text in texts for message in raw.send(query(text))]
    raw.close()
    rows = b"".join(body for kind, body in found if kind == b"D")
    assert b"E" not in [kind for kind, _ in found], found
    assert b"nothing here" in rows
    assert b"4111 1111" not in rows


def test_a_mask_for_a_table_follows_a_portal(front: Gateway, tokens: Issuer) -> None:
    """One that messages have bound, and SQL fetches from."""
    raw = Raw(front, tokens.token("agent-cards", "agents", "cards"))
    raw.send(query("BEGIN"))
    raw.send(parse("", "SELECT id, body FROM notes ORDER BY id DESC"), bind("p", ""), execute("p", 1), SYNC)
    rows = b"".join(body for kind, body in raw.send(query("FETCH ALL p")) if kind == b"D")
    raw.close()
    assert b"card" in rows
    assert b"4111 1111" not in rows


def test_an_endless_result_is_cancelled(front: Gateway, tokens: Issuer) -> None:
    """The backend is stopped: the client has its error and its session at once, and the next statement is not hit."""
    with connect(front, tokens, "ten") as connection:
        for _ in range(5):
            with pytest.raises(OVER):
                connection.execute("SELECT generate_series(1, 1000000000000) n, repeat('x', 1000)")
            assert connection.execute("SELECT count(*) FROM many").fetchone() == (1000,)
            with pytest.raises(OVER):
                connection.execute("SELECT generate_series(1, %s::bigint) n", (10**12,))
            assert connection.execute("SELECT count(*) FROM many").fetchone() == (1000,)


def test_a_giant_row_too_many_is_dropped(front: Gateway, tokens: Issuer) -> None:
    """A row of 20 MB that is one too many is neither kept nor sent."""
    with connect(front, tokens, "customers") as connection:
        rows = "SELECT repeat('x', 20000000) FROM customers"
        with pytest.raises(OVER):
            connection.execute(rows)
        assert len(connection.execute(rows + " LIMIT 1").fetchall()) == 1


# ---------------------------------------------------------------- changed rows


CHANGES = [
    "DELETE FROM box WHERE id <= 6", "UPDATE box SET word = 'y' WHERE id <= 6",
    "INSERT INTO box SELECT n FROM generate_series(201, 206) n",
    "INSERT INTO box SELECT n FROM generate_series(1, 6) n ON CONFLICT (id) DO UPDATE SET word = 'z'",
    "MERGE INTO box b USING many m ON b.id = m.id AND m.id < 7 WHEN MATCHED THEN DELETE",
    "DELETE FROM box WHERE id <= 6 RETURNING id", "CREATE TABLE taken AS SELECT * FROM box LIMIT 6",
    "SELECT * INTO taken FROM box LIMIT 6",
    "INSERT INTO box VALUES (201), (202), (203), (204), (205), (206)",
]


@pytest.mark.parametrize("text", CHANGES)
@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
def test_a_change_of_too_many_rows_is_taken_back(
    front: Gateway, tokens: Issuer, database: str, box: Callable[[], int], text: str, autocommit: bool
) -> None:
    """By Query and by Execute, in a block and outside: one error, nothing changed, the session lives."""
    for params in (None, ()):
        with connect(front, tokens, "five", autocommit=autocommit) as connection:
            with pytest.raises(OVER) as caught:
                connection.execute(text, params, prepare=params is not None)
            assert caught.value.diag.message_detail == "rule: five-changes"
            if not autocommit:
                with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                    connection.execute("SELECT 1")
                connection.commit()                 # a failed block: rolled back
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert box() == 100
        with psycopg.connect(database) as direct:
            assert direct.execute("SELECT count(*) FROM box WHERE word <> 'x'").fetchone() == (0,)
            assert direct.execute("SELECT to_regclass('taken')").fetchone() == (None,)


@pytest.mark.parametrize("text", [
    text.replace(", (206)", "").replace("206", "205").replace("6", "5").replace("id < 7", "id < 6")
    for text in CHANGES if "taken" not in text])
def test_a_change_of_as_many_rows_as_may_be_stays(
    front: Gateway, tokens: Issuer, box: Callable[[], int], text: str
) -> None:
    """Five rows are changed, in a transaction of the gateway's own that the client does not see."""
    raw = Raw(front, tokens.token("raw-8", "agents", "five"))
    found = raw.send(query(text))
    assert [kind for kind, _ in found][-2:] == [b"C", b"Z"], found
    assert found[-1] == (b"Z", b"I")
    assert b"5" in found[-2][1]
    raw.close()
    before = box()
    with connect(front, tokens, "five", autocommit=False) as connection:
        connection.execute("DELETE FROM box WHERE id BETWEEN 90 AND 94")
        connection.execute("DELETE FROM box WHERE id BETWEEN 80 AND 84")      # each statement by itself
        connection.commit()
    assert box() == before - 10


def test_errors_in_a_wrapped_statement_are_those_of_the_backend(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """Syntax errors with their position, constraints, errors that come at COMMIT only, and notices of it."""
    raw = Raw(front, tokens.token("raw-9", "agents", "five"))
    for text, code, position in (
        ("DELETE FROM box WHERE nothing = 1", b"C42703", b"P23"), ("INSERT INTO box VALUES (1)", b"C23505", b""),
        ("INSERT INTO late VALUES (1, 999)", b"C23503", b""), ("DELETE FROM box WHERE id = 1/0", b"C22012", b""),
    ):
        found = raw.send(query(text))
        assert [kind for kind, _ in found] == [b"E", b"Z"], (text, found)
        assert found[1] == (b"Z", b"I")
        assert code in found[0][1]
        assert position in found[0][1]
    assert box() == 100
    raw.close()


@pytest.mark.parametrize("text", [
    "TRUNCATE box", "WITH d AS (DELETE FROM box RETURNING id) SELECT count(*) FROM d",
    "WITH d AS (DELETE FROM box) INSERT INTO log DEFAULT VALUES", "EXPLAIN ANALYZE DELETE FROM box",
    "DO 'BEGIN DELETE FROM box; END'", "INSERT INTO ruled VALUES (1)", "BEGIN; DELETE FROM box; COMMIT",
    "DELETE FROM box; COMMIT", "COPY (DELETE FROM box RETURNING id) TO STDOUT", "SELECT setval('log_id_seq', 5), lo_creat(-1)",
    "CREATE TABLE taken AS WITH d AS (DELETE FROM box RETURNING id) SELECT * FROM d", "SELECT peek(1)",
])
def test_what_cannot_be_counted_is_refused(front: Gateway, tokens: Issuer, box: Callable[[], int], text: str) -> None:
    """Before it runs, with the rule and the way out."""
    with connect(front, tokens, "five") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute(text, prepare=False)
        assert caught.value.diag.message_detail == "rule: five-changes"
    assert box() == 100


def test_what_changes_no_rows_passes(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """Reads, definitions, settings and maintenance are not in the way of a limit on changes."""
    with connect(front, tokens, "five") as connection:
        for text in ("VACUUM box", "CREATE TABLE x1 (a int)", "DROP TABLE x1", "ANALYZE box", "SELECT * FROM many",
                     "CREATE INDEX CONCURRENTLY i1 ON box (word)", "DROP INDEX i1", "SET work_mem = '8MB'",
                     "EXPLAIN DELETE FROM box", "PREPARE p AS DELETE FROM box", "COPY many TO STDOUT", "SHOW ALL"):
            with connection.cursor() as cursor:
                if text.startswith("COPY"):
                    with cursor.copy(text) as copy:
                        assert sum(1 for _ in copy) == 1000
                else:
                    cursor.execute(text, prepare=False)


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "block"])
@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy_in_counts_its_rows(
    front: Gateway, tokens: Issuer, box: Callable[[], int], form: str, autocommit: bool
) -> None:
    """Six rows do not go in, five do; the session lives."""
    with connect(front, tokens, "five", autocommit=autocommit) as connection:
        def load(numbers: range) -> None:
            with connection.cursor().copy(f"COPY box (id) FROM STDIN (FORMAT {form})") as copy:
                copy.set_types(["int4"])
                for number in numbers:
                    if form == "csv":
                        copy.write(f"{number}\n")
                    else:
                        copy.write_row((number,))
            connection.commit()

        with pytest.raises(OVER):
            load(range(1000, 1006))
        connection.rollback()
        assert box() == 100
        load(range(1000, 1005))
        assert box() == 105


def test_a_part_of_what_a_change_returns_is_not_enough(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """RETURNING with a row limit hides how much was changed: it is taken back."""
    raw = Raw(front, tokens.token("raw-10", "agents", "five"))
    found = raw.send(parse("", "DELETE FROM box RETURNING id"), bind("", ""), execute("", 2), SYNC)
    assert b"".join(kind for kind, _ in found) == b"12DDEZ"
    assert box() == 100
    raw.close()


def test_pipelined_changes_each_count_and_one_too_many_undoes_its_segment(
    front: Gateway, tokens: Issuer, box: Callable[[], int]
) -> None:
    """psycopg's and asyncpg's executemany."""
    with connect(front, tokens, "five", autocommit=False) as connection:
        connection.cursor().executemany("DELETE FROM box WHERE id = %s", [(n,) for n in range(1, 21)])
        connection.commit()
        assert box() == 80
    with connect(front, tokens, "five") as connection:
        with pytest.raises(OVER), connection.pipeline():
            connection.execute("DELETE FROM box WHERE id = 30")
            connection.execute("DELETE FROM box WHERE id BETWEEN 40 AND 50")
            connection.execute("DELETE FROM box WHERE id = 31")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert box() == 80

    async def run() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=front.port, user="agent", password=tokens.token("async-2", "agents", "five"),
            database="crm", ssl=False)
        await connection.executemany("DELETE FROM box WHERE id = $1", [(n,) for n in range(30, 40)])
        with pytest.raises(asyncpg.exceptions.ProgramLimitExceededError):
            await connection.execute("DELETE FROM box WHERE id > $1", 1)
        with pytest.raises(asyncpg.exceptions.ProgramLimitExceededError):
            async with connection.transaction():
                await connection.execute("DELETE FROM box WHERE id = 50")
                await connection.execute("DELETE FROM box")
        await connection.close()

    asyncio.run(run())
    assert box() == 70


def test_a_savepoint_keeps_what_was_before_it(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """The block fails, and goes on at its savepoint without what went over."""
    with connect(front, tokens, "five", autocommit=False) as connection:
        connection.execute("DELETE FROM box WHERE id = 1")
        with pytest.raises(OVER), connection.transaction():
            connection.execute("DELETE FROM box")
        connection.execute("DELETE FROM box WHERE id = 2")
        connection.commit()
    assert box() == 98


def test_a_client_that_leaves_leaves_nothing(front: Gateway, tokens: Issuer, box: Callable[[], int]) -> None:
    """A wrapped statement whose client is gone is rolled back or complete, never more than the limit."""
    raw = Raw(front, tokens.token("raw-11", "agents", "five"))
    raw.socket.sendall(query("DELETE FROM box WHERE pg_sleep(0) IS NOT NULL AND id < 50") + message(b"X"))
    raw.close()
    raw = Raw(front, tokens.token("raw-11", "agents", "five"))
    raw.socket.sendall(query("DELETE FROM box WHERE id < 50") + close(b"S", "x") + SYNC)
    raw.until_ready(2)
    raw.close()
    assert box() == 100


# ---------------------------------------------------------------- one task's rows


def test_a_task_has_one_budget_over_all_its_sessions(front: Gateway, tokens: Issuer) -> None:
    """Rows of every session add up; the running statement is cut, further ones are refused, changes still pass."""
    with connect(front, tokens, "task", subject="t1") as one, connect(front, tokens, "task", subject="t1") as two:
        assert len(one.execute("SELECT * FROM many LIMIT 10").fetchall()) == 10
        assert len(two.execute("SELECT * FROM many WHERE id < %s", (11,)).fetchall()) == 10
        with pytest.raises(OVER, match="25 rows") as over:
            one.execute("SELECT * FROM many")
        assert over.value.diag.message_detail == "rule: task-budget"
        for connection in (one, two):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="25 rows") as caught:
                connection.execute("SELECT 1")
            assert caught.value.diag.message_detail == "rule: task-budget"
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT %s", (1,))
        one.execute("SET work_mem = '4MB'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            one.execute("COPY many TO STDOUT")
    with connect(front, tokens, "task", subject="t1") as again, pytest.raises(psycopg.errors.InsufficientPrivilege):
        again.execute("SELECT 1")
    with connect(front, tokens, "task", subject="t2") as other:
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_two_sessions_at_once_get_no_more_than_the_budget(front: Gateway, tokens: Issuer) -> None:
    """Both run while rows are counted."""
    token = tokens.token("t3", "agents", "task")
    sessions = [Raw(front, token) for _ in range(4)]
    for session in sessions:
        session.socket.sendall(query("SELECT id FROM many LIMIT 20"))
    found = [session.until_ready() for session in sessions]
    assert sum(kind == b"D" for replies in found for kind, _ in replies) == 25
    for session in sessions:
        session.close()
