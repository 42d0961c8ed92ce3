"""Gateways that are killed, whose disk hangs or fails, and that have been replaced: nothing goes on without a record."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psycopg
import pytest

from fuzz import kill
from lockgate.audit.failures import Poisoned
from lockgate.audit.log import AuditLog
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES

Start = Callable[[str], AbstractContextManager[Gateway]]


@pytest.fixture
def own(backend: Server, tokens: Issuer, tmp_path: Path) -> Start:
    """A factory of gateways on one folder, with more settings of `audit`."""
    def start(audit: str = "") -> AbstractContextManager[Gateway]:
        config = (HEAD + POLICIES).replace("audit: {{mode: full,", f"audit: {{{{mode: full, {audit}")
        return gateway(tmp_path / "own", config, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url)
    return start


@pytest.fixture
def table(backend: Server) -> Iterator[Callable[[], int]]:
    """An empty table; a call counts its rows past the gateway."""
    with psycopg.connect(backend.dsn("plain"), autocommit=True) as direct:
        direct.execute("CREATE TABLE chaos (id int); ALTER TABLE chaos OWNER TO app")
        yield lambda: int(direct.execute("SELECT count(*) FROM chaos").fetchone()[0])  # type: ignore[index]
        direct.execute("DROP TABLE chaos")


def test_nothing_is_executed_without_an_intent_when_gateways_are_killed(tmp_path: Path) -> None:
    """kill -9 under pgbench, three times: what the backend says that it executed has an intent each, and intents
    without an answer are `unknown` after the restart."""
    tally = kill.run(tmp_path, times=3, seed=5)
    assert tally.problems == []
    assert tally.kills == 3
    assert tally.executed > 100


def test_the_comparison_notices_a_statement_without_an_intent() -> None:
    """Once more executed than recorded, or in a session that recorded another one, is a problem."""
    for executed in ([("lockgate:a", "DELETE FROM t")] * 3, [("lockgate:b", "DELETE FROM t")], [("psql", "SELECT 1")],
                     [("lockgate:a x", "DROP TABLE t")]):
        tally = kill.Tally()
        kill._require_intents(executed, {"a": [b"Q\0\0\0\x12DELETE FROM t\0"] * 2, "b": [b"SELECT 1"]}, tally)
        assert len(tally.problems) == 1
    kill._require_intents([("lockgate:a app", "DELETE FROM t")], {"a": [b"DELETE FROM t\0"]}, tally := kill.Tally())
    assert tally.problems == []


def test_a_hung_disk_holds_statements_back(own: Start, agent: str, table: Callable[[], int]) -> None:
    """While the log's writer stands still nothing reaches the backend; the queue refuses what exceeds its bound, and
    what waited goes on later."""
    with own("queue: 4,") as front, ExitStack() as stack:
        connections = [stack.enter_context(psycopg.connect(front.dsn(agent, "plain"), autocommit=True)) for _ in range(8)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        writer = kill.writer_of(front.process.pid)
        os.kill(writer, signal.SIGSTOP)
        try:
            answers = [pool.submit(connection.execute, "INSERT INTO chaos VALUES (1)") for connection in connections]
            refused = wait(answers, 20, FIRST_COMPLETED).done
            assert all(isinstance(answer.exception(), psycopg.Error) for answer in refused)
            assert refused
            assert table() == 0
        finally:
            os.kill(writer, signal.SIGCONT)
        errors = [answer.exception(20) for answer in answers]
        assert 0 < errors.count(None) == table() <= 4
    assert "VERIFIED" in run("audit", "verify", str(front.state / "audit"))


def test_a_short_write_stops_the_gateway_from_forwarding(own: Start, agent: str, table: Callable[[], int]) -> None:
    """The kernel writes a part of a page and then fails: the statement is refused and not executed, as are all later
    ones, and a restart finds every executed one."""
    with own("") as front:
        with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
            for number in range(5):
                connection.execute("INSERT INTO chaos VALUES (%s)", (number,))
            limit = (front.state / "audit" / "log.db-wal").stat().st_size + 12_000
            resource.prlimit(kill.writer_of(front.process.pid), resource.RLIMIT_FSIZE, (limit, limit))
            done = 5
            with pytest.raises(psycopg.Error) as caught:
                while done < 1_000:
                    connection.execute("INSERT INTO chaos VALUES (%s) /* " + "x" * 500 + " */", (done,))
                    done += 1
            assert caught.value.sqlstate in {"58030", "57P01", None}
        with pytest.raises(psycopg.Error), psycopg.connect(front.dsn(agent, "plain")) as connection:
            connection.execute("INSERT INTO chaos VALUES (-1)")
        assert table() == done
        assert front.process.poll() is None
    with own("") as again:
        sessions = run("session", "list", "--state", str(again.state), "--verb", "insert", "--json")
        assert sessions.count('"session"') == 1
        assert "VERIFIED" in run("audit", "verify", str(again.state / "audit"))


def opened(folder: Path) -> AuditLog:
    """A second writer. The first one may still commit between its recovery and its first record; then it is the one
    that comes too late."""
    while True:
        try:
            return AuditLog.open(folder, origin="test.lockgate.example/log", dispatch=lambda turn: turn())
        except Poisoned:
            continue


def test_a_gateway_that_was_replaced_forwards_nothing(own: Start, agent: str, table: Callable[[], int]) -> None:
    """A second writer that went round the lock has the log; the first gateway refuses every statement from then on."""
    with own("") as front:
        folder = front.state / "audit"
        with psycopg.connect(front.dsn(agent, "plain"), autocommit=True) as connection:
            connection.execute("INSERT INTO chaos VALUES (1)")
            (folder / "lock").unlink()
            second = opened(folder)
            with pytest.raises(psycopg.Error):
                connection.execute("INSERT INTO chaos VALUES (2)")
        with pytest.raises(psycopg.Error):
            psycopg.connect(front.dsn(agent, "plain"))
        assert table() == 1
        second.close()
    assert "VERIFIED" in run("audit", "verify", str(folder))
