"""HTTP through the gateway beside a direct connection, nginx as a pass-through, and mitmproxy in reverse mode with a masking
script, in one run and in rotated order, as ratios.

wrk asks nginx's own static file of 2 kB of JSON for it, with 1, 32 and 256 connections; one field is masked. A stream of
100 MB is read by curl. mitmproxy is no dependency of anything here, so it is looked for on the PATH or in `MITMDUMP`;
without it its column is missing. Tool calls of MCP stand at the end (`bench.toolcalls`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import toolcalls
from testbed.gateway import gateway, issuer
from testbed.postgres import free_port

CONNECTIONS = (1, 32, 256)
ROUNDS, SECONDS = 3, 3
STREAM = 100 << 20
NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000; server_tokens off;
  types {{ application/json json; text/plain txt; }}
  client_body_temp_path {folder}/{name}b; proxy_temp_path {folder}/{name}p; fastcgi_temp_path {folder}/{name}f;
  uwsgi_temp_path {folder}/{name}u; scgi_temp_path {folder}/{name}s;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024; {location} }}
}}
"""
STATIC = "location / {{ root {folder}/www; }}"
PASS = 'location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }'
CONFIG = """\
state: {folder}/state
listeners: [{{name: apis, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}]
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: async}}
identity:
  providers: [{{name: dev, issuer: "{issuer}", audience: lockgate, algorithms: [ES256], unsafe_http: true}}]
connections:
  - {{name: plain, protocol: http, address: "127.0.0.1:{backend}", server_names: [plain.example], tls: {{mode: disable}}, options: {{inject: none}}}}
  - {{name: masked, protocol: http, address: "127.0.0.1:{backend}", server_names: [masked.example], tls: {{mode: disable}}, options: {{inject: none}}}}
policies:
  - {{name: all, allow: connect}}
  - {{name: hide, connections: [masked], mask: [{{columns: ["*.ssn"], with: redact}}]}}
"""
MITM = """\
import json

def response(flow):
    found = json.loads(flow.response.content)
    found["ssn"] = "xxxx"
    flow.response.text = json.dumps(found)
"""


@dataclass(frozen=True)
class Target:
    """Where to ask, and with which headers."""

    name: str
    port: int
    headers: tuple[str, ...] = ()


@contextlib.contextmanager
def nginx(folder: Path, name: str, location: str, backend: int = 9) -> Iterator[int]:
    """An nginx of one worker until the block ends."""
    port, config = free_port(), folder / f"{name}.conf"
    config.write_text(NGINX.format(folder=folder, name=name, port=port, backend=backend, location=location))
    process = subprocess.Popen(["nginx", "-e", str(folder / f"{name}0.log"), "-c", str(config)])
    try:
        _answers(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def mitmproxy(folder: Path, backend: int) -> Iterator[int | None]:
    """mitmdump in reverse mode until the block ends; None where there is none."""
    command = os.environ.get("MITMDUMP") or shutil.which("mitmdump")
    if command is None:
        yield None
        return
    port, script = free_port(), folder / "mask.py"
    script.write_text(MITM)
    process = subprocess.Popen([
        command, "-q", "--mode", f"reverse:http://127.0.0.1:{backend}", "--listen-host", "127.0.0.1", "-p", str(port),
        "--set", f"confdir={folder}/mitm", "--set", "connection_strategy=lazy", "-s", str(script)])
    try:
        _answers(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> None:
    subprocess.run(["curl", "-s", "-o", "/dev/null", "--retry", "60", "--retry-connrefused", "--retry-delay", "1",
                    f"http://127.0.0.1:{port}/doc.json"], check=True)


def wrk(target: Target, connections: int) -> tuple[float, float, float]:
    """Requests a second, and the median and 99th percentile in milliseconds."""
    headers = [word for header in target.headers for word in ("-H", header)]
    said = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *headers,
                           f"http://127.0.0.1:{target.port}/doc.json"], capture_output=True, text=True, check=True).stdout
    errors = re.search(r"connect (\d+), read (\d+), write (\d+)", said)      # who answers late is slow, not wrong
    if "Non-2xx" in said or (errors is not None and any(map(int, errors.groups()))):
        raise RuntimeError(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None
    return float(rate[1]), _milliseconds(said, "50%"), _milliseconds(said, "99%")


def _milliseconds(said: str, quantile: str) -> float:
    found = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", said)
    assert found is not None
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def stream(target: Target) -> float:
    """Seconds in which a stream of 100 MB is read."""
    headers = [word for header in target.headers for word in ("-H", header)]
    begun = time.perf_counter()
    subprocess.run(["curl", "-sf", "-o", "/dev/null", *headers, f"http://127.0.0.1:{target.port}/stream.txt"], check=True)
    return time.perf_counter() - begun


def measured(targets: list[Target], of: Callable[[Target], tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """The median of each figure over rounds in which every target has its turn, in another order each time."""
    found: dict[str, list[tuple[float, ...]]] = {target.name: [] for target in targets}
    for turn in range(ROUNDS):
        for target in targets[turn % len(targets):] + targets[:turn % len(targets)]:
            found[target.name].append(of(target))
    return {name: tuple(map(statistics.median, zip(*figures, strict=True))) for name, figures in found.items()}


def main() -> int:
    """Print the tables."""
    if shutil.which("nginx") is None or shutil.which("wrk") is None:
        print("nginx and wrk are not here: scripts/install-test-packages nginx wrk")
        return 0
    console = Console(width=150)
    folder = Path(tempfile.mkdtemp(prefix="lockgate-bench-"))
    folder.chmod(0o755)
    try:
        _run(folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(folder: Path, console: Console) -> None:
    www = folder / "www"
    www.mkdir()
    document = {"id": 1, "name": "ann", "ssn": "219-09-9999", "items": [{"n": n, "t": "x" * 24} for n in range(46)]}
    (www / "doc.json").write_text(json.dumps(document))
    (www / "stream.txt").write_bytes(b"nothing to see here, and a line end\n" * (STREAM // 36))
    for path in (www, *www.iterdir()):
        path.chmod(0o755)
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(nginx(folder, "backend", STATIC.format(folder=folder)))
        passing = stack.enter_context(nginx(folder, "passing", PASS, backend))
        tokens = stack.enter_context(issuer(folder / "issuer"))
        front = stack.enter_context(gateway(folder / "gateway", CONFIG, backend=backend, issuer=tokens.url))
        other = stack.enter_context(mitmproxy(folder, backend))
        login = f"Authorization: Bearer {tokens.token('bench', 'agents')}"
        targets = [Target("direct", backend), Target("nginx", passing)]
        if other is not None:
            targets.append(Target("mitmproxy, masked", other))
        targets += [Target(f"lockgate, {name}", front.port, (login, f"Host: {name}.example")) for name in ("plain", "masked")]
        for connections in CONNECTIONS:
            figures = measured(targets, lambda target, many=connections: wrk(target, many))  # type: ignore[misc]
            _show(console, connections, figures)
        seconds = measured([one for one in targets if "mitm" not in one.name], lambda target: (stream(target),))
        console.print(f"a stream of {STREAM >> 20} MB: " + ", ".join(
            f"{name} {STREAM / (1 << 20) / figure[0]:.0f} MB/s ({seconds['direct'][0] / figure[0]:.2f} of direct)"
            for name, figure in seconds.items()))
        toolcalls.show(console, toolcalls.measure(folder / "toolcalls", tokens))


def _show(console: Console, connections: int, figures: dict[str, tuple[float, ...]]) -> None:
    table = Table(title=f"2 kB of JSON, one field masked, {connections} connections")
    for heading in ("", "requests/s", "of nginx", "of mitmproxy", "p50 ms", "p50 added ms", "p99 ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    direct, passing, other = figures["direct"], figures["nginx"], figures.get("mitmproxy, masked")
    for name, (rate, median, worst) in figures.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / passing[0]:.2f}", f"{rate / other[0]:.1f}" if other else "–",
                      f"{median:.2f}", f"{median - direct[1]:.2f}", f"{worst:.2f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
