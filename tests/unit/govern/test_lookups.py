"""Comparisons with protected columns are counted by caller and label, in a sliding hour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.lookups import HOUR, LookupBudget


def test_the_bound_holds_and_passes() -> None:
    """The bound's worth of look-ups goes through, the next does not, and an hour later some do again."""
    budget = LookupBudget()
    assert [budget.spend("a", [("pii", 3)], 100.0) for _ in range(4)] == [None, None, None, "pii"]
    assert budget.spend("b", [("pii", 3)], 100.0) is None
    assert budget.spend("a", [("other", 3)], 100.0) is None
    assert budget.spend("a", [("pii", 3)], 100.0 + HOUR) == "pii" or budget.spend("a", [("pii", 3)], 2.5 * HOUR) is None
    assert budget.spend("a", [("pii", 3)], 3 * HOUR) is None


def test_nothing_is_counted_of_a_request_that_is_refused() -> None:
    """A request with two labels, one of which is spent, leaves the other's count as it was."""
    budget = LookupBudget()
    budget.spend("a", [("one", 1)], 0.0)
    for _ in range(5):
        assert budget.spend("a", [("one", 1), ("two", 1)], 0.0) == "one"
    assert budget.spend("a", [("two", 1)], 0.0) is None


def test_without_a_bound_nothing_is_refused() -> None:
    """A bound of 0 only puts the comparison on record."""
    budget = LookupBudget()
    assert all(budget.spend("a", [("free", 0)], 0.0) is None for _ in range(100))


@given(st.lists(st.floats(0, 5 * HOUR), max_size=200), st.integers(1, 10))
def test_no_hour_has_more_than_twice_the_bound(moments: list[float], bound: int) -> None:
    """In whatever hour, whenever the look-ups come."""
    budget = LookupBudget()
    passed = [moment for moment in sorted(moments) if budget.spend("a", [("x", bound)], moment) is None]
    for moment in passed:
        assert sum(moment <= other < moment + HOUR for other in passed) <= 2 * bound
