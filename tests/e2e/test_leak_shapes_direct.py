"""No shape leaks: analysis and rewriting against a real server, without the gateway around them.

What comes back is searched for every form of the protected values, withheld texts of errors and notices
included. That it is the same for other values is held by `tests/noninterference`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lockgate.analysis.sql import Catalogue, Masked
from testbed.noninterference.databases import Databases, compared, snapshot
from testbed.noninterference.direct import Direct
from testbed.noninterference.harness import Side
from testbed.noninterference.models import CANARIES, SHAPES
from testbed.noninterference.statements import Statement, shapes, unsafe_shapes

DATA = Path(__file__).parents[1] / "data"


def traces(canary: str) -> set[bytes]:
    """Forms in which a value could leave: raw, reversed, encoded, hashed, in halves, as a number."""
    raw = canary.encode()
    digits = canary.replace("-", "")
    found = {raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw), base64.b64encode(raw)[:8], raw[:6],
             raw[-7:], hashlib.md5(raw).hexdigest().encode(), hashlib.sha256(raw).hexdigest().encode(),
             hashlib.sha256(raw).digest(), hashlib.md5(raw).digest(), digits.encode(), digits[::-1].encode(),
             int(digits).to_bytes(8, "big"), canary.translate(str.maketrans("0123456789", "abcdefghij")).encode()}
    return {trace for trace in found if len(trace) >= 5}


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    with compared(SHAPES) as (found,):
        yield found


def connect(databases: Databases, dsn: str = "", catalogue: Catalogue | None = None, path: str = SHAPES.path) -> Direct:
    return Direct(dsn or databases.dsn("one"), SHAPES.masks, catalogue or databases.catalogue, path)


@pytest.fixture
def side(databases: Databases) -> Iterator[Side]:
    """The database that holds the canaries."""
    found = Side("one", databases, lambda _: connect(databases))
    yield found
    found.restore()


def _leaks(side: Side, statement: Statement) -> list[str]:
    """What is wrong with a shape: the list is empty when it does not leak."""
    name, wrong = statement.name, []
    found = side.observe(statement)
    literal = any(canary in statement.sql for canary in CANARIES)   # a guess that the client wrote comes back as it came
    for canary in CANARIES:
        if not literal and any(trace in found.everything for trace in traces(canary)):
            wrong.append(f"{name}: {found.everything!r}")
    if b"ann@" in found.everything:
        wrong.append(f"{name}: the e-mail")
    if found.witnessed:
        wrong.append(f"{name}: a labelled column is in a RowDescription")
    return wrong


@pytest.mark.parametrize("is_binary", [False, True], ids=["text", "binary"])
def test_no_shape_leaks(side: Side, is_binary: bool) -> None:
    """All known leak shapes and our own give no trace of a protected value, in text and in binary results."""
    statements = [one.binary() for one in shapes() if one.is_single] if is_binary else shapes()
    assert [wrong for statement in statements for wrong in _leaks(side, statement)] == []


def test_unsafe_shapes_are_refused(databases: Databases) -> None:
    """What reaches files, programs or libraries of the server is never let through."""
    direct = connect(databases)
    assert [one.name for one in unsafe_shapes() if isinstance(direct.plan(one.sql), Masked)] == []
    direct.close()


def test_masks_answer_what_they_can(side: Side) -> None:
    """Most reads are answered with masks rather than refused."""
    expected = {"SELECT ssn FROM t WHERE id=1": [b"xxxx"], "SELECT p.t.ssn AS y FROM p.t WHERE p.t.id=2": [b"xxxx"],
                "SELECT email FROM contacts": [b"axxx@example.com"], "SELECT n FROM t WHERE id=1": [b"0"],
                "SELECT q FROM vv WHERE k=1": [b"xxxx"], "COPY t TO STDOUT": [b"1\tann\txxxx\t0\n", b"2\tbob\txxxx\t0\n"]}
    for text, rows in expected.items():
        assert side.observe(Statement(text)).rows == rows, text


def test_ordinary_clients_are_let_through(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """What psql, pg_dump, SQLAlchemy, asyncpg, pgbench and ORMs send is not refused on a masked database."""
    statements = json.loads((DATA / "benign.json").read_text())["statements"]
    dsn = databases.copy("benign")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table public.pgbench_accounts(aid int)")
        for name in ("branches", "tellers", "history"):
            connection.execute(f"create table public.pgbench_{name}(bid int)".encode())
        catalogue = snapshot(connection, 2)
    direct = connect(databases, dsn, catalogue, "public")
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
    assert [sql for sql, _ in refused] == [
        "select mood from p.contacts", "CREATE INDEX CONCURRENTLY ON u (lower(note))"]  # there is none; p.lower(int) exists


def test_fingerprint_follows_ddl(databases: Databases) -> None:
    """Every kind of DDL on user objects changes the fingerprint, and a temporary table does not."""
    statements = [
        "create table p.f1(a int)", "alter table p.f1 add column b int", "alter table p.f1 rename column b to c",
        "create view p.f2 as select 1 as x", "create or replace view p.f2 as select 2 as x",
        "create function p.f3() returns int language sql as 'select 1'", "create schema f4", "drop table p.f1",
        "alter table p.u rename to u9", "create operator p.#### (leftarg=text, rightarg=text, function=p.f_op)",
        "create domain p.f5 as int", "create table p.f6() inherits (p.par)", "alter table p.f6 no inherit p.par",
    ]
    with psycopg.connect(databases.copy("fingerprint"), autocommit=True) as connection:
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
