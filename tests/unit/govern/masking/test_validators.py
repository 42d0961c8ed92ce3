"""Validators: the arithmetic against the standards' own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.validators import VALIDATORS, entropy, entropy_of, is_card, luhn, mod97, ssn


def test_luhn_agrees_with_the_standard() -> None:
    """ISO/IEC 7812-1's example and its neighbours: only one check digit is right."""
    assert [digit for digit in range(10) if luhn(b"7992739871%d" % digit)] == [3]


@given(digits=st.text("0123456789", min_size=2, max_size=30))
def test_luhn_agrees_with_the_plain_sum(digits: str) -> None:
    """Every second digit from the right doubled, its digits summed; separators do not count."""
    total = sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    assert luhn(digits.encode()) is (total % 10 == 0)
    assert luhn("-".join(digits).encode()) is luhn(digits.encode())


def test_random_ids_seldom_look_like_cards() -> None:
    """Issuer prefix and exact length keep false finds on 16-digit ids below 3 in 100, on epochs at none."""
    state, hits = 1, 0
    for _ in range(20_000):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        hits += is_card(b"%016d" % ((state >> 8) % 10**16))
    assert hits / 20_000 < 0.03
    assert not any(is_card(b"%d" % (1_700_000_000_000_000 + step * 7919)) for step in range(2000))
    assert not any(is_card(b"%d" % (1_700_000_000_000 + step * 7919)) for step in range(2000))


def test_an_article_number_is_no_card() -> None:
    """EANs of 13 digits begin like Visa's old numbers: one that is valid is an article."""
    eans = [b"400638133393%d" % digit for digit in range(10)]
    valid = [ean for ean in eans if (sum(ean[-1::-2]) + 3 * sum(ean[-2::-2]) - 48 * 25) % 10 == 0]
    assert valid == [b"4006381333931"]
    for step in range(500):
        body = b"%012d" % (400_000_000_000 + step * 7919)
        check = -(3 * (sum(body[-1::-2]) - 288) + sum(body[-2::-2]) - 288) % 10
        assert not is_card(body + b"%d" % check)


@pytest.mark.parametrize(
    ("value", "due"),
    [
        (b"GB82 WEST 1234 5698 7654 32", True),
        (b"GB82WEST12345698765433", False),
        (b"GB82", False),
        (b"GB82-!", False),
        ("ÄÖ82WEST".encode(), False),
    ],
)
def test_mod97_agrees_with_the_standard(value: bytes, due: bool) -> None:
    """ISO 13616's example."""
    assert mod97(value) is due


@pytest.mark.parametrize(("value", "due"), [
    (b"107-11-1013", True), (b"107111013", True), (b"000-11-1013", False), (b"666-11-1013", False), (b"900-11-1013", False),
    (b"107-00-1013", False), (b"107-11-0000", False), (b"107-11-101", False), (b"899-99-9999", True),
])  # fmt: skip
def test_numbers_that_were_never_issued_are_none(value: bytes, due: bool) -> None:
    """Area, group and serial rules of the Social Security Administration."""
    assert ssn(value) is due


def test_a_number_of_any_length_is_checked() -> None:
    """Thousands of digits are no IBAN, and no error."""
    assert not any(mod97(b"1" * size) for size in (257, 4_301, 100_000))


def test_entropy_is_shannons() -> None:
    """One symbol has none, two in equal parts one bit, 256 eight."""
    assert entropy_of(b"") == 0.0
    assert entropy_of(b"aaaa") == 0.0
    assert entropy_of(b"abab") == 1.0
    assert entropy_of(bytes(range(256))) == 8.0
    assert entropy(b"9f86d081884c7d65")
    assert not entropy(b"aaaaaaaaaaaaaaaa")
    assert not entropy(b"9f86d0")


@pytest.mark.parametrize("name", sorted(VALIDATORS))
@given(value=st.binary(max_size=40))
def test_no_value_makes_a_validator_raise(name: str, value: bytes) -> None:
    """A policy may run any of them on whatever its pattern finds."""
    assert VALIDATORS[name](value) in (True, False)
