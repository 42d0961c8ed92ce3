"""Caches hold no more than they may, however large what is put into them is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.analysis.sql import AnalysisLimits, Analyzer, Recent
from lockgate.protocols.postgres.operations import StatementReader


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), max_size=200))
def test_entries_and_weight_are_bounded_and_add_up(puts: list[tuple[int, int]]) -> None:
    """After any puts: no more entries, no more weight, and the weight is that of what is there."""
    cache: Recent[int, int] = Recent(8, 300)
    weights: dict[int, int] = {}
    for key, weight in puts:
        cache.put(key, key, weight)
        weights[key] = weight
        held = [key for key in weights if cache.get(key) is not None]
        assert len(cache) == len(held) <= 8
        assert cache.weight == sum(weights[key] for key in held) <= 300


def test_the_oldest_goes_first() -> None:
    """What was asked for last stays."""
    cache: Recent[str, str] = Recent(2, 1_000)
    cache.put("a", "A", 1)
    cache.put("b", "B", 1)
    assert cache.get("a") == "A"
    cache.put("c", "C", 1)
    assert cache.get("b") is None
    assert cache.get("a") == "A"


def test_what_is_large_is_not_kept() -> None:
    """One entry may not push everything out."""
    cache: Recent[str, str] = Recent(10, 800)
    cache.put("small", "s", 10)
    cache.put("large", "l", 101)
    assert cache.get("large") is None
    assert cache.get("small") == "s"
    cache.put("small", "s", 101)                # has grown since
    assert len(cache) == cache.weight == 0


def test_statements_that_never_repeat_fill_no_memory() -> None:
    """Every cache of the analysis stays inside its bytes, whatever kind of text fills it."""
    analyzer = Analyzer(AnalysisLimits(bytes=1_000_000))
    for number in range(400):
        for text in (f"SELECT {number}, " + ", ".join(f"a{number}_{n}" for n in range(200)), f"BEGIN; SET a = {number}",
                     f"EXPLAIN SELECT a{number} FROM t", f"SELECT 'x{number}'"):
            analyzer.statement(text)
    assert 0 < analyzer._statements.weight <= 1_000_000
    assert 0 < analyzer._shapes.weight <= 1_000_000


def test_a_weight_is_no_less_than_what_is_kept() -> None:
    """A statement of many names weighs many times its text."""
    few = Analyzer().statement("SELECT '" + "x" * 10_000 + "'")
    many = Analyzer().statement("SELECT " + ", ".join(f"a.b{number}" for number in range(1_200)))
    assert few.weight < 30_000
    assert many.weight > 300_000


def test_refused_texts_are_kept_by_weight_as_well() -> None:
    """What cannot be read is remembered as refused, inside the same bound."""
    reader = StatementReader(262_144)
    for number in range(300):
        assert reader.read(b"SELEC " + str(number).encode() + b"x" * 100_000).problem is not None
    assert 0 < reader._seen.weight <= 24 << 20
    assert len(reader._seen) < 300
