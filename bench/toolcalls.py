"""What the gateway adds to an MCP tool call over streamable HTTP, with `audit: async` and `audit: full`.

One client keeps a connection and a session with each of three: the server, and a gateway of each kind in front of it. It calls
the same tool of each in turn, in another order each round, so whatever else the machine does falls on all three. The server is
FastMCP, which takes some milliseconds itself; what is added is the difference of the medians.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.recording import family_time
from testbed.gateway import Gateway, Issuer, gateway, issuer
from testbed.mcpserver import mcpserver

ROUNDS, WARM = 400, 40
CONFIG = """\
state: {folder}/state
listeners: [{{name: tools, protocol: mcp, address: "127.0.0.1:{port}", connection: crm, plaintext_tokens: loopback}}]
control: {{address: "127.0.0.1:{control}"}}
audit: {audit}
identity:
  providers: [{{name: dev, issuer: "{issuer}", audience: lockgate, algorithms: [ES256], unsafe_http: true}}]
connections: [{{name: crm, protocol: mcp, address: "127.0.0.1:{backend}", tls: {{mode: disable}}, options: {{inject: none}}}}]
policies:
  - {{name: all, allow: connect}}
  - {{name: nothing-is-dropped, when: 'op.tool == "drop_everything"', deny: agents do not remove customers}}
  - {{name: hide, mask: [{{columns: ["*.ssn"], with: redact}}, {{detect: [credit_card], with: partial}}]}}
"""
AUDIT = {"async": "{mode: async}", "full": "{mode: full, origin: bench.example/log}"}


@dataclass
class Session:
    """An initialized session over one connection."""

    name: str
    connection: http.client.HTTPConnection
    headers: dict[str, str]
    front: Gateway | None
    took: list[float] = field(default_factory=list)
    """Seconds of each call."""
    processor: float = 0.0
    """Seconds of the gateway's processor time for a call."""

    def ask(self, method: str, **parameters: object) -> bytes:
        """Send a request, or a notification, and read the answer to its end."""
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": parameters}
        if not method.startswith("notifications/"):
            message["id"] = 1
        self.connection.request("POST", "/mcp", json.dumps(message), self.headers)
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status >= 300 or b'"error"' in said:
            raise RuntimeError(f"{self.name}: {answer.status} {said!r}")
        if given := answer.headers.get("mcp-session-id"):
            self.headers["mcp-session-id"] = given
        return said

    def begin(self) -> None:
        """Agree on a version and list the tools, as every client does."""
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "bench", "version": "1"})
        self.headers["mcp-protocol-version"] = "2025-11-25"
        self.ask("notifications/initialized")
        self.ask("tools/list")

    def call(self) -> None:
        """Call the tool and note how long it took."""
        begun = time.perf_counter()
        said = self.ask("tools/call", name="customer", arguments={"number": 1})
        self.took.append(time.perf_counter() - begun)
        if b"ann" not in said:
            raise RuntimeError(f"{self.name}: {said!r}")


def _session(name: str, port: int, front: Gateway | None = None, token: str = "") -> Session:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    made = Session(name, http.client.HTTPConnection("127.0.0.1", port, timeout=30), headers, front)
    made.begin()
    return made


def measure(folder: Path, tokens: Issuer) -> list[Session]:
    """The three sessions after their calls; the first is the server's own."""
    folder.mkdir(exist_ok=True)
    token = tokens.token("bench", "agents")
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(mcpserver(folder)).port
        fronts = {mode: stack.enter_context(gateway(folder / mode, CONFIG, backend=backend, issuer=tokens.url, audit=audit))
                  for mode, audit in AUDIT.items()}
        sessions = [_session("direct", backend)]            # last of all: uvicorn closes what is idle for five seconds
        sessions += [_session(f"lockgate, audit {mode}", front.port, front, token) for mode, front in fronts.items()]
        _turns(sessions, WARM)
        spent = [_processor(session) for session in sessions]
        _turns(sessions, ROUNDS)
        for session, before in zip(sessions, spent, strict=True):
            session.processor = (_processor(session) - before) / ROUNDS
            session.connection.close()
            del session.took[:WARM]
    return sessions


def _turns(sessions: list[Session], rounds: int) -> None:
    for turn in range(rounds):
        first = turn % len(sessions)
        for session in sessions[first:] + sessions[:first]:
            session.call()


def _processor(session: Session) -> float:
    return family_time(session.front.process.pid) if session.front else 0.0


def show(console: Console, sessions: list[Session]) -> None:
    """Print the table."""
    table = Table(title=f"MCP tool calls over streamable HTTP: {ROUNDS} each in turn, one field masked")
    for heading in ("", "p50 ms", "MCP tool call p50 added ms", "p99 ms", "gateway's processor time ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    direct = statistics.median(sessions[0].took)
    for session in sessions:
        median = statistics.median(session.took)
        table.add_row(session.name, f"{median * 1e3:.2f}", f"{(median - direct) * 1e3:.2f}",
                      f"{statistics.quantiles(session.took, n=100)[98] * 1e3:.2f}",
                      f"{session.processor * 1e3:.2f}" if session.front else "–")
    console.print(table)


def main() -> int:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-bench-"))
    try:
        with issuer(folder / "issuer") as tokens:
            show(Console(width=150), measure(folder / "toolcalls", tokens))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
