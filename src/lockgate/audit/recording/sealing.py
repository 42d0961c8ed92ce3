"""A chunk: at most a mebibyte of plaintext → zstandard → age, and back with the auditor's identity.

age (age-encryption.org/v1) with X25519 recipients: each chunk is an age file of its own with its own file key, so the
gateway holds nothing that opens what it wrote. A chunk may be as large as a mark covers, since every age file costs a
key exchange (about 80 µs), which for 64 KiB is more than compressing it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyrage
import zstandard

from lockgate.errors import AuditError, ConfigError

PLAIN_LIMIT: Final = 1 << 20
"""Bytes of plaintext in a chunk."""
_LEVEL: Final = 1
_IDENTITY_LIMIT: Final = 65_536


class Sealer:
    """Encrypts to the recipients. Used by several threads at a time."""

    def __init__(self, recipients: Sequence[str]) -> None:
        """`recipients` are age X25519 public keys (``age1…``); `ConfigError` for anything else."""
        self._recipients = [_recipient(text) for text in recipients]
        self._local = threading.local()

    def seal(self, plain: bytes | memoryview) -> bytes:
        """One chunk around at most `PLAIN_LIMIT` bytes."""
        compressor: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        # At once and not in pieces: the library then reads the bytes where they are, and gives the interpreter's
        # lock away once.
        sealed: bytes = pyrage.encrypt(compressor.compress(plain), self._recipients)
        return sealed


def recipient_problem(text: str) -> str | None:
    """What is wrong with a recipient, or None."""
    try:
        _recipient(text)
    except ConfigError as error:
        return str(error)
    return None


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ConfigError(f"`{text[:80]}` is no age public key; write one that begins with age1, as `age-keygen` prints it") from None


class Opener:
    """Decrypts with identities; knows no gateway."""

    def __init__(self, identities: Sequence[pyrage.x25519.Identity]) -> None:
        self._identities = list(identities)
        self._decompressor = zstandard.ZstdDecompressor()

    @classmethod
    def of_file(cls, path: Path) -> Opener:
        """The identities of an age key file: one ``AGE-SECRET-KEY-1…`` a line, ``#`` begins a comment."""
        try:
            with path.open("rb") as file:
                lines = file.read(_IDENTITY_LIMIT).decode("ascii").splitlines()
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AuditError(f"{path}: not an age identity file") from None
        try:
            found = [pyrage.x25519.Identity.from_str(line.strip()) for line in lines
                     if line.strip() and not line.startswith("#")]
        except pyrage.IdentityError:
            found = []
        if not found:
            raise AuditError(f"{path}: not an age identity file",
                             advice="give the file that `age-keygen` wrote, with a line AGE-SECRET-KEY-1…")
        return cls(found)

    def open(self, chunk: bytes, number: int) -> bytes:
        """The plaintext of chunk `number`. `AuditError` says whether the identity or the chunk is wrong."""
        try:
            packed = pyrage.decrypt(chunk, self._identities)
        except pyrage.DecryptError as error:
            if "matching keys" in str(error):
                raise AuditError("this identity does not open the recording: it was made for other recipients",
                                 advice="use the identity that belongs to one of audit.recording.recipients") from None
            raise AuditError(f"chunk {number} is damaged: {error}", advice="run `lockgate audit verify`") from None
        try:
            if not 0 <= zstandard.frame_content_size(packed) <= PLAIN_LIMIT:
                raise AuditError(f"chunk {number} holds more than a chunk may")
            return self._decompressor.decompress(packed)
        except zstandard.ZstdError:
            raise AuditError(f"chunk {number} is damaged", advice="run `lockgate audit verify`") from None
