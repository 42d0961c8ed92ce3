"""Checkpoints: C2SP tlog-checkpoint bodies inside C2SP signed notes, Ed25519 signatures (type 0x01).

Foreign verifiers read these (Go's sumdb/note, the tlog tools). The format is read by `evidence.notes`,
which is what the stand-alone verifier runs as well; this module adds the private key, and the log's own
checkpoint, which has exactly one signature. Key files are in `keys`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lockgate.audit.evidence import ed25519, notes
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.failures import BrokenNote, UntrustedNote


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many entries it has, and their root."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text: three lines, each ended."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Verifier:
    """A verifier key: ``name+hex key id+base64(type ‖ public key)``."""

    def __init__(self, name: str, public: bytes) -> None:
        try:
            notes.require_key_name(name, "key")
            self.key = notes.NoteKey(name, notes.LOG_KEY, public)
            self.id = self.key.id
        except (EvidenceError, UnicodeEncodeError) as error:
            raise UntrustedNote(str(error)) from None
        self.name = name

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a vkey line; raises `UntrustedNote` where it contradicts itself."""
        try:
            key = notes.parse_vkey(text.strip(), notes.LOG_KEY)
        except EvidenceError as error:
            raise UntrustedNote(error.message) from None
        return cls(key.name, key.public)

    def named(self, name: str) -> Verifier:
        """The same key under another name: shards of a fleet share one key."""
        return Verifier(name, self.key.public)

    def __str__(self) -> str:
        return self.key.vkey


class Signer:
    """The log's own key (`signing.contract.CheckpointSigner`). Only checkpoints of this name leave it."""

    lags = False

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = Verifier(name, private.public_key().public_bytes_raw())

    def last(self) -> Checkpoint | None:
        """A key has no memory."""
        return None

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        """The signed note of a checkpoint. Whoever holds the key itself asks for no proof."""
        text = checkpoint.body()
        line = notes.SignatureLine(self.verifier.name, self.verifier.id, self._private.sign(text.encode()))
        return f"{text}\n{line.line}"


def open_note(note: str, verifier: Verifier, *, cosigned: bool = False) -> Checkpoint:
    """The checkpoint in a note, once its signature is found to be by `verifier`.

    With `cosigned` further signatures may follow the log's, which the witnesses' policy has to judge. Raises `UntrustedNote` where another key signed it, `BrokenNote` where this one did not sign this.
    """
    try:
        signed = notes.parse_note(note)
        if len(signed.signatures) != 1 and not cosigned:
            raise BrokenNote("a log's checkpoint has exactly one signature line")
        tree = notes.open_checkpoint(signed, verifier.key)
    except EvidenceError as error:
        if error.verdict == "untrusted":
            raise UntrustedNote(f"the checkpoint is {error.message}") from None
        raise BrokenNote(f"a checkpoint does not hold: {error.message}") from None
    return Checkpoint(tree.origin, tree.size, tree.root)


def tree_of(note: str) -> Checkpoint:
    """What a note says, whoever signed it: to be compared, never to be trusted. Raises `BrokenNote`."""
    try:
        return Checkpoint(*notes.parse_tree(notes.parse_note(note).text))
    except EvidenceError as error:
        raise BrokenNote(f"a checkpoint does not hold: {error.message}") from None


def _openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


ed25519.use_ed25519(_openssl)
