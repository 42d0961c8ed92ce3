"""Statements that are known by their shape: whatever is said of one must be what the parser would say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.analysis.sql import AnalysisLimits, Analyzer, NotUnderstood, SessionNames, Statement
from lockgate.analysis.sql.shape import learn, split
from lockgate.model import ColumnMask, MaskMethod
from tests.unit.analysis.database import MASKS, standard

CATALOGUE = standard().catalogue()
WITHOUT_SHAPES = AnalysisLimits(statement=16_383)
FIELDS = [name for name in Statement.__slots__ if name not in ("key", "reading", "shape", "literals", "weight")]
INTEGERS = ["0", "1", "7", "007", "42", "999999999"]
STRINGS = ["''", "'a'", "'%'", "'it''s'", "'1'", "'t'", "'-- no comment'", "'/*'", "'é漢'", "' 900000000 '", "'mark 0'",
           "'x; DROP TABLE t'", '\'"\'', "'$1'", "'\n'"]
HOSTILE = ["-1", "+1", "1.", ".5", "1e5", "0x1F", "0o17", "1_000", "1a", "a1", "$1", "a$1", "-0", "2147483647", "9999999999",
           "'a' 'b'", "'a'\n'b'", "'a'\n\t'b' ", "E'\\''", "e'a'", "B'01'", "X'1F'", "N'a'", "U&'a'", "'\\'", "$$a$$", "$x$a$x$",
           '"a 1"', '"1"', "null", "true", "1--1", "1/*1*/", "1 -- c\n", "date '2020-01-01'", "interval '1 day'", "interval '1' year",
           "1::numeric(5)", "1::int", "'t'::regclass", "'t'::boolean", "cast(1 as float(24))", "array[1,2]", "(1)", "(1,2)",
           "a-1", "a -1", "1-1", "1=1", "é1", "1é", "1.5", "'a'1", "1'a'", "'a''", "'", "1;", "set_config('role','x',false)",
           "length('a')", "nextval('s')", "t.id", "id", "name", "ssn", "p.t.ssn", "(select 1)", "(select ssn from t where id = 5)"]
TEMPLATES = [
    "SELECT {} FROM t", "SELECT id, ssn FROM t WHERE id = {}", "SELECT * FROM t WHERE id = {} AND name = {};", "select {}, {}",
    "SELECT * FROM p.t WHERE p.t.ssn = {} OR {} = {}", "SELECT * FROM t WHERE id IN ({}, {})", "SELECT ssn FROM t ORDER BY {} LIMIT {}",
    "SELECT * FROM t WHERE id BETWEEN {} AND {}", "SELECT * FROM t WHERE name LIKE {}", "SELECT id-{} FROM t", "SELECT id -{} FROM t",
    "SELECT float({}) FROM u", "SELECT note::varchar({}) FROM u WHERE id={}", "SELECT interval {} day", "SELECT * FROM t a{}",
    "INSERT INTO u VALUES ({}, {})", "INSERT INTO u (id, note) VALUES ({}, {}) ON CONFLICT (id) DO UPDATE SET note = {}",
    "UPDATE u SET note = {}", "UPDATE u SET note = {} WHERE id = {}", "UPDATE u SET id = id + {} WHERE {} = id AND note <> {}",
    "DELETE FROM u WHERE {}", "DELETE FROM u WHERE {} = {}", "DELETE FROM u WHERE id = {} OR id <> {}", "DELETE FROM u WHERE id = {}",
    "DELETE FROM u WHERE (id = {}) = (id = {})", "DELETE FROM u WHERE note LIKE {}", "DELETE FROM u WHERE NOT id = {}",
    "DELETE FROM u WHERE id IN ({}, id)", "DELETE FROM u WHERE {} IN ({}, {})", "DELETE FROM u WHERE id BETWEEN {} AND {}",
    "DELETE FROM u WHERE {} BETWEEN {} AND {}", "DELETE FROM u WHERE coalesce({}, id) = {}", "DELETE FROM u WHERE id = {} AND {}",
    "DELETE FROM u WHERE EXISTS (SELECT {} FROM t WHERE t.id = {})", "DELETE FROM u WHERE EXISTS (SELECT {})",
    "DELETE FROM u WHERE id = {} IS TRUE", "DELETE FROM u WHERE CASE WHEN id = {} THEN {} ELSE {} END",
    "WITH d AS (DELETE FROM u WHERE id = {} RETURNING id) SELECT * FROM d WHERE id = {}",
    "MERGE INTO u USING t ON u.id = {} WHEN MATCHED THEN DELETE", "SELECT set_config('work_mem', {}, false)", "SELECT set_config({}, {}, true)",
    "SET work_mem = {}", "SET role = {}", "EXPLAIN (ANALYZE {}) DELETE FROM u WHERE id = {}", "FETCH {} FROM c", "EXECUTE q({})", "PREPARE q AS SELECT {}",
    "SELECT {}; DELETE FROM u WHERE id = {}", "SELECT {} -- {}\n", "SELECT {} /* {} */", "SELECT '{}' FROM t", 'SELECT "{}" FROM t',
    "COPY (SELECT {} FROM t) TO STDOUT (FORMAT {})", "SELECT * FROM t TABLESAMPLE SYSTEM ({})", "SELECT a{} FROM t", "SELECT $${}$$",
    "SELECT * FROM generate_series({}, {}) g", "SELECT substring(ssn from {}) FROM t", "SELECT {}{} FROM t", "{}", "SELECT E{}",
    "SELECT * FROM (VALUES ({}), ({})) AS x(y) JOIN v ON v.id = y", "SELECT a[{}] FROM u", "SELECT extract({} from now())",
]


def texts() -> st.SearchStrategy[tuple[str, str]]:
    """Two fillings of one template."""
    literal = st.one_of(st.sampled_from(INTEGERS), st.sampled_from(STRINGS), st.sampled_from(HOSTILE),
                        st.integers(0, 2**40).map(str), st.text(max_size=6).map(lambda word: f"'{word}'"))
    alike = st.one_of(st.tuples(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS)),
                      st.tuples(st.sampled_from(STRINGS), st.sampled_from(STRINGS)), st.tuples(literal, literal))

    def fill(template: str) -> st.SearchStrategy[tuple[str, str]]:
        count = template.count("{}")
        return st.lists(alike, min_size=count, max_size=count).map(
            lambda pairs: (template.format(*[one for one, _ in pairs]), template.format(*[two for _, two in pairs])))

    return st.sampled_from(TEMPLATES).flatmap(fill)


def seen(analyzer: Analyzer, text: str) -> object:
    """Everything that is said of a text: its statement, and its masked form."""
    try:
        statement = analyzer.statement(text)
    except NotUnderstood as error:
        return (error.sqlstate, error.message, error.position)
    said = [getattr(statement, name) for name in FIELDS]
    return (said, analyzer.mask(statement, MASKS, CATALOGUE, SessionNames()), analyzer.mask(statement, (), CATALOGUE, SessionNames()))


@settings(max_examples=1_500, deadline=None)
@given(texts())
def test_a_known_shape_says_what_the_parser_says(pair: tuple[str, str]) -> None:
    """Whatever literals came before, verbs, facts, texts and masks of a statement are those of a full analysis."""
    first, second = pair
    with_shapes, without = Analyzer(), Analyzer(WITHOUT_SHAPES)
    for text in (first, first + " ", first, second, second, first):
        with_shapes._statements.clear()
        assert seen(with_shapes, text) == seen(without, text)


@pytest.mark.parametrize("text", [
    "SELECT abalance FROM pgbench_accounts WHERE aid = {};", "SELECT * FROM t WHERE id = {} AND name = 'x' LIMIT 5",
    "INSERT INTO u (id, note) VALUES ({}, 'it''s')", "UPDATE u SET note = 'n' WHERE id = {}", "DELETE FROM u WHERE id IN ({}, 2)",
    "SELECT count(*), 'a' || note FROM u WHERE id <= {} OR id = 3 GROUP BY note", "SELECT date '2020-01-01' + {}",
])
def test_what_programs_send_is_known_by_its_shape(text: str) -> None:
    """From the third text of one shape on nothing is parsed."""
    analyzer = Analyzer()
    for number in range(5):
        statement = analyzer.statement(text.format(number))
        assert (statement.shape is not None) == (number >= 1)
        assert statement.text == text.format(number)


@pytest.mark.parametrize("text", [
    "DELETE FROM u WHERE 1 = 1", "DELETE FROM u WHERE 'a' = 'a'", "DELETE FROM u WHERE id = 1 OR id <> 1", "DELETE FROM u WHERE note LIKE 'a'",
    "DELETE FROM u WHERE (id = 1) = (id = 1)", "SELECT set_config('role', 'x', false)", "SELECT float(3)", "SELECT note::varchar(3) FROM u",
    "SELECT -1", "SELECT 'a'\n'b'", "SELECT E'a'", "SELECT U&'a'", "SELECT 1.5", "SELECT 0x1", "SELECT 1e5", "SELECT 1_000", "SELECT 'a\\'",
    "SET work_mem = 5", "EXPLAIN SELECT 1", "SELECT 1; SELECT 2", "SELECT 1 -- 2\n", "SELECT \"a 1\" FROM t WHERE id = 1", "SELECT $$a$$, 1",
    "PREPARE q AS SELECT 1", "FETCH 1 FROM c", "SELECT unknown_function(1)", "SELECT a$1, 2", "SELECT 'a' FROM ü", "DELETE FROM u WHERE 1",
    "DELETE FROM u WHERE coalesce(1, id) = 1", "DELETE FROM u WHERE 1 IN (1, 2)", "DELETE FROM u WHERE 1 BETWEEN 0 AND 2",
])
def test_what_a_value_may_decide_has_no_shape(text: str) -> None:
    """Where a literal's value could matter to grammar, verbs or facts, the full analysis is asked."""
    found = split(text)
    assert found is None or learn(found[0]) is None


def test_equal_keys_mean_equal_facts() -> None:
    """A decision is cached by the key: texts of one shape share it only where their length, a fact, is equal."""
    analyzer = Analyzer()
    made = [analyzer.statement(f"SELECT note FROM u WHERE id = {number}") for number in (1, 2, 3, 42, 43, 100)]
    assert made[1].key == made[2].key != made[3].key == made[4].key != made[5].key
    assert all(one.facts == two.facts and one.verbs == two.verbs for one in made[1:] for two in made[1:] if one.key == two.key)


def test_a_tautology_does_not_hide_behind_a_harmless_twin() -> None:
    """`1=2` before `1=1`: the second is judged by its own values."""
    analyzer = Analyzer()
    for _ in range(3):
        assert analyzer.statement("DELETE FROM u WHERE 1 = 2").facts["tautology"] is False
    analyzer._statements.clear()
    assert analyzer.statement("DELETE FROM u WHERE 1 = 1").facts["tautology"] is True


def test_a_catalogue_name_like_a_mark_takes_the_full_road() -> None:
    """Where the masked text holds a mark twice, it is planned anew."""
    database = standard()
    database.relation("w", "id:int4 ssn 900000000 mark")
    analyzer, plain = Analyzer(), Analyzer(WITHOUT_SHAPES)
    masks = (ColumnMask(("*.ssn",), MaskMethod.PARTIAL),)
    for number in range(4):
        text = f"SELECT * FROM w WHERE id = {number}"
        made, expected = (one.mask(one.statement(text), masks, database.catalogue(), SessionNames()) for one in (analyzer, plain))
        assert made == expected
