"""No shape leaks: analysis and rewriting against a real server, without the gateway around them.

Two databases differ only in their protected columns. Every shape runs on both, in text and in binary
results; what comes back must hold no trace of the value and must be the same on both sides. Texts of
errors and notices count wherever the statement did not touch a protected relation (they are rebuilt
where it did), and are searched for the value everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lockgate.analysis.sql import Catalogue, Masked
from lockgate.model import ColumnMask, MaskMethod, Predicates
from testbed.postgres import Server, embedded
from tests.e2e.direct import Direct, Outcome, snapshot

DATA = Path(__file__).parents[1] / "data"
MASKS = (
    ColumnMask(("*.ssn", "*.SSN", "t.n"), MaskMethod.REDACT, Predicates.MASKED),
    ColumnMask(("contacts.email",), MaskMethod.PARTIAL, Predicates.MASKED),
)
CANARIES = ("219-09-9999", "219-09-9998")
OTHER = ("481-77-1234", "481-77-1235")
UNSAFE = ("copy to file", "copy to program", "load", "create extension")       # never run, even when let through


def _shapes() -> list[tuple[str, str]]:
    known = json.loads((DATA / "leak-shapes.json").read_text())["shapes"]
    own = json.loads((DATA / "adversarial-shapes.json").read_text())["shapes"]
    return [(shape["name"], shape["sql"]) for shape in known] + [(name, sql) for name, sql in own]


def _setup() -> list[str]:
    return [json.loads((DATA / name).read_text())["setup"] for name in ("leak-shapes.json", "adversarial-shapes.json")]


def traces(canary: str) -> set[bytes]:
    """Forms in which a value could leave: raw, reversed, encoded, hashed, in halves, as a number."""
    raw = canary.encode()
    digits = canary.replace("-", "")
    found = {raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw), base64.b64encode(raw)[:8], raw[:6],
             raw[-7:], hashlib.md5(raw).hexdigest().encode(), hashlib.sha256(raw).hexdigest().encode(),
             hashlib.sha256(raw).digest(), hashlib.md5(raw).digest(), digits.encode(), digits[::-1].encode(),
             int(digits).to_bytes(8, "big"), canary.translate(str.maketrans("0123456789", "abcdefghij")).encode()}
    return {trace for trace in found if len(trace) >= 5}


class Pair:
    """Two databases, `one` with the canaries and `two` with other values, made from templates on demand."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.catalogue: Catalogue
        with self._admin() as admin:
            admin.execute("create database base_one")
        with psycopg.connect(server.dsn("base_one"), autocommit=True) as connection:
            for script in _setup():
                connection.execute(script)
            connection.execute("alter database base_one set search_path = p")
            self.catalogue = snapshot(connection)
        with self._admin() as admin:
            admin.execute("create database base_two template base_one")
        with psycopg.connect(server.dsn("base_two"), autocommit=True) as connection:
            for relation, column in connection.execute(
                    "select c.oid::regclass::text, quote_ident(attname) from pg_attribute a join pg_class c on c.oid ="
                    " attrelid where relkind = 'r' and attname in ('ssn', 'SSN') and attnum > 0").fetchall():
                connection.execute(f"update only {relation} set {column} = replace(replace({column}, '{CANARIES[0]}',"
                                   f" '{OTHER[0]}'), '{CANARIES[1]}', '{OTHER[1]}')".encode())
            connection.execute("update p.t set n = n + 262672235")
            connection.execute("update p.contacts set email = 'abc@example.com'")
            for (name,) in connection.execute(
                    "select oid::regclass::text from pg_class where relkind = 'm'").fetchall():
                connection.execute(f"refresh materialized view {name}".encode())
        self.dirty = {"one": True, "two": True}

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self.server.dsn(), autocommit=True)

    def run(self, side: str, sql: str, binary: bool) -> Outcome:
        if self.dirty[side]:
            with self._admin() as admin:
                admin.execute(f"drop database if exists {side} with (force)".encode())
                admin.execute(f"create database {side} template base_{side}".encode())
            self.dirty[side] = False
        direct = Direct(self.server.dsn(side), MASKS, self.catalogue)
        try:
            planned = direct.plan(sql)
            if isinstance(planned, Masked):
                verbs = direct.analyzer.statement(sql).verbs
                if not verbs <= {"select", "explain", "set", "show", "copy"}:
                    self.dirty[side] = True
            return direct.run(sql, binary=binary)
        finally:
            direct.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with embedded() as server:
        yield Pair(server)


def _comparable(outcome: Outcome) -> tuple[Any, ...]:
    rows = [row for row in outcome.rows if not row.startswith(b"PGCOPY")]
    return (outcome.refusal, outcome.state, rows, outcome.tags)


def _leaks(pair: Pair, name: str, sql: str, binary: bool) -> list[str]:
    """What is wrong with a shape: the list is empty when it does not leak."""
    wrong = []
    one = pair.run("one", sql, binary)
    if one.refusal is not None:
        return []
    if name in UNSAFE:
        return [f"{name}: was let through"]
    literal = any(canary in sql for canary in CANARIES)     # a guess that the client wrote comes back as it came
    for canary in CANARIES:
        if not literal and any(trace in one.everything for trace in traces(canary)):
            wrong.append(f"{name}: {one.everything!r}")
    if b"ann@" in one.everything:
        wrong.append(f"{name}: the e-mail")
    if one.witnessed:
        wrong.append(f"{name}: a labelled column is in a RowDescription")
    two = pair.run("two", sql, binary)
    if _comparable(one) != _comparable(two):
        wrong.append(f"{name}: differs: {_comparable(one)} {_comparable(two)}")
    if not one.touches and one.texts != two.texts:
        wrong.append(f"{name}: texts differ: {one.texts} {two.texts}")
    return wrong


def test_no_shape_leaks_in_text(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """All known leak shapes and our own give no trace of a protected value, and the same for other values."""
    wrong: list[str] = []
    refused = 0
    shapes = _shapes()
    for name, sql in shapes:
        wrong += _leaks(pair, name, sql, binary=False)
        refused += pair.run("one", sql, binary=False).refusal is not None
    with capsys.disabled():
        print(f"\nleak shapes: {len(shapes)}, let through {len(shapes) - refused}, refused {refused}, leaks {len(wrong)}")
    assert wrong == []


def test_no_shape_leaks_in_binary(pair: Pair) -> None:
    """Binary results are masked by the same splices: the type stays, the value goes."""
    wrong: list[str] = []
    for name, sql in _shapes():
        if ";" not in sql:
            wrong += _leaks(pair, name, sql, binary=True)
    assert wrong == []


def test_masks_answer_what_they_can(pair: Pair) -> None:
    """Most reads are answered with masks rather than refused."""
    expected = {"SELECT ssn FROM t WHERE id=1": [b"xxxx"], "SELECT p.t.ssn AS y FROM p.t WHERE p.t.id=2": [b"xxxx"],
                "SELECT email FROM contacts": [b"axxx@example.com"], "SELECT n FROM t WHERE id=1": [b"0"],
                "SELECT q FROM vv WHERE k=1": [b"xxxx"], "COPY t TO STDOUT": [b"1\tann\txxxx\t0\n", b"2\tbob\txxxx\t0\n"]}
    for sql, rows in expected.items():
        pair.dirty["one"] = True
        assert pair.run("one", sql, binary=False).rows == rows, sql


def test_ordinary_clients_are_let_through(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """What psql, pg_dump, SQLAlchemy, asyncpg, pgbench and ORMs send is not refused on a masked database."""
    statements = json.loads((DATA / "benign.json").read_text())["statements"]
    with psycopg.connect(pair.server.dsn("base_one"), autocommit=True) as connection:
        connection.execute("create table if not exists public.pgbench_accounts(aid int)")
        for name in ("branches", "tellers", "history"):
            connection.execute(f"create table if not exists public.pgbench_{name}(bid int)".encode())
        catalogue = snapshot(connection, 2)
    direct = Direct(pair.server.dsn(), MASKS, catalogue, "public")
    refused = []
    for _, sql in statements:
        planned = direct.plan(sql)
        if isinstance(planned, Masked):
            direct.session.succeeded(direct.analyzer.statement(sql), planned)
        else:
            refused.append((sql, planned))
    direct.close()
    with capsys.disabled():
        print(f"\nbenign statements: {len(statements)}, over-refused {len(refused)}")
    assert [sql for sql, _ in refused] == ["CREATE INDEX CONCURRENTLY ON u (lower(note))"]     # p.lower(int) exists


def test_fingerprint_follows_ddl(pair: Pair) -> None:
    """Every kind of DDL on user objects changes the fingerprint, and a temporary table does not."""
    statements = [
        "create table p.f1(a int)", "alter table p.f1 add column b int", "alter table p.f1 rename column b to c",
        "create view p.f2 as select 1 as x", "create or replace view p.f2 as select 2 as x",
        "create function p.f3() returns int language sql as 'select 1'", "create schema f4", "drop table p.f1",
        "alter table p.u rename to u9", "create operator p.#### (leftarg=text, rightarg=text, function=p.f_op)",
        "create domain p.f5 as int", "create table p.f6() inherits (p.par)", "alter table p.f6 no inherit p.par",
    ]
    with psycopg.connect(pair.server.dsn(), autocommit=True) as admin:
        admin.execute("create database fingerprint template base_two")
    with psycopg.connect(pair.server.dsn("fingerprint"), autocommit=True) as connection:
        def stamp() -> str:
            row = connection.execute(Catalogue.FINGERPRINT).fetchone()
            assert row is not None
            return str(row[0])
        before = stamp()
        connection.execute("create temp table zz(a int)")
        assert stamp() == before
        for statement in statements:
            connection.execute(statement.encode())
            after = stamp()
            assert after != before, statement
            before = after
