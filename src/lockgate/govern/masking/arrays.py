"""Arrays under a mask of single values: each element is masked, the array's shape stays.

Apart from `conceal`, which leaves alone what it finds nothing in: here every element goes through the mask, and what
does not read as an array is a ValueError. Formats: manual, "Array Input and Output Syntax"; ``array_send``.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from lockgate.govern.masking.redaction import Replace

_BOUNDS: Final = re.compile(rb"(?:\[-?[0-9]{1,11}:-?[0-9]{1,11}\])+=(?=\{)")
_ITEM: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"|([^{},"\\\s]+)|[{},]', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL: Final = re.compile(rb'(["\\])')
_BARE: Final = re.compile(rb"[^{},\"\\\s]+")
_MOST_DIMENSIONS: Final = 6                         # MAXDIM
_NULL: Final = b"\xff\xff\xff\xff"


def masked_text(value: bytes, element: Replace) -> bytes:
    """An array in text format with every element masked; NULLs stay."""
    bounds = _BOUNDS.match(value)
    at = bounds.end() if bounds else 0
    out = [value[:at]]
    depth = 0
    while at < len(value):
        item = _ITEM.match(value, at)
        if item is None or (depth == 0 and item.group() != b"{") or (depth == 0 and len(out) > 1):
            raise ValueError("not an array")
        at = item.end()
        raw = item.group()
        if item[1] is None and item[2] is None:
            depth += (raw == b"{") - (raw == b"}")
            out.append(raw)
        elif item[1] is not None:
            out.append(_written(element(_ESCAPE.sub(rb"\1", item[1]))))
        else:
            out.append(raw if raw == b"NULL" else _written(element(raw)))
    if depth or len(out) < 2:
        raise ValueError("not an array")
    return b"".join(out)


def _written(value: bytes | None) -> bytes:
    if value is None:
        return b"NULL"
    if _BARE.fullmatch(value) and value.upper() != b"NULL":
        return value
    return b'"' + _SPECIAL.sub(rb"\\\1", value) + b'"'


def masked_binary(value: bytes, element: Replace, oid: int) -> bytes:
    """An array in binary format, of elements of type `oid`, with every element masked; NULLs stay."""
    if len(value) < 12:
        raise ValueError("not an array")
    dimensions, _, found = struct.unpack_from("!iiI", value)
    if found != oid or not 0 <= dimensions <= _MOST_DIMENSIONS or len(value) < 12 + 8 * dimensions:
        raise ValueError("not an array")
    at = 12 + 8 * dimensions
    count = 1 if dimensions else 0
    for size in struct.unpack_from("!" + "ii" * dimensions, value, 12)[::2]:
        count *= size
    if not 0 <= count <= (len(value) - at) // 4:
        raise ValueError("an array does not add up")
    out = [b"", value[8:at]]
    has_null = False
    for _ in range(count):
        length = int.from_bytes(value[at:at + 4], "big", signed=True)
        at += 4
        if length < -1 or at + length > len(value):
            raise ValueError("an array's element is cut off")
        new = None if length < 0 else element(value[at:at + length])
        has_null = has_null or new is None
        out.append(_NULL if new is None else len(new).to_bytes(4, "big") + new)
        at += max(length, 0)
    if at != len(value):
        raise ValueError("an array does not add up")
    out[0] = value[:4] + struct.pack("!i", has_null)
    return b"".join(out)
