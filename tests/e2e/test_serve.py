"""`lockgate serve` as a user runs it: start, serve, reload, refuse to start, drain, end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, command, gateway, run
from testbed.postgres import Server, free_port
from tests.e2e.conftest import HEAD, PASSWORD

RULES = HEAD + """\
  - name: never-drop
    when: op.verb == "drop"
    deny: destructive DDL is not allowed through the gateway
"""


@pytest.fixture
def own(backend: Server, tokens: Issuer, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of this test's own."""
    with gateway(tmp_path, RULES, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as running:
        yield running


def get(front: Gateway, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(front.control_url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def eventually(condition: Callable[[], bool], front: Gateway) -> None:
    """Ask again until it is so; the gateway looks at its file once a second."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, front.log.read_text()
        assert front.process.poll() is None, front.log.read_text()


def metric(front: Gateway, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", get(front, "/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else 0.0


def start_fails(folder: Path, config: str, **values: Any) -> str:
    """Start a gateway that must not; what it said."""
    path = folder / "lockgate.yaml"
    path.write_text(config.format(folder=folder, port=free_port(), control=free_port(), **values))
    done = subprocess.run(command("serve", "-c", str(path)), capture_output=True, text=True, timeout=60,
                          env={**os.environ, "CRM_PASSWORD": PASSWORD})
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stderr


def test_a_session_from_token_to_result(own: Gateway, agent: str) -> None:
    """A token logs in, a SELECT runs, a denied DROP gives 42501, and the session lives on."""
    with psycopg.connect(own.dsn(agent), autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute("DROP TABLE customers")
        assert caught.value.diag.sqlstate == "42501"
        assert "never-drop" in str(caught.value.diag.message_detail)
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2,)


def test_it_says_where_it_listens(own: Gateway) -> None:
    """One line per door and one for the control address."""
    said = own.log.read_text()
    assert f"agents: PostgreSQL on 127.0.0.1:{own.port} (plaintext, loopback only)" in said
    assert f"control: {own.control_url}" in said


def test_health_and_metrics(own: Gateway, agent: str) -> None:
    """Alive, ready, and counted: statements by decision and verb, sessions, durations."""
    with psycopg.connect(own.dsn(agent), autocommit=True) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE customers")
        assert metric(own, "lockgate_sessions_open") == 1
    assert get(own, "/healthz") == (200, '{"status":"ok"}')
    status, body = get(own, "/readyz")
    assert status == 200
    assert set(json.loads(body)["parts"].values()) == {"ok"}
    assert metric(own, 'lockgate_statements_total{decision="allow",verb="select"}') >= 1
    assert metric(own, 'lockgate_statements_total{decision="deny",verb="drop"}') == 1
    assert metric(own, 'lockgate_outcomes_total{status="ok"}') >= 1
    assert metric(own, "lockgate_request_seconds_count") >= 1
    assert metric(own, "lockgate_audit_writable") == 1


def test_a_drain_lets_a_running_statement_finish(own: Gateway, agent: str) -> None:
    """SIGTERM: no new session, the running statement ends as it should, then exit 0."""
    results: list[object] = []
    connection = psycopg.connect(own.dsn(agent), autocommit=True)

    def work() -> None:
        results.append(connection.execute("SELECT pg_sleep(1.5), 'finished'").fetchone())

    with psycopg.connect(own.dsn(agent), autocommit=True) as idle:
        worker = threading.Thread(target=work)
        worker.start()
        eventually(lambda: metric(own, 'lockgate_statements_total{decision="allow",verb="select"}') >= 1, own)
        own.process.send_signal(signal.SIGTERM)
        with pytest.raises(psycopg.OperationalError) as caught:
            while True:
                idle.execute("SELECT 1")
        assert caught.value.sqlstate in {"57P01", None}
    worker.join(20)
    connection.close()
    assert results == [("", "finished")]
    assert own.process.wait(20) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own.dsn(agent))
    assert run("audit", "verify", str(own.state / "audit"))


@pytest.mark.parametrize("how", ["signal", "file"])
def test_a_valid_change_is_taken_over(own: Gateway, agent: str, how: str) -> None:
    """New rules judge the next request of a session that is open, and the change is on record."""
    path = own.folder / "lockgate.yaml"
    with psycopg.connect(own.dsn(agent), autocommit=True) as connection:
        connection.execute("SELECT 1")
        path.write_text(path.read_text() + '  - {name: no-counting, when: "op.verb == \'select\'", deny: not today}\n')
        if how == "signal":
            own.process.send_signal(signal.SIGHUP)
        eventually(lambda: metric(own, "lockgate_config_reloads_total") == 1, own)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not today"):
            connection.execute("SELECT 1")
    own.stop()
    assert b"config_change" in (own.state / "audit" / next(
        entry.name for entry in (own.state / "audit").glob("*.db"))).read_bytes()


@pytest.mark.parametrize("change", ["  - {name: broken\n", "  - {name: hide, mask: [{columns: ['*.nowhere'], with: redact}]}\n",
                                    "  - {name: odd, when: 'op.verb ==', deny: x}\n"])
def test_an_invalid_change_is_refused_loudly(own: Gateway, agent: str, change: str) -> None:
    """Unreadable, unenforceable or not a condition: the old rules stay, the log and a metric say so."""
    path = own.folder / "lockgate.yaml"
    before = path.read_text()
    path.write_text(before + change)
    eventually(lambda: metric(own, "lockgate_config_reload_failed") == 1, own)
    assert re.search(r"not taken over.*lockgate\.yaml:\d+", own.log.read_text())
    with psycopg.connect(own.dsn(agent), autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    path.write_text(before)
    eventually(lambda: metric(own, "lockgate_config_reload_failed") == 0, own)


def test_a_mask_that_matches_nothing_stops_the_start(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """I5: rule, line, connection and reason; exit 1."""
    config = HEAD + "  - {{name: hide-nothing, connections: [crm], mask: [{{columns: ['*.nowhere'], with: redact}}]}}\n"
    said = start_fails(tmp_path, config, backend=backend.port, issuer=tokens.url)
    assert "hide-nothing" in said
    assert "lockgate.yaml:" in said
    assert "crm" in said
    assert "hide-nothing" in run("check", "-c", str(tmp_path / "lockgate.yaml"), env={"CRM_PASSWORD": PASSWORD},
                                 expect=(1,))


def test_check_shows_how_rules_are_held(own: Gateway) -> None:
    """The enforcement table, with the backend asked and without, beside a running gateway."""
    path = str(own.folder / "lockgate.yaml")
    assert "never-drop" in run("check", "-c", path, env={"CRM_PASSWORD": PASSWORD})
    assert "never-drop" in run("check", "-c", path, "--offline")


def test_two_gateways_cannot_share_a_port_or_a_log(own: Gateway, backend: Server, tokens: Issuer,
                                                   tmp_path: Path) -> None:
    """The second one says which address, or which folder, and ends."""
    other = tmp_path / "other"
    other.mkdir()
    taken = HEAD.replace("{port}", str(own.port))
    assert f"127.0.0.1:{own.port}" in start_fails(other, taken, backend=backend.port, issuer=tokens.url)
    shared = HEAD.replace("{folder}/state", str(own.state))
    assert "another gateway uses this audit log" in start_fails(other, shared, backend=backend.port, issuer=tokens.url)


def test_no_secret_in_output_or_state(own: Gateway, agent: str) -> None:
    """Tokens and the backend's password appear in no log line, metric or file (I6)."""
    with psycopg.connect(own.dsn(agent), autocommit=True) as connection:
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own.dsn(agent[:-5] + "AAAAA"))
    seen = own.log.read_bytes() + get(own, "/metrics")[1].encode()
    own.stop()
    for path in own.state.rglob("*"):
        if path.is_file():
            seen += path.read_bytes()
    assert PASSWORD.encode() not in seen
    assert agent.rpartition(".")[2].encode() not in seen
    assert agent.split(".")[1].encode() not in seen


def test_an_idle_session_is_cheap(own: Gateway, agent: str) -> None:
    """At most 100 kB of memory for a session that waits."""
    def resident() -> int:
        return int(Path(f"/proc/{own.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    count = 100
    for _ in range(10):
        psycopg.connect(own.dsn(agent)).close()
    before = resident()
    connections = [psycopg.connect(own.dsn(agent)) for _ in range(count)]
    each = (resident() - before) / count
    for connection in connections:
        connection.close()
    assert each < 100_000


def test_a_crash_leaves_no_core_dump(own: Gateway) -> None:
    """A core dump would hold tokens and the backend's password: the process may not write one."""
    limits = Path(f"/proc/{own.process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]


def checked(folder: Path, config: str, secret: str | None = PASSWORD, **values: Any) -> tuple[int, str]:
    """`lockgate check` on a file: its exit status and what it said."""
    path = folder / "lockgate.yaml"
    path.write_text(config.format(folder=folder, port=free_port(), control=free_port(), **values))
    environment = {name: value for name, value in os.environ.items() if name != "CRM_PASSWORD"}
    done = subprocess.run(command("check", "-c", str(path)), capture_output=True, text=True, timeout=60, check=False,
                          env=environment if secret is None else {**environment, "CRM_PASSWORD": secret})
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


MASKED = HEAD + """\
  - name: hide
    connections: [crm]
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{columns: ["customers.emial"], with: redact}}
"""


def test_check_tells_a_misspelt_column_by_its_line(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """The line of the glob, and the closest name of the database."""
    status, said = checked(tmp_path, MASKED, backend=backend.port, issuer=tokens.url)
    line = 1 + (tmp_path / "lockgate.yaml").read_text().split("emial")[0].count("\n")
    assert status == 1
    assert (f"lockgate.yaml:{line}: rule hide on connection crm: `customers.emial` names no column of this database; write "
            "`customers.email`") in said
    assert "the gateway would refuse to start" in said


def test_check_doubts_a_relation_that_is_not_there(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """It may be made later: a warning, and the exit status of a sound file."""
    rules = HEAD + """\
  - {{name: closed, connections: [crm], when: '"public.custmers" in op.tables', deny: closed}}
"""
    status, said = checked(tmp_path, rules, backend=backend.port, issuer=tokens.url)
    assert status == 0
    assert "rule closed on connection crm: there is no relation public.custmers; write `public.customers`" in said


@pytest.mark.parametrize(("old", "new", "secret", "says"), [
    ("", "", None, "connection crm: the environment variable CRM_PASSWORD is not set"),
    ("", "", "wrong", "connection crm: the database refused user `app` or its password (SQLSTATE 28P01)"),
    ("name: crm\n", "name: crmx\n", PASSWORD, "connection crmx: the database `crmx` does not exist; set `options.database`"),
    ("127.0.0.1:{backend}", "127.0.0.1:{closed}", PASSWORD, " cannot be reached: connection refused"),
])
def test_check_says_why_a_connection_cannot_be_used(
    backend: Server, tokens: Issuer, tmp_path: Path, old: str, new: str, secret: str | None, says: str
) -> None:
    """With the address, the account and the variable by name: whoever runs the gateway has to find them."""
    closed = free_port()
    status, said = checked(tmp_path, HEAD.replace(old, new, 1), secret, backend=backend.port, issuer=tokens.url, closed=closed)
    assert status == 1
    assert says in said
    assert "rule *" not in said
    if "refused" in says and "user" not in says:
        assert f"connection crm: 127.0.0.1:{closed} cannot be reached" in said
