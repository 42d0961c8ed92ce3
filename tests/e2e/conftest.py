"""One PostgreSQL, one issuer and one gateway of each kind for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway, issuer
from testbed.postgres import Server, embedded
from testbed.webapp import WebApp, webapp

PASSWORD = "3f9c-backend-canary-e8"

TRUST = """\
state: {folder}/state
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: full, origin: test.lockgate.example/log}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, agent_claim: agent, model_claim: model, leeway: 0s,
       algorithms: [ES256], unsafe_http: true}}
"""
"""What every gateway's file begins with."""

HEAD = TRUST + """\
listeners:
  - {{name: agents, protocol: postgres, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
connections:
  - name: crm
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: app, password: {{env: CRM_PASSWORD}}}}
    tls: {{mode: disable}}
  - name: plain
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: app, password: {{env: CRM_PASSWORD}}}}
    tls: {{mode: disable}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
"""

POLICIES = """\
  - name: hide-personal-data
    connections: [crm]
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{columns: ["customers.email"], with: partial}}
      - {{detect: [credit_card, jwt, aws_key, github_token], with: partial}}
  - name: deletes-need-a-person
    connections: [crm]
    when: op.verb == "delete"
    review: {{by: [dba], expires: 5m}}
  - name: truncate-by-ticket
    connections: [crm]
    when: op.verb == "truncate"
    review: {{by: [dba], expires: 5m, mode: ticket}}
  - name: never-drop
    when: op.verb == "drop"
    deny: destructive DDL is not allowed through the gateway
"""

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text, balance numeric, born date);
INSERT INTO customers VALUES (1, 'ann', 'ann@example.com', '219-09-9999', 12.50, '1980-02-03'),
                             (2, 'bob', 'bob@example.com', '219-09-9998', -3, '1999-12-31');
CREATE TABLE notes (id int PRIMARY KEY, body text);
INSERT INTO notes VALUES (1, 'card 4111 1111 1111 1111 ok'), (2, 'nothing here');
CREATE TABLE plain (id int PRIMARY KEY, word text, amount bigint, price numeric, at timestamptz, raw bytea,
                    tags text[], doc jsonb, ok bool, real float8, id2 uuid, ip inet, span int4range);
INSERT INTO plain SELECT n, 'word ' || n, n * 1000, n / 7.0, timestamptz '2026-01-01' + n * interval '1 hour',
  decode(md5(n::text), 'hex'), ARRAY['a', 'b' || n], jsonb_build_object('n', n), n % 2 = 0, n / 3.0,
  md5(n::text)::uuid, '10.0.0.1', int4range(n, n + 5) FROM generate_series(1, 500) n;
"""


@pytest.fixture(scope="session")
def backend() -> Iterator[Server]:
    """PostgreSQL 18 with databases `crm` and `plain`, owned by the role `app`, and `template_plain`, to which nobody connects
    so that it can be copied at any time."""
    with embedded() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            admin.execute("CREATE DATABASE crm OWNER app")
            admin.execute("CREATE DATABASE plain OWNER app")
        everywhere(server, SCHEMA)
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE template_plain TEMPLATE plain OWNER app")
        yield server


def everywhere(server: Server, text: str) -> None:
    """Statements in `crm` and in `plain`, as their owner."""
    for database in ("crm", "plain"):
        with psycopg.connect(server.dsn(database), autocommit=True) as admin:
            admin.execute("SET ROLE app")
            admin.execute(text)


@contextmanager
def own_database(server: Server, name: str, schema: str, template: str = "template1") -> Iterator[str]:
    """A database with tables of its own, owned by `app`, dropped at the end: a process may run a file's tests at two times, with
    another file's between. Yields its connection string."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER app")
    with psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute("SET ROLE app")
        admin.execute(schema)
    yield server.dsn(name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """A development issuer."""
    with issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture(scope="session")
def front(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway with masks, reviews and denials on `crm`, and none but the denial on `plain`."""
    folder: Path = tmp_path_factory.mktemp("front")
    with gateway(folder, HEAD + POLICIES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The FastAPI application, which is its own token server too; its records are of one file's tests alone."""
    with webapp(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="session")
def agent(tokens: Issuer) -> str:
    """A token of an agent that may connect."""
    return tokens.token("agent-1", "agents", agent="analyst", model="test-model")


@pytest.fixture(scope="session")
def dba(tokens: Issuer) -> str:
    """A token of a reviewer."""
    return tokens.token("dora", "dba")
