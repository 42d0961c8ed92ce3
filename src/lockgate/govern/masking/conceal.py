"""Concealing: one value in, the same value or what may be seen of it out (None is NULL).

Stands apart from `detectors` (what content looks like) and `detection` (where values lie on the
wire). Rules: the strongest mask wins, overlapping finds are merged, and what comes out is valid for
the column's type; where no valid replacement exists the value becomes NULL. An unchanged value is
given back as the same object.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable

from lockgate.govern.masking.column_types import ELEMENTS, Shape, shape_of
from lockgate.govern.masking.detectors import REDACTED, Detector, detector, is_card
from lockgate.model import DetectMask, MaskMethod

Conceal = Callable[[bytes], bytes | None]

_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
_COLON = re.compile(rb"\s*:")
_HEX = re.compile(rb"\\x(?:[0-9a-fA-F]{2})*")
_OCTAL = re.compile(rb"\\(?:\\|([0-3][0-7]{2}))")
_NUMBER = re.compile(rb"-?([0-9]{14,16})(?:\.0*)?")
_ARRAY_ITEM = re.compile(rb'"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)
_ARRAY_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BINARY_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class Concealer:
    """The detectors in force with their methods. `masked` counts finds by detector name."""

    def __init__(self, detects: tuple[DetectMask, ...]) -> None:
        methods: dict[str, MaskMethod] = {}
        for mask in detects:
            for name in mask.detectors:
                methods[name] = max(mask.method, methods.get(name, mask.method))
        self.active: tuple[tuple[Detector, MaskMethod], ...] = tuple(
            (detector(name), method) for name, method in sorted(methods.items())
        )
        self.masked: dict[str, int] = {}
        self._card = methods.get("credit_card")
        self._address = methods.get("ipv4")

    def has_card(self) -> bool:
        """Whether card numbers are looked for: then binary numbers must be read one by one."""
        return self._card is not None

    def has_address(self) -> bool:
        """Whether IPv4 addresses are looked for: then binary addresses must be read one by one."""
        return self._address is not None

    def for_column(self, oid: int, binary: bool) -> Conceal:
        """What conceals the values of a column of type `oid` in text or binary format."""
        shape = shape_of(oid)
        if binary:
            return {
                Shape.TEXT: self.text, Shape.JSON: self.json, Shape.JSONB: self._jsonb_binary,
                Shape.BYTES: self.text, Shape.NUMBER: self._number_binary, Shape.NET: self._net_binary,
                Shape.ARRAY: self._array_binary,
                Shape.USER: self._user_binary, Shape.FREE: _unchanged, Shape.OTHER: self._other,
            }[shape] if oid != 1700 else self._numeric_binary  # fmt: skip
        if shape is Shape.ARRAY:
            element = self.for_column(ELEMENTS[oid], binary=False)
            return lambda value: _array_text(value, element)
        return {
            Shape.TEXT: self.text, Shape.JSON: self.json, Shape.JSONB: self.json, Shape.BYTES: self.bytea,
            Shape.NUMBER: self._number, Shape.NET: self._net, Shape.USER: self.text, Shape.FREE: _unchanged,
            Shape.OTHER: self._other,
        }[shape]  # fmt: skip

    def text(self, value: bytes) -> bytes | None:
        """Free text: each find is replaced where it stands."""
        finds: list[tuple[int, int, Detector, MaskMethod]] = []
        for found, method in self.active:
            for start, end in found.find(value):
                self._count(found.name)
                finds.append((start, end, found, method))
        if not finds:
            return value
        return _spliced(value, finds)

    def untyped(self, value: bytes) -> bytes | None:
        """Text of a column whose type is not known: hex of bytes is looked into, the rest is text."""
        return self.bytea(value) if _HEX.fullmatch(value) else self.text(value)

    def json(self, value: bytes) -> bytes | None:
        """JSON text: string tokens (names too) are decoded, searched and written anew; a number
        becomes 0; the string under a name that means a credential goes as a whole.
        """
        out: list[bytes] = []
        done = 0
        name: bytes | None = None
        for token in _JSON_TOKEN.finditer(value):
            raw = token.group()
            is_name = raw[:1] == b'"' and _COLON.match(value, token.end()) is not None
            new = self._json_token(raw, name)
            if new is None:
                return None
            name = _json_string(raw) if is_name else None
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
        if _HEX.fullmatch(value):
            raw = bytes.fromhex(value[2:].decode("ascii"))
        else:
            raw = _OCTAL.sub(lambda at: bytes((int(at[1], 8),)) if at[1] else b"\\", value)
        new = self.text(raw)
        if new is raw:
            return value
        return None if new is None else b"\\x" + new.hex().encode("ascii")

    def _json_token(self, raw: bytes, name: bytes | None) -> bytes | None:
        if raw[:1] != b'"':
            new = self.text(raw)
            return raw if new is raw else (None if new is None else b"0")
        inner = _json_string(raw)
        if inner is None:
            return None
        new = self._under_name(name, inner) if name is not None else self.text(inner)
        if new is inner:
            return raw
        if new is None:
            return None
        return json.dumps(new.decode("utf-8", "surrogatepass")).encode("ascii")

    def _under_name(self, name: bytes, inner: bytes) -> bytes | None:
        for found, method in self.active:
            if found.key is not None and inner and found.key.fullmatch(name):
                self._count(found.name)
                return None if method is MaskMethod.NULL else REDACTED
        return self.text(inner)

    def _number(self, value: bytes) -> bytes | None:
        match = _NUMBER.fullmatch(value)
        return self._zero_for_card(value, match[1], b"0") if match else value

    def _number_binary(self, value: bytes) -> bytes | None:
        number = abs(int.from_bytes(value, "big", signed=True))
        return self._zero_for_card(value, b"%d" % number, bytes(len(value)))

    def _numeric_binary(self, value: bytes) -> bytes | None:
        """``numeric_send``: count, weight, sign, scale, then base-10000 digits; card numbers weigh 3."""
        if len(value) < 8:
            return None
        count, weight = struct.unpack_from("!Hh", value)
        if weight != 3 or len(value) != 8 + 2 * count:
            return value
        digits = struct.unpack_from(f"!{count}H", value, 8)
        if any(digits[4:]):
            return value
        number = b"".join(b"%04d" % digit for digit in (*digits[:4], *(0,) * (4 - count))).lstrip(b"0")
        return self._zero_for_card(value, number, bytes(8))

    def _zero_for_card(self, value: bytes, digits: bytes, zero: bytes) -> bytes | None:
        if self._card is None or not 14 <= len(digits) <= 16 or not is_card(digits):
            return value
        self._count("credit_card")
        return None if self._card is MaskMethod.NULL else zero

    def _net(self, value: bytes) -> bytes | None:
        if self._address is None or b":" in value:
            return value
        self._count("ipv4")
        return None if self._address is MaskMethod.NULL else b"0.0.0.0"

    def _net_binary(self, value: bytes) -> bytes | None:
        """``network_send``: family (2 is IPv4), bits, is_cidr, length, address."""
        if self._address is None or value[:1] != b"\x02" or len(value) != 8:
            return value
        self._count("ipv4")
        return None if self._address is MaskMethod.NULL else b"\x02\x20" + value[2:4] + bytes(4)

    def _jsonb_binary(self, value: bytes) -> bytes | None:
        if value[:1] != b"\x01":
            return None
        inner = value[1:]
        new = self.json(inner)
        return value if new is inner else (None if new is None else b"\x01" + new)

    def _user_binary(self, value: bytes) -> bytes | None:
        """A type made at run time (citext, enum, composite): text only where it cannot be else."""
        new = self.text(value)
        if new is value:
            return value
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return None if _BINARY_CONTROLS.search(value) else new

    def _other(self, value: bytes) -> bytes | None:
        return value if self.text(value) is value else None

    def _array_binary(self, value: bytes) -> bytes | None:
        """``array_send``: dimensions, flags, element type, sizes; then elements with their lengths."""
        if len(value) < 12:
            return None
        dimensions, _flags, element = struct.unpack_from("!iiI", value)
        at = 12 + 8 * dimensions
        if not 0 <= dimensions <= 6 or at > len(value) or shape_of(element) is Shape.ARRAY:
            return None
        conceal = self.for_column(element, binary=True)
        out = [value[:at]]
        changed = False
        has_null = False
        while at < len(value):
            if at + 4 > len(value):
                return None
            (length,) = struct.unpack_from("!i", value, at)
            at += 4
            if length == -1:
                has_null = True
                out.append(b"\xff\xff\xff\xff")
                continue
            if length < 0 or at + length > len(value):
                return None
            item = value[at : at + length]
            new = conceal(item)
            at += length
            changed = changed or new is not item
            has_null = has_null or new is None
            out.append(b"\xff\xff\xff\xff" if new is None else struct.pack("!i", len(new)) + new)
        if not changed:
            return value
        out[0] = value[:4] + struct.pack("!i", int(has_null)) + value[8 : 12 + 8 * dimensions]
        return b"".join(out)

    def _count(self, name: str) -> None:
        self.masked[name] = self.masked.get(name, 0) + 1


def _json_string(raw: bytes) -> bytes | None:
    """The content of a JSON string token as UTF-8, None when it cannot be read."""
    if b"\\" not in raw:
        return raw[1:-1]
    try:
        return str(json.loads(raw, strict=False)).encode("utf-8", "surrogatepass")
    except ValueError:
        return None


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


def _spliced(value: bytes, finds: list[tuple[int, int, Detector, MaskMethod]]) -> bytes | None:
    """`value` with the merged finds replaced, or None when one of them makes the whole NULL."""
    if any(method is MaskMethod.NULL for _, _, _, method in finds):
        return None
    finds.sort(key=lambda find: (find[0], -find[1]))
    out: list[bytes] = []
    done = 0
    index = 0
    while index < len(finds):
        start, end, found, method = finds[index]
        is_one = True
        index += 1
        while index < len(finds) and finds[index][0] < end:
            is_one = is_one and finds[index][:2] == (start, end)
            end = max(end, finds[index][1])
            method = max(method, finds[index][3])
            index += 1
        out.append(value[done:start])
        is_partial = method is MaskMethod.PARTIAL and is_one
        out.append(found.partial(value[start:end]) if is_partial else REDACTED)
        done = end
    out.append(value[done:])
    return b"".join(out)
