"""Signatures with a known answer, at the places where RSA and ECDSA in plain Python could go wrong.

Those of ECDSA are by keys whose discrete logarithm is chosen, so that a sum meets the base point, its opposite or
infinity. Those of RSA are under the exponent 1, which no certificate may have: the padded hash is its own signature.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from lockgate.audit.evidence.der import (
    DER_BITS,
    DER_OCTETS,
    DER_OID,
    DER_SEQUENCE,
    der_oid,
    write_der,
    write_der_number,
)
from lockgate.audit.evidence.publickeys import CURVES, DIGESTS, OID_EC, OID_RSA

MESSAGE: Final = b"message"
HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_NAMES: Final = {"1.2.840.10045.3.1.7": ec.SECP256R1(), "1.3.132.0.34": ec.SECP384R1()}


class Equation(NamedTuple):
    """A key (two numbers and the curve's OID, empty for RSA), a signature over `MESSAGE`, and whether it is one; None
    where it is not even a pair of scalars."""

    name: str
    key: tuple[int, int, bytes]
    digest: str
    signature: bytes
    is_right: bool | None


def pair(*numbers: int) -> bytes:
    """Numbers as ECDSA's signatures have them."""
    return write_der(DER_SEQUENCE, *(write_der_number(number) for number in numbers))


@cache
def equations() -> list[Equation]:
    """All of them."""
    found = [*_rsa(2048), *_rsa(2049)]
    for dotted, curve in _NAMES.items():
        found += _ecdsa(der_oid(dotted), curve)
    return found


def _ecdsa(oid: bytes, curve: ec.EllipticCurve) -> list[Equation]:
    order, found = curve.group_order, list[Equation]()
    for said, secret in (("the base point", 1), ("its opposite", order - 1), ("another point", 4_711)):
        private = ec.derive_private_key(secret, curve)
        for digest, algorithm in HASHES.items() if secret == 4_711 else [("sha256", HASHES["sha256"])]:
            r, s = decode_dss_signature(private.sign(MESSAGE, ec.ECDSA(algorithm, deterministic_signing=True)))
            found += [Equation(f"{what} by {said} of {curve.name} with {digest}", _public(private, oid), digest, pair(r, scalar), True)
                      for what, scalar in (("one", s), ("the other one", order - s))]
    key = _public(private, oid)
    found += [Equation(f"{name} of {curve.name}", key, "sha512", changed, is_right) for name, changed, is_right in (
        ("another s", pair(r, s ^ 1), False), ("another r", pair(r ^ 1, s), False), ("r of nothing", pair(0, s), None),
        ("s of nothing", pair(r, 0), None), ("r of the order", pair(order, s), None), ("s of the order", pair(r, order), None),
        ("r too large", pair(r + order, s), None), ("s too large", pair(r, s + order), None), ("the smallest", pair(1, 1), False),
        ("the largest", pair(order - 1, order - 1), False), ("one number", pair(r), None), ("three numbers", pair(r, s, s), None),
        ("something behind it", pair(r, s) + b"\0", None), ("nothing", b"", None))]
    hashed = int.from_bytes(hashlib.sha256(MESSAGE).digest(), "big")
    nowhere = ec.derive_private_key(-hashed * pow(5, -1, order) % order, curve)     # then the sum is the point at infinity
    return [*found, Equation(f"of no point of {curve.name}", _public(nowhere, oid), "sha256", pair(5, 7), False)]


def _public(private: ec.EllipticCurvePrivateKey, oid: bytes) -> tuple[int, int, bytes]:
    numbers = private.public_key().public_numbers()
    return numbers.x, numbers.y, oid


def _rsa(bits: int) -> list[Equation]:
    modulus, size, found = 2**(bits - 1) + 1, (bits + 7) // 8, list[Equation]()
    for digest in HASHES:
        hashed = hashlib.new(digest, MESSAGE).digest()
        name = write_der(DER_OID, next(oid for oid, known in DIGESTS.items() if known == digest))
        whole, bare = (_padded(write_der(DER_SEQUENCE, write_der(DER_SEQUENCE, name, null), write_der(DER_OCTETS, hashed)), size)
                       for null in (b"\5\0", b""))
        found += [Equation(f"{bits} bits with {digest}: {what}", (modulus, 1, b""), digest, signature, is_right)
                  for what, signature, is_right in (
                      ("the padded hash", whole, True), ("without its null", bare, False), ("another byte", whole[:-1] + bytes([whole[-1] ^ 1]), False),
                      ("a zero before it", b"\0" + whole, False), ("its first zero left out", whole[1:], False), ("nothing", b"", False),
                      ("the modulus added", (int.from_bytes(whole, "big") + modulus).to_bytes(size, "big"), False),
                      ("the padding cut short", b"\0\1" + whole[10:] + bytes(8), False))]
    return found


def _padded(info: bytes, size: int) -> bytes:
    """RFC 8017 §9.2."""
    return b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info


# ---------------------------------------------------------------- keys as certificates have them


class Info(NamedTuple):
    """A SubjectPublicKeyInfo, and whether it is taken."""

    name: str
    info: bytes
    is_right: bool


def infos() -> list[Info]:
    """Keys at the edges of what is one."""
    found = [Info(f"a modulus of {bits} bits", _rsa_info(2**(bits - 1) + 1, 65_537), 2048 <= bits <= 8192)
             for bits in (2047, 2048, 8192, 8193)]
    found += [Info(f"the exponent {exponent}", _rsa_info(2**2047 + 1, exponent), exponent in (3, 65_537, 2**64 - 1))
              for exponent in (0, 1, 2, 3, 4, 65_537, 65_538, 2**64 - 1, 2**64 + 1)]
    key = write_der(DER_SEQUENCE, *map(write_der_number, (2**2047 + 1, 3, 3)))
    found += [Info("an RSA key of three numbers", _info([OID_RSA], b"\0" + key), False), Info("no algorithm", _info([], b"\0" + key), False),
              Info("no bits", _info([OID_RSA], b""), False), Info("an unknown algorithm", _info([der_oid("1.3.101.112")], bytes(33)), False)]
    for dotted in _NAMES:
        oid = der_oid(dotted)
        curve = CURVES[oid]
        base, zero = _point(curve, curve.x, curve.y), pow(curve.b, (curve.p + 1) // 4, curve.p)
        assert zero * zero % curve.p == curve.b     # the point whose x is 0
        found += [Info(f"{name} on {dotted}", _info([OID_EC, oid], bits), is_right) for name, bits, is_right in (
            ("the base point", b"\0\4" + base, True), ("its opposite", b"\0\4" + _point(curve, curve.x, curve.p - curve.y), True),
            ("the point of x zero", b"\0\4" + _point(curve, 0, zero), True), ("x as large as p", b"\0\4" + _point(curve, curve.p, zero), False),
            ("another y", b"\0\4" + _point(curve, curve.x, curve.y ^ 1), False), ("y beyond p", b"\0\4" + b"\xff" * len(base), False),
            ("an odd bit", b"\1\4" + base, False), ("a compressed point", b"\0\3" + base, False), ("a byte less", b"\0\4" + base[:-1], False),
            ("a byte more", b"\0\4" + base + b"\0", False), ("no point", b"\0", False))]
        found += [Info(f"{name} on {dotted}", _info(oids, b"\0\4" + base), False) for name, oids in (
            ("no curve", [OID_EC]), ("a curve alone", [oid]), ("a curve twice", [OID_EC, oid, oid]), ("another algorithm", [oid, oid]),
            ("no curve that is known", [OID_EC, OID_EC]))]
    return found


def _point(curve: Any, x: int, y: int) -> bytes:
    size = curve.p.bit_length() // 8
    return x.to_bytes(size, "big") + y.to_bytes(size, "big")


def _rsa_info(modulus: int, exponent: int) -> bytes:
    return _info([OID_RSA], b"\0" + write_der(DER_SEQUENCE, write_der_number(modulus), write_der_number(exponent)))


def _info(oids: list[bytes], bits: bytes) -> bytes:
    return write_der(DER_SEQUENCE, write_der(DER_SEQUENCE, *(write_der(DER_OID, oid) for oid in oids)), write_der(DER_BITS, bits))
