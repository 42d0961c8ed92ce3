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
