"""Which published keys may verify tokens at all."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from lockgate.errors import IdentityError
from lockgate.govern.identity import KEY_SET_LIMIT, Failure, KeySet
from tests.unit.govern.identity.material import encode, key, key_set, public


def small_rsa() -> dict[str, object]:
    """A sound key, but of 1024 bits (joserfc warns about making one, so cryptography does)."""
    modulus = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    return public("rsa-1", n=encode(modulus.to_bytes(128, "big")))


UNUSABLE: list[tuple[str, object]] = [
    ("no object", "key"),
    ("no type", {"kid": "k"}),
    ("symmetric", {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "k", "alg": "HS256"}),
    ("type in other case", public("P256-1", kty="ec")),
    ("for encryption", public("P256-1", use="enc")),
    ("use of the wrong type", public("P256-1", use=["sig"])),
    ("operations without verify", public("P256-1", key_ops=["sign"])),
    ("operations no list", public("P256-1", key_ops="verify")),
    ("algorithm of another type", public("P256-1", alg="RS256")),
    ("algorithm of another curve", public("P256-1", alg="ES384")),
    ("algorithm HS256 on RSA", public("rsa-1", alg="HS256")),
    ("algorithm none", public("rsa-1", alg="none")),
    ("algorithm a list", public("rsa-1", alg=["RS256"])),
    ("key id a number", public("P256-1", kid=7)),
    ("key id empty", public("P256-1", kid="")),
    ("small RSA", small_rsa()),
    ("RSA of exponent one", public("rsa-1", e=encode(b"\1"))),
    ("RSA of an even exponent", public("rsa-1", e=encode(b"\2"))),
    ("RSA of a huge exponent", public("rsa-1", e=encode(b"\1" * 64))),
    ("RSA of a huge modulus", public("rsa-1", n=encode(b"\xff" * 4_096))),
    ("RSA without a modulus", public("rsa-1", n=None)),
    ("RSA modulus no base64", public("rsa-1", n="!!!!")),
    ("RSA modulus a number", public("rsa-1", n=65537)),
    ("curve unknown", public("P256-1", crv="secp256k1")),
    ("curve a list", public("P256-1", crv=["P-256"])),
    ("curve of another type", public("ed-1", crv="P-256")),
    ("curve for key agreement", public("ed-1", crv="X25519")),
    ("point not on the curve", public("P256-1", y=encode(b"\1" * 32))),
    ("point at infinity", public("P256-1", x=encode(bytes(32)), y=encode(bytes(32)))),
    ("Ed25519 of wrong length", public("ed-1", x=encode(b"\1" * 31))),
    ("published with its private part", {**key("P256-1").as_dict(private=True), "kid": "k"}),
]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in UNUSABLE])
def test_unusable_key_is_left_out(entry: object) -> None:
    """A key that may not or cannot verify never gets in, and does not keep the others out."""
    data = json.dumps({"keys": [entry, public("P384-1")]}).encode()
    assert [found.key_id for found in KeySet.parse(data).keys] == ["P384-1"]
    with pytest.raises(IdentityError) as caught:
        KeySet.parse(json.dumps({"keys": [entry]}).encode())
    assert caught.value.code == Failure.KEYS


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b"<html>", b'{"keys":[],"keys":[]}', b"\xff",
        b'{"keys":' + b"[" * 1_000, b'"' * 100_000, b'"' + b'\\"' * 100_000 + b"\\",
        b" " * (KEY_SET_LIMIT + 1), json.dumps({"keys": [public("P256-1")] * 129}).encode(),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_unreadable_key_set_is_an_error(data: bytes) -> None:
    """What is no key set within bounds ends in one clear error, quickly."""
    with pytest.raises(IdentityError) as caught:
        KeySet.parse(data)
    assert caught.value.code == Failure.KEYS


def test_key_serves_only_its_algorithms() -> None:
    """Type, curve and `alg` of a key bound what it verifies."""
    keys = key_set(public("rsa-1"), public("rsa-pss", alg="PS256"), public("P521-1"), public("ed-1")).keys
    assert [sorted(found.algorithms) for found in keys] == [
        ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"], ["PS256"], ["ES512"], ["Ed25519", "EdDSA"],
    ]
    assert not keys[0].verifies("HS256", b"", b"")


def test_digest_tells_versions_apart() -> None:
    """Published versions differ in their digest, so that what was verified with old keys is checked anew."""
    assert key_set(public("P256-1")).digest != key_set(public("P256-2")).digest
    assert "material" not in repr(key_set(public("P256-1")))
