"""The table of statements, and that each seeded mistake changes what it says."""

from __future__ import annotations

import pytest

from tests.unit.analysis.taint.cases import CASES
from tests.unit.analysis.taint.faults import FAULTS
from tests.unit.analysis.taint.world import World, catalogue

TABLE = [(topic, text, words) for topic, cases in CASES.items() for text, words in cases]


@pytest.fixture(scope="module")
def world() -> World:
    return World(catalogue())


@pytest.mark.parametrize(("topic", "text", "words"), TABLE, ids=[text for _, text, _ in TABLE])
def test_statement(world: World, topic: str, text: str, words: str) -> None:
    """Outputs, direct columns, controls, equalities, writes and what is created are as the table says."""
    assert world.words(text) == words


def test_the_table_is_wide() -> None:
    """The table keeps statements of every topic and no statement twice."""
    assert len(TABLE) >= 350
    assert len({text for _, text, _ in TABLE}) == len(TABLE)
    assert all(len(cases) >= 10 for cases in CASES.values())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_mistake_shows_in_the_table(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis that is blind in one way says less of some statement than it has to."""
    FAULTS[fault](monkeypatch)
    blind = World(catalogue())
    assert any(set(words.split()) - set(blind.words(text).split()) for _, text, words in TABLE)
