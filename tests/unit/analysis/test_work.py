"""What a statement costs is bounded before it is parsed, and is what its size says: counted, never timed."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pgparse
import pytest

from lockgate.analysis.sql import Analyzer, Masked, NotUnderstood, SessionNames
from lockgate.analysis.sql import parser as parser_module
from lockgate.analysis.sql.conditions import _Folding, is_tautology
from lockgate.analysis.sql.parser import CollectorRests, parse_trees
from lockgate.analysis.sql.projection import Projections
from lockgate.analysis.sql.reading import Reader
from lockgate.analysis.sql.splice import Splices, Unspliceable, require_projection
from lockgate.analysis.sql.text import MOST_WORK, _outline, most_work, require_parsable
from lockgate.model import MaskMethod, Predicates, Refusal, RefusalCode
from testbed.hostile import INPUTS, TOO_LARGE
from tests.steps import calls
from tests.unit.analysis.database import MASKS, Database, standard

DATA = Path(__file__).parents[2] / "data"


def size_of(tree: Any) -> int:
    """Dicts of a tree."""
    found, stack = 0, [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            found += 1
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return found


# ---------------------------------------------------------------- before the parser

@pytest.mark.parametrize("name", [
    name for name, (_, states) in INPUTS.items() if states == (TOO_LARGE,) and "masked" not in name and "give back" not in name])
def test_what_is_too_much_is_never_parsed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A text that would cost too much is refused by its size and its tokens alone."""
    text = INPUTS[name][0].decode()
    with calls(monkeypatch, parser_module, "parse_trees") as parsed, calls(monkeypatch, pgparse, "parse") as low:
        with pytest.raises(NotUnderstood) as caught:
            Analyzer().statement(text)
    assert caught.value.sqlstate == TOO_LARGE
    assert caught.value.hint
    assert not parsed
    assert not low


@pytest.mark.parametrize("unit", [
    "a", "1", "$1", "'x'", '"a"', "a.b", "a+b", "-a", "f(a)", "(1)", "NULL", "a::b", "1.5", "date '1'", "$a$x$a$", "E'\\''", "U&'x'",
])
def test_every_list_ends_somewhere(unit: str) -> None:
    """Whatever a list is made of, so much of it is refused, below the limit on bytes."""
    limit = 262_144
    text = "SELECT " + ",".join([unit] * (250_000 // (len(unit) + 1)))
    assert len(text) < limit
    with pytest.raises(NotUnderstood):
        require_parsable(text, text.encode(), limit)


def test_the_bound_grows_with_the_limit() -> None:
    """Who raises the limit on bytes gets as much more work done, and no less than the usual for a lower one."""
    assert most_work(262_144) == MOST_WORK
    assert most_work(1_024) == MOST_WORK
    assert most_work(10 * 262_144) == 458_752
    text = "SELECT " + ",".join(["1"] * 60_000)
    with pytest.raises(NotUnderstood):
        require_parsable(text, text.encode(), 262_144)
    require_parsable(text, text.encode(), 10 * 262_144)


@pytest.mark.parametrize("literal", ["'{}'", "E'{}'", "U&'{}'", "$${}$$", "$tag${}$tag$", 'a AS "{}"', "N'{}'"])
def test_what_is_inside_a_literal_costs_nothing(literal: str) -> None:
    """A long document is one value, whatever signs it is made of."""
    text = "SELECT " + literal.format("word, (sign) + another; " * 9_000)
    require_parsable(text, text.encode(), 262_144)


@pytest.mark.parametrize(("text", "outline"), [
    ("SELECT 'a', b", "SELECT ', b"), ("SELECT E'\\'', b", "SELECT ', b"), ("SELECT E'a'\n'\\'', b", "SELECT ', b"),
    ("SELECT 'a'\n'\\', b", "SELECT '\n', b"), ("SELECT e'''\\'', b", "SELECT ', b"), ("SELECT xE'\\', b", "SELECT xE', b"),
    ('SELECT "a""b", c', "SELECT  q  q , c"), ("SELECT $$'$$, b", "SELECT ', b"), ("SELECT $a$ $$ ' $a$, b", "SELECT ', b"),
    ("SELECT a$a$'x'", "SELECT a$a$'"), ("SELECT $1$a$'$a$", "SELECT $1'"), ("SELECT 'open, b", "SELECT '"),
    ("SELECT $a$ open, b", "SELECT '"), ("SELECT U&'\\0061', b", "SELECT U&', b"), ("SELECT 1 - -1 / 2 * 3", "SELECT 1 - -1 / 2 * 3"),
])
def test_literals_end_where_the_scanner_ends_them(text: str, outline: str) -> None:
    """A literal becomes a mark and a quoted name a word; what is outside of them stays."""
    assert _outline(text) == outline


def test_a_comment_that_is_left_is_not_guessed_at() -> None:
    """Text that is to be free of comments and is not cannot be weighed, so it is refused."""
    text = "SELECT 1 --'\n" + ",1" * 60_000
    with pytest.raises(NotUnderstood, match="comment"):
        require_parsable(text, text.encode(), 262_144)


# ---------------------------------------------------------------- the parser

def test_trees_are_decoded_as_json_decodes_them() -> None:
    """The faster decoder gives the same trees, over everything that programs and attackers send."""
    texts = [text for _, text in json.loads((DATA / "benign.json").read_text())["statements"]]
    texts += [r"SELECT E'\x01\u00e9', U&'\d83d\de00', '\u2028', 9223372036854775808, 1e400, -0.0, 'ß'"]
    for text in texts:
        try:
            made = parse_trees(text)
        except pgparse.PGQueryError:
            continue
        assert made == _decoded_by_json(text)


def _decoded_by_json(text: str) -> object:
    decoder, pgparse.json = pgparse.json, json
    try:
        return pgparse.parse(text)
    finally:
        pgparse.json = decoder


def test_the_faster_decoder_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pgparse` asks for its decoder at each call; a version that does not would be slow and not wrong."""
    with calls(monkeypatch, parser_module.orjson, "loads") as loaded:
        parse_trees("SELECT 1")
    assert len(loaded) == 1


def test_a_deep_tree_is_a_recursion_error() -> None:
    """What the decoder will not build is refused in the same way as what Python will not descend."""
    with pytest.raises(RecursionError):
        parse_trees("SELECT a" + "||b" * 2_000)


def test_the_collector_runs_again_whatever_happened() -> None:
    """It rests in the block only, also if that fails, and stays off where somebody else has stopped it."""
    with pytest.raises(ValueError, match="seeded"), CollectorRests():
        assert not gc.isenabled()
        with CollectorRests():
            pass
        assert not gc.isenabled()
        raise ValueError("seeded")
    assert gc.isenabled()


# ---------------------------------------------------------------- reading

def _deep(depth: int, width: int) -> str:
    condition = f"a IN ({','.join(['b'] * width)})"
    for number in range(depth):
        condition = f"({condition} OR c{number} = d) AND e <> f"
    return condition


@pytest.mark.parametrize("condition", [
    _deep(60, 400), f"({','.join('a' * 200)}) IN ({','.join(['(b, c)'] * 300)})", " OR ".join(["a = 1", "a <> 2"] * 400),
    " OR ".join(f"NOT x{number}" for number in range(500)), f"a BETWEEN ({'+'.join('b' * 300)}) AND ({'+'.join('b' * 300)})",
    " OR ".join(["a IS NULL", "b IS NOT NULL"] * 300),
])
def test_a_condition_costs_its_size(monkeypatch: pytest.MonkeyPatch, condition: str) -> None:
    """However deep it is and however often its parts are compared, each part is looked into once."""
    tree = parse_trees(f"DELETE FROM t WHERE {condition}")[0]["stmt"]["DeleteStmt"]["whereClause"]
    with calls(monkeypatch, _Folding, "_content") as looked:
        is_tautology(tree)
    assert len(looked) <= size_of(tree)


def test_a_merge_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The condition of a MERGE is the same for all its actions."""
    with calls(monkeypatch, Reader, "_restricted") as judged:
        Analyzer().statement("MERGE INTO t USING u ON a = b " + "WHEN MATCHED THEN UPDATE SET a = 1 " * 50)
    assert len(judged) == 1


def test_columns_are_visited_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One walk: as many columns as the text names, at any depth."""
    with calls(monkeypatch, Reader, "_column") as visited:
        found = Analyzer().statement("SELECT a, b + c, f(d, (SELECT e FROM t WHERE g = h)) FROM u WHERE i IN (j, k) ORDER BY l")
    assert found.reading is not None
    assert len(found.reading.columns) == 11
    # handlers are kept in a table, so only those that are called by name are counted here
    assert len(visited) <= 11


@pytest.mark.parametrize(("text", "message"), [
    ("WITH " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(1_001)) + " SELECT 1", "WITH"),
    ("SELECT " + ", ".join(["(WITH c AS (SELECT 1) SELECT 1 FROM c)"] * 1_001), "WITH"),
    ("".join(f"PREPARE p{n} AS SELECT 1;" for n in range(65)), "PREPARE"),
    ("SELECT 1; PREPARE p AS SELECT '" + "x" * 20_000 + "'", "PREPARE"),
])
def test_what_would_be_read_twice_or_squared_is_bounded(text: str, message: str) -> None:
    """Scopes of WITH queries and the second reading of a PREPARE are counted in all of a string."""
    with pytest.raises(NotUnderstood, match=message) as caught:
        Analyzer().statement(text)
    assert caught.value.sqlstate == "54001"


def test_a_prepare_alone_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is: the tree of the string is that of the PREPARE."""
    with calls(monkeypatch, pgparse, "parse") as parsed:
        statement = Analyzer().statement("  PREPARE p AS SELECT * FROM t WHERE a IN (" + ",".join(["1"] * 9_000) + ");")
    assert len(parsed) == 1
    inner = statement.prepares[0][1]
    assert inner.reading is not None
    assert inner.text.encode()[inner.reading.uses[0].location:].startswith(b"t WHERE")


# ---------------------------------------------------------------- planning

COMPARED = tuple(type(mask)(mask.columns, MaskMethod.REDACT, Predicates.MASKED) for mask in MASKS)


def planned(text: str, database: Database | None = None) -> Masked | Refusal:
    analyzer = Analyzer()
    return analyzer.mask(analyzer.statement(text), COMPARED, (database or standard()).catalogue(), SessionNames())


def test_a_projection_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a relation that is read in many places there is one projection."""
    with calls(monkeypatch, Projections, "_made") as made:
        found = planned("SELECT 1 FROM " + ", ".join(f"t x{number}" for number in range(300)))
    assert isinstance(found, Masked)
    assert found.text.count("xxxx") == 300
    assert len(made) == 1


def test_what_is_parsed_again_has_no_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of a rewritten text costs what the text costs, not what the masks add to it."""
    database = Database()
    database.relation("wide", "id:int4 ssn " + " ".join(f"column_{number}" for number in range(500)))
    text = "SELECT 1 FROM " + ", ".join(f"wide x{number}" for number in range(200))
    with calls(monkeypatch, pgparse, "parse") as parsed:
        found = planned(text, database)
    assert isinstance(found, Masked)
    assert len(found.text) > 1_000_000
    assert sum(len(arguments[0]) for arguments in parsed) < 3 * len(text) + 50_000


@pytest.mark.parametrize("projection", ["(SELECT 1", "(SELECT 1) a, (SELECT 2)", "t", "(SELECT 1); SELECT (2)", "(t CROSS JOIN u)"])
def test_a_projection_that_is_not_one_is_refused(projection: str) -> None:
    """A stand-in stands for one parenthesised SELECT; whatever else was made is not let through."""
    with pytest.raises(Unspliceable):
        require_projection(projection)
    require_projection("(SELECT \"a\", 'x'::text AS \"b\" FROM \"s\".\"t\")")


@pytest.mark.parametrize("text", [
    "TABLE t", "TABLE\n\t t", "TABLE ONLY t", "SELECT * FROM ONLY t", "SELECT * FROM ONLY(t)", "SELECT * FROM ONLY ( t )",
    "SELECT * FROM t TABLESAMPLE system (10)", "SELECT * FROM t x TABLESAMPLE\n bernoulli(1) REPEATABLE (2)",
    'TABLE"t"', "SELECT * FROM only\n\n\nt",
])
def test_keywords_in_front_of_a_name_are_found_by_a_look_back(text: str) -> None:
    """Whatever blanks and brackets stand between them."""
    found = planned(text)
    assert isinstance(found, Masked), found
    assert "xxxx" in found.text
    assert "ONLY" not in found.text.upper().replace('FROM ONLY "P"."T"', "")


def test_a_look_back_takes_no_other_word() -> None:
    """Where the text is not what the tree says, nothing is replaced."""
    splices = Splices(b"SELECT * FROM TABLET t")
    with pytest.raises(Unspliceable):
        splices._word_before(b"TABLE", 21)


@pytest.mark.parametrize("text", [
    "SELECT 1 FROM " + ", ".join(f"t x{number}" for number in range(1_001)),
    "TABLE t;" * 1_001, "DELETE FROM t WHERE id = 1 RETURNING id;" * 1_001, "COPY t TO STDOUT;" * 1_001,
])
def test_places_of_protected_relations_are_bounded(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Before any projection is made or anything is looked into."""
    with calls(monkeypatch, Projections, "of") as made:
        found = planned(text)
    assert isinstance(found, Refusal)
    assert found.code is RefusalCode.TOO_LARGE
    assert not made


def test_returning_of_very_many_targets_is_refused() -> None:
    """Each name in RETURNING would be looked for in each of them."""
    deletes = ", ".join(f"c{number} AS (DELETE FROM t WHERE id = 1 RETURNING ssn)" for number in range(65))
    found = planned(f"WITH {deletes} SELECT 1")
    assert isinstance(found, Refusal)
    assert found.code is RefusalCode.TOO_LARGE


def test_statements_of_one_string_share_a_budget() -> None:
    """Ten statements may not ask for ten times the work of one."""
    one = "SELECT " + ", ".join(["id"] * 150) + " FROM " + ", ".join(f"t x{number}" for number in range(90))
    assert isinstance(planned(one), Masked)
    found = planned(";".join([one] * 10))
    assert isinstance(found, Refusal)
    assert "too complex" in found.reason
