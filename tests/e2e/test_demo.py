"""The demo is the product in one run: a real AutoGen team through a real gateway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_what_the_readme_promises() -> None:
    """Masks hold in every tool's output, DROP is refused, DELETE waits, the log verifies and tampering shows."""
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NO_COLOR": "1"})
    shown = done.stdout
    assert done.returncode == 0, shown + done.stderr
    for canary in ("219-09-9999", "457-55-5462", "078-05-1120", "9999-90-912", "ann.meyer@", "4111 1111 1111 1111"):
        assert canary not in shown, canary
    assert "ERROR 42501" in shown
    assert re.search(r"review approve LG-\w{4}-\w{4}", shown)
    assert "DELETE 2" in shown
    assert "agent-analyst" in shown
    assert shown.count("VERIFIED") == 2
    assert "python3 -I verify.py evidence.tar" in shown
    assert "TAMPERED" in shown
    assert "as JSON" in shown
    assert "an aggregate" in shown
