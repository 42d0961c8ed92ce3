"""What recording HTTP costs: the gateway's processor time for a request, over a connection that is recorded and over one that
is not, in turns. Prints microseconds and ratios, and how much disk a recording takes.

A JSON document of 2 kB with one masked field, read over one connection kept alive, and a text of 16 MB in pieces of 64 KiB,
of which a recording keeps its share. The backend answers from memory.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyrage

from bench.recording import family_time
from testbed.gateway import Gateway, gateway, issuer

ROUNDS = 7
DOCUMENT = json.dumps({"id": 1, "name": "ann", "ssn": "219-09-9999", "items": [
    {"n": number, "text": "lorem ipsum " * 3} for number in range(32)]}).encode()
LARGE = b"lorem ipsum dolor sit amet " * 620_000
CONFIG = """\
state: {folder}/state
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: async, origin: bench.lockgate.example/log, recording: {{recipients: [RECIPIENT]}}}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, leeway: 0s, algorithms: [ES256], unsafe_http: true}}
connections:
  - {{name: plain, protocol: http, address: "127.0.0.1:{backend}", server_names: [plain.example], tls: {{mode: disable}},
     options: {{inject: none}}}}
  - {{name: recorded, protocol: http, address: "127.0.0.1:{backend}", server_names: [recorded.example], tls: {{mode: disable}},
     options: {{inject: none}}, record: true}}
policies:
  - {{name: connect, who: {{groups: [agents]}}, allow: connect}}
  - {{name: hide, mask: [{{columns: ["*.ssn"], with: redact}}]}}
"""


class Backend(BaseHTTPRequestHandler):
    """Answers from memory."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The document, or the text."""
        content, kind = (LARGE, "text/plain") if self.path == "/large" else (DOCUMENT, "application/json")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        self.wfile.write(head.encode() + content)       # at once: a second small write waits for the first to be acknowledged

    def log_message(self, *_: object) -> None:
        """Nothing."""


def spent(front: Gateway, token: str, host: str, path: str, count: int) -> float:
    """Seconds of the gateway's processor time for each of so many requests over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    headers = {"Host": f"{host}.example", "Authorization": f"Bearer {token}"}

    def ask(times: int) -> None:
        for _ in range(times):
            connection.request("GET", path, headers=headers)
            connection.getresponse().read()

    ask(3)
    before = family_time(front.process.pid)
    ask(count)
    found = (family_time(front.process.pid) - before) / count
    connection.close()
    return found


def measure(front: Gateway, token: str, rounds: int) -> dict[str, dict[str, float]]:
    """For each case the least time of each kind, and the median of ratios of runs side by side."""
    cases: dict[str, Callable[[str], float]] = {
        "2 kB of JSON, one field masked": lambda host: spent(front, token, host, "/document", 1_000) * 1e6,
        "16 MB of text": lambda host: spent(front, token, host, "/large", 10) * 1e6,
    }
    found = {}
    for name, case in cases.items():
        times: dict[str, list[float]] = {"plain": [], "recorded": []}
        for turn in range(rounds):
            for host in ("plain", "recorded")[::1 if turn % 2 else -1]:
                times[host].append(case(host))
        found[name] = {"plain": min(times["plain"]), "recorded": min(times["recorded"]), "ratio": statistics.median(
            one / other for one, other in zip(times["plain"], times["recorded"], strict=True))}
    return found


def main() -> int:
    """Measure and print."""
    identity = pyrage.x25519.Identity.generate()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as made, issuer(Path(made) / "issuer") as tokens:
        token = tokens.token("agent", "agents", lifetime="86400")
        config = CONFIG.replace("RECIPIENT", str(identity.to_public()))
        with gateway(Path(made), config, backend=server.server_port, issuer=tokens.url) as front:
            found = measure(front, token, 3 if "--quick" in sys.argv else ROUNDS)
            size = sum(path.stat().st_size for path in (front.state / "audit" / "recordings").glob("*/*.rec"))
    server.shutdown()
    if "--json" in sys.argv:
        print(json.dumps({"cases": found, "bytes": size}))
        return 0
    for name, row in found.items():
        print("{plain:9.0f} µs  {recorded:9.0f} µs recorded  {ratio:.2f}".format(**row), f" {name}")
    print(f"{size / 1e6:.1f} MB of recordings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
