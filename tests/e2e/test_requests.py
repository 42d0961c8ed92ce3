"""What agents send by value: masks that come back, tokens that stand for values, and content that has no place there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lockgate.wire.steps import LONG
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database

SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, name text, email text, ssn text, salary numeric, doc jsonb, born date);
INSERT INTO people VALUES (1, 'ann', 'ann@example.com', '219-09-9999', 5000, '{"a": 1}', '1980-02-03'),
                          (2, 'bob', 'bob@example.com', '219-09-9998', 6000, NULL, NULL);
CREATE TABLE notes (id int, body text);
CREATE TABLE cards (id int PRIMARY KEY, n bigint UNIQUE, doc jsonb, words text, several bigint[]);
CREATE TABLE kept (id int PRIMARY KEY, price numeric(10, 2), rate float8, ok bool, seen timestamptz, at timestamp, tags text[],
                   born date, size int);
"""
RULES = """\
  - name: hide
    connections: [sent]
    mask:
      - {{columns: ["people.ssn", "people.salary", "people.born"], with: redact}}
      - {{columns: ["kept.price", "kept.rate", "kept.ok", "kept.seen", "kept.at", "kept.tags", "kept.born", "kept.size"],
          with: redact}}
      - {{columns: ["people.email"], with: token, predicates: equality, lookups: 1000/h, returns: true}}
      - {{detect: [jwt], with: partial}}
  - name: no-keys
    connections: [sent]
    requests:
      - {{detect: [aws_key], do: block}}
      - {{detect: [credit_card], do: mask}}
      - {{detect: [iban], do: record}}
"""
KEY = "AKIAIOSFODNN7EXAMPLE"
CARD = "4111 1111 1111 1111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def sent(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that looks at requests, on a database of its own."""
    folder: Path = tmp_path_factory.mktemp("sent")
    with own_database(backend, "sent", SCHEMA), \
            gateway(folder, HEAD.replace("name: plain", "name: sent") + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture
def connection(sent: Gateway, agent: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(sent.dsn(agent, "sent"), autocommit=True) as opened:
        yield opened


@pytest.fixture
def direct(backend: Server) -> Iterator[psycopg.Connection]:
    """Past the gateway, to see what is stored; people are as they were afterwards."""
    with psycopg.connect(backend.dsn("sent"), autocommit=True) as opened:
        yield opened
        opened.execute("DELETE FROM notes")
        opened.execute("DELETE FROM cards")
        opened.execute("DELETE FROM people WHERE id > 2")
        opened.execute("UPDATE people SET email = name || '@example.com', salary = 4000 + id * 1000")
        opened.execute("UPDATE people SET doc = '{\"a\": 1}' WHERE id = 1")


@pytest.mark.parametrize(("statement", "values"), [
    ("UPDATE people SET ssn = 'xxxx' WHERE id = 1", None), ("UPDATE people SET ssn = %s WHERE id = %s", ("xxxx", 1)),
    ("INSERT INTO notes VALUES (1, E'xx\\x78x')", None), ("INSERT INTO notes VALUES (1, 'xx'\n'xx')", None),
    ("INSERT INTO notes VALUES (1, $$xxxx$$)", None), ("INSERT INTO notes VALUES (1, U&'\\0078xxx')", None),
    ("UPDATE people SET doc = '{\"ssn\": \"xxxx\"}' WHERE id = 1", None), ("UPDATE people SET doc = %s WHERE id = 1", (Jsonb({"b": ["xxxx"]}),)),
    ("INSERT INTO notes SELECT 1, 'axxx@example.com'", None), ("WITH w AS (INSERT INTO notes VALUES (1, 'xxxx9999') RETURNING 1) SELECT 1", None),
    ("MERGE INTO notes USING people p ON p.id = notes.id WHEN NOT MATCHED THEN INSERT VALUES (p.id, 'xxxx')", None),
    ("INSERT INTO notes VALUES (1, 'call xxx-xx-9999, mail axxxx@example.com now')", None),
    ("INSERT INTO notes SELECT 1, unnest(%s::text[])", (["a", "xxxx"],)), ("INSERT INTO notes VALUES (1, '(7,xxxx)')", None),
])
@pytest.mark.parametrize("binary", [False, True])
def test_a_mask_is_not_stored(connection: psycopg.Connection, direct: psycopg.Connection, statement: str,
                              values: tuple[object, ...] | None, binary: bool) -> None:
    """In a literal of any form, a parameter in text or binary, and inside JSON; nothing is changed."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
        connection.execute(statement.replace("%s", "%b").encode() if binary else statement.encode(), values)
    assert direct.execute("SELECT ssn, doc FROM people WHERE id = 1").fetchall() == [("219-09-9999", {"a": 1})]
    assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_a_zero_that_was_shown_is_not_stored(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """A mask that looks like a value is refused in a session that has been shown it, and only in an UPDATE."""
    connection.execute("UPDATE people SET salary = 0 WHERE id = 2")
    assert connection.execute("SELECT salary FROM people WHERE id = 1").fetchone() == (0,)
    for statement, values in (("UPDATE people SET salary = 0 WHERE id = 1", None),
                              ("UPDATE people SET salary = %s WHERE id = 1", (0,)),
                              ("UPDATE people SET born = '1970-01-01' WHERE id = 1", None)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
            connection.execute(statement.encode(), values)
    connection.execute("INSERT INTO people (id, salary) VALUES (7, 0)")
    assert direct.execute("SELECT salary FROM people WHERE id = 1").fetchone() == (5000,)


def test_a_token_that_comes_back_is_the_value(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """It finds its row and is stored as what it stands for, as a literal and as a parameter."""
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    assert token.startswith("tok_")
    assert connection.execute("SELECT id FROM people WHERE email = %s", (token,)).fetchall() == [(1,)]
    assert connection.execute(f"SELECT id FROM people WHERE email = '{token}'".encode()).fetchall() == [(1,)]
    connection.execute("UPDATE people SET email = %s WHERE id = 2", (token,))
    assert direct.execute("SELECT email FROM people WHERE id = 2").fetchone() == ("ann@example.com",)
    connection.execute(f"INSERT INTO people (id, name, email) VALUES (5, 'eve', '{token}')".encode())
    assert direct.execute("SELECT email FROM people WHERE id = 5").fetchone() == ("ann@example.com",)


@pytest.mark.parametrize("statement", [
    "SELECT '{}', id FROM people WHERE email = '{}'", "SELECT %(t)s::text, id FROM people WHERE email = %(t)s", "SELECT '{}'",
    "SELECT id, upper('{}') FROM people WHERE email = '{}'", "SELECT email = '{}', '{}' || '' FROM people",
])
def test_a_token_is_turned_back_nowhere_else(connection: psycopg.Connection, statement: str) -> None:
    """No other place of a statement gets the value to show."""
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    try:
        shown = str(connection.execute(statement.replace("{}", token).encode(), {"t": token}).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        return
    assert "ann@" not in shown.lower()


PIECES = [
    "SELECT id FROM people WHERE email = '{}'::varchar(1)", "SELECT id FROM people WHERE email = '{}'::char(3)",
    "SELECT id FROM people WHERE email = '{}'::\"char\"", "SELECT id FROM people WHERE email = varchar(3) '{}'",
    "SELECT id FROM people WHERE email IN ('{}'::varchar(3), 'x')", "SELECT id FROM people WHERE email = ANY (ARRAY['{}'::varchar(1)])",
    "SELECT id FROM people WHERE email = ANY (ARRAY['{}']::varchar(1)[])", "SELECT id FROM people WHERE email = %(t)s::varchar(3)",
    "SELECT id FROM people WHERE email = ANY (ARRAY['{}', 'b'::\"char\"])",
    "UPDATE people SET email = '{}'::varchar(1) WHERE id = 2", "INSERT INTO people (id, email) VALUES (8, '{}'::varchar(1))",
    "INSERT INTO people (id, email) (VALUES (7, 'x'::\"char\"), (8, '{}') LIMIT 5)", "UPDATE people SET email = '{}'::bytea WHERE id = 2",
    "MERGE INTO people p USING notes n ON p.id = n.id WHEN NOT MATCHED THEN INSERT (id, email) VALUES (8, '{}'::varchar(1))",
]


@pytest.mark.parametrize("statement", PIECES)
def test_no_piece_of_a_value_is_compared_or_stored(connection: psycopg.Connection, direct: psycopg.Connection,
                                                   statement: str) -> None:
    """A cast that cuts would let the value be read letter by letter."""
    direct.execute("INSERT INTO people (id, email) VALUES (3, 'a'), (4, 'ann')")
    direct.execute("INSERT INTO notes VALUES (9, '')")
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    before = direct.execute("SELECT id, email FROM people ORDER BY id").fetchall()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.replace("{}", token).encode(), {"t": token} if "%(t)s" in statement else None)
    assert direct.execute("SELECT id, email FROM people ORDER BY id").fetchall() == before


def test_a_parameter_that_cuts_is_not_turned_back(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """Its type is the client's to choose, and `"char"` holds one letter."""
    direct.execute("INSERT INTO people (id, email) VALUES (3, 'a')")
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    connection.pgconn.prepare(b"cut", b"SELECT id FROM people WHERE email = $1", [18])
    found = connection.pgconn.exec_prepared(b"cut", [token.encode()])
    assert b"token" in found.error_message
    connection.execute("SELECT id FROM people WHERE email = %s::text", (token,))


SHOWING = [
    ["EXPLAIN SELECT id FROM people WHERE email = '{}'"], ["EXPLAIN SELECT id FROM people WHERE email = %(t)s"],
    ["EXPLAIN (VERBOSE) INSERT INTO people (id, email) VALUES (8, '{}')"], ["EXPLAIN UPDATE people SET email = '{}'"],
    ["PREPARE e1(text) AS SELECT id FROM people WHERE email = $1", "EXPLAIN EXECUTE e1('{}')"],
    ["SELECT current_query() FROM people WHERE email = '{}'"],
    ["INSERT INTO people (id, name, email) VALUES (8, current_query(), '{}') RETURNING name"],
    ["UPDATE people SET name = current_query() WHERE email = '{}'", "SELECT name FROM people"],
    ["INSERT INTO people (id, email) VALUES (1, '{}') ON CONFLICT (id) DO UPDATE SET name = excluded.email RETURNING name"],
    ["INSERT INTO people (id, email) VALUES (1, %(t)s) ON CONFLICT (id) DO UPDATE SET name = excluded.email RETURNING name"],
    ["INSERT INTO people (id, email) VALUES (1, '{}') ON CONFLICT (id) DO UPDATE SET name = 'hit' WHERE excluded.email LIKE 'a%%'",
     "SELECT 'ann@' FROM people WHERE name = 'hit'"],
    ["CREATE TEMP VIEW vv AS SELECT id FROM people WHERE email = '{}'", "SELECT pg_get_viewdef('vv'::regclass)"],
    ["BEGIN", "DECLARE c CURSOR FOR SELECT id FROM people WHERE email = '{}'", "SELECT statement FROM pg_cursors"],
    ["PREPARE p1 AS SELECT id FROM people WHERE email = '{}'", "SELECT statement FROM pg_prepared_statements"],
    ["INSERT INTO asked (id) SELECT id FROM people WHERE email = '{}' RETURNING query"],
    ["SELECT query FROM asks, people WHERE email = '{}'"], ["SELECT asking() FROM people WHERE email = '{}'"],
    ["SELECT 1; SELECT current_query() WHERE EXISTS (SELECT FROM people WHERE email = '{}')"],
    ["CREATE TEMP TABLE people (id int, email text)", "INSERT INTO people (id, email) VALUES (1, '{}')", "SELECT email FROM people"],
    ["CREATE TEMP VIEW q AS SELECT current_query() AS t", "SELECT q.t FROM q, people WHERE email = '{}'"],
    ["CREATE TEMP TABLE q (id int, t text DEFAULT current_query())",
     "WITH w AS (INSERT INTO q (id) VALUES (1)) SELECT id FROM people WHERE email = '{}'", "SELECT t FROM q"],
    ["BEGIN", "CREATE VIEW inside AS SELECT current_query() AS t", "SELECT t FROM inside, people WHERE email = '{}'", "ROLLBACK"],
    ["BEGIN", "ALTER TABLE notes ALTER COLUMN body SET DEFAULT current_query()",
     "WITH w AS (INSERT INTO notes (id) VALUES (1)) SELECT id FROM people WHERE email = '{}'", "SELECT body FROM notes", "ROLLBACK"],
    ["SELECT id INTO TEMP x FROM people WHERE email = '{}' UNION SELECT 1", "SELECT * FROM x"],
    ["CREATE TEMP TABLE tt AS SELECT id FROM people WHERE email = '{}'", "SELECT * FROM tt"],
]


@pytest.mark.parametrize("statements", SHOWING)
def test_nothing_shows_the_text_that_a_token_was_turned_back_in(connection: psycopg.Connection, direct: psycopg.Connection,
                                                                statements: list[str]) -> None:
    """Plans, definitions, `current_query` wherever it is asked, and the row that was to be inserted."""
    direct.execute("CREATE TABLE IF NOT EXISTS asked (id int, query text DEFAULT current_query())")
    direct.execute("CREATE OR REPLACE VIEW asks AS SELECT current_query() AS query")
    direct.execute("CREATE OR REPLACE FUNCTION asking() RETURNS text LANGUAGE sql AS 'SELECT current_query()'")
    direct.execute("GRANT ALL ON asked, asks TO app")
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    found = []
    for statement in statements:
        try:
            cursor = connection.execute(statement.replace("{}", token).encode(), {"t": token} if "%(t)s" in statement else None)
            found.append(str(cursor.fetchall()) if cursor.description else "")
        except psycopg.Error as error:
            found.append(str(error))
    connection.execute("ROLLBACK")
    assert "ann@" not in str(found)
    for (name,) in direct.execute("SELECT name FROM people UNION ALL SELECT query FROM asked").fetchall():
        assert name is None or "ann@" not in name
    direct.execute("UPDATE people SET name = CASE id WHEN 1 THEN 'ann' ELSE 'bob' END WHERE id < 3")


def test_a_message_that_turned_a_token_back_is_not_explained(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """EXPLAIN EXECUTE would show the text that Parse sent on."""
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    connection.pgconn.prepare(b"held", f"SELECT id FROM people WHERE email = '{token}'".encode())
    assert connection.pgconn.exec_prepared(b"held", []).get_value(0, 0) == b"1"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("EXPLAIN EXECUTE held")


def test_a_token_in_an_upsert_is_the_value(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """Where the proposed row only goes into its own columns, and in a cursor's parameter."""
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    connection.execute(f"INSERT INTO people (id, name, email) VALUES (2, 'bob', '{token}') ON CONFLICT (id) DO UPDATE "
                       "SET email = excluded.email, name = excluded.name".encode())
    assert direct.execute("SELECT email FROM people WHERE id = 2").fetchone() == ("ann@example.com",)
    with connection.transaction(), connection.cursor("named") as cursor:
        cursor.execute("SELECT id FROM people WHERE email = %s ORDER BY id", (token,))
        assert cursor.fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("statement", [
    "INSERT INTO notes VALUES (1, '{}')", "UPDATE people SET name = '{}' WHERE id = 1", "UPDATE people SET ssn = 'mail {}' WHERE id = 1",
])
def test_a_token_is_not_stored_elsewhere(connection: psycopg.Connection, statement: str) -> None:
    """In another column it is a mask like any other."""
    (token,) = connection.execute("SELECT email FROM people WHERE id = 1").fetchone() or ("",)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
        connection.execute(statement.replace("{}", token).encode())


def test_what_is_blocked_does_not_arrive(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """A key in a literal or a parameter, in reads as well; the session goes on."""
    for statement, values in ((f"INSERT INTO notes VALUES (1, 'key {KEY}')", None),
                              ("INSERT INTO notes VALUES (1, %s)", (f"key {KEY}",)),
                              ("INSERT INTO notes VALUES (1, %b)", (f"key {KEY}",)),
                              (f"SELECT id FROM notes WHERE body = '{KEY}'", None)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="aws_key"):
            connection.execute(statement.encode(), values)
    assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_is_masked_arrives_masked(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """The rest of the value stays, in literals and in parameters of both formats."""
    connection.execute(f"INSERT INTO notes VALUES (1, 'pay with {CARD} now')".encode())
    connection.execute("INSERT INTO notes VALUES (2, %s)", (f"pay with {CARD} now",))
    connection.execute("INSERT INTO notes VALUES (3, %b)", (f"pay with {CARD} now",))
    assert direct.execute("SELECT DISTINCT body FROM notes").fetchall() == [("pay with xxxx now",)]


def test_what_is_recorded_is_on_record(sent: Gateway, connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """It goes on as it is, and the outcome's record says what was found."""
    connection.execute("INSERT INTO notes VALUES (4, %s)", (IBAN,))
    assert direct.execute("SELECT body FROM notes").fetchall() == [(IBAN,)]
    connection.execute("SELECT 1")
    # The newest, which is this one: as many processes as there have been sessions take minutes.
    sessions = sorted(json.loads(run("session", "list", "--json", "--state", str(sent.state))), key=lambda one: one["begun"])[-1:]
    found = [run("session", "show", one["session"], "--json", "--state", str(sent.state)) for one in sessions]
    assert any("sent: iban" in text for text in found)
    told = "".join(run("session", "replay", one["session"], "--state", str(sent.state)) for one in sessions)
    assert "found 1 sent: iban" in told
    assert "masked 1 sent" not in told


COPIES = [("", "\t", "{}\n"), (" (FORMAT csv)", ",", '"{}"\n')]


@pytest.mark.parametrize(("options", "mark", "cell"), COPIES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_copy_data_is_looked_at(connection: psycopg.Connection, direct: psycopg.Connection, options: str, mark: str,
                                cell: str, size: int) -> None:
    """Masks are not stored, keys do not arrive and card numbers are replaced, wherever the messages are cut."""
    def copy(value: str) -> None:
        rows = "".join(f"{number}{mark}" + cell.format(text) for number, text in ((1, "plain"), (2, value), (3, "last")))
        with connection.cursor().copy(f"COPY notes FROM STDIN{options}".encode()) as stream:
            for start in range(0, len(rows), size):
                stream.write(rows[start:start + size])

    for value, says in (("xxxx", "mask"), (f"key {KEY}", "aws_key")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=says):
            copy(value)
        assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    copy(f"pay with {CARD} now")
    assert direct.execute("SELECT body FROM notes ORDER BY id").fetchall() == [("plain",), ("pay with xxxx now",), ("last",)]


def test_quotes_in_the_middle_of_a_csv_field(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """The server takes them, so they are read as it reads them; the session goes on."""
    def copy(cell: str) -> None:
        with connection.cursor().copy("COPY notes FROM STDIN (FORMAT csv)") as stream:
            stream.write(f"1,{cell}\n")

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
        copy('xx"xx"')
    copy('pl"a,""i"n')
    copy(f'4111"{CARD[4:]}"')
    assert direct.execute("SELECT body FROM notes").fetchall() == [('pla,"in',), ("xxxx",)]


@pytest.mark.parametrize("size", [1_000, LONG, 3 * LONG])
def test_large_values_are_looked_at(connection: psycopg.Connection, direct: psycopg.Connection, size: int) -> None:
    """As a parameter and as a row of COPY: what is sent is replaced or refused, and what comes back is masked."""
    text = "a" * size
    for copies in (False, True):
        def store(body: str, copies: bool = copies) -> None:
            if not copies:
                connection.execute("INSERT INTO notes VALUES (1, %s)", (body,))
                return
            with connection.cursor().copy("COPY notes FROM STDIN") as stream:
                stream.write_row((1, body))

        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="aws_key"):
            store(f"{text} {KEY}")
        store(f"{text} {CARD}")
        assert direct.execute("DELETE FROM notes RETURNING body").fetchall() == [(f"{text} xxxx",)]
    direct.execute("INSERT INTO notes VALUES (1, %s)", (f"{text} {JWT} end",))
    assert connection.execute("SELECT body FROM notes").fetchall() == [(f"{text} eyJxxxx end",)]
    with connection.cursor().copy("COPY notes TO STDOUT") as stream:
        assert b"".join(map(bytes, stream)) == f"1\t{text} eyJxxxx end\n".encode()


@pytest.mark.parametrize(("options", "mark"), [("", "\t"), (" (FORMAT csv)", ",")])
@pytest.mark.parametrize("end", ["\r", "\r\n"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_carriage_returns_end_rows(connection: psycopg.Connection, direct: psycopg.Connection, options: str, mark: str,
                                   end: str, size: int) -> None:
    """The server takes them for ends of lines where the first line has one, so a mask is a whole field there as well."""
    data = f"1{mark}plain{end}2{mark}h_0123456789abcdef{end}3{mark}last{end}"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"), \
            connection.cursor().copy(f"COPY notes FROM STDIN{options}".encode()) as stream:
        for start in range(0, len(data), size):
            stream.write(data[start:start + size])
    assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    with connection.cursor().copy(f"COPY notes FROM STDIN{options}".encode()) as stream:
        stream.write(data.replace("h_0123456789abcdef", "open"))
    assert direct.execute("SELECT body FROM notes ORDER BY id").fetchall() == [("plain",), ("open",), ("last",)]


@pytest.mark.parametrize(("cell", "says"), [
    ("AKIA\\x49OSFODNN7EXAMPLE", "aws_key"), ("\\101KIA\\111OSFODNN7EXAMPLE", "aws_key"), ("\\x78xx\\170", "mask"),
])
@pytest.mark.parametrize("size", [1, 10_000])
def test_escapes_of_copy_hide_nothing(connection: psycopg.Connection, direct: psycopg.Connection, cell: str, says: str,
                                      size: int) -> None:
    """A character written by its number is that character to the checks as well, wherever the messages are cut."""
    data = f"7031\t{cell}\n"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=says), \
            connection.cursor().copy("COPY notes FROM STDIN") as stream:
        for start in range(0, len(data), size):
            stream.write(data[start:start + size])
    assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_binary_copy_data_is_looked_at(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """The same in the binary format."""
    def copy(value: str) -> None:
        with connection.cursor().copy("COPY notes FROM STDIN (FORMAT binary)") as stream:
            stream.set_types(["int4", "text"])
            stream.write_row((1, value))

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
        copy("xxxx9999")
    copy(f"pay with {CARD} now")
    assert direct.execute("SELECT body FROM notes").fetchall() == [("pay with xxxx now",)]


@pytest.mark.parametrize("statement", [
    f"INSERT INTO notes VALUES (1, text'{KEY}')", f"SELECT'{KEY}'", f"SELECT CASE WHEN true THEN'{KEY}'END",
    f"PREPARE k(text) AS INSERT INTO notes VALUES (1, $1); EXECUTE k(text'{KEY}')", f"SELECT text'a', 'b', '{KEY}'",
    "INSERT INTO notes VALUES (1, U&'AKIA'\n'IOSFODNN7EXAMPLE')", "SELECT U&'!0041KIAIOSFODNN7EXAMPLE'UESCAPE'!'",
    f"SET application_name = '{KEY}'", f"SET my.x = '{KEY}'", f'SET my.x = "{KEY}"', f'SET application_name = "{KEY}"',
    "INSERT INTO cards (id, doc) VALUES (1, '{\"k\": \"\\u0041KIAIOSFODNN7EXAMPLE\"}')",
])
def test_every_way_to_write_a_string_is_looked_at(connection: psycopg.Connection, direct: psycopg.Connection, statement: str) -> None:
    """Right behind a word, joined, with escapes of its own or JSON's, and as the value of a setting."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="aws_key"):
        connection.execute(statement.encode())
    assert direct.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@pytest.mark.parametrize("value", ["4111111111111111", "'4111111111111111'", "4111111111111111.", "4111111111111111.0",
                                   "0xe9b08a568f1c7", "4111111111111111e0", "4_111_111_111_111_111"])
def test_a_replaced_number_is_valid_for_its_column(connection: psycopg.Connection, direct: psycopg.Connection, value: str) -> None:
    """The type's own constant goes into a number's column and into JSON, a mask into text."""
    connection.execute(f"INSERT INTO cards (id, n) VALUES (1, {value})".encode())
    connection.execute(f"UPDATE cards SET n = {value} WHERE id = 1".encode())
    connection.execute("INSERT INTO cards (id, doc, words) VALUES (2, '{\"card\": 4111111111111111}', '4111111111111111')")
    assert direct.execute("SELECT n, doc, words FROM cards ORDER BY id").fetchall() == [
        (0, None, None), (None, {"card": 0}, "xxxx")]


@pytest.mark.parametrize(("statement", "values"), [
    ("DELETE FROM cards WHERE n = 4111111111111111", None), ("DELETE FROM cards WHERE n = %s", (4111111111111111,)),
    ("UPDATE cards SET words = 'x' WHERE n = '4111111111111111'", None), ("SELECT id FROM cards WHERE n = 4111111111111111", None),
    ("DELETE FROM cards USING (SELECT 4111111111111111 AS c) s WHERE n = s.c", None), ("DELETE FROM cards WHERE n = -(-4111111111111111)", None),
    ("UPDATE cards SET words = CASE WHEN n = 4111111111111111 THEN 'a' ELSE 'b' END", None), ("SELECT 1 LIMIT 4111111111111111", None),
    ("UPDATE cards SET n = n + 4111111111111111", None), ("INSERT INTO cards (id, n) VALUES (1, %(c)s) ON CONFLICT (n) DO UPDATE SET words = 'hit'",
                                                          {"c": 4111111111111111}),
    ("WITH w AS (SELECT 4111111111111111 AS c) DELETE FROM cards USING w WHERE n = w.c", None),
    ("MERGE INTO cards USING (VALUES (4111111111111111)) v(c) ON n = v.c WHEN MATCHED THEN DELETE", None),
    ("INSERT INTO cards (id) (SELECT id FROM cards EXCEPT SELECT 4111111111111111)", None),
])
def test_nothing_is_decided_by_what_was_replaced(connection: psycopg.Connection, direct: psycopg.Connection, statement: str,
                                                 values: tuple[object, ...] | dict[str, object] | None) -> None:
    """Another value in a condition would be another request: it is refused, with the reason."""
    direct.execute("INSERT INTO cards (id, n) VALUES (9, 0)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="replaces"):
        connection.execute(statement.encode(), values)
    assert direct.execute("SELECT id, n, words FROM cards").fetchall() == [(9, 0, None)]


def test_a_mask_may_be_looked_for(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """Nothing is stored that only stands in a condition."""
    direct.execute("INSERT INTO notes VALUES (1, 'xxxx')")
    connection.execute("UPDATE notes SET body = 'fixed' WHERE body = 'xxxx'")
    direct.execute("INSERT INTO notes VALUES (2, 'xxxx')")
    connection.execute("UPDATE notes SET body = 'fixed' WHERE body = %s", ("xxxx",))
    assert direct.execute("SELECT DISTINCT body FROM notes").fetchall() == [("fixed",)]


SHOWN_AGAIN = [
    *(f"UPDATE kept SET {one}" for one in (
        "price = 0.00", "price = 0.0", "price = -0", "price = '0e3'", "rate = 0.0", "rate = '-0'", "ok = false", "ok = 'off'",
        "seen = '1970-01-01T00:00:00Z'", "seen = '1970-01-01 01:00:00+01'", "seen = 'epoch'", "at = '1970-01-01'",
        "at = '1970-01-01T00:00:00'", "tags = ARRAY[]::text[]", "tags = '{ }'", "born = 'Jan 1, 1970'", "born = '1/1/1970'",
        "born = '19700101'", "(price, born) = (0, '1970-01-01')", "(price, born) = ROW (0, '1980-01-01')", "(price, size) = (SELECT 0, 7)",
        "price = (SELECT 0)", "price = coalesce(0, 1)", "price = v.s FROM (VALUES (1, 0)) v(id, s) WHERE v.id = kept.id",
        "price = v.s FROM (SELECT 1 AS id, 0 AS s) v WHERE v.id = kept.id", "size = 0x0",
    )),
    "WITH v(s) AS (VALUES (0)) UPDATE kept SET price = v.s FROM v",
    "MERGE INTO kept k USING (VALUES (1, 0)) v(id, s) ON k.id = v.id WHEN MATCHED THEN UPDATE SET price = v.s",
    "PREPARE z(numeric) AS UPDATE kept SET price = $1; EXECUTE z(0)",
    "INSERT INTO kept (id, price) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET price = excluded.price",
]


@pytest.mark.parametrize("statement", SHOWN_AGAIN)
def test_a_constant_that_was_shown_is_known_by_its_value(connection: psycopg.Connection, direct: psycopg.Connection,
                                                         statement: str) -> None:
    """However it is spelled, and whatever it comes through."""
    _keep(connection, direct)
    for one in statement.split("; ")[:-1]:
        connection.execute(one.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
        connection.execute(statement.rsplit("; ", maxsplit=1)[-1].encode())
    assert direct.execute("SELECT price, size FROM kept").fetchall() == [(5, 7)]


def _keep(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    direct.execute("DELETE FROM kept")
    direct.execute("INSERT INTO kept VALUES (1, 5, 5, true, now(), now(), '{a}', '1980-01-01', 7)")
    assert connection.execute("SELECT price, ok FROM kept").fetchall() == [(0, False)]


def test_a_constant_that_was_shown_is_known_in_parameters(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """Of both formats, whether or not their type is said; other values are let through."""
    _keep(connection, direct)
    shown = connection.execute("SELECT price, rate, ok, seen, at, tags, born, size FROM kept").fetchone() or ()
    for column, value in zip(("price", "rate", "ok", "seen", "at", "tags", "born", "size"), shown, strict=True):
        for mark in ("%s", "%b"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mask"):
                connection.execute(f"UPDATE kept SET {column} = {mark}".encode(), (value,))
    for column, raw in ((b"price", bytes(8)), (b"rate", bytes(8)), (b"size", bytes(4)), (b"ok", bytes(1))):
        found = connection.pgconn.exec_params(b"UPDATE kept SET " + column + b" = $1", [raw], [0], [1])
        assert b"mask" in found.error_message
    assert direct.execute("SELECT price, size, ok FROM kept").fetchall() == [(5, 7, True)]
    connection.execute("UPDATE kept SET price = 0.5, born = '1970-01-02', at = '1970-01-01 00:00:01', ok = true, tags = '{b}'")


@pytest.mark.parametrize("raw", [
    (4111111111111111).to_bytes(8, "big"), bytes.fromhex("0004000300000000100f045704570457"),
])
def test_binary_values_of_no_type_are_looked_at(connection: psycopg.Connection, direct: psycopg.Connection, raw: bytes) -> None:
    """Parse does not say what they are, and nobody has asked the backend; COPY data has no types at all."""
    if len(raw) == 8:
        connection.pgconn.exec_params(b"INSERT INTO cards (id, n) VALUES (1, $1)", [raw], [0], [1])
        assert direct.execute("DELETE FROM cards RETURNING n").fetchall() == [(0,)]
        with connection.cursor().copy("COPY cards (id, n) FROM STDIN (FORMAT binary)") as stream:
            stream.set_types(["int4", "int8"])
            stream.write_row((2, 4111111111111111))
    else:
        connection.pgconn.exec_params(b"INSERT INTO cards (id, n) VALUES (1, $1::numeric)", [raw], [0], [1])
    assert direct.execute("SELECT n FROM cards").fetchall() == [(0,)]


def test_binary_json_of_no_type_is_looked_at(connection: psycopg.Connection, direct: psycopg.Connection) -> None:
    """With JSON's escapes, in a parameter and in COPY data."""
    hidden = b'{"k": "\\u0041KIAIOSFODNN7EXAMPLE"}'
    found = connection.pgconn.exec_params(b"INSERT INTO cards (id, doc) VALUES (1, $1)", [b"\1" + hidden], [0], [1])
    assert b"aws_key" in found.error_message
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="aws_key"), \
            connection.cursor().copy("COPY cards (id, doc) FROM STDIN (FORMAT csv)") as stream:
        stream.write(b'1,"' + hidden.replace(b'"', b'""') + b'"\n')
    assert direct.execute("SELECT count(*) FROM cards").fetchone() == (0,)
