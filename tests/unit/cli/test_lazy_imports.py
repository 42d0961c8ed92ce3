"""What is large is imported by whoever needs it, and by nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LARGE = ("duckdb", "opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
"""FastAPI imports OpenTelemetry's API by itself where it is there; that is small and does nothing without the SDK."""
PROGRAM = """
import json, sys
import lockgate.cli.main, lockgate.cli.serve, lockgate.cli.audit, lockgate.app.gateway, lockgate.app.targets
before = [name for name in sys.argv[1:] if name in sys.modules]
import lockgate.audit.query.engine, lockgate.app.telemetry
print(json.dumps([before, [name for name in sys.argv[1:] if name in sys.modules]]))
"""


def test_serving_imports_neither_the_sql_engine_nor_telemetry() -> None:
    """`lockgate serve` without them configured starts without them; the check has teeth where they are needed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *LARGE], capture_output=True, text=True,
                          check=True, cwd=Path(__file__).resolve().parents[3])
    assert json.loads(done.stdout) == [[], list(LARGE)]


STAND_IN = """
import json, sys
import lockgate.cli.main
lockgate.cli.main.assemble(sys.argv[1])
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("lockgate.app", "lockgate.protocols", "lockgate.wire",
      "lockgate.govern", "lockgate.audit", "fastapi", "uvloop", "pglast")))))
"""


def test_what_a_client_waits_for_imports_little() -> None:
    """`lockgate mcp run` only copies bytes: the gateway's own modules would cost each client a second."""
    def imported(verb: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", STAND_IN, verb], capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    assert imported("mcp") == []
    assert imported("serve")
