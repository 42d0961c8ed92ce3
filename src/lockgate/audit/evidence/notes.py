"""C2SP signed notes as evidence: verifier keys, checkpoints, and the cosignatures of witnesses.

Stricter than signed-note and tlog-checkpoint: canonical base64 only, no control characters, no empty
line but the one before the signatures, no extension lines, no key twice, and the first signature line of a
checkpoint is the log's own. Lines by keys that nobody knows are for `policy` and `trust` to refuse.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import NamedTuple

from lockgate.audit.evidence.ed25519 import verify_ed25519
from lockgate.audit.evidence.failures import EvidenceError

LOG_KEY = 0x01
"""Signature type of C2SP signed-note: Ed25519 over the text."""
WITNESS_KEY = 0x04
"""Signature type of C2SP tlog-cosignature: time-stamped Ed25519."""
NOTE_LIMIT = 65_536
_SIGNATURES = 64            # the specification asks for at least 16
_EM_DASH = "\u2014 "
_KEY_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_TREE_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_LATEST = 2**63 - 1


class NoteKey(NamedTuple):
    """A verifier key: ``name+hex key id+base64(type ‖ public key)``."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ newline ‖ type ‖ public key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


class SignatureLine(NamedTuple):
    """One signature of a note: who claims to have signed, and what follows the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    def is_by(self, key: NoteKey) -> bool:
        """Whether the line claims to be by this key. It has to be verified then."""
        return self.name == key.name and self.key_id == key.id

    @property
    def line(self) -> str:
        """The line as text, with its newline."""
        return f"{_EM_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


class SignedNote(NamedTuple):
    """A text (with its last newline) and its signatures, none of them verified yet."""

    text: str
    signatures: tuple[SignatureLine, ...]


class SignedTree(NamedTuple):
    """What a log says of itself: its name, how many entries it has, and their root."""

    origin: str
    size: int
    root: bytes


def decode_base64(encoded: str, check: str) -> bytes:
    """Canonical base64 only: what decodes must encode to the same text."""
    try:
        decoded = base64.b64decode(encoded.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raise EvidenceError(check, "invalid base64") from None
    if base64.b64encode(decoded).decode() != encoded:
        raise EvidenceError(check, "base64 that is not canonical")
    return decoded


def require_key_name(name: str, check: str) -> None:
    """Raise unless `name` may name a key: 1 to 255 characters without spaces or '+'."""
    if not _KEY_NAME.fullmatch(name):
        raise EvidenceError(check, "a key's name is 1 to 255 characters without spaces or '+'", verdict="untrusted")


def parse_vkey(text: str, kind: int, check: str = "key") -> NoteKey:
    """Read a verifier key of the type `kind`. Raises (untrusted) where it contradicts itself."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise EvidenceError(check, "a verifier key is written name+id+key", verdict="untrusted")
    name, identifier, encoded = parts
    require_key_name(name, check)
    try:
        material = decode_base64(encoded, check)
    except EvidenceError as error:
        raise EvidenceError(check, f"a verifier key holds {error.message}", verdict="untrusted") from None
    if len(material) != 33 or material[0] != kind:
        raise EvidenceError(check, f"a verifier key is not an Ed25519 {'key' if kind == LOG_KEY else 'cosignature key'} "
                            f"(type {kind})", verdict="untrusted")
    try:
        key = NoteKey(name, kind, material[1:])
        known = key.id.hex()
    except UnicodeEncodeError:
        raise EvidenceError(check, "a verifier key's name is not UTF-8", verdict="untrusted") from None
    if identifier != known:
        raise EvidenceError(check, "a verifier key's id does not belong to its name and key", verdict="untrusted")
    return key


def parse_note(note: str, check: str = "checkpoint") -> SignedNote:
    """Take a note apart. Raises for anything that is not exactly one; verifies no signature."""
    if len(note) > NOTE_LIMIT:
        raise EvidenceError(check, f"a note is longer than {NOTE_LIMIT} characters")
    text, blank, rest = note.partition("\n\n")
    if not blank or not text or text[0] == "\n" or not rest.endswith("\n") or _CONTROL.search(note):
        raise EvidenceError(check, "not a signed note")
    lines = rest[:-1].split("\n")
    if len(lines) > _SIGNATURES:
        raise EvidenceError(check, f"a note has more than {_SIGNATURES} signatures")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise EvidenceError(check, "a note is not UTF-8") from None
    signatures = tuple(parse_signature(line, check) for line in lines)
    if len({(line.name, line.key_id) for line in signatures}) != len(signatures):
        raise EvidenceError(check, "a note has two signatures by one key")
    return SignedNote(text + "\n", signatures)


def parse_signature(line: str, check: str = "checkpoint") -> SignatureLine:
    """Read one signature line (without its newline)."""
    name, space, encoded = line[len(_EM_DASH):].partition(" ")
    if not line.startswith(_EM_DASH) or not space or not _KEY_NAME.fullmatch(name):
        raise EvidenceError(check, "a signature line is malformed")
    blob = decode_base64(encoded, check)
    if len(blob) <= 4:
        raise EvidenceError(check, "a signature line is malformed")
    return SignatureLine(name, blob[:4], blob[4:])


def parse_tree(text: str, check: str = "checkpoint") -> SignedTree:
    """The three lines of a checkpoint: origin, size, root. Extension lines are refused."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _TREE_SIZE.fullmatch(lines[1]) or int(lines[1]) > _LATEST:
        raise EvidenceError(check, "a checkpoint has three lines: origin, size, root")
    root = decode_base64(lines[2], check)
    if len(root) != 32:
        raise EvidenceError(check, "a checkpoint's root is not a SHA-256 hash")
    return SignedTree(lines[0], int(lines[1]), root)


def verify_first(note: SignedNote, key: NoteKey, check: str = "checkpoint") -> None:
    """Raise unless the first signature is by this key, over the text: untrusted where another key signed."""
    line = note.signatures[0]
    if not line.is_by(key):
        raise EvidenceError(check, f"signed by {line.name} ({line.key_id.hex()}), which is not the trusted key "
                            f"{key.name} ({key.id.hex()})", verdict="untrusted")
    if not verify_ed25519(key.public, note.text.encode(), line.signature):
        raise EvidenceError(check, f"the signature is not by the key {key.name}")


def open_checkpoint(note: SignedNote, key: NoteKey, check: str = "checkpoint") -> SignedTree:
    """The tree in a note that the log's key signed. Further signatures are not looked at."""
    verify_first(note, key, check)
    tree = parse_tree(note.text, check)
    if tree.origin != key.name:
        raise EvidenceError(check, "a checkpoint is of another log")
    return tree


def cosigned_message(text: str, timestamp: int) -> bytes:
    """What a witness signs (C2SP tlog-cosignature, Ed25519)."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def verify_cosignature(text: str, line: SignatureLine, key: NoteKey, check: str = "quorum") -> int:
    """When the witness `key` cosigned (Unix seconds). Raises unless the line is its cosignature of the text."""
    if not line.is_by(key) or key.kind != WITNESS_KEY:
        raise EvidenceError(check, f"not a cosignature by {key.name}")
    timestamp = int.from_bytes(line.signature[:8], "big")
    if timestamp > _LATEST or not verify_ed25519(key.public, cosigned_message(text, timestamp), line.signature[8:]):
        raise EvidenceError(check, f"the cosignature is not by the witness {key.name}")
    return timestamp
