"""What may be called under masks: admitted, showing what is protected, or of unknown effect."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer, Catalogue, Masked, SessionNames
from lockgate.analysis.sql.effects import LONGEST_BLOCKS, MOST_BLOCKS
from lockgate.analysis.sql.labels import labels_for
from lockgate.analysis.sql.routines.closure import MOST_CODE, MOST_ROUTINES
from lockgate.model import ColumnMask, MaskMethod, Predicates, Refusal
from tests.unit.analysis.database import MASKS, Database, plan, standard


def with_function(body: str, arguments: str = "", returns: str = "text", language: str = "sql") -> Database:
    database = standard()
    database.routine("f", arguments, returns, body, language)
    return database


def verdict(text: str, database: Database) -> str:
    planned = plan(text, database)
    if isinstance(planned, Masked):
        return "touches" if planned.touches_labelled else "open"
    assert isinstance(planned, Refusal)
    return "shows" if "cannot be called" in planned.reason else "opaque" if "cannot be analysed" in planned.reason else planned.reason


@pytest.mark.parametrize(("body", "expected"), [
    ("SELECT note FROM u", "open"), ("SELECT name FROM t WHERE id = 1", "touches"), ("SELECT count(*)::text FROM t", "touches"),
    ("SELECT ssn FROM t", "shows"), ("SELECT t.ssn FROM t", "shows"), ("SELECT name FROM t WHERE ssn = 'x'", "shows"), ("SELECT * FROM t", "shows"),
    ("TABLE t", "shows"), ("SELECT t::text FROM t", "shows"), ("SELECT c::text FROM t c", "shows"), ("SELECT c.row_to_json FROM t c", "shows"),
    ("SELECT name FROM t JOIN u USING (ssn)", "shows"), ("SELECT name FROM t NATURAL JOIN u", "shows"), ("SELECT x FROM t AS c(i, n, x)", "shows"),
    ("SELECT u.* FROM t JOIN u ON u.id = t.id", "touches"), ("SELECT t.* FROM t", "shows"), ("SELECT s FROM v", "shows"), ("SELECT id FROM v", "touches"),
    ("SELECT x FROM pg_stats", "shows"), ("UPDATE t SET name = 'x' WHERE id = 1", "touches"), ("UPDATE t SET ssn = 'x' WHERE id = 1", "touches"),
    ("UPDATE t SET name = ssn", "shows"), ("UPDATE t SET name = 'x' RETURNING ssn", "shows"), ("UPDATE t SET name = 'x' RETURNING *", "shows"),
    ("INSERT INTO t (id, ssn) VALUES (1, 'x')", "touches"), ("INSERT INTO t (id) VALUES (1) ON CONFLICT (ssn) DO NOTHING", "shows"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING", "shows"), ("DELETE FROM t WHERE id = 1", "touches"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.row_to_json::text", "shows"),
    ("MERGE INTO t USING u ON u.id = t.id WHEN MATCHED THEN DELETE", "shows"), ("TRUNCATE t", "shows"), ("LOCK TABLE t", "shows"),
    ("DROP TABLE t", "shows"), ("CREATE INDEX ON t (ssn)", "shows"), ("CREATE TABLE x (LIKE t)", "shows"), ("ALTER TABLE u ADD x int", "opaque"),
    ("CREATE TABLE x (a text REFERENCES t (ssn))", "shows"), ("CREATE TEMP TABLE x AS SELECT id, name FROM t", "touches"),
    ("CREATE VIEW x AS SELECT * FROM t", "shows"), ("GRANT SELECT ON u TO PUBLIC", "opaque"), ("INSERT INTO pg_class VALUES (1)", "opaque"),
    ("SELECT query_to_xml('SELECT 1', true, true, '')::text", "opaque"), ("SELECT pg_notify('a', 'b')::text", "opaque"), ("SELECT nope()", "opaque"),
    ("WITH t AS (SELECT 'x' AS ssn) SELECT ssn FROM t", "open"), ("SELECT ssn FROM (SELECT id, name FROM t) s", "shows"),
])
def test_a_sql_body(body: str, expected: str) -> None:
    """What a body refers to decides: protected columns and whole rows show, the rest of the relation does not."""
    assert verdict("SELECT f()", with_function(body)) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("BEGIN RETURN (SELECT note FROM u); END", "open"), ("BEGIN RETURN (SELECT ssn FROM t); END", "shows"),
    ("DECLARE r record; BEGIN FOR r IN SELECT id, name FROM t LOOP RETURN r.name; END LOOP; END", "touches"),
    ("DECLARE r t%ROWTYPE; BEGIN SELECT id, name INTO r.id, r.name FROM t; RETURN r.name; END", "touches"),
    ("DECLARE r t%ROWTYPE; BEGIN SELECT * INTO r FROM t; RETURN r.name; END", "shows"),
    ("DECLARE c CURSOR FOR SELECT ssn FROM t; BEGIN RETURN 'x'; END", "shows"),
    ("BEGIN RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END", "open"),
    ("BEGIN UPDATE t SET name = 'x'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 2; END", "shows"),
    ("BEGIN EXECUTE 'SELECT note FROM u'; RETURN 1; END", "open"), ("BEGIN EXECUTE 'SELECT ssn FROM t'; RETURN 1; END", "shows"),
    ("BEGIN EXECUTE 'SELECT ' || 'ssn FROM t'; RETURN 1; END", "opaque"), ("BEGIN DO $y$ BEGIN PERFORM 1; END $y$; RETURN 1; END", "opaque"),
])
def test_a_plpgsql_body(body: str, expected: str) -> None:
    """The same for everything that a PL/pgSQL body evaluates; catching errors of a protected relation shows."""
    assert verdict("SELECT f()", with_function(body, language="plpgsql")) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("DO $$ BEGIN PERFORM note FROM u; END $$", "open"), ("DO $$ BEGIN PERFORM ssn FROM t; END $$", "shows"),
    ("DO $$ BEGIN PERFORM 1; END $$;" * MOST_BLOCKS, "open"), ("DO $$ BEGIN PERFORM 1; END $$;" * (MOST_BLOCKS + 1), "opaque"),
    (f"DO $$ BEGIN {' ' * (LONGEST_BLOCKS - 12)} END $$", "open"), (f"DO $$ BEGIN {' ' * LONGEST_BLOCKS} END $$", "opaque"),
    (f"DO $$ BEGIN {' ' * (LONGEST_BLOCKS - 20)} END $$; DO $$ BEGIN PERFORM 1; END $$", "opaque"),
    ("DO $a$ BEGIN DO $$ BEGIN PERFORM 1; END $$; END $a$", "opaque"),
    ("DO $$ BEGIN EXECUTE 'x' || 'y'; END $$", "opaque"), ("DO LANGUAGE plpython3u 'x'", "opaque"), ("DO 'not a body'", "opaque"),
    ("CALL f()", "shows"), ("CALL nope()", "opaque"), ("EXPLAIN SELECT f()", "shows"), ("CREATE VIEW x AS SELECT f()", "shows"),
    ("INSERT INTO u SELECT 1, f()", "shows"), ("UPDATE u SET note = f()", "shows"), ("COPY (SELECT f()) TO STDOUT", "shows"),
    ("SELECT 1 FROM u ORDER BY f()", "shows"), ("PREPARE x AS SELECT f()", "shows"), ("DECLARE c CURSOR FOR SELECT f()", "shows"),
    ("SELECT * FROM f() AS g(x)", "shows"), ("SELECT q.f()", "opaque"), ("SELECT pg_temp.f()", "opaque"), ("SELECT p.f()", "shows"),
])
def test_wherever_it_is_called(text: str, expected: str) -> None:
    """A call counts in any place of any statement, under every name that may mean it."""
    assert verdict(text, with_function("SELECT ssn FROM t")) == expected


def test_arguments_are_masked() -> None:
    """An admitted function gets masked data: rows, columns, and rows that a function reads like a column."""
    database = with_function("SELECT $1.ssn", "c p.t")
    database.rows["functions"][-1] = (*database.rows["functions"][-1][:3], "true", *database.rows["functions"][-1][4:])
    for text in ("SELECT f(c) FROM t c", "SELECT c.f FROM t c", "SELECT f(ROW(1, '', ssn)::p.t) FROM t"):
        planned = plan(text, database)
        assert isinstance(planned, Masked), text
        assert "'xxxx'" in planned.text


def test_calls_are_followed() -> None:
    """Through any number of routines, whatever their languages, and around cycles."""
    database = with_function("SELECT g()")
    database.routine("g", body="BEGIN RETURN h(); END", language="plpgsql")
    database.routine("h", body="SELECT f() WHERE EXISTS (SELECT FROM u)")
    assert verdict("SELECT f()", database) == "open"
    database.routine("h", "a int", body="SELECT ssn FROM t", least=1, most=1)
    assert verdict("SELECT f()", database) == "open"
    database.routine("h", "", body="SELECT ssn FROM t", schema="q")
    assert verdict("SELECT f()", database) == "shows"


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT g(1)", "open"), ("SELECT g(1, 2)", "shows"), ("SELECT g(1, 2, 3)", "shows"), ("SELECT g(VARIADIC ARRAY[1])", "shows"),
    ("SELECT g(a => 1)", "open"), ("SELECT g(1), g(1, 2)", "shows"),
])
def test_overloads_are_told_apart_by_number(text: str, expected: str) -> None:
    """One with another number of arguments cannot be meant; anything else could be."""
    database = standard()
    database.routine("g", "a int", body="SELECT 1", least=1, most=1)
    database.routine("g", "a int, VARIADIC b int[]", body="SELECT ssn FROM t", least=2)
    assert verdict(text, database) == expected


def test_procedures_and_aggregates_are_not_told_apart_by_number() -> None:
    """CALL names output arguments, and aggregates may take some elsewhere."""
    database = standard()
    database.routine("g", "a int", body="SELECT ssn FROM t", least=1, most=1, kind="p")
    assert verdict("CALL g()", database) == "shows"


def test_too_many_routines() -> None:
    """What leads to more than the bound is of unknown effect."""
    database = standard()
    for number in range(MOST_ROUTINES + 2):
        database.routine(f"f{number}", body=f"SELECT f{number + 1}()")
    database.routine(f"f{MOST_ROUTINES + 2}", body="SELECT 1")
    assert verdict("SELECT f0()", database) == "opaque"
    assert verdict("SELECT f5()", database) == "open"


def test_too_much_code() -> None:
    """So is what leads to more text than the bound, in however few routines."""
    database = standard()
    for name, inner in (("f", "g()"), ("g", "h()"), ("h", "1")):
        database.routine(name, body=f"SELECT {inner}{' ' * (MOST_CODE // 3)}")
    assert verdict("SELECT f()", database) == "opaque"
    assert verdict("SELECT g()", database) == "open"


@pytest.mark.parametrize("schema", ["p", "pg_catalog"])
def test_built_in_names_stay_what_they_are(schema: str) -> None:
    """An overload of a built-in's name is judged besides it, and makes one that is refused no better."""
    database = standard()
    database.routine("lower", "a int", body="SELECT ssn FROM t", least=1, most=1)
    database.function("pg_notify", pure=True)
    assert verdict("SELECT lower(1)", database) == "shows"
    assert verdict("SELECT lower(1, 2)", database) == "open"
    assert verdict("SELECT pg_catalog.lower(1)", database) == "open"
    assert verdict("SELECT pg_notify('a', 'b')", database) == "opaque"


def test_aggregates_operators_casts_and_domains() -> None:
    """Calls that are not written as calls are judged by the same closure."""
    database = standard()
    database.routine("clean", "a int", body="SELECT 1", least=1, most=1)
    database.routine("peek", "a int", body="SELECT ssn FROM t", least=1, most=1)
    for number, name in enumerate(("clean", "peek")):
        oid = str(900 + number)
        database.rows["functions"].append(("p", f"agg_{name}", "false", "false", oid, "a", "internal", "1", "1", None))
        database.rows.setdefault("aggregates", []).append((oid, "p", name))
        database.rows["operators"].append(("p", f"@{'+' if number else '-'}@", "false", "p", name))
        database.rows["casts"].append((f"c_{name}", "text", "false", "false", "true", "p", name))
        database.wire("domain", f"{name}(VALUE)", type_name=f"d_{name}")
    for text in ("SELECT agg_{}(id) FROM u", "SELECT 1::c_{}", "SELECT 1::d_{}"):
        assert verdict(text.format("clean"), database) == "open", text
        assert verdict(text.format("peek"), database) == "shows", text
    assert verdict("SELECT 1 @-@ 2", database) == "open"
    assert verdict("SELECT 1 @+@ 2", database) == "shows"


def reacting(kind: str, body: str, language: str = "sql") -> Database:
    database = standard()
    database.routine("f", "", "trigger" if kind == "trigger" else "text", body, language)
    if kind == "trigger":
        database.trigger("u", "f")
    else:
        database.wire(kind, "p.f()", "u", 2)
    return database


@pytest.mark.parametrize("kind", ["trigger", "default", "check", "index", "partition", "policy"])
def test_what_a_change_sets_in_motion(kind: str) -> None:
    """Harmless code leaves the server's own words; what reads protected data, or is not known, withholds them."""
    plain, telling, unknown = "BEGIN PERFORM note FROM u; RETURN NULL; END", "BEGIN RAISE NOTICE '%', (SELECT ssn FROM t); END", "BEGIN EXECUTE x; END"
    for text in ("UPDATE u SET id = 1", "INSERT INTO u (id) VALUES (1)", "DELETE FROM u", "COPY u FROM STDIN"):
        assert verdict(text, reacting(kind, plain, "plpgsql")) == "open"
        assert verdict(text, reacting(kind, telling, "plpgsql")) == "touches"
        assert verdict(text, reacting(kind, unknown, "plpgsql")) == "touches"
    assert verdict("SELECT note FROM u", reacting(kind, telling, "plpgsql")) == (
        "touches" if kind in ("policy", "default") else "open")    # the default's column is protected now


def test_what_a_called_function_sets_in_motion() -> None:
    """A function that changes a relation with a telling trigger touches, and may not catch what it says."""
    database = reacting("trigger", "BEGIN RAISE EXCEPTION '%', (SELECT ssn FROM t); END", "plpgsql")
    database.routine("g", body="UPDATE u SET note = 'x'")
    database.routine("h", body="BEGIN UPDATE u SET note = 'x'; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END", language="plpgsql")
    assert verdict("SELECT g()", database) == "touches"
    assert verdict("SELECT h()", database) == "shows"


def test_event_triggers_hear_of_definitions() -> None:
    """What runs at every DDL may speak of protected rows."""
    database = with_function("BEGIN RAISE NOTICE '%', (SELECT ssn FROM t); END", returns="event_trigger", language="plpgsql")
    assert verdict("CREATE TABLE x (a int)", database) == "open"
    database.wire("event", "p.f()")
    assert verdict("CREATE TABLE x (a int)", database) == "touches"


def test_a_cycle_through_triggers_keeps_what_was_found() -> None:
    """Where two routines set each other in motion, what one reaches counts for both, whichever is asked first."""
    for first, second in (("f", "g"), ("g", "f")):
        database = standard()
        database.relation("w", "a:int4")
        database.routine("f", returns="trigger", body="BEGIN UPDATE w SET a = 1; UPDATE t SET name = 'x'; RETURN NULL; END", language="plpgsql")
        database.routine("g", returns="trigger", body="BEGIN UPDATE u SET id = 1; RETURN NULL; END", language="plpgsql")
        database.trigger("u", "f")
        database.trigger("w", "g")
        catalogue: Catalogue = database.catalogue()
        verdicts = labels_for(MASKS, catalogue).verdicts
        tables = {relation.name: relation for relation in catalogue.relations}
        order = {"f": "u", "g": "w"}
        assert verdicts.reacts(tables[order[first]])
        assert verdicts.reacts(tables[order[second]])


def test_views_that_call_admitted_functions_are_looked_through() -> None:
    """A view is closed only where a function of it shows or is not known."""
    database = with_function("SELECT note FROM u", "a text")
    database.routine("peek", body="SELECT ssn FROM t")
    database.relation("fine", "x y", "v", "SELECT f(t.name) AS x, f(t.ssn) AS y FROM p.t;")
    database.relation("bad", "x", "v", "SELECT p.peek() AS x;")
    planned = plan("SELECT x, y FROM fine", database)
    assert isinstance(planned, Masked)
    assert "'xxxx'" in planned.text
    assert isinstance(plan("SELECT x FROM bad", database), Refusal)


def test_code_of_an_open_transaction_is_not_trusted() -> None:
    """While the session may have defined code that no catalogue shows, nothing but built-in code runs."""
    session = SessionNames()
    database = with_function("SELECT note FROM u")
    analyzer = Analyzer()
    assert isinstance(plan("SELECT f()", database, session=session), Masked)
    session.create_all(analyzer.statement("CREATE FUNCTION f(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM t'"))
    assert isinstance(plan("SELECT f()", database, session=session), Refusal)
    assert isinstance(plan("SELECT lower('x')", database, session=session), Masked)
    session.confirm(database.catalogue(2))
    assert isinstance(plan("SELECT f()", database, session=session), Masked)


def test_names_outside_ascii_in_another_encoding() -> None:
    """The server reads them in another way than the parser here."""
    database = with_function("SELECT 'é'")
    assert verdict("SELECT f()", database) == "open"
    database.rows["encoding"] = [("LATIN1",)]
    assert verdict("SELECT f()", database) == "opaque"


REAL = (ColumnMask(("*.ssn",), MaskMethod.REDACT, Predicates.ALLOW, label="pii"),)


@pytest.mark.parametrize(("call", "is_admitted"), [
    ("quiet(ssn)", True), ("says(ssn)", True), ("logs(ssn)", False), ("keeps(ssn)", False), ("counts(ssn)", False), ("nested(ssn)", False),
    ("set_config('x.y', ssn, false)", False), ("pg_advisory_lock(length(ssn))::text", False),
])
@pytest.mark.parametrize("text", [
    "SELECT name FROM t WHERE {} = 'x'", "SELECT {} FROM t WHERE ssn = 'x'", "UPDATE t SET name = 'x' WHERE {} = 'x'", "UPDATE t SET ssn = {}",
    "DELETE FROM t WHERE {} = 'x'",
])
def test_real_values_stay_in_the_statement(call: str, text: str, *, is_admitted: bool) -> None:
    """Where policy lets conditions use real values, no function is handed one that it could put elsewhere."""
    database = standard()
    database.routine("quiet", "x text", "text", "SELECT upper(x)")
    database.routine("says", "x text", "text", "BEGIN RAISE NOTICE '%', x; RETURN x; END", "plpgsql")     # notices are withheld
    database.routine("logs", "x text", "text", "INSERT INTO u (note) VALUES (x) RETURNING note")
    database.routine("keeps", "x text", "text", "SELECT set_config('x.y', x, false)")
    database.routine("counts", "x text", "text", "SELECT pg_advisory_lock(length(x))::text")
    database.routine("nested", "x text", "text", "BEGIN RETURN logs(x); END", "plpgsql")
    planned = plan(text.format(call), database, REAL)
    assert isinstance(planned, Masked) is is_admitted
