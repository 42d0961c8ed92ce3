"""Triggers: columns that they fill from protected ones are protected, and others are not."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Catalogue
from lockgate.analysis.sql.labels import labels_for
from lockgate.model import ColumnMask, MaskMethod, Refusal
from tests.unit.analysis.database import MASKS, Database, plan, standard

BEFORE_INSERT, AFTER_UPDATE, INSTEAD = 7, 17, 81


def fires(body: str, declare: str = "", kind: int = AFTER_UPDATE, table: str = "t", when: str | None = None) -> Database:
    database = standard()
    database.relation("audit", "a b c")
    database.routine("f", "", "trigger", f"DECLARE {declare} BEGIN {body} RETURN NEW; END" if declare else f"BEGIN {body} RETURN NEW; END", "plpgsql")
    database.trigger(table, "f", kind, when)
    return database


def protected(database: Database) -> set[str]:
    """Columns that are protected besides those that the mask names, and the views of them."""
    catalogue = database.catalogue()
    labels = labels_for(MASKS, catalogue)
    return {f"{relation.name}.{name}" for relation in catalogue.relations for name in labels.protected_names(relation)} - {"t.ssn", "v.s"}


@pytest.mark.parametrize(("body", "declare", "expected"), [
    ("INSERT INTO audit (a, b) VALUES (OLD.id, OLD.ssn);", "", {"audit.b"}),
    ("INSERT INTO audit VALUES (OLD.ssn, OLD.name);", "", {"audit.a"}),
    ("INSERT INTO audit VALUES (1, 2, NEW.id);", "", set()),
    ("INSERT INTO audit SELECT OLD.*;", "", {"audit.c"}),
    ("INSERT INTO audit SELECT (NEW).*;", "", {"audit.c"}),
    ("INSERT INTO audit (b, a) SELECT upper(OLD.ssn) || 'x', 1;", "", {"audit.b"}),
    ("INSERT INTO audit (a) VALUES (to_jsonb(OLD));", "", {"audit.a"}),
    ("INSERT INTO audit (a) VALUES (OLD);", "", {"audit.a"}),
    ("INSERT INTO audit (a) VALUES (row_to_json(NEW.*));", "", {"audit.a"}),
    ("INSERT INTO audit (a) VALUES (NEW.row_to_json);", "", {"audit.a"}),
    ("INSERT INTO audit (a, b) VALUES (1, 2), (3, OLD.ssn);", "", {"audit.b"}),
    ("INSERT INTO audit (a) SELECT ssn FROM t WHERE id = NEW.id;", "", {"audit.a"}),
    ("INSERT INTO audit (a) SELECT name FROM t WHERE ssn = 'x';", "", {"audit.a"}),
    ("INSERT INTO audit (a, b) SELECT name, ssn FROM t;", "", {"audit.b"}),
    ("INSERT INTO audit SELECT * FROM t;", "", {"audit.a", "audit.b", "audit.c"}),
    ("INSERT INTO audit (a) SELECT s FROM v;", "", {"audit.a"}),
    ("INSERT INTO audit (a) SELECT most_common_vals FROM pg_stats;", "", {"audit.a"}),
    ("INSERT INTO audit (a) VALUES ((SELECT max(ssn) FROM t));", "", {"audit.a"}),
    ("INSERT INTO audit (a) SELECT 1 UNION SELECT OLD.ssn;", "", {"audit.a"}),
    ("INSERT INTO audit (a, b) VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = OLD.ssn;", "", {"audit.b"}),
    ("INSERT INTO audit (a, b) VALUES (1, OLD.ssn) ON CONFLICT (a) DO UPDATE SET c = excluded.b;", "", {"audit.b", "audit.c"}),
    ("WITH x AS (SELECT OLD.ssn AS s) INSERT INTO audit (a) SELECT s FROM x;", "", {"audit.a"}),
    ("WITH x AS (INSERT INTO audit (b) VALUES (OLD.ssn) RETURNING 1) SELECT 1 INTO v FROM x;", "v int;", {"audit.b"}),
    ("UPDATE audit SET a = NEW.ssn, b = 'x' WHERE c = NEW.id;", "", {"audit.a"}),
    ("UPDATE audit SET a = 'x' WHERE b = NEW.ssn;", "", {"audit.a"}),
    ("UPDATE audit SET (a, b) = (SELECT NEW.ssn, 1);", "", {"audit.a", "audit.b"}),
    ("DELETE FROM audit WHERE a = NEW.ssn;", "", set()),
    ("MERGE INTO audit USING (SELECT OLD.ssn AS s) x ON a = s WHEN NOT MATCHED THEN INSERT VALUES (1, 2, 3);", "",
     {"audit.a", "audit.b", "audit.c"}),
    ("v := NEW.ssn; w := v; INSERT INTO audit (a, b) VALUES (w, n);", "v text; w text; n text;", {"audit.a"}),
    ("SELECT NEW.ssn, 1 INTO v, n; INSERT INTO audit (a) VALUES (v);", "v text; n int;", {"audit.a"}),
    ("r := OLD; INSERT INTO audit (a) VALUES (r.name);", "r record;", {"audit.a"}),
    ("SELECT OLD.ssn AS s INTO r; INSERT INTO audit (b) VALUES (r.s);", "r record;", {"audit.b"}),
    ("FOR r IN SELECT ssn FROM t LOOP INSERT INTO audit (a) VALUES (r.ssn); END LOOP;", "r record;", {"audit.a"}),
    ("FOREACH v IN ARRAY ARRAY[OLD.ssn] LOOP INSERT INTO audit (a) VALUES (v); END LOOP;", "v text;", {"audit.a"}),
    ("OPEN c FOR SELECT ssn FROM t; FETCH c INTO v; INSERT INTO audit (a) VALUES (v);", "c refcursor; v text;", {"audit.a"}),
    ("a[1] := OLD.ssn; INSERT INTO audit (a) VALUES (a[2]);", "a text[];", {"audit.a"}),
    ("INSERT INTO audit (a) VALUES (n.ssn);", "n ALIAS FOR NEW;", {"audit.a"}),
    ("IF OLD.ssn = 'x' THEN v := 'y'; END IF; INSERT INTO audit (a) VALUES (v);", "v text;", {"audit.a"}),
    ("IF OLD.ssn = 'x' THEN INSERT INTO audit (a) VALUES (1); ELSE INSERT INTO audit (a) VALUES (2); END IF;", "", {"audit.a"}),
    ("IF OLD.ssn = 'x' THEN INSERT INTO audit (a) VALUES (1); END IF;", "", set()),
    ("IF OLD.ssn = 'x' THEN UPDATE audit SET a = 1; END IF;", "", {"audit.a"}),
    ("CASE WHEN OLD.ssn = 'x' THEN v := 1; ELSE v := 2; END CASE; INSERT INTO audit (c) VALUES (v);", "v int;", {"audit.c"}),
    ("IF OLD.ssn = 'x' THEN RETURN NEW; END IF; INSERT INTO audit (a) VALUES (1);", "", set()),
    ("IF OLD.ssn = 'x' THEN RETURN NEW; END IF; UPDATE audit SET a = 1;", "", {"audit.a"}),
    ("LOOP v := v + 1; EXIT WHEN v > length(OLD.ssn); END LOOP; INSERT INTO audit (a) VALUES (v);", "v int := 0;", {"audit.a"}),
    ("BEGIN PERFORM OLD.ssn::int; v := 1; EXCEPTION WHEN OTHERS THEN v := 2; END; INSERT INTO audit (a) VALUES (v);", "v int;", {"audit.a"}),
    ("BEGIN PERFORM 1; EXCEPTION WHEN OTHERS THEN INSERT INTO audit (a) VALUES (SQLERRM); END;", "", {"audit.a"}),
    ("BEGIN PERFORM 1; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS v = PG_EXCEPTION_DETAIL; INSERT INTO audit (b) VALUES (v); END;",
     "v text;", {"audit.b"}),
    ("EXECUTE 'INSERT INTO p.audit (a) VALUES ($1)' USING OLD.ssn;", "", {"audit.a"}),
    ("EXECUTE 'INSERT INTO p.audit (a) VALUES ($1)' USING OLD.name;", "", set()),
    ("RAISE NOTICE '%', OLD.ssn;", "", set()),
])
def test_what_an_after_trigger_stores(body: str, declare: str, expected: set[str]) -> None:
    """Values are followed through expressions, variables, loops, branches and handlers to the columns they reach."""
    assert protected(fires(body, declare)) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("NEW.name := NEW.ssn;", {"t.name"}), ("NEW.name := upper(NEW.name);", set()), ("NEW := ROW(1, OLD.ssn, 2);", {"t.id", "t.name", "v.id"}),
    ("SELECT NEW.ssn INTO NEW.name;", {"t.name"}), ("RETURN ROW(1, NEW.ssn, 2);", {"t.id", "t.name", "v.id"}), ("IF NEW.ssn > 'x' THEN NEW.name := 'y'; END IF;", {"t.name"}),
    ("NEW.ssn := 'x';", set()),
])
def test_what_a_before_trigger_leaves_in_its_row(body: str, expected: set[str]) -> None:
    """The row that is stored is the trigger's, where it runs before that; afterwards it changes nothing."""
    assert protected(fires(body, kind=BEFORE_INSERT)) == expected
    assert protected(fires(body, kind=AFTER_UPDATE)) == set()


def test_called_routines_are_followed() -> None:
    """What a trigger hands on is a parameter there, and what is called may store it."""
    database = fires("PERFORM note(NEW.ssn, 'x');")
    database.routine("note", "x text, y text", "void", "INSERT INTO audit (a, b) VALUES (x, 1), ($1, 2)", "sql")
    assert protected(database) == {"audit.a"}
    database = fires("PERFORM note(NEW.name);")
    database.routine("note", "x text", "void", "INSERT INTO audit (a) VALUES (x)")
    assert protected(database) == set()


def test_what_a_called_routine_shows_is_protected() -> None:
    """The value of a function that reads protected data, or is not known, is as good as the data."""
    for body in ("SELECT ssn FROM t", "SELECT pg_notify('a', 'b')::text"):
        database = fires("INSERT INTO audit (a) VALUES (peek());", table="u")
        database.routine("peek", body=body)
        assert protected(database) == ({"audit.a"} if "ssn" in body else set())
        assert protected(fires("INSERT INTO audit (b) SELECT ssn FROM t;", table="u")) == {"audit.b"}


@pytest.mark.parametrize(("body", "declare", "expected"), [
    ("INSERT INTO audit (a, b) SELECT id, ssn FROM nt;", "", {"audit.b"}),
    ("INSERT INTO audit (a, b) SELECT o.id, o.ssn FROM ot o;", "", {"audit.b"}),
    ("INSERT INTO audit (a) SELECT to_jsonb(nt) FROM nt;", "", {"audit.a"}),
    ("INSERT INTO audit SELECT * FROM ot;", "", {"audit.a", "audit.b", "audit.c"}),
    ("UPDATE audit SET a = nt.ssn FROM nt WHERE audit.b = nt.id;", "", {"audit.a"}),
    ("UPDATE audit SET a = 'x' FROM nt WHERE audit.b = nt.ssn;", "", {"audit.a"}),
    ("FOR r IN SELECT * FROM nt LOOP INSERT INTO audit (c) VALUES (r.ssn); END LOOP;", "r record;", {"audit.c"}),
    ("SELECT max(ssn) INTO v FROM nt; INSERT INTO audit (c) VALUES (v);", "v text;", {"audit.c"}),
    ("INSERT INTO audit (a, b) SELECT id, name FROM nt;", "", set()),
    ("INSERT INTO audit (a) SELECT ssn FROM p.nt;", "", set()),
])
def test_rows_of_a_statement_are_the_relations(body: str, declare: str, expected: set[str]) -> None:
    """A transition table holds the rows of the trigger's relation, by the name that the trigger gives it."""
    database = standard()
    database.relation("audit", "a b c")
    database.routine("f", "", "trigger", f"DECLARE {declare} BEGIN {body} RETURN NULL; END" if declare else
                     f"BEGIN {body} RETURN NULL; END", "plpgsql")
    database.trigger("t", "f", 16, tables=("ot", "nt"))
    assert protected(database) == expected


@pytest.mark.parametrize(("body", "declare", "expected"), [
    ("CALL pr(NEW.ssn, v); INSERT INTO audit (a) VALUES (v);", "v text;", {"audit.a"}),
    ("CALL pr(NEW.name, v); INSERT INTO audit (a) VALUES (v);", "v text;", set()),
    ("CALL pr(b => v, a => NEW.ssn); INSERT INTO audit (a) VALUES (v);", "v text;", {"audit.a"}),
    ("PERFORM renamed(NEW.ssn);", "", {"audit.b"}), ("PERFORM renamed(NEW.name);", "", set()),
    ("PERFORM 1 FROM u WHERE note = NEW.ssn; INSERT INTO audit (a) VALUES (FOUND);", "", {"audit.a"}),
    ("PERFORM 1 FROM u WHERE note = NEW.ssn; GET DIAGNOSTICS n = ROW_COUNT; INSERT INTO audit (a) VALUES (n);", "n int;", {"audit.a"}),
    ("UPDATE u SET note = note WHERE note = NEW.ssn; v := FOUND; INSERT INTO audit (b) VALUES (v);", "v text;", {"audit.b", "u.note"}),
    ("FOREACH v IN ARRAY string_to_array(NEW.ssn, 'x') LOOP NULL; END LOOP; INSERT INTO audit (a) VALUES (FOUND);", "v text;", {"audit.a"}),
    ("IF NEW.ssn > 'x' THEN PERFORM 1; END IF; INSERT INTO audit (a) VALUES (FOUND);", "", {"audit.a"}),
    ("UPDATE audit SET a = NEW.ssn WHERE b = NEW.id; IF NOT FOUND THEN INSERT INTO audit VALUES (NEW.ssn, NEW.id, 1); END IF;", "",
     {"audit.a"}),
    ("PERFORM 1 FROM u WHERE note = NEW.name; INSERT INTO audit (a) VALUES (FOUND);", "", set()),
    ("INSERT INTO audit (a, b) VALUES (NEW.id, current_query());", "", {"audit.b"}),
    ("INSERT INTO audit (a, b) VALUES (NEW.id, nextval('s'));", "", set()),
    ("INSERT INTO iv VALUES (NEW.ssn);", "", {"audit.c"}),
])
def test_ways_that_a_value_takes(body: str, declare: str, expected: set[str]) -> None:
    """Arguments that come back, second names, what counts rows, the client's own text, and triggers of views."""
    database = fires(body, declare)
    database.routine("pr", "a text, INOUT b text", "record", "BEGIN b := a; END", "plpgsql", kind="p")
    database.routine("renamed", "text", "void", "DECLARE q ALIAS FOR $1; BEGIN INSERT INTO audit (b) VALUES (q); END", "plpgsql")
    database.relation("iv", "x", "v", "SELECT 'x'::text AS x;")
    database.routine("on_view", "", "trigger", "BEGIN INSERT INTO audit (c) VALUES (NEW.x); RETURN NEW; END", "plpgsql")
    database.trigger("iv", "on_view", 69)
    assert protected(database) == expected


def test_what_comes_back_into_the_row_is_stored() -> None:
    """A BEFORE trigger may hand its own columns to a procedure."""
    database = fires("CALL pr(NEW.ssn, NEW.name);", kind=BEFORE_INSERT)
    database.routine("pr", "a text, INOUT b text", "record", "BEGIN b := a; END", "plpgsql", kind="p")
    assert protected(database) == {"t.name"}


@pytest.mark.parametrize(("body", "declare", "expected"), [
    ("IF NEW.ssn LIKE 'x%' THEN RETURN NEW; END IF; NEW.name := 'y';", "", {"t.name"}),
    ("NEW.name := 'y'; IF NEW.ssn LIKE 'x%' THEN RETURN NEW; END IF; NEW.name := 'z';", "", {"t.name"}),
    ("FOR i IN 1..20 LOOP IF i = length(NEW.ssn) THEN RETURN NEW; END IF; NEW.id := i; END LOOP;", "", {"t.id", "v.id"}),
    ("IF NEW.ssn LIKE 'x%' THEN RAISE EXCEPTION 'no'; END IF; NEW.name := 'y';", "", set()),
    ("IF NEW.id = 1 THEN RETURN NEW; END IF; NEW.name := 'y';", "", set()),
    ("OPEN c; MOVE FORWARD length(NEW.ssn) FROM c; FETCH c INTO k; CLOSE c; NEW.id := k;", "c CURSOR FOR SELECT id FROM u; k int;", {"t.id", "v.id"}),
    ("OPEN c; FETCH ABSOLUTE length(NEW.ssn) FROM c INTO z; FETCH c INTO k; NEW.id := k; CLOSE c;",
     "c SCROLL CURSOR FOR SELECT id FROM u; k int; z int;", {"t.id", "v.id"}),
    ("OPEN c; IF NEW.ssn LIKE 'x%' THEN MOVE FORWARD 7 FROM c; END IF; FETCH c INTO k; NEW.id := k; CLOSE c;",
     "c CURSOR FOR SELECT id FROM u; k int;", {"t.id", "v.id"}),
    ("OPEN c; MOVE FORWARD 7 FROM c; FETCH c INTO k; NEW.id := k; CLOSE c; INSERT INTO audit (a) VALUES (NEW.ssn);",
     "c CURSOR FOR SELECT id FROM u; k int;", {"audit.a"}),
    ("OPEN c; FETCH c INTO k; UPDATE u SET note = 'z' WHERE CURRENT OF c; CLOSE c;",
     "c CURSOR FOR SELECT id FROM u WHERE id = length(NEW.ssn) FOR UPDATE; k int;", {"u.note"}),
    ("OPEN c; FETCH c INTO k; UPDATE u SET note = 'z' WHERE CURRENT OF c; CLOSE c; INSERT INTO audit (a) VALUES (NEW.ssn);",
     "c CURSOR FOR SELECT id FROM u FOR UPDATE; k int;", {"audit.a"}),
])
def test_what_decides_where_a_body_goes_is_followed(body: str, declare: str, expected: set[str]) -> None:
    """A RETURN before the row is done, the place of a cursor, and the row that it stands on."""
    assert protected(fires(body, declare, BEFORE_INSERT)) == expected


@pytest.mark.parametrize(("body", "is_refused"), [
    ("PERFORM nextval('s') FROM generate_series(1, length(NEW.ssn));", True), ("PERFORM nextval('s') FROM generate_series(1, 3);", False),
    ("INSERT INTO audit (a, b) SELECT nextval('s'), 1 FROM u WHERE note = NEW.ssn;", True),
    ("INSERT INTO audit (a, b) VALUES (nextval('s'), NEW.ssn);", False),
])
def test_a_sequence_counts_no_protected_values(body: str, is_refused: bool) -> None:
    """How far it has moved on can be asked; that it has for a row tells nothing more than the row."""
    assert isinstance(plan("UPDATE t SET name = 'x'", fires(body)), Refusal) is is_refused


def test_what_operators_and_aggregates_run_is_followed() -> None:
    """The functions that they are made of may store what they are given."""
    for body in ("PERFORM NEW.ssn @@@ 'x';", "PERFORM collect(ssn) FROM t;"):
        database = fires(body)
        database.routine("keep", "a text, b text", "text", "INSERT INTO audit (a) VALUES (b) RETURNING a" if "@@@" not in body else
                         "INSERT INTO audit (a) VALUES (a) RETURNING a")
        database.rows["operators"].append(("p", "@@@", "false", "p", "keep"))
        database.oid += 1
        database.rows["functions"].append(("p", "collect", "false", "false", str(database.oid), "a", "internal", "0", None, None, "false"))
        database.rows["aggregates"] = [(str(database.oid), "p", "keep")]
        assert protected(database) == {"audit.a"}


def test_triggers_chain() -> None:
    """A column that became protected is one for the triggers of its own relation."""
    database = fires("INSERT INTO audit (a) VALUES (OLD.ssn);")
    database.relation("copies", "x y")
    database.routine("g", "", "trigger", "BEGIN INSERT INTO copies VALUES (NEW.b, NEW.a); RETURN NULL; END", "plpgsql")
    database.trigger("audit", "g", 5)
    assert protected(database) == {"audit.a", "copies.y"}


def test_views_of_what_is_stored() -> None:
    """A view of the column is protected, and writing through a view reaches what is below it."""
    database = fires("INSERT INTO front (x) VALUES (OLD.ssn);")
    database.relation("front", "x", "v", "SELECT audit.a AS x FROM p.audit;")
    database.relation("same", "a", "v", "SELECT audit.a FROM p.audit;")
    database.relation("over", "y", "v", "SELECT front.x AS y FROM p.front;")
    assert protected(database) == {"audit.a", "front.x", "same.a", "over.y"}


def test_what_is_written_through_views_of_views() -> None:
    """Only the column that the view's is, at any depth; a rewrite rule may put it anywhere."""
    database = fires("INSERT INTO over (y) VALUES (OLD.ssn);")
    database.relation("front", "x z", "v", "SELECT audit.a AS x, audit.b AS z FROM p.audit;")
    database.relation("over", "y", "v", "SELECT front.x AS y FROM p.front;")
    assert protected(database) == {"audit.a", "front.x", "over.y"}
    database.rows["relations"][-1] = (*database.rows["relations"][-1][:5], "true")
    assert protected(database) == {"audit.a", "audit.b", "front.x", "front.z", "over.y"}


def test_triggers_of_views_see_rows_of_views() -> None:
    """INSTEAD OF triggers get what the view shows."""
    database = fires("INSERT INTO audit (b) VALUES (OLD.s);", kind=INSTEAD, table="v")
    assert protected(database) == {"audit.b"}
    assert protected(fires("NEW.id := NEW.s;", kind=INSTEAD, table="v")) == {"v.id"}


def test_full_text_columns() -> None:
    """The built-in trigger function makes its column from others."""
    database = standard()
    database.relation("docs", "id ssn body words")
    database.trigger("docs", "tsvector_update_trigger", BEFORE_INSERT, schema="pg_catalog", arguments=("words", "pg_catalog.simple", "body"))
    assert protected(database) == {"docs.ssn"}
    database.trigger("docs", "tsvector_update_trigger", BEFORE_INSERT, schema="pg_catalog", arguments=("words", "pg_catalog.simple", "ssn"))
    assert protected(database) == {"docs.ssn", "docs.words"}


def test_a_condition_of_the_trigger_counts_as_an_early_return() -> None:
    """That it runs tells something about the row; what an INSERT stores does not, what an UPDATE changes may."""
    when = "CREATE TRIGGER x AFTER UPDATE ON p.t FOR EACH ROW WHEN (old.ssn IS DISTINCT FROM new.ssn) EXECUTE FUNCTION p.f()"
    assert protected(fires("INSERT INTO audit (a, b) VALUES (NEW.id, NEW.ssn);", when=when)) == {"audit.b"}


@pytest.mark.parametrize("body", [
    "PERFORM set_config('x.y', OLD.ssn, false);", "PERFORM setval('s', OLD.ssn::int);", "PERFORM lo_create(OLD.ssn::int);",
    "PERFORM pg_advisory_xact_lock(OLD.ssn::int);", "IF OLD.ssn = 'x' THEN PERFORM nextval('s'); END IF;",
    "IF OLD.ssn = 'x' THEN SET x.y = 'z'; END IF;", "IF OLD.ssn = 'x' THEN ALTER SEQUENCE s RESTART; END IF;",
    "IF OLD.ssn = 'x' THEN PERFORM set_config('x.y', 'z', false); END IF;", "DECLARE c refcursor := 'c'; BEGIN OPEN c FOR SELECT ssn FROM t; END;",
    "DECLARE c CURSOR FOR SELECT ssn FROM t; BEGIN OPEN c; IF OLD.id = 1 THEN RETURN NEW; END IF; CLOSE c; END;", "INSERT INTO scratch VALUES (OLD.ssn);", "CREATE TEMP TABLE scratch AS SELECT OLD.ssn;",
])
def test_what_no_label_can_follow_is_not_fired(body: str) -> None:
    """A setting or a temporary table keeps the value where the session can read it: the relation takes no changes."""
    database = fires(body)
    assert isinstance(plan("UPDATE t SET name = 'x'", database), Refusal)
    assert not isinstance(plan("SELECT name FROM t", database), Refusal)
    assert not isinstance(plan("UPDATE t SET name = 'x'", fires(body.replace("ssn", "name"))), Refusal)
    database.routine("g", body="UPDATE t SET name = 'x'")
    assert isinstance(plan("SELECT g()", database), Refusal)
    oids = {row[2]: row[0] for row in database.rows["relations"]}
    database.rows["reactions"] = [(oids["u"], oids["t"])]
    assert isinstance(plan("DELETE FROM u", database), Refusal)     # a foreign key may change the other


def test_defaults_that_show_are_protected() -> None:
    """A column whose default is made from protected data holds it."""
    database = standard()
    database.routine("peek", body="SELECT ssn FROM t")
    database.wire("default", "p.peek()", "u", 2)
    assert protected(database) == {"u.note"}


@pytest.mark.parametrize("kind", ["check", "index", "policy", "partition", "domain"])
def test_what_expressions_store_of_their_row(kind: str) -> None:
    """A function that the server calls with real values may keep them."""
    for column, expected in (("ssn", {"log.x"}), ("name", set())):
        database = standard()
        database.relation("log", "x y")
        database.relation("w", "id name:dom" if column == "name" else "id ssn:dom")
        database.rows["columns"][-1] = (*database.rows["columns"][-1][:3], "text", None, "d", None, "dom")
        database.routine("noted", "v text", "boolean", "INSERT INTO log (x, y) VALUES (v, 1) RETURNING true")
        database.wire(kind, "p.noted(value)" if kind == "domain" else f"p.noted({column})", "w" if kind != "domain" else None, type_name="dom")
        assert protected(database) - {"w.ssn"} == expected


def test_what_a_client_sent_is_protected() -> None:
    """Values that statements write stand in it, wherever a trigger or default keeps it; with nothing protected it is open."""
    for table in ("t", "u"):
        assert protected(fires("INSERT INTO audit (a, b) VALUES (1, current_query());", table=table)) == {"audit.b"}
    database = standard()
    database.wire("default", "current_query()", "u", 2)
    assert protected(database) == {"u.note"}
    catalogue = database.catalogue()
    assert not labels_for((ColumnMask(("nothing.of.this",), MaskMethod.REDACT),), catalogue).covers


def test_what_the_condition_of_a_trigger_stores() -> None:
    """A function in WHEN is given the row, too."""
    database = fires("NULL;", when="CREATE TRIGGER x AFTER UPDATE ON p.t FOR EACH ROW WHEN (p.noted(new.ssn)) EXECUTE FUNCTION p.f()")
    database.routine("noted", "v text", "boolean", "INSERT INTO audit (c) VALUES (v) RETURNING true")
    assert protected(database) == {"audit.c"}


def test_defaults_of_domains_that_show_are_protected() -> None:
    """A column without a default of its own has that of its domain."""
    database = standard()
    database.relation("w", "id v:dom")
    database.routine("peek", body="SELECT ssn FROM t")
    database.wire("domain", "p.peek()", type_name="dom")
    assert protected(database) == {"w.v"}


def test_what_refers_to_a_protected_column_holds_its_values() -> None:
    """A foreign key's column is protected with the one that it refers to; the other columns are not."""
    database = standard()
    database.relation("kin", "id x")
    oids = {row[2]: row[0] for row in database.rows["relations"]}
    database.rows["references"] = [(oids["kin"], "2", oids["t"], "3"), (oids["kin"], "1", oids["t"], "1")]
    assert protected(database) == {"kin.x"}
    assert isinstance(plan("DROP TABLE t CASCADE", database), Refusal)
    assert isinstance(plan("DROP INDEX t_ssn CASCADE", database), Refusal)
    assert not isinstance(plan("DROP INDEX t_ssn", database), Refusal)
    before = database.catalogue()
    labels_for(MASKS, before)
    database.rows["references"] = []
    after = Catalogue.from_rows(database.rows, 2, "f2", before=before)
    assert labels_for(MASKS, after).protected_names(after.by_name["kin"][0]) == {"x"}


def test_what_was_put_there_stays_protected_when_the_code_goes() -> None:
    """From one snapshot to the next, for as long as the column is there."""
    for database, key in ((fires("INSERT INTO audit (a, b) VALUES (OLD.id, OLD.ssn);"), "triggers"), (standard(), "wired")):
        if key == "wired":
            database.relation("audit", "a b c")
            database.routine("peek", body="SELECT ssn FROM t")
            database.wire("default", "p.peek()", "audit", 2)
        before = database.catalogue()
        labels_for(MASKS, before)
        database.rows[key] = []
        assert protected(database) == set()
        after = Catalogue.from_rows(database.rows, 2, "f2", before=before)
        labels = labels_for(MASKS, after)
        assert labels.protected_names(after.by_name["audit"][0]) == {"b"}
        database.rows["columns"] = [row for row in database.rows["columns"] if row[2] != "b"]
        gone = Catalogue.from_rows(database.rows, 3, "f3", before=after)
        assert not labels_for(MASKS, gone).is_protected(gone.by_name["audit"][0])
        assert gone.filled == {MASKS: {}}


def test_code_that_cannot_be_read_adds_nothing() -> None:
    """What is written where nobody sees it cannot be labelled; errors of the change are withheld all the same."""
    database = standard()
    database.relation("audit", "a")
    database.routine("f", "", "trigger", "BEGIN EXECUTE x; END", "plpgsql")
    database.trigger("t", "f")
    assert protected(database) == set()
