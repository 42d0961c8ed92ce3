"""Voting: a column in which most values are finds is suspected as a whole; nothing is ever masked less."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.govern.masking import DETECTORS, DetectPlan, Terms
from lockgate.govern.masking.voting import Ballot
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.shapes import Row, framed, read_rows, row_body, stream

BULK = ord("D")
ALL = (DetectMask(tuple(DETECTORS), MaskMethod.REDACT),)
IN_FORCE = Terms()
SSN, CARD = DETECTORS["ssn"], DETECTORS["credit_card"]
WEAKER = [
    ("ssn", b"219-09-9999", b"219099999", b"12345678"),
    ("credit_card", b"4111 1111 1111 1111", b"1234 5678 9012 3456", b"123456789012"),
    ("phone", b"+1 415 555 2671", b"5552671", b"555"),
    ("iban", b"DE89 3704 0044 0532 0130 00", b"de89 3704 0044 0532 0130 99", b"DE89 3704"),
    ("email", b"jane@example.org", b"jane@localhost", b"jane"),
]


def masked(rows: list[Row], terms: Terms | None = IN_FORCE, width: int = 1) -> list[Row]:
    plan = DetectPlan(ALL, (25,) * width, (0,) * width, "rows", BULK, terms=terms)
    return read_rows(plan.apply(stream(rows)))


@pytest.mark.parametrize(("name", "strong", "weak", "other"), WEAKER)
def test_after_an_election_the_weaker_form_suffices(name: str, strong: bytes, weak: bytes, other: bytes) -> None:
    """What does not even have the weaker form stays as it is, and without the vote so does the rest."""
    rows: list[Row] = [[strong]] * 20 + [[weak], [other], [None], [b""]]
    assert DETECTORS[name].find(weak) == []
    assert masked(rows)[20:] == [[b"xxxx"], [other], [None], [b""]]
    assert masked(rows, None)[20:] == [[weak], [other], [None], [b""]]


def test_only_detectors_with_a_weaker_form_vote() -> None:
    """A token either has its form or it has not."""
    assert {name for name, detector in DETECTORS.items() if detector.suspect is not None} == {
        name for name, *_ in WEAKER
    }
    assert Ballot(Terms(1, 1)).cast(0, 0, DETECTORS["jwt"]) is False


@pytest.mark.parametrize(
    ("finds", "misses", "elected"),
    [(19, 0, False), (20, 0, True), (20, 5, True), (20, 6, False), (24, 6, True), (79, 20, False)],
)
def test_it_takes_twenty_finds_in_four_fifths_of_the_rows(finds: int, misses: int, elected: bool) -> None:
    """The terms in force, counted over all rows so far."""
    ballot = Ballot(IN_FORCE)
    results = [ballot.cast(misses + number, 0, SSN) for number in range(finds)]
    assert any(results) is elected
    assert (0 in ballot.elected) is elected


def test_an_election_counts_from_the_next_row_on() -> None:
    """What went out before stays, in the same chunk too: the row decides, not the message."""
    rows: list[Row] = [[b"219099999"], *[[b"219-09-9999"]] * 4, [b"219099999"]]
    assert masked(rows, Terms(3, 60)) == [[b"219099999"], *[[b"xxxx"]] * 4, [b"xxxx"]]
    ballot = Ballot(Terms(1, 1))
    assert ballot.cast(7, 2, SSN)
    assert [ballot.suspects(row, 2) for row in (6, 7, 8)] == [[], [], [SSN]]
    assert ballot.suspects(8, 1) == []


def test_columns_and_detectors_vote_apart() -> None:
    """An election in one column says nothing about another; two detectors can be elected in one."""
    rows: list[Row] = [[b"219-09-9999", b"219099999"]] * 30
    assert masked(rows, width=2)[-1] == [b"xxxx", b"219099999"]
    ballot = Ballot(Terms(2, 50))
    for row in range(4):
        ballot.cast(row, 0, SSN)
        ballot.cast(row, 0, CARD)
    assert {detector for detector, _ in ballot.elected[0]} == {SSN, CARD}


def test_an_elected_detector_is_counted_no_more() -> None:
    """What is kept does not grow with the rows, and nobody is elected twice."""
    ballot = Ballot(Terms(2, 50))
    results = [ballot.cast(row, 0, SSN) for row in range(1000)]
    assert sum(results) == 1
    assert len(ballot.elected[0]) == 1
    assert not ballot.is_open(0, SSN)
    assert ballot.is_open(1, SSN)


values = st.sampled_from(
    [b"219-09-9999", b"219099999", b"4111111111111111", b"4111111111111112", b"jane@example.org", b"a", b"", None]
)


@settings(max_examples=150)
@given(
    rows=st.lists(values.map(lambda value: [value]), max_size=40),
    more=st.lists(values.map(lambda value: [value]), max_size=20),
)
def test_a_vote_only_adds_masks(rows: list[Row], more: list[Row]) -> None:
    """Every value is hidden at least as much as without it; rows in front can add masks behind them, and rows behind
    change nothing in front of them.
    """
    voted, plain = masked(rows, Terms(2, 40)), masked(rows, None)
    for row, with_vote, without in zip(rows, voted, plain, strict=True):
        assert with_vote == without or (with_vote != row and without == row)
    assert masked(rows + more, Terms(2, 40))[: len(rows)] == voted


def test_the_next_result_begins_anew() -> None:
    """A ballot is one result's: another plan has heard of no election."""
    masked([[b"219-09-9999"]] * 30)
    assert masked([[b"219099999"]]) == [[b"219099999"]]


def test_columns_of_other_types_do_not_vote() -> None:
    """A weaker form is a form of text: numbers keep issuer, length and check digit."""
    plan = DetectPlan(ALL, (20,), (0,), "rows", BULK)
    rows: list[Row] = [[b"4111111111111111"]] * 40 + [[b"4111111111111112"]]
    assert read_rows(plan.apply(stream(rows)))[-2:] == [[b"0"], [b"4111111111111112"]]


@pytest.mark.parametrize("column", [
    lambda number: b"%09d" % (number * 48271 % 10**9), lambda number: b"%016d" % (number * 6364136223846793005 % 10**16),
    lambda number: b"%d" % (1_700_000_000_000 + number * 7919), lambda number: b"%08x-4e29-41d4-a716-446655440000" % (number * 48271 % 2**32),
    lambda number: b"2024-01-%02d 12:13:14.%06d" % (number % 28 + 1, number), lambda number: b"%d.%d.%d" % (number % 9, number % 31, number),
])  # fmt: skip
def test_columns_of_ids_elect_nobody(column: object) -> None:
    """Numbers, epochs, UUIDs, times and versions: no election in 2,000 rows."""
    plan = DetectPlan(ALL, (25,), (0,), "rows", BULK)
    for start in range(0, 2000, 250):
        plan.apply(b"".join(framed(row_body([column(number)])) for number in range(start, start + 250)))  # type: ignore[operator]
    assert plan._ballot is not None
    assert plan._ballot.elected == {}
