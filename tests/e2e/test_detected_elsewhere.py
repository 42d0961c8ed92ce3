"""Values that reach the client as something else than rows: names of columns, reported settings, notifications."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, everywhere
from tests.e2e.test_attacks_controls import SYNC, Raw, bind, execute, message, parse, query

RULES = """\
  - name: hide-addresses
    connections: [crm]
    mask: [{{detect: [email, credit_card], with: redact}}]
  - name: hide-addresses-of-letters
    connections: [plain]
    when: '"public.letters" in op.tables'
    mask: [{{detect: [email, credit_card], with: redact}}]
"""
SCHEMA = "CREATE TABLE letters (id int, body text); INSERT INTO letters VALUES (1, 'ann@example.com'), (2, '4111111111111111')"


@pytest.fixture(scope="module")
def front(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A detector that is always in force on `crm`, and one with a condition on `plain`."""
    everywhere(backend, SCHEMA)
    with gateway(tmp_path_factory.mktemp("elsewhere"), HEAD + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running
    everywhere(backend, "DROP TABLE letters")


def said(replies: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join(body for _, body in replies)


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_a_value_in_the_name_of_a_column(front: Gateway, agent: str, database: str) -> None:
    """What code names a column after is looked at like a value; other names stay, and drivers go on."""
    block = "DO $$ BEGIN EXECUTE format('CREATE TEMP TABLE tt(n int, %I int)', (SELECT body FROM letters WHERE id = 1)); END $$"
    with closing(Raw(front, agent, database)) as raw:
        raw.send(query(block))
        for replies in (raw.send(query("TABLE tt")),
                        raw.send(parse("", "TABLE tt"), message(b"D", b"S\0"), bind("", ""), message(b"D", b"P\0"), execute(""), SYNC)):
            described = [body for kind, body in replies if kind == b"T"]
            assert described
            for body in described:
                assert b"ann@" not in body
                assert b"n\0" in body
                assert b"column2\0" in body
    with psycopg.connect(front.dsn(agent, database)) as connection:
        connection.execute(block)
        found = connection.execute("SELECT * FROM tt")
        assert [one.name for one in found.description or ()] == ["n", "column2"]
        assert found.fetchall() == []


@pytest.mark.parametrize("database", ["crm", "plain"])
@pytest.mark.parametrize("text", [
    "SELECT set_config('TimeZone', '<' || (SELECT body FROM letters WHERE id = 2) || '>3', false) IS NULL",
    "SELECT set_config('search_path', body, false) IS NULL FROM letters WHERE id = 1",
])
def test_a_value_in_a_reported_setting(front: Gateway, agent: str, text: str, database: str) -> None:
    """It is not told to the client, which goes on with what it knew."""
    for messages in ([query(text)], [parse("", text), bind("", ""), execute(""), SYNC]):
        with closing(Raw(front, agent, database)) as raw:
            replies = raw.send(*messages)
            assert [kind for kind, _ in replies][-2:] == [b"C", b"Z"]
            assert not [body for kind, body in replies if kind == b"S"]
            assert b"UTC" in said(raw.send(query("SET TimeZone = 'UTC'"))) or "TimeZone" not in text


@pytest.mark.parametrize("database", ["crm", "plain"])
def test_a_value_in_a_notification(front: Gateway, agent: str, database: str) -> None:
    """Payloads are emptied where a detector can be in force, whatever the listener itself has asked for."""
    with closing(Raw(front, agent, database)) as listener, closing(Raw(front, agent, database)) as sender:
        listener.send(query("LISTEN ch"))
        sender.send(query("SELECT pg_notify('ch', body) IS NULL FROM letters WHERE id = 1"))
        replies = listener.send(query("SELECT 1"))
        while not any(kind == b"A" for kind, _ in replies):
            replies.append(listener.read())
        told = [body for kind, body in replies if kind == b"A"]
        assert [body[4:] for body in told] == [b"ch\0\0"]
