"""What refusing hostile statements costs, what the largest that are let through cost, and what never repeating
oneself costs in memory.

Processor time, not the clock's: the statements of `testbed/hostile.py` first through the analysis alone, then sent to
a gateway whose time is read from /proc. Run: `python -m bench.hostile`; `--json` prints one JSON object, `--quick`
leaves the gateway out.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from bench import rawclient
from bench.configuration import configuration
from lockgate.analysis.sql import Catalogue, SessionNames
from lockgate.model import ColumnMask, MaskMethod, Predicates, Refusal
from lockgate.protocols.postgres.operations import StatementReader
from testbed.gateway import gateway, issuer
from testbed.hostile import INPUTS
from testbed.postgres import embedded

LIMIT = 262_144
MASKS = tuple(ColumnMask((glob,), MaskMethod.REDACT, Predicates.MASKED) for glob in ("*.ssn", "customers.email"))
TABLES = {"customers": "id name email ssn balance born", "notes": "id body", "plain": "id word amount price at raw tags doc"}
UNIQUE = 20_000
REPEATS = 5
CONFIG = configuration(["crm"], """\
  - name: hide
    mask: [{{columns: ["*.ssn", "customers.email"], with: redact, predicates: masked}}]
""")


def _rows(row: str, count: int = 1_000) -> str:
    return ", ".join([row] * count)


BULK = {
    "1,000 rows of 10 values": "INSERT INTO plain VALUES " + _rows("(1, 'some words', 12.50, NULL, true, '2026-01-01', -7, 'x', 4, 9)"),
    "1,000 rows of 10 parameters with casts": "INSERT INTO plain VALUES " + _rows(
        "(" + ", ".join(f"${number}::VARCHAR" for number in range(1, 11)) + ")") + " RETURNING id",
    "an IN list of 20,000 numbers": "SELECT id, name FROM customers WHERE id IN (" + ", ".join(map(str, range(20_000))) + ")",
    "15,000 columns of a masked table": "SELECT " + ", ".join(["name"] * 15_000) + " FROM customers",
    "6,400 sums": "SELECT " + ", ".join(["id + id"] * 6_400) + " FROM customers",
    "900 masked tables": "SELECT 1 FROM " + ", ".join(f"customers x{number}" for number in range(900)),
    "a document of 250 kB": "INSERT INTO notes VALUES (1, '" + "words, (signs) and more; " * 10_000 + "')",
}


def catalogue() -> Catalogue:
    """The tables above, as `Catalogue.QUERIES` would give them."""
    relations, columns = [], []
    for oid, (name, names) in enumerate(TABLES.items(), 16_500):
        relations.append((str(oid), "public", name, "r", None, "false"))
        columns += [(str(oid), str(number), column, "text", "text", "b", None, "text")
                    for number, column in enumerate(names.split(), 1)]
    empty: list[tuple[str | None, ...]] = []
    return Catalogue.from_rows({"relations": relations, "columns": columns, "inherits": empty, "functions": empty,
                                "operators": empty, "casts": empty}, 1, "bench")


def cpu(run: Callable[[], object]) -> float:
    """Milliseconds of processor time, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        run()
        best = min(best, (time.process_time() - started) * 1e3)
    return best


def road(raw: bytes, known: Catalogue) -> bool:
    """The whole road of a statement's bytes to its masked text or its refusal; True for a refusal."""
    reader = StatementReader(LIMIT)
    seen = reader.read(raw)
    if seen.problem is not None or seen.statement is None:
        return True
    return isinstance(reader.analyzer.mask(seen.statement, MASKS, known, SessionNames()), Refusal)


def analysed() -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds until each hostile statement is refused, and until each bulk one is let through."""
    known = catalogue()
    refused, passed = {}, {}
    for name, (raw, _) in INPUTS.items():
        if not road(raw, known):
            raise RuntimeError(f"{name} was let through")
        refused[name] = cpu(lambda raw=raw: road(raw, known))  # type: ignore[misc]
    for name, text in BULK.items():
        if road(text.encode(), known):
            raise RuntimeError(f"{name} was refused")
        passed[name] = cpu(lambda text=text: road(text.encode(), known))  # type: ignore[misc]
    return refused, passed


# ---------------------------------------------------------------- a gateway

def ticks(pid: int) -> int:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextlib.contextmanager
def served() -> Iterator[tuple[int, int, str]]:
    """A gateway in front of a server with the tables: its process, its port, a token."""
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name, embedded() as server:
        folder = Path(name)
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE crm")
        with psycopg.connect(server.dsn("crm"), autocommit=True) as admin:
            for table, columns in TABLES.items():
                listed = ", ".join(f"{column} text" for column in columns.split())
                admin.execute(f"CREATE TABLE {table} ({listed})")  # type: ignore[arg-type]
        with (issuer(folder / "issuer") as tokens,
              gateway(folder / "gateway", CONFIG, env={"CRM_PASSWORD": server.password}, backend=server.port,
                      issuer=tokens.url) as running):
            yield running.process.pid, running.port, tokens.token("bench", "agents")


def sent() -> dict[str, float]:
    """Milliseconds of the gateway's processor time for each hostile statement, from its bytes to its error. The
    kernel counts in hundredths of a second, so each is sent several times, each time as another text."""
    found = {}
    with served() as (pid, port, token):
        raw = rawclient.connect(port, user="agent", database="crm", password=token)
        with contextlib.closing(raw):
            for name, (statement, _) in INPUTS.items():
                before = ticks(pid)
                for number in range(REPEATS):
                    rawclient.refused(raw, statement + b" " * number)
                found[name] = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / REPEATS * 1e3
    return found


# ---------------------------------------------------------------- memory

def resident() -> int:
    """Bytes of resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unique(kind: str) -> dict[str, float]:
    """Megabytes before and after 20,000 statements of which none comes twice, and what the caches say they hold."""
    known, reader, session = catalogue(), StatementReader(LIMIT), SessionNames()
    makers: dict[str, Callable[[int], str]] = {
        "ordinary": lambda n: f"SELECT id, name, ssn FROM customers WHERE id = {n} AND name <> 'n{n}' ORDER BY c{n % 977} LIMIT 10",
        "dense, 16 kB": lambda n: "SELECT " + ", ".join([f"c{n}.a{number}" for number in range(1_200)]) + f" FROM plain c{n}",
        "long, 64 kB": lambda n: f"SELECT '{n}{'x' * 65_000}' FROM customers",
    }
    make = makers[kind]
    for number in range(200):
        reader.read(make(-1 - number).encode() if kind != "ordinary" else f"SELECT {number} + a{number}".encode())
    before = resident()
    count = UNIQUE if kind != "dense, 16 kB" else UNIQUE // 10
    for number in range(count):
        seen = reader.read(make(number).encode())
        if seen.statement is not None:
            reader.analyzer.mask(seen.statement, MASKS, known, session)
    analyzer = reader.analyzer
    held = reader._seen.weight + analyzer._statements.weight + analyzer._plans.weight + analyzer._shapes.weight
    return {"statements": float(count), "before_mb": before / 1e6, "after_mb": resident() / 1e6, "caches_mb": held / 1e6}


def memory() -> dict[str, dict[str, float]]:
    """Each kind in a process of its own, so that none finds what another has freed."""
    found = {}
    for kind in ("ordinary", "dense, 16 kB", "long, 64 kB"):
        done = subprocess.run([sys.executable, "-m", "bench.hostile", "--memory", kind], capture_output=True, text=True, check=True)
        found[kind] = json.loads(done.stdout)
    return found


def show(title: str, figures: dict[str, float], most: int) -> None:
    values = sorted(figures.values())
    print(f"{title}: {len(values)} statements, median {statistics.median(values):.1f} ms, most {values[-1]:.1f} ms")
    for name, value in sorted(figures.items(), key=lambda item: -item[1])[:most]:
        print(f"    {value:7.1f}  {name}")


def main() -> None:
    if "--memory" in sys.argv:
        print(json.dumps(unique(sys.argv[-1])))
        return
    refused, passed = analysed()
    at_gateway = {} if "--quick" in sys.argv else sent()
    kept = memory()
    if "--json" in sys.argv:
        print(json.dumps({"refused_cpu_ms": refused, "passed_cpu_ms": passed, "gateway_cpu_ms": at_gateway, "memory": kept}))
        return
    show("processor time until a hostile statement is refused (aim: at most 50 ms)", refused, 12)
    if at_gateway:
        show("the same at a gateway, all of its work included", at_gateway, 12)
    show("the largest statements that are let through (aim: at most 150 ms)", passed, len(passed))
    print("memory of a process that reads statements of which none comes twice")
    for kind, row in kept.items():
        print(f"    {kind:14} {row['statements']:7,.0f} statements: {row['before_mb']:6.1f} MB before, {row['after_mb']:6.1f} MB after"
              f" (caches say {row['caches_mb']:.1f} MB)")


if __name__ == "__main__":
    main()
