"""Bound values as a person reads them: wire bytes, type OID and format → text.

Apart from `operations` because it is a table of PostgreSQL's binary formats (the `*send` functions of
the types; manual, section 54.7 "Bind"). Rules: two values of one type and format
read the same only if they are the same value (`operations.reading_of` gives types and formats to what
a review is bound to); what is not in the table, or does not add up, is shown as hex.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from typing import Final
from uuid import UUID

from lockgate.protocols.postgres.codec import read_oids, spread

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_ZERO: Final = _EPOCH.toordinal()
_NUMERIC_SIGNS: Final = {0x0000: "", 0x4000: "-"}
_NUMERIC_WORDS: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_MOST_DIGITS: Final = 256                   # of a numeric on either side: ten bytes can mean 131,072 of them


def _integer(size: int, *, signed: bool = True) -> Callable[[bytes], str]:
    def read(raw: bytes) -> str:
        if len(raw) != size:
            raise ValueError
        return str(int.from_bytes(raw, "big", signed=signed))

    return read


def _float(layout: str) -> Callable[[bytes], str]:
    def read(raw: bytes) -> str:
        (value,) = struct.unpack(layout, raw)
        return repr(value)                  # the shortest text that reads back as this value

    return read


def _boolean(raw: bytes) -> str:
    return {b"\0": "false", b"\1": "true"}[raw]


def _text(raw: bytes) -> str:
    return raw.decode()


def _jsonb(raw: bytes) -> str:
    if raw[:1] != b"\1":
        raise ValueError
    return raw[1:].decode()


def _uuid(raw: bytes) -> str:
    return str(UUID(bytes=raw))


def _bytea(raw: bytes) -> str:
    return "\\x" + raw.hex()


def _date(raw: bytes) -> str:
    (days,) = struct.unpack("!i", raw)
    return date.fromordinal(_DAY_ZERO + days).isoformat()


def _timestamp(raw: bytes) -> str:
    (micros,) = struct.unpack("!q", raw)
    return (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat(" ")


def _timestamptz(raw: bytes) -> str:
    (micros,) = struct.unpack("!q", raw)
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(" ")


def _numeric(raw: bytes) -> str:
    """Base-10000 digits, weight of the first, sign, digits behind the point (numeric.c)."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", raw)
    if len(raw) != 8 + 2 * count or scale > _MOST_DIGITS or abs(weight) > _MOST_DIGITS // 4:
        raise ValueError
    if sign in _NUMERIC_WORDS:
        return _NUMERIC_WORDS[sign]
    digits = struct.unpack_from(f"!{count}H", raw, 8)
    if any(digit > 9_999 for digit in digits):
        raise ValueError
    whole = "".join(f"{digits[at] if at < count else 0:04}" for at in range(weight + 1)).lstrip("0") or "0"
    behind = "".join(f"{digits[at] if 0 <= at < count else 0:04}" for at in range(weight + 1, weight + 2 + scale // 4))
    if behind[scale:].strip("0") or any(digits[max(0, weight + 2 + scale // 4):]):
        raise ValueError                    # digits that the scale hides: not what a server sends
    return _NUMERIC_SIGNS[sign] + whole + ("." + behind[:scale] if scale else "")


_TYPES: Final[dict[int, Callable[[bytes], str]]] = {
    16: _boolean, 17: _bytea, 18: _text, 19: _text,
    20: _integer(8), 21: _integer(2), 23: _integer(4), 25: _text,
    26: _integer(4, signed=False), 114: _text, 700: _float("!f"),
    701: _float("!d"), 705: _text, 1042: _text, 1043: _text,
    1082: _date, 1114: _timestamp, 1184: _timestamptz,
    1700: _numeric, 2950: _uuid, 3802: _jsonb,
}
_ARRAYS: Final = {
    1000: 16, 1001: 17, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20, 1021: 700,
    1022: 701, 1028: 26, 1115: 1114, 1182: 1082, 1185: 1184, 1231: 1700, 199: 114, 2951: 2950, 3807: 3802,
}
"""Array types and their elements (pg_type.dat)."""
_BARE: Final = frozenset({16, 20, 21, 23, 26, 700, 701, 1082, 1700, 2950})


def _array(element: int, raw: bytes) -> str:
    """One dimension that begins at 1, or an empty array; what could hold a comma is quoted."""
    dimensions, _, found = struct.unpack_from("!iiI", raw)
    if found != element:
        raise ValueError
    if dimensions == 0 and len(raw) == 12:
        return "{}"
    count, lowest = struct.unpack_from("!ii", raw, 12)
    if dimensions != 1 or lowest != 1:
        raise ValueError
    read, position, parts = _TYPES[element], 20, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", raw, position)
        position += 4
        if length == -1:
            parts.append("NULL")
            continue
        if length < 0 or position + length > len(raw):
            raise ValueError
        shown = read(raw[position:position + length])
        if element not in _BARE:
            shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
        parts.append(shown)
        position += length
    if position != len(raw):
        raise ValueError
    return "{" + ",".join(parts) + "}"


def read_value(raw: bytes, oid: int) -> str:
    """One value in binary format as text; in hex where its type is not known."""
    try:
        element = _ARRAYS.get(oid)
        return _TYPES[oid](raw) if element is None else _array(element, raw)
    except (KeyError, ValueError, OverflowError, struct.error):
        return "\\x" + raw.hex()


def _plain(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "\\x" + raw.hex()


def types_of(stated: bytes, described: tuple[int, ...]) -> tuple[int, ...]:
    """Of the parameters, as Parse declared them, else as the backend described them; 0 where neither said it."""
    return tuple(one or other for one, other in zip_longest(read_oids(stated), described, fillvalue=0))


def read_values(
    formats: tuple[int, ...], values: tuple[bytes | None, ...], stated: bytes, described: tuple[int, ...]
) -> tuple[str | None, ...]:
    """The values of a Bind; None is NULL. `stated` are the types of Parse (count and OIDs, 0: not said),
    `described` those of a ParameterDescription, if the backend has sent one."""
    if not any(formats):
        return tuple(None if raw is None else _plain(raw) for raw in values)
    codes = spread(formats, len(values))
    types = types_of(stated, described)
    shown: list[str | None] = []
    for index, (raw, code) in enumerate(zip(values, codes, strict=True)):
        if raw is None:
            shown.append(None)
        elif code:
            shown.append(read_value(raw, types[index] if index < len(types) else 0))
        else:
            shown.append(_plain(raw))
    return tuple(shown)
