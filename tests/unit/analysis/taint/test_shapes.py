"""The known leak shapes and the adversarial ones: which of them the analysis calls clean, and that they are.

What is opaque (functions of users, dynamic SQL, DO) is refused before its taint is asked for and is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pgparse
import psycopg
import pytest

from lockgate.analysis.sql import Catalogue
from lockgate.analysis.sql.effects import StatementReader
from lockgate.analysis.sql.labels import Labels, Reach, labels_for
from lockgate.analysis.sql.taint import InSession, Taint, taint_of
from lockgate.model import ColumnMask, MaskMethod
from testbed.noninterference.databases import snapshot
from testbed.postgres import Server, embedded

DATA = Path(__file__).parents[3] / "data"
MASKS = (ColumnMask(("*.ssn", "*.SSN", "t.n", "contacts.email"), MaskMethod.REDACT),)
CANARIES, OTHER = ("219-09-9999", "219-09-9998"), ("481-77-1234", "481-77-1235")

QUERIES = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"))
WITH_QUERIES = QUERIES | {"CopyStmt", "ExplainStmt", "PrepareStmt", "DeclareCursorStmt", "CreateTableAsStmt", "ViewStmt"}
NOT_CLAIMED = ("ctid", "INTO ruled")
"""The place of a row on disk, and what rewrite rules do (they are judged by `permitted`)."""

CLEAN = {
    "notify": "what notifies is opaque, what listens has no values",
    "matview clean": "it has stored no labelled column",
    "quoted other case": "another column, which is not labelled",
    "cte recursive forward": "the WITH query of that name comes before the table, even behind its use",
    "column renaming shifts": "the alias names another column so",
    "on conflict excluded": "the value that the client sent itself",
    "rule": "judged by `permitted`",
    "system column": "places and transactions of rows",
    "replace view": "defined anew over an open table",
    "set_config strings": "refused before",
    "explain verbose": "a plan without values or conditions",
    "foreign schema": "refused before",
    "notify payload": "a constant",
}
"""Shapes without a statement that is sensitive, and why they are not."""


@dataclass
class Sides:
    """The two databases, their catalogue and its labels."""

    connections: tuple[psycopg.Connection, psycopg.Connection]
    catalogue: Catalogue
    labels: Labels

    def taint(self, tree: dict[str, Any], in_session: InSession) -> Taint:
        return taint_of(tree, self.catalogue, self.labels.sources, in_session)


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / name).read_text())
    return found


def shapes() -> list[tuple[str, str]]:
    known = [(shape["name"], shape["sql"]) for shape in load("leak-shapes.json")["shapes"]]
    return known + [(name, text) for name, text in load("adversarial-shapes.json")["shapes"]]


def made(server: Server, name: str, is_other: bool) -> psycopg.Connection:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    connection = psycopg.connect(server.dsn(name), autocommit=True)
    for script in ("leak-shapes.json", "adversarial-shapes.json"):
        text = load(script)["setup"]
        if is_other:
            for canary, other in zip(CANARIES, OTHER, strict=True):
                text = text.replace(canary, other).replace(canary.replace("-", ""), other.replace("-", ""))
            text = text.replace("ann@example.com", "bob@sample.org")
            text = text.replace(f"ssn = '{OTHER[0]}'", f"ssn = '{CANARIES[0]}'")     # the definition of vfilter stays
        connection.execute(text.encode())
    connection.execute("SET search_path = p; SET statement_timeout = '5s'")
    return connection


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    with embedded({"autovacuum": "off"}) as server:
        one, two = made(server, "one", False), made(server, "two", True)
        catalogue = snapshot(one)
        one.execute("SET search_path = p")
        labels = labels_for(MASKS, catalogue)
        yield Sides((one, two), catalogue, labels)
        one.close()
        two.close()


def statements(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The statements of a string with their text."""
    try:
        trees = pgparse.parse(text)
    except pgparse.PGQueryError:
        return []
    data = text.encode()
    found = []
    for tree in trees:
        start = tree.get("stmt_location", 0)
        length = tree.get("stmt_len", 0) or len(data) - start
        found.append((data[start:start + length].decode(), tree["stmt"]))
    return found


def taints(sides: Sides, text: str) -> list[tuple[str, str, Taint]]:
    """Text, kind and taint of those statements of a shape that come to the analysis at all."""
    found = []
    names: set[str] = set()

    def in_session(_: str | None, name: str) -> bool:
        return name in names

    for part, tree in statements(text):
        reader = StatementReader()
        reader.statement(tree)
        reading = reader.reader.reading
        names |= {name for _, name in reading.created}
        if reader.forbidden is not None or labels_for(
                MASKS, sides.catalogue).verdicts.obstacle(reading) is not None:
            continue
        found.append((part, next(iter(tree)), sides.taint(tree, in_session)))
    return found


def delivered(connection: psycopg.Connection, text: str) -> tuple[Any, ...]:
    """What one statement gives; nothing stays changed."""
    connection.execute("BEGIN")
    try:
        cursor = connection.execute(text.encode())
        if cursor.description is None:
            return (cursor.rowcount,)
        return tuple(sorted(map(str, cursor.fetchall())))
    except psycopg.Error as error:
        return (error.sqlstate,)
    finally:
        connection.execute("ROLLBACK")


def test_what_is_called_clean_delivers_the_same(sides: Sides) -> None:
    """No statement of the shapes that the analysis calls clean tells the two databases apart."""
    wrong = []
    for _, text in shapes():
        for part, kind, taint in taints(sides, text):
            if kind in QUERIES and taint.is_clean and not any(word in part for word in NOT_CLAIMED):
                one, two = (delivered(connection, part) for connection in sides.connections)
                if one != two:
                    wrong.append((part, one, two))
    assert wrong == []


def test_the_clean_shapes_are_known(sides: Sides) -> None:
    """Every other shape is opaque or has a statement whose outputs, controls or writes are labelled."""
    clean = set()
    for name, text in shapes():
        found = [taint for _, _, taint in taints(sides, text)]
        if found and all(taint.is_clean and not taint.stored and not any(write.sources for write in taint.writes)
                         for taint in found):
            clean.add(name)
    assert clean == set(CLEAN)


def test_ordinary_statements_are_understood(sides: Sides) -> None:
    """No query that ordinary clients send is TOP."""
    def in_session(_: str | None, name: str) -> bool:
        return name not in sides.catalogue.by_name      # pgbench's tables and the clients' own

    not_understood = []
    for _, text in load("benign.json")["statements"]:
        for part, tree in statements(text):
            taint = sides.taint(tree, in_session)
            if taint.is_top and next(iter(tree)) in WITH_QUERIES:
                not_understood.append((part, taint.reason))
    assert not_understood == [("select mood from p.contacts", 'column "mood" is not known')]      # there is none


def test_a_view_that_shows_a_label_has_it(sides: Sides) -> None:
    """The closure of labels protects every view's column that the definition makes of labelled ones."""
    shown = 0
    for view in sides.catalogue.relations:
        if view.kind != "v" or view.is_system or sides.labels.reach_of(view) is Reach.CLOSED:
            continue
        names = ", ".join(f'"{column.name}"' for column in view.columns)
        ((_, tree),) = statements(f'SELECT {names} FROM "{view.schema}"."{view.name}"')
        for column, output in zip(view.columns, sides.taint(tree, lambda *_: False).outputs or (), strict=True):
            shown += bool(output.sources)
            assert not output.sources or (view.oid, column.number) in sides.labels.pairs, (view.name, column.name)
    assert shown > 8
