"""Commitments to payloads, and the sealed form in which payloads are kept beside the log.

A leaf holds only `commit(salt, payload)`. The payload is encrypted with AES-256-GCM under a key of
its own; key and salt live in a table apart. Destroying that row makes the payload unreadable *and*
the commitment unguessable, while every root stays valid.

The nonce is constant because a key encrypts exactly one message (the same construction as age's
payload key); uniqueness of (key, nonce) is the uniqueness of the 256-bit random key.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockgate.audit.evidence.disclosed import Disclosed
from lockgate.audit.failures import Undisclosed

KEY_SIZE: Final = 32
SALT_SIZE: Final = 32
_DOMAIN: Final = b"lockgate/commit/v1\0"
_SEAL: Final = b"lockgate/payload/v1"
_NONCE: Final = bytes(12)


def commit(salt: bytes, payload: bytes) -> str:
    r"""Hex of ``SHA-256("lockgate/commit/v1\0" ‖ salt ‖ u64be(len) ‖ payload)``."""
    return sha256(b"%b%b%b%b" % (_DOMAIN, salt, len(payload).to_bytes(8, "big"), payload)).hexdigest()


def fresh_secrets(count: int) -> list[bytes]:
    """`count` pairs key ‖ salt in one call to the system's random source."""
    size = KEY_SIZE + SALT_SIZE
    pool = os.urandom(count * size)
    return [pool[at : at + size] for at in range(0, count * size, size)]


def seal(key: bytes, payload: bytes) -> bytes:
    """The payload under a key that is never used again."""
    return AESGCM(key).encrypt(_NONCE, payload, _SEAL)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """The payload; raises `Undisclosed` where key or blob were altered."""
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, _SEAL)
    except (InvalidTag, ValueError):
        raise Undisclosed("a stored payload does not open with its key") from None


def opened(secret: Any, sealed: Any) -> Disclosed:
    """What a stored payload discloses with its key ‖ salt; where it does not open, or one of the two is no bytes, nothing
    that was ever committed to: every payload is a JSON object.
    """
    try:
        return Disclosed(secret[KEY_SIZE:], unseal(secret[:KEY_SIZE], sealed))
    except (Undisclosed, TypeError, ValueError):
        return Disclosed(b"", b"")


def all_opened(rows: Sequence[tuple[Any, ...]]) -> list[Disclosed | None]:
    """The same for stored rows, which end with secret and blob: None where there is neither. One of them alone is no
    payload, so nothing opens.
    """
    found: list[Disclosed | None] = []
    for row in rows:
        secret, sealed = row[-2], row[-1]
        if secret is None and sealed is None:
            found.append(None)
        else:
            found.append(opened(secret, sealed))
    return found


def verify_commitment(commitment: str, salt: bytes, payload: bytes) -> None:
    """Raise `Undisclosed` unless the payload is what the leaf committed to."""
    if not hmac.compare_digest(commit(salt, payload), commitment):
        raise Undisclosed("a stored payload is not the one that was committed to")
