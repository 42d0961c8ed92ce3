"""Through the gateway, nothing that depends on a masked column reaches a client."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database

CORPUS = json.loads((Path(__file__).parents[1] / "data" / "leak-shapes.json").read_text())
CANARIES = ("219-09-9999", "219-09-9998")


def encodings(canary: str) -> set[bytes]:
    """The forms in which a value may come out and still be the value."""
    raw = canary.encode()
    forms = {raw, raw[::-1], base64.b64encode(raw), raw.hex().encode(), hashlib.md5(raw).hexdigest().encode(),
             raw.translate(bytes.maketrans(b"0123456789", b"abcdefghij")), raw[:6]}
    return {form.lower() for form in forms if len(form) >= 6}


NEEDLES = set().union(*(encodings(canary) for canary in CANARIES))


class Listener:
    """Collects whatever a connection delivers, by any message."""

    def __init__(self, connection: psycopg.Connection[object]) -> None:
        self.seen: list[bytes] = []
        connection.add_notice_handler(lambda diagnostic: self.note(
            diagnostic.message_primary, diagnostic.message_detail, diagnostic.context, diagnostic.message_hint))
        connection.add_notify_handler(lambda notification: self.note(notification.payload))

    def note(self, *parts: object) -> None:
        self.seen += [part if isinstance(part, bytes) else str(part).encode() for part in parts if part is not None]

    def leaks(self) -> list[bytes]:
        text = b"\n".join(self.seen).lower()
        found = [needle for needle in NEEDLES if needle in text]
        digits = b",".join(str(byte).encode() for byte in CANARIES[0].encode())
        if digits in text.replace(b"\n", b","):
            found.append(b"ascii codes")
        return found


def deliver(dsn: str, statement: str, *, binary: bool, extended: bool) -> Listener:
    """Run a shape and collect rows, COPY data, errors, notices and notifications."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        listener = Listener(connection)
        connection.execute("SET search_path = p")
        parts = [part.strip() for part in statement.split(";") if part.strip()] if extended and "$$" not in statement \
            else [statement]
        for part in parts:
            try:
                if part.upper().startswith("COPY"):
                    with connection.cursor().copy(part.encode()) as copy:
                        for block in copy:
                            listener.note(bytes(block))
                    continue
                if extended:
                    results = [connection.pgconn.exec_params(part.encode(), [], result_format=int(binary))]
                else:
                    results = [connection.pgconn.exec_(part.encode())]
                for result in results:
                    for field in psycopg.pq.DiagnosticField:
                        listener.note(result.error_field(field))
                    listener.note(result.command_status)
                    for row in range(result.ntuples):
                        listener.note(*(result.get_value(row, column) for column in range(result.nfields)))
                    listener.note(*(result.fname(column) for column in range(result.nfields)))
            except psycopg.Error as error:
                listener.note(str(error), error.diag.message_detail, error.diag.context)
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            listener.note(str(error))
        return listener


@pytest.fixture(scope="module")
def leaky(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway before a database with the corpus' own schema."""
    config = HEAD.replace("name: crm", "name: leaks", 1) + (
        '  - {{name: hide, connections: [leaks], mask: [{{columns: ["*.ssn"], with: redact}}]}}\n')
    with own_database(backend, "leaks", CORPUS["setup"]), \
            gateway(tmp_path_factory.mktemp("leaks"), config, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


WAYS = [(False, False), (False, True), (True, True)]


@pytest.mark.parametrize(("binary", "extended"), WAYS, ids=["simple-text", "extended-text", "extended-binary"])
@pytest.mark.parametrize("shape", CORPUS["shapes"], ids=lambda shape: shape["name"])
def test_no_shape_leaks(leaky: Gateway, agent: str, shape: dict[str, str], *, binary: bool, extended: bool) -> None:
    """Not one of the corpus' shapes delivers the value, raw or encoded, by any message."""
    listener = deliver(leaky.dsn(agent, "leaks"), shape["sql"], binary=binary, extended=extended)
    assert listener.leaks() == []


@pytest.mark.parametrize("name", ["plain", "star", "error cast", "COPY query"])
def test_the_search_for_leaks_can_fail(backend: Server, leaky: Gateway, name: str) -> None:
    """The same search finds the value on a direct connection, so an empty result means something."""
    assert leaky.port
    shape = next(shape for shape in CORPUS["shapes"] if shape["name"] == name)
    listener = deliver(backend.dsn("leaks"), shape["sql"], binary=False, extended=False)
    assert listener.leaks()


def test_masks_keep_shape_and_type(front: Gateway, agent: str) -> None:
    """A masked column keeps its name and type; other columns are untouched."""
    with psycopg.connect(front.dsn(agent)) as connection:
        cursor = connection.execute("SELECT id, name, email, ssn FROM customers ORDER BY id")
        assert [column.name for column in cursor.description or ()] == ["id", "name", "email", "ssn"]
        rows = cursor.fetchall()
    assert rows[0][:2] == (1, "ann")
    assert rows[0][2].endswith("@example.com")
    assert "ann@" not in rows[0][2]
    assert "219" not in rows[0][3]


@pytest.mark.parametrize("binary", [False, True])
def test_detectors_hide_content_in_free_text(front: Gateway, agent: str, *, binary: bool) -> None:
    """A card number inside a note is hidden in text and binary results, and in COPY."""
    with psycopg.connect(front.dsn(agent)) as connection:
        rows = connection.execute("SELECT body FROM notes ORDER BY id", binary=binary).fetchall()
        with connection.cursor().copy("COPY (SELECT body FROM notes) TO STDOUT") as copy:
            copied = b"".join(map(bytes, copy))
    for text in (rows[0][0], copied.decode()):
        assert "4111 1111" not in text
        assert "card" in text
    assert rows[1] == ("nothing here",)


@pytest.fixture
def made(backend: Server) -> Iterator[None]:
    """Types made at run time, of which a result says no more than a number."""
    with psycopg.connect(backend.dsn("crm"), autocommit=True) as admin:
        admin.execute("CREATE TYPE comp AS (word text, n int8); CREATE DOMAIN cardn AS int8; CREATE DOMAIN cardm AS numeric;"
                      " CREATE TYPE span AS RANGE (subtype = int8)")
        yield
        admin.execute("DROP TYPE comp, cardn, cardm, span")


@pytest.mark.usefixtures("made")
def test_numbers_are_hidden_in_every_binary_type(front: Gateway, agent: str) -> None:
    """In arrays, rows, ranges, domains and xid8, of the server's types and of those made at run time."""
    card = 4111111111111111
    raw = (card.to_bytes(8, "big"), bytes.fromhex("100f045704570457"))
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        for value in (
            "ARRAY[ROW('x', {0})::comp]", "ARRAY[{0}::cardn]", "ROW({0}::cardn)", "ARRAY[{0}::cardm]", "ROW({0}::cardm)",
            "ARRAY[int8multirange(int8range({0}, NULL))]", "ARRAY[nummultirange(numrange({0}, NULL))]", "'{0}'::xid8",
            "ROW('{0}'::xid8)", "ARRAY['{0}'::xid8]", "'[{0},)'::span", "ARRAY['[{0},)'::span]",
            "'{{[{0},)}}'::span_multirange", "ARRAY['{{[{0},)}}'::span_multirange]", "ROW(ROW('x', {0})::comp)", "ARRAY[ARRAY[{0}]]", "ROW(ARRAY[{0}::cardn])",
        ):
            cursor = connection.cursor(binary=True)
            cursor.execute(f"SELECT 1, {value.format(card)}".encode())
            assert cursor.pgresult is not None
            assert cursor.pgresult.get_value(0, 0) == b"\0\0\0\1", value
            assert not any(one in (cursor.pgresult.get_value(0, 1) or b"") for one in raw), value
        deep = "ROW(" * 300 + "1" + ")" * 300
        cursor = connection.cursor(binary=True)
        cursor.execute(f"SELECT {deep}".encode())
        assert cursor.pgresult is not None
        assert cursor.pgresult.get_value(0, 0) is None
        assert connection.execute("SELECT ARRAY['a'::name], ROW(1.5::float8, now())", binary=True).fetchone() is not None


@pytest.fixture
def swept(backend: Server) -> Iterator[None]:
    """Other tests count the customers: what a test adds goes again, whatever the order."""
    yield
    with psycopg.connect(backend.dsn("crm"), autocommit=True) as admin:
        admin.execute("DELETE FROM customers WHERE id >= 50")


@pytest.mark.usefixtures("swept")
def test_writes_to_a_masked_table_work_and_do_not_echo(front: Gateway, agent: str) -> None:
    """Ordinary DML goes through; errors of such statements do not quote values."""
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("INSERT INTO customers VALUES (50, 'eve', 'eve@example.com', '333-22-4444')"
                           " ON CONFLICT DO NOTHING")
        changed = connection.execute("UPDATE customers SET name = %s WHERE id = %s RETURNING id", ("eva", 50))
        assert changed.fetchone() == (50,)
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            connection.execute("INSERT INTO customers VALUES (50, 'x', 'x', '987-65-4320')")
        assert "987" not in str(caught.value)
        assert caught.value.diag.message_detail is None
        changed = connection.execute("UPDATE customers SET name = name WHERE id = 1 RETURNING ssn, customers.email")
        assert changed.fetchone() == ("xxxx", "axxx@example.com")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("UPDATE customers SET name = ssn WHERE id = 1"))


def test_new_objects_do_not_carry_values_out(front: Gateway, agent: str) -> None:
    """CTAS, temporary tables and views made through the gateway hold masks, not values."""
    with psycopg.connect(front.dsn(agent)) as connection:
        connection.execute("CREATE TEMP TABLE copy_of AS SELECT id, ssn AS other FROM customers")
        assert all("219" not in row[0] for row in connection.execute("SELECT other FROM copy_of").fetchall())
