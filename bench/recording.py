"""What a recording costs: the same gateway and database, once over a connection that is recorded and once over one that is
not, in turns. Prints ratios, and how much disk a recording takes.

`pgbench -S` with 8 clients, and a million rows read by psql, by COPY, and by a client that only counts bytes: the last
one leaves nothing idle on two cores, so all that recording does is in its figure.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyrage

from bench import rawclient
from bench.__main__ import HBA, PASSWORD, Target, pgbench, prepare, processor_time
from bench.configuration import configuration
from testbed.gateway import Gateway, gateway, issuer
from testbed.postgres import Server, embedded

ROUNDS = 5
SELECT = "SELECT id, name, ssn, note FROM bulk"
RULE = "  - {{name: recorded, connections: [recorded], record: true}}\n"
Case = Callable[[str], float]
"""Connection → how much a second."""


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


def measure(server: Server, front: Gateway, token: str, folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    """For each case the ratio recorded to not recorded: the median over rounds of runs side by side."""
    found: dict[str, object] = {}
    target = Target("lockgate", front.port, "agent", token, front.process.pid)
    for name, case in cases(server, front, token, folder, seconds).items():
        case("plain"), case("recorded")             # the first run of each warms what both use
        ratios, spent = [], {"plain": 0.0, "recorded": 0.0}
        for turn in range(rounds):
            speed = {}
            for connection in ("plain", "recorded")[::1 if turn % 2 else -1]:
                before = processor_time(target)
                speed[connection] = case(connection)
                spent[connection] += processor_time(target) - before
            ratios.append(speed["recorded"] / speed["plain"])
        found[name] = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
                       "cpu": spent["recorded"] / spent["plain"] if spent["plain"] else 0.0}
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
            ratios = measure(server, front, token, Path(made), 2 if quick else ROUNDS, 2 if quick else 4)
            files = list((front.state / "audit" / "recordings").glob("*/*.rec"))
            size = sum(path.stat().st_size for path in files)
    if "--json" in sys.argv:
        print(json.dumps({"ratios": ratios, "recordings": len(files), "bytes": size}))
        return 0
    print("recorded, as a ratio to not recorded: median (least to most); the gateway's processor time")
    for name, row in ratios.items():
        print("    {ratio:5.2f} ({least:.2f} to {most:.2f})  {cpu:5.2f}".format(**row), f" {name}")  # type: ignore[arg-type]
    print(f"{len(files)} recordings, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
