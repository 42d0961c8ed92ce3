"""Payloads as a package discloses them: a line each, with the salt that its commitment needs."""

from __future__ import annotations

from binascii import hexlify, unhexlify
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import canonical_object, read_json, write_json
from lockgate.audit.evidence.merkle import HASH_SIZE

if TYPE_CHECKING:
    from mypy_extensions import i64

COMMITMENT_DOMAIN: Final = b"lockgate/commit/v1\0"
_LINE_HEAD: Final = b'{"index":'
_PAYLOAD_NAME: Final = b',"payload":'
_SALT_NAME: Final = b',"salt":"'
_LINE_END: Final = b'"}'
_SALT_DIGITS: Final = 2 * HASH_SIZE
_INDEX_DIGITS: Final = 15       # of a number that is surely below 2^53


class Disclosed:
    """A payload that is disclosed."""

    __slots__ = ("payload", "salt")

    def __init__(self, salt: bytes, payload: bytes) -> None:
        self.salt = salt
        self.payload = payload


class DisclosedPayload:
    """The same, and whose it is."""

    __slots__ = ("at", "disclosed")

    def __init__(self, at: int, salt: bytes, payload: bytes) -> None:
        self.at = at
        self.disclosed = Disclosed(salt, payload)


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    r"""``SHA-256("lockgate/commit/v1\0" ‖ salt ‖ u64be(len) ‖ payload)``."""
    return sha256(b"%b%b%b%b" % (COMMITMENT_DOMAIN, salt, len(payload).to_bytes(8, "big"), payload)).digest()


def payload_commitment(salt: bytes, payload: bytes) -> str:
    """Its hexadecimal digits."""
    return payload_digest(salt, payload).hex()


def is_object(payload: bytes) -> bool:
    """Whether a payload is a JSON object."""
    try:
        return isinstance(read_json(payload), dict)
    except ValueError:
        return False


def any_payload(line: bytes, last: int) -> DisclosedPayload:
    """What a line discloses, behind that of entry `last`. Raises where it is not as it must be."""
    entry = canonical_object(line, "a disclosed payload", "payloads")
    index, salt, payload = entry.get("index"), entry.get("salt"), entry.get("payload")
    if len(entry) != 3 or type(index) is not int or type(salt) is not str or type(payload) is not str \
            or index <= last:
        raise EvidenceError("payloads", "a disclosed payload is not as it must be, or out of its order")
    try:
        secret = bytes.fromhex(salt)
    except ValueError:
        secret = b""
    if len(secret) != HASH_SIZE or secret.hex() != salt:
        raise EvidenceError("payloads", "a disclosed payload has no salt", index)
    return DisclosedPayload(index, secret, payload.encode())


def plain_payload(line: bytes, last: int) -> DisclosedPayload | None:
    """The same by its parts, which is faster: a number, a string that is spelled in the one way, and a salt. None for
    any other line, of which `any_payload` has to say what it is.
    """
    if not line.startswith(_LINE_HEAD):
        return None
    at: i64 = len(_LINE_HEAD)
    begin: i64 = at
    size: i64 = len(line)
    index: i64 = 0
    while at < size and at - begin < _INDEX_DIGITS:
        digit: i64 = line[at]
        if digit < 48 or digit > 57:
            break
        index = index * 10 + digit - 48
        at += 1
    if at == begin or (at > begin + 1 and line[begin] == 48) or index <= last:
        return None
    salt_at: i64 = size - len(_LINE_END) - _SALT_DIGITS
    end: i64 = salt_at - len(_SALT_NAME)
    begin = at + len(_PAYLOAD_NAME)
    if end < begin or line[at:begin] != _PAYLOAD_NAME or line[end:salt_at] != _SALT_NAME or not line.endswith(_LINE_END):
        return None
    digits, text = line[salt_at:salt_at + _SALT_DIGITS], line[begin:end]
    try:
        salt, payload = unhexlify(digits), read_json(text)
        if not isinstance(payload, str) or hexlify(salt) != digits or write_json(payload) != text:
            return None
    except ValueError:
        return None
    return DisclosedPayload(index, salt, payload.encode())
