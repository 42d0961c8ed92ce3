"""Values of built-in types, read from either wire format and written back in it.

Apart from the masks, which compute on what is read here: a mask gives the same for a value in text and in binary,
because both read as the same. A reader raises ValueError for every bytes that the type's output function cannot
have made; nothing else. Formats: the types' `…out` and `…send` functions.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

INTEGERS: Final = {"int2": (2, True), "int4": (4, True), "int8": (8, True), "oid": (4, False)}
"""Bytes, and whether there is a sign."""
HEX_BYTES: Final = re.compile(rb"\\x(?:[0-9a-fA-F]{2})*")
"""A bytea in text format, in hex."""
_OCTAL: Final = re.compile(rb"\\(?:\\|([0-3][0-7]{2}))")
_INTEGER: Final = re.compile(rb"-?[0-9]{1,20}")
_NUMERIC: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAC: Final = re.compile(rb"[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?:(?::[0-9a-f]{2}){2})?")
_MOST_DIGITS: Final = 1_000                         # of a numeric on either side of its point; ten bytes can mean more
_GROUP: Final = 10_000                              # numeric_send counts in this base
_NEGATIVE: Final = 0x4000
_V4: Final = 2                                      # PGSQL_AF_INET
_V6: Final = 3


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How the values of one type lie in one format."""

    read: Callable[[bytes], T]
    write: Callable[[T], bytes]


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric: digits before the point without leading zeros ("0" at least), and all that were sent behind it."""

    is_negative: bool
    whole: str
    fraction: str


def integers(size: int, binary: bool, *, signed: bool = True) -> Codec[int]:
    """int2, int4, int8 and oid, by their bytes."""
    lowest, highest = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)

    def read(value: bytes) -> int:
        if _INTEGER.fullmatch(value) is None:
            raise ValueError("not an integer")
        return _between(int(value), lowest, highest)

    def read_binary(value: bytes) -> int:
        return int.from_bytes(_sized(value, size), "big", signed=signed)

    if binary:
        return Codec(read_binary, lambda number: number.to_bytes(size, "big", signed=signed))
    return Codec(read, lambda number: b"%d" % number)


def reals(size: int, binary: bool) -> Codec[bytes]:
    """float4 and float8 as the bytes that `float8send` would send: a value is known by all its bits."""
    layout = "!f" if size == 4 else "!d"

    def read(value: bytes) -> bytes:
        try:
            return struct.pack(layout, float(value))
        except OverflowError:
            raise ValueError("not a float4") from None

    def write(raw: bytes) -> bytes:
        return repr(struct.unpack(layout, raw)[0]).removesuffix(".0").encode()

    if binary:
        return Codec(lambda value: _sized(value, size), lambda raw: raw)
    return Codec(read, write)


def numerics(binary: bool) -> Codec[Number]:
    """numeric. NaN and the infinities, and more digits than anybody means, cannot be read."""
    return Codec(_numeric_binary, _numeric_sent) if binary else Codec(_numeric, _numeric_text)


def byte_strings(binary: bool) -> Codec[bytes]:
    r"""bytea: in text hex (``\x…``) or the older octal escapes; written as hex."""
    if binary:
        return Codec(lambda value: value, lambda raw: raw)
    return Codec(bytes_of, lambda raw: b"\\x" + raw.hex().encode("ascii"))


def bytes_of(value: bytes) -> bytes:
    """The content of a bytea in text format; text that is no hex is read as octal escapes."""
    if HEX_BYTES.fullmatch(value):
        return bytes.fromhex(value[2:].decode("ascii"))
    return _OCTAL.sub(lambda at: bytes((int(at[1], 8),)) if at[1] else b"\\", value)


def uuids(binary: bool) -> Codec[bytes]:
    """uuid as its 16 bytes."""

    def read(value: bytes) -> bytes:
        if _UUID.fullmatch(value) is None:
            raise ValueError("not a uuid")
        return bytes.fromhex(value.replace(b"-", b"").decode("ascii"))

    def write(raw: bytes) -> bytes:
        digits = raw.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()

    if binary:
        return Codec(lambda value: _sized(value, 16), lambda raw: raw)
    return Codec(read, write)


def addresses(binary: bool, *, is_network: bool) -> Codec[bytes]:
    """inet and cidr as bits of the mask and bytes of the address; an IPv4 one has five bytes, an IPv6 one 17."""

    def read(value: bytes) -> bytes:
        found = ipaddress.ip_interface(value.decode("ascii"))
        return bytes((found.network.prefixlen,)) + found.ip.packed

    def read_binary(value: bytes) -> bytes:
        if len(value) not in (8, 20) or value[0] != (_V4 if len(value) == 8 else _V6) or value[3] != len(value) - 4:
            raise ValueError("not an address")
        return value[1:2] + value[4:]

    def write(raw: bytes) -> bytes:
        text = str(ipaddress.ip_address(raw[1:]))
        is_host = raw[0] == 8 * (len(raw) - 1)
        return (text if is_host and not is_network else f"{text}/{raw[0]}").encode()

    def write_binary(raw: bytes) -> bytes:
        size = len(raw) - 1
        return bytes((_V4 if size == 4 else _V6, raw[0], is_network, size)) + raw[1:]

    return Codec(read_binary, write_binary) if binary else Codec(read, write)


def macs(size: int, binary: bool) -> Codec[bytes]:
    """macaddr and macaddr8 as their bytes."""

    def read(value: bytes) -> bytes:
        if _MAC.fullmatch(value) is None:
            raise ValueError("not a MAC address")
        return _sized(bytes.fromhex(value.replace(b":", b"").decode("ascii")), size)

    if binary:
        return Codec(lambda value: _sized(value, size), lambda raw: raw)
    return Codec(read, lambda raw: raw.hex(":").encode())


# ---------------------------------------------------------------- numeric


def _numeric(value: bytes) -> Number:
    found = _NUMERIC.fullmatch(value.decode("ascii"))
    if found is None or len(value) > _MOST_DIGITS:
        raise ValueError("not a numeric")
    return Number(bool(found[1]), found[2].lstrip("0") or "0", found[3] or "")


def _numeric_text(number: Number) -> bytes:
    text = ("-" if number.is_negative else "") + number.whole
    return (f"{text}.{number.fraction}" if number.fraction else text).encode()


def _numeric_binary(value: bytes) -> Number:
    """Groups of four digits, weight of the first, sign, digits behind the point (numeric.c, ``numeric_send``)."""
    if len(value) < 8:
        raise ValueError("not a numeric")
    count, weight, sign, scale = struct.unpack_from("!HhHH", value)
    if len(value) != 8 + 2 * count or sign not in (0, _NEGATIVE) or scale > _MOST_DIGITS \
            or abs(weight) > _MOST_DIGITS // 4 or count > _MOST_DIGITS:
        raise ValueError("not a numeric")
    groups = struct.unpack_from(f"!{count}H", value, 8)
    if any(group >= _GROUP for group in groups):
        raise ValueError("not a numeric")

    def digits(first: int, behind: int) -> str:
        return "".join(f"{groups[at] if 0 <= at < count else 0:04}" for at in range(first, behind))

    whole = digits(0, weight + 1).lstrip("0") or "0"
    fraction = digits(weight + 1, weight + 1 + (scale + 3) // 4)[:scale]
    return Number(sign == _NEGATIVE, whole, fraction)


def _numeric_sent(number: Number) -> bytes:
    whole = number.whole.zfill((len(number.whole) + 3) // 4 * 4)
    fraction = number.fraction.ljust((len(number.fraction) + 3) // 4 * 4, "0")
    text = whole + fraction
    groups = [int(text[at:at + 4]) for at in range(0, len(text), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    sign = _NEGATIVE if number.is_negative and groups else 0
    return struct.pack(f"!HhHH{len(groups)}H", len(groups), weight if groups else 0, sign, len(number.fraction), *groups)


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError("a value has another size than its type")
    return value


def _between(number: int, lowest: int, highest: int) -> int:
    if not lowest <= number <= highest:
        raise ValueError("a number is outside its type")
    return number
