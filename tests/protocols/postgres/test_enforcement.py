"""The enforcement table says how limits and estimates are held."""

from __future__ import annotations

from lockgate.model import RowLimits, Rule
from lockgate.protocols.postgres.enforcement import enforce


def test_every_bound_has_a_row() -> None:
    """Each says what is counted; none is silently left out."""
    found = enforce("crm", None, [Rule("r", limits=RowLimits(1, 2, 3), when="op.x")], None)
    assert {row.control for row in found} == {"limit rows 1", "limit task_rows 2", "limit changed 3"}
    assert all(row.problem is None and row.how.endswith("where op.x") for row in found)


def test_a_rule_that_makes_the_gateway_ask_says_so() -> None:
    """A question to the backend that nobody sent is no surprise."""
    for when in ("op.estimated_rows > 5", 'op["estimated_cost"] > 5.0'):
        assert "estimate" in {row.control for row in enforce("crm", None, [Rule("r", deny="no", when=when)], None)}
    assert [row.control for row in enforce("crm", None, [Rule("r", deny="no", when="op.tables == []")], None)] == ["deny"]
