"""Strings and numbers of JSON (RFC 8259, sections 6 and 7): where one ends, byte by byte.

Apart from `json_scan`, which knows what is inside of what. Plain typed Python that mypyc compiles.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

MINUS: Final = 20          # of a number: here a digit has to follow
ZERO: Final = 21
WHOLE: Final = 22
POINT: Final = 23
FRACTION: Final = 24
E: Final = 25
SIGN: Final = 26
EXPONENT: Final = 27
"""States of a number; all are above those of `json_scan`."""


def plain_end(data: bytes, start: i64, size: i64) -> i64:
    """Where the quote of a string in ASCII without escapes stands; -1 for another one, or if it is not there yet."""
    at = start
    while at < size:
        byte: i64 = data[at]
        if byte == 34:
            return at
        if byte == 92 or byte < 32 or byte > 127:
            return -1
        at += 1
    return -1


def string_end(data: bytes, start: i64, size: i64) -> i64:
    """The end of a string without escapes, behind its quote; -1 for another one, or if it is not there yet."""
    at = start
    while at < size:
        byte: i64 = data[at]
        if byte == 34:
            return at + 1
        if byte == 92 or byte < 32:
            return -1
        at += 1
    return -1


def number_end(data: bytes, start: i64, size: i64) -> i64:
    """The end of a number; -1 for what is none, or if it is not there yet."""
    byte: i64 = data[start]
    state: i64 = MINUS if byte == 45 else ZERO if byte == 48 else WHOLE
    at = start + 1
    while at < size:
        byte = data[at]
        if state != WHOLE or byte < 48 or byte > 57:
            after = number_after(state, byte)
            if after < 0:
                return at if after == -2 else -1
            state = after
        at += 1
    return -1


def number_after(state: i64, byte: i64) -> i64:
    """The state behind one more byte of a number; -2 where the number is whole before it, -1 where it is none."""
    is_digit = 48 <= byte <= 57
    if state == WHOLE or state == ZERO:
        if is_digit:
            return -1 if state == ZERO else WHOLE
        if byte == 46:
            return POINT
        if byte == 101 or byte == 69:
            return E
        return -2
    if state == FRACTION:
        if is_digit:
            return FRACTION
        return E if byte == 101 or byte == 69 else -2
    if state == EXPONENT:
        return EXPONENT if is_digit else -2
    if not is_digit:
        return SIGN if state == E and (byte == 43 or byte == 45) else -1
    if state == MINUS:
        return ZERO if byte == 48 else WHOLE
    return FRACTION if state == POINT else EXPONENT
