"""What conditions may do with protected columns, as policy says; and what is fetched as it is to be masked later."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import SHOWS_VALUES, Analyzer, Masked, SessionNames
from lockgate.model import ColumnMask, MaskMethod, Predicates, Refusal
from tests.unit.analysis.database import Database, plan, standard, text_of

SSN = "SELECT \"id\", \"name\", 'xxxx'::text AS \"ssn\" FROM \"p\".\"t\""
RAW = 'SELECT "id", "name", "ssn" FROM "p"."t"'


def masks(predicates: Predicates = Predicates.REFUSE, method: MaskMethod = MaskMethod.REDACT) -> tuple[ColumnMask, ...]:
    return (ColumnMask(("*.ssn",), method, predicates, label="pii.ssn", rule="hide", lookups=60),)


CONDITIONS = [
    "SELECT id FROM t WHERE ssn = 'x'", "SELECT id FROM t WHERE id = 1 AND t.ssn LIKE 'x%'", "SELECT id FROM t ORDER BY ssn",
    "SELECT id, ssn FROM t ORDER BY 2", "SELECT count(*) FROM t GROUP BY ssn", "SELECT DISTINCT ssn FROM t",
    "SELECT id FROM t JOIN u ON t.ssn = u.note", "SELECT id FROM t a JOIN t b USING (ssn)",
    "SELECT id FROM u WHERE note IN (SELECT ssn FROM t)", "SELECT ssn FROM t UNION SELECT note FROM u",
    "SELECT sum(id) OVER (PARTITION BY ssn) FROM t", "SELECT count(*) FILTER (WHERE ssn = 'x') FROM t",
    "SELECT id FROM u WHERE EXISTS (SELECT 1 FROM t WHERE t.ssn = u.note)", "SELECT max(id) FROM t HAVING max(ssn) > 'a'",
    "SELECT id FROM v WHERE s = 'x'", "WITH c AS (SELECT ssn AS x FROM t) SELECT 1 FROM c WHERE x = 'a'",
    "INSERT INTO u SELECT id, 'x' FROM t WHERE ssn = 'a'", "COPY (SELECT id FROM t WHERE ssn = 'a') TO STDOUT",
    "DELETE FROM t WHERE ssn = 'x'", "UPDATE t SET name = 'a' WHERE ssn = 'x'", "DELETE FROM u USING t WHERE t.ssn = note",
]


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions_on_masked_columns_are_refused_by_default(text: str) -> None:
    """No row count, order or membership depends on a mask that an agent could take for the value."""
    planned = plan(text, masks=masks())
    assert isinstance(planned, Refusal)
    assert planned.hint is not None
    assert "predicates" in planned.hint


@pytest.mark.parametrize("text", [text for text in CONDITIONS if not text.startswith(("DELETE", "UPDATE"))])
def test_masked_predicates_compare_with_masks(text: str) -> None:
    """The text goes on as masking at the source makes it."""
    planned = plan(text, masks=masks(Predicates.MASKED))
    assert isinstance(planned, Masked)
    assert "'xxxx'::text" in planned.text
    assert not planned.results


@pytest.mark.parametrize("text", ["DELETE FROM t WHERE ssn = 'x'", "UPDATE t SET name = 'a' WHERE ssn = 'x'"])
def test_masked_predicates_never_change_rows(text: str) -> None:
    """A condition on masks would hit rows that nobody meant."""
    assert isinstance(plan(text, masks=masks(Predicates.MASKED)), Refusal)


@pytest.mark.parametrize("text", [
    "SELECT id, name FROM t WHERE ssn = 'x'", "SELECT id FROM t WHERE id > 1 AND ssn = $1", "SELECT id FROM t WHERE ssn IN ('x', $2)",
    "SELECT id, ssn FROM t WHERE 'x' = ssn", "DELETE FROM t WHERE ssn = 'x'", "INSERT INTO u SELECT id, 'x' FROM t WHERE ssn = 'a'",
])
def test_equality_uses_the_real_value_and_is_counted(text: str) -> None:
    """`column = constant` is let through, counted under the label."""
    planned = plan(text, masks=masks(Predicates.EQUALITY))
    assert isinstance(planned, Masked)
    assert [(one.label, one.per_hour) for one in planned.lookups] == [("pii.ssn", 60)] * (2 if " IN " in text else 1)
    assert "'xxxx'" not in planned.text


@pytest.mark.parametrize("text", [
    "SELECT id FROM t WHERE ssn LIKE 'x'", "SELECT id FROM t WHERE ssn = name", "SELECT id FROM t WHERE ssn = 'x' OR id = 1",
    "SELECT id FROM t WHERE ssn > 'x'", "SELECT id FROM t WHERE NOT ssn = 'x'", "SELECT id FROM t ORDER BY ssn",
    "SELECT id FROM t WHERE lower(ssn) = 'x'", "SELECT id FROM t WHERE ssn = ANY ($1)",
    "SELECT id FROM t WHERE ssn = ANY ('{a,b}'::text[])", "SELECT id FROM t WHERE ssn = ANY (ARRAY[$1, $2])",
    "SELECT id FROM t WHERE ssn = ANY (ARRAY['{a,b}'::text[]])", "SELECT id FROM t WHERE ssn = ANY (ARRAY['{a}', '{a,b}'::_text])",
    "SELECT id FROM t WHERE (ssn, id) IN (('a', 1), ('b', 2))", "SELECT id FROM t WHERE (ssn, id) = ('a', 1)",
    "SELECT id FROM t JOIN (VALUES ('a'), ('b')) v(x) ON ssn = x", "SELECT id FROM t WHERE ssn IN (VALUES ('a'), ('b'))",
    "SELECT id FROM t WHERE ssn = (SELECT 'a')", "CREATE TABLE x AS SELECT ssn FROM t WHERE ssn = 'a'",
])
def test_equality_is_nothing_more(text: str) -> None:
    """Any other condition is refused under `equality`."""
    assert isinstance(plan(text, masks=masks(Predicates.EQUALITY)), Refusal)


def test_real_values_in_a_condition_stay_out_of_the_result() -> None:
    """What shows the column, or is computed from it, is masked in the result."""
    planned = plan("SELECT ssn, id, upper(ssn) AS u, name FROM t WHERE ssn LIKE 'x%'", masks=masks(Predicates.ALLOW))
    assert isinstance(planned, Masked)
    assert RAW in planned.text
    assert [(one.index, one.source is not None, one.cover.method) for one in planned.results] == [
        (0, True, MaskMethod.REDACT), (2, False, MaskMethod.REDACT)]


@pytest.mark.parametrize("text", [
    "COPY (SELECT ssn FROM t WHERE ssn LIKE 'x%') TO STDOUT", "CREATE TABLE x AS SELECT ssn FROM t ORDER BY ssn",
    "INSERT INTO u SELECT id, ssn FROM t WHERE ssn > 'a'", "SELECT ssn FROM t ORDER BY ssn; SELECT 1",
    "DECLARE c CURSOR FOR SELECT ssn FROM t ORDER BY ssn", "PREPARE q AS SELECT ssn FROM t ORDER BY ssn",
])
def test_real_values_go_nowhere_that_is_not_masked(text: str) -> None:
    """Where the result cannot be masked, a condition on real values is refused."""
    assert isinstance(plan(text, masks=masks(Predicates.ALLOW)), Refusal)


@pytest.mark.parametrize(("text", "indexes"), [
    ("SELECT id, ssn FROM t", [1]), ("SELECT * FROM t", [2]), ("SELECT a.ssn, b.ssn FROM t a, t b", [0, 1]),
    ("SELECT x FROM (SELECT ssn AS x FROM t) q", [0]), ("WITH c AS (SELECT ssn FROM t) SELECT 1, ssn FROM c", [1]),
    ("SELECT ssn FROM t UNION ALL SELECT ssn FROM t", [0]), ("SELECT u.note, t.ssn FROM u LEFT JOIN t USING (id)", [1]),
    ("SELECT s FROM v", [0]),
])
def test_keyed_masks_get_the_value_of_a_column_that_is_only_shown(text: str, indexes: list[int]) -> None:
    """It is fetched as it is, and the gateway masks it in the result."""
    planned = plan(text, masks=masks(method=MaskMethod.HASH))
    assert isinstance(planned, Masked)
    assert [one.index for one in planned.results] == indexes
    assert all(one.cover.method is MaskMethod.HASH for one in planned.results)
    assert "'xxxx'" not in planned.text


@pytest.mark.parametrize("text", [
    "SELECT ssn, upper(ssn) FROM t", "SELECT to_jsonb(t) FROM t", "SELECT max(ssn) FROM t", "SELECT (SELECT ssn FROM t LIMIT 1) || ''",
    "COPY (SELECT ssn FROM t) TO STDOUT", "COPY t TO STDOUT", "DECLARE c CURSOR FOR SELECT ssn FROM t",
    "CREATE TABLE x AS SELECT ssn FROM t", "SELECT ssn FROM t; SELECT 1", "SELECT 1 WHERE false UNION ALL SELECT length(ssn) FROM t",
])
def test_keyed_masks_are_redacted_where_the_column_is_more_than_shown(text: str) -> None:
    """Then the value does not leave the database, in any column of the statement."""
    planned = plan(text, masks=masks(method=MaskMethod.TOKEN))
    assert isinstance(planned, Masked)
    assert not planned.results
    assert "'xxxx'::text" in planned.text


@pytest.mark.parametrize(("text", "expected"), [
    ("DELETE FROM t WHERE id = 1 RETURNING *",
     'DELETE FROM t WHERE id = 1 RETURNING "t"."id", "t"."name", (SELECT \'xxxx\'::text AS "ssn")'),
    ("INSERT INTO t VALUES (1) RETURNING id, ssn", "INSERT INTO t VALUES (1) RETURNING id, (SELECT 'xxxx'::text AS \"ssn\")"),
    ("UPDATE t x SET name = 'a' RETURNING upper(x.ssn), x.name",
     "UPDATE t x SET name = 'a' RETURNING upper((SELECT 'xxxx'::text AS \"ssn\")), x.name"),
    ("UPDATE t x SET ssn = 'a' RETURNING x.*",
     "UPDATE t x SET ssn = 'a' RETURNING \"x\".\"id\", \"x\".\"name\", (SELECT 'xxxx'::text AS \"ssn\")"),
    ("WITH d AS (DELETE FROM t WHERE id = 1 RETURNING ssn) SELECT * FROM d",
     "WITH d AS (DELETE FROM t WHERE id = 1 RETURNING (SELECT 'xxxx'::text AS \"ssn\")) SELECT * FROM d"),
    ("INSERT INTO t VALUES (1) RETURNING id", "INSERT INTO t VALUES (1) RETURNING id"),
    ("INSERT INTO v VALUES (1, 'a') RETURNING s", "INSERT INTO v VALUES (1, 'a') RETURNING (SELECT 'xxxx'::text AS \"s\")"),
])
def test_returning_is_masked_where_it_is_written(text: str, expected: str) -> None:
    """Each name of a protected column gives its mask, under its own name."""
    assert text_of(plan(text, masks=masks())) == expected


@pytest.mark.parametrize("text", [
    "DELETE FROM t RETURNING t", "DELETE FROM t x RETURNING x", "DELETE FROM t RETURNING (t).ssn", "DELETE FROM t RETURNING to_jsonb(t)",
    "DELETE FROM t USING u WHERE t.id = u.id RETURNING *", "DELETE FROM t RETURNING old",
])
def test_whole_rows_are_not_returned(text: str) -> None:
    """A row as one value cannot be masked by name."""
    assert isinstance(plan(text, masks=masks()), Refusal)


@pytest.mark.parametrize("text", [
    "UPDATE t SET name = ssn WHERE id = 1", "UPDATE t SET ssn = upper(ssn) WHERE id = 1", "UPDATE u SET note = t.ssn FROM t WHERE u.id = t.id",
    "INSERT INTO t SELECT id, name, ssn FROM t", "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET name = t.ssn",
    "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (ssn) DO NOTHING",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND t.ssn = 'x' THEN DELETE",
    "MERGE INTO u USING t ON t.id = u.id WHEN MATCHED THEN UPDATE SET note = t.ssn",
    "UPDATE t SET ssn = coalesce(ssn, (1 / (id - id))::text)", "UPDATE t SET ssn = coalesce(ssn, set_config('a.b', 'x', false))",
    "UPDATE t SET ssn = coalesce(ssn, (SELECT 'x'))", "UPDATE t SET ssn = coalesce(ssn, 'x'::p.d)", "UPDATE t SET ssn = coalesce(ssn, $1::int::text)",
    "UPDATE t SET ssn = coalesce(ssn, x.e) FROM (SELECT id, (1 / (id - id))::text AS e FROM u) x WHERE x.id = t.id",
    "UPDATE t SET ssn = coalesce(t.ssn, excluded.e) FROM (SELECT id, (1 / (id - id))::text AS e FROM u) excluded",
    "UPDATE t SET ssn = coalesce(ssn, coalesce(upper(name)))", "UPDATE t SET ssn = coalesce(ssn, name)", "UPDATE t SET (ssn, name) = ROW(coalesce(ssn, upper(name)), 'x')",
    "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ssn = coalesce(t.ssn, (1 / (t.id - t.id))::text)",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET ssn = coalesce(t.ssn, upper(u.note))",
])
def test_values_and_masks_stay_where_they_are(text: str) -> None:
    """A protected value is not written elsewhere, and a mask takes no data's place."""
    assert isinstance(plan(text, masks=masks()), Refusal)


@pytest.mark.parametrize("text", [
    "UPDATE t SET ssn = 'new' WHERE id = 1", "UPDATE t SET ssn = coalesce($1, ssn) WHERE id = 1", "UPDATE t SET ssn = ssn",
    "UPDATE t SET ssn = coalesce(ssn, 'none')", "UPDATE t SET ssn = coalesce(ssn, $1)", "UPDATE t SET ssn = coalesce(upper($1::text), ssn, 'x')",
    "UPDATE t SET ssn = coalesce(ssn, '5'::varchar)", "UPDATE t SET name = coalesce(name, upper(name))",
    "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ssn = coalesce(excluded.ssn, t.ssn)",
    "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ssn = coalesce(t.ssn, excluded.ssn)",
    "INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn, name = excluded.name",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET name = u.note WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.note, 'x')",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    "UPDATE t SET name = u.note FROM u WHERE u.id = t.id", "INSERT INTO u SELECT id, ssn FROM t",
])
def test_ordinary_changes_go_on(text: str) -> None:
    """What sets a protected column to a value of the client's own, or does not speak of one, is not refused."""
    assert isinstance(plan(text, masks=masks()), Masked)


def test_what_is_shown_is_named() -> None:
    """The columns of a result that are masks, with label and rule."""
    planned = plan("SELECT id, ssn, upper(ssn) FROM t", masks=masks())
    assert isinstance(planned, Masked)
    assert [(one.name, set(one.labels), set(one.rules)) for one in planned.shown] == [
        ("ssn", {"pii.ssn"}, {"hide"}), ("upper", {"pii.ssn"}, {"hide"})]


def test_a_view_that_filters_by_a_masked_column_says_so() -> None:
    """Its rows would depend on masks."""
    database: Database = standard()
    database.relation("w", "id:int4", "v", " SELECT t.id FROM p.t WHERE t.ssn IS NOT NULL;")
    planned = plan("SELECT * FROM w", database, masks=masks())
    assert isinstance(planned, Refusal)
    assert "view w" in planned.reason


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT 'a', id FROM t WHERE ssn = 'b' AND name = 'c'", [(1, 0, False)]),
    ("SELECT id FROM t WHERE ssn IN ('b', $2)", [(0, 0, False), (-1, 2, False)]),
    ("SELECT $1, id FROM t WHERE ssn = $1", [(-1, 1, False)]),
    ("INSERT INTO t (ssn, name) VALUES ('a', 'b'), ($1, $2)", [(0, 0, True), (-1, 1, True)]),
    ("INSERT INTO t VALUES (1, 'é', E'b'::text)", [(2, 0, True)]),
    ("UPDATE t SET name = 'a', ssn = 'b' WHERE id = 1", [(1, 0, True)]),
    ("INSERT INTO t VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ssn = 'c'", [(2, 0, True), (3, 0, True)]),
    ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET ssn = $1 WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (1, 'x')",
     [(-1, 1, True), (1, 0, True)]),
])
def test_constants_are_followed_to_their_columns(text: str, expected: list[tuple[int, int, bool]]) -> None:
    """A literal or parameter that goes straight to a protected column is known by its place."""
    planned = plan(text, masks=masks(Predicates.EQUALITY))
    assert isinstance(planned, Masked)
    assert [(one.literal, one.number, one.is_written) for one in planned.placed] == expected


WHOLE = [
    "SELECT id FROM t WHERE ssn = 'a'", "SELECT id FROM t WHERE ssn = 'a'::text", "SELECT id FROM t WHERE ssn = $1::varchar",
    "SELECT id FROM t WHERE ssn IN ('a', 'b'::text)", "SELECT id FROM t WHERE ssn = ANY (ARRAY['a', $1::text])",
    "UPDATE t SET ssn = $1 WHERE id = 1", "INSERT INTO t VALUES (1, 'n', 'a'), (2, 'm', $1)", "DELETE FROM t WHERE ssn = $1",
    "INSERT INTO t VALUES (1, 'n', 'a') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn, name = excluded.name",
    "INSERT INTO t (id, ssn) SELECT 1, 'a'", "SELECT lower(name), now() FROM t WHERE ssn = 'a'",
    "DECLARE c CURSOR FOR SELECT id FROM t WHERE ssn = $1",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET ssn = $1 WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (1, 'x')",
]
CUT = [
    *(f"SELECT id FROM t WHERE ssn = {one}" for one in (
        "'a'::varchar(1)", "'a'::char(3)", "'a'::\"char\"", "varchar(3) 'a'", "('a'::name)::text", "'a'::bytea", "$1::varchar(3)",
        "$1::name", "'a'::varchar(1)::text", "char 'a'", "N'a'", "'a'::public.text", "ANY (ARRAY['a'::varchar(1)])",
        "ANY (ARRAY['a']::varchar(1)[])", "ANY (ARRAY['a', 'b'::\"char\"])")),
    "SELECT id FROM t WHERE ssn IN ('a'::varchar(3), 'b')", "UPDATE t SET ssn = 'a'::varchar(2)", "UPDATE t SET ssn = 'a'::bytea",
    "INSERT INTO t VALUES (1, 'n', 'a'::varchar(2))", "INSERT INTO t (VALUES (1, 'n', 'x'::\"char\"), (2, 'm', 'a') LIMIT 5)",
    "UPDATE t SET ssn[1] = 'a'", "UPDATE t SET ssn = v.s FROM (VALUES ('a')) v(s)", "UPDATE t SET (name, ssn) = ('n', 'a')",
    "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (1, 'x'::varchar(1))",
]
SHOWN = [
    "EXPLAIN SELECT id FROM t WHERE ssn = 'a'", "EXPLAIN SELECT id FROM t WHERE ssn = $1", "EXPLAIN (VERBOSE) INSERT INTO t VALUES (1, 'n', 'a')",
    "EXPLAIN UPDATE t SET ssn = $1", "PREPARE p AS SELECT id FROM t WHERE ssn = 'a'", "DECLARE c CURSOR FOR SELECT id FROM t WHERE ssn = 'a'",
    "COPY (SELECT id FROM t WHERE ssn = 'a') TO STDOUT", "CREATE TABLE x AS SELECT id FROM t WHERE ssn = 'a'",
    "SELECT id INTO x FROM t WHERE ssn = 'a'", "CREATE TEMP VIEW x AS SELECT id FROM t WHERE ssn = 'a'",
    "SELECT id FROM t WHERE ssn = 'a'; SELECT 1", "SELECT current_query() FROM t WHERE ssn = 'a'",
    "INSERT INTO t VALUES (1, current_query(), 'a')", "SELECT id FROM t, asks WHERE ssn = 'a'", "SELECT id FROM t, asks_below WHERE ssn = 'a'",
    "WITH w AS (INSERT INTO logged VALUES (1) RETURNING 1) SELECT id FROM t WHERE ssn = 'a'", "SELECT asking(), id FROM t WHERE ssn = 'a'",
    "INSERT INTO t VALUES (1, 'n', 'a') ON CONFLICT (id) DO UPDATE SET name = excluded.ssn RETURNING name",
    "INSERT INTO t VALUES (1, 'n', $1) ON CONFLICT (id) DO UPDATE SET name = 'x' WHERE excluded.ssn LIKE 'a%'",
    "INSERT INTO t VALUES (1, 'n', $1) ON CONFLICT (id) DO UPDATE SET name = (SELECT e FROM (SELECT excluded.*) s(a, b, e))",
    "INSERT INTO t VALUES (1, 'n', $1) ON CONFLICT (id) DO UPDATE SET name = row_to_json(excluded)::text",
    "SELECT id, $1 FROM t WHERE ssn = $1",
]


def _asking() -> Database:
    """Views, a function and a default that ask for the text of the statement."""
    database = standard()
    database.relation("asks", "q:text", "v", " SELECT current_query() AS q;")
    database.relation("asks_below", "q:text", "v", " SELECT asks.q FROM p.asks;")
    database.relation("logged", "id:int4 q:text")
    database.routine("asking", body="SELECT current_query()")
    database.wire("default", "current_query()", "logged", 2)
    return database


@pytest.mark.parametrize(("text", "expected"), [*((one, True) for one in WHOLE), *((one, False) for one in CUT + SHOWN)])
def test_tokens_are_turned_back_where_nothing_can_show_them(text: str, expected: bool) -> None:
    """No cast cuts the value, and the text that holds it is neither kept, nor explained, nor asked for."""
    planned = plan(text, _asking(), masks=masks(Predicates.EQUALITY))
    opens = isinstance(planned, Masked) and [one.opens for one in planned.placed]
    assert bool(opens) and all(opens) if expected else not opens or not all(opens)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["EXECUTE q", "FETCH ALL FROM c", "SELECT 1; FETCH c"])
def test_what_a_message_made_with_real_values_is_not_run_by_sql(text: str) -> None:
    """Its result would be another statement's, and no mask waits for it there."""
    session, analyzer = SessionNames(), Analyzer()
    session.prepare("q", analyzer.statement("SELECT ssn FROM t"), SHOWS_VALUES)
    session.cursors.opened("c", SHOWS_VALUES)
    planned = plan(text, masks=masks(method=MaskMethod.HASH), session=session)
    assert isinstance(planned, Refusal)
    assert "own result" in planned.reason


def test_an_execute_counts_the_look_ups_of_what_it_runs() -> None:
    """Each time it runs."""
    session, analyzer = SessionNames(), Analyzer()
    by = masks(Predicates.EQUALITY)
    inner = analyzer.statement("SELECT id FROM t WHERE ssn = $1")
    prepared = plan("PREPARE q AS SELECT id FROM t WHERE ssn = $1", masks=by)
    assert isinstance(prepared, Masked)
    session.prepare("q", inner, prepared.masks_digest)
    planned = plan("EXECUTE q('a')", masks=by, session=session)
    assert isinstance(planned, Masked)
    assert [one.label for one in planned.lookups] == ["pii.ssn"]


@pytest.mark.parametrize(("text", "count"), [
    (" UNION ALL ".join(f"SELECT {number} FROM t WHERE ssn = 'g{number}'" for number in range(300)), 300),
    ("SELECT id FROM t WHERE ssn IN ('a', 'b', $1)", 3), ("SELECT id FROM t WHERE ssn = ANY (ARRAY['a', 'b', $1::text])", 3),
    ("SELECT id FROM t WHERE ssn = 'a' AND ssn = 'a'", 2), ("SELECT 1 FROM t, LATERAL (SELECT 1 FROM t b WHERE b.ssn = 'a') q", 1),
    ("DELETE FROM t WHERE ssn = 'a'; DELETE FROM t WHERE ssn = 'b'", 2),
    ("PREPARE q AS SELECT id FROM t WHERE ssn = $1; EXECUTE q('a'); EXECUTE q('b')", 3),
])
def test_each_constant_is_a_comparison(text: str, count: int) -> None:
    """However many of them stand in one statement or string."""
    planned = plan(text, masks=masks(Predicates.EQUALITY))
    assert isinstance(planned, Masked)
    assert len(planned.lookups) == count


@pytest.mark.parametrize("size", [1, 2, 50])
def test_literals_of_a_known_shape_are_counted(size: int) -> None:
    """Also equal ones: a statement that is known by its shape has as many comparisons as one that is read."""
    analyzer, database = Analyzer(), standard()
    for number in range(4):
        text = " UNION ALL ".join([f"SELECT 1 FROM t WHERE ssn = 'g{number}'"] * size)
        planned = analyzer.mask(analyzer.statement(text), masks(Predicates.EQUALITY), database.catalogue(), SessionNames())
        assert isinstance(planned, Masked)
        assert len(planned.lookups) == size


def test_an_execute_that_stands_before_its_name_is_given_anew_is_the_sessions() -> None:
    """It counts, and what a message made with real values is not run that way either."""
    session, analyzer = SessionNames(), Analyzer()
    by = masks(Predicates.EQUALITY)
    prepared = plan("PREPARE q AS SELECT id FROM t WHERE ssn = $1", masks=by)
    assert isinstance(prepared, Masked)
    session.prepare("q", analyzer.statement("SELECT id FROM t WHERE ssn = $1"), prepared.masks_digest)
    planned = plan("EXECUTE q('a'); EXECUTE q('b'); DEALLOCATE q; PREPARE q AS SELECT 1", masks=by, session=session)
    assert isinstance(planned, Masked)
    assert len(planned.lookups) == 2
    shows = SessionNames()
    shows.prepare("q", analyzer.statement("SELECT ssn FROM t"), SHOWS_VALUES)
    refused = plan("EXECUTE q; DEALLOCATE q; PREPARE q AS SELECT 1", masks=masks(method=MaskMethod.HASH), session=shows)
    assert isinstance(refused, Refusal)
    unknown = plan("EXECUTE q; DEALLOCATE q; PREPARE q AS SELECT 1", masks=masks(method=MaskMethod.HASH), session=SessionNames())
    assert isinstance(unknown, Refusal)
    assert isinstance(plan("PREPARE q AS SELECT 1; EXECUTE q", masks=masks(), session=SessionNames()), Masked)


@pytest.mark.parametrize("name", ["text", "pg_temp.text", "public.varchar"])
def test_no_domain_takes_the_name_of_a_builtin_type(name: str) -> None:
    """`'tok_…'::text` would mean the domain, which may be one letter long; temporary ones are even found first."""
    planned = plan(f"CREATE DOMAIN {name} AS pg_catalog.varchar(1)", masks=masks(Predicates.EQUALITY))
    assert isinstance(planned, Refusal)
    assert isinstance(plan("CREATE DOMAIN word AS text", masks=masks(Predicates.EQUALITY)), Masked)
