"""`make fuzz ARGS="kill --times=50"`: a gateway is killed with SIGKILL under pgbench, again and again.

The judge is not the gateway: PostgreSQL writes every statement that it begins to execute into its own log,
with the application's name, which carries the gateway's session. After each kill another gateway is started on
the same state, and then every executed statement must have an intent of its own in the audit log (`audit: full`),
and every intent without an answer must be closed as `unknown`, because of the crash.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import psycopg

from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.entry import parse
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.verify import verify_log
from testbed.gateway import Gateway, Issuer, gateway, issuer
from testbed.postgres import Server, embedded

STATEMENT_LOG: Final = {
    "log_statement": "all", "logging_collector": "on", "log_destination": "jsonlog", "log_filename": "statements",
    "log_rotation_age": "0", "log_rotation_size": "0",
}
"""PostgreSQL's log with one JSON object a line, application's name and user included (manual, "jsonlog")."""
_PREFIX: Final = "lockgate:"
_PROBE: Final = "lockgate:probe"     # the gateway's own connection, on which it reads the catalogue: no agent is behind it
_PASSWORD: Final = "kill-backend"
_CLIENTS: Final = 8
_MODES: Final = ("simple", "extended", "prepared")
_CONFIGURATION: Final = """\
state: {folder}/state
listeners:
  - {{name: agents, protocol: postgres, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: full, origin: fuzz.lockgate.example/log}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, leeway: 0s, algorithms: [ES256], unsafe_http: true}}
connections:
  - name: bench
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: app, password: {{env: BENCH_PASSWORD}}}}
    tls: {{mode: disable}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
"""


@dataclass
class Tally:
    """What the kills came to. `problems` is empty where the promise held."""

    kills: int = 0
    executed: int = 0
    intents: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (f"{self.kills} kills, {self.executed:,} statements executed by the backend, {self.intents:,} intents on "
                f"record, {self.unknown} closed as unknown(crash), {len(self.problems)} problems")


class StatementLog:
    """What the backend says that it executed, read on from where the last reading ended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._path = server.folder / "data" / "log" / "statements.json"
        self._at = 0
        self._marks = 0

    def since(self) -> Iterator[tuple[str, str]]:
        """(application's name, statement) of every statement of the gateway's role since the last call.

        Waits until none of its connections is left, then for a mark of its own to arrive in the file: what was
        executed before is in front of it.
        """
        self._marks += 1
        mark = f"mark {self._marks} of {id(self)}"
        with psycopg.connect(self._server.dsn(), autocommit=True) as admin:
            _wait(lambda: admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").fetchone() == (0,))
            admin.execute(f"SELECT '{mark}'".encode())
        found: list[dict[str, Any]] = []
        _wait(lambda: any(mark in line["message"] for line in self._more(found)))
        for line in found:
            kind, _, text = line["message"].partition(": ")
            if line.get("user") == "app" and (kind == "statement" or kind.startswith("execute ")):
                yield line.get("application_name", ""), text

    def _more(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._at += len(whole) + 1
            found += [json.loads(line) for line in whole.split(b"\n")]
        return found


def _wait(is_so: Any) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError("waited in vain")
        time.sleep(0.01)


@contextmanager
def bench(folder: Path) -> Iterator[tuple[Server, Issuer]]:
    """A backend that logs every statement, with pgbench's tables, and an issuer."""
    with embedded(STATEMENT_LOG) as server, issuer(folder / "issuer") as tokens:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{_PASSWORD}'".encode())
            admin.execute("CREATE DATABASE bench OWNER app")
        subprocess.run([server.bin / "pgbench", "-i", "-q", "-s", "1", server.dsn("bench")], check=True, capture_output=True)
        with psycopg.connect(server.dsn("bench"), autocommit=True) as admin:
            for table in ("accounts", "branches", "history", "tellers"):
                admin.execute(f"ALTER TABLE pgbench_{table} OWNER TO app".encode())
        yield server, tokens


@contextmanager
def started(folder: Path, server: Server, tokens: Issuer) -> Iterator[Gateway]:
    """A gateway in front of it, on the state that the last one left."""
    with gateway(folder / "gateway", _CONFIGURATION, env={"BENCH_PASSWORD": _PASSWORD}, backend=server.port,
                 issuer=tokens.url) as front:
        yield front


def run(folder: Path, times: int, seed: int) -> Tally:
    """Kill so many gateways, one after the other, and compare after each restart."""
    tally = Tally()
    dice = random.Random(seed)
    with bench(folder) as (server, tokens):
        log = StatementLog(server)
        first = 0
        executed: list[tuple[str, str]] = []
        for number in range(times + 1):
            with started(folder, server, tokens) as front:
                if number:
                    first = compare(front.state / "audit", first, executed, tally)
                if number < times:
                    _kill_under_load(front, server, tokens, dice, number)
                    tally.kills += 1
            executed = list(log.since())
        report = verify_log(front.state / "audit")
        tally.problems += [str(finding) for finding in report.findings]
    return tally


def _kill_under_load(front: Gateway, server: Server, tokens: Issuer, dice: random.Random, number: int) -> None:
    """Start pgbench, and kill at some moment of it; every third time the log's writer dies first."""
    load = subprocess.Popen(
        [server.bin / "pgbench", "-n", "-M", _MODES[number % len(_MODES)], "-c", str(_CLIENTS), "-j", "2", "-T", "60", "bench"],
        env={**os.environ, **front.environment(tokens.token("agent-1", "agents"), "bench")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with psycopg.connect(server.dsn("bench"), autocommit=True) as admin:
            _wait(lambda: admin.execute("SELECT count(*) > 20 FROM pgbench_history").fetchone() == (True,))
            time.sleep(dice.uniform(0.0, 0.6))
            if number % 3 == 2:
                os.kill(writer_of(front.process.pid), signal.SIGKILL)
            os.kill(front.process.pid, signal.SIGKILL)
            front.process.wait()
            load.wait(30)
            admin.execute("TRUNCATE pgbench_history")
    finally:
        if load.poll() is None:
            load.kill()
        load.wait()


def writer_of(gateway_id: int) -> int:
    """The process that writes the log of a gateway."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == gateway_id and b"lockgate.audit.apart" in (path / "cmdline").read_bytes():
                return int(path.name)
        except (OSError, ValueError):
            continue
    raise RuntimeError("the gateway has no writer")


def compare(folder: Path, first: int, executed: list[tuple[str, str]], tally: Tally) -> int:
    """What was executed against what the log holds from `first` on. Returns where the log ends."""
    forwarded: dict[str, list[bytes]] = {}
    waiting: dict[tuple[str, int], int] = {}
    index = first - 1
    with open_source(folder) as source:
        for index, _, leaf in source.leaves(first):
            record = parse(leaf)
            sid = record.get("sid", "")
            if record["type"] == "intent":
                forwarded.setdefault(sid, []).append(_forwarded(*source.kept(index)))
                waiting[sid, record["sseq"]] = index
                tally.intents += 1
            elif record["type"] == "outcome":
                waiting.pop((sid, record["record"]), None)
                tally.unknown += record["status"] == "unknown" and record.get("reason") == "crash"
    tally.problems += [f"intent {at} of session {sid} is open after the restart" for (sid, _), at in waiting.items()]
    _require_intents(executed, forwarded, tally)
    return index + 1


def _forwarded(secret: bytes | None, sealed: bytes | None) -> bytes:
    if secret is None or sealed is None:
        return b""
    return b64decode(orjson.loads(unseal(secret[:KEY_SIZE], sealed))["forwarded"])


def _require_intents(executed: list[tuple[str, str]], forwarded: dict[str, list[bytes]], tally: Tally) -> None:
    for (name, text), times in Counter(executed).items():
        if name == _PROBE:
            continue
        sid = name.removeprefix(_PREFIX).split(" ")[0]
        tally.executed += times
        recorded = sum(text.encode() in sent for sent in forwarded.get(sid, []))
        if recorded < times:
            tally.problems.append(f"executed {times} times by {name!r}, {recorded} intents: {text[:200]}")


def main(times: int, seed: int) -> int:
    """The whole run. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="lockgate-kill-") as folder:
        tally = run(Path(folder), times, seed)
    print(f"kill, seed {seed}: {tally}", flush=True)
    for problem in tally.problems[:20]:
        print(f"  {problem}")
    return int(bool(tally.problems))
