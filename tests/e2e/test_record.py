"""What happened is on record, in order, provable, and before it happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES


@pytest.fixture
def own(backend: Server, tokens: Issuer, tmp_path: Path) -> object:
    """A factory of gateways on one folder, so that one can be killed and followed by another."""
    def start() -> object:
        return gateway(tmp_path / "own", HEAD + POLICIES, env={"CRM_PASSWORD": PASSWORD},
                       backend=backend.port, issuer=tokens.url)
    return start


def test_the_log_answers_who_caused_a_write(own: object, agent: str) -> None:
    """Session, subject, agent, statement, decision, rule and outcome are there, and the log verifies."""
    with own() as front:  # type: ignore[operator]
        with psycopg.connect(front.dsn(agent, application_name="task-42"), autocommit=True) as connection:
            connection.execute("UPDATE notes SET body = 'changed' WHERE id = %s", (61,))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DROP TABLE notes")
        live = run("audit", "verify", str(front.state / "audit"))
        assert "VERIFIED" in live
    state = str(front.state)
    sessions = json.loads(run("session", "list", "--state", state, "--verb", "update", "--json"))
    assert len(sessions) == 1
    replay = run("session", "replay", sessions[0]["session"], "--state", state)
    for word in ("agent-1", "analyst", "test-model", "task-42", "UPDATE notes SET body", "DROP TABLE notes",
                 "never-drop", "deny"):
        assert word in replay, replay
    assert "VERIFIED" in run("audit", "verify", str(front.state / "audit"))


def test_no_secret_is_in_any_file_of_the_state(own: object, agent: str) -> None:
    """Neither the agent's token nor the backend's password is written anywhere."""
    with own() as front:  # type: ignore[operator]
        with psycopg.connect(front.dsn(agent)) as connection:
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(front.dsn(agent[:-10] + "AAAAAAAAAA"))
    signature = agent.rsplit(".", 1)[1]
    for path in front.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PASSWORD.encode() not in content, path
            assert signature.encode() not in content, path


def test_kill_9_is_survived_and_open_intents_are_closed(own: object, agent: str) -> None:
    """After a crash the log verifies, and what was running is `unknown`, not silently gone."""
    with own() as front:  # type: ignore[operator]
        connection = psycopg.connect(front.dsn(agent, "plain"), autocommit=True)
        connection.execute("SELECT 'before the crash'")
        connection.pgconn.send_query(b"SELECT pg_sleep(30), 'running at the crash'")
        connection.pgconn.flush()
        with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as other:
            query = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%running at the crash%'"
                     " AND pid <> pg_backend_pid() AND state = 'active'")
            while other.execute(query).fetchone() != (1,):
                pass
        os.kill(front.process.pid, signal.SIGKILL)
        front.process.wait()
        connection.close()
    with own() as again:  # type: ignore[operator]
        assert "VERIFIED" in run("audit", "verify", str(again.state / "audit"))
        sessions = json.loads(run("session", "list", "--state", str(again.state), "--json"))
        replays = "".join(run("session", "replay", entry["session"], "--state", str(again.state))
                          for entry in sessions)
    assert "before the crash" in replays
    assert "running at the crash" in replays
    assert "unknown" in replays


def test_one_flipped_bit_is_named(own: object, agent: str, tmp_path: Path) -> None:
    """The verifier names the record that somebody changed."""
    import sqlite3

    with own() as front:  # type: ignore[operator]
        with psycopg.connect(front.dsn(agent)) as connection:
            connection.execute("SELECT 1")
    copy = tmp_path / "copy"
    shutil.copytree(front.state / "audit", copy)
    database = sqlite3.connect(next(copy.glob("*.db")))
    index, leaf = database.execute("SELECT idx, leaf FROM entries WHERE CAST(leaf AS text) LIKE '%intent%' LIMIT 1").fetchone()
    at = bytes(leaf).index(b"intent")
    database.execute("UPDATE entries SET leaf = ? WHERE idx = ?",
                     (leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1:], index))
    database.commit()
    database.close()
    verdict = run("audit", "verify", str(copy), "--key", str(front.state / "audit" / "log.vkey"), expect=(1,))
    assert "TAMPERED" in verdict
    assert str(index) in verdict


def test_nothing_is_forwarded_when_the_log_cannot_be_written(backend: Server, tokens: Issuer, agent: str,
                                                              tmp_path: Path) -> None:
    """A full disk below the log stops statements with a clear error; the backend never sees them."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    mount = tmp_path / "small"
    mount.mkdir()
    import subprocess
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount]).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        config = (HEAD + POLICIES).replace("state: {folder}/state", f"state: {mount}/state")
        with gateway(tmp_path / "full", config, env={"CRM_PASSWORD": PASSWORD},
                     backend=backend.port, issuer=tokens.url) as front:
            with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS full_disk (id int)")
                done = 0
                with pytest.raises(psycopg.Error) as caught:
                    while done < 10_000:
                        connection.execute("INSERT INTO full_disk VALUES (%s) /* " + "x" * 2000 + " */", (done,))
                        done += 1
                assert caught.value.sqlstate in {"58030", "57P01", "53100", "42501", None}
            assert front.process.poll() is None
            with psycopg.connect(backend.dsn("plain")) as direct:
                assert direct.execute("SELECT count(*) FROM full_disk").fetchone() == (done,)
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def test_front_is_a_gateway(front: Gateway) -> None:
    """The shared gateway's log verifies while it runs."""
    assert "VERIFIED" in run("audit", "verify", str(front.state / "audit"))
