"""Keys, rules and a mint for identity tests: everything that a forger and a provider have.

Tokens are put together by hand, because a library would refuse to make most of them.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk
from joserfc.jws import JWSRegistry

from lockgate.govern.identity import KeySet, ProviderRules, verify_token
from lockgate.model import Identity

NOW = 1_800_000_000.0
ISSUER = "https://login.example.com"
OTHER = "https://other.example.net/realm"
AUDIENCE = "lockgate"

ALL_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
RULES = ProviderRules("corp", ISSUER, AUDIENCE, algorithms=ALL_ALGORITHMS, agent_claim="act.agent",
                      model_claim="model")
OTHER_RULES = ProviderRules("other", OTHER, AUDIENCE, algorithms=frozenset({"ES256"}))
PROVIDERS = {ISSUER: RULES, OTHER: OTHER_RULES}


@functools.cache
def key(name: str) -> Any:
    """A private key by name: its kind is the part in front of the dash."""
    kind = name.partition("-")[0]
    if kind == "rsa":
        return jwk.RSAKey.generate_key(2048)
    if kind in {"P256", "P384", "P521"}:
        return jwk.ECKey.generate_key(f"P-{kind[1:]}")
    return jwk.OKPKey.generate_key("Ed25519")


def public(name: str, **members: object) -> dict[str, object]:
    """The JWK of a key, with `kid` its name unless said otherwise; None leaves a member out."""
    document = {**key(name).as_dict(private=False), "kid": name, "use": "sig", **members}
    return {member: value for member, value in document.items() if value is not None}


def key_set(*keys: dict[str, object]) -> KeySet:
    return KeySet.parse(json.dumps({"keys": keys}).encode())


@functools.cache
def published() -> Mapping[str, KeySet]:
    """What the two providers publish."""
    ours = [public(name) for name in ("rsa-1", "P256-1", "P384-1", "P521-1", "ed-1")]
    ours.append(public("rsa-pss", alg="PS256"))
    ours.append(public("P256-enc", use="enc"))
    return {ISSUER: key_set(*ours), OTHER: key_set(public("P256-other"))}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def claims(**changes: object) -> dict[str, object]:
    """Good claims; None takes one away."""
    content: dict[str, object] = {
        "iss": ISSUER, "sub": "ada", "aud": AUDIENCE, "exp": int(NOW) + 600, "nbf": int(NOW) - 5,
        "iat": int(NOW) - 5, "jti": "token-1", "groups": ["analysts", "dbas"], "azp": "crew",
        "act": {"agent": "planner"}, "model": "m-1",
    }
    content |= changes
    return {name: value for name, value in content.items() if value is not None}


def sign(algorithm: str, name: str, signed: bytes) -> bytes:
    return JWSRegistry.algorithms[algorithm].sign(signed, key(name))


def raw(header: bytes, payload: bytes, *, algorithm: str = "ES256", signer: str = "P256-1") -> str:
    """A rightly signed token over exactly these bytes."""
    signed = f"{encode(header)}.{encode(payload)}"
    return f"{signed}.{encode(sign(algorithm, signer, signed.encode()))}"


def mint(
    content: dict[str, object] | None = None,
    *,
    algorithm: str = "ES256",
    signer: str = "P256-1",
    **header: object,
) -> str:
    """A signed token; `header` members replace or add, None takes one away."""
    head: dict[str, object] = {"alg": algorithm, "typ": "at+jwt", "kid": signer, **header}
    head = {name: value for name, value in head.items() if value is not None}
    content = claims() if content is None else content
    return raw(json.dumps(head).encode(), json.dumps(content).encode(), algorithm=algorithm, signer=signer)


def unsigned(header: Mapping[str, object], signature: bytes = b"x") -> str:
    """A token with any header and any signature."""
    return f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims()).encode())}.{encode(signature)}"


def with_hmac(secret: bytes, **header: object) -> str:
    """HS256 over good claims, as if a public key were a shared secret."""
    head = {"alg": "HS256", "typ": "JWT", **header}
    signed = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(claims()).encode())}"
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(signed.encode())
    return f"{signed}.{encode(mac.finalize())}"


def with_signature(signature: bytes, token: str | None = None) -> str:
    head, payload, _ = (token or mint()).split(".")
    return f"{head}.{payload}.{encode(signature)}"


def der_signed() -> str:
    """ES256 with the signature in ASN.1, as OpenSSL makes it, and not as r and s (RFC 7518 §3.4)."""
    head, payload, _ = mint().split(".")
    der = key("P256-1").private_key.sign(f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    return f"{head}.{payload}.{encode(der)}"


def check(token: str, now: float = NOW, keysets: Mapping[str, KeySet] | None = None) -> Identity:
    return verify_token(token, PROVIDERS, published() if keysets is None else keysets, now)
