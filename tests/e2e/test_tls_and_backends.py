"""TLS on both sides, every way that a backend authenticates, and the three ways to name a connection."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server, debian, debian_bin

PASSWORD = "tls-backend-canary-77"

HBA = """\
hostssl scram all 127.0.0.1/32 scram-sha-256
hostssl md5   all 127.0.0.1/32 md5
hostssl clear all 127.0.0.1/32 password
hostssl trust all 127.0.0.1/32 trust
host    all   postgres 127.0.0.1/32 scram-sha-256
hostnossl scram all 127.0.0.1/32 reject
hostnossl plain all 127.0.0.1/32 scram-sha-256
hostnossl clear all 127.0.0.1/32 password
"""

CONFIG = """\
state: {folder}/state
listeners:
  - {{name: tls, protocol: postgres, address: "127.0.0.1:{port}",
     tls: {{certificate: {cert}, key: {key}}}}}
  - {{name: own-port, protocol: postgres, address: "127.0.0.1:{own}", connection: scram,
     tls: {{certificate: {cert}, key: {key}}}}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: async, origin: test.lockgate.example/tls}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, algorithms: [ES256], unsafe_http: true}}
connections:
"""

CONNECTION = """\
  - name: {name}
    protocol: postgres
    address: "{host}:{backend}"
    credential: {{{{user: {user}, password: {{{{env: CRM_PASSWORD}}}}}}}}
    server_names: ["{name}.db.example"]
    tls: {{{{mode: {mode}{ca}}}}}
    options: {{{{database: {database}}}}}
"""


def connection(backend: int, name: str, mode: str, *, user: str = "app", ca: Path | None = None,
               host: str = "127.0.0.1", database: str | None = None) -> str:
    return CONNECTION.format(name=name, host=host, backend=backend, user=user, mode=mode,
                             database=database or name, ca=f", ca: {ca}" if ca else "").format()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1", "localhost", "scram.db.example",
                            "gateway.example")


@pytest.fixture(scope="module")
def tls_backend(certificate: Certificate) -> Iterator[Server]:
    if debian_bin() is None:
        pytest.skip("Debian's postgresql is not installed: run scripts/install-test-packages")
    with debian(certificate.certificate, certificate.key, hba=HBA) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            admin.execute(f"SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD '{PASSWORD}'")
            for name in ("scram", "md5", "clear", "trust", "plain"):
                admin.execute(f"CREATE DATABASE {name}")
        yield server


@pytest.fixture(scope="module")
def front(tls_backend: Server, certificate: Certificate, tokens: Issuer,
          tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    port = tls_backend.port
    other = make_certificate(tmp_path_factory.mktemp("other"), "127.0.0.1").authority
    connections = "".join([
        connection(port, "scram", "verify-full", ca=certificate.authority),
        connection(port, "scram-ca", "verify-ca", ca=certificate.authority, database="scram"),
        connection(port, "scram-require", "require", database="scram"),
        connection(port, "md5", "require", user="old"),
        connection(port, "clear", "verify-full", ca=certificate.authority),
        connection(port, "trust", "require"),
        connection(port, "plain", "disable"),
        connection(port, "wrong-ca", "verify-full", ca=other, database="scram"),
        connection(port, "wrong-name", "verify-full", ca=certificate.authority, host="127.0.0.2",
                   database="scram"),
        connection(port, "clear-no-tls", "disable", database="clear"),
        connection(port, "no-such-database", "require"),
    ]).replace("{", "{{").replace("}", "}}")
    config = CONFIG + connections + "policies:\n  - {{name: all, who: {{groups: [agents]}}, allow: connect}}\n"
    with gateway(tmp_path_factory.mktemp("tls"), config, env={"CRM_PASSWORD": PASSWORD}, more_ports=["own"],
                 ready="/healthz", issuer=tokens.url, cert=certificate.certificate, key=certificate.key) as running:
        yield running


def connect(front: Gateway, token: str, database: str, **more: object) -> psycopg.Connection[tuple[object, ...]]:
    words: dict[str, object] = {"host": "127.0.0.1", "port": front.port, "user": "agent", "password": token,
                                "dbname": database, "sslmode": "require", **more}
    return psycopg.connect(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["scram", "scram-ca", "scram-require", "md5", "clear", "trust", "plain"])
def test_every_way_that_a_backend_authenticates(front: Gateway, agent: str, name: str) -> None:
    """SCRAM(-PLUS), md5, cleartext over TLS, trust and plain SCRAM, with each TLS mode."""
    with connect(front, agent, name) as open_connection:
        assert open_connection.execute("SELECT 1").fetchone() == (1,)


def test_scram_plus_is_used_over_tls(tls_backend: Server, front: Gateway, agent: str) -> None:
    """Channel binding: the backend says how the gateway authenticated."""
    with connect(front, agent, "scram") as open_connection:
        row = open_connection.execute(
            "SELECT s.ssl FROM pg_stat_ssl s WHERE pid = pg_backend_pid()").fetchone()
    assert row == (True,)


@pytest.mark.parametrize("name", ["wrong-ca", "wrong-name", "clear-no-tls", "no-such-database"])
def test_a_backend_that_cannot_be_trusted_is_not_used(front: Gateway, agent: str, name: str) -> None:
    """Wrong authority, wrong name, a password asked for in the clear: an error without a secret."""
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(front, agent, name)
    assert PASSWORD not in str(caught.value)
    assert "password" not in str(caught.value).lower() or "supplied" not in str(caught.value)


@pytest.mark.parametrize("mode", ["verify-full", "require"])
def test_clients_may_verify_the_gateway(front: Gateway, agent: str, certificate: Certificate, mode: str) -> None:
    """The listener's certificate satisfies libpq's verify-full."""
    with connect(front, agent, "scram", sslmode=mode, sslrootcert=str(certificate.authority)) as open_connection:
        assert open_connection.execute("SELECT 1").fetchone() == (1,)


def test_direct_tls(front: Gateway, agent: str) -> None:
    """PostgreSQL 17's direct TLS: no SSLRequest, ALPN `postgresql`."""
    if psycopg.pq.version() < 170000:
        pytest.skip("this libpq knows no direct TLS")
    with connect(front, agent, "scram", sslnegotiation="direct") as open_connection:
        assert open_connection.execute("SELECT 1").fetchone() == (1,)


def test_routing_by_own_port(front: Gateway, agent: str) -> None:
    """A listener that belongs to one connection needs no database name to find it."""
    with connect(front, agent, "whatever", port=front.ports["own"]) as open_connection:
        assert open_connection.execute("SELECT current_database()").fetchone() == ("scram",)


def test_routing_by_server_name(front: Gateway, agent: str) -> None:
    """The TLS server name names the connection, whatever the database is called."""
    with connect(front, agent, "whatever", host="scram.db.example", hostaddr="127.0.0.1") as open_connection:
        assert open_connection.execute("SELECT current_database()").fetchone() == ("scram",)


def test_no_token_in_the_clear(front: Gateway, agent: str) -> None:
    """Without TLS no password is even asked for."""
    with pytest.raises(psycopg.OperationalError, match=r"(?i)tls|ssl"):
        connect(front, agent, "scram", sslmode="disable")


def test_nothing_may_follow_the_ssl_request_unencrypted(front: Gateway) -> None:
    """CVE-2021-23214: bytes sent along with SSLRequest are not taken for encrypted ones."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as raw:
        startup = b"user\0x\0database\0scram\0\0"
        raw.sendall(struct.pack(">II", 8, 80877103) + struct.pack(">II", len(startup) + 8, 196608) + startup)
        answer = b""
        while piece := raw.recv(4096):
            answer += piece
        assert b"R\0\0\0" not in answer


def test_gssenc_then_ssl(front: Gateway) -> None:
    """GSSENCRequest is answered N (an error would make drivers reconnect), then SSLRequest S."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as raw:
        raw.sendall(struct.pack(">II", 8, 80877104))
        assert raw.recv(1) == b"N"
        raw.sendall(struct.pack(">II", 8, 80877103))
        assert raw.recv(1) == b"S"
