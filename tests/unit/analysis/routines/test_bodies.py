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
