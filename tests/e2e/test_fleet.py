"""Real gateways whose audit log is in a PostgreSQL: what psql does is on record there, whichever gateway dies."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, command, gateway, run
from testbed.postgres import Server, embedded
from tests.e2e.conftest import HEAD, PASSWORD

CANARY = "7a1d-audit-canary-03"
STORE = """audit:
  mode: full
  origin: fleet.lockgate.example/log
  store:
    kind: postgresql
    address: 127.0.0.1:{database}
    database: trail
    user: gate
    password: {{env: TRAIL_PASSWORD}}
    tls: {{mode: disable}}
    shards: 2
    lease: 6s
    fleet_log: 1s
"""
CONFIG = HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}\n", STORE)
ENVIRONMENT = {"CRM_PASSWORD": PASSWORD, "TRAIL_PASSWORD": CANARY}


@pytest.fixture(scope="module")
def trail() -> Iterator[Server]:
    """The fleet's database, made by an administrator with the SQL that the command prints."""
    with embedded({"fsync": "on", "wal_sync_method": "fdatasync"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE gate LOGIN PASSWORD '{CANARY}'")
            admin.execute("CREATE DATABASE trail")
        subprocess.run([server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.dsn("trail")], check=True,
                       input=run("audit", "sql", "--role", "gate"), text=True)
        yield server


def psql(server: Server, front: Gateway, token: str, script: str) -> str:
    done = subprocess.run([server.bin / "psql", "-X", "-At", "-c", script], capture_output=True, text=True,
                          env={**os.environ, **front.environment(token)}, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fleet_records_what_psql_does_and_survives_a_kill(
    backend: Server, trail: Server, tokens: Issuer, agent: str, tmp_path: Path
) -> None:
    """Two gateways on two shards; commands find the log where it is; one is killed, the other ends its session in
    the log; a third takes the free shard; the whole fleet verifies, and the password is in no file."""
    values = {"env": ENVIRONMENT, "backend": backend.port, "issuer": tokens.url, "database": trail.port}
    with gateway(tmp_path / "a", CONFIG, **values) as first:  # type: ignore[arg-type]
        (tmp_path / "b" / "state" / "audit").mkdir(parents=True)
        shutil.copy(first.state / "audit" / "log.key", tmp_path / "b" / "state" / "audit" / "log.key")
        with gateway(tmp_path / "b", CONFIG, **values) as second:  # type: ignore[arg-type]
            assert psql(trail, first, agent, "SELECT name FROM customers WHERE id = 1") == "ann\n"
            assert psql(trail, second, agent, "SELECT 'second', count(*) FROM notes").startswith("second|")
            state = str(first.state)
            sessions = of_agent(state)
            assert [view["requests"] for view in sessions] == [1]
            replay = run("session", "replay", sessions[0]["session"], "--state", state, env=ENVIRONMENT)
            assert "SELECT name FROM customers WHERE id = 1" in replay
            other = of_agent(str(first.state / "audit" / "shard-2"))
            assert [view["requests"] for view in other] == [1]
            begun = str(other[0]["index"])
            assert '"subject": "agent-1"' in run("audit", "show", begun, "--state", str(second.state), env=ENVIRONMENT)

            asked = run("audit", "query", "SELECT shard, payload->>'text' AS text FROM requests WHERE list_contains(verbs, 'select')"
                        " AND sid IN (SELECT sid FROM sessions WHERE payload->>'subject' = 'agent-1') ORDER BY shard",
                        "--payloads", "--format", "json", "--state", state, env=ENVIRONMENT)
            assert [(row["shard"], row["text"].split()[1]) for row in map(json.loads, asked.splitlines())] == [
                (1, "name"), (2, "'second',")]
            acts = run("audit", "query", "SELECT data->>'log' AS log FROM acts WHERE type = 'export' ORDER BY index",
                       "--format", "json", "--state", str(first.state / "audit" / "shard-1"), env=ENVIRONMENT)
            assert [json.loads(line)["log"] for line in acts.splitlines()] == [None, "fleet.lockgate.example/log/shard-2"]

            held = psycopg.connect(second.dsn(agent), autocommit=True)
            held.execute("SELECT 1")
            os.kill(second.process.pid, signal.SIGKILL)
            second.process.wait()
            held.close()
            crashed = _until_ended(tmp_path)
            assert crashed["end"] == "crash"
            shutil.copytree(tmp_path / "b" / "state" / "audit", tmp_path / "c" / "state" / "audit",
                            ignore=shutil.ignore_patterns("store.json", "admin.sock"))
            with gateway(tmp_path / "c", CONFIG, **values) as third:  # type: ignore[arg-type]
                assert psql(trail, third, agent, "SELECT 'third'") == "third\n"
                said = run("audit", "erase", "--subject", "agent-1", "--reason", "request 17", "--state", state,
                           env=ENVIRONMENT, expect=(1,))
                assert re.search(r"^erased in shard-1: [1-9]\d* payloads", said)
                assert re.search(r"^NOT erased: [1-9]\d* payloads in shard-2: the gateway [0-9a-f]{16} writes it$", said, re.MULTILINE)
    told = run("audit", "verify", state, "--key", str(first.state / "audit" / "log.vkey"), env=ENVIRONMENT)
    assert told.count("VERIFIED") == 4, told
    assert "fleet.lockgate.example/log/shard-2" in told
    assert "checkpoints of 2 shards" in told
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
    with psycopg.connect(trail.dsn("trail"), autocommit=True) as admin:
        assert admin.execute("SELECT count(*) FROM lockgate_audit.shards WHERE holder <> ''").fetchone() == (0,)
        admin.execute("DELETE FROM lockgate_audit.entries WHERE shard = 2 AND idx = 3")
    told = run("audit", "verify", state, "--json", env=ENVIRONMENT, expect=(1,))
    assert {log["origin"][-7:]: log["verdict"] for log in json.loads(told)["logs"]} == {
        "shard-1": "verified", "shard-2": "tampered", "g/fleet": "verified"}


def of_agent(state: str) -> list[dict[str, Any]]:
    """The agent's sessions in the log of a state folder, or of a shard."""
    listed = run("session", "list", "--state", state, "--subject", "agent-1", "--json", env=ENVIRONMENT)
    return list(json.loads(listed))


def _until_ended(tmp_path: Path) -> dict[str, str]:
    """The crashed gateway's last session, once another gateway has ended it in the log."""
    place = str(tmp_path / "b" / "state")
    for _ in range(60):
        last = of_agent(place)[-1]
        if last["cause"] is not None:
            return {"end": last["cause"]}
    raise AssertionError("the session of the killed gateway was not ended")


def test_a_server_without_fsync_is_refused(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """A gateway does not start on a database that may lose what it acknowledged, and says what to set."""
    folder = tmp_path / "unsafe"
    folder.mkdir()
    store = STORE.replace("database: trail", "database: postgres").replace("user: gate", "user: postgres")
    config = HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}\n", store).format(
        folder=folder, port=0, control=0, backend=backend.port, issuer=tokens.url, database=backend.port)
    (folder / "lockgate.yaml").write_text(config)
    done = subprocess.run(command("serve", "-c", str(folder / "lockgate.yaml")), capture_output=True, text=True,
                          env={**os.environ, **ENVIRONMENT, "TRAIL_PASSWORD": backend.password}, timeout=60)
    assert done.returncode == 1
    assert "fsync is off" in done.stderr
    assert "set fsync = on" in done.stderr
    assert not (folder / "state" / "audit" / "shard-1").exists()
