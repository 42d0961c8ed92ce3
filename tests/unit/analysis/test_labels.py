"""Which columns are protected: globs, closure, lineage of views, what is closed as a whole."""

from __future__ import annotations

import pgparse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.analysis.sql import Catalogue, KnownColumns, Masked, enforce_masks
from lockgate.analysis.sql.covers import Cover
from lockgate.analysis.sql.labels import Reach, labels_for
from lockgate.analysis.sql.lineage import tainted_outputs
from lockgate.model import ColumnMask, KeyScope, MaskMethod, Predicates
from tests.unit.analysis.database import MASKS, Database, plan, standard


def protected(database: Database, *globs: str, method: MaskMethod = MaskMethod.REDACT) -> set[str]:
    catalogue = database.catalogue()
    labels = labels_for((ColumnMask(globs, method),), catalogue)
    return {f"{relation.name}.{name}" for relation in catalogue.relations for name in labels.protected_names(relation)}


@pytest.mark.parametrize(("glob", "expected"), [
    ("ssn", {"t.ssn", "s.ssn"}), ("*.ssn", {"t.ssn", "s.ssn"}), ("t.ssn", {"t.ssn"}), ("p.t.ssn", {"t.ssn"}),
    ("q.*.ssn", {"s.ssn"}), ("*.*.SSN", {"t.SSN"}), ("t.*", {"t.id", "t.ssn", "t.SSN"}), ("t.s?n", {"t.ssn"}),
    ("T.ssn", set()), ("a.b.c.d", set()),
])
def test_globs(glob: str, expected: set[str]) -> None:
    """A glob counts from the right and is case-sensitive, as names are stored."""
    database = Database()
    database.relation("t", "id ssn SSN")
    database.relation("s", "ssn", schema="q")
    assert protected(database, glob) == expected


def test_inheritance_both_ways() -> None:
    """A label on a partition is one on its parent and its siblings, and the other way round."""
    database = Database()
    parent, one, two = database.relation("parent", "id ssn", "p"), database.relation("one", "ssn id"), \
        database.relation("two", "id ssn extra")
    database.inherit(one, parent)
    database.inherit(two, parent)
    assert protected(database, "one.ssn") == {"one.ssn", "parent.ssn", "two.ssn"}


def test_generated_columns() -> None:
    """A generated column that reads a protected one is protected, through several steps."""
    database = Database()
    database.relation("t", "id ssn tail twice other", generated={
        "tail": 'right("ssn", 4)', "twice": "(tail || tail)", "other": "(id + 1)"})
    assert protected(database, "*.ssn") == {"t.ssn", "t.tail", "t.twice"}


def test_stronger_mask_wins() -> None:
    """Two masks on one column compose to the stronger, whatever their order."""
    catalogue = standard().catalogue()
    weak, strong = ColumnMask(("*.ssn",), MaskMethod.PARTIAL), ColumnMask(("t.*",), MaskMethod.NULL)
    for masks in ((weak, strong), (strong, weak)):
        assert labels_for(masks, catalogue).covers[16_401][3].method is MaskMethod.NULL


@pytest.mark.parametrize(("definition", "expected"), [
    ("SELECT t.id, t.ssn AS s FROM p.t", [False, True]),
    ("SELECT t.id AS a, upper(t.ssn) AS b FROM p.t", [False, True]),
    ("SELECT t.id AS a, t.* FROM p.t", [False, True]),          # the caller sees that the width is wrong
    ("SELECT DISTINCT t.id, t.ssn FROM p.t", None),
    ("SELECT t.id AS a, t AS b FROM p.t", [False, True]),
    ("SELECT (t.*)::text AS a, 1 AS b FROM p.t", [True, False]),
    ("SELECT u.id, (SELECT max(t.ssn) FROM p.t) AS b FROM p.u", [False, True]),
    ("SELECT u.id, (SELECT max(t.id) FROM p.t) AS b FROM p.u", [False, True]),
    ("SELECT x.z, x.id FROM (SELECT t.ssn AS z, t.id FROM p.t) x", [True, False]),
    ("SELECT x.b, x.a FROM (SELECT t.ssn, t.id FROM p.t) x(a, b)", [False, True]),
    ("SELECT u.note, t.ssn FROM p.u JOIN p.t ON u.id = t.id", [False, True]),
    ("SELECT u.note FROM p.u JOIN p.t ON u.note = t.ssn", None),
    ("SELECT u.note FROM p.u JOIN p.t USING (ssn)", None),
    ("SELECT t.id FROM p.t WHERE t.ssn = 'x'", None),
    ("SELECT t.id FROM p.t ORDER BY t.ssn", None),
    ("SELECT count(*) AS c FROM p.t GROUP BY t.ssn", None),
    ("SELECT DISTINCT ON (t.ssn) t.id FROM p.t", None),
    ("SELECT u.note AS a FROM p.u UNION ALL SELECT t.ssn FROM p.t", [True]),
    ("SELECT u.note AS a, u.id FROM p.u UNION ALL SELECT t.name, t.id FROM p.t", [False, False]),
    ("SELECT u.note FROM p.u EXCEPT SELECT t.ssn FROM p.t", None),
    ("SELECT u.note FROM p.u UNION SELECT t.ssn FROM p.t", None),
    ("WITH c AS (SELECT t.ssn AS a, t.id AS b FROM p.t) SELECT c.b, c.a FROM c", [False, True]),
    ("WITH c(x, y) AS (SELECT t.ssn, t.id FROM p.t) SELECT c.y, c.x FROM c", [False, True]),
    ("WITH RECURSIVE c AS (SELECT t.ssn FROM p.t UNION ALL SELECT c.ssn FROM c) SELECT c.ssn FROM c", None),
    ("SELECT g.g FROM p.t, LATERAL generate_series(1, length(t.ssn)) g(g)", None),
    ("SELECT l.z, t.id FROM p.t, LATERAL (SELECT t.ssn AS z) l", [True, False]),
    ("SELECT t.id FROM p.t t(id, name, x)", None),
    ("VALUES (1)", [False]),
    ("SELECT u.id FROM p.u WHERE u.id IN (SELECT t.id FROM p.t)", None),
    ("SELECT u.id FROM p.nowhere u", None),
])
def test_lineage(definition: str, expected: list[bool] | None) -> None:
    """An output is clean only if no protected column can reach it; what decides the rows taints them all."""
    def names(schema: str | None, name: str) -> frozenset[str] | None:
        return {"t": frozenset(("ssn",)), "u": frozenset[str]()}.get(name)
    body = pgparse.parse(definition)[0]["stmt"]["SelectStmt"]
    assert tainted_outputs(body, names) == expected


def test_views_and_materialised_views() -> None:
    """Views over protected columns are expanded, materialised ones masked, and both label what they show."""
    database = standard()
    database.relation("vv", "q k", "v", "SELECT v.s AS q, v.id AS k FROM p.v;")
    database.relation("mv", "id tail", "m", "SELECT t.id, right(t.ssn, 4) AS tail FROM p.t;")
    database.relation("clean", "id", "m", "SELECT t.id FROM p.t;")
    database.relation("open", "id", "v", "SELECT u.id FROM p.u;")
    catalogue = database.catalogue()
    labels = labels_for(MASKS, catalogue)
    reach = {relation.name: labels.reach_of(relation) for relation in catalogue.relations}
    assert reach == {"t": Reach.MASKED, "u": Reach.OPEN, "v": Reach.DERIVED, "pg_class": Reach.OPEN,
                     "pg_stats": Reach.CLOSED, "vv": Reach.DERIVED, "mv": Reach.MASKED, "clean": Reach.OPEN,
                     "open": Reach.OPEN}
    assert protected(database, "*.ssn") == {"t.ssn", "v.s", "vv.q", "mv.tail"}


def test_rows_that_come_and_go_with_a_value_are_not_counted() -> None:
    """How many rows a stored view has, or one on top of a filtering view, tells of the values that filtered it."""
    database = standard()
    database.relation("vrich", "id", "v", "SELECT t.id FROM p.t WHERE (t.ssn = 'x'::text);")
    database.relation("mrich", "id", "m", "SELECT t.id FROM p.t WHERE (t.ssn = 'x'::text);")
    database.relation("mlevels", "level", "m", "SELECT count(*) AS level FROM p.t GROUP BY t.ssn;")
    database.relation("mmany", "many", "m", "SELECT count(*) AS many FROM p.vrich;")
    database.relation("mtwice", "note", "m", "SELECT u.note FROM p.u, p.vrich;")
    database.relation("vmany", "many", "v", "SELECT count(*) AS many FROM p.vrich;")
    database.relation("clean", "many", "m", "SELECT count(*) AS many FROM p.t;")
    catalogue = database.catalogue()
    labels = labels_for(MASKS, catalogue)
    reach = {relation.name: labels.reach_of(relation) for relation in catalogue.relations}
    assert {name for name, found in reach.items() if found is Reach.CLOSED} == {
        "pg_stats", "mrich", "mlevels", "mmany", "mtwice"}
    assert reach["vrich"] is reach["vmany"] is Reach.DERIVED
    assert reach["clean"] is Reach.OPEN
    assert {"vrich.id", "vmany.many"} <= protected(database, "*.ssn")


@pytest.mark.parametrize(("key", "closed"), [((1,), False), ((2,), True), ((0,), True), ((1, 2), True)])
def test_partitions_by_a_protected_column_are_closed(key: tuple[int, ...], closed: bool) -> None:
    """Which rows a partition has tells of the values by which the table is split; so does a view of one."""
    database = standard()
    parent = database.relation("wards", "id ssn", "p")
    child = database.relation("wards_a", "id ssn", "p")
    grandchild = database.relation("wards_a1", "id ssn")
    database.inherit(child, parent)
    database.inherit(grandchild, child)
    database.partition_key(parent, *key)
    database.relation("vwards", "id", "v", "SELECT wards_a1.id FROM p.wards_a1;")
    database.relation("mwards", "where_to", "m", "SELECT wards.tableoid AS where_to FROM p.wards;")
    catalogue = database.catalogue()
    labels = labels_for(MASKS, catalogue)
    reach = {relation.name: labels.reach_of(relation) for relation in catalogue.relations}
    assert reach["wards"] is Reach.MASKED
    assert {reach[name] is Reach.CLOSED for name in ("wards_a", "wards_a1", "vwards", "mwards")} == {closed}


def test_views_that_call_functions_are_closed() -> None:
    """A view whose functions are unknown could show anything, and so could everything on top of it."""
    database = standard()
    database.function("f", pure=False)
    database.relation("vf", "x", "v", "SELECT p.f() AS x;")
    database.relation("vs", "x", "v", "SELECT pg_stats.x FROM pg_stats;")
    database.relation("top", "x", "m", "SELECT vf.x FROM p.vf;")
    database.relation("broken", "x", "v", "not SQL")
    catalogue = database.catalogue()
    labels = labels_for(MASKS, catalogue)
    closed = {relation.name for relation in catalogue.relations if labels.reach_of(relation) is Reach.CLOSED}
    assert closed == {"pg_stats", "vf", "vs", "top", "broken"}


def test_toast_is_closed() -> None:
    """Long values of a protected column lie in a TOAST table: none of them is readable."""
    database = standard()
    oid = database.relation("pg_toast_16401", "", "t", schema="pg_toast")
    catalogue = database.catalogue()
    assert labels_for(MASKS, catalogue).reach_of(catalogue.by_oid[oid]) is Reach.CLOSED


def test_enforcement_rows() -> None:
    """A glob that names nothing or cannot be held is a problem."""
    rows = {row.what: row for row in enforce_masks(
        (ColumnMask(("*.ssn", "nothing", "a.b.c.d", "pg_catalog.pg_class.relname"), MaskMethod.PARTIAL),),
        standard().catalogue())}
    assert [name for name, _ in rows["*.ssn"].columns] == ["p.t.ssn"]
    assert rows["*.ssn"].problem is None
    assert all(rows[glob].problem for glob in ("nothing", "a.b.c.d", "pg_catalog.pg_class.relname"))


@pytest.mark.parametrize(("glob", "says"), [
    ("t.snn", "`t.snn` names no column of this database; write `t.ssn`"),
    ("*.snn", "`*.snn` names no column of this database; write `*.ssn`"),
    ("p.T.ssn", "`p.T.ssn` names no column of this database; write `p.t.ssn`"),
    ("zzzz.qqqq", "`zzzz.qqqq` names no column of this database"),
])
def test_a_misspelt_glob_is_told_with_the_closest_name(glob: str, says: str) -> None:
    """In the form that was written: as many parts, wildcards as they are."""
    assert enforce_masks((ColumnMask((glob,), MaskMethod.NULL),), standard().catalogue())[0].problem == says


def _covers(database: Database, *masks: ColumnMask, known: tuple[str, ...] | None = None) -> dict[str, Cover]:
    catalogue = Catalogue.from_rows(database.rows, 1, "f", None if known is None else KnownColumns(known))
    labels = labels_for(masks, catalogue)
    return {f"{relation.name}.{column.name}": cover for relation in catalogue.relations for column in relation.columns
            if (cover := labels.covers.get(relation.oid, {}).get(column.number)) is not None}


def test_columns_by_pattern_and_by_type() -> None:
    """A pattern is searched in the name, a type is matched with a glob."""
    database = Database()
    database.relation("t", "id:int4 social_security_no:text ip:inet home_ip:inet")
    by_name = ColumnMask((), MaskMethod.REDACT, names=("(?i)SOCIAL",), label="pii.ssn")
    by_type = ColumnMask((), MaskMethod.NULL, types=("inet*",), label="net.address")
    found = _covers(database, by_name, by_type)
    assert {name: cover.labels for name, cover in found.items()} == {
        "t.social_security_no": {"pii.ssn"}, "t.ip": {"net.address"}, "t.home_ip": {"net.address"}}


def test_new_columns_are_masked_until_somebody_lists_them() -> None:
    """What the list of known columns does not hold is new; a glob in it stands for what is there and what comes."""
    database = Database()
    database.relation("t", "id name added")
    database.relation("u", "id later")
    mask = ColumnMask((), MaskMethod.REDACT, is_new=True)
    assert set(_covers(database, mask, known=("p.t.id", "p.t.name", "p.u.*"))) == {"t.added"}
    assert set(_covers(database, mask, known=())) == {"t.id", "t.name", "t.added", "u.id", "u.later"}
    assert _covers(database, mask) == {}            # no list: `enforce_masks` does not let the connection start
    rows = enforce_masks((mask,), database.catalogue())
    assert rows[0].problem is not None
    assert "known_columns" in rows[0].problem


COVERS = st.builds(
    Cover, st.sampled_from(MaskMethod), st.sampled_from(Predicates), st.frozensets(st.sampled_from("ab")),
    st.frozensets(st.sampled_from("xy")), st.frozensets(st.sampled_from(["$.a", "$.b"])), st.sampled_from(KeyScope),
    st.integers(0, 3), st.booleans(),
)


@given(COVERS, COVERS, COVERS)
def test_covers_compose_without_order(one: Cover, two: Cover, three: Cover) -> None:
    """However masks for one column are put together, the result is the same and at least as strict as each."""
    assert one | two == two | one
    assert (one | two) | three == one | (two | three)
    assert (one | two).method >= max(one.method, two.method)
    assert (one | two).predicates >= max(one.predicates, two.predicates)
    assert not ((one | two).paths and not (one.paths and two.paths))


def test_a_label_may_name_nothing_on_one_of_its_connections() -> None:
    """Of a label's globs one has to name something; a glob that a rule itself holds always has to."""
    catalogue = standard().catalogue()
    assert [row.problem for row in enforce_masks((ColumnMask(("*.ssn", "*.iban"), MaskMethod.NULL, label="pii"),), catalogue)
            ] == [None]
    assert enforce_masks((ColumnMask(("*.iban",), MaskMethod.NULL, label="pii"),), catalogue)[0].problem is not None
    assert enforce_masks((ColumnMask(("*.ssn", "*.iban"), MaskMethod.NULL),), catalogue)[1].problem is not None


def test_expressions_of_what_the_catalogue_does_not_know() -> None:
    """A temporary table of some session has defaults and checks, and is no relation of the catalogue."""
    database = standard()
    database.routine("keeps", "a text", "text", "SELECT $1")
    database.rows["wired"] = [("default", "99999", "1", "", "current_query()"), ("check", "99999", "0", "", "keeps(ssn) = 'x'")]
    assert isinstance(plan("SELECT ssn FROM t", database), Masked)
