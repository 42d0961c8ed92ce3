"""A provider's public keys (RFC 7517), reduced to those that may verify a token.

Apart from the verification because it is the defence against key confusion: every key states which
algorithms it can serve, from its type, curve, size and own `alg`, and a token's header only chooses
among these. Symmetric keys never get in, so HMAC with a public key cannot happen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from lockgate.govern.identity.compact import KEY_ID_LIMIT
from lockgate.govern.identity.failures import Failure, failed
from lockgate.govern.identity.strictjson import parse_object

KEY_SET_LIMIT = 262_144
KEY_LIMIT = 128
RSA_BITS = range(2_048, 8_193)
"""NIST SP 800-131A below; above, verifying one signature costs too much."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Mapping[tuple[str, str], frozenset[str]] = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("OKP", "Ed448"): frozenset({"EdDSA", "Ed448"}),
}
SUPPORTED = _RSA.union(*_CURVES.values())
"""Every algorithm that a provider may be allowed to use: signatures with a public key only."""

_MATERIAL = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key and the algorithms that it serves."""

    key_id: str | None
    algorithms: frozenset[str]
    material: jwk.Key = field(repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `signed`; False for an algorithm it does not serve."""
        if algorithm not in self.algorithms:
            return False
        try:
            return JWSRegistry.algorithms[algorithm].verify(signed, signature, self.material)
        except (JoseError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one provider. `digest` tells two published versions apart."""

    keys: tuple[VerifyingKey, ...]
    digest: str

    @classmethod
    def parse(cls, data: bytes) -> KeySet:
        """Read a JWK Set. Keys that may not or cannot verify are left out (RFC 7517 §5).

        Raises `IdentityError` (`identity.keys`) when the set cannot be read or none is left.
        """
        if len(data) > KEY_SET_LIMIT:
            raise failed(Failure.KEYS, f"the key set is longer than {KEY_SET_LIMIT} bytes")
        try:
            document = parse_object(data, depth=6)
        except ValueError as error:
            raise failed(Failure.KEYS, f"the key set cannot be read: {error}") from None
        entries = document.get("keys")
        if not isinstance(entries, list):
            raise failed(Failure.KEYS, "the key set has no list 'keys'")
        if len(entries) > KEY_LIMIT:
            raise failed(Failure.KEYS, f"the key set has more than {KEY_LIMIT} keys")
        keys = tuple(key for key in map(_read_key, entries) if key is not None)
        if not keys:
            raise failed(Failure.KEYS, "the key set has no key that can verify signatures")
        return cls(keys, hashlib.sha256(data).hexdigest())

    def select(self, algorithm: str, key_id: str | None) -> VerifyingKey:
        """The one key that fits. Raises `IdentityError` when none or several do.

        Without a key id only a set in which exactly one key serves the algorithm is clear.
        """
        named = [key for key in self.keys if key_id is None or key.key_id == key_id]
        fitting = [key for key in named if algorithm in key.algorithms]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise failed(Failure.KEY_AMBIGUOUS, "more than one of the provider's keys fits the token")
        if named and key_id is not None:
            raise failed(Failure.ALGORITHM, "the named key of the provider is not for the token's algorithm")
        raise failed(
            Failure.KEY_UNKNOWN,
            "the provider publishes no key that the token names",
            advice="Get a new token; the provider may have changed its keys.",
        )


def _read_key(entry: object) -> VerifyingKey | None:
    """The key, or None when it may not be used for verifying tokens."""
    if not isinstance(entry, dict):
        return None
    kind = entry.get("kty")
    # A private part has no place in public; a key that was published with it is anyone's key.
    if not isinstance(kind, str) or kind not in _MATERIAL or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    key_id = entry.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= KEY_ID_LIMIT):
        return None
    values = {name: entry.get(name) for name in _MATERIAL[kind]}
    text = {name: value for name, value in values.items() if isinstance(value, str)}
    if len(text) != len(values):
        return None
    algorithms = _RSA if kind == "RSA" else _CURVES.get((kind, text["crv"]), frozenset())
    if "alg" in entry:
        algorithms = algorithms & {entry["alg"]} if isinstance(entry["alg"], str) else frozenset()
    if not algorithms or (kind == "RSA" and not _is_sound_rsa(text["n"], text["e"])):
        return None
    try:
        # Only the material is handed over: `use`, `key_ops` and `alg` were judged here.
        material = jwk.import_key({"kty": kind, **text})
    except (JoseError, ValueError, TypeError, UnsupportedAlgorithm):
        return None     # e.g. a point that is not on the curve
    return VerifyingKey(key_id, algorithms, material)


def _is_sound_rsa(modulus: str, exponent: str) -> bool:
    try:
        n = int.from_bytes(_base64url(modulus), "big")
        e = int.from_bytes(_base64url(exponent), "big")
    except (binascii.Error, ValueError):
        return False
    # OpenSSL bounds e for the same reason: a huge one makes verifying slow.
    return n.bit_length() in RSA_BITS and n % 2 == 1 and e % 2 == 1 and 3 <= e < 2**33


def _base64url(text: str) -> bytes:
    if len(text) > 2 * RSA_BITS.stop // 8:
        raise ValueError("too long")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
