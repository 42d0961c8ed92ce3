"""DER: one way to write each value, and nothing else is read."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.der import (
    DER_INTEGER,
    DER_SEQUENCE,
    der_oid,
    parse_der,
    write_der,
    write_der_number,
)
from lockgate.audit.evidence.failures import EvidenceError

SIZES = {0: "00", 1: "01", 127: "7f", 128: "8180", 255: "81ff", 256: "820100", 65_535: "82ffff", 65_536: "83010000"}
CUT_OR_PADDED = [
    "", "30", "3001", "300001", "3080", "30800000", "30817f" + "00" * 127, "3081", "308180", "308180" + "00" * 127, "30820080" + "00" * 128,
    "3082", "308201", "30820100" + "00" * 255, "3083000100" + "00" * 256, "3084" + "00" * 4, "30ff", "30ff" + "01" * 127, "1f0100", "3f0100", "ff0100",
]
NO_NUMBERS = ["0200", "02020001", "0202007f", "02020000", "0201ff", "020180", "0203000080", "0202ff00", "0301ff", "0401"]
NUMBERS = {0: "020100", 1: "020101", 127: "02017f", 128: "02020080", 255: "020200ff", 256: "02020100", 32_767: "02027fff",
           32_768: "0203008000", 2**64 - 1: "020900ffffffffffffffff"}


@pytest.mark.parametrize("size", SIZES)
def test_a_length_is_written_and_read_in_its_shortest_form(size: int) -> None:
    """One byte below 128, else as many as it takes."""
    whole = bytes.fromhex("30" + SIZES[size]) + bytes(size)
    assert write_der(DER_SEQUENCE, bytes(size)) == whole
    assert parse_der(whole) == (DER_SEQUENCE, bytes(size), whole)


@pytest.mark.parametrize("data", CUT_OR_PADDED)
def test_what_is_cut_padded_or_followed_by_something_is_refused(data: str) -> None:
    """Indefinite and padded lengths, long tags, values that end early, bytes behind them."""
    with pytest.raises(EvidenceError) as caught:
        parse_der(bytes.fromhex(data))
    assert (caught.value.check, caught.value.verdict) == ("anchor", "tampered")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_has_one_form(number: int) -> None:
    """The shortest, with a zero before it where its first bit would be a sign."""
    assert write_der_number(number).hex() == NUMBERS[number]
    assert parse_der(bytes.fromhex(NUMBERS[number])).number() == number


@pytest.mark.parametrize("data", NO_NUMBERS)
def test_a_negative_or_padded_number_is_refused(data: str) -> None:
    """And what is no number at all."""
    with pytest.raises(EvidenceError):
        parse_der(bytes.fromhex(data)).number()


def test_a_value_is_what_its_tag_says() -> None:
    """The parts of a constructed value, one after the other; another tag than the expected one is refused."""
    first, second = write_der(DER_INTEGER, b"\1"), write_der(0x04, b"xy")
    value = parse_der(write_der(DER_SEQUENCE, first, second))
    assert [one.raw for one in value.items(DER_SEQUENCE)] == [first, second]
    assert value.items(DER_SEQUENCE)[1].require(0x04) == b"xy"
    assert parse_der(write_der(DER_SEQUENCE)).items(DER_SEQUENCE) == []
    for call in (lambda: value.items(0x31), lambda: value.require(0x31), lambda: value.items(DER_SEQUENCE)[0].require(0x04),
                 lambda: parse_der(write_der(DER_SEQUENCE, first + b"\2")).items(DER_SEQUENCE)):
        with pytest.raises(EvidenceError):
            call()


@pytest.mark.parametrize(("dotted", "content"), [
    ("1.2", "2a"), ("2.5.29.37", "551d25"), ("1.2.840.113549", "2a864886f70d"), ("1.3.127", "2b7f"), ("1.3.128", "2b8100"),
    ("1.3.16384", "2b818000"), ("0.9", "09"), ("2.999", "8837"),
])
def test_an_object_identifier_is_written_by_sevens(dotted: str, content: str) -> None:
    """The first two numbers share a byte, as long as there is room in it (X.690 §8.19)."""
    assert der_oid(dotted).hex() == content
