"""What the demo runs on: a PostgreSQL, a development issuer and a gateway, each its own process.

Everything lives in one temporary folder and ends with the `with` block. The gateway is started
exactly as a user starts it (`lockgate serve -c lockgate.yaml`).
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from testbed.gateway import Gateway, Issuer, gateway, issuer, run
from testbed.postgres import Server, embedded

SEED = """
CREATE TABLE customers (
    id int PRIMARY KEY, name text NOT NULL, email text NOT NULL, ssn text NOT NULL, city text);
CREATE TABLE tickets (
    id int PRIMARY KEY, customer_id int REFERENCES customers, opened date, status text, note text);
INSERT INTO customers VALUES
    (1, 'Ann Meyer',   'ann.meyer@example.com',   '219-09-9999', 'Bremen'),
    (2, 'Bob Olsen',   'bob.olsen@example.com',   '457-55-5462', 'Bergen'),
    (3, 'Carla Souza', 'carla.souza@example.com', '078-05-1120', 'Belém');
INSERT INTO tickets VALUES
    (10, 1, '2024-02-01', 'closed', 'refund done'),
    (11, 2, '2024-03-12', 'closed', 'paid with 4111 1111 1111 1111, please check'),
    (12, 3, '2026-11-02', 'open',   'cannot log in');
"""

CONFIG = """\
state: {folder}/state
listeners:
  - {{name: agents, protocol: postgres, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: full, origin: demo.lockgate.example/log}}
identity:
  providers:
    - {{name: demo, issuer: "{issuer}", audience: lockgate,
       agent_claim: agent, model_claim: model, algorithms: [ES256], unsafe_http: true}}
connections:
  - name: crm
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: crm_app, password: {{env: CRM_PASSWORD}}}}
    tls: {{mode: disable}}
policies:
  - name: analysts-reach-crm
    who: {{groups: [autogen-analysts]}}
    connections: [crm]
    allow: connect
  - name: hide-personal-data
    connections: [crm]
    mask:
      - {{columns: ["customers.ssn"], with: redact}}
      - {{columns: ["customers.email"], with: partial}}
      - {{detect: [credit_card, ssn, email, aws_key], with: partial}}
  - name: deletes-need-a-person
    connections: [crm]
    when: op.verb == "delete"
    review: {{by: [dba], expires: 15m}}
  - name: never-drop
    when: op.verb in ["drop", "truncate"]
    deny: destructive DDL is not allowed through the gateway
"""


@dataclass(frozen=True)
class World:
    """A running demo: where things are, and tokens on request."""

    folder: Path
    backend: Server
    gateway: Gateway
    issuer: Issuer
    secrets: dict[str, str] = field(repr=False)
    """The gateway's environment: where its configuration says that the backend's password is."""

    def token(self, subject: str, group: str, *more: str) -> str:
        """A token from the development issuer, by its command."""
        return run("issuer", "token", "--url", self.issuer.url,
                   "--subject", subject, "--group", group, *more).strip()


def _prepare_database(server: Server, password: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        role = sql.SQL("CREATE ROLE crm_app LOGIN PASSWORD {}").format(sql.Literal(password))
        admin.execute(role)
        admin.execute("CREATE DATABASE crm OWNER crm_app")
    with psycopg.connect(server.dsn("crm"), autocommit=True) as admin:
        admin.execute("SET ROLE crm_app")
        admin.execute(SEED)


@contextmanager
def running() -> Iterator[World]:
    """Start everything; end everything."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-demo-"))
    password = secrets.token_hex(16)
    try:
        with embedded() as backend, issuer(folder / "issuer") as tokens:
            _prepare_database(backend, password)
            environment = {"CRM_PASSWORD": password}
            with gateway(folder, CONFIG, env=environment, backend=backend.port, issuer=tokens.url) as front:
                yield World(folder, backend, front, tokens, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
