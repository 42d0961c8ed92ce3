"""Definitions: both languages, both ways to write a SQL body, and what a body refers to."""

from __future__ import annotations

import pgparse
import pytest

from lockgate.analysis.sql.routines.bodies import body_of, mentions_of
from lockgate.analysis.sql.routines.plpgsql import MOST_EVALUATIONS


def definition(body: str, language: str = "sql", arguments: str = "", returns: str = "int") -> str:
    return f"CREATE OR REPLACE FUNCTION p.f({arguments}) RETURNS {returns} LANGUAGE {language} AS $function${body}$function$"


@pytest.mark.parametrize(("text", "verbs", "functions"), [
    (definition("SELECT g(1); DELETE FROM t"), {"select", "delete"}, {"g"}),
    (definition("SELECT 1", arguments="a int DEFAULT p.d()"), {"select"}, {"d"}),
    ("CREATE FUNCTION p.f() RETURNS int LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (p.g()); SELECT 1; END", {"insert", "select"}, {"g"}),
    ("CREATE FUNCTION p.f(a int) RETURNS int LANGUAGE sql RETURN p.g(a) + 1", {"select"}, {"g"}),
    ("CREATE PROCEDURE p.f() LANGUAGE sql BEGIN ATOMIC END", set(), set()),
    (definition("BEGIN UPDATE t SET a = g(); RETURN h(); END", "plpgsql"), {"update", "select"}, {"g", "h"}),
    (definition("BEGIN END", "plpgsql", "a int DEFAULT d()"), {"select"}, {"d"}),
    (definition("", returns="void"), set(), set()),
])
def test_what_a_definition_runs(text: str, verbs: set[str], functions: set[str]) -> None:
    """Statements and defaults of arguments count, however the body is written."""
    body = body_of("plpgsql" if "plpgsql" in text else "sql", text)
    assert body.opaque is None
    assert body.statement is not None
    assert body.reading.verbs - {"empty"} == verbs
    assert {name for _, name in body.reading.functions} == functions


@pytest.mark.parametrize(("language", "text", "why"), [
    ("plpython3u", None, "written in plpython3u"), ("c", None, "written in c"), ("", None, "not known"), ("plpgsql", None, "not known"),
    ("sql", definition("not SQL"), "cannot be read"), ("sql", "SELECT 1", "cannot be read"), ("sql", "DROP TABLE x; SELECT 1", "cannot be read"),
    ("sql", definition("PREPARE x AS SELECT 1"), "in the session"), ("sql", definition("EXECUTE x"), "not known (EXECUTE)"),
    ("sql", definition("DISCARD ALL"), "in the session"), ("sql", definition("COPY t TO '/tmp/x'"), "in the session"),
    ("sql", definition("DEALLOCATE ALL"), "in the session"), ("sql", definition("DECLARE c CURSOR FOR SELECT 1"), "in the session"),
    ("sql", definition("CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'"), "definition of code"),
    ("sql", definition("CREATE EXTENSION x"), "CREATE EXTENSION"), ("sql", definition("SET ROLE x"), "setting"),
    ("sql", definition("SET application_name = 'x'"), "setting"), ("sql", definition("SELECT set_config('role', 'x', false)"), "setting"),
    ("sql", definition("SELECT 1").replace("AS $", "SET standard_conforming_strings TO 'off' AS $"), "setting"),
    ("plpgsql", definition("BEGIN EXECUTE x; END", "plpgsql"), "run time"), ("plpgsql", definition("BEGIN PERFORM ((; END", "plpgsql"), "cannot be read"),
    ("plpgsql", definition("DECLARE r record := f(); BEGIN END", "plpgsql"), "record with a default"),
    ("plpgsql", definition("BEGIN " + "PERFORM 1;" * (MOST_EVALUATIONS + 1) + " END", "plpgsql"), "too long"),
    ("sql", definition("SELECT " + "1+" * 30_000 + "1"), "cannot be read"),
    ("block", "BEGIN EXECUTE 'SELECT 1; SELECT 2'; PERFORM 1; END", "several statements"),
])
def test_what_stays_opaque(language: str, text: str | None, why: str) -> None:
    """A body that cannot be followed says why, and raises nothing."""
    body = body_of(language, text)
    assert body.opaque is not None
    assert why in body.opaque


@pytest.mark.parametrize(("arguments", "body"), [
    ("", "DECLARE c refcursor := 'p'; x text; BEGIN FETCH c INTO x; END"),
    ("", "DECLARE c CONSTANT refcursor := ''; x text; BEGIN FETCH c INTO x; END"),
    ("", "DECLARE c refcursor; x text; BEGIN c := 'p'; FETCH c INTO x; END"),
    ("", "DECLARE c refcursor; x text; d ALIAS FOR c; BEGIN d := 'p'; FETCH c INTO x; END"),
    ("", "DECLARE c refcursor; x text; BEGIN OPEN c FOR SELECT 1; SELECT 'p' INTO c; FETCH c INTO x; END"),
    ("", "DECLARE c refcursor; x text; BEGIN FOR c IN SELECT 'p' LOOP FETCH c INTO x; END LOOP; END"),
    ("", "DECLARE c refcursor; x text; BEGIN FOREACH c IN ARRAY ARRAY['p'] LOOP MOVE c; END LOOP; END"),
    ("", "DECLARE c refcursor; x text; BEGIN GET DIAGNOSTICS c = PG_CONTEXT; CLOSE c; END"),
    ("", "DECLARE c refcursor; d refcursor; BEGIN OPEN d FOR SELECT 'p'; FETCH d INTO c; MOVE c; END"),
    ("", "DECLARE c refcursor; BEGIN CALL q(c); MOVE c; END"), ("", "DECLARE c refcursor; d ALIAS FOR c; BEGIN CALL q(d); MOVE c; END"),
    ("", "DECLARE c refcursor := 'p'; BEGIN OPEN c FOR SELECT 1; END"), ("", "DECLARE c CURSOR FOR SELECT 1; BEGIN c := 'p'; OPEN c; END"),
    ("", "DECLARE c CURSOR FOR SELECT 1; BEGIN c := 'p'; FOR r IN c LOOP NULL; END LOOP; END"),
    ("c refcursor", "DECLARE x text; BEGIN FETCH c INTO x; END"), ("refcursor", "DECLARE x text; BEGIN FETCH $1 INTO x; END"),
    ("INOUT c refcursor", "BEGIN OPEN c FOR SELECT 1; END"), ("c refcursor", "BEGIN CLOSE c; END"),
    ("c refcursor", "DECLARE d ALIAS FOR $1; BEGIN MOVE d; END"),
    ("", "BEGIN UPDATE t SET a = 1 WHERE CURRENT OF p; END"), ("p refcursor", "BEGIN DELETE FROM t WHERE CURRENT OF p; END"),
])
def test_a_cursor_that_a_body_may_not_have_opened(arguments: str, body: str) -> None:
    """A name from elsewhere picks any portal, one that was bound and not judged among them."""
    assert body_of("plpgsql", definition(body, "plpgsql", arguments)).opaque is not None
    if not arguments:
        assert body_of("block", body).opaque is not None


@pytest.mark.parametrize(("arguments", "body"), [
    ("", "DECLARE c refcursor; x text; BEGIN OPEN c FOR SELECT 1; LOOP FETCH c INTO x; EXIT WHEN NOT FOUND; END LOOP; CLOSE c; END"),
    ("", "DECLARE c CURSOR (k int) FOR SELECT k; x text; BEGIN OPEN c(1); FETCH c INTO x; CLOSE c; FOR r IN c(2) LOOP CALL q(r.k); END LOOP; END"),
    ("", "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE; BEGIN FOR r IN c LOOP UPDATE t SET a = 1 WHERE CURRENT OF c; END LOOP; END"),
    ("c refcursor", "BEGIN PERFORM c; END"),
    ("", "DECLARE c refcursor; d refcursor := 'p'; BEGIN OPEN c FOR SELECT 1; MOVE c; PERFORM d; END"),
])
def test_a_cursor_of_the_body_alone(arguments: str, body: str) -> None:
    """What OPEN names by itself is nobody else's."""
    assert body_of("plpgsql", definition(body, "plpgsql", arguments)).opaque is None


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT a, t.b, p.t.c FROM t", {(None, "a"), ("t", "b"), ("t", "c")}), ("SELECT * FROM t", {(None, "*")}), ("SELECT t.* FROM t", {("t", "*")}),
    ("TABLE t", {(None, "*")}), ("SELECT (t).a FROM t", {(None, "t"), (None, "a")}), ("SELECT (t).* FROM t", {(None, "t"), (None, "*")}),
    ("SELECT 1 FROM a JOIN b USING (x)", {(None, "x")}), ("SELECT 1 FROM a NATURAL JOIN b", {(None, "*")}),
    ("SELECT x FROM t AS s(x)", {(None, "*"), (None, "x")}), ("SELECT 1 FROM (a CROSS JOIN b) AS j", {(None, "*")}),
    ("SELECT count(*) FROM t", set()), ("INSERT INTO t (a) VALUES (1) RETURNING b", {(None, "b")}), ("UPDATE t SET a = b", {(None, "b")}),
    ("SELECT 1 FROM t WHERE a IN (SELECT b FROM u) GROUP BY c HAVING max(d) > 1 ORDER BY e LIMIT f", {(None, x) for x in "abcdef"}),
])
def test_references_are_found(text: str, expected: set[tuple[str | None, str]]) -> None:
    """Columns by name, whole rows, stars, and joins that compare columns nobody wrote."""
    assert mentions_of(pgparse.parse(text)[0]["stmt"]) == expected


def test_variables_and_types_are_known() -> None:
    """What a body declares is no column, and its types may have casts and checks."""
    body = body_of("plpgsql", definition("DECLARE v p.short; w t.a%TYPE; r p.u%ROWTYPE; BEGIN RETURN v; END", "plpgsql", "a p.kind"))
    assert {"v", "w", "r", "a"} <= body.own
    assert {"short", "kind", "int4"} <= {name for _, name in body.types}
    assert {"t", "u"} <= {name for _, name in body.rows}
