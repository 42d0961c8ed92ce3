"""Sessions against a real server: how they end, what they are called, and what they know after their own DDL."""

from __future__ import annotations

import socket
import struct
import time

import psycopg
import pytest

from lockgate.kernel.frames import frame, split_frames
from testbed.gateway import Gateway
from testbed.postgres import Server


def running(backend: Server, words: str) -> int:
    """Backends that run a statement with these words now."""
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
                            " AND pid <> pg_backend_pid()", (f"%{words}%",)).fetchone()
    assert row is not None
    return int(row[0])


def eventually(backend: Server, words: str, wanted: int) -> None:
    deadline = time.monotonic() + 8
    while running(backend, words) != wanted:
        assert time.monotonic() < deadline, f"{words} did not come to {wanted}"


def test_a_statement_does_not_run_on_for_nobody(front: Gateway, agent: str, backend: Server) -> None:
    """A client that is cut off in the middle of a long statement has it cancelled."""
    connection = psycopg.connect(front.dsn(agent, "plain"), autocommit=True)
    connection.pgconn.send_query(b"SELECT pg_sleep(600), 'for nobody'")
    eventually(backend, "for nobody", 1)
    with socket.socket(fileno=connection.pgconn.socket) as wire:
        wire.shutdown(socket.SHUT_RDWR)
        eventually(backend, "for nobody", 0)
        wire.detach()
    connection.close()


def test_the_backend_keeps_the_sessions_tag(front: Gateway, agent: str, backend: Server) -> None:
    """pg_stat_activity shows the tag whatever the client calls itself; the client sees its own name."""
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True, application_name="first") as connection:
        def seen() -> str:
            row = connection.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
            assert row is not None
            return str(row[0])

        tag = seen()
        assert tag.startswith("lockgate:")
        assert connection.info.parameter_status("application_name") == "first"
        connection.execute("SET application_name = 'second'")
        assert seen() == f"{tag} second"
        assert connection.info.parameter_status("application_name") == "second"
        for restoring in ("RESET application_name", "SET application_name = 'x'", "RESET ALL", "SET application_name = 'y'",
                          "DISCARD ALL"):
            connection.execute(restoring)
        assert seen() == tag
        assert connection.info.parameter_status("application_name") == "first"
        with connection.transaction():
            connection.execute("SET LOCAL application_name = 'third'")
            assert seen() == f"{tag} third"
        assert seen() == tag
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("SELECT set_config('application_name', 'x', false)")


def test_own_definitions_can_be_used_by_their_name(front: Gateway, agent: str, backend: Server) -> None:
    """After CREATE VIEW and CREATE TABLE … AS, an unqualified name is no longer ambiguous, and still masked."""
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("CREATE TABLE own_people (id int, ssn text)")
        connection.execute("INSERT INTO own_people VALUES (1, '219-09-9999')")
        row = connection.execute("SELECT id, ssn FROM own_people").fetchone()
        assert row is not None
        assert row[0] == 1
        assert "219-09-9999" not in str(row)
    with psycopg.connect(backend.dsn("crm"), autocommit=True) as admin:
        admin.execute("DROP TABLE own_people")


@pytest.mark.parametrize("options", [
    "", "CSV", "(FORMAT csv, QUOTE '''', HEADER)", "(FORMAT csv, FORCE_QUOTE *, DELIMITER ';')",
    "(NULL 'none', DELIMITER '|')", "WITH CSV HEADER QUOTE AS '~'",
])
def test_copy_hides_content_whatever_its_options(front: Gateway, agent: str, options: str) -> None:
    """A card number in a COPY is hidden in every format, and what surrounds it stays."""
    query = ("SELECT 1, 'it''s \"4111111111111111\", said ~ she' || chr(10) || 'next; | line', NULL, 'kept'")
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY ({query}) TO STDOUT {options}") as copy:
            found = b"".join(bytes(piece) for piece in copy)
        assert b"411111111111" not in found
        assert b"kept" in found
        assert b"line" in found


@pytest.mark.parametrize("source", [
    "(SELECT 4111111111111111)", "(SELECT 4111111111111111::numeric)", "(SELECT ARRAY[4111111111111111])",
    "(SELECT int8range(4111111111111111, NULL))", "(SELECT 4111111111111111::text::xid8)", "plain",
])
def test_a_binary_copy_is_refused_where_numbers_are_looked_for(front: Gateway, agent: str, source: str) -> None:
    """It names no types, and eight bytes may be a card's number or a moment; text, csv and the session go on."""
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="FORMAT text or csv"), \
                cursor.copy(f"COPY {source} TO STDOUT (FORMAT binary)") as copy:
            b"".join(bytes(piece) for piece in copy)
        with cursor.copy(f"COPY {source} TO STDOUT") as copy:
            assert b"411111111111" not in b"".join(bytes(piece) for piece in copy)


def test_a_token_as_a_sasl_response(front: Gateway, agent: str) -> None:
    """OAUTHBEARER over the wire: one response with the token opens the session."""
    words = {"user": "agent", "database": "plain", "options": "-c lockgate.auth=oauthbearer"}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in words.items()) + b"\0"
    response = f"n,,\x01auth=Bearer {agent}\x01\x01".encode()
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as wire:
        wire.sendall(struct.pack("!II", len(body) + 8, 196_608) + body)
        assert wire.recv(100) == frame(ord("R"), struct.pack("!I", 10) + b"OAUTHBEARER\0\0")
        wire.sendall(frame(ord("p"), b"OAUTHBEARER\0" + struct.pack("!i", len(response)) + response))
        data = b""
        while not data.endswith(b"Z\0\0\0\5I"):
            piece = wire.recv(65_536)
            assert piece, data
            data += piece
        assert chr(split_frames(data, 0, 1 << 20)[0][0][0]) == "R"
        wire.sendall(frame(ord("X"), b""))
