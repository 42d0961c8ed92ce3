"""Triggers: columns that they fill from protected ones are protected, and others are not."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql.labels import labels_for
from lockgate.model import Refusal
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
    assert protected(database) == {"audit.a", "audit.b", "audit.c", "front.x", "same.a"}


def test_triggers_of_views_see_rows_of_views() -> None:
    """INSTEAD OF triggers get what the view shows."""
    database = fires("INSERT INTO audit (b) VALUES (OLD.s);", kind=INSTEAD, table="v")
    assert protected(database) == {"audit.b"}


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
    "PERFORM set_config('x.y', OLD.ssn, false);", "PERFORM setval('s', OLD.ssn::int);", "INSERT INTO scratch VALUES (OLD.ssn);", "CREATE TEMP TABLE scratch AS SELECT OLD.ssn;",
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


def test_code_that_cannot_be_read_adds_nothing() -> None:
    """What is written where nobody sees it cannot be labelled; errors of the change are withheld all the same."""
    database = standard()
    database.relation("audit", "a")
    database.routine("f", "", "trigger", "BEGIN EXECUTE x; END", "plpgsql")
    database.trigger("t", "f")
    assert protected(database) == set()
