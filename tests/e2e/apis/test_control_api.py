"""The control API against its own OpenAPI document: whatever that allows, and what it does not, by schemathesis."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.e2e.apis.conftest import Gate

SCHEMATHESIS = [str(Path(sys.executable).with_name("st")), "run"]
BOUNDS = ["--phases=coverage,fuzzing", "--max-examples=3", "--generation-deterministic", "--max-failures=40", "--request-timeout=20",
          "--suppress-health-check=all", "--no-color", "--workers=1", "--no-shrink"]
"""The same calls in each run, and no more of them than a test may make."""


def test_the_api_is_what_it_says_that_it_is(gate: Gate, dba: str, tmp_path: Path) -> None:
    """Called by a reviewer, and as schemathesis does without a token or with a wrong one: no call makes an error inside, every
    status and type is one that the document names, and what the document does not allow is refused."""
    done = subprocess.run(
        [*SCHEMATHESIS, f"{gate.gateway.control_url}/v1/openapi.json", *BOUNDS, "-H", f"Authorization: Bearer {dba}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None
    assert int(found[1]) > 200


def test_every_operation_that_wants_a_token_says_so(gate: Gate) -> None:
    """By what happens without one."""
    document = httpx.get(f"{gate.gateway.control_url}/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            url = gate.gateway.control_url + re.sub(r"\{[^}]*\}", "x", path)
            answer = httpx.request(method, url)
            wants = any("HTTPBearer" in one for one in operation.get("security", ()))
            assert (answer.status_code == 401) is wants, (method, path)
            assert str(answer.status_code) in operation["responses"]


def test_a_method_that_is_not_there_is_told_which_are(gate: Gate) -> None:
    """All that the resource has (RFC 9110 section 15.5.6)."""
    answer = httpx.put(f"{gate.gateway.control_url}/v1/audit/erasures")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["code"] == "http"
