"""Ed25519 verification (RFC 8032 §5.1.7) without any library, stricter than the RFC.

Refused besides a wrong signature: S not below the group's order (malleable), encodings of points that
are not canonical, and points of small order, for which a signature says nothing. The equation is the
one without cofactor, compared by R's bytes, so that OpenSSL's verdict is the same and may stand in
(`use_ed25519`): a few milliseconds here, some ten microseconds there.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from typing import Tuple  # noqa: UP035

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
# Extended homogeneous coordinates X, Y, Z, T (RFC 8032 §5.1.4). Evaluated, also by Python 3.8.
_Point = Tuple[int, int, int, int]  # noqa: UP006
_NEUTRAL: _Point = (0, 1, 1, 0)

_faster: Callable[[bytes, bytes, bytes], bool] | None = None


def use_ed25519(verify: Callable[[bytes, bytes, bytes], bool] | None) -> None:
    """Check the equation with `verify` (public, message, signature) from here on; None for this module's own.

    What this module refuses by form is refused before `verify` is asked.
    """
    global _faster  # noqa: PLW0603 (set once, when the gateway is loaded)
    _faster = verify


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is by the key `public` (32 bytes). Never raises."""
    if len(public) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    key = _decode_point(public)
    commitment = _decode_point(signature[:32])
    if scalar >= _L or key is None or commitment is None or _is_small(key) or _is_small(commitment):
        return False
    if _faster is not None:
        return _faster(public, message, signature)
    challenge = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % _L
    negated = (_P - key[0], key[1], key[2], _P - key[3])
    return _encode_point(_multiply(scalar, _BASE, challenge, negated)) == signature[:32]


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(first: int, one: _Point, second: int, two: _Point) -> _Point:
    """first·one + second·two, bit by bit. Nothing here is secret."""
    both = _add(one, two)
    result = _NEUTRAL
    for bit in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        result = _add(result, result)
        chosen = (first >> bit & 1) + 2 * (second >> bit & 1)
        if chosen:
            result = _add(result, (one, two, both)[chosen - 1])
    return result


def _is_small(point: _Point) -> bool:
    """Whether eight times the point is the neutral one."""
    for _ in range(3):
        point = _add(point, point)
    return point[0] == 0 and point[1] == point[2]


def _encode_point(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode_point(encoded: bytes) -> _Point | None:
    """RFC 8032 §5.1.3; None where the bytes are no point's canonical encoding."""
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= 2**255 - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _SQRT_M1 % _P
        if (v * x * x - u) % _P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or _NEUTRAL
