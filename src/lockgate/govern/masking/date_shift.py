"""Shifted dates: every date under one key moves by the same number of days, so that intervals stay what they are.

Apart from `preserving`, because a date means something to the other dates of a row: columns whose distances matter
belong under one label. The shift is 1 to 365 days, either way; the time of day stays. Whoever knows one true date
under a key knows all of them. Infinities stay, and what would leave the type's range stops at its border.

Dates are counted here and not by `datetime`, whose years end at 9999 and begin at 1; PostgreSQL's go from 4714 BC to
294276 (timestamps) and 5874897 (dates). A text in another style than ISO is redacted.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.redaction import Replace

_ISO: Final = re.compile(rb"([0-9]{4,7})-([0-9]{2})-([0-9]{2})((?:[ T][0-9:.]+(?:[+-][0-9:]+|Z)?)?)( BC)?")
_FURTHEST: Final = 365
_EPOCH: Final = 730_425                             # 2000-01-01, counted from 0000-03-01
_DAY: Final = 86_400_000_000                        # microseconds
_FIRST: Final = -2_451_545                          # 4714-11-24 BC, counted from 2000-01-01 (date.h, timestamp.h)
_LAST_DATE: Final = 2_145_031_948                   # 5874897-12-31
_LAST_TIMESTAMP: Final = 106_751_982                # 294276-12-31
_DATES: Final = ("!i", -0x80000000, 0x7FFFFFFF, 1, _FIRST, _LAST_DATE)
_TIMESTAMPS: Final = ("!q", -(1 << 63), (1 << 63) - 1, _DAY, _FIRST, _LAST_TIMESTAMP)


def shift_of(key: bytes) -> int:
    """The days that a key of at least eight bytes stands for."""
    drawn = int.from_bytes(key[:8], "big") % (2 * _FURTHEST)
    return drawn - _FURTHEST if drawn < _FURTHEST else drawn - _FURTHEST + 1


def date_mask(column: ColumnType, binary: bool, key: bytes, redact: Replace) -> Replace | None:
    """The mask for a column of date, timestamp or timestamptz, None for any other type."""
    days = shift_of(key)
    match column.name:
        case "date":
            layout = _DATES
        case "timestamp" | "timestamptz":
            layout = _TIMESTAMPS
        case _:
            return None
    # A timestamptz's text is in the session's zone: a day less on both ends keeps it inside in every zone.
    spare = int(column.name == "timestamptz")
    lowest, highest = layout[4] + spare, layout[5] - spare
    change = _binary(layout, lowest, highest, days) if binary else (lambda value: shifted(value, days, lowest, highest))

    def replace(value: bytes) -> bytes | None:
        try:
            return change(value)
        except (ValueError, struct.error):
            return redact(value)

    return replace


def _binary(layout: tuple[str, int, int, int, int, int], lowest: int, highest: int, days: int) -> Callable[[bytes], bytes]:
    shape, before_all, behind_all, unit, _, _ = layout

    def change(value: bytes) -> bytes:
        (moment,) = struct.unpack(shape, value)
        if moment in (before_all, behind_all):
            return value
        day, rest = divmod(moment, unit)
        return struct.pack(shape, min(max(day + days, lowest), highest) * unit + rest)

    return change


def shifted(value: bytes, days: int, lowest: int = _FIRST, highest: int = _LAST_TIMESTAMP) -> bytes:
    """A date or timestamp in ISO style, moved. ValueError for any other text."""
    if value in (b"infinity", b"-infinity"):
        return value
    found = _ISO.fullmatch(value)
    if found is None:
        raise ValueError("not a date in ISO style")
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise ValueError("not a date")
    moved = min(max(_days(1 - year if found[5] else year, month, day) + days, lowest), highest)
    year, month, day = _civil(moved)
    era = b" BC" if year < 1 else b""
    return b"%04d-%02d-%02d%b%b" % (1 - year if year < 1 else year, month, day, found[4], era)


def _days(year: int, month: int, day: int) -> int:
    """Days from 2000-01-01, in the Gregorian calendar for all times; year 0 is 1 BC. Years begin in March here."""
    year -= month < 3
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - _EPOCH


def _civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a count of days: the inverse of `_days`, four centuries at a time."""
    days += _EPOCH
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = (month + 2) % 12 + 1
    return era * 400 + year_of_era + (month < 3), month, day
