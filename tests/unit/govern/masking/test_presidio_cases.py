"""Detectors against another project's cases: nothing that a detector claims is missed without a reason."""

from __future__ import annotations

from collections import Counter

import pytest

from lockgate.govern.masking import DETECTORS
from tests.unit.govern.masking.presidio import CLAIMED, judged, reasons

JUDGED = list(judged())


@pytest.mark.parametrize(
    ("claimed", "exact", "conservative", "missed", "false"),
    [("CREDIT_CARD", 18, 0, 1, 0), ("US_SSN", 11, 0, 2, 0), ("EMAIL_ADDRESS", 8, 0, 0, 0), ("IBAN_CODE", 330, 0, 0, 0),
     ("IP_ADDRESS", 107, 0, 6, 2), ("phone", 20, 0, 2, 2), ("ph_mobile_number", 43, 0, 0, 0), ("tr_phone_number", 30, 0, 8, 0)],
)  # fmt: skip
def test_agreement_is_what_it_was(claimed: str, exact: int, conservative: int, missed: int, false: int) -> None:
    """The table of `presidio.py`: a change to a detector shows here, for better or worse."""
    counts = Counter(one.verdict for one in JUDGED if one.claimed == claimed)
    assert counts == Counter({"exact": exact, "conservative": conservative, "missed": missed, "false": false})


def test_whatever_differs_has_a_reason() -> None:
    """A case that is missed or false is in pii-reasons.json, and no reason is kept that nothing needs."""
    differing = {(one.claimed, one.text) for one in JUDGED if one.claimed and one.verdict in ("missed", "false")}
    assert differing == set(reasons())
    assert all(reasons().values())


def test_texts_of_other_entities_are_mostly_left_alone() -> None:
    """Numbers and names of kinds that nobody claims: about one in seventy looks like one of ours."""
    others = [one for one in JUDGED if not one.claimed]
    assert len(others) > 900
    assert sum(one.verdict == "false" for one in others) <= 14


def test_every_claim_is_of_a_detector() -> None:
    """No entity is scored against a detector that is not there."""
    assert {name for names in CLAIMED.values() for name in names} <= set(DETECTORS)
