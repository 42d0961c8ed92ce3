"""Functions, procedures, triggers and blocks of a real server: verdicts, verbs, and that nothing leaks.

Analysis and rewriting without the gateway around them, as in `test_leak_shapes_direct`. Two databases hold the
same code and the same rows but for the protected column; whatever is admitted has to give the same on both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lockgate.analysis.sql import Catalogue, Masked, NotUnderstood
from lockgate.model import ColumnMask, MaskMethod
from testbed.noninterference.databases import snapshot
from testbed.noninterference.direct import Direct
from testbed.noninterference.outcome import Outcome
from testbed.postgres import Server, embedded
from tests.e2e.routine_cases import ADMITTED, CASES, OPAQUE, PLAIN, SETUP, SHOWS, TRIGGERS, Case, Trigger

MASKS = (ColumnMask(("*.ssn",), MaskMethod.REDACT),)
CANARY, OTHER = "219-09-999", "481-77-123"
CHANGE = f"UPDATE p.customers SET ssn = replace(ssn, '{CANARY}', '{OTHER}')"

CODE = (
    "create function f(a int) returns int immutable language sql as 'select 1'",
    "create or replace function f(a int) returns int immutable language sql as 'select 2'",
    "create function step(a int, b int) returns int language sql as 'select 1'",
    "create function t() returns trigger language plpgsql as 'begin return new; end'",
    "create trigger t before update on orders for each row execute function t()", "alter table orders disable trigger t",
    "create domain short as text check (f(length(value)) > 0)", "alter table orders add check (f(id) > 0)",
    "alter table orders alter note set default f(1)::text", "create policy own on orders using (f(id) > 0)",
    "drop policy own on orders", "create index on orders (f(id))", "create aggregate g(int) (sfunc = step, stype = int)",
    "alter function step(int, int) security definer", "create function e() returns event_trigger language plpgsql as 'begin end'",
    "create event trigger e on ddl_command_end execute function e()", "alter event trigger e disable",
    "create function m(int) returns mood language sql as 'select ''calm''::mood'", "create cast (int as mood) with function m(int)",
    "create operator @@@ (leftarg = int, rightarg = int, function = step)",
)


class Twins:
    """Databases `one` and `two`, made anew from their templates when something was changed."""

    def __init__(self, server: Server, scripts: list[str], name: str) -> None:
        self._server = server
        self.name = name
        with self._admin() as admin:
            admin.execute(f"create database {name}".encode())
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            for script in [*scripts, f"alter database {name} set search_path = p"]:
                connection.execute(script.encode())
            self.catalogue: Catalogue = snapshot(connection)
        with self._admin() as admin:
            admin.execute(f"create database {name}_two template {name}".encode())
        with psycopg.connect(server.dsn(f"{name}_two"), autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(CHANGE.encode())

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self._server.dsn(), autocommit=True)

    def session(self, template: str, *, reads: bool = False) -> Direct:
        """A session on a fresh copy; on the template itself for what only reads."""
        if reads:
            return Direct(self._server.dsn(template), MASKS, self.catalogue, "p")
        with self._admin() as admin:
            admin.execute("drop database if exists work with (force)")
            admin.execute(f"create database work template {template}".encode())
        return Direct(self._server.dsn("work"), MASKS, self.catalogue, "p")

    def both(self, *statements: str, reads: bool = False) -> tuple[list[Outcome], list[Outcome]]:
        """What the statements give on either side."""
        found = []
        for template in (self.name, f"{self.name}_two"):
            session = self.session(template, reads=reads)
            try:
                found.append([session.run(statement) for statement in statements])
            finally:
                session.close()
        return found[0], found[1]


def shown(outcome: Outcome) -> tuple[object, ...]:
    """What a client gets to see."""
    return outcome.refusal, outcome.state, outcome.messages, outcome.tags


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with embedded() as one:
        yield one


@pytest.fixture(scope="module")
def twins(server: Server) -> Twins:
    return Twins(server, [SETUP, *(case.sql for case in CASES if case.sql)], "routines")


def verdict(twins: Twins, case: Case) -> tuple[str, frozenset[str] | None]:
    direct = twins.session(twins.name, reads=True)
    try:
        statement = direct.statement(case.call)
        planned = direct.plan(case.call)
    finally:
        direct.close()
    verbs = None if statement.is_opaque else statement.verbs
    if isinstance(planned, Masked):
        return ADMITTED, verbs
    assert not isinstance(planned, NotUnderstood)
    return (OPAQUE if "cannot be analysed" in planned.reason else SHOWS), verbs


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_routine_has_its_verdict_and_verbs(twins: Twins, case: Case) -> None:
    """What a routine reads, changes and calls decides whether it may be called under masks, and what policy sees."""
    assert verdict(twins, case) == (case.verdict, case.verbs)


@pytest.mark.parametrize("case", [case for case in CASES if case.verdict == ADMITTED],
                         ids=[case.name for case in CASES if case.verdict == ADMITTED])
def test_an_admitted_routine_gives_the_same_whatever_is_protected(twins: Twins, case: Case) -> None:
    """It is a function of its arguments and of open columns: rows, tags, errors and notices are equal."""
    statements = (case.call, "SELECT * FROM log", "SELECT * FROM customers ORDER BY id")
    for one, two in zip(*twins.both(*statements, reads=case.verbs == PLAIN), strict=True):
        assert one.refusal is None
        assert not any(trace.encode() in one.seen for trace in (CANARY, OTHER))
        assert shown(one)[:4] == shown(two)[:4] or "at" in case.name
        assert not one.witnessed


@pytest.mark.parametrize("trigger", TRIGGERS, ids=[trigger.name for trigger in TRIGGERS])
def test_what_triggers_store_of_protected_values_is_protected(server: Server, trigger: Trigger) -> None:
    """Columns that a trigger fills from protected ones are masked, others are not, and nothing differs."""
    twins = Twins(server, [SETUP, trigger.sql], f"t_{trigger.name}")
    one, two = twins.both(*trigger.statements)
    for first, second, statement in zip(one, two, trigger.statements, strict=True):
        if trigger.is_refused and not statement.startswith("SELECT"):
            assert first.refusal is not None, statement
            continue
        assert first.refusal is None, (statement, first.refusal)
        assert not any(trace.encode() in first.seen for trace in (CANARY, OTHER)), (statement, first.seen)
        assert shown(first) == shown(second), statement
    if trigger.open:
        assert trigger.open.encode() in one[-1].seen


def test_the_fingerprint_follows_code(server: Server) -> None:
    """Whatever makes, replaces or switches code changes the fingerprint, so that no verdict is about an old body."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create database code")
    with psycopg.connect(server.dsn("code"), autocommit=True) as connection:
        connection.execute(SETUP.encode())
        found = [connection.execute(Catalogue.FINGERPRINT).fetchone()]
        for statement in CODE:
            connection.execute(statement.encode())
            found.append(connection.execute(Catalogue.FINGERPRINT).fetchone())
            assert found[-1] != found[-2], statement


def test_the_known_shapes_with_functions_stay_refused(server: Server) -> None:
    """Functions that read, select dynamically or raise a protected value are refused by every road to them."""
    known = json.loads((Path(__file__).parents[1] / "data" / "leak-shapes.json").read_text())
    shapes = [shape["sql"] for shape in known["shapes"] if re.search(r"\bf_(sql|tx|dyn|note)\b", shape["sql"])]
    assert len(shapes) >= 5
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create database shapes")
    with psycopg.connect(server.dsn("shapes"), autocommit=True) as connection:
        connection.execute(known["setup"])
        catalogue = snapshot(connection)
    direct = Direct(server.dsn("shapes"), MASKS, catalogue, "p")
    try:
        assert [text for text in shapes if isinstance(direct.plan(text), Masked)] == []
    finally:
        direct.close()
