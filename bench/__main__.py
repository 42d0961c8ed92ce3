"""`make bench`: direct, PgBouncer and Lockgate in one run, in rotated order, as ratios.

Prints tables and writes them as JSON to `bench/results/latest.json`. Figures of one machine at one
time: only the ratios travel. `--quick` shortens every measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from bench import rawclient
from bench.configuration import configuration
from lockgate.govern.masking import DETECTORS
from testbed.gateway import gateway, issuer, run, spawn, wait_ready
from testbed.postgres import Server, embedded, free_port

PASSWORD = "bench"
HBA = "host all all 127.0.0.1/32 trust\n"
BULK_ROWS = 1_000_000
IDLE_SESSIONS = 300
POLICY = """\
  - {{name: no-drop, when: 'op.verb in ["drop", "truncate"]', deny: not here}}
  - {{name: no-blind-delete, when: 'op.verb == "delete" && !op.has_where', deny: not without WHERE}}
  - {{name: review-grants, when: 'op.verb == "grant"', review: {{by: [dba]}}}}
"""
MASK = """\
  - name: hide
    mask: [{{columns: ["bulk.ssn", "pgbench_accounts.filler"], with: redact}}]
"""
DETECT = f"""\
  - name: detect
    mask: [{{{{detect: [{", ".join(DETECTORS)}], with: partial}}}}]
"""


@dataclass(frozen=True)
class Target:
    """One thing to measure: where to connect and how."""

    name: str
    port: int
    user: str
    password: str
    pid: int | None = None


@dataclass(frozen=True)
class Variant:
    """One configuration of the gateway."""

    name: str
    audit: str
    policies: str
    record: bool = True


MODES, CLIENTS = ("simple", "extended"), (1, 8, 64)
ASYNC, FULL = "lockgate: + mask (async)", "lockgate: + audit full, mask"
"""Two that differ in `audit` alone."""
VARIANTS = (
    Variant("lockgate: relay", "async", "", record=False),
    Variant("lockgate: + policy", "async", POLICY, record=False),
    Variant("lockgate: + audit async", "async", POLICY),
    Variant(ASYNC, "async", POLICY + MASK),
    Variant(FULL, "full", POLICY + MASK),
    Variant("lockgate: + detectors (async)", "async", POLICY + MASK + DETECT),
)


def prepare(server: Server) -> None:
    """pgbench's tables and one million rows of 127 bytes with a column to mask."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE bench")
    subprocess.run([server.bin / "pgbench", "-i", "-q", "-s", "10", server.dsn("bench")],
                   check=True, capture_output=True)
    with psycopg.connect(server.dsn("bench"), autocommit=True) as admin:
        admin.execute(f"""CREATE UNLOGGED TABLE bulk AS SELECT n AS id, 'customer number ' || n AS name,
            '219-09-' || lpad((n % 10000)::text, 4, '0') AS ssn, repeat('lorem ipsum ', 6) AS note
            FROM generate_series(1, {BULK_ROWS}) n""")
        admin.execute("VACUUM ANALYZE")


@contextlib.contextmanager
def pgbouncer(server: Server, folder: Path) -> Iterator[Target | None]:
    """Debian's PgBouncer in session mode, or None where it is not installed."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        yield None
        return
    port = free_port()
    home = folder / "pgbouncer"
    home.mkdir()
    (home / "users.txt").write_text('"postgres" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\nbench = host=127.0.0.1 port={server.port} dbname=bench user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\n"
        f"auth_file = {home}/users.txt\npool_mode = session\ndefault_pool_size = 150\nmax_client_conn = 500\n"
        f"logfile = {home}/log\n")
    folder.chmod(0o755)
    account: dict[str, object] = {}
    if os.geteuid() == 0:
        shutil.chown(home, "nobody", "nogroup")
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    process = subprocess.Popen([program, "-q", str(home / "pgbouncer.ini")],  # type: ignore[call-overload]
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account)
    try:
        probe = [server.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(probe).returncode:
            if process.poll() is not None:
                raise RuntimeError("PgBouncer did not start: " + (home / "log").read_text())
        yield Target("pgbouncer", port, "postgres", "", process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def lockgate(variant: Variant, server: Server, issuer_url: str, token: str, folder: Path) -> Iterator[Target]:
    """A gateway with the variant's configuration."""
    name = re.sub(r"\W+", "-", variant.name)
    config = configuration(["bench"], variant.policies, audit=variant.audit)
    home = folder / name
    if variant.record:
        with gateway(home, config, env={"CRM_PASSWORD": PASSWORD}, backend=server.port, issuer=issuer_url) as front:
            yield Target(variant.name, front.port, "agent", token, front.process.pid)
        return
    home.mkdir()
    ports = {"port": free_port(), "control": free_port()}
    (home / "lockgate.yaml").write_text(
        config.format(folder=home, backend=server.port, issuer=issuer_url, **ports))
    words = [sys.executable, "-m", "bench.without_record", "serve", "-c", str(home / "lockgate.yaml")]
    process = spawn(words, home / "gateway.log", {"CRM_PASSWORD": PASSWORD})
    try:
        wait_ready(f"http://127.0.0.1:{ports['control']}/readyz", process, home / "gateway.log")
        yield Target(variant.name, ports["port"], "agent", token, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def processor_time(target: Target) -> float:
    """Seconds of processor time that the target's process and its children have used (0: not measured)."""
    if target.pid is None:
        return 0.0
    family = [target.pid]
    for task in Path(f"/proc/{target.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            family += map(int, (task / "children").read_text().split())
    ticks = 0
    for pid in family:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])      # utime, stime: proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def pgbench(server: Server, target: Target, clients: int, mode: str, seconds: float,
            folder: Path, *, database: str = "bench") -> dict[str, float]:
    """One run of `pgbench -S`: transactions per second, p50 and p99 of latency in ms, and microseconds of the
    target's processor time per transaction, which says more than a clock on a machine with two cores."""
    logs = Path(tempfile.mkdtemp(dir=folder))
    before = processor_time(target)
    done = subprocess.run(
        [server.bin / "pgbench", "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(int(seconds)),
         "-l", f"--log-prefix={logs}/t", "-h", "127.0.0.1", "-p", str(target.port), "-U", target.user, database],
        capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": target.password})
    match = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or match is None:
        raise RuntimeError(f"{target.name}: {done.stdout}{done.stderr}")
    delays = sorted(int(line.split()[2]) for path in logs.iterdir() for line in path.open())
    shutil.rmtree(logs)
    spent = processor_time(target) - before
    return {"tps": float(match[1]), "p50_ms": delays[len(delays) // 2] / 1000,
            "p99_ms": delays[int(len(delays) * 0.99)] / 1000, "cpu_us": spent / len(delays) * 1e6}


def bulk(target: Target, rounds: int) -> dict[str, float]:
    """One million rows read to the end: best of `rounds`, rows/s and MB/s."""
    best = (0, float("inf"))
    for _ in range(rounds):
        with contextlib.closing(rawclient.connect(target.port, user=target.user, database="bench",
                                                  password=target.password)) as raw:
            best = min(best, rawclient.read_all(raw, "SELECT id, name, ssn, note FROM bulk"), key=lambda r: r[1])
    return {"rows_per_s": BULK_ROWS / best[1], "mb_per_s": best[0] / best[1] / 1e6}


def idle_memory(target: Target) -> float:
    """Bytes of resident memory that one idle session costs the gateway (its main process).

    Of a gateway that has seen no load: memory that a load has left free would hide what sessions take.
    """
    def resident() -> int:
        pages = int(Path(f"/proc/{target.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    warm = [rawclient.connect(target.port, user=target.user, database="bench", password=target.password)
            for _ in range(2)]      # what every session shares is loaded with the first
    before = resident()
    more = [rawclient.connect(target.port, user=target.user, database="bench", password=target.password)
            for _ in range(IDLE_SESSIONS)]
    grown = resident() - before
    for raw in (*warm, *more):
        raw.close()
    return grown / len(more)


def measure(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, object]:
    results: dict[str, dict[str, object]] = {}
    with (embedded({"max_connections": "400", "shared_buffers": "512MB"}, HBA) as server,
          issuer(folder / "issuer") as tokens, contextlib.ExitStack() as stack):
        prepare(server)
        token = tokens.token("bench", "agents", lifetime="86400")
        targets = [Target("direct", server.port, "postgres", "")]
        bouncer = stack.enter_context(pgbouncer(server, folder))
        if bouncer is None:
            console.print("PgBouncer is not installed (scripts/install-test-packages): ratios to it are left out")
        else:
            targets.append(bouncer)
        for variant in VARIANTS:
            target = stack.enter_context(lockgate(variant, server, tokens.url, token, folder))
            results[target.name] = {"idle_bytes": idle_memory(target)}
            targets.append(target)
        samples: dict[tuple[str, str], list[dict[str, float]]] = {}
        for mode in MODES:
            for clients in CLIENTS:
                for turn in range(options.rounds):
                    order = targets[turn % len(targets):] + targets[:turn % len(targets)]
                    for target in order:
                        one = pgbench(server, target, clients, mode, options.seconds, folder)
                        samples.setdefault((target.name, f"{mode}-{clients}"), []).append(one)
                console.print(f"measured {mode}, {clients} clients")
        for (name, case), runs in samples.items():
            results.setdefault(name, {})[case] = {
                key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for target in targets:
            results[target.name]["bulk"] = bulk(target, options.rounds)
    return {target.name: results[target.name] for target in targets}


def show(results: dict[str, dict[str, object]], console: Console) -> None:
    """Ratios to PgBouncer (or to direct where it is missing) for pgbench, to direct for bulk."""
    base = results.get("pgbouncer") or results["direct"]
    cases = [case for case in results["direct"] if case != "bulk"]
    table = Table(title="pgbench -S: transactions per second, as a ratio to "
                        + ("PgBouncer" if "pgbouncer" in results else "direct")
                        + " (p50 / p99 in ms; µs of its processor time per transaction)")
    table.add_column("")
    for case in cases:
        table.add_column(case, justify="right")
    for name, row in results.items():
        cells = []
        for case in cases:
            one: dict[str, float] = row[case]  # type: ignore[assignment]
            ratio = one["tps"] / base[case]["tps"]  # type: ignore[index]
            cells.append(f"{ratio:.2f} ({one['p50_ms']:.2f}/{one['p99_ms']:.2f}; {one['cpu_us']:.0f})")
        table.add_row(name, *cells)
    console.print(table)
    table = Table(title=f"{BULK_ROWS:,} rows, as a ratio to direct")
    for head in ("", "ratio", "rows/s", "MB/s", "kB per idle session"):
        table.add_column(head, justify="right" if head else "left")
    direct = results["direct"]["bulk"]["rows_per_s"]  # type: ignore[index]
    for name, row in results.items():
        figures = row["bulk"]
        idle = row.get("idle_bytes")
        table.add_row(name, f"{figures['rows_per_s'] / direct:.2f}", f"{figures['rows_per_s']:,.0f}",  # type: ignore[index]
                      f"{figures['mb_per_s']:.0f}", "" if idle is None else f"{idle / 1000:.0f}")  # type: ignore[index, operator]
    console.print(table)


def full_to_async(results: dict[str, dict[str, object]]) -> dict[str, float]:
    """What waiting until each record is durable leaves of the transactions per second, by pgbench's mode and clients."""
    full, behind = results[FULL], results[ASYNC]
    return {case: full[case]["tps"] / behind[case]["tps"] for case in full if "-" in case}  # type: ignore[index]


def show_full(results: dict[str, dict[str, object]], console: Console) -> None:
    """The price of `audit: full`."""
    ratios = full_to_async(results)
    table = Table(title="audit: full as a ratio to audit: async, the same rules, transactions per second")
    table.add_column("pgbench -S")
    for clients in CLIENTS:
        table.add_column(f"{clients} client{'s' if clients > 1 else ''}", justify="right")
    for mode in MODES:
        table.add_row(mode, *(f"{ratios[f'{mode}-{clients}']:.2f}" for clients in CLIENTS))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one round")
    options = parser.parse_args()
    options.seconds, options.rounds = (2, 1) if options.quick else (4, 2)
    console = Console(width=150)
    folder = Path(tempfile.mkdtemp(prefix="lockgate-bench-"))
    try:
        version = run("version")
        console.print(version)
        results = measure(options, folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(results, console)  # type: ignore[arg-type]
    show_full(results, console)  # type: ignore[arg-type]
    target = Path(__file__).parent / "results" / "latest.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores",
                                  "python": platform.python_version(), "lockgate": version.splitlines(),
                                  "full_to_async": full_to_async(results), "results": results}, indent=1) + "\n")
    console.print(f"written to {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")
    for script in ("bench.analysis", "bench.hostile", "bench.kernel", "bench.masking", "bench.recording", "bench.audit_append", "bench.audit_verify",
                   "bench.audit_stores", "bench.apis"):
        console.rule(script)
        subprocess.run([sys.executable, "-m", script], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
