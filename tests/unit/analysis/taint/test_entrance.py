"""What `taint_of` promises beside the table: places in the text, names of the session, bounds, and that it is total."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lockgate.analysis.sql import Catalogue
from lockgate.analysis.sql.taint import Constant, Taint, taint_of
from lockgate.analysis.sql.taint.relations import MAX_DEPTH
from lockgate.analysis.sql.taint.scope import MAX_WORK
from tests.steps import lines
from tests.unit.analysis.database import Database
from tests.unit.analysis.taint.cases import CASES
from tests.unit.analysis.taint.world import World, catalogue, parsed


@pytest.fixture(scope="module")
def world() -> World:
    return World(catalogue())


# ---------------------------------------------------------------- places in the text


def test_an_equality_says_where_its_constants_are(world: World) -> None:
    """Column, comparison and constants of an equality have their byte offsets, texts and parameter numbers."""
    text = "SELECT 'é', id FROM t WHERE ssn = 'a' AND $1 = n AND ssn IN ('b', $2) AND n = ANY ($3::int[])"
    data = text.encode()
    found = sorted(world.taint(text).equalities, key=lambda equality: equality.location)
    assert [data[equality.location:][:3] for equality in found] == [b"= '", b"= n", b"IN ", b"= A"]
    assert [data[equality.column:][:4].split()[0] for equality in found] == [b"ssn", b"n", b"ssn", b"n"]
    assert [equality.constants for equality in found] == [
        (Constant(data.index(b"'a'"), "a"),), (Constant(data.index(b"$1"), None, 1),),
        (Constant(data.index(b"'b'"), "b"), Constant(data.index(b"$2"), None, 2)),
        (Constant(data.index(b"$3"), None, 3, is_array=True, is_whole=False),),
    ]


@pytest.mark.parametrize(("literal", "text"), [
    ("'x'", "x"), ("7", "7"), ("1.5", "1.5"), ("NULL", None), ("true", "true"), ("B'10'", "b10"), ("'a'::text", "a"),
])
def test_a_constant_has_its_text(world: World, literal: str, text: str | None) -> None:
    """Literals of every kind are known by their text, NULL by none."""
    (equality,) = world.taint(f"SELECT id FROM t WHERE ssn = {literal}").equalities
    assert [constant.text for constant in equality.constants] == [text]


def test_a_control_says_where_it_is(world: World) -> None:
    """A control points at the name that brings the labelled column in, or at the view that hides it."""
    text = "SELECT u.id FROM u JOIN vfilter f ON f.id = u.id JOIN t ON t.id = u.id WHERE t.name || t.ssn > 'a'"
    where, = (control for control in world.taint(text).controls if control.view is None)
    inside, = (control for control in world.taint(text).controls if control.view is not None)
    assert text[where.location:].startswith("t.ssn >")
    assert text[inside.location:].startswith("vfilter f")


def test_references_can_be_replaced(world: World) -> None:
    """References have place, parts and sources; those to the row that DML changes and those in RETURNING are marked."""
    text = "UPDATE t AS x SET name = x.ssn FROM v WHERE v.id = x.id RETURNING id, ssn, x.n AS k, v.s, upper(x.ssn), x.*"
    found = {(text[reference.location:][:len(".".join(reference.names))], reference.is_target, reference.in_returning,
              reference.is_output) for reference in world.taint(text).references}
    assert found == {
        ("x.ssn", True, False, False), ("ssn", True, True, True), ("x.n", True, True, False), ("v.s", False, True, True),
        ("x.ssn", True, True, False), ("x.*", True, True, True),
    }


def test_a_returning_list_below_a_with_is_marked_too(world: World) -> None:
    """RETURNING lists of DML in a WITH are among the references, the query around them is not."""
    text = "WITH d AS (DELETE FROM t RETURNING ssn) SELECT ssn FROM d"
    assert [(reference.in_returning, reference.is_target) for reference in world.taint(text).references] == [
        (True, True), (False, False)]


# ---------------------------------------------------------------- what may be handed out as it is


@pytest.mark.parametrize(("text", "is_direct"), [
    ("SELECT ssn FROM t", True), ("SELECT id FROM t", True), ("SELECT ssn, ssn AS b FROM t WHERE ssn = 'x'", True),
    ("SELECT s FROM v LEFT JOIN u ON u.id = v.id", True), ("SELECT ssn, upper(ssn) FROM t", False),
    ("SELECT ssn FROM t ORDER BY ssn", False), ("SELECT ssn FROM (SELECT ssn, upper(ssn) FROM t) x", False),
    ("SELECT t FROM t", False), ("SELECT ssn FROM t UNION ALL SELECT note FROM u", False),
    ("SELECT * FROM t, pg_class", False), ("UPDATE t SET name = ssn RETURNING ssn", False),
    ("CREATE TABLE z AS SELECT ssn FROM t", False), ("SELECT nothere FROM t", False),
    ("SELECT ssn FROM t WHERE id IN (SELECT id FROM t WHERE ssn > 'a')", False),
])
def test_only_a_column_that_nothing_else_is_done_with_is_direct(world: World, text: str, is_direct: bool) -> None:
    """A value may be masked in the result if it goes there unchanged and nowhere else, equalities apart."""
    (source,) = (source for source, name in world.names.items() if name == "t.ssn")
    assert world.taint(text).is_direct(source) is is_direct


# ---------------------------------------------------------------- names


def test_a_relation_of_the_session_is_open(world: World) -> None:
    """What the session made is not labelled, and its columns are not known."""
    mine = World(world.catalogue, in_session=lambda schema, name: name == "mine")
    assert mine.words("SELECT a, b FROM mine") == "a b"
    assert mine.words("SELECT * FROM pg_temp.mine") == "?"
    assert mine.words("SELECT id FROM mine, u") == "id"
    assert mine.words("SELECT ssn FROM mine, t") == "ssn=t.ssn!"
    assert mine.words("INSERT INTO mine SELECT id, ssn FROM t RETURNING x") == "x=t.ssn >?=t.ssn ~t.ssn"
    assert world.words("SELECT a FROM mine") == "TOP"


def test_a_temporary_table_does_not_hide_a_labelled_one(world: World) -> None:
    """A name that the session has made as well means both: search_path and shadows help nobody."""
    both = World(world.catalogue, in_session=lambda schema, name: name == "t" and schema in (None, "pg_temp"))
    assert both.words("SELECT ssn FROM t") == "ssn=t.ssn ~t.ssn"
    assert both.words("SELECT t.name, ssn FROM p.t") == "name ssn=t.ssn!"
    assert both.words("SELECT t.name FROM t") == "name"
    assert both.words("SELECT * FROM t") == "?=t.n,t.ssn"
    assert both.words("SELECT x FROM t") == "x"
    assert both.words("SELECT t.x FROM t") == "x=t.n,t.ssn ~t.n ~t.ssn"
    assert both.words("SELECT (SELECT ssn FROM t LIMIT 1) FROM gen") == "ssn=gen.ssn,t.ssn ~gen.ssn ~t.ssn"
    assert both.words("SELECT ssn FROM pg_temp.t") == "ssn"


def test_functions_that_users_added_may_return_anything() -> None:
    """Unless the catalogue says that it returns one value, a call in a select list decides on rows."""
    database = Database()
    oid = database.relation("t", "id ssn")
    database.function("single", pure=True)
    database.rows["functions"] += [
        ("p", name, "true", "false", "1", "f", "internal", "1", "1", None, "false") for name in ("plain", "lower")]
    world = World(database.catalogue(), ("t.ssn",))
    assert (oid, 2) in world.labelled
    assert world.words("SELECT single(ssn) FROM t") == "single=t.ssn rows:t.ssn ~t.ssn"
    assert world.words("SELECT plain(ssn) FROM t") == "plain=t.ssn ~t.ssn"
    assert world.words("SELECT lower(ssn) FROM t") == "lower=t.ssn ~t.ssn"
    assert world.words("SELECT unknown(ssn) FROM t") == "unknown=t.ssn rows:t.ssn ~t.ssn"


def test_a_view_with_a_label_of_its_own_has_both() -> None:
    """A view's own label comes on top of what its definition shows."""
    world = World(catalogue(), ("t.ssn", "v.s", "v.id", "vagg.m"))
    assert world.words("SELECT * FROM v") == "id=v.id! s=t.ssn!,v.s"
    assert world.words("SELECT m FROM vagg WHERE m = 'x'") == "m=t.ssn,vagg.m where:t.ssn where:vagg.m ~t.ssn ~vagg.m"
    assert world.words("SELECT 1 FROM v WHERE s = 'x'") == "?column? eq:t.ssn eq:v.s"


def test_a_view_that_cannot_be_looked_through_is_top() -> None:
    """A definition that does not parse, is no query, or names what is not there makes its users TOP, and only them."""
    database = Database()
    database.relation("t", "id ssn")
    database.relation("broken", "a", "v", "SELECT FROM WHERE")
    database.relation("other", "a", "v", "DELETE FROM p.t")
    database.relation("gone", "a", "v", "SELECT a FROM p.nothere")
    database.relation("short", "a b", "v", "SELECT t.id FROM p.t")
    database.relation("wide", "a", "v", "SELECT c.* FROM pg_catalog.pg_class c")
    database.relation("loop", "a", "v", "SELECT l.a FROM p.loop l")
    database.relation("pg_class", "", schema="pg_catalog")
    world = World(database.catalogue(), ("t.ssn",))
    for name in ("broken", "other", "gone", "short", "wide", "loop"):
        assert world.words(f"SELECT 1 FROM {name}") == "TOP"
    assert world.words("SELECT ssn FROM t") == "ssn=t.ssn!"


def test_views_on_views_end_somewhere() -> None:
    """A chain of views is looked through to its depth, a longer one is TOP."""
    database = Database()
    database.relation("v0", "a", "r")
    for number in range(1, MAX_DEPTH + 3):
        database.relation(f"v{number}", "a", "v", f"SELECT v.a FROM p.v{number - 1} v")
    known = database.catalogue()
    assert World(known, ("v0.a",)).words(f"SELECT a FROM v{MAX_DEPTH + 2}") == "TOP"
    assert World(database.catalogue(2), ("v0.a",)).words(f"SELECT a FROM v{MAX_DEPTH}") == "a=v0.a!"


# ---------------------------------------------------------------- total, bounded


def test_nothing_labelled_is_clean(world: World) -> None:
    """Without labels every query that is understood is clean."""
    for text, words in (case for cases in CASES.values() for case in cases):
        taint = taint_of(parsed(text), world.catalogue, frozenset())
        assert taint.is_clean or words == "TOP", text


def everywhere(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all nodes below a tree."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        found += everywhere(child, (*path, key))
    return found


@pytest.mark.parametrize("topic", CASES)
def test_a_tree_with_a_piece_missing_or_strange_is_answered(world: World, topic: str) -> None:
    """Whatever is left out of a tree or put in its place, the answer is a `Taint` and never an exception."""
    for text, _ in CASES[topic]:
        tree = parsed(text)
        for path in everywhere(tree)[::7]:
            for other in (None, 7, "x", [], {}, {"Strange": {"arg": [1]}}):
                changed = copy.deepcopy(tree)
                place = changed
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = other
                assert isinstance(taint_of(changed, world.catalogue, world.labelled), Taint)


@pytest.mark.parametrize("name", ["NewStmt", "NewFromItem", "new_clause", "SelectStmt"])
def test_what_is_not_known_is_top(world: World, name: str) -> None:
    """A statement, an item of FROM, a clause, or a query where an expression is expected, that is not known."""
    tree: dict[str, Any] = parsed("SELECT id FROM t")
    if name == "NewStmt":
        tree = {name: {"relation": {"relname": "t"}}}
    elif name == "NewFromItem":
        tree["SelectStmt"]["fromClause"].append({name: {}})
    elif name == "new_clause":
        tree["SelectStmt"][name] = {}
    else:
        tree["SelectStmt"]["whereClause"] = {"A_Expr": {"kind": "AEXPR_OP", "lexpr": {"SelectStmt": {}}, "name": [{}]}}
    assert taint_of(tree, world.catalogue, world.labelled).is_top


WIDE = ", ".join(f"k{index}" for index in range(3_000))
HOSTILE = {
    "list": f"SELECT id FROM t WHERE ssn IN ({', '.join(['1'] * 60_000)})",
    "ANDs": f"SELECT id FROM t WHERE {' AND '.join(['ssn = 1'] * 15_000)}",
    "ORs": f"SELECT id FROM t WHERE {' OR '.join(['ssn = 1'] * 15_000)}",
    "queries of a WITH": "WITH c0 AS (SELECT * FROM t), " + ", ".join(
        f"c{index} AS (SELECT * FROM c{index - 1})" for index in range(1, 1_000)) + " SELECT * FROM c999",
    "doubling": "WITH c0 AS (SELECT * FROM t), " + ", ".join(
        f"c{index} AS (SELECT a.*, b.* FROM c{index - 1} a, c{index - 1} b)" for index in range(1, 40)) + " SELECT * FROM c39",
    "slow recursion": f"WITH RECURSIVE a({', '.join(f'k{index}' for index in range(300))}) AS (SELECT "
                      f"{', '.join(['1'] * 300)} UNION ALL SELECT {', '.join(f'k{index}' for index in range(1, 300))}, ssn"
                      " FROM a, t) SELECT * FROM a",
    "items": f"SELECT {WIDE} FROM {', '.join(f't a{index}(k{index})' for index in range(3_000))}",
    "qualified": f"SELECT {', '.join(f'a{index}.ssn' for index in range(3_000))} FROM "
                 f"{', '.join(f't a{index}' for index in range(3_000))}",
    "joins": "SELECT * FROM t a0 " + " ".join(f"JOIN t a{index} USING (id)" for index in range(1, 300)),
    "ORDER BY": f"SELECT {', '.join(['ssn'] * 5_000)} FROM t ORDER BY {', '.join(['ssn'] * 5_000)}",
    "wide arms": " UNION ALL ".join([f"SELECT {', '.join(['ssn'] * 400)} FROM t"] * 100),
    "nested recursion": "WITH RECURSIVE a(x, y) AS (SELECT 1, 'a' UNION ALL (WITH RECURSIVE b(x, y) AS (SELECT x, y FROM a"
                        " UNION ALL (WITH RECURSIVE c(x, y) AS (SELECT x, y FROM b UNION ALL SELECT x, ssn FROM c, t)"
                        " SELECT * FROM c)) SELECT * FROM b)) SELECT * FROM a",
    "sub-selects": "SELECT " + "(SELECT " * 130 + "ssn" + ")" * 130 + " FROM t",
    "FROM": "SELECT * FROM " + "(SELECT * FROM " * 130 + "t" + ") x" * 130,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_statement_ends_quickly(world: World, name: str) -> None:
    """However much a statement asks for, its analysis ends after a bounded number of steps."""
    tree = parsed(HOSTILE[name])
    with lines(most=25 * MAX_WORK):             # a unit of work is 17 lines of Python at most
        taint = taint_of(tree, world.catalogue, world.labelled)
    assert taint.is_top or not taint.is_clean


def test_depth_is_an_answer(world: World) -> None:
    """A tree that is too deep for the analysis is TOP."""
    tree: dict[str, Any] = {"ColumnRef": {"fields": [{"String": {"sval": "ssn"}}]}}
    for _ in range(20_000):
        tree = {"FuncCall": {"funcname": [{"String": {"sval": "unnest"}}], "args": [tree]}}
    statement = parsed("SELECT 1 FROM t")
    statement["SelectStmt"]["targetList"][0]["ResTarget"]["val"] = tree
    assert taint_of(statement, world.catalogue, world.labelled).is_top


def test_a_long_chain_is_not_deep(world: World) -> None:
    """Operators nest to the left as deeply as the parser lets them: the walk does not mind."""
    tree: dict[str, Any] = {"ColumnRef": {"fields": [{"String": {"sval": "ssn"}}], "location": 7}}
    for _ in range(5_000):
        tree = {"A_Expr": {"kind": "AEXPR_OP", "name": [{"String": {"sval": "||"}}], "lexpr": tree, "rexpr": {"A_Const": {}}}}
    statement = parsed("SELECT 1 FROM t")
    statement["SelectStmt"]["targetList"][0]["ResTarget"]["val"] = tree
    assert world.sources(taint_of(statement, world.catalogue, world.labelled).data) == "t.ssn"


def test_what_is_known_of_relations_is_kept(world: World) -> None:
    """Rows and expanded views are made once per catalogue and labels, and made anew with another catalogue."""
    known: Catalogue = catalogue()
    first = World(known)
    first.words("SELECT * FROM vv")
    kept = [value for key, value in known.derived.items() if isinstance(key, tuple) and key[0] == "taint"]
    second = World(known)
    second.words("SELECT * FROM vv")
    assert [value for key, value in known.derived.items() if isinstance(key, tuple) and key[0] == "taint"] == kept
    assert World(catalogue()).catalogue.derived == {}
