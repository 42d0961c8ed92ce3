"""Format-preserving masks: the shape stays, every character that can be hidden is, and the key leads back."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.preserving import LONGEST, preserving_mask
from lockgate.govern.masking.redaction import Replace
from lockgate.govern.masking.validators import luhn
from tests.unit.govern.masking.shapes import cards

KEY = bytes(range(32))


def masks(oid: int, typmod: int = -1, binary: bool = False) -> tuple[Replace, Replace]:
    found = [preserving_mask(ColumnType(oid, typmod), binary, KEY, lambda _value: None, back=back) for back in (False, True)]
    assert found[0] is not None
    assert found[1] is not None
    return found[0], found[1]


def shape(text: str) -> str:
    return "".join("0" if letter in string.digits else "A" if letter in string.ascii_uppercase else
                   "a" if letter in string.ascii_lowercase else letter for letter in text)


@given(text=st.text(string.digits + string.ascii_letters + "-_.@ /,:;\"'{}\\\t\n", max_size=60))
def test_a_text_keeps_its_shape(text: str) -> None:
    """Digits stay digits, letters keep their case, marks stay; small shapes are redacted."""
    encrypt, decrypt = masks(25)
    size = 1
    for letter in shape(text):
        size *= {"0": 10, "A": 26, "a": 26}.get(letter, 1)
    new = encrypt(text.encode())
    digits = "".join(letter for letter in text if letter in string.digits).encode()
    if size < 1_000_000:
        assert new is None
    elif new is None:
        assert luhn(digits)                         # its check digit follows from the others
        assert size < 10_000_000
    else:
        assert shape(new.decode()) == shape(text)
        assert decrypt(new) == text.encode()


@given(card=cards())
def test_a_card_number_keeps_a_valid_check_digit(card: bytes) -> None:
    """Who checks card numbers takes the mask for one; it is turned back like any text."""
    encrypt, decrypt = masks(25)
    new = encrypt(card)
    assert new is not None
    assert luhn(bytes(byte for byte in new if 48 <= byte <= 57))
    assert decrypt(new) == card


@given(digits=st.text(string.digits, min_size=13, max_size=19))
def test_a_number_that_is_no_card_becomes_none(digits: str) -> None:
    """Otherwise a card and another number could have one mask, and neither could be turned back."""
    assume(not luhn(digits.encode()))
    encrypt, decrypt = masks(25)
    new = encrypt(digits.encode())
    assert new is not None
    assert not luhn(new)
    assert decrypt(new) == digits.encode()


@pytest.mark.parametrize("value", ["Jörg Müller 12345678", "12345678\u00a0", "王小明 12345678", "12345678\x00", "x" * (LONGEST + 1),
                                   "12345", "-----", "", "é" * 30])
def test_what_would_stay_readable_is_redacted(value: str) -> None:
    """A letter that has no class to go to would stay as it is."""
    assert masks(25)[0](value.encode()) is None


@pytest.mark.parametrize(("oid", "size", "signed"), [(21, 2, True), (23, 4, True), (20, 8, True), (26, 4, False)])
@given(data=st.data())
def test_a_whole_number_keeps_sign_and_digits(oid: int, size: int, signed: bool, data: st.DataObject) -> None:
    """The range of the type is respected up to both ends; up to six digits can be listed and are redacted."""
    highest = (1 << 8 * size - signed) - 1
    number = data.draw(st.integers(-highest - 1 if signed else 0, highest))
    encrypt, decrypt = masks(oid)
    new = encrypt(b"%d" % number)
    if abs(number) < 1_000_000:
        assert new is None
        return
    assert new is not None
    assert len(new) == len(str(number))
    assert (int(new) < 0) == (number < 0)
    assert -highest - 1 <= int(new) <= highest
    assert decrypt(new) == b"%d" % number
    in_binary = masks(oid, binary=True)[0](number.to_bytes(size, "big", signed=signed))
    assert in_binary == int(new).to_bytes(size, "big", signed=signed)


@given(number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-10**30, max_value=10**30, places=7))
def test_a_numeric_keeps_sign_digits_and_scale(number: object) -> None:
    """Zeros in front of the first digit stay zeros, so that the precision of the column is never exceeded."""
    text = f"{number:f}"
    encrypt, decrypt = masks(1700)
    new = encrypt(text.encode())
    if len(text.replace("-", "").replace(".", "").lstrip("0")) < 7:
        assert new is None
        return
    assert new is not None
    assert shape(new.decode()) == shape(text)
    first = next(at for at, letter in enumerate(text) if letter in "123456789")
    assert new[:first] == text[:first].encode()
    assert new[first:first + 1] != b"0"
    assert decrypt(new) == text.encode()


@given(raw=st.binary(min_size=16, max_size=16))
def test_a_uuid_keeps_version_and_variant(raw: bytes) -> None:
    """All other digits are hidden, in text and binary alike."""
    encrypt, decrypt = masks(2950, binary=True)
    new = encrypt(raw)
    assert new is not None
    assert (new.hex()[12], new.hex()[16]) == (raw.hex()[12], raw.hex()[16])
    assert decrypt(new) == raw
    assert new != raw


def test_other_types_have_no_such_mask() -> None:
    """A shape is no secret of theirs, or nothing else is."""
    for oid in (16, 17, 700, 790, 1082, 1114, 114, 3802, 869):
        assert preserving_mask(ColumnType(oid), False, KEY, lambda _value: None) is None
