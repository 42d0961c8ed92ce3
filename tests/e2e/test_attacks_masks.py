"""Attacks on the masks: sequences of statements that once delivered a value, or that were tried and did not.

Each runs as one session of an agent whose role owns the database, so that it may create what it likes.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from testbed.gateway import Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database
from tests.e2e.test_masks import NEEDLES

SSN = "219-09-9999"
SETUP = f"""
CREATE TABLE people (id int PRIMARY KEY, name text, ssn text);
INSERT INTO people VALUES (1, 'ann', '{SSN}'), (2, 'bob', '219-09-9998');
CREATE TABLE notes (id int PRIMARY KEY, body text);
INSERT INTO notes VALUES (1, 'nothing here');

CREATE DOMAIN code AS text;
CREATE DOMAIN code_given AS text NOT NULL;
CREATE TABLE coded (id int, ssn code, other code_given);
INSERT INTO coded VALUES (1, '{SSN}', 'x');
CREATE TABLE given (id int, ssn code_given);
INSERT INTO given VALUES (1, '{SSN}');

CREATE TABLE regions (id int PRIMARY KEY, label text);
INSERT INTO regions VALUES (1, 'north');
CREATE TABLE residents (id int, region int NOT NULL REFERENCES regions ON DELETE SET NULL ON UPDATE CASCADE,
                        ssn text, CHECK (region < 100));
INSERT INTO residents VALUES (1, 1, '{SSN}');
CREATE TABLE areas (id int PRIMARY KEY);
INSERT INTO areas VALUES (1);
ALTER TABLE regions ADD area int REFERENCES areas ON DELETE CASCADE;
UPDATE regions SET area = 1;

CREATE TYPE person AS (name text, ssn text);
CREATE DOMAIN row_domain AS people;
CREATE TABLE history (id int, was people, crowd people[], boxed row_domain, composite person);
INSERT INTO history SELECT p.id, p, ARRAY[p], p, ROW(p.name, p.ssn)::person FROM people p;
CREATE TYPE wrapped AS (inside person);
CREATE TABLE deep (id int, w wrapped);
INSERT INTO deep SELECT 1, ROW(ROW('ann', '{SSN}')::person)::wrapped;
CREATE TABLE typed OF person;
INSERT INTO typed VALUES ('ann', '{SSN}');

CREATE TABLE parent (id int, n int);
CREATE TABLE child (ssn text, CHECK (n < 100)) INHERITS (parent);
INSERT INTO child VALUES (1, 1, '{SSN}');

CREATE TABLE accounts (id int PRIMARY KEY, ssn text CONSTRAINT accounts_ssn UNIQUE, hit text);
INSERT INTO accounts VALUES (1, '{SSN}');

CREATE TABLE carried (id int, val text);
CREATE TABLE copied (id int, ssn text);
INSERT INTO copied VALUES (1, '{SSN}');
CREATE FUNCTION carry() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE v text; BEGIN
  v := NEW.ssn; INSERT INTO carried VALUES (NEW.id, v); RETURN NEW; END $$;
CREATE TRIGGER t AFTER UPDATE ON copied FOR EACH ROW EXECUTE FUNCTION carry();
CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'UPDATE public.copied SET id = 1 RETURNING 1';
CREATE SCHEMA elsewhere AUTHORIZATION app;

INSERT INTO carried VALUES (1, '219-09-9997');
CREATE TABLE late (id int, ssn text);
INSERT INTO late VALUES (1, '{SSN}');
CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON late DEFERRABLE FOR EACH ROW EXECUTE FUNCTION carry();
CREATE TABLE moved (id int, val text);
INSERT INTO moved VALUES (1, 'x');
CREATE TABLE mover (id int, ssn text);
INSERT INTO mover VALUES (1, '{SSN}');
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE moved SET val = NEW.ssn; RETURN NEW; END $$;
CREATE TRIGGER t AFTER UPDATE ON mover FOR EACH ROW EXECUTE FUNCTION move();

CREATE VIEW seen AS SELECT id, ssn FROM people;
CREATE TABLE open_one (id int);
INSERT INTO open_one VALUES (1);
CREATE TABLE from_view (id int, val text);
INSERT INTO from_view VALUES (1, '{SSN}');
CREATE FUNCTION tell(text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.from_view VALUES (1, $1)';
CREATE FUNCTION from_view() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM tell(max(ssn)) FROM seen; RETURN NEW; END $$;
CREATE TRIGGER t AFTER UPDATE OF id ON open_one FOR EACH ROW EXECUTE FUNCTION from_view();
CREATE FUNCTION peek() RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM public.people';
CREATE TABLE by_default (id int, x text DEFAULT peek());
INSERT INTO by_default VALUES (1);
CREATE DOMAIN given_out AS text DEFAULT peek();
CREATE TABLE by_domain (id int, x given_out);
INSERT INTO by_domain VALUES (1);
CREATE TABLE leaving (id int, ssn text);
INSERT INTO leaving VALUES (1, '{SSN}');
CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE c refcursor := 'named'; BEGIN OPEN c FOR SELECT ssn FROM leaving; RETURN NEW; END $$;
CREATE TRIGGER t AFTER UPDATE ON leaving FOR EACH ROW EXECUTE FUNCTION leave();
CREATE TABLE audited (id int, ssn text);
INSERT INTO audited VALUES (1, '{SSN}');
CREATE TABLE trail (id int, what text);
CREATE FUNCTION trail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO trail SELECT id, to_jsonb(nt)::text FROM nt;
  INSERT INTO trail VALUES (0, current_query()); RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE ON audited REFERENCING NEW TABLE AS nt FOR EACH STATEMENT EXECUTE FUNCTION trail();
UPDATE audited SET id = 1 WHERE ssn = '{SSN}';

CREATE TABLE dropped (id int, ssn text);
CREATE TABLE outlives (id int, val text);
INSERT INTO outlives VALUES (1, '{SSN}');
CREATE FUNCTION dropped() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO outlives VALUES (1, NEW.ssn); RETURN NEW; END $$;
CREATE TRIGGER t AFTER UPDATE ON dropped FOR EACH ROW EXECUTE FUNCTION dropped();
CREATE TABLE scratch (id int);
CREATE TABLE unrelated (id int);
CREATE TABLE renamed (id int);
CREATE TRIGGER t AFTER UPDATE ON renamed FOR EACH ROW EXECUTE FUNCTION from_view();

CREATE VIEW ruled AS SELECT 1 AS x;
CREATE RULE r AS ON INSERT TO ruled DO INSTEAD
  INSERT INTO people (id) VALUES (new.x) RETURNING (SELECT max(ssn)::int FROM people);
CREATE VIEW over_ruled AS SELECT x FROM ruled;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE 'x %', (SELECT max(ssn) FROM people);
  RAISE EXCEPTION 'x %', (SELECT max(ssn) FROM people) USING ERRCODE = '42P01'; END $$;
CREATE TABLE shouting (id int);
CREATE TRIGGER t BEFORE INSERT ON shouting FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TABLE filled (id int PRIMARY KEY, ssn text);
CREATE TRIGGER t BEFORE INSERT ON filled FOR EACH ROW EXECUTE FUNCTION shout();
CREATE VIEW over_shouting AS SELECT id FROM shouting;
CREATE TABLE shouted (id int PRIMARY KEY);
INSERT INTO shouted VALUES (1);
CREATE TABLE listening (id int REFERENCES shouted ON DELETE SET NULL);
INSERT INTO listening VALUES (1);
CREATE TRIGGER t BEFORE UPDATE ON listening FOR EACH ROW EXECUTE FUNCTION shout();
"""

# What a trigger writes goes to what its name means when it runs: something of the session's own.
REDIRECTED = [
    ("CREATE TEMP TABLE carried (id int, foo text)", "UPDATE copied SET id = 7", "SELECT * FROM pg_temp.carried"),
    ("CREATE TEMP TABLE carried (id int, foo text)", "SELECT touch()", "SELECT * FROM pg_temp.carried"),
    ("CREATE TEMP TABLE carried (id int, foo text); UPDATE copied SET id = 7", "SELECT * FROM pg_temp.carried"),
    ("CREATE TEMP TABLE other (id int, foo text)", "ALTER TABLE other RENAME TO carried; UPDATE copied SET id = 7",
     "SELECT * FROM pg_temp.carried"),
    ("SELECT 1 AS id, 'x'::text AS foo INTO TEMP carried", "UPDATE copied SET id = 7",
     "ALTER TABLE pg_temp.carried RENAME TO kept", "SELECT * FROM kept"),
    ("BEGIN", "CREATE TABLE elsewhere.carried (id int, foo text)", "SET LOCAL search_path = elsewhere, public",
     "UPDATE copied SET id = 7", "ALTER TABLE elsewhere.carried RENAME TO kept", "COMMIT", "SELECT * FROM elsewhere.kept"),
    ("BEGIN", "CREATE VIEW elsewhere.carried AS SELECT id, body AS val FROM public.notes",
     "SET LOCAL search_path = elsewhere, public", "UPDATE copied SET id = 7", "SELECT * FROM public.notes", "ROLLBACK"),
    ("BEGIN", "ALTER TABLE notes SET SCHEMA elsewhere", "ALTER TABLE elsewhere.notes RENAME TO carried",
     "SET LOCAL search_path = elsewhere, public", "UPDATE copied SET id = 7", "SELECT * FROM elsewhere.carried", "ROLLBACK"),
    # once leaked: the trigger runs later than the statement that was judged
    ("BEGIN", "SET CONSTRAINTS ALL DEFERRED", "UPDATE late SET id = 7", "CREATE TEMP TABLE carried (id int, foo text)", "SET CONSTRAINTS ALL IMMEDIATE",
     "SELECT * FROM pg_temp.carried", "COMMIT"),
    ("BEGIN", "DECLARE c CURSOR FOR SELECT touch()", "CREATE TEMP TABLE carried (id int, foo text)", "FETCH ALL FROM c",
     "SELECT * FROM pg_temp.carried", "ROLLBACK"),
    ("DO $$ BEGIN CREATE TEMP TABLE carried (id int, foo text); END $$", "UPDATE copied SET id = 7", "SELECT * FROM pg_temp.carried"),
    # … or its target is below views, or is known under another name before
    ("CREATE VIEW elsewhere.v2 AS SELECT id, body AS val FROM public.notes", "CREATE VIEW elsewhere.carried AS SELECT id, val FROM elsewhere.v2",
     "SET search_path = elsewhere, public", "UPDATE copied SET id = 7", "SELECT * FROM public.notes"),
    ("CREATE TABLE elsewhere.mine (id int, val text UNIQUE)", "CREATE TABLE elsewhere.kin (x text REFERENCES elsewhere.mine (val) ON UPDATE CASCADE)",
     "INSERT INTO elsewhere.mine VALUES (1, 'x')", "INSERT INTO elsewhere.kin VALUES ('x')", "ALTER TABLE elsewhere.mine RENAME TO moved",
     "SET search_path = elsewhere, public", "UPDATE mover SET id = 1", "SELECT * FROM elsewhere.kin"),
    ("CREATE TABLE elsewhere.mine2 (id int, foo text)", "ALTER INDEX elsewhere.mine2 RENAME TO carried", "SET search_path = elsewhere, public",
     "UPDATE copied SET id = 7", "SELECT * FROM elsewhere.carried"),
]
# What code has put into a column stays there when the code goes.
UNLABELLED = [
    ("DROP TRIGGER t ON copied",), ("DROP TABLE copied",), ("DROP FUNCTION carry CASCADE",), ("DROP FUNCTION carry() CASCADE",),
    ("DROP FUNCTION tell CASCADE",), ("DROP FUNCTION peek CASCADE",), ("DROP VIEW seen CASCADE",), ("ALTER DOMAIN given_out DROP DEFAULT",),
    ("DROP DOMAIN given_out CASCADE",), ("DROP OWNED BY app CASCADE",), ("DROP SCHEMA public CASCADE",), ("DROP TABLE people CASCADE",),
    ("ALTER TABLE open_one DROP COLUMN id CASCADE",), ("DO $$ BEGIN DROP TRIGGER t ON copied; END $$",),
    ("BEGIN", "DROP TRIGGER t ON copied", "COMMIT"), ("ALTER TABLE copied DISABLE TRIGGER t",), ("ALTER TABLE open_one DISABLE TRIGGER ALL",),
]
FILLED = ("SELECT val FROM carried", "SELECT val FROM from_view", "SELECT x FROM by_default", "SELECT x FROM by_domain")
LEAKS = [
    # let through: what is written is the client's own row, or stays in its column
    ("INSERT INTO filled (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
     "SELECT * FROM filled"),
    ("INSERT INTO people VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded::text RETURNING name",),
    # once leaked: parameters that change what the server's scanner reads, by an UPDATE
    ("UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
     r"SELECT '\' || ' || ssn FROM people -- '"),
    ("CREATE VIEW params AS SELECT * FROM pg_settings",
     "UPDATE params SET setting = 'off' WHERE name = 'standard_conforming_strings'",
     r"SELECT '\' || ' || ssn FROM people -- '"),
    # once leaked: values inside of rows, arrays of rows, domains over rows, composites
    ("SELECT (was).ssn FROM history",), ("SELECT was FROM history",), ("SELECT crowd FROM history",),
    ("SELECT (boxed).ssn FROM history",), ("SELECT (composite).ssn FROM history",), ("SELECT * FROM deep",),
    ("SELECT ((w).inside).ssn FROM deep",), ("COPY history TO STDOUT",), ("SELECT * FROM typed",),
    ("SELECT to_jsonb(h) FROM history h",), ("SELECT p.* FROM history, unnest(crowd) p",),
    # once leaked: texts of errors that arise in a relation which the statement does not name
    ("DELETE FROM regions WHERE id = 1",), ("UPDATE regions SET id = 500 WHERE id = 1",),
    ("DELETE FROM areas",), ("UPDATE parent SET n = 500",), ("INSERT INTO shouting VALUES (1)",),
    ("INSERT INTO over_shouting VALUES (1)",), ("DELETE FROM shouted",), ("COPY shouting FROM STDIN",),
    ("INSERT INTO ruled VALUES (7) RETURNING x",), ("INSERT INTO over_ruled VALUES (7) RETURNING x",),
    ("PREPARE d AS DELETE FROM regions", "EXECUTE d"),
    ("ALTER DOMAIN code ADD CHECK (VALUE::int > 5)",),
    ("ALTER TYPE person ALTER ATTRIBUTE ssn TYPE code CASCADE",),
    # once leaked: a column that appears in the parent while the catalogue does not know it yet
    ("BEGIN; ALTER TABLE parent ADD COLUMN ssn text; SELECT ssn FROM parent",),
    ("BEGIN", "ALTER TABLE parent ADD COLUMN ssn text", "SELECT ssn FROM parent", "SELECT * FROM parent"),
    # once leaked: what triggers and defaults put where no label was
    ("UPDATE audited SET id = 1", "SELECT * FROM trail"), ("SELECT * FROM trail",),
    ("BEGIN", "DECLARE named CURSOR FOR SELECT 1", "CLOSE named", "UPDATE leaving SET id = 1", "FETCH ALL FROM named"),
    ("BEGIN; DECLARE named CURSOR FOR SELECT 1; CLOSE named; UPDATE leaving SET id = 1; FETCH ALL FROM named",),
    ("INSERT INTO by_domain (id) VALUES (2) RETURNING x", "SELECT x FROM by_domain"),
    # tried and found tight
    ('SELECT * FROM U&"\\0070eople"',), ("SELECT * FROM U&\"!0070eople\" UESCAPE '!'",), ("SELECT * FROM PEOPLE",),
    ("SELECT p.* FROM ONLY ( public . people ) p",), ("SELECT * FROM public.people*",), ("TABLE people",),
    ("SELECT * FROM ONLY/**/people",), ("COPY (TABLE people) TO STDOUT",), ("COPY people (ssn) TO STDOUT (FORMAT csv)",),
    ("COPY people TO STDOUT (FORMAT binary)",), ("SELECT (people).ssn, people, people.ssn FROM people",),
    ("WITH people AS (SELECT * FROM people) SELECT * FROM people",),
    ("SELECT (WITH people AS (SELECT 'x' AS ssn) SELECT ssn FROM people), (SELECT max(ssn) FROM people)",),
    ("(WITH people AS (SELECT 'x' AS ssn) SELECT ssn FROM people) UNION SELECT ssn FROM people",),
    (("WITH RECURSIVE r(s) AS (SELECT ssn FROM people UNION ALL SELECT s FROM r WHERE false)"
     " SEARCH DEPTH FIRST BY s SET o SELECT * FROM r"),),
    (("INSERT INTO notes WITH people AS (SELECT 9 AS id, 'x' AS body) SELECT * FROM people"
     " RETURNING (SELECT max(ssn) FROM people)"),),
    ("SELECT * FROM JSON_TABLE((SELECT json_agg(p) FROM people p), '$[*]' COLUMNS (s text PATH '$.ssn')) j",),
    ("SELECT JSON_ARRAYAGG(ssn), JSON_OBJECT('a': max(ssn)) FROM people",),
    ("SELECT max(ssn::int) FROM people",), ("SELECT query_to_xml('SELECT ssn FROM people', true, true, '')",),
    ("SELECT * FROM people TABLESAMPLE system (100)",),
    ("SELECT first_value(ssn) OVER w FROM people WINDOW w AS (ORDER BY ssn)",),
    ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM people",),
    ("SELECT * FROM ROWS FROM (unnest(ARRAY(SELECT ssn FROM people))) AS t(x)",),
    ("CREATE SCHEMA s1 CREATE VIEW v AS SELECT ssn AS x FROM people", "SELECT * FROM s1.v"),
    ("CREATE MATERIALIZED VIEW m1 AS SELECT ssn AS x FROM people", "SELECT * FROM m1", "REFRESH MATERIALIZED VIEW m1",
     "TABLE m1"),
    ("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM people", "COMMIT", "FETCH ALL c"),
    ("PREPARE p AS SELECT ssn FROM people", "CREATE TEMP TABLE e AS EXECUTE p", "TABLE e", "EXPLAIN ANALYZE EXECUTE p"),
    ("SET client_min_messages = debug1", "SET debug_print_plan = on", "SELECT ssn FROM people"),
    ("SELECT set_config('a.b', max(ssn), false) FROM people", "SELECT current_setting('a.b')"),
    ("CREATE DOMAIN text AS pg_catalog.text CHECK (VALUE::int > 0)", "SET search_path = public, pg_catalog",
     "SELECT ssn FROM people", "DROP DOMAIN public.text"),
    ("SAVEPOINT a",), ("BEGIN", "SAVEPOINT a", "CREATE VIEW sv AS TABLE people", "ROLLBACK TO a", "TABLE sv"),
    ("BEGIN", "CREATE VIEW sw AS TABLE people", "SELECT * FROM sw", "ROLLBACK"),
]
REFUSED = [
    # once told whether a value exists
    "ALTER DOMAIN code ADD CHECK (VALUE <> '219-09-9999')", "ALTER DOMAIN code SET NOT NULL",
    "INSERT INTO accounts VALUES (5, '219-09-9999') ON CONFLICT ON CONSTRAINT accounts_ssn DO UPDATE SET hit = 'y'",
    # once told whether a value is missing
    "UPDATE people SET ssn = coalesce(ssn, (1 / (id - id))::text) WHERE id = 2",
    "UPDATE people SET ssn = coalesce(ssn, set_config('a.b', 'ISNULL', false)) WHERE id = 2",
    # once possible, where the role's rights allow it
    "COPY notes FROM '/etc/passwd'", "ALTER SYSTEM SET work_mem = '4MB'", "CREATE DATABASE other TEMPLATE attacks",
    "ALTER DATABASE plain RENAME TO other", "UPDATE pg_catalog.pg_class SET relname = 'x' WHERE relname = 'people'",
    "ALTER ROLE app PASSWORD 'x'", "ALTER ROLE app SET statement_timeout = 1", "ALTER ROLE app RENAME TO y",
    "ALTER DATABASE attacks SET search_path = ''", "CREATE ROLE y LOGIN",
    "ALTER TYPE person ADD ATTRIBUTE z int CASCADE",
    "COPY pg_catalog.pg_proc FROM STDIN", "SELECT * FROM information_schema.user_mapping_options",
    # tried and found tight
    "UPDATE people SET name = 'x' WHERE ssn = '219-09-9999'", "DELETE FROM people p WHERE p.ssn LIKE '2%'",
    "UPDATE people p SET name = 'x' WHERE p::text LIKE '%219%'", "UPDATE people p SET name = name WHERE (p).ssn > '2'",
    "UPDATE people SET name = 'x' WHERE ROW(people.*) = ROW(1)", "UPDATE people SET name = ssn RETURNING name",
    "UPDATE people SET name = 'x' WHERE EXISTS (SELECT FROM (VALUES ('219-09-9999')) v(g) WHERE g = ssn)",
    "WITH people AS (SELECT 1 AS ssn) DELETE FROM people WHERE ssn = '219-09-9999'",
    "INSERT INTO people AS p VALUES (1) ON CONFLICT (id) DO UPDATE SET name = p.ssn RETURNING name",
    "INSERT INTO accounts VALUES (5, '219-09-9999') ON CONFLICT (ssn) DO NOTHING",
    "MERGE INTO people p USING notes n ON p.ssn = '219-09-9999' WHEN MATCHED THEN DO NOTHING",
    "UPDATE people SET name = 'x' RETURNING old.ssn", "EXPLAIN ANALYZE DELETE FROM people WHERE ssn = '219-09-9999'",
    "CREATE UNIQUE INDEX ON people (ssn)", "CREATE INDEX ON people ((ssn::int))", "CREATE STATISTICS ON id, ssn FROM people",
    "CLUSTER people USING people_pkey", "ALTER TABLE people RENAME TO q", "ALTER INDEX people RENAME TO q",
    "ALTER TYPE people RENAME TO q", "ALTER SCHEMA public RENAME TO q", "ALTER TABLE people SET SCHEMA pg_catalog",
    "ALTER TABLE people ALTER ssn TYPE int USING ssn::int", "ALTER TABLE people ADD CHECK (ssn > '3')",
    "ALTER TABLE people ADD g text GENERATED ALWAYS AS (ssn) STORED", "CREATE TABLE kid () INHERITS (people)",
    "CREATE TABLE kin (x text REFERENCES accounts (ssn))", "ALTER TABLE notes ADD FOREIGN KEY (body) REFERENCES accounts (ssn)",
    "CREATE RULE r2 AS ON INSERT TO notes DO ALSO SELECT * FROM people", "DO $$ BEGIN PERFORM ssn FROM people; END $$",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM people'", "SELECT * FROM pg_stats",
    "SELECT set_config(setting_name => 'standard_conforming_strings', new_value => 'off', is_local => false)",
    "ALTER ROLE app SET standard_conforming_strings = off", "SELECT stavalues1 FROM pg_statistic", "SELECT lo_get(1)",
]
ALLOWED = [
    ("SELECT id, other, ssn FROM coded", [("1", "x", None)]),
    ("SELECT id, ssn FROM given", [("1", None)]),
    ("SELECT id, was FROM history WHERE id = 1", [("1", None)]),
    ("ALTER DOMAIN code SET DEFAULT 'x'", []),
    ("SELECT count(*) FROM pg_settings WHERE name = 'work_mem'", [("1",)]),
    ("INSERT INTO people (id, name) VALUES (1, 'ann') ON CONFLICT (id) DO UPDATE SET name = 'ann' RETURNING id", [("1",)]),
    ("INSERT INTO people VALUES (3, 'c', '333') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn RETURNING id", [("3",)]),
    ("GRANT SELECT ON notes TO PUBLIC", []),
    ("REVOKE ALL ON people FROM PUBLIC", []),
    ("ALTER TABLE notes ADD COLUMN IF NOT EXISTS more int", []),
    ("CREATE TABLE visits (pid int REFERENCES people (id), other int REFERENCES people)", []),
    ("ALTER TABLE unrelated ADD FOREIGN KEY (id) REFERENCES people (id)", []),
    ("ALTER TABLE renamed RENAME TO another", []),
    ("DROP TABLE scratch", []),
    ("CREATE TABLE scratch_2 (id int); DROP TABLE scratch_2 CASCADE", []),
    ("CREATE TEMP TABLE temporary (val text)", []),
]


@pytest.fixture(scope="module")
def attacked(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a gateway before a database with the structures that invite leaks."""
    config = HEAD.replace("name: crm", "name: attacks", 1) + (
        '  - {{name: hide, connections: [attacks], mask: [{{columns: ["*.ssn"], with: redact}}]}}\n')
    with own_database(backend, "attacks", "RESET ROLE; ALTER SCHEMA public OWNER TO app; SET ROLE app;" + SETUP), \
            gateway(tmp_path_factory.mktemp("attacks"), config, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running.dsn(tokens.token("agent-1", "agents"), "attacks")


def said(result: PGresult) -> list[bytes]:
    """Every byte string of one result."""
    found = [result.error_field(field) for field in pq.DiagnosticField] + [result.command_status]
    found += [result.get_value(row, column) for row in range(result.ntuples) for column in range(result.nfields)]
    return [part for part in found if part is not None]


def results(connection: PGconn) -> Iterator[list[bytes]]:
    """What the server says until nothing more is owed, results and COPY data."""
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.COPY_OUT:
            while (piece := connection.get_copy_data(0))[0] > 0:
                yield [bytes(piece[1])]
        elif result.status == pq.ExecStatus.COPY_IN:
            connection.put_copy_data(b"1\n")
            connection.put_copy_end()
        else:
            yield said(result)


def run(dsn: str, steps: tuple[str, ...]) -> bytes:
    """All that a session of these statements delivers, by any message."""
    seen: list[bytes] = []
    with psycopg.connect(dsn, autocommit=True) as opened:
        connection = opened.pgconn
        connection.notice_handler = lambda notice: seen.extend(said(notice))
        for step in steps:
            if connection.status != pq.ConnStatus.OK:
                break
            connection.send_query(step.encode())
            for parts in results(connection):
                seen += parts
    return b"\n".join(seen).lower()


def leaked(text: bytes) -> list[bytes]:
    return [needle for needle in NEEDLES if needle in text]


@pytest.mark.parametrize("steps", LEAKS, ids=lambda steps: steps[-1][:60])
def test_no_sequence_delivers_a_value(attacked: str, steps: tuple[str, ...]) -> None:
    """No statements of one session bring a protected value to the client, whatever message carries it."""
    assert leaked(run(attacked, steps)) == []


@pytest.mark.parametrize("steps", REDIRECTED, ids=lambda steps: steps[0][:60])
def test_what_a_trigger_writes_is_not_led_elsewhere(backend: Server, attacked: str, steps: tuple[str, ...]) -> None:
    """Neither by a temporary relation nor by a search path; on the direct connection each of them works."""
    inside = [step for step in steps if step not in ("BEGIN", "COMMIT", "ROLLBACK")]
    before = ("SET ROLE app", "BEGIN", *inside, "ROLLBACK")
    assert leaked(run(backend.dsn("attacks"), before))
    assert leaked(run(attacked, steps)) == []


@pytest.mark.parametrize("steps", UNLABELLED, ids=lambda steps: steps[-1][:60])
def test_no_label_goes_with_the_code_that_made_it(backend: Server, attacked: str, steps: tuple[str, ...]) -> None:
    """What it has put into columns stays masked: the code does, or the label does without it."""
    found = b"".join(run(attacked, (*steps, statement)) for statement in FILLED)
    run(backend.dsn("attacks"), ("ALTER TABLE copied ENABLE TRIGGER t", "ALTER TABLE open_one ENABLE TRIGGER ALL"))
    assert leaked(found) == []
    if "DISABLE" not in steps[0]:
        assert b"42501" in found
    for statement in FILLED:
        assert leaked(run(backend.dsn("attacks"), (statement,)))


def test_a_label_outlives_code_that_the_owner_drops(backend: Server, attacked: str) -> None:
    """In the database itself, where nobody can be refused: the gateway remembers what was filled."""
    assert leaked(run(attacked, ("SELECT val FROM outlives",))) == []
    with psycopg.connect(backend.dsn("attacks"), autocommit=True) as owner:
        owner.execute("DROP FUNCTION dropped CASCADE")
    found = run(attacked, ("CREATE TABLE looks_anew (id int)", "DROP TABLE looks_anew", "SELECT id, val FROM outlives"))
    assert b"xxxx" in found
    assert leaked(found) == []


def test_a_trigger_fills_what_it_should(attacked: str) -> None:
    """The same change goes on where nothing stands in the way, and what was written is masked."""
    found = run(attacked, ("UPDATE copied SET id = 1", "SELECT touch()", "SELECT id, val FROM carried"))
    assert leaked(found) == []
    assert b"42501" not in found


@pytest.mark.parametrize("statement", REFUSED, ids=lambda statement: statement[:60])
def test_no_statement_answers_questions_about_a_value(attacked: str, statement: str) -> None:
    """What would tell whether a value exists, or take the labels off, is refused by the gateway itself."""
    text = run(attacked, (statement,))
    assert leaked(text.replace(SSN.encode(), b"") if SSN in statement else text) == []
    assert b"42501" in text or b"42601" in text, text
    assert b"permission denied" not in text, text


@pytest.mark.parametrize(("statement", "rows"), ALLOWED, ids=lambda value: str(value)[:60])
def test_what_stands_close_to_an_attack_is_allowed(attacked: str, statement: str, rows: list[tuple[str | None, ...]]) -> None:
    """The refusals above do not take ordinary statements with them."""
    with psycopg.connect(attacked, autocommit=True) as connection:
        cursor = connection.pgconn.exec_(statement.encode())
        assert not cursor.error_message
        found = [tuple(None if (value := cursor.get_value(row, column)) is None else value.decode()
                       for column in range(cursor.nfields)) for row in range(cursor.ntuples)]
        assert found == rows


def test_a_pipeline_cannot_outrun_a_changed_parameter(attacked: str) -> None:
    """A parameter that moves where literals end is not changed in one message and used in the next."""
    seen: list[bytes] = []
    with psycopg.connect(attacked, autocommit=True) as opened:
        connection = opened.pgconn
        connection.notice_handler = lambda notice: seen.extend(said(notice))
        connection.enter_pipeline_mode()
        connection.send_query_params(
            b"UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'", [])
        connection.send_query_params(rb"SELECT '\' || ' || ssn FROM people -- '", [])
        connection.pipeline_sync()
        for _ in range(6):
            result = connection.get_result()
            if result is not None:
                seen += said(result)
    assert leaked(b"\n".join(seen).lower()) == []


def test_the_direct_connection_does_leak(backend: Server, attacked: str) -> None:
    """The same search finds values where no gateway is in between, so an empty result means something."""
    assert attacked
    found = [steps for steps in LEAKS if leaked(run(backend.dsn("attacks"), (f"BEGIN; SET LOCAL ROLE app; {steps[0]}",)))]
    assert len(found) > len(LEAKS) // 2
