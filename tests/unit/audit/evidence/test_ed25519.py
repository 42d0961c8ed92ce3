"""Ed25519 in plain Python against RFC 8032's vectors, another implementation, and what strict means."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit.evidence import ed25519
from lockgate.audit.evidence.ed25519 import verify_ed25519_plain

# RFC 8032 §7.1: secret key, public key, message, signature.
VECTORS = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The equation in plain Python, whatever this process has put in its place."""
    monkeypatch.setattr(ed25519, "_ed_equation", verify_ed25519_plain)


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    """The RFC's own signatures verify, and not over another message."""
    assert ed25519.verify_ed25519(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not ed25519.verify_ed25519(bytes.fromhex(public), bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 64 * 8 - 1), st.integers(0, 255))
def test_it_agrees_with_openssl(seed: bytes, message: bytes, bit: int, key_bit: int) -> None:
    """What another implementation signs verifies; with one bit flipped in signature or key it does not."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519.verify_ed25519(public, message, signature)
    assert not ed25519.verify_ed25519(public, message, _flipped(signature, bit))
    assert not ed25519.verify_ed25519(_flipped(public, key_bit), message, signature)


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _encoded(point: tuple[int, int, int, int]) -> bytes:
    inverse = pow(point[2], -1, ed25519._ED_P)
    x, y = point[0] * inverse % ed25519._ED_P, point[1] * inverse % ed25519._ED_P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _times(point: tuple[int, int, int, int], scalar: int) -> tuple[int, int, int, int]:
    result = ed25519._ED_NEUTRAL
    for digit in f"{scalar:b}":
        result = ed25519._ed_double(result)
        result = ed25519._ed_add(result, point) if digit == "1" else result
    return result


def test_keys_of_small_order_are_refused() -> None:
    """Under a key whose order divides the cofactor a signature can be made without any secret."""
    small: set[bytes] = set()
    for number in range(60):
        point = ed25519._ed_point(hashlib.sha256(bytes([number])).digest())
        if point is not None:
            small.add(_encoded(_times(point, ed25519._ED_ORDER)))
    assert len(small) == 8
    assert {int.from_bytes(one, "little") & (1 << 255) - 1 for one in small} == ed25519._ED_SMALL
    forged = _encoded(ed25519._ED_BASE[8]) + (8).to_bytes(32, "little")      # R = [S]B, good where [k]A vanishes
    neutral = (1).to_bytes(32, "little")
    assert verify_ed25519_plain(neutral, b"anything", forged)
    for key in small:
        assert not ed25519.verify_ed25519(key, b"anything", forged)


def test_a_signature_has_one_form_only() -> None:
    """S plus the group's order satisfies the equation as well, and is refused; so are keys beyond the field."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = private.public_key().public_bytes_raw(), private.sign(b"message")
    larger = int.from_bytes(signature[32:], "little") + ed25519._ED_ORDER
    other = signature[:32] + larger.to_bytes(32, "little")
    assert verify_ed25519_plain(public, b"message", other)
    assert not ed25519.verify_ed25519(public, b"message", other)
    beyond = (ed25519._ED_P + 3).to_bytes(32, "little")
    assert not ed25519.verify_ed25519(beyond, b"message", signature)


@pytest.mark.parametrize(("key", "signature"), [(b"", bytes(64)), (bytes(33), bytes(64)), (b"\3" * 32, bytes(63))])
def test_other_lengths_are_no_signatures(key: bytes, signature: bytes) -> None:
    """Wrong lengths are an answer, not an exception."""
    assert not ed25519.verify_ed25519(key, b"", signature)
