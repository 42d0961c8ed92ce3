"""Ed25519 signatures (RFC 8032) in plain Python, to verify them where no library is at hand.

Strict: the scalar S is below the group's order (RFC 8032 §5.1.7), the point A is in its canonical
encoding and not of small order, for which anything would verify. The equation is the one without the
cofactor, ``[S]B = R + [k]A``, compared in the encoding of R, which makes R canonical as well.

Nothing here is secret, so nothing needs constant time. One signature takes about two milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from typing import Tuple

EdPoint = Tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T of a point (RFC 8032 §5.1.4): x = X/Z, y = Y/Z, xy = T/Z."""

_ED_P = 2**255 - 19
_ED_ORDER = 2**252 + 27742317777372353535851937790883648493
_ED_D = -121665 * pow(121666, -1, _ED_P) % _ED_P
_ED_ROOT = pow(2, (_ED_P - 1) // 4, _ED_P)      # of -1
_ED_NEUTRAL = (0, 1, 1, 0)
# The y of the eight points whose order divides the cofactor: 1, -1, 0 and those of the order eight.
_ED_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_ED_SMALL = frozenset((0, 1, _ED_P - 1, _ED_Y8, _ED_P - _ED_Y8))


def _ed_add(one: EdPoint, two: EdPoint) -> EdPoint:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = two
    a = (y1 - x1) * (y2 - x2) % _ED_P
    b = (y1 + x1) * (y2 + x2) % _ED_P
    c = 2 * t1 * t2 % _ED_P * _ED_D % _ED_P
    d = 2 * z1 * z2 % _ED_P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _ED_P, g * h % _ED_P, f * g % _ED_P, e * h % _ED_P


def _ed_double(point: EdPoint) -> EdPoint:
    x, y, z, _ = point
    a = x * x % _ED_P
    b = y * y % _ED_P
    h = a + b
    e = h - (x + y) * (x + y) % _ED_P
    g = a - b
    f = 2 * z * z % _ED_P + g
    return e * f % _ED_P, g * h % _ED_P, f * g % _ED_P, e * h % _ED_P


def _ed_point(encoded: bytes) -> EdPoint | None:
    """RFC 8032 §5.1.3: the point, or None where there is none of this y."""
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _ED_P:
        return None
    u = (y * y - 1) % _ED_P
    v = (_ED_D * y * y + 1) % _ED_P
    x = u * pow(v, 3, _ED_P) * pow(u * pow(v, 7, _ED_P), (_ED_P - 5) // 8, _ED_P) % _ED_P
    if v * x * x % _ED_P == _ED_P - u and u:
        x = x * _ED_ROOT % _ED_P
    if v * x * x % _ED_P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _ED_P - x
    return x, y, 1, x * y % _ED_P


def _ed_multiples(point: EdPoint) -> list[EdPoint]:
    """0 to 15 times a point."""
    found: list[EdPoint] = [_ED_NEUTRAL]
    for _ in range(15):
        found.append(_ed_add(found[-1], point))
    return found


_ED_BASE = _ed_multiples(_ed_point(bytes.fromhex("58" + "66" * 31)) or _ED_NEUTRAL)


def verify_ed25519_plain(public: bytes, message: bytes, signature: bytes) -> bool:
    """The equation of RFC 8032 §5.1.7, for a key and a signature that passed `verify_ed25519`'s checks."""
    point = _ed_point(public)
    if point is None:
        return False
    x, y, z, t = point
    negative = _ed_multiples((_ED_P - x, y, z, _ED_P - t))
    k = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % _ED_ORDER
    s = int.from_bytes(signature[32:], "little")
    result = _ED_NEUTRAL        # [s]B - [k]A, four bits of both scalars at a time
    for shift in range(252, -1, -4):
        if result is not _ED_NEUTRAL:
            result = _ed_double(_ed_double(_ed_double(_ed_double(result))))
        result = _ed_add(_ed_add(result, _ED_BASE[s >> shift & 15]), negative[k >> shift & 15])
    inverse = pow(result[2], -1, _ED_P)
    x, y = result[0] * inverse % _ED_P, result[1] * inverse % _ED_P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


_ed_equation: Callable[[bytes, bytes, bytes], bool] = verify_ed25519_plain


def use_ed25519(equation: Callable[[bytes, bytes, bytes], bool] | None) -> None:
    """Check the equation (public, message, signature) with a library's function from here on; None for this
    module's own. What is refused by form is refused before it is asked.
    """
    global _ed_equation     # noqa: PLW0603 - the one place that a faster library can be put into
    _ed_equation = equation or verify_ed25519_plain


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is by the key `public` (32 bytes). Never raises."""
    if len(public) != 32 or len(signature) != 64:
        return False
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _ED_P or y in _ED_SMALL or int.from_bytes(signature[32:], "little") >= _ED_ORDER:
        return False
    return _ed_equation(public, message, signature)
