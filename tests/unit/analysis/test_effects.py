"""What a statement says about itself: the classification table and the facts."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import (
    ESTIMATES,
    FACTS,
    VERBS,
    AnalysisLimits,
    Analyzer,
    NotUnderstood,
    SessionNames,
    Statement,
)
from tests.unit.analysis.database import standard

ALL = "every"


def read(text: str) -> Statement:
    return Analyzer().statement(text)


# statement, verbs, has_where, tautology
CLASSIFICATION: list[tuple[str, str, bool, bool]] = [
    ("SELECT 1", "select", True, False),
    ("TABLE t", "select", True, False),
    ("VALUES (1)", "select", True, False),
    ("DELETE FROM t", "delete", False, False),
    ("DELETE FROM t WHERE id = 1", "delete", True, False),
    ("DELETE FROM t WHERE 1=1", "delete", False, True),
    ("DELETE FROM t WHERE '1' = '1'", "delete", False, True),
    ("DELETE FROM t WHERE true", "delete", False, True),
    ("DELETE FROM t WHERE NOT false", "delete", False, True),
    ("DELETE FROM t WHERE id = id", "delete", False, True),
    ("DELETE FROM t WHERE t.id = id", "delete", False, True),
    ("DELETE FROM t WHERE id = 5 OR 'a'='a'", "delete", False, True),
    ("DELETE FROM t WHERE id = 5 OR 1=1", "delete", False, True),
    ("DELETE FROM t WHERE id IS NULL OR id IS NOT NULL", "delete", False, True),
    ("DELETE FROM t WHERE id = 1 OR id <> 1", "delete", False, True),
    ("DELETE FROM t WHERE id = 1 OR NOT (id = 1)", "delete", False, True),
    ("DELETE FROM t WHERE 2 > 1", "delete", False, True),
    ("DELETE FROM t WHERE 1 IN (1, 2)", "delete", False, True),
    ("DELETE FROM t WHERE 1 BETWEEN 0 AND 2", "delete", False, True),
    ("DELETE FROM t WHERE 't'::boolean", "delete", False, True),
    ("DELETE FROM t WHERE EXISTS (SELECT 1)", "delete select", False, True),
    ("DELETE FROM t WHERE length('a') = 1", "delete", False, True),
    ("DELETE FROM t WHERE random() < 2", "delete", False, True),
    ("DELETE FROM t WHERE $1 = $1", "delete", False, True),
    ("DELETE FROM t WHERE name LIKE '%'", "delete", False, True),
    ("DELETE FROM t WHERE id NOT IN (1)", "delete", True, False),
    ("DELETE FROM t WHERE 1=1 AND id = 5", "delete", True, False),
    ("DELETE FROM t WHERE 1=2", "delete", True, False),
    ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)", "delete select", True, False),
    ("DELETE FROM t USING u WHERE t.id = u.id", "delete", True, False),
    ("UPDATE t SET a = 1", "update", False, False),
    ("UPDATE t SET a = 1 WHERE id = $1", "update", True, False),
    ("UPDATE t SET a = 1 WHERE coalesce(true, id = 1)", "update", False, True),
    ("UPDATE t SET a = 1 WHERE CURRENT OF c", "update", True, False),
    ("UPDATE t SET a = u.a FROM u WHERE t.id = u.id", "update", True, False),
    ("INSERT INTO t VALUES (1)", "insert", True, False),
    ("INSERT INTO t SELECT * FROM u", "insert select", True, False),
    ("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", "insert update", True, False),
    ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "delete select", False, False),
    ("WITH d AS (UPDATE t SET a=1 WHERE id=1 RETURNING *) INSERT INTO u SELECT * FROM d",
     "update insert select", True, False),
    ("SELECT * FROM (WITH i AS (SELECT 1) SELECT * FROM i) x", "select", True, False),
    ("MERGE INTO t USING u ON t.id=u.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
     "merge delete insert", True, False),
    ("MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a=1", "merge update", False, True),
    ("EXPLAIN DELETE FROM t", "explain", False, False),
    ("EXPLAIN ANALYZE DELETE FROM t", "explain delete", False, False),
    ("EXPLAIN (ANALYZE) UPDATE t SET a=1", "explain update", False, False),
    ("EXPLAIN (ANALYZE false) DELETE FROM t WHERE id=1", "explain", True, False),
    ("EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM t WHERE id=1", "explain delete", True, False),
    ("EXPLAIN SELECT 1", "explain", True, False),
    ("PREPARE p AS DELETE FROM t", "prepare delete", False, False),
    ("PREPARE p AS SELECT 1; EXECUTE p", "prepare select execute", True, False),
    ("EXECUTE p", ALL, False, False),
    ("DO $$ BEGIN END $$", ALL, False, False),
    ("CALL f(1)", ALL, False, False),
    ("SELECT my_function(1)", ALL, False, False),
    ("SELECT public.lower('A')", ALL, False, False),
    ("SELECT lower('A'), count(*), now(), nextval('s') FROM t", "select", True, False),
    ("SELECT pg_read_file('x')", ALL, False, False),
    ("SELECT pg_terminate_backend(1)", ALL, False, False),
    ("SELECT query_to_xml('DELETE FROM t', true, true, '')", ALL, False, False),
    ("SELECT lo_unlink(1)", ALL, False, False),
    ("SELECT dblink_exec('DROP TABLE t')", ALL, False, False),
    ("COPY t TO STDOUT", "copy select", True, False),
    ("COPY t FROM STDIN", "copy insert", True, False),
    ("COPY (DELETE FROM t RETURNING *) TO STDOUT", "copy delete", False, False),
    ("COPY t TO PROGRAM 'curl'", ALL, False, False),
    ("COPY t FROM PROGRAM 'curl'", ALL, False, False),
    ("COPY t TO '/etc/x'", "copy select", True, False),
    ("SELECT 1 INTO x", "select create", True, False),
    ("CREATE TABLE x AS SELECT 1", "create select", True, False),
    ("CREATE TABLE x(a int)", "create", True, False),
    ("CREATE VIEW x AS SELECT 1", "create", True, False),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t'", ALL, False, False),
    ("CREATE EXTENSION x", ALL, False, False),
    ("CREATE SCHEMA s CREATE TABLE x(a int)", "create", True, False),
    ("CREATE RULE r AS ON INSERT TO t DO INSTEAD DELETE FROM u", "create delete", False, False),
    ("CREATE ROLE x", "create", True, False),
    ("ALTER TABLE t ADD COLUMN a int", "alter", True, False),
    ("ALTER TABLE t DROP COLUMN a", "alter drop", True, False),
    ("ALTER TABLE t RENAME TO u", "alter", True, False),
    ("ALTER ROLE x SUPERUSER", "alter", True, False),
    ("DROP TABLE t", "drop", True, False),
    ("DROP OWNED BY x", "drop", True, False),
    ("DROP DATABASE x", "drop", True, False),
    ("DROP ROLE x", "drop", True, False),
    ("TRUNCATE t, u", "truncate", True, False),
    ("GRANT SELECT ON t TO x", "grant", True, False),
    ("REVOKE SELECT ON t FROM x", "revoke", True, False),
    ("GRANT a TO b", "grant", True, False),
    ("REVOKE a FROM b", "revoke", True, False),
    ("SET search_path = x", "set", True, False),
    ("SHOW all", "show", True, False),
    ("BEGIN; COMMIT", "begin commit", True, False),
    ("ROLLBACK TO SAVEPOINT a", "rollback", True, False),
    ("SAVEPOINT a", "savepoint", True, False),
    ("DECLARE c CURSOR FOR SELECT 1", "declare select", True, False),
    ("FETCH ALL FROM c", "fetch", True, False),
    ("CLOSE c", "close", True, False),
    ("LISTEN c", "listen", True, False),
    ("NOTIFY c, 'x'", "notify", True, False),
    ("UNLISTEN *", "unlisten", True, False),
    ("LOCK TABLE t", "lock", True, False),
    ("VACUUM FULL t", "vacuum", True, False),
    ("ANALYZE t", "analyze", True, False),
    ("COMMENT ON TABLE t IS 'x'", "comment", True, False),
    ("REFRESH MATERIALIZED VIEW t", "refresh", True, False),
    ("CLUSTER t", "cluster", True, False),
    ("REINDEX TABLE t", "reindex", True, False),
    ("DISCARD ALL", "discard", True, False),
    ("CHECKPOINT", "checkpoint", True, False),
    ("LOAD 'x'", ALL, False, False),
    ("DEALLOCATE ALL", "deallocate", True, False),
    ("IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", "import", True, False),
    ("SECURITY LABEL ON TABLE t IS 'x'", "security", True, False),
    ("SELECT 1; DROP TABLE t; DELETE FROM u WHERE id=1", "select drop delete", True, False),
    ("SELECT 1; DO $$ $$", ALL, False, False),
    ("/* SELECT */ DROP -- x\n TABLE t", "drop", True, False),
]


@pytest.mark.parametrize(("text", "verbs", "has_where", "tautology"), CLASSIFICATION, ids=lambda value: str(value)[:60])
def test_classification(text: str, verbs: str, has_where: bool, tautology: bool) -> None:
    """A statement has every effect that it has or may have; unknown effect is every effect."""
    statement = read(text)
    assert statement.verbs == (VERBS if verbs == ALL else set(verbs.split()))
    assert statement.is_opaque is (verbs == ALL)
    assert statement.facts["has_where"] is has_where
    assert statement.facts["tautology"] is tautology


def test_facts_are_all_documented() -> None:
    """Every fact of a statement is in the list that conditions are checked against, and no other."""
    assert set(read("SELECT 1").facts) | set(ESTIMATES) == set(FACTS)
    assert set(read("BEGIN").facts) == set(FACTS)


def test_relations_leave_ctes_out() -> None:
    """Names that a WITH in scope defines are not relations; the same name outside of it is."""
    statement = read("WITH a AS (SELECT * FROM s.t) SELECT * FROM a, b UNION SELECT * FROM (WITH b AS (SELECT 1) "
                     "SELECT * FROM b) x, a")
    assert set(statement.objects) == {"s.t", "b"}


def test_cte_does_not_hide_the_target() -> None:
    """A target of DML is a relation even where a CTE has its name."""
    assert "t" in read("WITH t AS (SELECT 1) DELETE FROM t WHERE id = 1").objects


def test_columns() -> None:
    """Columns read and written are reported as they are written."""
    statement = read("UPDATE t SET name = u.note, n = DEFAULT FROM u WHERE t.id = u.id RETURNING *")
    assert set(statement.facts["columns_read"]) == {"u.note", "t.id", "u.id", "*"}  # type: ignore[call-overload]
    assert statement.facts["columns_written"] == ["t.name", "t.n"]
    assert read("INSERT INTO t VALUES (1)").facts["columns_written"] == ["t.*"]
    assert read("COPY t (a, b) FROM STDIN").facts["columns_written"] == ["t.a", "t.b"]


def test_copy_direction() -> None:
    """COPY over the wire is known by its direction; files and programs are not over the wire."""
    assert read("COPY t TO STDOUT").copy == "out"
    assert read("COPY t FROM STDIN").copy == "in"
    assert read("COPY t TO '/x'").copy is None
    assert read("COPY t TO '/x'").facts["touches_files"] is True
    assert read("COPY t TO PROGRAM 'x'").facts["copies_program"] is True


def test_session_names() -> None:
    """Names that the session has to follow are reported with their statements."""
    statement = read("PREPARE p AS SELECT 1; DECLARE c CURSOR FOR SELECT 1; FETCH c; CLOSE ALL; DEALLOCATE p")
    assert [name for name, _ in statement.prepares] == ["p"]
    assert statement.cursors_declared == ("c",)
    assert statement.cursors_fetched == ("c",)
    assert statement.cursors_closed == (None,)
    assert statement.deallocates == ("p",)
    assert read("CREATE TEMP TABLE a AS SELECT 1; SELECT 1 INTO s.b; CREATE VIEW c AS SELECT 1").created == \
        ("a", "s.b", "c")


def test_rows_and_transactions() -> None:
    """Whether rows may come, and what happens to the transaction, is known before forwarding."""
    assert read("SELECT 1").returns_rows_maybe
    assert read("UPDATE t SET a=1 RETURNING a").returns_rows_maybe
    assert not read("UPDATE t SET a=1").returns_rows_maybe
    assert not read("SELECT 1 INTO x").returns_rows_maybe
    assert read("BEGIN; SAVEPOINT a; ROLLBACK TO a; COMMIT").transaction == ("begin", "savepoint", "rollback_to", "commit")
    assert read("").is_empty
    assert read(" ; -- nothing\n").is_empty


@pytest.mark.parametrize("text", [
    "SET ROLE x", "SET LOCAL ROLE x", "SET SESSION AUTHORIZATION x", "SET client_encoding = 'LATIN1'",
    "SET NAMES 'SJIS'", "SET standard_conforming_strings = off", "SET Standard_Conforming_Strings TO 'false'",
    "SET backslash_quote = on", "SET session_replication_role = replica",
    "SELECT set_config('role', 'x', false)", "SELECT set_config('ROLE', 'x', false)",
    "SELECT pg_catalog.set_config('client_encoding', 'LATIN1', true)", "SELECT set_config(a, b, true) FROM t",
    "SELECT set_config('role', x, true) FROM t", "ALTER ROLE x SET role = y", "ALTER DATABASE x SET client_encoding = 'LATIN1'",
    "ALTER SYSTEM SET standard_conforming_strings = off", "BEGIN; SET ROLE x; COMMIT",
])
def test_pinned_settings(text: str) -> None:
    """What the analysis and the identity rest on cannot be changed by any way of setting a parameter."""
    assert read(text).forbidden is not None


@pytest.mark.parametrize("text", [
    "SET client_encoding = 'UTF8'", "SET NAMES 'utf-8'", "SET standard_conforming_strings = on", "RESET ROLE", "RESET ALL",
    "SET client_encoding TO DEFAULT", "SET search_path = x, y", "SET TIME ZONE 'UTC'", "SET ROLE NONE",
    "SELECT set_config('search_path', '', false)", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'x'",
])
def test_other_settings(text: str) -> None:
    """Settings that nothing here rests on are the client's business."""
    statement = read(text)
    assert statement.forbidden is None
    assert not statement.is_opaque


def test_execute_takes_the_effects_of_what_was_prepared() -> None:
    """EXECUTE alone is every effect; with the session's names it is the union of the candidates'."""
    analyzer, session = Analyzer(), SessionNames()
    execute = analyzer.statement("EXECUTE q(1)")
    assert analyzer.in_session(execute, session, standard().catalogue()).verbs == VERBS
    prepared = analyzer.statement("SELECT 1; PREPARE q AS DELETE FROM t")
    session.prepare(*prepared.prepares[0])
    judged = analyzer.in_session(execute, session, standard().catalogue())
    assert judged.verbs == {"execute", "delete"}
    assert judged.facts["has_where"] is False
    assert judged.facts["relations"] == ["t"]
    other = analyzer.statement("PREPARE q AS UPDATE u SET a = 1 WHERE id = 1")
    session.prepare(*other.prepares[0])
    again = analyzer.in_session(execute, session, standard().catalogue())
    assert again.verbs == {"execute", "delete", "update"}
    assert again.key != judged.key != execute.key


@pytest.mark.parametrize("inner", [
    "CLOSE c", "PREPARE x AS DELETE FROM t", "DEALLOCATE x", "ROLLBACK", "SET search_path = q", "SELECT set_config('search_path', 'q', false)",
    "SELECT unknown_function()", "CREATE TABLE n AS SELECT 1", "FETCH c", "DO $$ BEGIN END $$", "COPY t TO STDOUT", "LOCK t",
])
def test_execute_of_more_than_rows_is_every_effect(inner: str) -> None:
    """What changes the session or runs code is not followed through a name."""
    analyzer, session = Analyzer(), SessionNames()
    session.prepare("q", analyzer.statement(inner))
    assert analyzer.in_session(analyzer.statement("EXECUTE q"), session, standard().catalogue()).verbs == VERBS


def test_execute_after_code_is_every_effect() -> None:
    """Code of unknown effect may have prepared something else under the name; DEALLOCATE ALL leaves nothing of it."""
    analyzer, session, execute = Analyzer(), SessionNames(), Analyzer().statement("EXECUTE q")
    session.run_code(analyzer.statement("SELECT unknown_function()"))
    session.prepare("q", analyzer.statement("SELECT 1"))
    assert analyzer.in_session(execute, session, standard().catalogue()).verbs == VERBS
    session.deallocate(None)
    session.prepare("q", analyzer.statement("SELECT 1"))
    assert analyzer.in_session(execute, session, standard().catalogue()).verbs == {"execute", "select"}


def test_execute_before_its_name_is_given_anew_is_what_the_session_prepared() -> None:
    """The string's own PREPARE, which comes later, says nothing of it."""
    analyzer, session = Analyzer(), SessionNames()
    text = analyzer.statement("EXECUTE q; DEALLOCATE q; PREPARE q AS SELECT 1")
    assert analyzer.in_session(text, session, standard().catalogue()).verbs == VERBS
    session.prepare("q", analyzer.statement("PREPARE q AS DELETE FROM t").prepares[0][1])
    assert "delete" in analyzer.in_session(text, session, standard().catalogue()).verbs


def test_prepared_text_is_that_of_the_prepare() -> None:
    """A prepared statement stands on its own: its text and positions are those of the PREPARE alone."""
    inner = read("SELECT 'é'; PREPARE q AS SELECT * FROM t").prepares[0][1]
    assert inner.text == "PREPARE q AS SELECT * FROM t"
    assert inner.reading is not None
    assert inner.text.encode()[inner.reading.uses[0].location:] == b"t"


@pytest.mark.parametrize(("text", "sqlstate"), [
    ("SELEC 1", "42601"), ("SELECT 'a", "42601"), ("SELECT 1 /* open", "42601"), ("SELECT 'a\0b'", "22021"),
    ("SELECT 1\0; DROP TABLE t", "22021"), ("SELECT '\ud800'", "22021"), ("SELECT " + "1+" * 5_000 + "1", "54001"),
    ("SELECT " + "(" * 10_000 + "1" + ")" * 10_000, "54001"), ("SELECT 1" + " UNION SELECT 1" * 8_000, "54001"),
    ("SELECT a" + " IN (1)" * 6_000, "54001"), ("SELECT 1 FROM a" + " CROSS JOIN a" * 7_000, "54001"),
    ("SELECT 1" + " COLLATE x" * 11_000, "54001"), ("SELECT a" + "||b" * 7_000, "54001"),
    ("SELECT " + "1+" * 100_000 + "1", "54000"), ("SELECT " + "x" * 2_000_000, "54000"),
    ("SELECT 1" + " UNION SELECT 1" * 15_000, "54000"), ("SELECT 1 FROM a" + " CROSS JOIN a" * 15_000, "54000"),
    ("SELECT E'\\''" + "||a" * 80_000 + "||E'\\''", "54000"),
])
def test_not_understood(text: str, sqlstate: str) -> None:
    """What cannot be read is refused in PostgreSQL's words, and nothing can overflow the parser's stack."""
    with pytest.raises(NotUnderstood) as caught:
        read(text)
    assert caught.value.sqlstate == sqlstate


def test_syntax_error_has_a_position() -> None:
    """A syntax error points to where PostgreSQL would point."""
    with pytest.raises(NotUnderstood) as caught:
        read("SELECT * FORM t")
    assert caught.value.position == 10
    assert "syntax error" in caught.value.message


def test_large_flat_statements_are_read() -> None:
    """What applications send in bulk is let through: a thousand rows of ten values, with casts or without."""
    row = "(" + ", ".join(f"${n}::VARCHAR" for n in range(1, 11)) + ")"
    assert read("INSERT INTO t VALUES " + ", ".join([row] * 1_000) + " RETURNING id").verbs == {"insert"}
    row = "(1, 'some words', 12.50, NULL, true, '2026-01-01', -7, 'it''s', DEFAULT, 9)"
    assert read("INSERT INTO t VALUES " + ",".join([row] * 1_000)).verbs == {"insert"}
    assert read("SELECT * FROM t WHERE id IN (" + ",".join(map(str, range(20_000))) + ")").verbs == {"select"}
    assert read("INSERT INTO t VALUES ('" + "a word, (and) another; " * 11_000 + "')").verbs == {"insert"}


def test_cache_is_bounded_and_returns_the_same() -> None:
    """A repeated text is read once; old and long ones are dropped."""
    analyzer = Analyzer(AnalysisLimits(entries=2))
    first = analyzer.statement("SELECT a")
    assert analyzer.statement("SELECT a") is first
    analyzer.statement("SELECT b")
    analyzer.statement("SELECT c")
    assert analyzer.statement("SELECT a") is not first
    small = Analyzer(AnalysisLimits(bytes=100_000))
    for number in range(50):
        small.statement(f"SELECT '{number}{'x' * 1_000}'")
    assert 0 < small._statements.weight <= 100_000
    assert len(small._statements) < 50


def test_key_depends_on_the_text_without_comments() -> None:
    """A comment does not make another statement; anything else does."""
    assert read("SELECT 1 -- a").key == read("SELECT 1 -- b").key
    assert read("SELECT a").key != read("SELECT b").key
