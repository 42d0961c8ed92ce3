"""PL/pgSQL bodies: every expression comes out, with its targets and what decides about it; nothing is guessed."""

from __future__ import annotations

from typing import Any

import pgparse
import pytest

from lockgate.analysis.sql.routines import plpgsql
from lockgate.analysis.sql.routines.plpgsql import DYNAMIC, Script, Unreadable, script_of


def script(body: str, arguments: str = "", returns: str = "int") -> Script:
    text = f"CREATE FUNCTION f({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $x${body}$x$"
    node = pgparse.parse(text)[0]["stmt"]["CreateFunctionStmt"]
    parameters = [item["FunctionParameter"] for item in node.get("parameters", ())]
    return script_of(parameters, node.get("returnType", {}), body)


def evaluated(body: str, arguments: str = "", returns: str = "int") -> list[str]:
    return [" ".join(one.sql.split()) for one in script(body, arguments, returns).evaluations]


@pytest.mark.parametrize(("body", "expected"), [
    ("DECLARE v int := f1(); c CURSOR FOR SELECT f2(); BEGIN END", ["SELECT f1()", "SELECT f2()"]),
    ("DECLARE v int; BEGIN v := f1(); END", ["SELECT f1()"]),
    ("DECLARE v int[]; BEGIN v[f1()] := f2(); v[1][2] = f3(); END", ["SELECT v[f1()]", "SELECT f2()", "SELECT v[1][2]", "SELECT f3()"]),
    ("BEGIN IF f1() THEN PERFORM f2(); ELSIF f3() THEN PERFORM f4(); ELSE PERFORM f5(); END IF; END",
     ["SELECT f1()", "SELECT f2()", "SELECT f3()", "SELECT f4()", "SELECT f5()"]),
    ("BEGIN CASE f1() WHEN f2(), f3() THEN PERFORM f4(); ELSE PERFORM f5(); END CASE; END",
     ["SELECT f1()", 'SELECT "__Case__Variable_1__" IN (f2(), f3())', "SELECT f4()", "SELECT f5()"]),
    ("BEGIN LOOP EXIT WHEN f1(); CONTINUE WHEN f2(); END LOOP; END", ["SELECT f1()", "SELECT f2()"]),
    ("BEGIN WHILE f1() LOOP PERFORM f2(); END LOOP; END", ["SELECT f1()", "SELECT f2()"]),
    ("BEGIN FOR i IN f1()..f2() BY f3() LOOP PERFORM f4(); END LOOP; END", ["SELECT f1()", "SELECT f2()", "SELECT f3()", "SELECT f4()"]),
    ("DECLARE r record; BEGIN FOR r IN SELECT f1() LOOP PERFORM f2(); END LOOP; END", ["SELECT f1()", "SELECT f2()"]),
    ("DECLARE c CURSOR (k int) FOR SELECT f1(k); BEGIN FOR r IN c(f2()) LOOP PERFORM f3(); END LOOP; END",
     ["SELECT f1(k)", 'SELECT "c"', "SELECT f2()", "SELECT f3()"]),
    ("DECLARE e int; BEGIN FOREACH e IN ARRAY f1() LOOP PERFORM f2(); END LOOP; END", ["SELECT f1()", "SELECT f2()"]),
    ("BEGIN RETURN f1(); END", ["SELECT f1()"]),
    ("BEGIN RAISE NOTICE '% %', f1(), f2() USING DETAIL = f3(), ERRCODE = f4(); END",
     ["SELECT f1()", "SELECT f2()", "SELECT f3()", "SELECT f4()"]),
    ("BEGIN ASSERT f1(), f2(); END", ["SELECT f1()", "SELECT f2()"]),
    ("DECLARE v int; BEGIN SELECT f1() INTO STRICT v FROM t; INSERT INTO t VALUES (f2()) RETURNING f3() INTO v; END",
     ["SELECT f1() FROM t", "INSERT INTO t VALUES (f2()) RETURNING f3()"]),
    ("DECLARE x refcursor; v int; BEGIN OPEN x FOR SELECT f1(); FETCH ABSOLUTE f2() FROM x INTO v; MOVE FORWARD f3() FROM x; CLOSE x; END",
     ["SELECT f1()", 'SELECT "x"', "SELECT f2()", 'SELECT "x"', "SELECT f3()"]),
    ("BEGIN CALL p1(f1()); COMMIT; ROLLBACK AND CHAIN; DO $y$ BEGIN END $y$; END", ["CALL p1(f1())", "COMMIT", "ROLLBACK", "DO $y$ BEGIN END $y$"]),
    ("BEGIN PERFORM f1(); EXCEPTION WHEN division_by_zero OR SQLSTATE '22012' THEN PERFORM f2(); WHEN OTHERS THEN PERFORM f3(); END",
     ["SELECT f1()", "SELECT f2()", "SELECT f3()"]),
    ("DECLARE v text; BEGIN GET DIAGNOSTICS v = PG_CONTEXT; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS v = MESSAGE_TEXT; END",
     ["SELECT found", "SELECT sqlerrm"]),
    ("BEGIN EXECUTE 'SELECT f1($1)' USING f2(); END", ["SELECT f1($1)", "SELECT f2()"]),
    ("DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT f1()' USING f2() LOOP PERFORM f3(); END LOOP; END",
     ["SELECT f1()", "SELECT f2()", "SELECT f3()"]),
    ("<<a>> DECLARE v int; BEGIN a.v := f1(); <<b>> BEGIN NULL; END b; END a", ["SELECT f1()"]),
])
def test_every_expression_comes_out(body: str, expected: list[str]) -> None:
    """Each kind of statement has its places for expressions, and none is left out."""
    assert evaluated(body) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("BEGIN RETURN NEXT f1(); RETURN QUERY SELECT f2(); RETURN QUERY EXECUTE 'SELECT f3()' USING f4(); RETURN; END",
     ["SELECT f1()", "SELECT f2()", "SELECT f3()", "SELECT f4()"]),
])
def test_sets_are_returned(body: str, expected: list[str]) -> None:
    """RETURN NEXT and RETURN QUERY evaluate, too."""
    assert evaluated(body, returns="SETOF int") == expected


def test_the_second_witness_sees_what_no_role_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression that stands where nobody looks makes the body unreadable, whatever its node is called."""
    fields = {**plpgsql._FIELDS, "PLpgSQL_stmt_return_query": {**plpgsql._FIELDS["PLpgSQL_stmt_return_query"], "query": ""}}
    monkeypatch.setattr(plpgsql, "_FIELDS", fields)
    with pytest.raises(Unreadable):
        script("BEGIN RETURN QUERY SELECT ssn FROM t; END", returns="SETOF text")


@pytest.mark.parametrize("change", [
    lambda tree: tree["action"]["PLpgSQL_stmt_block"].update(other=1),
    lambda tree: tree["action"]["PLpgSQL_stmt_block"]["body"].append({"PLpgSQL_stmt_new": {}}),
    lambda tree: tree["datums"].append({"PLpgSQL_promise": {"refname": "x"}}),
    lambda tree: tree["datums"][0]["PLpgSQL_var"].update(more=1),
])
def test_what_is_not_known_is_not_read(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node or a field that has no place in the table makes the body opaque."""
    original = pgparse.parse_pgsql

    def changed(text: str) -> Any:
        functions = original(text)
        change(functions[0]["PLpgSQL_function"])
        return functions

    monkeypatch.setattr(plpgsql.pgparse, "parse_pgsql", changed)
    with pytest.raises(Unreadable):
        script("BEGIN NULL; END", "a int")


@pytest.mark.parametrize("body", [
    "BEGIN EXECUTE s; END", "BEGIN EXECUTE 'SELECT ' || s; END", "BEGIN EXECUTE format('SELECT %I', s); END",
    "BEGIN EXECUTE 'SELECT 1' FROM t; END", "DECLARE r record; BEGIN FOR r IN EXECUTE s LOOP END LOOP; END",
    "DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE s; END", "BEGIN EXECUTE $q$SELECT $q$ || $1; END",
    "DECLARE r t%ROWTYPE; BEGIN EXECUTE 'SELECT 1'; END", "BEGIN EXECUTE NULL; END",
])
def test_text_that_is_made_at_run_time_is_not_read(body: str) -> None:
    """Only a plain constant is SQL that can be known; not even one where the body's text was changed."""
    with pytest.raises(Unreadable) as caught:
        script(body, "s text")
    assert caught.value.why == DYNAMIC


@pytest.mark.parametrize(("body", "arguments"), [
    ("DECLARE r t%ROWTYPE; BEGIN r.a := f1(); SELECT f2() INTO r.b; END", ""),
    ("DECLARE r p.pair; s p.pair; BEGIN r.a := f1(); s.b := f2(); END", ""),
    ("BEGIN a.x := f1(); b := f2(); END", "INOUT a p.t, OUT b p.mood"),
    ("BEGIN SELECT f1(), f2() INTO b, c; END", "OUT b p.mood, OUT c text"),
    ("BEGIN $1 := f1(); PERFORM f2(); END", "a int, int"),
])
def test_types_that_the_parser_does_not_know_are_no_obstacle(body: str, arguments: str) -> None:
    """Rows, enums and composite types of the database come out as if it had a catalogue."""
    found = " ".join(evaluated(body, arguments))
    assert "f1()" in found
    assert "f2()" in found


def test_what_decides_about_what() -> None:
    """Conditions and loops decide about their bodies, a handler about nothing outside of it."""
    one = script("DECLARE v int; r record; BEGIN IF a THEN v := 1; ELSE v := 2; END IF; FOR r IN SELECT 3 LOOP v := 4; END LOOP; v := 5; END",
                 "a bool")
    under = {item.sql.split()[-1]: {one.evaluations[index].sql.split()[-1] for index in item.under} for item in one.evaluations}
    assert under == {"a": set(), "1": {"a"}, "2": {"a"}, "3": set(), "4": {"3"}, "5": set()}
    handled = script("BEGIN PERFORM f1(); EXCEPTION WHEN OTHERS THEN PERFORM f2(); END").evaluations
    assert handled[1].under == {0}


def test_targets_are_named() -> None:
    """Whatever takes a value is said: variables, fields, rows of INTO, loop variables, cursors, diagnostics."""
    one = script("DECLARE v int; w int; r record; c refcursor; BEGIN v := 1; r.x := 2; SELECT 3, 4 INTO v, r.y; FOR r IN SELECT 5 LOOP END LOOP;"
                 " OPEN c FOR SELECT 6; FETCH c INTO w; GET DIAGNOSTICS v = ROW_COUNT; NEW.z := 7; SELECT 8 INTO NEW; END", returns="trigger")
    assert {(item.sql.split(",")[0].rstrip(), item.targets) for item in one.evaluations} == {
        ("SELECT  1", ("v",)), ("SELECT  2", ("r.x",)), ("SELECT 3", ("v", "r.y")), ("SELECT 5", ("r",)), ("SELECT 6", ("c",)),
        ('SELECT "c"', ("w", "c")), ("SELECT found", ("v",)), ("SELECT  7", ("new.z",)), ("SELECT 8", ("new",))}


@pytest.mark.parametrize("body", [
    "BEGIN", "BEGIN SELECT FROM WHERE; END", "not PL/pgSQL", "", "BEGIN x := 1; END",
    "DECLARE v int[]; BEGIN v['a'] := 1; END", "DECLARE v int; BEGIN v /* := 2; */ := 1; END", "DECLARE v int; BEGIN v -- = ' \n = 1; END",
    "BEGIN " * 3_000 + "END; " * 3_000,
])
def test_what_cannot_be_read_is_said(body: str) -> None:
    """Errors, targets with quotes or comments, and depth raise the one exception that means opaque."""
    with pytest.raises(Unreadable):
        script(body)
