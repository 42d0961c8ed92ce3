"""Detectors against another project's cases (tests/data/pii-cases.jsonl): agreement only goes up.

Where we differ on purpose: an SSN needs dashes (nine bare digits are any id), card prefixes that no
listed network issues, IPv6, and an address of four numbers glued to a word.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lockgate.govern.masking.detectors import DETECTORS

CASES = [json.loads(line) for line in (Path(__file__).parents[3] / "data" / "pii-cases.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("entity", "name", "agreeing", "total"),
    [("CREDIT_CARD", "credit_card", 17, 19), ("US_SSN", "ssn", 8, 13), ("EMAIL_ADDRESS", "email", 8, 8),
     ("IBAN_CODE", "iban", 330, 330), ("IP_ADDRESS", "ipv4", 71, 115)],
)  # fmt: skip
def test_the_number_of_finds_agrees(entity: str, name: str, agreeing: int, total: int) -> None:
    """As many values are found as the case expects, in exactly this many of the cases."""
    cases = [case for case in CASES if case.get("entity") == [entity]]
    same = [case for case in cases if len(list(DETECTORS[name].find(case["text"].encode()))) == case["expected_count"]]
    assert (len(same), len(cases)) == (agreeing, total)
