"""`make fuzz` with this target ends badly where a statement tells the sides apart."""

from __future__ import annotations

import pytest

from fuzz import noninterference
from tests.unit.analysis.faults import FAULTS


def test_a_difference_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures come source by source; a statement that tells the sides apart is printed, and the exit code is 1."""
    FAULTS["sublink"](monkeypatch)
    assert noninterference.run(0, 12, seed=1) == 1
    printed = capsys.readouterr().out
    assert "noninterference, grammar, seed 1: " in printed
    assert "  DIFFERS (grammar 1/" in printed
