"""What counts as a difference, and that it is found in statements that differ from themselves as well."""

from __future__ import annotations

import pytest

from testbed.noninterference.comparison import Runs, Verdict, judge
from testbed.noninterference.outcome import Message, Outcome

NOBODY: frozenset[bytes] = frozenset()


def outcome(*rows: tuple[bytes | None, ...], tag: bytes = b"SELECT 1") -> Outcome:
    return Outcome(messages=[*(Message("D", row) for row in rows), Message("C", (tag,))])


def verdict(one: list[Outcome], two: list[Outcome], values_one: frozenset[bytes] = NOBODY,
            values_two: frozenset[bytes] = NOBODY) -> Verdict:
    return judge(Runs(one, two), values_one, values_two)[0]


def test_equal_runs_are_equal() -> None:
    """The same messages with the same values."""
    runs = [outcome((b"1", None)), outcome((b"1", None))]
    assert verdict(runs, runs) is Verdict.EQUAL


@pytest.mark.parametrize("other", [
    outcome((b"2", None)), outcome((b"1", b"")), outcome((b"1", None), (b"1", None)), outcome(),
    outcome((b"1", None), tag=b"SELECT 2"), Outcome(refusal="no"),
    Outcome(messages=[Message("D", (b"1", None)), Message("C", (b"SELECT 1",))], witnessed=True),
], ids=["value", "null", "rows", "none", "tag", "refusal", "witness"])
def test_steady_differences_count(other: Outcome) -> None:
    """A value, NULL, the number of rows, a tag, a refusal on one side, a labelled column in a RowDescription."""
    assert verdict([outcome((b"1", None))] * 2, [other] * 2) is Verdict.DIFFERENT


def test_what_varies_is_left_out_and_what_is_steady_is_not() -> None:
    """Beside a value that differs from run to run, one that differs from side to side is found."""
    one = [outcome((b"10:01", b"x")), outcome((b"10:02", b"x"))]
    assert verdict(one, [outcome((b"10:03", b"x")), outcome((b"10:04", b"x"))]) is Verdict.UNSETTLED
    assert verdict(one, [outcome((b"10:03", b"y")), outcome((b"10:04", b"y"))]) is Verdict.DIFFERENT


def test_that_only_one_side_varies_counts() -> None:
    """Steady on one side and varying on the other is a difference, unless chance can explain it."""
    varies = [outcome((b"t",)), outcome((b"f",))]
    assert verdict(varies, [outcome((b"x",))] * 2) is Verdict.DIFFERENT
    assert verdict(varies, [outcome((b"t",))] * 2) is Verdict.UNSETTLED


def test_labelled_values_are_found_in_what_varies() -> None:
    """A value of one side in what cannot be compared is a leak; one that both sides show is not."""
    one = [outcome((b"10:01 219-09-9999",)), outcome((b"10:02 219-09-9999",))]
    two = [outcome((b"10:01 481-77-1234",)), outcome((b"10:02 481-77-1234",))]
    assert verdict(one, two, frozenset((b"219-09-9999",)), NOBODY) is Verdict.DIFFERENT
    assert verdict(one, two, NOBODY, frozenset((b"481-77-1234",))) is Verdict.DIFFERENT
    assert verdict(one, two) is Verdict.UNSETTLED
    assert verdict(one, one[::-1], frozenset((b"219-09-9999",)), NOBODY) is Verdict.UNSETTLED
