"""The checks of this folder see the faults that they are there for: each is seeded and must be noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockgate.analysis.sql import Masked
from lockgate.analysis.sql.labels import labels_for
from lockgate.analysis.sql.routines import bodies, closure, flows, plpgsql, verdicts
from tests.unit.analysis.database import MASKS, Database, plan, standard

BODIES = {
    "return query": ("BEGIN RETURN QUERY SELECT ssn FROM t; END", "SETOF text"),
    "loop": ("DECLARE r record; BEGIN FOR r IN SELECT ssn FROM t LOOP RETURN r.ssn; END LOOP; END", "text"),
    "handler": ("BEGIN RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN (SELECT ssn FROM t); END", "text"),
    "elsif": ("BEGIN IF false THEN RETURN 1; ELSIF (SELECT ssn FROM t) = 'x' THEN RETURN 2; END IF; END", "text"),
    "cursor": ("DECLARE c CURSOR FOR SELECT ssn FROM t; r text; BEGIN OPEN c; FETCH c INTO r; RETURN r; END", "text"),
    "nested call": ("BEGIN RETURN inner_one(); END", "text"),
    "whole row": ("BEGIN RETURN (SELECT c::text FROM t c); END", "text"),
    "star": ("DECLARE r record; BEGIN SELECT * INTO r FROM t; RETURN r.name; END", "text"),
    "catch": ("BEGIN UPDATE t SET name = 'x'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END", "text"),
    "dynamic": ("BEGIN EXECUTE x; RETURN 1; END", "text"),
    "record default": ("DECLARE r record := inner_one(); BEGIN RETURN r; END", "text"),
}


def missed() -> set[str]:
    """What goes on although it shows protected data or is not known, and what triggers store unseen."""
    bodies._kept_body_of.cache_clear()
    flows._taken.cache_clear()
    found = set()
    for name, (body, returns) in BODIES.items():
        database = standard()
        database.routine("inner_one", body="SELECT ssn FROM t")
        database.routine("f", "", returns, body, "plpgsql")
        if isinstance(plan("SELECT f()", database), Masked):
            found.add(name)
    database = standard()
    database.relation("audit", "a")
    database.routine("g", "", "trigger", "BEGIN INSERT INTO audit VALUES (OLD.ssn); RETURN NULL; END", "plpgsql")
    database.trigger("t", "g")
    catalogue = database.catalogue()
    audit = next(relation for relation in catalogue.relations if relation.name == "audit")
    if not labels_for(MASKS, catalogue).protected_names(audit):
        found.add("trigger writes")
    return found | _unspoken()


def _unspoken() -> set[str]:
    database: Database = standard()
    database.routine("g", "", "trigger", "BEGIN RAISE NOTICE '%', (SELECT ssn FROM t); RETURN NULL; END", "plpgsql")
    database.trigger("u", "g")
    planned = plan("UPDATE u SET id = 1", database)
    assert isinstance(planned, Masked)
    return set() if planned.touches_labelled else {"triggers speak"}


def _without(node: str, role: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Blind to one field of one node, as if nobody had written its line; the second witness is blind, too."""
    def seed(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(plpgsql._FIELDS, node, {**plpgsql._FIELDS[node], role: ""})
        patch.setattr(plpgsql, "_queries", lambda tree: iter(()))
    return seed


def _nested_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(closure, "_follow", lambda calls, stack: None)


def _row_blind(patch: pytest.MonkeyPatch) -> None:
    original = verdicts._refers
    patch.setattr(verdicts, "_refers", lambda mentions, use, relation, names: original(
        frozenset(one for one in mentions if one[1] in names or one[1] == "*"), use, relation, names))


def _star_blind(patch: pytest.MonkeyPatch) -> None:
    original = verdicts._refers
    patch.setattr(verdicts, "_refers", lambda mentions, *rest: original(frozenset(one for one in mentions if one[1] != "*"), *rest))


def _catch_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plpgsql._Walk, "_field", _handlers_forgotten(plpgsql._Walk._field))


def _handlers_forgotten(original: Callable[..., frozenset[int]]) -> Callable[..., frozenset[int]]:
    def field(self: plpgsql._Walk, role: str, *rest: object) -> frozenset[int]:
        found = original(self, role, *rest)
        self.script.catches = False
        return found
    return field


def _dynamic_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plpgsql._Walk, "_constant", lambda self, expression: "SELECT 1")


def _default_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plpgsql, "hides_default", lambda body, records: False)


def _write_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flows._Flow, "_write", lambda self: None)


def _trigger_blind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdicts.Verdicts, "_triggered", lambda self, oid: iter(()))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "return query": _without("PLpgSQL_stmt_return_query", "query"), "loop": _without("PLpgSQL_stmt_fors", "query"),
    "handler": _without("PLpgSQL_stmt_block", "exceptions"), "elsif": _without("PLpgSQL_stmt_if", "elsif_list"),
    "nested call": _nested_blind, "whole row": _row_blind, "star": _star_blind, "catch": _catch_blind, "dynamic": _dynamic_blind,
    "record default": _default_blind, "trigger writes": _write_blind, "triggers speak": _trigger_blind,
}


def test_nothing_is_missed() -> None:
    """Every way to show protected data is refused, and what a trigger stores is protected."""
    assert missed() == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis that is blind in one way is noticed by the bodies of that kind."""
    FAULTS[fault](monkeypatch)
    try:
        assert fault in missed()
    finally:
        bodies._kept_body_of.cache_clear()
        flows._taken.cache_clear()
