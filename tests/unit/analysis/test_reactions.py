"""What a change sets in motion elsewhere: foreign keys, triggers, rules, children, row types."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer, Masked
from lockgate.model import Refusal
from tests.unit.analysis.database import Database, plan, standard


def reacting(source: str, target: str | None) -> Database:
    """The standard database where a change of `source` reaches `target`, or a trigger's function of unknown effect."""
    database = standard()
    oids = {row[2]: row[0] for row in database.rows["relations"]}
    if target is None:
        database.function("unknown", pure=False)
        database.rows["triggers"] = [(oids[source], "p", "unknown", "7", "", None)]
    else:
        database.rows["reactions"] = [(oids[source], oids[target])]
    return database


@pytest.mark.parametrize("target", ["t", None])
@pytest.mark.parametrize("text", ["UPDATE u SET id = 1", "DELETE FROM u", "COPY u FROM STDIN", "TRUNCATE u"])
def test_errors_of_a_change_that_reaches_protected_rows_are_rebuilt(text: str, target: str | None) -> None:
    """A foreign key or a trigger may quote rows of a relation that the statement does not name."""
    planned = plan(text, reacting("u", target))
    assert isinstance(planned, Masked)
    assert planned.touches_labelled
    alone = plan(text)
    assert isinstance(alone, Masked)
    assert not alone.touches_labelled


def test_a_read_sets_nothing_in_motion() -> None:
    """A query of a relation with triggers keeps the server's own words."""
    planned = plan("SELECT * FROM u", reacting("u", None))
    assert isinstance(planned, Masked)
    assert not planned.touches_labelled


def test_the_definition_of_a_parent_is_not_changed() -> None:
    """A new column of a parent would show what a child holds before anything labels it."""
    database = standard()
    parent, child = database.relation("base", "id"), database.relation("kid", "id ssn")
    database.inherit(child, parent)
    assert isinstance(plan("ALTER TABLE base ADD COLUMN ssn text", database), Refusal)
    assert isinstance(plan("ALTER TABLE u ADD COLUMN ssn text", database), Masked)


def test_a_column_that_holds_protected_rows_is_protected() -> None:
    """The row type of a protected relation carries its label to every column of that type."""
    database = standard()
    oids = {row[2]: row[0] for row in database.rows["relations"]}
    oid = database.relation("history", "id:int4")
    database.rows["columns"].append((str(oid), "2", "was", "p.t", None, "c", None, "t", oids["t"]))
    planned = plan("SELECT was FROM history", database)
    assert isinstance(planned, Masked)
    assert 'NULL::p.t AS "was"' in planned.text


@pytest.mark.parametrize(("text", "is_refused"), [
    ("SELECT id FROM u WHERE note = 'é'", True), ("SELECT id FROM u WHERE note = 'e'", False)])
def test_text_outside_ascii_needs_utf8(text: str, *, is_refused: bool) -> None:
    """Where the server's encoding is another, its scanner may read other names than ours."""
    database = standard()
    database.rows["encoding"] = [("LATIN1",)]
    assert isinstance(plan(text, database), Refusal) is is_refused


@pytest.mark.parametrize("text", [
    "UPDATE pg_settings SET setting = 'off'", "UPDATE pg_catalog.pg_settings SET setting = 'off'",
    "CREATE VIEW v AS SELECT * FROM pg_settings", "WITH x AS (UPDATE pg_settings SET setting = 'a') SELECT 1",
    "PREPARE p AS UPDATE pg_settings SET setting = 'off'"])
def test_parameters_are_not_changed_through_their_view(text: str) -> None:
    """UPDATE of pg_settings is SET by another name, whether or not anything is masked."""
    assert Analyzer().statement(text).forbidden is not None
    assert Analyzer().statement("SELECT * FROM pg_settings").forbidden is None
