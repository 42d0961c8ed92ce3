"""What a policy sees of a statement that runs routines: verbs and facts of all of it, and a key that covers it."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import VERBS, Analyzer, SessionNames, Statement
from tests.unit.analysis.database import Database, standard


def resolved(text: str, database: Database) -> Statement:
    analyzer = Analyzer()
    return analyzer.in_catalogue(analyzer.statement(text), database.catalogue(), SessionNames())


def database() -> Database:
    made = standard()
    made.routine("helper", "a int", body="SELECT a + 1", least=1, most=1)
    made.routine("reads", body="SELECT note FROM u WHERE id = 1")
    made.routine("deletes", body="BEGIN DELETE FROM u; RETURN 1; END", language="plpgsql")
    made.routine("calls", body="SELECT deletes() + helper(1)")
    made.routine("dynamic", body="BEGIN EXECUTE x; END", language="plpgsql")
    made.routine("makes", body="CREATE TEMP TABLE mine (a int); SET search_path = q; SELECT 1")
    made.routine("work", returns="void", body="BEGIN INSERT INTO u (note) VALUES ('x'); ROLLBACK; END", language="plpgsql", kind="p")
    made.relation("vdel", "a", "v", " SELECT p.deletes() AS a;")
    made.relation("above", "a", "v", " SELECT vdel.a FROM p.vdel;")
    made.relation("vmat", "a", "m", " SELECT p.deletes() AS a;")
    made.relation("vplain", "a", "v", " SELECT u.note AS a FROM p.u;")
    made.relation("vunknown", "a", "v", " SELECT p.dynamic() AS a;")
    made.relation("vextension", "a", "v", " SELECT p.dynamic() AS a;")
    made.rows["relations"][-1] = (*made.rows["relations"][-1], "true")
    made.routine("sees", body="SELECT a FROM above")
    return made


@pytest.mark.parametrize(("text", "verbs"), [
    ("SELECT helper(1)", {"select"}), ("INSERT INTO u VALUES (helper(1))", {"insert"}), ("INSERT INTO u (note) VALUES (reads())", {"insert", "select"}),
    ("SELECT deletes()", {"select", "delete"}), ("SELECT calls()", {"select", "delete"}), ("SELECT makes()", {"select", "create", "set"}),
    ("CALL work()", {"call", "insert", "rollback"}), ("DO $$ BEGIN PERFORM calls(); TRUNCATE u; END $$", {"do", "delete", "truncate"}),
    ("DO $$ BEGIN NULL; END $$", {"do"}), ("EXPLAIN SELECT deletes()", {"explain", "delete"}), ("CREATE VIEW x AS SELECT deletes()", {"create", "delete"}),
    ("SELECT 1; SELECT deletes()", {"select", "delete"}), ("SELECT lower('x')", {"select"}),
    ("SELECT * FROM vdel", {"select", "delete"}), ("SELECT 1 FROM u, p.above", {"select", "delete"}), ("COPY vdel TO STDOUT", {"copy", "select", "delete"}),
    ("UPDATE above SET a = 1", {"update", "delete"}), ("SELECT * FROM vmat", {"select"}), ("REFRESH MATERIALIZED VIEW vmat", {"refresh", "delete"}),
    ("SELECT * FROM vplain", {"select"}), ("SELECT sees()", {"select", "delete"}), ("DROP VIEW vdel", {"drop"}),
    ("SELECT * FROM vextension", {"select"}),
])
def test_verbs_of_all_that_runs(text: str, verbs: set[str]) -> None:
    """A call counts as what the routine does, with all that it calls."""
    found = resolved(text, database())
    assert not found.is_opaque
    assert found.verbs == verbs


@pytest.mark.parametrize("text", [
    "SELECT dynamic()", "SELECT helper(1), dynamic()", "SELECT nope()", "DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE u'; END $$", "DO LANGUAGE plperl 'x'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT helper(1)", "EXECUTE x", "SELECT pg_notify('a', 'b')", "LOAD 'x'",
    "ALTER EXTENSION x UPDATE", "SELECT * FROM vunknown",
])
def test_what_is_not_known_is_every_effect(text: str) -> None:
    """One unknown part is enough."""
    found = resolved(text, database())
    assert found.is_opaque
    assert found.verbs == VERBS


def test_facts_of_all_that_runs() -> None:
    """Relations, columns, functions and missing conditions are those of the whole."""
    found = resolved("SELECT calls(), reads()", database()).facts
    assert found["relations"] == ["u"]
    assert set(found["columns_read"]) == {"note", "id"}  # type: ignore[call-overload]
    assert set(found["functions"]) == {"calls", "reads", "deletes", "helper"}  # type: ignore[call-overload]
    assert (found["is_opaque"], found["has_where"], found["changes_catalogue"]) == (False, False, False)
    assert resolved("SELECT reads()", database()).facts["has_where"] is True
    assert resolved("UPDATE u SET id = helper(1)", database()).facts["has_where"] is False


def test_what_a_routine_leaves_in_the_session() -> None:
    """Relations that it makes and settings that it changes are the session's afterwards."""
    found = resolved("SELECT makes()", database())
    assert found.created == ("mine",)
    assert found.sets == ("search_path",)
    assert found.facts["changes_catalogue"] is True
    session = SessionNames()
    session.create_all(found)
    assert session.has_relation(None, "mine")
    assert session.has_relation("pg_temp", "mine")
    assert not session.defines_code
    assert resolved("CALL work()", database()).transaction == ("rollback",)


def test_the_key_covers_the_definitions() -> None:
    """Equal keys, equal verbs and facts: another body, at any depth, is another key; another catalogue is not."""
    one, other = database(), database()
    assert resolved("SELECT calls()", one).key == resolved("SELECT calls()", other).key
    other.routine("helper", "a int", body="SELECT a + 2", schema="q", least=1, most=1)
    assert resolved("SELECT calls()", one).key != resolved("SELECT calls()", other).key
    assert resolved("SELECT reads()", one).key == resolved("SELECT reads()", other).key
    assert resolved("SELECT calls()", one).key != Analyzer().statement("SELECT calls()").key


def test_code_behind_built_in_names_operators_and_types_counts() -> None:
    """What a statement may run without naming a function of its own is seen, and unknown where it cannot be read."""
    made = database()
    plain = resolved("SELECT lower('x'), 1 @@@ 2, 'a'::kind", made)
    assert plain.verbs == {"select"}
    made.routine("lower", "a int", body="BEGIN DELETE FROM u; RETURN 1; END", language="plpgsql", least=1, most=1)
    assert resolved("SELECT lower(1)", made).verbs == {"select", "delete"}
    made.rows["operators"].append(("p", "@@@", "false", "p", "deletes"))
    assert resolved("SELECT 1 @@@ 2", made).verbs == {"select", "delete"}
    made.wire("domain", "p.dynamic() IS NULL", type_name="kind")
    assert resolved("SELECT 'a'::kind", made).is_opaque
    assert resolved("SELECT 1 + 2", made).verbs == {"select"}


def test_a_statement_known_by_its_shape_is_resolved_too() -> None:
    """Literals differ, what runs does not."""
    made = database()
    made.routine("lower", "a int", body="BEGIN DELETE FROM u; RETURN 1; END", language="plpgsql", least=1, most=1)
    catalogue, analyzer = made.catalogue(), Analyzer()
    found = [analyzer.in_catalogue(analyzer.statement(f"SELECT lower({number}) FROM u"), catalogue, SessionNames()) for number in range(5)]
    assert found[-1].shape is not None
    assert {frozenset(one.verbs) for one in found} == {frozenset(("select", "delete"))}


def test_code_of_an_open_transaction_stays_unknown() -> None:
    """While the session may have replaced a function, a call of it is every effect."""
    session, analyzer, made = SessionNames(), Analyzer(), database()
    catalogue = made.catalogue()
    statement = analyzer.statement("SELECT helper(1)")
    assert not analyzer.in_catalogue(statement, catalogue, session).is_opaque
    session.create_all(analyzer.statement("DO $$ BEGIN EXECUTE x; END $$"))
    assert analyzer.in_catalogue(statement, catalogue, session).is_opaque
    session.confirm(catalogue)
    assert not analyzer.in_catalogue(statement, catalogue, session).is_opaque
