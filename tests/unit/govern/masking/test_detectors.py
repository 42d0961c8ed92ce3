"""Detectors: what they accept and reject, and that no raw prefilter misses what they accept."""

from __future__ import annotations

import pytest

from lockgate.errors import ConfigError
from lockgate.govern.masking.detectors import DETECTORS, SHIPPED
from tests.unit.govern.masking.cases import FOUND, NOT_FOUND

_FILL = "0123456789abcdefABCDEF0123456789abcdEFGH"


@pytest.mark.parametrize(("name", "text", "hidden"), FOUND)
def test_what_is_due_is_found_exactly(name: str, text: str, hidden: str) -> None:
    """Each detector finds the value, all of it and nothing around it."""
    data = text.encode()
    assert [data[start:end].decode() for start, end in DETECTORS[name].find(data)] == [hidden]


@pytest.mark.parametrize(("name", "text"), NOT_FOUND)
def test_look_alikes_are_left_alone(name: str, text: str) -> None:
    """Near misses, epochs, versions and plain words are no finds."""
    assert list(DETECTORS[name].find(text.encode())) == []


@pytest.mark.parametrize(("name", "text", "hidden"), FOUND)
def test_a_partial_mask_hides_most_and_keeps_no_whole_value(name: str, text: str, hidden: str) -> None:
    """What stays readable is not the value, decodes, and holds no quote, backslash or control byte."""
    shown = DETECTORS[name].partial(hidden.encode())
    assert b"x" in shown
    assert shown != hidden.encode()
    assert not set(b"\"'\\\n\t,{}") & set(shown)
    shown.decode()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("credit_card", "4111 1111 1111 1111", "xxxx xxxx xxxx 1111"), ("ssn", "107-11-1013", "xxx-xx-1013"),
     ("email", "jane@example.org", "jxxxx@example.org"), ("email", "élan@example.org", "xxxx@example.org"),
     ("github_token", "ghp_" + _FILL[:36], "ghp_xxxx"), ("aws_key", "AKIAIOSFODNN7EXAMPLE", "AKIAxxxx"),
     ("ipv4", "10.1.2.3", "10.x.x.x")],
)  # fmt: skip
def test_a_partial_mask_keeps_a_readable_rest(name: str, value: str, shown: str) -> None:
    """Card and SSN keep four digits, an address its domain, a token its kind."""
    assert DETECTORS[name].partial(value.encode()).decode() == shown


def test_an_unknown_detector_is_a_configuration_error() -> None:
    """A misspelt name is told together with the known ones, it does not disable a mask."""
    with pytest.raises(ConfigError) as caught:
        SHIPPED.named("credit-card")
    assert "credit_card" in caught.value.advice()


@pytest.mark.parametrize(("text", "found"), [
    (b"v1.1 4111 1111 1111 1111", b"4111 1111 1111 1111"), (b"4111111111111111 1.1", b"4111111111111111"),
    (b"0.5 4111-1111-1111-1111 2.25", b"4111-1111-1111-1111"), (b"1.4111111111111111", b""), (b"4111111111111111.5", b""),
    (b"1.1 2.2", b""), (b"3.1 4111 1111 1111 1111.5", b""),
])
def test_a_card_beside_a_decimal_fraction_is_found(text: bytes, found: bytes) -> None:
    """The fraction's digits are none of the card's; a number that is itself a fraction is no card."""
    assert [text[start:end] for start, end in DETECTORS["credit_card"].find(text)] == ([found] if found else [])
