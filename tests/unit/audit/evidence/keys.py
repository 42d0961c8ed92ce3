"""Keys of logs and witnesses for tests, and the lines that they sign."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.evidence.notes import LOG_KEY, WITNESS_KEY, NoteKey, SignatureLine, cosigned_message

ROOT = sha256(b"root").digest()


class NoteSigner:
    """A private key that signs notes under a name, as a log (type 1) or as a witness (type 4)."""

    def __init__(self, name: str, kind: int = LOG_KEY) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(f"{name} {kind}".encode()).digest())
        self.key = NoteKey(name, kind, self._private.public_key().public_bytes_raw())
        self.vkey = self.key.vkey

    def line(self, text: str) -> str:
        """A log's signature line."""
        return SignatureLine(self.key.name, self.key.id, self._private.sign(text.encode())).line

    def cosign(self, text: str, timestamp: int = 1_700_000_000) -> str:
        """A witness's signature line."""
        signed = self._private.sign(cosigned_message(text, timestamp))
        return SignatureLine(self.key.name, self.key.id, timestamp.to_bytes(8, "big") + signed).line


LOG = NoteSigner("log.test/one")
W1, W2, W3 = (NoteSigner(f"witness.test/w{number}", WITNESS_KEY) for number in (1, 2, 3))


def body(size: int = 42, root: bytes = ROOT, origin: str = "log.test/one") -> str:
    """A checkpoint's text."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def note(*witnesses: NoteSigner, text: str = "", log: NoteSigner = LOG) -> str:
    """A checkpoint signed by the log and cosigned by witnesses."""
    text = text or body()
    return f"{text}\n{log.line(text)}{''.join(witness.cosign(text) for witness in witnesses)}"
