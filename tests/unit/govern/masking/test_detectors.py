"""Detectors: what they accept and reject, and that no raw prefilter misses what they accept."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.govern.masking.detectors import DETECTORS, SHIPPED
from lockgate.govern.masking.prefilter import union
from lockgate.govern.masking.validators import is_card, luhn
from tests.unit.govern.masking.cases import FOUND, NOT_FOUND
from tests.unit.govern.masking.shapes import accepted, framed, row_body

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


@pytest.mark.parametrize("name", sorted(DETECTORS))
@settings(max_examples=60)
@given(data=st.data())
def test_no_prefilter_misses_what_its_detector_accepts(name: str, data: st.DataObject) -> None:
    """In a raw row, whatever the length byte before it and the bytes around, each find shares a byte
    with a hit: of the detector's own prefilter and of all prefilters together.
    """
    value = data.draw(accepted(name))
    assert re2.compile(DETECTORS[name].prefilter.encode(), _latin()).search(value) is not None
    filler = data.draw(st.binary(max_size=130))
    beside = data.draw(st.sampled_from([b"", b"0", b"A", b"z", b"@", b"-", b"4111 ", b"\xff"]))
    raw = framed(row_body([filler, beside, value, filler]))
    start = 5 + 2 + 4 + len(filler) + 4 + len(beside) + 4
    for names in ((name,), tuple(sorted(DETECTORS))):
        hits = [hit.span() for hit in union(tuple(DETECTORS[one].prefilter for one in names)).finditer(raw)]
        assert any(first < start + len(value) and last > start for first, last in hits)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_length_byte_before_a_value_is_harmless(name: str) -> None:
    """The byte before a value is its length: all 256 of them leave the value found."""
    for _, text, _hidden in (case for case in FOUND if case[0] == name):
        for length in range(256):
            assert union((DETECTORS[name].prefilter,)).search(bytes((0, length)) + text.encode() + b"D") is not None


def test_luhn_agrees_with_the_standard() -> None:
    """ISO/IEC 7812-1's example and its neighbours: only one check digit is right."""
    assert [digit for digit in range(10) if luhn(b"7992739871%d" % digit)] == [3]


def test_random_ids_seldom_look_like_cards() -> None:
    """Issuer prefix and exact length keep false finds on 16-digit ids near 2 in 100, on epochs at none."""
    state, hits = 1, 0
    for _ in range(20_000):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        hits += is_card(b"%016d" % ((state >> 8) % 10**16))
    assert hits / 20_000 < 0.03
    assert not any(is_card(b"%d" % (1_700_000_000_000_000 + step * 7919)) for step in range(2000))


def test_an_unknown_detector_is_a_configuration_error() -> None:
    """A misspelt name is told together with the known ones, it does not disable a mask."""
    with pytest.raises(ConfigError) as caught:
        SHIPPED.named("credit-card")
    assert "credit_card" in caught.value.advice()


def _latin() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options
