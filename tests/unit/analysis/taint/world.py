"""The schema that the taint tests speak of, twice: as SQL for a server and as a catalogue without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pgparse

from lockgate.analysis.sql import Catalogue
from lockgate.analysis.sql.taint import Source, Taint, taint_of
from tests.unit.analysis.database import Database

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, name text, ssn text, n bigint);
CREATE TABLE u (id int PRIMARY KEY, note text, tid int);
CREATE TABLE docs (id int, doc jsonb, tags text[], grp int);
CREATE TABLE gen (id int, ssn text, tail text GENERATED ALWAYS AS (right(ssn, 4)) STORED);
CREATE TABLE notes (id int, body text, loud text GENERATED ALWAYS AS (upper(body)) STORED);
CREATE TABLE trig (id int, a text, b text);
CREATE TABLE dup (id int, other text);
CREATE SCHEMA q;
CREATE TABLE q.dup (id int, ssn text);
CREATE TABLE par (id int, ssn text);
CREATE TABLE chi (extra text) INHERITS (par);
CREATE TYPE pair AS (a text, b text);
CREATE TABLE comp (id int, c pair);
"""
VIEWS = {
    "v": ("id:int4 s", "SELECT id, ssn AS s FROM p.t"),
    "vv": ("q k:int4", "SELECT v.s AS q, v.id AS k FROM p.v"),
    "vfilter": ("id:int4", "SELECT t.id FROM p.t WHERE t.ssn = '219-09-0001'"),
    "vagg": ("m c:int8", "SELECT max(t.ssn) AS m, count(*) AS c FROM p.t"),
    "vcte": ("w", "WITH t AS (SELECT t_1.ssn AS w FROM p.t t_1) SELECT t.w FROM t"),
    "vunion": ("z", "SELECT u.note AS z FROM p.u UNION ALL SELECT t.ssn FROM p.t"),
    "vrow": ("r", "SELECT t.*::p.t AS r FROM p.t"),
    "vopen": ("id:int4 note", "SELECT u.id, u.note FROM p.u"),
}
STORED = {
    "mv": ("id:int4 s", "SELECT t.id, t.ssn AS s FROM p.t"),
    "mvf": ("id:int4 loud", "SELECT t.id, upper(t.ssn) AS loud FROM p.t WHERE t.ssn ~~ '2%'"),
}
TRIGGER = """
CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.b := new.a; RETURN new; END $$;
CREATE TRIGGER swap BEFORE INSERT OR UPDATE ON trig FOR EACH ROW EXECUTE FUNCTION swap();
"""
SETUP = (
    "CREATE SCHEMA p; SET search_path = p;" + TABLES
    + "".join(f"CREATE VIEW {name} AS {text};" for name, (_, text) in VIEWS.items())
    + "".join(f"CREATE MATERIALIZED VIEW {name} AS {text};" for name, (_, text) in STORED.items()) + TRIGGER
)

LABELLED = ("t.ssn", "t.n", "docs.doc", "docs.tags", "gen.ssn", "gen.tail", "q.dup.ssn", "par.ssn", "chi.ssn", "comp.c", "mv.s")


def catalogue() -> Catalogue:
    """What a snapshot of the server would hold."""
    database = Database()
    database.relation("t", "id:int4 name ssn n:int8")
    database.relation("u", "id:int4 note tid:int4")
    database.relation("docs", "id:int4 doc:jsonb tags:_text grp:int4")
    database.relation("gen", "id:int4 ssn tail", generated={"tail": '"right"(ssn, 4)'})
    database.relation("notes", "id:int4 body loud", generated={"loud": "upper(body)"})
    trig = database.relation("trig", "id:int4 a b")
    database.relation("dup", "id:int4 other")
    database.relation("dup", "id:int4 ssn", schema="q")
    par = database.relation("par", "id:int4 ssn")
    chi = database.relation("chi", "id:int4 ssn extra")
    database.inherit(chi, par)
    database.relation("comp", "id:int4 c")
    for name, (columns, text) in VIEWS.items():
        database.relation(name, columns, "v", f" {text};")
    for name, (columns, text) in STORED.items():
        database.relation(name, columns, "m", f" {text};")
    database.relation("pg_class", "", schema="pg_catalog")
    database.relation("pg_stats", "", "v", schema="pg_catalog")
    database.rows["triggers"] = [(str(trig), "p", "moves", "7", "", None)]
    return database.catalogue()


def parsed(text: str) -> dict[str, Any]:
    """The tree of a text's only statement."""
    trees = pgparse.parse(text)
    assert len(trees) == 1, text
    tree: dict[str, Any] = trees[0]["stmt"]
    return tree


class World:
    """A catalogue with labels, and the words for what the analysis says."""

    def __init__(self, known: Catalogue, names: tuple[str, ...] = LABELLED,
                 in_session: Callable[[str | None, str], bool] | None = None) -> None:
        self.catalogue = known
        self.in_session = in_session
        self.names: dict[Source, str] = {}
        for relation in known.relations:
            prefix = "" if relation.schema == "p" else f"{relation.schema}."
            for column in relation.columns:
                self.names[relation.oid, column.number] = f"{prefix}{relation.name}.{column.name}"
            self.names[relation.oid, 0] = f"{prefix}{relation.name}.*"
        self.labelled = frozenset(source for source, name in self.names.items() if name in names)
        self.labelled |= {(relation.oid, 0) for relation in known.relations if relation.name == "pg_stats"}

    def taint(self, text: str) -> Taint:
        """The analysis of the only statement of a text."""
        return taint_of(parsed(text), self.catalogue, self.labelled, self.in_session)

    def sources(self, sources: frozenset[Source], direct: Source | None = None) -> str:
        """The names of sources, the one whose value it is with a `!`."""
        assert direct is None or direct in sources
        return ",".join(sorted(self.names[source] + ("!" if source == direct else "") for source in sources))

    def words(self, text: str) -> str:
        """Everything that the analysis says, in one line.

        Outputs first: `name`, `name=sources` (`!` behind the column whose value it is), or `?=sources` where the
        columns are not known. Then, each marked: `where:source` for controls (`@view` inside of one), `eq:source`,
        `>target=sources` for writes, `+name=sources` for what is created, `~source` for what is computed with.
        """
        taint = self.taint(text)
        if taint.is_top:
            return "TOP"
        words = []
        if taint.outputs is None:
            words.append("?" + ("=" + self.sources(taint.data) if taint.data else ""))
        for output in taint.outputs or ():
            words.append(output.name + ("=" + self.sources(output.sources, output.direct) if output.sources else ""))
        marks = set()
        for control in taint.controls:
            view = "" if control.view is None else "@" + self.names[control.view, 0].removesuffix(".*")
            marks.add(f"{control.where}:{self.names[control.source]}{view}")
        for equality in taint.equalities:
            marks.add(f"eq:{self.names[equality.source]}")
        for write in taint.writes:
            target = "?" if write.target is None else self.names[write.target]
            marks.add(f">{target}=" + ",".join(sorted(
                self.names[source] + ("!" if source == write.direct else "") for source in write.sources)))
        if taint.created is None:
            marks.add("+?=" + self.sources(taint.stored))
        for output in taint.created or ():
            marks.add(f"+{output.name}" + ("=" + self.sources(output.sources, output.direct) if output.sources else ""))
        for source in taint.computed:
            marks.add("~" + self.names[source])
        return " ".join([*words, *sorted(marks)])
