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


def test_each_comparison_of_a_request_counts() -> None:
    """As often as a label stands there; what does not fit as a whole is refused as a whole and counts nothing."""
    budget = LookupBudget()
    assert budget.spend("a", [("pii", 5)] * 300, 0.0) == "pii"
    assert budget.spend("a", [("pii", 5)] * 4, 0.0) is None
    assert budget.spend("a", [("pii", 5)] * 2, 0.0) == "pii"
    assert budget.spend("a", [("pii", 5)], 0.0) is None
    assert budget.spend("a", [("pii", 5)], 0.0) == "pii"


def test_a_label_with_two_bounds_keeps_the_smaller() -> None:
    """All comparisons under it have to fit into each bound."""
    budget = LookupBudget()
    assert budget.spend("a", [("pii", 60), ("pii", 60), ("pii", 2)], 0.0) == "pii"
    assert budget.spend("a", [("pii", 60), ("pii", 2), ("pii", 0)], 0.0) is None


def test_without_a_bound_nothing_is_refused() -> None:
    """A bound of 0 only puts the comparison on record."""
    budget = LookupBudget()
    assert all(budget.spend("a", [("free", 0)], 0.0) is None for _ in range(100))


@given(st.lists(st.tuples(st.floats(0, 5 * HOUR), st.integers(1, 4)), max_size=200), st.integers(1, 10))
def test_no_hour_has_more_than_twice_the_bound(asked: list[tuple[float, int]], bound: int) -> None:
    """In whatever hour, whenever the look-ups come and however many at once."""
    budget = LookupBudget()
    passed = [(moment, times) for moment, times in sorted(asked)
              if budget.spend("a", [("x", bound)] * times, moment) is None]
    for moment, _ in passed:
        assert sum(times for other, times in passed if moment <= other < moment + HOUR) <= 2 * bound
