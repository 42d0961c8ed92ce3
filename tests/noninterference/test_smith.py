"""sqlsmith, steered: it writes statements that the masks let through and that have rows."""

from __future__ import annotations

from itertools import islice

import pytest

from testbed.noninterference import smith
from testbed.noninterference.databases import Databases
from testbed.noninterference.direct import direct_harness
from testbed.noninterference.outcome import Kind
from testbed.noninterference.smith import Smith
from testbed.noninterference.statements import alternating


@pytest.mark.skipif(not smith.is_installed(), reason="sqlsmith is not installed: run scripts/install-test-packages")
def test_new_statements_of_sqlsmith_say_something(crm: Databases) -> None:
    """The same seed gives the same statements; most are compared, many of them with rows, and none differs."""
    made = Smith(crm)
    statements = list(made.statements(11, 60))
    assert [one.sql for one in islice(made.statements(11, 60), 5)] == [one.sql for one in statements[:5]]
    harness = direct_harness(crm)
    report = harness.compare_all(alternating(statements))
    harness.close()
    assert report.differences == []
    assert report.total > 45
    assert report.compared[Kind.ROWS] > 15
