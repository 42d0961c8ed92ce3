"""Shifted dates against Python's calendar and PostgreSQL's borders."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.date_shift import date_mask, shift_of, shifted
from lockgate.govern.masking.redaction import Replace

KEY = b"\0\0\0\0\0\0\0\x07" + bytes(24)
DAYS = shift_of(KEY)


def mask(oid: int, binary: bool = False, key: bytes = KEY) -> Replace:
    found = date_mask(ColumnType(oid), binary, key, lambda _value: None)
    assert found is not None
    return found


def test_the_shift_is_never_none_and_at_most_a_year() -> None:
    """Every shift from -365 to 365 but 0, each as likely as the other."""
    found = [shift_of(number.to_bytes(8, "big")) for number in range(730)]
    assert sorted(found) == [days for days in range(-365, 366) if days]


@given(one=st.dates(date(2, 1, 1), date(9998, 12, 30)), two=st.dates(date(2, 1, 1), date(9998, 12, 30)))
def test_dates_keep_their_distance(one: date, two: date) -> None:
    """Every date moves by the same number of days, across months, leap years and centuries."""
    first, second = (date.fromisoformat((mask(1082)(day.isoformat().encode()) or b"").decode()) for day in (one, two))
    assert second - first == two - one
    assert first - one == timedelta(days=DAYS)


@given(moment=st.datetimes().filter(lambda moment: 2 <= moment.year <= 9998), zone=st.sampled_from(["", "+00", "-03:30", "+05:45:10"]))
def test_a_timestamp_keeps_its_time_and_zone(moment: datetime, zone: str) -> None:
    """Only the day moves."""
    text = moment.isoformat(" ") + zone
    new = mask(1184 if zone else 1114)(text.encode())
    assert new is not None
    assert new.decode().partition(" ")[2] == text.partition(" ")[2]
    assert date.fromisoformat(new.decode()[:10]) == moment.date() + timedelta(days=DAYS)


@given(days=st.integers(-2_451_545 + 366, 106_751_982 - 366), micros=st.integers(0, 86_399_999_999))
def test_text_and_binary_move_alike(days: int, micros: int) -> None:
    """Binary counts days and microseconds from 2000-01-01 (``date_send``, ``timestamp_send``)."""
    assert mask(1082, binary=True)(struct.pack("!i", days)) == struct.pack("!i", days + DAYS)
    moment = days * 86_400_000_000 + micros
    assert mask(1114, binary=True)(struct.pack("!q", moment)) == struct.pack("!q", moment + DAYS * 86_400_000_000)


@pytest.mark.parametrize(("text", "days", "due"), [
    ("2000-02-28", 1, "2000-02-29"), ("1900-02-28", 1, "1900-03-01"), ("0001-01-01", -1, "0001-12-31 BC"),
    ("0001-12-31 BC", 1, "0001-01-01"), ("0005-02-28 BC", 1, "0005-02-29 BC"), ("9999-12-31", 1, "10000-01-01"),
    ("0044-03-15 10:00:00+00 BC", 1, "0044-03-16 10:00:00+00 BC"), ("infinity", 5, "infinity"), ("-infinity", 5, "-infinity"),
    ("2024-12-31T23:59:59.5Z", 1, "2025-01-01T23:59:59.5Z")])
def test_days_of_all_times(text: str, days: int, due: str) -> None:
    """Before Christ, above four digits, at the turn of the eras, infinite."""
    assert shifted(text.encode(), days) == due.encode()


def test_the_types_end_where_they_end() -> None:
    """What would leave the type stays at its border: first and last day that PostgreSQL has."""
    for direction in (b"\0" * 8, b"\0\0\0\0\0\0\2\xd9"):
        key = direction + bytes(24)
        assert abs(shift_of(key)) == 365
        for oid, last in ((1082, b"5874897-12-31"), (1114, b"294276-12-31 01:02:03")):
            for border in (b"4714-11-24 BC" if oid == 1082 else b"4714-11-24 00:00:00 BC", last):
                new = mask(oid, key=key)(border)
                assert new is not None
                assert (new == border) == ((shift_of(key) > 0) == (border is last))
    for value in (b"\x7f\xff\xff\xff", b"\x80\0\0\0"):
        assert mask(1082, binary=True)(value) == value
        assert mask(1114, binary=True)(value + value[3:] * 4) == value + value[3:] * 4


@pytest.mark.parametrize("text", ["", "29.02.1984", "02/29/1984", "Wed Feb 29 12:13:14 1984 UTC", "1984-13-01", "1984-00-01",
                                  "1984-02-32", "1984-2-9", "84-02-29", "1984-02-29 12:13", "1984-02-29 x", "1984-02-29\n",
                                  "1984-02-29 BCE", "999999999-01-01"])
def test_what_is_no_date_in_iso_style_is_redacted(text: str) -> None:
    """Another style could be read as another day."""
    new = mask(1082)(text.encode())
    assert (new is None) == (text != "1984-02-29 12:13")


def test_only_dates_are_shifted() -> None:
    """A time or an interval is no day."""
    assert all(date_mask(ColumnType(oid), False, KEY, lambda _value: None) is None for oid in (25, 1083, 1186, 1266, 3912, 23))
