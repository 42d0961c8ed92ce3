"""Masking at the source, on a small catalogue: what is spliced, what stays, what is refused."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer, Masked, SessionNames
from lockgate.model import ColumnMask, MaskMethod, Refusal, RefusalCode
from tests.unit.analysis.database import MASKS, Database, plan, standard, text_of

PROJECTION = """(SELECT "id", "name", 'xxxx'::text AS "ssn" FROM "p"."t")"""
ONLY = PROJECTION.replace("FROM ", "FROM ONLY ")


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT * FROM t", f'SELECT * FROM {PROJECTION} AS "t"'),
    ("SELECT x.ssn FROM p.t x", f"SELECT x.ssn FROM {PROJECTION} x"),
    ("SELECT * FROM t AS x(a, b)", f"SELECT * FROM {PROJECTION} AS x(a, b)"),
    ("TABLE t", f'SELECT * FROM {PROJECTION} AS "t"'),
    ("SELECT p.t.ssn, p.t.* FROM p.t", f'SELECT t.ssn, t.* FROM {PROJECTION} AS "t"'),
    ('SELECT "p" . "t" . ssn FROM t', f'SELECT "t" . ssn FROM {PROJECTION} AS "t"'),
    ("SELECT * FROM ONLY (t)", f'SELECT * FROM {ONLY} AS "t"'),
    ("SELECT * FROM t * q", f"SELECT * FROM {PROJECTION} q"),
    ("COPY t TO STDOUT", f'COPY (SELECT "id", "name", "ssn" FROM {ONLY} AS t) TO STDOUT'),
    ("COPY t (ssn) TO STDOUT (FORMAT csv)", f'COPY (SELECT "ssn" FROM {ONLY} AS t) TO STDOUT (FORMAT csv)'),
    ("SELECT s FROM v",
     f'SELECT s FROM (SELECT "id", "s" FROM (SELECT t.id, t.ssn AS s FROM {PROJECTION} AS "t") AS "v"("id", "s")) AS "v"'),
    ("CREATE TABLE x AS TABLE t", f'CREATE TABLE x AS SELECT * FROM {PROJECTION} AS "t"'),
    ("COPY (TABLE p.t ORDER BY 1) TO STDOUT", f'COPY (SELECT * FROM {PROJECTION} AS "t" ORDER BY 1) TO STDOUT'),
    ("TABLE t UNION TABLE\nONLY t", f'SELECT * FROM {PROJECTION} AS "t" UNION SELECT * FROM {ONLY} AS "t"'),
])
def test_reads_are_spliced(text: str, expected: str) -> None:
    """Every read of a protected relation becomes a masked projection; the rest stays byte for byte."""
    planned = plan(text)
    assert text_of(planned).replace("SELECT  ", "SELECT ").replace("( SELECT", "(SELECT") == expected
    assert isinstance(planned, Masked)
    assert planned.touches_labelled
    assert len(planned.digest) == 64


@pytest.mark.parametrize("text", [
    "SELECT * FROM u", "SELECT 1", "INSERT INTO u VALUES (1, 'x') RETURNING *", "SELECT relname FROM pg_class",
    "WITH t AS (SELECT 1 AS ssn) SELECT ssn FROM t", "BEGIN", "COPY u TO STDOUT", "SELECT 'FROM t'",
])
def test_what_touches_nothing_stays(text: str) -> None:
    """A statement that names no protected relation goes on byte for byte."""
    planned = plan(text)
    assert text_of(planned) == text
    assert isinstance(planned, Masked)
    assert not planned.touches_labelled
    assert planned.digest == ""


@pytest.mark.parametrize("text", [
    "UPDATE t SET name=$1 WHERE id=$2 RETURNING id", "INSERT INTO t (id, ssn) VALUES (1, 'x')",
    "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name", "DELETE FROM t WHERE t.id = 1",
    "UPDATE t SET ssn = 'x' WHERE id = 1", "COPY t FROM STDIN", "TRUNCATE t", "DROP TABLE t",
    "DELETE FROM t WHERE EXISTS (SELECT * FROM u)", "UPDATE t SET name = u.note FROM u WHERE u.id = t.id RETURNING u.*",
])
def test_plain_dml_on_a_protected_relation(text: str) -> None:
    """DML that reads no protected column of its target goes on; its errors are rebuilt."""
    planned = plan(text)
    assert text_of(planned) == text
    assert isinstance(planned, Masked)
    assert planned.touches_labelled


@pytest.mark.parametrize("text", [
    "UPDATE t SET name = ssn WHERE id = 1", "UPDATE t SET name = 'x' WHERE ssn = 'y'", "DELETE FROM t WHERE t.ssn = ''",
    "DELETE FROM t x RETURNING x", "DELETE FROM t RETURNING old",
    "DELETE FROM t RETURNING (t).ssn", "DELETE FROM t RETURNING t.to_jsonb",
    "UPDATE t SET name = (SELECT ssn) WHERE id=1", "INSERT INTO t VALUES (1) ON CONFLICT (ssn) DO NOTHING",
    "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET name = t.ssn",

    "INSERT INTO t VALUES (1) ON CONFLICT (lower(ssn)) DO NOTHING",
    "UPDATE v SET id = 1 WHERE s = 'x'",

    "COPY t TO '/x'", "COPY t TO PROGRAM 'x'", "DO $$ $$", "SELECT f(1)",
    "SELECT * FROM pg_stats", "ALTER TABLE t RENAME COLUMN ssn TO x", "CREATE TABLE x (LIKE t)", "CREATE TABLE x() INHERITS (t)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''", "CREATE UNIQUE INDEX ON t (ssn)", "CREATE INDEX ON t (id) INCLUDE (ssn)", "CLUSTER t USING x", "CREATE INDEX ON t ((ssn || ''))",
    "CREATE INDEX ON t (id) WHERE ssn = ''", "CREATE OR REPLACE VIEW v AS SELECT 1", "SET ROLE x", "ALTER SCHEMA p RENAME TO q",
    "CREATE TABLE x(a text REFERENCES t(ssn))", "CREATE STATISTICS s ON ssn, name FROM t", "SELECT ssn(t) FROM t",
    "CREATE TRIGGER x BEFORE INSERT ON u EXECUTE FUNCTION f()", "CREATE POLICY x ON u USING (true)",
])
def test_what_cannot_be_masked_is_refused(text: str) -> None:
    """A shape that masking at the source cannot cover is refused, and the words name no column."""
    planned = plan(text)
    assert isinstance(planned, Refusal)
    assert "ssn" in text or "ssn" not in planned.reason
    assert "ssn" not in (planned.hint or "")


@pytest.mark.parametrize("text", ["SELECT * FROM nowhere", "SELECT * FROM q.t", "EXECUTE nothing", "FETCH nothing",
                                  "INSERT INTO nowhere VALUES (1)", "SELECT * FROM pg_temp.t"])
def test_unknown_names_are_refused(text: str) -> None:
    """A name that neither the catalogue nor the session knows could be anything."""
    planned = plan(text)
    assert isinstance(planned, Refusal)
    assert planned.code is RefusalCode.UNKNOWN_OBJECT


def test_no_masks_no_change() -> None:
    """Without masks on the connection nothing is analysed against a catalogue."""
    assert plan("SELECT f(*) FROM nowhere -- c", masks=()) == Masked("SELECT f(*) FROM nowhere ", False, "", frozenset())


def test_ambiguous_names() -> None:
    """A name that may mean a protected and another relation is refused until it is qualified."""
    database = standard()
    database.relation("t", "id ssn2", schema="q")
    assert isinstance(plan("SELECT * FROM t", database), Refusal)
    assert PROJECTION in text_of(plan("SELECT * FROM p.t", database))
    assert text_of(plan("SELECT * FROM q.t", database)) == "SELECT * FROM q.t"


def test_session_relations() -> None:
    """A relation of the session's own is readable; under a protected one's name only where it is qualified."""
    session = SessionNames()
    session.create("mine")
    session.create("t")
    assert text_of(plan("SELECT * FROM mine", session=session)) == "SELECT * FROM mine"
    assert text_of(plan("SELECT * FROM pg_temp.mine", session=session)) == "SELECT * FROM pg_temp.mine"
    assert isinstance(plan("SELECT * FROM t", session=session), Refusal)
    assert PROJECTION in text_of(plan("SELECT * FROM p.t", session=session))


def test_created_and_read_in_one_string() -> None:
    """CREATE TABLE AS copies masks, and what it made may be read in the same string."""
    text = text_of(plan("CREATE TEMP TABLE x AS SELECT * FROM t; SELECT * FROM x; DROP TABLE x"))
    assert text == f'CREATE TEMP TABLE x AS SELECT * FROM {PROJECTION} AS "t"; SELECT * FROM x; DROP TABLE x'


def test_prepared_under_other_masks() -> None:
    """EXECUTE is refused once the labels are not those that the statement was prepared under."""
    analyzer, session, catalogue = Analyzer(), SessionNames(), standard().catalogue()
    prepare = analyzer.statement("PREPARE q AS SELECT * FROM t")
    planned = analyzer.mask(prepare, MASKS, catalogue, session)
    assert isinstance(planned, Masked)
    session.succeeded(prepare, planned)
    execute = analyzer.statement("EXECUTE q")
    assert isinstance(analyzer.mask(execute, MASKS, catalogue, session), Masked)
    more = (*MASKS, ColumnMask(("t.name",), MaskMethod.NULL))
    assert isinstance(analyzer.mask(execute, more, catalogue, session), Refusal)
    session.deallocate("q")
    assert isinstance(analyzer.mask(execute, MASKS, catalogue, session), Refusal)


def test_cursor_under_other_masks() -> None:
    """FETCH is refused once the labels are not those that the cursor was opened under."""
    analyzer, session, catalogue = Analyzer(), SessionNames(), standard().catalogue()
    declare = analyzer.statement("DECLARE c CURSOR FOR SELECT * FROM t")
    planned = analyzer.mask(declare, MASKS, catalogue, session)
    assert isinstance(planned, Masked)
    session.succeeded(declare, planned)
    fetch = analyzer.mask(analyzer.statement("FETCH c"), MASKS, catalogue, session)
    assert isinstance(fetch, Masked)
    assert fetch.touches_labelled
    more = (*MASKS, ColumnMask(("t.name",), MaskMethod.NULL))
    assert isinstance(analyzer.mask(analyzer.statement("FETCH c"), more, catalogue, session), Refusal)


def test_plans_are_cached_by_what_they_depend_on() -> None:
    """Equal statements share a plan across sessions until a session, the masks or the catalogue differ."""
    analyzer = Analyzer()
    statement = analyzer.statement("SELECT * FROM t")
    first, second = standard().catalogue(1), standard().catalogue(2)
    planned = analyzer.mask(statement, MASKS, first, SessionNames())
    assert analyzer.mask(statement, MASKS, first, SessionNames()) is planned
    assert analyzer.mask(statement, MASKS, second, SessionNames()) is not planned
    session = SessionNames()
    session.create("t")
    assert isinstance(analyzer.mask(statement, MASKS, first, session), Refusal)


def test_rules_hide_effects() -> None:
    """DML on a relation with rewrite rules is refused: a rule may do anything."""
    database = standard()
    database.relation("r", "a", rules=True)
    assert isinstance(plan("INSERT INTO r VALUES ('x')", database), Refusal)
    assert text_of(plan("SELECT * FROM r", database)) == "SELECT * FROM r"


def test_functions_of_the_catalogue() -> None:
    """An extension's pure function may be called; anything else, and any overload of a built-in, may not."""
    database = standard()
    database.function("similarity", pure=True)
    database.function("upper", pure=False)
    database.function("secret", pure=False, takes_row=True)
    assert text_of(plan("SELECT similarity(note, 'x') FROM u", database)) == "SELECT similarity(note, 'x') FROM u"
    assert isinstance(plan("SELECT upper(note) FROM u", database), Refusal)
    assert text_of(plan("SELECT pg_catalog.upper(note) FROM u", database)) == "SELECT pg_catalog.upper(note) FROM u"
    assert isinstance(plan("SELECT u.secret FROM u", database), Refusal)
    assert isinstance(plan("SELECT (u).secret FROM u", database), Refusal)


def test_witness_holds_every_protected_column() -> None:
    """The second witness knows all protected columns of the database, whatever the statement names."""
    planned = plan("SELECT 1")
    assert isinstance(planned, Masked)
    assert planned.labelled == {(16_401, 3), (16_403, 2)}


def test_rewritten_text_is_bounded() -> None:
    """Views that multiply themselves end in a refusal, not in memory."""
    database = standard()
    previous = "v"
    for number in range(14):
        name = f"w{number}"
        database.relation(name, "s", "v", f"SELECT a.s FROM p.{previous} a, p.{previous} b, p.{previous} c, p.{previous} d;")
        previous = name
    assert isinstance(plan(f"SELECT * FROM {previous}", database), Refusal)


def test_deep_views_are_refused() -> None:
    """More than sixteen views on top of each other are not expanded."""
    database = Database()
    database.relation("t", "ssn")
    previous = "t"
    for number in range(20):
        database.relation(f"w{number}", "ssn", "v", f"SELECT {previous}.ssn FROM p.{previous};")
        previous = f"w{number}"
    assert isinstance(plan("SELECT * FROM w19", database), Refusal)
    assert isinstance(plan("SELECT * FROM w3", database), Masked)


def two_of_a_name() -> Database:
    """`t` is protected in schema p and open in schema q; a third one in r is protected too."""
    database = standard()
    database.relation("t", "id:int4 word", schema="q")
    database.relation("t", "id:int4 ssn", schema="r")
    return database


@pytest.mark.parametrize(("path", "text", "expected"), [
    (("p", "q"), "SELECT ssn FROM t",
     'SELECT ssn FROM (SELECT "id", "name", \'xxxx\'::text AS "ssn" FROM "p"."t") AS "t"'),
    (("q", "p"), "SELECT word FROM t", 'SELECT word FROM "q".t'),
    (("q", "p"), "UPDATE t SET word = 'x'", "UPDATE \"q\".t SET word = 'x'"),
    (("p",), "UPDATE t SET name = 'x'", "UPDATE \"p\".t SET name = 'x'"),
    (("nowhere", "r"), "SELECT a.ssn FROM t a, q.t b",
     'SELECT a.ssn FROM (SELECT "id", \'xxxx\'::text AS "ssn" FROM "r"."t") a, q.t b'),
])
def test_a_name_of_several_relations_is_the_one_on_the_path(path: tuple[str, ...], text: str, expected: str) -> None:
    """Where the search path is known, the relation that it means is named with its schema in what goes on."""
    session = SessionNames()
    session.path = path
    assert text_of(plan(text, two_of_a_name(), session=session)) == expected


@pytest.mark.parametrize("path", [None, (), ("elsewhere",)])
def test_a_name_of_several_relations_is_refused_without_a_path(path: tuple[str, ...] | None) -> None:
    """What the name means is then not known."""
    session = SessionNames()
    session.path = path
    planned = plan("SELECT * FROM t", two_of_a_name(), session=session)
    assert isinstance(planned, Refusal)
    assert "several relations" in planned.reason


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT ssn FROM t TABLESAMPLE SYSTEM (10)",
     'SELECT ssn FROM (SELECT "id", "name", \'xxxx\'::text AS "ssn" FROM "p"."t" TABLESAMPLE SYSTEM (10)) AS "t" '),
    ("SELECT ssn FROM ONLY t AS q TABLESAMPLE bernoulli((2+3) * 2) REPEATABLE ( 7 ) WHERE id = 1",
     ('SELECT ssn FROM (SELECT "id", "name", \'xxxx\'::text AS "ssn" FROM ONLY "p"."t" TABLESAMPLE bernoulli((2+3) * 2)'
      " REPEATABLE ( 7 )) AS q  WHERE id = 1")),
    ("SELECT ctid, xmin, id FROM t",
     'SELECT ctid, xmin, id FROM (SELECT "id", "name", \'xxxx\'::text AS "ssn", ctid, xmin FROM "p"."t") AS "t"'),
])
def test_samples_and_system_columns_go_into_the_projection(text: str, expected: str) -> None:
    """TABLESAMPLE belongs to the table, and a system column is there where it is named."""
    assert text_of(plan(text)) == expected


def test_a_system_column_beside_a_star_is_refused() -> None:
    """The star would show it."""
    planned = plan("SELECT *, ctid FROM t")
    assert isinstance(planned, Refusal)
    assert "system column" in planned.reason


@pytest.mark.parametrize("text", [
    "UPDATE vrich SET id = 7", "DELETE FROM vrich", "INSERT INTO vrich (id) VALUES (1)",
    "MERGE INTO vrich USING u ON false WHEN NOT MATCHED THEN DO NOTHING", "UPDATE vabove SET id = 7",
])
def test_changes_through_a_filtering_view_are_refused(text: str) -> None:
    """A view that filters by a protected column changes the rows whose values it finds, and its check option tells of them."""
    database = standard()
    database.relation("vrich", "id:int4", "v", " SELECT t.id FROM p.t WHERE (t.ssn = 'x'::text);")
    database.relation("vabove", "id:int4", "v", " SELECT vrich.id FROM p.vrich;")
    assert isinstance(plan(text, database), Refusal)


@pytest.mark.parametrize(("text", "is_refused"), [
    ("SELECT id FROM wards", False), ("SELECT xmin FROM wards", False), ("EXPLAIN SELECT id FROM wards", False),
    ("INSERT INTO wards (id) VALUES (1)", False), ("EXPLAIN (ANALYZE false) SELECT id FROM wards", False),
    ("SELECT tableoid FROM wards", True), ("SELECT w.ctid FROM wards w", True), ("EXPLAIN ANALYZE SELECT id FROM wards", True),
    ("INSERT INTO wards (id) VALUES (1) RETURNING tableoid", True), ("DELETE FROM wards WHERE tableoid = 1", True),
    ("SELECT where_to FROM vwhere", True), ("SELECT id FROM wards_a", True), ("TRUNCATE wards_a", True),
    ("DROP TABLE wards_a", True), ("COPY wards_a (id) TO STDOUT", True), ("DELETE FROM ONLY wards_a", True),
    ("TRUNCATE wards", False), ("DROP TABLE wards", False), ("SELECT id FROM vwards", False),
    ("EXPLAIN (ANALYZE off, ANALYZE on) SELECT id FROM wards", True), ("EXPLAIN (ANALYZE false, ANALYZE) SELECT id FROM wards", True),
    ("EXPLAIN ANALYZE SELECT id FROM vwards", True), ("PREPARE w AS SELECT id FROM wards; EXECUTE w", False),
    ("PREPARE w AS SELECT id FROM wards; EXPLAIN ANALYZE EXECUTE w", True),
])
def test_where_rows_lie_is_not_told_when_values_decide(text: str, is_refused: bool) -> None:
    """A table that is split by a protected column is read as a whole, without its partitions and system columns."""
    database = standard()
    parent, child = database.relation("wards", "id ssn", "p"), database.relation("wards_a", "id ssn")
    database.inherit(child, parent)
    database.partition_key(parent, 2)
    database.relation("vwards", "id", "v", " SELECT wards.id FROM p.wards;")
    database.relation("vwhere", "where_to", "v", " SELECT wards.tableoid AS where_to FROM p.wards;")
    assert isinstance(plan(text, database), Refusal) is is_refused


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT x.id, x.name, count(*) FROM t x GROUP BY x.id", 'GROUP BY x.id, "x"."name"'),
    ("SELECT id, name, ssn, count(*) FROM t GROUP BY id HAVING max(name) > 'a' ORDER BY name", 'GROUP BY id, "t"."name", "t"."ssn" HAVING'),
    ("SELECT x.*, count(u.note) FROM t x LEFT JOIN u ON u.id = x.id GROUP BY x.id", 'GROUP BY x.id, "x"."name", "x"."ssn"'),
    ("SELECT p.t.id, p.t.name FROM p.t GROUP BY p.t.id", 'GROUP BY t.id, "t"."name"'),
    ("SELECT name, count(*) FROM t GROUP BY name", "GROUP BY name"), ("SELECT u.id, u.note FROM u GROUP BY u.id", "GROUP BY u.id"),
    ("SELECT q.id, (SELECT x.name) FROM t x, u q GROUP BY x.id, q.id", 'GROUP BY x.id, "x"."name", q.id'),
])
def test_what_follows_from_a_key_is_grouped_by(text: str, expected: str) -> None:
    """A sub-select has no primary key, so the columns that depend on it are named."""
    database = standard()
    database.rows["keys"] = [("16401", "1"), ("16402", "1")]
    made = text_of(plan(text, database))
    assert expected in made
    assert made.count("GROUP BY") == 1


def test_what_follows_from_a_key_inside_a_view() -> None:
    """The definition of a view is a query like others."""
    database = standard()
    database.rows["keys"] = [("16401", "1")]
    database.relation("w", "id:int4 name n", "v", " SELECT t.id, t.name, count(*) AS n FROM p.t GROUP BY t.id;")
    assert 'GROUP BY t.id, "t"."name"' in text_of(plan("SELECT * FROM w", database))


def test_a_closed_relation_is_named_as_such() -> None:
    """Whatever the statement asks of it: a hint to compare with another column would lead nowhere."""
    for text in ("SELECT * FROM pg_stats", "SELECT 1 FROM pg_stats WHERE x = 'a'", "INSERT INTO u SELECT 1, x FROM pg_stats"):
        database = standard()
        database.relation("pg_stats", "x", "v", schema="pg_catalog")
        found = plan(text, database)
        assert isinstance(found, Refusal), text
        assert 'relation "pg_stats" is closed' in found.reason, text
        assert found.hint is not None


def test_an_open_column_that_took_a_mask_is_given_back() -> None:
    """What the row holds is the mask; a column that may hold a real value is not given back."""
    text = "INSERT INTO u (id, note) SELECT id, ssn FROM t RETURNING note"
    found = plan(text, standard())
    assert isinstance(found, Masked)
    assert found.text.endswith("RETURNING note")
    assert "'xxxx'" in found.text


@pytest.mark.parametrize(("text", "column"), [
    ("SELECT * FROM t c WHERE c.nope = 1", "c.nope"), ("SELECT c.id FROM t c ORDER BY c.nope", "c.nope"), ("SELECT u.nope FROM u JOIN t ON t.id = u.id", "u.nope"),
    ("UPDATE t SET name = 'x' WHERE t.nope = 1", "t.nope"), ("SELECT (c).nope FROM t c", "c.nope"), ("DELETE FROM t WHERE nope = 1", "nope"),
])
def test_a_column_that_is_not_there_is_no_masked_one(text: str, column: str) -> None:
    """An agent that has made a name up should not believe that it exists."""
    found = plan(text, standard())
    assert isinstance(found, Refusal)
    assert (found.code, found.reason) == (RefusalCode.UNKNOWN_COLUMN, f'column "{column}" does not exist')


def test_a_function_of_a_row_is_no_column_that_is_not_there() -> None:
    """Written like a column it gets the row, which is masked."""
    database = standard()
    database.function("shown", pure=True, takes_row=True)
    for text in ("SELECT c.shown FROM t c", "SELECT c.row_to_json FROM t c"):
        assert "'xxxx'" in text_of(plan(text, database)), text


@pytest.mark.parametrize(("text", "reason", "hint"), [
    ("SELECT ssn, count(*) FROM t GROUP BY 1", "(ssn)", "Show the column"), ("SELECT id, ssn FROM t ORDER BY 2", "(ssn)", "Show the column"),
    ("INSERT INTO t (id, ssn) VALUES (1, 'a') ON CONFLICT DO NOTHING", "without the columns of a key", "ON CONFLICT (id) DO NOTHING"),
])
def test_a_hint_fits_its_clause(text: str, reason: str, hint: str) -> None:
    """It says which column it is and what may be written instead."""
    found = plan(text, standard(), (ColumnMask(("*.ssn",), MaskMethod.REDACT),))
    assert isinstance(found, Refusal)
    assert reason in found.reason
    assert hint in (found.hint or "")
