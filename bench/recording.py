"""What a recording costs: the same gateway and database, once over a connection that is recorded and once over one that is
not, in turns. Prints ratios, and how much disk a recording takes.

`pgbench -S` with 8 clients, and a million rows read by psql, by COPY, and by a client that only counts bytes. Beside the
ratio of speeds stands what it would be if all of gateway, database and client shared one processor that is never idle:
processor time of all of them for the same work, not recorded to recorded. That is the worst case, and hardly depends on what
else the machine does.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyrage

from bench import rawclient
from bench.__main__ import HBA, PASSWORD, Target, pgbench, prepare
from bench.configuration import configuration
from testbed.gateway import Gateway, gateway, issuer
from testbed.postgres import Server, embedded

ROUNDS = 5
SELECT = "SELECT id, name, ssn, note FROM bulk"
RULE = "  - {{name: recorded, connections: [recorded], record: true}}\n"
Case = Callable[[str], float]
"""Connection → how much of it a second."""


def _ticks(pid: int | str, first: int, last: int) -> int:
    """Fields of stat (proc(5)), counted from the process's state as the first."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[first:last]))
    return 0


def family_time(pid: int) -> float:
    """Seconds of processor time of a process, of its children, and of children that have ended."""
    ticks = _ticks(pid, 11, 15)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            ticks += sum(_ticks(child, 11, 15) for child in (task / "children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


def own_time() -> float:
    """The same of this process and the clients that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cases(server: Server, front: Gateway, token: str, folder: Path, seconds: float) -> dict[str, Case]:
    """What is measured."""
    target = Target("lockgate", front.port, "agent", token, front.process.pid)

    def transactions(mode: str) -> Case:
        return lambda connection: pgbench(server, target, 8, mode, seconds, folder, database=connection)["tps"]

    def psql(*words: str) -> Case:
        def run(connection: str) -> float:
            started = time.perf_counter()
            subprocess.run([server.bin / "psql", "-qAtX", "-o", "/dev/null", *words], check=True,
                           env={**os.environ, **front.environment(token, connection)})
            return 1 / (time.perf_counter() - started)

        return run

    def counted(connection: str) -> float:
        with contextlib.closing(rawclient.connect(front.port, user="agent", database=connection, password=token)) as raw:
            return 1 / rawclient.read_all(raw, SELECT)[1]

    return {
        "pgbench -S, simple, 8 clients": transactions("simple"),
        "pgbench -S, extended, 8 clients": transactions("extended"),
        "1,000,000 rows to psql": psql("-c", SELECT),
        "1,000,000 rows to psql, by cursor": psql("-v", "FETCH_COUNT=10000", "-c", SELECT),
        "1,000,000 rows by COPY to psql": psql("-c", f"COPY ({SELECT}) TO STDOUT"),
        "1,000,000 rows, only counted": counted,
    }


def measure(server: Server, front: Gateway, token: str, folder: Path, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """For each case the ratio recorded to not recorded, the median over rounds of runs side by side, and the one of
    processor times."""
    found: dict[str, dict[str, float]] = {}
    for name, case in cases(server, front, token, folder, seconds).items():
        for connection in ("plain", "recorded"):
            case(connection)                # the first run of each warms what both use
        ratios: list[float] = []
        cost: dict[str, list[float]] = {"plain": [], "recorded": []}
        for turn in range(rounds):
            speed = {}
            for connection in ("plain", "recorded")[::1 if turn % 2 else -1]:
                before = family_time(front.process.pid) + family_time(server.pid) + own_time()
                speed[connection] = case(connection)
                spent = family_time(front.process.pid) + family_time(server.pid) + own_time() - before
                work = speed[connection] * seconds if name.startswith("pgbench") else 1.0
                cost[connection].append(spent / work)
            ratios.append(speed["recorded"] / speed["plain"])
        found[name] = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
                       "work": statistics.median(cost["plain"]) / statistics.median(cost["recorded"])}
    return found


def main() -> int:
    quick = "--quick" in sys.argv
    identity = pyrage.x25519.Identity.generate()
    config = configuration(["plain", "recorded"], RULE, database="bench", recipient=str(identity.to_public()))
    with (tempfile.TemporaryDirectory(prefix="lockgate-bench-") as made,
          embedded({"max_connections": "100", "shared_buffers": "512MB"}, HBA) as server,
          issuer(Path(made) / "issuer") as tokens):
        prepare(server)
        token = tokens.token("agent", "agents", lifetime="86400")
        with gateway(Path(made), config, env={"CRM_PASSWORD": PASSWORD}, backend=server.port, issuer=tokens.url) as front:
            ratios = measure(server, front, token, Path(made), 3 if quick else ROUNDS, 2 if quick else 4)
            files = list((front.state / "audit" / "recordings").glob("*/*.rec"))
            size = sum(path.stat().st_size for path in files)
    if "--json" in sys.argv:
        print(json.dumps({"ratios": ratios, "recordings": len(files), "bytes": size}))
        return 0
    print("recorded, as a ratio to not recorded: median (least to most); by processor time of everything that takes part")
    for name, row in ratios.items():
        print("    {ratio:5.2f} ({least:.2f} to {most:.2f})  {work:5.2f}".format(**row), f" {name}")
    print(f"{len(files)} recordings, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
