"""Deny and review by relation, column, verb, missing WHERE and time of day, and what an attacker writes instead."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD
from tests.e2e.test_attacks_controls import SYNC, Raw, bind, execute, parse

RULES = """\
  - name: no-customers
    connections: [plain]
    when: '"public.customers" in op.tables'
    deny: customers are not for agents
  - name: no-balance
    connections: [crm]
    when: '"public.customers.balance" in op.columns'
    deny: balances are not for agents
  - name: orders-are-closed
    connections: [crm]
    when: '"public.orders" in op.tables_written'
    deny: orders are closed
  - name: unbounded
    connections: [crm]
    when: op.verb in ["update", "delete"] && (!op.has_where || op.tautology)
    deny: say which rows
  - name: no-merge
    connections: [crm]
    when: op.verb == "merge"
    deny: no MERGE here
  - name: never-open
    connections: [crm]
    when: op.verb == "truncate" && time.hour >= 0 && time.weekday >= 1
    deny: not at this hour
  - name: not-yet
    connections: [crm]
    when: op.verb == "comment" && timestamp(time.iso) > timestamp("2999-01-01T00:00:00Z")
    deny: never
"""

SCHEMA = """
CREATE VIEW buyers AS SELECT id, name AS who, balance AS amount FROM customers;
CREATE VIEW buyers_of_buyers AS SELECT who FROM buyers;
CREATE MATERIALIZED VIEW frozen AS SELECT id FROM customers;
CREATE TABLE orders (id int, customer int REFERENCES customers ON DELETE CASCADE, note text) PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (1000);
CREATE VIEW all_orders AS SELECT * FROM orders;
CREATE TABLE heirs (extra int) INHERITS (customers);
CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT count(*) FROM public.customers';
CREATE SCHEMA other;
CREATE TABLE other.orders (id int);
"""


@pytest.fixture(scope="module")
def front(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with denials and no masks; databases of its own."""
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        for database in ("crm", "plain"):
            admin.execute(f"DROP DATABASE IF EXISTS control_{database}")
            admin.execute(f"CREATE DATABASE control_{database} TEMPLATE {database} OWNER app")
    for database in ("crm", "plain"):
        with psycopg.connect(backend.dsn(f"control_{database}"), autocommit=True) as admin:
            admin.execute("SET ROLE app")
            admin.execute(SCHEMA)
    head = HEAD.replace("    tls: {{mode: disable}}\n", "    tls: {{mode: disable}}\n    options: {{database: control_XX}}\n")
    for name in ("crm", "plain"):
        head = head.replace("control_XX", f"control_{name}", 1)
    with gateway(tmp_path_factory.mktemp("control"), head + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        for database in ("crm", "plain"):
            admin.execute(f"DROP DATABASE control_{database} WITH (FORCE)")


def refusal(front: Gateway, agent: str, text: str, database: str) -> str:
    """The rule that refuses a statement; empty where it passes."""
    with psycopg.connect(front.dsn(agent, database), autocommit=True) as connection:
        try:
            connection.execute(text, prepare=False)
        except psycopg.errors.InsufficientPrivilege as error:
            assert error.diag.message_detail is not None, error
            return error.diag.message_detail.removeprefix("rule: ")
        return ""


@pytest.mark.parametrize("text", [
    "SELECT * FROM customers", "SELECT * FROM public.customers", 'SELECT * FROM "public"."customers"',
    "TABLE customers", "SELECT * FROM buyers", "SELECT 1 FROM buyers_of_buyers", "SELECT * FROM frozen",
    "SELECT * FROM heirs", "WITH x AS (SELECT * FROM buyers) SELECT 1 FROM x",
    "SELECT 1 WHERE EXISTS (SELECT FROM buyers_of_buyers)", "COPY customers TO STDOUT", "COPY (TABLE buyers) TO STDOUT",
    "EXPLAIN ANALYZE SELECT * FROM buyers", "PREPARE p AS SELECT * FROM buyers", "DECLARE c CURSOR FOR SELECT 1 FROM buyers",
    "CREATE TABLE copy AS SELECT * FROM buyers", "CREATE TEMP VIEW mine AS SELECT * FROM customers",
    "UPDATE buyers SET who = 'x' WHERE id = 1", "DELETE FROM buyers WHERE id = 1",
    "WITH gone AS (DELETE FROM buyers WHERE id = 1 RETURNING *) SELECT 1",
    "MERGE INTO plain p USING buyers b ON p.id = b.id WHEN MATCHED THEN DELETE", "SELECT peek()",
    "DO $$ BEGIN PERFORM * FROM customers; END $$", "TRUNCATE customers CASCADE", "LOCK TABLE customers",
    "SELECT * FROM control_plain.public.customers",
    "SELECT * FROM nowhere", "EXECUTE unknown", "SELECT c.* FROM plain, LATERAL (SELECT * FROM buyers) c",
    "INSERT INTO notes SELECT id, who FROM buyers", "ALTER TABLE customers ADD x int", "DROP VIEW buyers_of_buyers, buyers",
    "COMMENT ON TABLE customers IS 'x'", "SELECT 1; SELECT 2 FROM buyers",
])
def test_a_rule_about_a_table_is_not_got_round(front: Gateway, agent: str, text: str) -> None:
    """Whatever road leads to `customers`, the rule about it decides; so it does where no one can tell."""
    assert refusal(front, agent, text, "plain") == "no-customers"


@pytest.mark.parametrize("text", [
    "SELECT * FROM notes", "BEGIN", "SELECT 1", "SHOW work_mem", "SELECT * FROM pg_catalog.pg_class LIMIT 1",
    "INSERT INTO notes VALUES (7, 'x') ON CONFLICT DO NOTHING", "SELECT * FROM other.orders",
    "SELECT table_name FROM information_schema.tables LIMIT 1",
])
def test_other_tables_are_left_alone(front: Gateway, agent: str, text: str) -> None:
    """A rule about one table refuses nothing that does not touch it."""
    assert refusal(front, agent, text, "plain") == ""


def test_a_session_cannot_make_a_name_for_it(front: Gateway, agent: str) -> None:
    """A temporary table of the same name does not hide the real one, nor does the search path."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE notes2 (a int)")
        connection.execute("SELECT * FROM notes2")
        connection.execute("SET search_path = pg_catalog")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not for agents"):
            connection.execute("SELECT * FROM customers")
        with connection.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("ALTER TABLE notes2 RENAME TO notes3")
            connection.execute("SELECT * FROM notes3")      # nobody has read where that name leads to


@pytest.mark.parametrize("text", [
    "SELECT balance FROM customers", "SELECT * FROM customers", "SELECT c FROM customers c", "SELECT amount FROM buyers",
    "SELECT x.d FROM customers AS x(a, b, c, d)", "SELECT id FROM customers WHERE balance > 1",
    "SELECT id FROM customers ORDER BY balance", "UPDATE customers SET balance = 0 WHERE id = 1",
    "SELECT 1 FROM customers JOIN heirs USING (balance)", "COPY customers (id, balance) TO STDOUT",
    "SELECT to_jsonb(customers) FROM customers",
])
def test_a_rule_about_a_column_is_not_got_round(front: Gateway, agent: str, text: str) -> None:
    """By name, star, whole row, view, alias list, condition, order, assignment and COPY."""
    assert refusal(front, agent, text, "crm") == "no-balance"


def test_the_other_columns_can_be_read(front: Gateway, agent: str) -> None:
    """The rule is about one column."""
    assert refusal(front, agent, "SELECT id, name FROM customers WHERE id = 1", "crm") == ""


@pytest.mark.parametrize(("text", "rule"), [
    ("INSERT INTO orders VALUES (1, 1, '')", "orders-are-closed"),
    ("INSERT INTO orders_1 VALUES (1, 1, '')", "orders-are-closed"),
    ("UPDATE all_orders SET note = '' WHERE id = 1", "orders-are-closed"),
    ("DELETE FROM customers WHERE id = 99", "orders-are-closed"),
    ("COPY orders_1 FROM STDIN", "orders-are-closed"),
    ("DELETE FROM notes", "unbounded"), ("DELETE FROM notes WHERE 1 = 1", "unbounded"),
    ("UPDATE notes SET body = body WHERE id = id", "unbounded"),
    ("WITH d AS (DELETE FROM notes RETURNING id) SELECT * FROM d", "unbounded"),
    ("EXPLAIN ANALYZE DELETE FROM notes", "unbounded"), ("PREPARE p AS DELETE FROM notes", "unbounded"),
    ("DO 'BEGIN DELETE FROM notes; END'", "never-open"),
    ("SELECT 1; DELETE FROM notes", "unbounded"),
    ("MERGE INTO notes n USING plain p ON n.id = p.id WHEN MATCHED THEN UPDATE SET body = ''", "no-merge"),
    ("WITH m AS (MERGE INTO notes n USING plain p ON n.id = p.id WHEN MATCHED THEN DELETE RETURNING 1) TABLE m", "no-merge"),
    ("TRUNCATE notes", "never-open"),
    ("COMMENT ON TABLE notes IS 'x'", ""), ("DELETE FROM notes WHERE id = 12345", ""), ("SELECT * FROM orders", ""),
    ("INSERT INTO other.orders VALUES (1)", ""),
])
def test_verbs_where_and_hours(front: Gateway, agent: str, text: str, rule: str) -> None:
    """By written relation, missing or empty WHERE, verb and time of day, in every shape of a statement."""
    found = refusal(front, agent, text, "crm")
    if rule == "never-open" and text.startswith("DO"):
        assert found            # every effect: every rule about one applies, the first by name speaks
    else:
        assert found == rule


def test_messages_of_the_extended_protocol_are_judged_too(front: Gateway, agent: str) -> None:
    """A statement prepared by message is refused when it is parsed, with and without parameters."""
    raw = Raw(front, agent, "plain")
    found = raw.send(parse("p", "SELECT * FROM buyers WHERE id = $1"), bind("", "p", b"1"), execute(""), SYNC)
    assert [kind for kind, _ in found] == [b"E", b"Z"]
    assert b"no-customers" in found[0][1]
    raw.close()


def test_a_view_that_is_made_later_is_seen(front: Gateway, agent: str, backend: Server) -> None:
    """The catalogue's version is part of what a decision is kept by."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection, \
            psycopg.connect(backend.dsn("control_plain"), autocommit=True) as admin:
        admin.execute("SET ROLE app")
        connection.execute("CREATE VIEW harmless AS SELECT id FROM notes")
        connection.execute("SELECT * FROM harmless")
        admin.execute("CREATE OR REPLACE VIEW harmless AS SELECT id FROM customers")
        connection.execute("CREATE TABLE look_again (a int)")       # own DDL: the next statement asks for a newer one
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not for agents"):
            connection.execute("SELECT * FROM harmless")


def test_a_rule_about_a_table_follows_a_cursor(front: Gateway, agent: str) -> None:
    """One that the session did not declare may be on any table; a driver's named cursor on another table passes."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        with connection.transaction(), connection.cursor(name="c") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT id FROM plain WHERE id <= %s", (250,))
            assert len(list(cursor)) == 250
        with connection.transaction():
            connection.execute("DECLARE d CURSOR FOR SELECT id FROM plain")
            connection.execute("MOVE 10 FROM d")
            assert connection.execute("FETCH d").fetchone() == (11,)
        for text in ("FETCH ALL FROM nowhere", "SELECT 1; FETCH ALL FROM d2; DECLARE d2 CURSOR FOR SELECT 1"):
            with pytest.raises(psycopg.errors.InvalidCursorName, match="is not known in this session"):
                connection.execute(text)
        with connection.transaction(), connection.cursor(name="c") as cursor:
            cursor.execute("SELECT id FROM plain")
            assert len(cursor.fetchmany(3)) == 3
