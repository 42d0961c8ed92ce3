"""I1 to I6: for each, the test that holds it, and that test seen failing on a seeded mistake.

The mistake is made in a copy of the package; the guarding test runs against the copy in a process
of its own and must fail there. That it passes on the real package is shown by the ordinary run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new` in `file`; then `guard` has to fail."""

    invariant: str
    file: str
    old: str
    new: str
    guard: str


MISTAKES = [
    Mistake("I1", "proxy/driver.py", "payload = require_permit(step.permit)\n        self.host.counters",
            "payload = step.permit if isinstance(step.permit, bytes) else require_permit(step.permit)\n"
            "        self.host.counters",
            "tests/unit/proxy/test_session.py::test_no_byte_without_a_permit"),
    Mistake("I2", "govern/pipeline.py", "        # The count is taken before the first call: a recorder may call back at once.\n",
            "        waiting.resolve(issue_permit(self.session, (), under, payload))\n",
            "tests/unit/govern/test_pipeline.py::test_full_audit_gives_the_permit_when_the_record_is_durable"),
    Mistake("I2", "govern/pipeline.py", "        if self._tally.has_ended or not self._recorder.is_writable:\n            return AUDIT_UNAVAILABLE\n        if not grants",
            "        if not grants",
            "tests/unit/govern/test_pipeline.py::test_an_unwritable_log_stops_bytes_without_a_request_too"),
    Mistake("I3", "govern/pipeline.py", "        cleared = plan.apply(chunk)\n",
            "        try:\n            cleared = plan.apply(chunk)\n        except Exception:\n            cleared = chunk\n",
            "tests/unit/proxy/test_session.py::test_a_mask_that_raises_delivers_nothing"),
    Mistake("I3", "proxy/governed.py", "require_clearance(step.cleared)",
            "(step.cleared if isinstance(step.cleared, bytes) else require_clearance(step.cleared))",
            "tests/unit/proxy/test_session.py::test_no_result_without_clearance"),
    Mistake("I4", "protocols/postgres/client.py", '                    raise RemoteProtocolError("a message came that has no place in a session")\n',
            "                    burst.chunks.append(buffer[start:end])\n                    continue\n",
            "tests/protocols/postgres/test_simple_query.py::test_unknown_message_ends_the_session"),
    Mistake("I5", "app/configuration.py", "for row in rows if row.problem is not None", "for row in ()",
            "tests/e2e/test_serve.py::test_a_mask_that_matches_nothing_stops_the_start"),
    Mistake("I6", "model/secret.py", 'return "Secret(…)"', "return self._text",
            "tests/unit/model/test_secret.py"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.invariant}-{mistake.file}")
def test_a_seeded_mistake_is_caught(mistake: Mistake, tmp_path: Path) -> None:
    """The guard of the invariant fails as soon as the code no longer keeps it."""
    for folder in ("src", "tests", "testbed"):
        shutil.copytree(ROOT / folder, tmp_path / folder,
                        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "src" / "lockgate" / mistake.file
    text = file.read_text()
    assert text.count(mistake.old) == 1, "the place of the mistake has moved: name it anew"
    file.write_text(text.replace(mistake.old, mistake.new))
    for compiled in file.parent.glob(f"{file.stem}.*.so"):
        compiled.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mistake.guard], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"}, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert "failed" in done.stdout
