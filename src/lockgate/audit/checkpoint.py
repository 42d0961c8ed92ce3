"""Checkpoints: C2SP tlog-checkpoint bodies inside C2SP signed notes, Ed25519 signatures (type 0x01).

Foreign verifiers read these (Go's sumdb/note, the tlog tools). This parser is stricter than the
specification: canonical base64 only, no extension lines, and in a log's own checkpoint exactly one
signature, by the key that is asked for. Key files are in `keys`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lockgate.audit.failures import BrokenNote, UntrustedNote

ED25519: Final = b"\x01"
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_DASH: Final = "— "   # em dash, as the specification demands


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many entries it has, and their root."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text: three lines, each ended."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def require_name(name: str) -> None:
    """Raise `UntrustedNote` unless `name` may name a key: no space, no plus, not empty."""
    if not _NAME.fullmatch(name):
        raise UntrustedNote("a log's origin is 1 to 255 characters without spaces or '+'")


def key_id(name: str, public: bytes) -> bytes:
    """C2SP signed-note: the first four bytes of SHA-256(name ‖ newline ‖ type ‖ key)."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


class Verifier:
    """A verifier key: ``name+hex key id+base64(type ‖ public key)``."""

    def __init__(self, name: str, public: bytes) -> None:
        require_name(name)
        self.name = name
        self.id = key_id(name, public)
        self._public_bytes = public
        self._public = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a vkey line; raises `UntrustedNote` where it contradicts itself."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise UntrustedNote("a verifier key is written name+id+key")
        name, identifier, encoded = parts
        key = _decode(encoded)
        if len(key) != 33 or key[:1] != ED25519:
            raise UntrustedNote("a verifier key is not an Ed25519 key (type 1)")
        if identifier != key_id(name, key[1:]).hex():
            raise UntrustedNote("a verifier key's id does not belong to its name and key")
        return cls(name, key[1:])

    def named(self, name: str) -> Verifier:
        """The same key under another name: shards of a fleet share one key."""
        return Verifier(name, self._public_bytes)

    def __str__(self) -> str:
        encoded = base64.b64encode(ED25519 + self._public_bytes).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    def verify_signature(self, text: bytes, signature: bytes) -> None:
        """Raise `UntrustedNote` unless this key signed the text."""
        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            raise BrokenNote(f"the checkpoint's signature is not by the key {self.name}") from None


class Signer:
    """The log's own key. Only checkpoints of this name leave it."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = Verifier(name, private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note of a checkpoint."""
        text = checkpoint.body()
        signature = base64.b64encode(self.verifier.id + self._private.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{self.verifier.name} {signature}\n"


def open_note(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a note, once its signature is found to be by `verifier`.

    Raises `UntrustedNote` where another key signed it, `BrokenNote` where this one did not sign this.
    """
    text, blank, signatures = note.partition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise BrokenNote("a checkpoint is not a signed note")
    lines = signatures[:-1].split("\n")
    if len(lines) != 1 or not lines[0].startswith(_DASH):
        raise BrokenNote("a log's checkpoint has exactly one signature line")
    name, space, encoded = lines[0][len(_DASH) :].partition(" ")
    blob = _decode(encoded)
    if not space or len(blob) != 4 + 64:
        raise BrokenNote("a checkpoint's signature line is malformed")
    if name != verifier.name or blob[:4] != verifier.id:
        raise UntrustedNote(f"the checkpoint is signed by {name}, which is not the trusted key {verifier.name}")
    try:
        signed = f"{text}\n".encode()
    except UnicodeEncodeError:
        raise BrokenNote("a checkpoint is not UTF-8") from None
    verifier.verify_signature(signed, blob[4:])
    return _parse_body(text, verifier.name)


def _parse_body(text: str, origin: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 3 or not _SIZE.fullmatch(lines[1]):
        raise BrokenNote("a checkpoint has three lines: origin, size, root")
    if lines[0] != origin:
        raise BrokenNote("a checkpoint is of another log")
    root = _decode(lines[2])
    if len(root) != 32:
        raise BrokenNote("a checkpoint's root is not a SHA-256 hash")
    return Checkpoint(origin, int(lines[1]), root)


def _decode(encoded: str) -> bytes:
    """Canonical base64 only: what decodes must encode to the same text."""
    try:
        decoded = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BrokenNote("a note holds invalid base64") from None
    if base64.b64encode(decoded).decode() != encoded:
        raise BrokenNote("a note holds base64 that is not canonical")
    return decoded
