"""What others change in the database, behind the gateway's back."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from testbed.gateway import Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD


def test_a_mask_that_no_longer_matches_stops_the_connection(backend: Server, tokens: Issuer, agent: str,
                                                            tmp_path: Path) -> None:
    """A masked column is renamed by somebody else: open sessions and new ones are refused, nothing is shown,
    and the connection serves again once the name is back."""
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE renamed OWNER app")
    config = HEAD.replace("name: crm", "name: renamed", 1) + (
        '  - {{name: hide, connections: [renamed], mask: [{{columns: ["people.ssn"], with: redact}}]}}\n')
    with psycopg.connect(backend.dsn("renamed"), autocommit=True) as admin:
        admin.execute("SET ROLE app; CREATE TABLE people (id int, ssn text); INSERT INTO people VALUES (1, '219-09-9999')")
        with gateway(tmp_path, config, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as front, \
                psycopg.connect(front.dsn(agent, "renamed"), autocommit=True) as session:
            assert session.execute("SELECT * FROM people").fetchone() == (1, "xxxx")
            admin.execute("ALTER TABLE people RENAME ssn TO number")
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    session.execute("SELECT id FROM people")
                except psycopg.Error as error:
                    assert error.sqlstate == "42501"
                    break
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("SELECT * FROM people")
            with pytest.raises(psycopg.OperationalError, match="cannot be enforced"):
                psycopg.connect(front.dsn(agent, "renamed"))
            admin.execute("ALTER TABLE people RENAME number TO ssn")
            row = None
            while row is None and time.monotonic() < deadline + 20:
                try:
                    row = session.execute("SELECT * FROM people").fetchone()
                except psycopg.errors.InsufficientPrivilege:
                    continue
            assert row == (1, "xxxx")


def test_a_wrong_backend_password_is_named_in_the_log(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """The operator reads why the backend cannot be used; the client does not."""
    with gateway(tmp_path, HEAD, env={"CRM_PASSWORD": "wrong"}, ready="/healthz",
                 backend=backend.port, issuer=tokens.url) as front:
        deadline = time.monotonic() + 20
        while "could not be logged in to" not in front.log.read_text() and "28P01" not in front.log.read_text() \
                and time.monotonic() < deadline:
            assert front.process.poll() is None
        text = front.log.read_text()
    assert "backend cannot be used" in text
    assert "wrong" not in text.replace("wrong-", "")
