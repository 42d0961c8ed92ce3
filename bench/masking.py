"""What masks cost over a large result, and what a result of ten million rows keeps in memory.

One gateway with a connection for each kind of mask, all on one table; direct and gateway in rotated order, so that
only the ratios matter. Run: `python -m bench.masking`; `--json` prints one JSON object, `--quick` takes a tenth of the
rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

import psycopg

from bench import rawclient
from bench.configuration import configuration
from lockgate.govern.masking import DETECTORS
from testbed.gateway import Gateway, gateway, issuer
from testbed.postgres import Server, embedded

PASSWORD = "bench"
HBA = "host all all 127.0.0.1/32 trust\n"
ROWS = 1_000_000
ROUNDS = 3
SELECT = "SELECT id, name, ssn, note FROM {table}"
DETECT = f"{{{{detect: [{', '.join(DETECTORS)}], with: partial}}}}"
MASKS = {
    "policy alone": "",
    "one column redacted": '{{columns: ["*.ssn"], with: redact}}',
    "one column partial": '{{columns: ["*.ssn"], with: partial}}',
    "one column hashed": '{{columns: ["*.ssn"], with: hash}}',
    "one column as tokens": '{{columns: ["*.ssn"], with: token}}',
    "all detectors, clean rows": DETECT,
    "all detectors, finds in 1 % of rows": DETECT,
}
"""What is measured → the masks of its connection."""
TABLES = {"all detectors, finds in 1 % of rows": "dirty"}
RULE = "  - {{name: mask-%d, connections: [m%d], mask: [%s]}}\n"


def config() -> str:
    """One connection for each kind of mask."""
    rules = "".join(RULE % (number, number, mask) for number, mask in enumerate(MASKS.values()) if mask)
    return configuration([f"m{number}" for number in range(len(MASKS))], rules, database="bench")


def prepare(server: Server, rows: int) -> None:
    """A million rows of 127 bytes, and as many of which one in a hundred holds an e-mail address or a card number."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE bench")
    with psycopg.connect(server.dsn("bench"), autocommit=True) as admin:
        for table, note in (("bulk", "'the quick brown fox jumps over the lazy dog and rests'"), ("dirty", """
            CASE g % 200 WHEN 0 THEN 'write to ann.lee' || g || '@example.com before the end of the week'
                         WHEN 100 THEN 'paid with card 4111 1111 1111 1111 in the shop, thank you'
                         ELSE 'the quick brown fox jumps over the lazy dog and rests' END""")):
            admin.execute(f"""
                CREATE TABLE {table} AS SELECT g AS id, 'person number ' || g AS name,
                  'n' || lpad((g % 1000)::text, 3, '0') || 'x' || lpad((g % 97)::text, 2, '0') AS ssn, {note} AS note
                FROM generate_series(1, {rows}) g""".encode())
            admin.execute(f"VACUUM ANALYZE {table}".encode())


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(port: int, user: str, database: str, password: str, statement: str) -> float:
    """Seconds for all rows of a statement in a session of its own."""
    with contextlib.closing(rawclient.connect(port, user=user, database=database, password=password)) as raw:
        return rawclient.read_all(raw, statement)[1]


def speeds(server: Server, front: Gateway, token: str) -> dict[str, float]:
    """Rows per second of each kind of mask, as a ratio to a direct connection that reads the same table."""
    best: dict[tuple[str, bool], float] = {}
    for turn in range(ROUNDS):
        names = list(MASKS)
        for name in names[turn:] + names[:turn]:
            statement = SELECT.format(table=TABLES.get(name, "bulk"))
            number = list(MASKS).index(name)
            for is_direct in (True, False):
                took = timed(server.port, "postgres", "bench", "", statement) if is_direct else timed(
                    front.port, "agent", f"m{number}", token, statement)
                best[name, is_direct] = min(took, best.get((name, is_direct), took))
    return {name: best[name, True] / best[name, False] for name in MASKS}


def growth(front: Gateway, token: str) -> dict[str, list[float]]:
    """Megabytes of the gateway after one and after ten times the rows, with a keyed mask and with detectors."""
    found = {}
    for name in ("one column hashed", "all detectors, finds in 1 % of rows"):
        number, statement = list(MASKS).index(name), SELECT.format(table=TABLES.get(name, "bulk"))
        found[name] = []
        for times in (1, 10):
            timed(front.port, "agent", f"m{number}", token, f"{statement}, generate_series(1, {times})")
            found[name].append(resident(front.process.pid) / 1e6)
    return found


def main() -> int:
    rows = ROWS // 10 if "--quick" in sys.argv else ROWS
    with (tempfile.TemporaryDirectory(prefix="lockgate-bench-") as made,
          embedded({"shared_buffers": "512MB"}, HBA) as server, issuer(Path(made) / "issuer") as tokens):
        prepare(server, rows)
        with gateway(Path(made), config(), env={"CRM_PASSWORD": PASSWORD}, backend=server.port,
                     issuer=tokens.url) as front:
            token = tokens.token("agent", "agents")
            ratios, memory = speeds(server, front, token), growth(front, token)
    if "--json" in sys.argv:
        print(json.dumps({"rows": rows, "ratios": ratios, "memory_mb": memory}))
        return 0
    print(f"{rows:,} rows of 127 bytes, rows per second as a ratio to a direct connection")
    for name, ratio in ratios.items():
        print(f"    {ratio:5.2f}  {name}")
    print(f"memory of the gateway's process after {rows:,} and after {10 * rows:,} rows")
    for name, (one, ten) in memory.items():
        print(f"    {one:6.1f} MB, {ten:6.1f} MB  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
