"""The fuzzer itself: it runs, and it notices."""

from __future__ import annotations

import pytest

from fuzz import __main__ as fuzz


@pytest.mark.parametrize("name", sorted(fuzz.TARGETS))
def test_every_target_takes_mutated_input(name: str) -> None:
    """A short run of `make fuzz`: nothing but errors of the reader's own kind."""
    assert fuzz.run(name, 0.3, seed=7) > 0


def test_another_error_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that raises anything else ends the run with the input that did it."""
    def broken(data: bytes) -> None:
        raise IndexError

    monkeypatch.setitem(fuzz.TARGETS, "broken", (broken, [b"seed"]))
    with pytest.raises(SystemExit, match=r"broken: seed 7, input 1: "):
        fuzz.run("broken", 1.0, seed=7)
