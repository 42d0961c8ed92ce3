"""Redaction of result values: the constant of the column's type, as the server would have sent it.

Apart from `analysis.sql.masks`, which writes the same constants into statements: here they are in the wire's format
and already have the length and scale of the type's modifier. This is what every other method falls back to where it
cannot work on a value, so it works on all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from lockgate.analysis.sql.builtin_types import BY_ARRAY, EMPTY_ARRAY, REDACTED, WIDEST_BITS
from lockgate.govern.masking.column_type import ColumnType

Replace = Callable[[bytes], bytes | None]
"""A value becomes another one, or NULL. Raises for no bytes whatever."""

_WIDEST_PADDING: Final = 65_536                     # of a char(n): blanks at its end mean nothing


def constant(column: ColumnType, binary: bool) -> bytes | None:
    """What stands for every value of the column; None where only NULL is sure to be valid."""
    element = BY_ARRAY.get(column.oid)
    if element is not None:
        return struct.pack("!iiI", 0, 0, element.oid) if binary else EMPTY_ARRAY.encode()
    found = column.builtin
    if found is None:
        return None
    limit = column.limit
    match found.name:
        case "varchar" | "bpchar":
            return fitted(REDACTED, column)
        case "bit" if limit is not None:
            if limit > WIDEST_BITS:
                return None
            return struct.pack("!i", limit) + bytes((limit + 7) // 8) if binary else b"0" * limit
        case "numeric":
            scale = max(0, (column.precision or (0, 0))[1])
            if binary:
                return struct.pack("!HhHH", 0, 0, 0, scale)
            return b"0." + b"0" * scale if scale else b"0"
    return found.binary if binary else found.text.encode()


def redaction(column: ColumnType, binary: bool) -> Replace:
    """Every value becomes the column's constant; a date is in ISO style, whatever style the session asked for."""
    shown = constant(column, binary)
    return lambda _value: shown


def fitted(text: str, column: ColumnType) -> bytes:
    """A text cut off as a cast to the column's type would cut it, and filled up with the blanks of a char(n)."""
    limit = column.limit
    if column.name == "name":
        return text.encode()[:limit].decode("utf-8", "ignore").encode()
    return padded(text if limit is None else text[:limit], column)


def padded(text: str, column: ColumnType) -> bytes:
    """A text that fits, with the blanks that the server fills a char(n) up with."""
    limit = column.limit
    if column.name == "bpchar" and limit is not None and limit <= _WIDEST_PADDING:
        text = text.ljust(limit)
    return text.encode()
