"""Whatever arrives, the error is clear and on the right side, and the process stays alive."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lockgate.control.issuer import UnsafeDevelopmentIssuer
from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server, embedded
from tests.e2e.conftest import HEAD, PASSWORD


@pytest.fixture(autouse=True)
def still_alive(front: Gateway, agent: str) -> Iterator[None]:
    """After every test the gateway serves as before."""
    yield
    assert front.process.poll() is None
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def refused(dsn: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(dsn, connect_timeout=10)
    return str(caught.value)


def test_wrong_missing_and_expired_tokens(front: Gateway, tokens: Issuer, agent: str) -> None:
    """Each is refused at log-in, in words that help, without an echo of the token."""
    for bad in ("nonsense", "a.b.c", agent[:-4] + "AAAA", "x" * 9000):
        assert bad not in refused(front.dsn(bad, "plain"))
    signer = UnsafeDevelopmentIssuer(tokens.url, unsafe_development_only=True, state=tokens.folder,
                                     now=lambda: time.time() - 7200)
    late = signer.mint(subject="late", groups=["agents"], lifetime=3600)
    assert "expired" in refused(front.dsn(late, "plain"))
    with psycopg.connect(front.dsn(agent, "plain")):
        pass


def test_a_valid_token_without_a_rule_is_refused(front: Gateway, tokens: Issuer) -> None:
    """No allow, no connection; an unknown connection reads the same as a forbidden one would."""
    outsider = tokens.token("outsider", "somebody-else")
    message = refused(front.dsn(outsider, "plain"))
    assert "no policy allows this" in message
    assert "crm" not in refused(front.dsn(outsider, "no-such-connection"))


def test_the_token_expires_inside_a_session(front: Gateway, tokens: Issuer) -> None:
    """A running statement finishes; then the session ends with 57P05."""
    short = tokens.token("brief", "agents", lifetime="3")
    with psycopg.connect(front.dsn(short, "plain"), autocommit=True) as connection:
        assert connection.execute("SELECT pg_sleep(5), 'finished'").fetchone() == ("", "finished")
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT 1")
    assert caught.value.sqlstate in {"57P05", None}
    assert "expired" in str(caught.value).lower() or "terminat" in str(caught.value).lower()


def test_replication_and_function_call_are_refused(front: Gateway, agent: str) -> None:
    """Doors that no policy could look through stay shut."""
    refused(front.dsn(agent, "plain", replication="database"))
    refused(front.dsn(agent, "plain", replication="true"))


def startup(front: Gateway, token: str) -> socket.socket:
    """A raw session, logged in and ready."""
    raw = socket.create_connection(("127.0.0.1", front.port), timeout=20)
    body = b"user\0agent\0database\0plain\0\0"
    raw.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
    raw.recv(9)
    password = token.encode() + b"\0"
    raw.sendall(b"p" + struct.pack(">I", len(password) + 4) + password)
    data = b""
    while not data.endswith(b"Z\0\0\0\x05I"):
        piece = raw.recv(65536)
        assert piece, data
        data += piece
    return raw


def drain(raw: socket.socket) -> bytes:
    data = b""
    try:
        while piece := raw.recv(65536):
            data += piece
    except (ConnectionError, TimeoutError):
        pass
    return data


@pytest.mark.parametrize("kind", [bytes([code]) for code in b"BCDdEcfFHhPpQSXWRVZG\x00\xff"], ids=repr)
@pytest.mark.parametrize("length", [0, 3, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_hostile_lengths_on_every_message_type(front: Gateway, agent: str, kind: bytes, length: int) -> None:
    """A length that lies ends the session, not the process, and nothing is passed on."""
    with startup(front, agent) as raw:
        raw.settimeout(10)
        raw.sendall(kind + struct.pack(">I", length) + b"\0" * 64)
        raw.shutdown(socket.SHUT_WR)
        assert b"PANIC" not in drain(raw)


@pytest.mark.parametrize("round_", range(8))
def test_random_bytes_before_and_after_login(front: Gateway, agent: str, round_: int) -> None:
    """Noise on the port is answered with an error or a closed connection."""
    noise = secrets.token_bytes(2000 * (round_ + 1))
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as raw:
        raw.sendall(noise)
        raw.shutdown(socket.SHUT_WR)
        drain(raw)
    with startup(front, agent) as raw:
        raw.sendall(noise)
        raw.shutdown(socket.SHUT_WR)
        drain(raw)


def test_random_bytes_on_the_control_port(front: Gateway) -> None:
    """The control port takes noise as well."""
    with socket.create_connection(("127.0.0.1", front.control_port), timeout=10) as raw:
        raw.sendall(secrets.token_bytes(5000))
        raw.shutdown(socket.SHUT_WR)
        drain(raw)


def test_statements_that_cannot_be_read_are_refused(front: Gateway, agent: str) -> None:
    """NUL, broken UTF-8 and depth bombs never reach the backend; the session lives on."""
    bomb = "SELECT " + "(" * 20_000 + "1" + ")" * 20_000
    with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
        for statement in (bomb, "SELECT 1 +" * 30_000 + "1", "SELECT '" + "x" * 2_000_000 + "'"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
            assert connection.execute("SELECT 'alive'").fetchone() == ("alive",)
        result = connection.pgconn.exec_(b"SELECT '\xff\xfe'")
        assert result.status == psycopg.pq.ExecStatus.FATAL_ERROR


def test_an_oversized_startup_packet(front: Gateway) -> None:
    """More than 10,000 bytes before anybody is known is too much."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as raw:
        raw.sendall(struct.pack(">II", 20_000, 196608) + b"x" * 19_992)
        drain(raw)


def test_a_cancel_with_a_wrong_key_does_nothing(front: Gateway, agent: str) -> None:
    """Keys are the gateway's own; guessing one ends nothing and says nothing."""
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        with socket.create_connection(("127.0.0.1", front.port), timeout=10) as raw:
            raw.sendall(struct.pack(">IIII", 16, 80877102, 1, 2))
            assert drain(raw) == b""
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_backend_that_is_down_and_comes_back(tokens: Issuer, agent: str, tmp_path: Path) -> None:
    """Down at start, dying in the middle of a result: clear errors, and a process that serves again."""
    with embedded() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            admin.execute("CREATE DATABASE crm OWNER app")
            admin.execute("CREATE DATABASE plain OWNER app")
        with gateway(tmp_path, HEAD, env={"CRM_PASSWORD": PASSWORD}, backend=server.port,
                     issuer=tokens.url) as front:
            with contextlib.closing(psycopg.connect(front.dsn(agent, "plain"), autocommit=True)) as connection, \
                    psycopg.connect(server.dsn(), autocommit=True) as admin:
                connection.pgconn.send_query(b"SELECT n, repeat('x', 100) FROM generate_series(1, 100000000) n")
                connection.pgconn.flush()
                running = "FROM pg_stat_activity WHERE query LIKE '%100000000%' AND pid <> pg_backend_pid()"
                while admin.execute(f"SELECT count(*) {running} AND state = 'active'").fetchone() != (1,):
                    assert connection.pgconn.status == psycopg.pq.ConnStatus.OK
                admin.execute(f"SELECT pg_terminate_backend(pid) {running}")
                with pytest.raises(psycopg.OperationalError):
                    while connection.pgconn.is_busy() or connection.pgconn.get_result() is not None:
                        connection.pgconn.consume_input()
                    connection.execute("SELECT 1")
            with psycopg.connect(front.dsn(agent, "plain")) as again:
                assert again.execute("SELECT 1").fetchone() == (1,)
            os.kill(server.pid, 3)      # SIGQUIT: PostgreSQL's immediate shutdown
            while True:
                try:
                    socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
                except (ConnectionResetError, TimeoutError):     # it goes down, and accepts nobody meanwhile
                    continue
                except ConnectionRefusedError:
                    break
            message = refused(front.dsn(agent, "plain"))
            assert str(server.port) not in message
            assert "plain" in message
            assert front.process.poll() is None


def test_a_client_that_leaves_in_the_middle(backend: Server, front: Gateway, agent: str) -> None:
    """The backend's session ends as well; nothing runs on for nobody."""
    connection = psycopg.connect(front.dsn(agent, "plain"), autocommit=True)
    connection.pgconn.send_query(b"SELECT n, 'left alone' FROM generate_series(1, 100000000) n")
    connection.pgconn.flush()
    connection.pgconn.consume_input()
    os.close(os.dup(connection.pgconn.socket))
    connection.close()
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%left alone%' AND pid <> pg_backend_pid()"
        while admin.execute(query).fetchone() != (0,):
            admin.execute("SELECT pg_sleep(0.05)")


def test_a_slow_client_bounds_memory(front: Gateway, agent: str) -> None:
    """A result of 2 GB that nobody reads stays in the backend."""
    def resident() -> int:
        return int(Path(f"/proc/{front.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    with startup(front, agent) as raw:
        query = b"SELECT repeat('x', 1000) FROM generate_series(1, 2000000)\0"
        raw.sendall(b"Q" + struct.pack(">I", len(query) + 4) + query)
        raw.recv(1000)
        peaks = [resident() for _ in range(2000)]
    assert max(peaks) - before < 32 * 1024 * 1024
