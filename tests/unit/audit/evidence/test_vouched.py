"""When a quorum stood, by the clocks of those who are needed for it."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.policy import parse_policy
from tests.unit.audit.evidence.keys import LOG, W1, W2, W3


@pytest.mark.parametrize(("times", "expected"), [
    ([10, 20, 2**62], 20), ([2**62, 20, 10], 20), ([10, 20], 20), ([30, 10, 20], 20), ([7], None), ([], None), ([0, 0, 5], 0)])
def test_a_witness_that_is_not_needed_cannot_make_it_later(times: list[int], expected: int | None) -> None:
    """One of three says that it is the far future: the other two are enough, and it is when the second of them says."""
    witnesses = "".join(f"witness w{number} {one.vkey}\n" for number, one in enumerate((W1, W2, W3), 1))
    policy = parse_policy(f"log {LOG.vkey}\n{witnesses}group most 2 w1 w2 w3\nquorum most\n")
    assert policy.vouched_at([(f"w{number}", when) for number, when in enumerate(times, 1)]) == expected
