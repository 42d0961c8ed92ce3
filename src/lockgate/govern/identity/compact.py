"""Taking a compact JWS apart (RFC 7515 §3.1, §7.1) without believing any of it.

Apart from the verification so that no key and no provider is involved here: bytes become a header,
claims and a signature, or an error. Sizes are checked before anything is decoded, and base64url must
be canonical, so that one token has one spelling.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.govern.identity.failures import Failure, failed
from lockgate.govern.identity.strictjson import parse_object

TOKEN_LIMIT = 16_384
"""Bytes of a whole token. Real ones with many groups have 4–8 kB."""
HEADER_LIMIT = 2_048
CLAIMS_LIMIT = 12_288
SIGNATURE_LIMIT = 1_024
"""Decoded bytes; an RSA signature of 8192 bits fits."""
KEY_ID_LIMIT = 256

_HEADER_DEPTH = 3
_CLAIMS_DEPTH = 10
_MEMBERS = 128
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

# RFC 8725 §3.11: explicit types. Others (logout, DPoP, security events) are not access tokens.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})

# Parameters that bring their own key (RFC 8725 §3.10), change how the token is read, or belong to
# JWE. `x5t` and its kin only name a certificate; they are ignored.
_REFUSED = ("crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip", "cty", "epk", "p2c", "p2s")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A well-formed token of which nothing is proven yet. Only `verification` may use its claims."""

    text: str
    algorithm: str
    key_id: str | None
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "UnverifiedToken(…)"


def read_token(token: str) -> UnverifiedToken:
    """Checks 1 and 2: the shape of the token and of its header. Raises `IdentityError`."""
    # 1. Size, three segments, canonical base64url.
    if len(token) > TOKEN_LIMIT:
        raise failed(Failure.TOO_LARGE, f"the token is longer than {TOKEN_LIMIT} bytes")
    segments = token.split(".")
    if len(segments) == 5:
        raise failed(Failure.MALFORMED, "the token is encrypted (JWE); only signed tokens are accepted")
    if len(segments) != 3:
        raise failed(
            Failure.MALFORMED,
            "the token is not a compact JWS of three segments",
            advice="Send the access token (a JWT) of the identity provider.",
        )
    header_bytes = _decode(segments[0], HEADER_LIMIT, "header")
    claims_bytes = _decode(segments[1], CLAIMS_LIMIT, "claims")
    signature = _decode(segments[2], SIGNATURE_LIMIT, "signature")
    # 2. The header.
    header = _object(header_bytes, _HEADER_DEPTH, "header")
    algorithm, key_id = _read_header(header)
    claims = _object(claims_bytes, _CLAIMS_DEPTH, "claims")
    signed = f"{segments[0]}.{segments[1]}".encode("ascii")
    return UnverifiedToken(token, algorithm, key_id, claims, signed, signature)


def _decode(segment: str, limit: int, what: str) -> bytes:
    if len(segment) > (limit * 4 + 2) // 3:
        raise failed(Failure.TOO_LARGE, f"the token's {what} is longer than {limit} bytes")
    if not _BASE64URL.fullmatch(segment) or len(segment) % 4 == 1:
        raise failed(Failure.MALFORMED, f"the token's {what} is not base64url")
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != segment:
        # Bits beyond the last byte are not zero: a second spelling of the same token.
        raise failed(Failure.MALFORMED, f"the token's {what} is not canonical base64url")
    return data


def _object(data: bytes, depth: int, what: str) -> dict[str, object]:
    try:
        value = parse_object(data, depth=depth)
    except ValueError as error:
        raise failed(Failure.MALFORMED, f"the token's {what} cannot be read: {error}") from None
    if len(value) > _MEMBERS:
        raise failed(Failure.TOO_LARGE, f"the token's {what} has more than {_MEMBERS} members")
    return value


def _read_header(header: Mapping[str, object]) -> tuple[str, str | None]:
    for name in _REFUSED:
        if name in header:
            raise failed(Failure.HEADER, f"the token's header has {name!r}, which is refused")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise failed(Failure.ALGORITHM, "the token's header names no algorithm")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise failed(Failure.HEADER, "the token's 'typ' is not that of an access token or JWT")
    key_id = header.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= KEY_ID_LIMIT):
        raise failed(Failure.HEADER, f"the token's 'kid' is not a string of 1 to {KEY_ID_LIMIT} characters")
    return algorithm, key_id
