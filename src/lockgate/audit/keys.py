"""The log's key file and the verifier key beside it, and what makes a key file acceptable.

`log.key` is a PKCS #8 PEM of mode 0600, made on first start; a key that others can read, or that
cannot be read, stops the gateway. `log.vkey` is public: auditors take a copy and pin it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit import durable
from lockgate.audit.checkpoint import Signer, Verifier
from lockgate.audit.failures import UntrustedNote
from lockgate.errors import AuditError

KEY_FILE: Final = "log.key"
VERIFIER_FILE: Final = "log.vkey"
CHECKPOINT_FILE: Final = "checkpoint"
COSIGNED_FILE: Final = "cosigned"
POLICY_FILE: Final = "witness.policy"
"""The witnesses' policy that is in force, as the gateway was given it."""
_LIMIT: Final = 16_384


def load_or_create(folder: Path, origin: str, *, may_create: bool, key: Path | None = None) -> Signer:
    """The log's signer. A missing key is made only for a log that has no records yet.

    `key` is where the key is if not in the folder. Raises `AuditError` that says what is wrong with
    the file and what to do.
    """
    path = key or folder / KEY_FILE
    try:
        private = _load(path)
    except FileNotFoundError:
        if not may_create:
            raise AuditError(
                f"{path}: the log has records but its key is gone",
                advice="restore the key file from a backup; a new key cannot continue this log",
            ) from None
        private = create_key(path)
    signer = Signer(origin, private)
    if not successor(path).exists():    # a change of keys is under way: `signing.rotation` finishes it
        pin(folder, signer.verifier, may_create=True)
    return signer


def successor(key: Path) -> Path:
    """Where the next key waits while keys are being changed."""
    return key.with_name(key.name + ".next")


def pin(folder: Path, verifier: Verifier, *, may_create: bool) -> None:
    """Put the verifier key into the folder, or compare it with the one that is there. Raises `AuditError`."""
    path = folder / VERIFIER_FILE
    if not path.exists():
        if not may_create:
            raise AuditError(f"{path}: the log has records but its verifier key is gone",
                             advice="restore the file: it says which key continues this log")
        publish(folder, verifier)
    elif str(read_verifier(path)) != str(verifier):
        raise AuditError(
            f"{path}: belongs to another key or another log name than this gateway's",
            advice="the origin of a log must not change; start a new log in an empty folder instead",
        )


def publish(folder: Path, verifier: Verifier) -> None:
    """Put the verifier key into the folder, whatever was there."""
    write_durably(folder / VERIFIER_FILE, f"{verifier}\n".encode(), 0o644)


def read_verifier(path: Path) -> Verifier:
    """The verifier key in a file, as an auditor pins it. Raises `UntrustedNote`."""
    try:
        with path.open("rb") as file:
            return Verifier.parse(file.read(_LIMIT).decode())
    except OSError as error:
        raise UntrustedNote(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UntrustedNote(f"{path}: not a verifier key") from None


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file that nobody else can read. Raises `AuditError`."""
    try:
        return _load(path)
    except FileNotFoundError:
        raise AuditError(f"{path}: there is no key") from None


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", advice="make the key readable by the gateway") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise AuditError(f"{path}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(mode) & 0o077:
            raise AuditError(
                f"{path}: mode {stat.S_IMODE(mode):04o} lets others read or change the log's key",
                advice=f"chmod 600 {path}, and consider the key disclosed",
            )
        pem = file.read(_LIMIT)
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuditError(f"{path}: not an unencrypted PEM private key") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise AuditError(f"{path}: not an Ed25519 key")
    return private


def create_key(path: Path) -> Ed25519PrivateKey:
    """Make a key, durably and for this user alone. Raises `AuditError`."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_durably(path, pem, 0o600)
    return private


def create_root(path: Path, name: str) -> Verifier:
    """An organisation's root key, and its verifier key beside it (`.vkey`). Raises `AuditError` where there is one."""
    if path.exists():
        raise AuditError(f"{path}: there is a key already")
    Verifier(name, bytes(32))   # refuses a name that no key may have, before there is a file
    verifier = Verifier(name, create_key(path).public_key().public_bytes_raw())
    write_durably(path.with_name(path.name + ".vkey"), f"{verifier}\n".encode(), 0o644)
    return verifier


def write_durably(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole or not at all, and on the disk before this returns."""
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_durably(temporary, path)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", advice=f"{path.parent} must be a folder that can be written") from None


def replace_durably(source: Path, path: Path) -> None:
    """Rename, and have the rename on the disk before this returns. Raises `AuditError`."""
    try:
        source.replace(path)
        durable.sync_folder(path.parent)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}", advice=f"{path.parent} must be a folder that can be written") from None
