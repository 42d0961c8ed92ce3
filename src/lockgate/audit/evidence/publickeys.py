"""RSA (PKCS #1 v1.5) and ECDSA (P-256, P-384) signatures in plain Python, for the certificates of
time-stamping authorities (RFC 8017 §8.2.2, FIPS 186-5 §6.4.2). Nothing here is secret.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Tuple

from lockgate.audit.evidence.der import (
    DER_BITS,
    DER_OID,
    DER_SEQUENCE,
    Der,
    der_oid,
    parse_der,
    write_der,
    write_der_number,
)
from lockgate.audit.evidence.failures import EvidenceError

OID_RSA = der_oid("1.2.840.113549.1.1.1")
OID_EC = der_oid("1.2.840.10045.2.1")
DIGESTS = {
    der_oid("2.16.840.1.101.3.4.2.1"): "sha256",
    der_oid("2.16.840.1.101.3.4.2.2"): "sha384",
    der_oid("2.16.840.1.101.3.4.2.3"): "sha512",
}
RSA_WITH = {
    der_oid("1.2.840.113549.1.1.11"): "sha256",
    der_oid("1.2.840.113549.1.1.12"): "sha384",
    der_oid("1.2.840.113549.1.1.13"): "sha512",
}
ECDSA_WITH = {
    der_oid("1.2.840.10045.4.3.2"): "sha256",
    der_oid("1.2.840.10045.4.3.3"): "sha384",
    der_oid("1.2.840.10045.4.3.4"): "sha512",
}
_RSA_BITS = (2048, 8192)

EcPoint = Tuple[int, int, int]
"""A point in Jacobian coordinates: x/z², y/z³. The one at infinity is None."""


class WeierstrassCurve(NamedTuple):
    """y² = x³ - 3x + b over the field of p, with a base point of prime order."""

    p: int
    b: int
    x: int
    y: int
    order: int
    """A prime, so no point is its own opposite."""

    @property
    def size(self) -> int:
        """Bytes of a coordinate, all of whose bits are used on both curves."""
        return self.p.bit_length() // 8


# SEC 2 §2.4.2 and §2.5.1
CURVES = {
    der_oid("1.2.840.10045.3.1.7"): WeierstrassCurve(
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    der_oid("1.3.132.0.34"): WeierstrassCurve(
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973),
}


class PublicKey(NamedTuple):
    """A certificate's key: RSA (modulus, exponent) without a curve, or a point on one."""

    first: int
    second: int
    curve: WeierstrassCurve | None

    def verifies(self, digest: str, message: bytes, signature: bytes) -> bool:
        """Whether the signature is by this key over the message, hashed with `digest`."""
        hashed = hashlib.new(digest, message).digest()
        if self.curve is None:
            return _rsa_verifies(self.first, self.second, digest, hashed, signature)
        return _ecdsa_verifies(self.curve, (self.first, self.second), hashed, signature)

    def canonical(self, signature: bytes) -> bytes:
        """The same signature in the one form that counts: of ECDSA's two, the one with the lower s."""
        if self.curve is None:
            return signature
        r, s = _read_ecdsa(self.curve, signature)
        return write_der(DER_SEQUENCE, write_der_number(r), write_der_number(min(s, self.curve.order - s)))


def read_public_key(info: Der) -> PublicKey:
    """A SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). Raises (check ``anchor``) for other kinds of keys."""
    algorithm, bits = _pair(info.items(DER_SEQUENCE))
    parameters = algorithm.items(DER_SEQUENCE)
    kind = parameters[0].require(DER_OID) if parameters else b""
    content = bits.require(DER_BITS)
    if content[:1] != b"\0":
        raise _unusable("a key has odd bits")
    if kind == OID_RSA:
        modulus, exponent = (value.number() for value in _pair(parse_der(content[1:]).items(DER_SEQUENCE)))
        if not _RSA_BITS[0] <= modulus.bit_length() <= _RSA_BITS[1] or exponent.bit_length() > 64 \
                or exponent == 1 or not exponent & 1:
            raise _unusable("an RSA key has 2048 to 8192 bits and an odd exponent of at most 64")
        return PublicKey(modulus, exponent, None)
    curve = CURVES.get(parameters[1].require(DER_OID)) if kind == OID_EC and len(parameters) == 2 else None
    if curve is None or len(content) != 2 + 2 * curve.size or content[1] != 4:
        raise _unusable("a key is neither RSA nor an uncompressed point on P-256 or P-384")
    x, y = (int.from_bytes(part, "big") for part in (content[2 : 2 + curve.size], content[2 + curve.size :]))
    if max(x, y) >= curve.p or (y * y - x * x * x + 3 * x - curve.b) % curve.p:
        raise _unusable("a key is not a point on its curve")
    return PublicKey(x, y, curve)


def _read_ecdsa(curve: WeierstrassCurve, signature: bytes) -> tuple[int, int]:
    """r and s. Raises for what is not their DER, or no scalar."""
    r, s = (value.number() for value in _pair(parse_der(signature).items(DER_SEQUENCE)))
    if not 0 < r < curve.order or not 0 < s < curve.order:
        raise _unusable("a signature's numbers are not below the order of its curve")
    return r, s


def _rsa_verifies(modulus: int, exponent: int, digest: str, hashed: bytes, signature: bytes) -> bool:
    size = (modulus.bit_length() + 7) // 8
    value = int.from_bytes(signature, "big")
    if len(signature) != size or value >= modulus:
        return False
    oid = next(oid for oid, name in DIGESTS.items() if name == digest)
    info = write_der(0x30, write_der(0x30, write_der(DER_OID, oid), b"\x05\0"), write_der(0x04, hashed))
    expected = b"\0\x01" + b"\xff" * (size - len(info) - 3) + b"\0" + info
    return pow(value, exponent, modulus).to_bytes(size, "big") == expected


def _ecdsa_verifies(curve: WeierstrassCurve, point: tuple[int, int], hashed: bytes, signature: bytes) -> bool:
    r, s = _read_ecdsa(curve, signature)
    bits = curve.order.bit_length()
    number = int.from_bytes(hashed, "big") >> max(0, 8 * len(hashed) - bits)
    inverse = pow(s, -1, curve.order)
    total = _ec_combine(curve, number * inverse % curve.order, r * inverse % curve.order, point)
    return total is not None and total % curve.order == r


def _ec_combine(curve: WeierstrassCurve, one: int, two: int, point: tuple[int, int]) -> int | None:
    """The x of one·G + two·point, or None for the point at infinity."""
    base = (curve.x, curve.y, 1)
    other = (point[0], point[1], 1)
    both = _ec_add(curve.p, base, other)
    result: EcPoint | None = None
    for bit in reversed(range(curve.order.bit_length())):
        result = _ec_double(curve.p, result)
        chosen = (one >> bit & 1) + 2 * (two >> bit & 1)
        if chosen:
            result = _ec_add(curve.p, result, (base, other, both)[chosen - 1])
    if result is None:
        return None
    x, _, z = result
    return x * pow(z, -2, curve.p) % curve.p


def _ec_double(p: int, point: EcPoint | None) -> EcPoint | None:
    if point is None:
        return None
    x, y, z = point
    square = y * y % p
    s = 4 * x * square % p
    m = 3 * (x - z * z) * (x + z * z) % p
    doubled = (m * m - 2 * s) % p
    return doubled, (m * (s - doubled) - 8 * square * square) % p, 2 * y * z % p


def _ec_add(p: int, one: EcPoint | None, two: EcPoint | None) -> EcPoint | None:
    if one is None or two is None:
        return one or two
    z1, z2 = one[2] * one[2] % p, two[2] * two[2] % p
    u1, u2 = one[0] * z2 % p, two[0] * z1 % p
    s1, s2 = one[1] * z2 * two[2] % p, two[1] * z1 * one[2] % p
    if u1 == u2:
        return _ec_double(p, one) if s1 == s2 else None
    h, r = u2 - u1, s2 - s1
    h2 = h * h % p
    h3, v = h * h2 % p, u1 * h2 % p
    x = (r * r - h3 - 2 * v) % p
    return x, (r * (v - x) - s1 * h3) % p, h * one[2] * two[2] % p


def _pair(values: list[Der]) -> tuple[Der, Der]:
    if len(values) != 2:
        raise _unusable("a structure does not have two parts")
    return values[0], values[1]


def _unusable(message: str) -> EvidenceError:
    return EvidenceError("anchor", message)
