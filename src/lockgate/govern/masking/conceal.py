"""Concealing: one value in, the same value or what may be seen of it out (None is NULL).

Stands apart from `search` (what is found in text) and `detection` (where values lie on the wire). Rules:
the strongest mask wins, overlapping finds are merged, and what comes out is valid for the column's type;
where no valid replacement exists the value becomes NULL. An unchanged value is given back as the same
object.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable

from lockgate.govern.masking.column_types import (
    ELEMENTS,
    FIRST_USER_OID,
    MULTIRANGES,
    NUMERIC_OID,
    RANGES,
    Shape,
    shape_of,
)
from lockgate.govern.masking.detector import REDACTED
from lockgate.govern.masking.search import Search
from lockgate.govern.masking.typed_values import HEX_BYTES, bytes_of
from lockgate.model import MaskMethod

Conceal = Callable[[bytes], bytes | None]

# A quote that nothing closes takes the rest: looked for again behind it, the work would grow with the square.
_QUOTED = rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_LOOSE = json.JSONDecoder(strict=False)     # made once: `loads` with an option makes one each time
_JSON_TOKEN = re.compile(_QUOTED + rb"|-?[0-9][0-9.eE+-]*", re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_JSON_BORDER = re.compile(_QUOTED + rb"|[\[\]{}]", re.DOTALL)
_NUMBER = re.compile(rb"-?([0-9]+)(?:\.0*)?")
_ARRAY_ITEM = re.compile(_QUOTED + rb'|[^{},"]+', re.DOTALL)
_ARRAY_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BINARY_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_SCALARS = frozenset(bytes((byte,)) for byte in b'"-0123456789')      # what a string or number begins with
_LEAST_DIGITS = 4         # of a JSON number that the name beside it tells; shorter ones count and measure
_MOST_FIELDS = 1664       # MaxTupleAttributeNumber
_MOST_DIMENSIONS = 6      # MAXDIM
_NETS = ((b"\2", b"\4", 8), (b"\3", b"\x10", 20))      # family, size of the address, size of the whole
_RANGE_FLAGS = 0x1F       # RANGE_EMPTY … RANGE_UB_INF; what else there is never leaves the server
_DEEPEST = 32
"""Values inside values that are looked into; what lies deeper becomes NULL with all that it lies in."""


class Concealer:
    """What conceals the values of columns in which the detectors of `search` are in force."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._depth = 0
        self._numbers = tuple((found, method) for found, method in search.active if found.number is not None)
        self._only_cards = all(found.name == "credit_card" for found, _ in self._numbers)
        self._addresses = {found.name: method for found, method in search.active if found.name in ("ipv4", "ipv6")}

    def for_column(self, oid: int, binary: bool) -> Conceal:
        """What conceals the values of a column of type `oid` in text or binary format."""
        shape = shape_of(oid)
        if shape is Shape.RANGE:
            bound = self.for_column(RANGES[oid], binary)
            if not binary:
                return self._other
            bounds = _multirange_bounds if oid in MULTIRANGES else _range_bounds
            return lambda value: value if _is_clean(bounds(value), bound) else None
        if binary:
            return {
                Shape.TEXT: self.text, Shape.JSON: self.json, Shape.JSONB: self._jsonb_binary,
                Shape.BYTES: self.text, Shape.NUMBER: self._number_binary, Shape.NET: self._net_binary,
                Shape.ARRAY: self._array_binary, Shape.RECORD: self._record_binary,
                Shape.USER: self._user_binary, Shape.FREE: _unchanged, Shape.OTHER: self._other,
            }[shape] if oid != NUMERIC_OID else self._numeric_binary  # fmt: skip
        if shape is Shape.ARRAY:
            element = self.for_column(ELEMENTS[oid], binary=False)
            return lambda value: _array_text(value, element)
        return {
            Shape.TEXT: self.text, Shape.JSON: self.json, Shape.JSONB: self.json, Shape.BYTES: self.bytea,
            Shape.NUMBER: self._number, Shape.NET: self._net, Shape.USER: self.text, Shape.FREE: _unchanged,
            Shape.RECORD: self._other, Shape.OTHER: self._other,
        }[shape]  # fmt: skip

    def text(self, value: bytes) -> bytes | None:
        """Free text: each find is replaced where it stands."""
        return self.search.concealed(value)

    def untyped(self, value: bytes) -> bytes | None:
        """Text of a column whose type is not known: hex of bytes is looked into, the rest is text."""
        return self.bytea(value) if HEX_BYTES.fullmatch(value) else self.text(value)

    def json(self, value: bytes) -> bytes | None:
        """JSON text: string tokens (names too) are decoded, searched and written anew; a number
        becomes 0; what stands under a name that means a credential goes as a whole.
        """
        out: list[bytes] = []
        done = 0
        name: bytes | None = None
        above: bytes | None = None      # the name that everything up to `until` stands under
        until = 0
        for token in _JSON_TOKEN.finditer(value):
            raw = token.group()
            colon = _COLON.match(value, token.end()) if raw[:1] == b'"' else None
            if token.start() >= until:
                above = None
            new = self.json_token(raw, name, None if colon is not None else above)
            if new is None:
                return None
            name = None
            if colon is not None:
                first = value[colon.end():colon.end() + 1]
                if first in _SCALARS:
                    name = json_string(raw)
                elif first in (b"[", b"{") and above is None:
                    above = json_string(raw)
                    until = colon.end()
                    if above is not None and self.search.names(above):
                        until = _closing(value, until)
            if new is not raw:
                out += (value[done : token.start()], new)
                done = token.end()
        if not out:
            return value
        out.append(value[done:])
        joined = b"".join(out)
        try:
            json.loads(joined, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            return None
        return joined

    def bytea(self, value: bytes) -> bytes | None:
        r"""Bytes in text format: hex (``\x…``) or the older octal escapes; comes out as hex."""
        raw = bytes_of(value)
        new = self.text(raw)
        if new is raw:
            return value
        return None if new is None else b"\\x" + new.hex().encode("ascii")

    def json_token(self, raw: bytes, name: bytes | None, above: bytes | None) -> bytes | None:
        """A string or number as it is written under the name `name`, somewhere in what stands under the name `above`: the
        same object where nothing is found, None where it becomes null.
        """
        if raw[:1] != b'"':
            number = _NUMBER.fullmatch(raw)
            told = None if number is None or len(number[1]) < _LEAST_DIGITS else self._told(number[1], name, above)
            new = self.text(raw)
            if new is None or told is MaskMethod.NULL:
                return None
            return raw if new is raw and told is None else b"0"
        inner = json_string(raw)
        if inner is None:
            return None
        hidden_by = self._told(inner, name, above) if inner else None
        if hidden_by is not None:
            return None if hidden_by is MaskMethod.NULL else b'"' + REDACTED + b'"'
        new = self.text(inner)
        if new is inner:
            return raw
        if new is None:
            return None
        try:
            return json.dumps(new.decode("utf-8", "surrogatepass")).encode("ascii")
        except UnicodeDecodeError:
            return None

    def _told(self, value: bytes, name: bytes | None, above: bytes | None) -> MaskMethod | None:
        """The method for a value that a name beside or above it tells, or None."""
        told = None if name is None else self.search.hides_member(name, value)
        if told is None and above is not None:
            return self.search.hides_member(above, value, by_name=True)
        return told

    def _number(self, value: bytes) -> bytes | None:
        match = _NUMBER.fullmatch(value)
        return self._zero(value, match[1], b"0") if match else value

    def _number_binary(self, value: bytes) -> bytes | None:
        number = abs(int.from_bytes(value, "big", signed=True))
        return self._zero(value, b"%d" % number, bytes(len(value)))

    def _numeric_binary(self, value: bytes) -> bytes | None:
        if len(value) < 8:
            return None
        if self._only_cards and value[2:4] < b"\0\3":          # the weight: fewer than 13 digits
            return value
        digits = _whole_number(value)
        return value if digits is None else self._zero(value, digits, bytes(8))

    def _zero(self, value: bytes, digits: bytes, zero: bytes) -> bytes | None:
        for found, method in self._numbers:
            if found.number is not None and found.number(digits):
                self._count(found.name)
                return None if method is MaskMethod.NULL else zero
        return value

    def _net(self, value: bytes) -> bytes | None:
        return self._no_address(value, "ipv6", b"::") if b":" in value else self._no_address(value, "ipv4", b"0.0.0.0")

    def _net_binary(self, value: bytes) -> bytes | None:
        """``network_send``: family (2 is IPv4, 3 is IPv6), bits, is_cidr, length, address."""
        if value[:1] == b"\x02" and len(value) == 8:
            return self._no_address(value, "ipv4", b"\x02\x20" + value[2:4] + bytes(4))
        if value[:1] == b"\x03" and len(value) == 20:
            return self._no_address(value, "ipv6", b"\x03\x80" + value[2:4] + bytes(16))
        return None if self._addresses else value

    def _no_address(self, value: bytes, name: str, zero: bytes) -> bytes | None:
        method = self._addresses.get(name)
        if method is None:
            return value
        self._count(name)
        return None if method is MaskMethod.NULL else zero

    def _jsonb_binary(self, value: bytes) -> bytes | None:
        if value[:1] != b"\x01":
            return None
        inner = value[1:]
        new = self.json(inner)
        return value if new is inner else (None if new is None else b"\x01" + new)

    def _user_binary(self, value: bytes) -> bytes | None:
        """A type made at run time (citext, enum, composite, a domain inside another value, a range, arrays of them):
        what its bytes can be read as is looked into, text only where they cannot be else.
        """
        if _array_parts(value) is not None:
            return self._array_binary(value)
        parts = _record_fields(value)
        if parts is None:
            parts = [(FIRST_USER_OID, bound) for bound in _range_bounds(value) or _multirange_bounds(value) or ()]
        if self._has_find(parts) or self._is_number(value):
            return None
        new = self.text(value)
        if new is value:
            return value
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return None if _BINARY_CONTROLS.search(value) else new

    def _is_number(self, value: bytes) -> bool:
        """Whether bytes of an unknown type are a find as a number or an address. Eight of them are one only if the
        first is zero: no fraction or word begins with it.
        """
        if len(value) == 8 and value[0] == 0:
            return self._number_binary(value) is not value
        if (value[:1], value[3:4], len(value)) in _NETS and value[2] <= 1:
            return self._net_binary(value) is not value
        return len(value) > 8 and self._numeric_binary(value) is not value

    def _record_binary(self, value: bytes) -> bytes | None:
        """``record_send``: a count, then type, length and bytes of each field. None on a find in one of them, and
        for what does not add up.
        """
        fields = _record_fields(value)
        return None if fields is None or self._has_find(fields) else value

    def _has_find(self, fields: list[tuple[int, bytes]]) -> bool:
        """Whether one of the values, given with their types, is to be hidden; so is what lies too deep."""
        if self._depth >= _DEEPEST:
            return bool(fields)
        self._depth += 1
        try:
            return any(self.for_column(oid, binary=True)(item) is not item for oid, item in fields)
        finally:
            self._depth -= 1

    def _other(self, value: bytes) -> bytes | None:
        return value if self.text(value) is value else None

    def _array_binary(self, value: bytes) -> bytes | None:
        """``array_send``: dimensions, flags, element type, sizes; then elements with their lengths."""
        parts = _array_parts(value)
        if parts is None or self._depth >= _DEEPEST:
            return None
        at, element, items = parts
        conceal = self.for_column(element, binary=True)
        self._depth += 1
        try:
            new = [None if item is None else conceal(item) for item in items]
        finally:
            self._depth -= 1
        if all(one is other for one, other in zip(new, items, strict=True)):
            return value
        head = value[:4] + struct.pack("!i", int(None in new)) + value[8:at]
        return head + b"".join(b"\xff\xff\xff\xff" if one is None else struct.pack("!i", len(one)) + one for one in new)

    def _count(self, name: str) -> None:
        masked = self.search.masked
        masked[name] = masked.get(name, 0) + 1


def _closing(value: bytes, start: int) -> int:
    """Where the array or object that begins at `start` ends."""
    depth = 0
    for token in _JSON_BORDER.finditer(value, start):
        mark = token.group()
        depth += (mark in b"[{") - (mark in b"]}") if len(mark) == 1 else 0
        if depth == 0:
            return token.end()
    return len(value)


def json_string(raw: bytes) -> bytes | None:
    """The content of a JSON string token as UTF-8, None when it cannot be read."""
    if len(raw) < 2 or raw[-1:] != b'"':
        return None
    if b"\\" not in raw:
        return raw[1:-1]
    try:
        return str(_LOOSE.decode(raw.decode("utf-8", "surrogatepass"))).encode("utf-8", "surrogatepass")
    except ValueError:
        return None


def _whole_number(value: bytes) -> bytes | None:
    """The digits of a ``numeric_send`` (count, weight, sign, scale, base-10000 digits) that is whole, else None."""
    count, weight = struct.unpack_from("!Hh", value)
    if len(value) != 8 + 2 * count or not 0 <= weight <= 7:
        return None
    digits = struct.unpack_from(f"!{count}H", value, 8)
    if any(digits[weight + 1 :]):
        return None
    whole = (*digits[: weight + 1], *(0,) * (weight + 1 - count))
    return b"".join(b"%04d" % digit for digit in whole).lstrip(b"0")


def _record_fields(value: bytes) -> list[tuple[int, bytes]] | None:
    """Type and bytes of each field that is not NULL, or None when the value is no record."""
    if len(value) < 4:
        return None
    (count,) = struct.unpack_from("!i", value)
    if not 0 <= count <= _MOST_FIELDS:
        return None
    found: list[tuple[int, bytes]] = []
    at = 4
    for _ in range(count):
        if at + 8 > len(value):
            return None
        oid, length = struct.unpack_from("!Ii", value, at)
        at += 8
        if length < -1 or at + length > len(value):
            return None
        if length >= 0:
            found.append((oid, value[at : at + length]))
            at += length
    return found if at == len(value) else None


def _array_parts(value: bytes) -> tuple[int, int, list[bytes | None]] | None:
    """Where the elements of an ``array_send`` begin, their type and they themselves, or None when it is no array."""
    if len(value) < 12:
        return None
    dimensions, flags, element = struct.unpack_from("!iiI", value)
    at = 12 + 8 * dimensions
    if not 0 <= dimensions <= _MOST_DIMENSIONS or at > len(value) or flags not in (0, 1) or shape_of(element) is Shape.ARRAY:
        return None
    items = _counted(value, at)
    return None if items is None else (at, element, items)


def _range_bounds(value: bytes) -> list[bytes] | None:
    """The finite bounds of a ``range_send`` (flags, then bounds with their lengths), or None when it is no range."""
    if not value or value[0] > _RANGE_FLAGS:
        return None
    items = _counted(value, 1)
    return None if items is None or len(items) > 2 else [item for item in items if item is not None]


def _multirange_bounds(value: bytes) -> list[bytes] | None:
    """The bounds of all ranges of a multirange (a count, then ranges with their lengths), or None when it is none."""
    items = _counted(value, 4)
    if items is None or int.from_bytes(value[:4], "big") != len(items):
        return None
    found: list[bytes] = []
    for item in items:
        bounds = None if item is None else _range_bounds(item)
        if bounds is None:
            return None
        found += bounds
    return found


def _counted(value: bytes, at: int) -> list[bytes | None] | None:
    """Values with their lengths from `at` to the end, None for a NULL; or None when they do not add up."""
    items: list[bytes | None] = []
    while at + 4 <= len(value):
        (length,) = struct.unpack_from("!i", value, at)
        at += 4
        if length < -1 or at + length > len(value):
            return None
        items.append(None if length < 0 else value[at : at + length])
        at += max(length, 0)
    return items if at == len(value) else None


def _is_clean(bounds: list[bytes] | None, conceal: Conceal) -> bool:
    """Whether nothing is found in the bounds of a range; False for what is none."""
    return bounds is not None and all(conceal(bound) is bound for bound in bounds)


def _unchanged(value: bytes) -> bytes | None:
    return value


def _array_text(value: bytes, element: Conceal) -> bytes | None:
    """An array in text format (manual, "Array Input and Output Syntax"), element by element."""
    out: list[bytes] = []
    done = 0
    for item in _ARRAY_ITEM.finditer(value):
        raw = item.group()
        if raw[:1] == b'"':
            inner = raw[1:-1] if b"\\" not in raw else _ARRAY_ESCAPE.sub(rb"\1", raw[1:-1])
        elif raw == b"NULL":
            continue
        else:
            inner = raw
        new = element(inner)
        if new is inner:
            continue
        quoted = b"NULL" if new is None else b'"' + re.sub(rb'(["\\])', rb"\\\1", new) + b'"'
        out += (value[done : item.start()], quoted)
        done = item.end()
    return b"".join([*out, value[done:]]) if out else value
