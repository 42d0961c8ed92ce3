"""Keyed hashes: the same value gives the same mask under one key, and nothing leads back.

Apart from `tokens` and `preserving`, which can be turned back. BLAKE2b (RFC 7693) with a key; about half a
microsecond for a text. What comes out is a value of the column's type that can be joined and counted:

- texts: ``h_`` and 32 hexadecimal digits, fewer where the column holds no more (`redact` below eight),
- json: such a text; bytea: 16 bytes; uuid: one of version 8 (RFC 9562); inet and cidr: an IPv6 address in fd00::/8
  (RFC 4193); MAC addresses: a locally administered one,
- int2, int4, int8, oid: a number from 1 to the type's highest; float4, float8: a whole number; numeric: one of the
  column's own precision. These may collide, the sooner the smaller the type.

Every other type is redacted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from lockgate.analysis.sql.masks import TEXTUAL
from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.redaction import Replace, padded
from lockgate.govern.masking.typed_values import INTEGERS, Codec, Number, T

WORDS: Final = TEXTUAL | {"xml"}
"""Types that can hold any plain word."""

_DIGEST: Final = 16
_PREFIX: Final = b"h_"
_FEWEST: Final = len(_PREFIX) + 8                   # characters below which a cut hash would collide all the time
_MOST: Final = len(_PREFIX) + 2 * _DIGEST
_DIGITS: Final = 15                                 # of a number: every float8 and every client's number holds them
_FLOAT4: Final = 1_000_000                          # a float4 holds all whole numbers below


def hash_mask(column: ColumnType, binary: bool, key: bytes, redact: Replace) -> Replace | None:
    """The mask for a column, None where its type has none. `redact` takes what cannot be read."""
    name = column.name
    digest = _digests(key)
    if name in WORDS:
        return _words(column, key, redact)
    if name in ("json", "jsonb"):
        return _documents(name == "jsonb" and binary, digest, redact)
    if name in INTEGERS:
        size, signed = INTEGERS[name]
        highest = (1 << 8 * size - signed) - 1
        return _through(typed.integers(size, binary, signed=signed),
                        lambda number: _number(digest(b"%d" % number)) % highest + 1, redact)
    if name == "numeric":
        return _numerics(column, binary, digest, redact)
    if name in ("float4", "float8"):
        codec = typed.reals(4 if name == "float4" else 8, binary)
        below = _FLOAT4 if name == "float4" else 10**_DIGITS
        plain = typed.reals(4 if name == "float4" else 8, binary=False)
        return _through(codec, lambda raw: plain.read(b"%d" % (_number(digest(raw)) % below)), redact)
    return _bytes(name, binary, digest, redact)


def _bytes(name: str, binary: bool, digest: Callable[[bytes], bytes], redact: Replace) -> Replace | None:
    match name:
        case "bytea":
            return _through(typed.byte_strings(binary), digest, redact)
        case "uuid":
            return _through(typed.uuids(binary), lambda raw: _uuid(digest(raw)), redact)
        case "inet" | "cidr":
            return _through(typed.addresses(binary, is_network=name == "cidr"),
                            lambda raw: b"\x80\xfd" + digest(raw)[:15], redact)
        case "macaddr" | "macaddr8":
            size = 6 if name == "macaddr" else 8
            return _through(typed.macs(size, binary), lambda raw: b"\2" + digest(raw)[:size - 1], redact)
    return None


def _digests(key: bytes) -> Callable[[bytes], bytes]:
    state = hashlib.blake2b(key=key, digest_size=_DIGEST)

    def digest(value: bytes) -> bytes:
        one = state.copy()
        one.update(value)
        return one.digest()

    return digest


def _through(codec: Codec[T], change: Callable[[T], T], redact: Replace) -> Replace:
    """Read, change, write; what cannot be read or written is redacted."""

    def replace(value: bytes) -> bytes | None:
        try:
            return codec.write(change(codec.read(value)))
        except (ValueError, OverflowError):
            return redact(value)

    return replace


def _words(column: ColumnType, key: bytes, redact: Replace) -> Replace:
    state = hashlib.blake2b(key=key, digest_size=_DIGEST)
    copy = state.copy
    limit = column.limit
    length = _MOST if limit is None else min(limit, _MOST)
    if length < _FEWEST:
        return redact

    def whole(value: bytes) -> bytes:
        one = copy()
        one.update(value)
        return _PREFIX + one.hexdigest().encode()

    if column.name == "bpchar":                     # a char(n) and a text of one word are equal, so hash the word
        blanks = padded("", column)[length:]
        return lambda value: whole(value.rstrip(b" "))[:length] + blanks
    return whole if length == _MOST else lambda value: whole(value)[:length]


def _documents(has_version: bool, digest: Callable[[bytes], bytes], redact: Replace) -> Replace:
    """JSON as a whole; in binary a jsonb has its format's version in front (jsonb.c, ``jsonb_send``)."""

    def replace(value: bytes) -> bytes | None:
        if not has_version:
            return b'"' + _PREFIX + digest(value).hex().encode() + b'"'
        if value[:1] != b"\1":
            return redact(value)
        return b'\1"' + _PREFIX + digest(value[1:]).hex().encode() + b'"'

    return replace


def _numerics(column: ColumnType, binary: bool, digest: Callable[[bytes], bytes], redact: Replace) -> Replace:
    precision, scale = column.precision or (_DIGITS, 0)
    below = 10 ** min(precision, _DIGITS)

    def change(number: Number) -> Number:
        same = f"{'-' if number.is_negative else ''}{number.whole}.{number.fraction.rstrip('0')}"
        digits = str(_number(digest(same.encode())) % below)
        if scale <= 0:
            return Number(False, digits if digits == "0" else digits + "0" * -scale, "")
        digits = digits.zfill(scale + 1)
        return Number(False, digits[:-scale], digits[-scale:])

    return _through(typed.numerics(binary), change, redact)


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")


def _uuid(digest: bytes) -> bytes:
    return digest[:6] + bytes((digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80)) + digest[9:]
