"""Running MCP's conformance suite (npm's `@modelcontextprotocol/conformance`, MIT), which its authors wrote."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.npm import installed

HERE = Path(__file__).parent
_PROGRAM = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_RESULTS = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[-\dZ]+")
"""The folder of a scenario's results: its name and when it was asked."""
_JUDGED = frozenset(("SUCCESS", "FAILURE", "WARNING"))
"""Other statuses (INFO) tell what passed on the wire."""


@dataclass(frozen=True)
class Outcome:
    """What a run said: of each scenario the status of each of its checks. `exit` is 0 when only what the list of known
    failures names has failed, and all of that."""

    exit: int
    checks: dict[str, dict[str, str]]
    text: str

    @property
    def failed(self) -> set[str]:
        """The scenarios with a check that failed, or that the suite warns of."""
        return {name for name, checks in self.checks.items() if set(checks.values()) != {"SUCCESS"}}


def conformance(port: int, folder: Path, known: Path) -> Outcome:
    """Every scenario for servers against a port of this machine. `known` is the list of known failures, as the suite reads it."""
    node = installed(HERE)
    done = subprocess.run(
        [node, "--import", "./node20.mjs", _PROGRAM, "server", "--url", f"http://127.0.0.1:{port}/mcp", "--suite", "all",
         "--expected-failures", str(known), "--output-dir", str(folder)],
        cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
    found = {}
    for path in folder.glob("*/checks.json"):
        checks = {check["id"]: check["status"] for check in json.loads(path.read_text()) if check["status"] in _JUDGED}
        named = _RESULTS.fullmatch(path.parent.name)
        assert named is not None, path
        found[named[1]] = checks
    return Outcome(done.returncode, found, done.stdout + done.stderr)
