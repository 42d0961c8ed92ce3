"""A constant that a mask shows is known by its value, however it is spelled."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.constants import is_constant


@pytest.mark.parametrize(("base", "redacted", "same", "other"), [
    ("numeric", "0", ["0", "0.00", "-0", "+0.", ".0", "0e5", "0x0", " 0 ", "0_0"], ["1", "0.01", "", ".", "-", "0x1", "1e0", "NaN"]),
    ("money", "0", ["$0.00", "-$0"], ["$1"]),
    ("bool", "f", ["f", "false", "FALSE", "no", "n", "off", "0"], ["t", "true", "", "o", "1"]),
    ("date", "1970-01-01", ["1970-01-01", "19700101", "Jan 1, 1970", "1/1/1970", "1970-Jan-01", "epoch", "1970-1-1"],
     ["1970-01-02", "1971-01-01", "Feb 1, 1970", ""]),
    ("timestamp", "1970-01-01 00:00:00", ["1970-01-01", "1970-01-01T00:00", "1970-01-01 00:00:00.000"], ["1970-01-01 00:00:01"]),
    ("timestamptz", "1970-01-01 00:00:00+00", ["1970-01-01T00:00:00Z", "1970-01-01 01:00:00+01", "1970-01-01 00:00:00+00:00",
                                               "1969-12-31 19:00:00-05", "1970-01-01"], ["1970-01-01 00:00:00+01"]),
    ("interval", "00:00:00", ["0", "0 days", "00:00", "PT0S"], ["1 day", "days", ""]),
    ("bytea", "\\x", ["", "\\x"], ["\\x00"]),
    ("uuid", "00000000-0000-0000-0000-000000000000", ["{00000000-0000-0000-0000-000000000000}", "0" * 32], ["0" * 31 + "1"]),
    ("inet", "0.0.0.0", ["0.0.0.0/32"], ["10.0.0.0"]),
    ("_text", "{}", ["{}", "{ }"], ["{a}"]),
    ("point", "(0,0)", ["(0.0, -0)", "( 0 , 0 )"], ["(0,1)"]),
    ("bpchar", "xx", ["xx", "xx  "], ["xxx"]),
])
def test_values_are_compared(base: str, redacted: str, same: list[str], other: list[str]) -> None:
    """Every spelling of the constant, and no other value."""
    assert [text for text in same if not is_constant(base, redacted, text)] == []
    assert [text for text in other if is_constant(base, redacted, text)] == []


def test_a_column_that_shows_null_has_no_constant() -> None:
    """NULL is nothing that a value could be taken for."""
    assert not is_constant("citext", None, "x")


@pytest.mark.parametrize("base", ["numeric", "date", "interval", "uuid", "point", "_text", "bool"])
def test_long_values_cost_little(base: str) -> None:
    """A megabyte is looked at in one pass or not at all."""
    for text in ("0" * 1_000_000, " " * 1_000_000, "1-" * 500_000, "0." * 500_000):
        is_constant(base, "0", text)
