"""Risky statements wait for a person; the answer is bound to exactly what was asked."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, run


def call(front: Gateway, path: str, token: str, body: dict[str, object] | None = None) -> tuple[int, Any]:
    """One request to the control API: (status, JSON)."""
    request = urllib.request.Request(front.control_url + path, headers={"Authorization": f"Bearer {token}"},
                                     method="GET" if body is None else "POST")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def pending(front: Gateway, token: str) -> list[dict[str, Any]]:
    listed = run("review", "list", "--url", front.control_url, "--json", env={"LOCKGATE_TOKEN": token})
    return [entry for entry in json.loads(listed) if entry["state"] == "pending"]


def wait_pending(front: Gateway, token: str, text: str) -> dict[str, Any]:
    """The pending ticket whose statement holds `text`."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for entry in pending(front, token):
            if text in entry["statement"]:
                return entry
    raise AssertionError(f"no ticket for {text}")


class Held(threading.Thread):
    """A client that runs one statement and waits as long as it takes."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.result: object = None
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except psycopg.Error as error:
            self.error = error

    def finish(self) -> Held:
        self.join(20)
        assert not self.is_alive()
        return self


def seed(front: Gateway, agent: str, number: int) -> None:
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("INSERT INTO notes VALUES (%s, 'to delete') ON CONFLICT DO NOTHING", (number,))


def test_a_delete_waits_and_runs_once_approved(front: Gateway, agent: str, dba: str) -> None:
    """The client sees a NOTICE with the ticket while it waits; after approval the statement runs."""
    seed(front, agent, 100)
    notices: list[str] = []

    def work() -> int:
        with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
            connection.add_notice_handler(lambda diagnostic: notices.append(str(diagnostic.message_primary)))
            return connection.execute("DELETE FROM notes WHERE id = %s", (100,)).rowcount

    held = Held(work)
    ticket = wait_pending(front, dba, "DELETE FROM notes")
    shown = run("review", "show", ticket["ticket"], "--url", front.control_url, env={"LOCKGATE_TOKEN": dba})
    for word in ("DELETE FROM notes WHERE id", "100", "agent-1", "crm", "deletes-need-a-person"):
        assert word in shown
    run("review", "approve", ticket["ticket"], "--url", front.control_url, env={"LOCKGATE_TOKEN": dba})
    assert held.finish().result == 1
    assert any(ticket["ticket"] in notice for notice in notices)


def test_a_denied_delete_fails_and_the_session_lives_on(front: Gateway, agent: str, dba: str) -> None:
    """Denial is an ordinary error inside the session."""
    def work() -> object:
        with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM notes WHERE id = 2")
            return connection.execute("SELECT count(*) FROM notes WHERE id = 2").fetchone()

    held = Held(work)
    ticket = wait_pending(front, dba, "id = 2")["ticket"]
    run("review", "deny", ticket, "--url", front.control_url, "--comment", "no", env={"LOCKGATE_TOKEN": dba})
    assert held.finish().result == (1,)


def test_nobody_reviews_their_own_request(front: Gateway, agent: str, dba: str, tokens: Issuer) -> None:
    """Requester and people outside of the rule's groups are refused; the ticket stays pending."""
    both = tokens.token("two-hats", "agents", "dba")
    with psycopg.connect(front.dsn(both), autocommit=True) as connection:
        held = Held(lambda: connection.execute("DELETE FROM notes WHERE id = 7001").rowcount)
        ticket = wait_pending(front, dba, "7001")["ticket"]
        assert call(front, f"/v1/reviews/{ticket}/approve", both, {})[0] == 403
        assert call(front, f"/v1/reviews/{ticket}/approve", agent, {})[0] == 403
        assert call(front, f"/v1/reviews/{ticket}/approve", "nonsense", {})[0] == 401
        assert call(front, f"/v1/reviews/{ticket}", dba)[1]["state"] == "pending"
        assert call(front, f"/v1/reviews/{ticket}/approve", dba, {})[0] == 200
        assert held.finish().result == 0
        assert call(front, f"/v1/reviews/{ticket}/approve", dba, {})[0] == 409


def test_a_client_that_leaves_withdraws_its_ticket(front: Gateway, agent: str, dba: str) -> None:
    """Nobody is asked about a request that nobody waits for."""
    connection = psycopg.connect(front.dsn(agent), autocommit=True)
    connection.pgconn.send_query(b"DELETE FROM notes WHERE id = 7002")
    connection.pgconn.flush()
    ticket = wait_pending(front, dba, "7002")["ticket"]
    connection.close()
    deadline = time.monotonic() + 20
    state = "pending"
    while state == "pending" and time.monotonic() < deadline:
        state = call(front, f"/v1/reviews/{ticket}", dba)[1]["state"]
    assert state == "withdrawn"


def test_a_denial_in_ticket_mode_is_read_with_its_comment(front: Gateway, agent: str, dba: str) -> None:
    """Nobody waits there, so the statement that comes again is answered with what the reviewer said."""
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS denied_once (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("TRUNCATE denied_once")
        ticket = wait_pending(front, dba, "TRUNCATE denied_once")["ticket"]
        run("review", "deny", ticket, "--url", front.control_url, "--comment", "use archive_orders() instead",
            env={"LOCKGATE_TOKEN": dba})
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"use archive_orders\(\) instead") as caught:
                connection.execute("TRUNCATE denied_once")
            assert ticket in str(caught.value.diag.message_detail)
        assert not [entry for entry in pending(front, dba) if "denied_once" in entry["statement"]]


def test_ticket_mode_refuses_at_once_and_serves_one_retry(front: Gateway, agent: str, dba: str) -> None:
    """`mode: ticket`: the error names the ticket; after approval the same statement runs, once."""
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS scratch (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute("TRUNCATE scratch")
        entry = wait_pending(front, dba, "TRUNCATE scratch")
        assert entry["ticket"] in str(caught.value) + str(caught.value.diag.message_hint)
        assert "a person has to approve this statement" in str(caught.value)
        assert call(front, f"/v1/reviews/{entry['ticket']}/approve", dba, {})[0] == 200
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("TRUNCATE scratch, notes")
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("TRUNCATE /* again */ scratch;")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("TRUNCATE scratch")
