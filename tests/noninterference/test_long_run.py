"""`make fuzz` with this target: it ends well, and it ends badly where a statement tells the sides apart."""

from __future__ import annotations

import pytest

from fuzz import noninterference
from tests.unit.analysis.faults import FAULTS


def test_a_run_reports_what_it_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """So many statements are compared, source by source, and the exit code is 0."""
    assert noninterference.run(0, 30, seed=1) == 0
    assert "noninterference, grammar, seed 1: " in capsys.readouterr().out


def test_a_difference_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A statement that tells the sides apart is printed, and the exit code is 1."""
    FAULTS["sublink"](monkeypatch)
    assert noninterference.run(0, 60, seed=1) == 1
    assert "  DIFFERS (grammar 1/" in capsys.readouterr().out
