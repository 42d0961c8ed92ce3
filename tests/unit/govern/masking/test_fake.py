"""Invented values: plausible, the same again, and nothing of the value left in its place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking import fake_words
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.fake import LONGEST, fake, fake_mask
from lockgate.govern.masking.redaction import Replace

KEY = bytes(32)


def mask(oid: int = 25, typmod: int = -1, label: str = "pii", key: bytes = KEY) -> Replace:
    found = fake_mask(ColumnType(oid, typmod), key, label, lambda _value: b"redacted")
    assert found is not None
    return found


@pytest.mark.parametrize(("value", "label", "due"), [
    ("ann@example.com", "pii", r"[a-z]+\.[a-z]+[0-9]{2}@example\.(com|net|org)"),
    ("Ann", "pii", r"[A-Z][a-z]+"),
    ("Ann Miller", "pii", r"[A-Z][a-z]+ [A-Z][a-z]+"),
    ("ANN MILLER", "pii", r"[A-Z]+ [A-Z]+"),
    ("ann miller", "pii", r"[a-z]+ [a-z]+"),
    ("Jean-Luc O'Neil", "pii", r"[A-Z][a-z]+ [A-Z][a-z]+ [A-Z][a-z]* [A-Z][a-z]+"),
    ("Müller", "pii", r"[A-Z][a-z]+"),
    ("王小明", "pii", r"[a-z]+"),
    ("Berlin", "home.city", r"[A-Z][a-z]+"),
    ("+1 (415) 555-2671", "pii", r"\+[0-9] \([1-9][0-9]{2}\) [1-9][0-9]{2}-[1-9][0-9]{3}"),
    ("219-09-9999", "pii", r"[0-9]{3}-0?[0-9]{1,2}-[0-9]{4}"),
    ("12 Main St., Apt. 7b", "pii", r"[0-9]{2} [A-Z][a-z]+ [A-Z][a-z]+\., [A-Z][a-z]+\. [0-9][a-z]+"),
    ("", "pii", r""),
    ("--- ...", "pii", r"redacted"),
    ("x" * (LONGEST + 1), "pii", r"redacted"),
])
def test_an_invention_is_of_the_value_s_own_kind(value: str, label: str, due: str) -> None:
    """E-mails, names, places, numbers with their marks, and words in their order."""
    new = mask(label=label)(value.encode())
    assert new is not None
    assert re.fullmatch(due, new.decode()), new


def test_a_place_comes_from_the_places() -> None:
    """The label says what a single word cannot."""
    assert (mask(label="customers.city")(b"Berlin") or b"").decode() in fake_words.CITIES
    assert (mask(label="customers.name")(b"Berlin") or b"").decode() in fake_words.FIRST_NAMES


@given(text=st.text(max_size=80), seed=st.binary(min_size=32, max_size=32))
def test_no_word_stays_in_its_place(text: str, seed: bytes) -> None:
    """Whatever the script, no word and no number is there again, and what comes out is printable ASCII."""
    new = fake(text, seed)
    assert new == fake(text, seed)
    assert all(32 <= ord(letter) < 127 or letter in "\t\r\n" for letter in new)
    if "@" not in new:
        before, after = (re.findall(r"[^\W\d_]+|\d+", one) for one in (text, new))
        assert all(one.casefold() != other.casefold() for one, other in zip(before, after, strict=False))


@pytest.mark.parametrize(("words", "is_place"), [(fake_words.FIRST_NAMES, False), (fake_words.CITIES, True)])
def test_a_value_that_is_on_a_list_is_not_its_own_mask(words: tuple[str, ...], is_place: bool) -> None:
    """The lists hold real names: with so many seeds each of them would be drawn for itself."""
    for number, name in enumerate(words * 30):
        seed = number.to_bytes(32, "big")
        assert fake(name.upper(), seed, is_place=is_place).casefold() != name.casefold()


def test_the_lists_hold_each_word_once() -> None:
    """Short ASCII words, so that they fit and are drawn with equal chance."""
    for words in (fake_words.FIRST_NAMES, fake_words.LAST_NAMES, fake_words.CITIES, fake_words.PLAIN_WORDS):
        assert len(words) >= 64
        assert len({word.casefold() for word in words}) == len(words)
        assert all(word.isascii() and word.isalpha() and len(word) <= 13 for word in words)


def test_another_key_invents_something_else() -> None:
    """And the blanks of a char(n) change nothing."""
    values = [f"person{number}@mail.test".encode() for number in range(20)]
    assert [mask()(value) for value in values] != [mask(key=b"\1" * 32)(value) for value in values]
    assert (mask(1042, 84)(b"Ann Miller          ") or b"").rstrip() == mask()(b"Ann Miller")


def test_what_does_not_fit_is_redacted() -> None:
    """A cut e-mail would be none."""
    assert mask(1043, 10 + 4)(b"a@b.example") == b"redacted"
    assert mask(25)(b"\xff\xfe") == b"redacted"
    assert fake_mask(ColumnType(23), KEY, "pii", lambda value: value) is None
