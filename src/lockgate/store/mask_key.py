"""The key file of masks that need a key: `mask.key` in the state folder, mode 0600, made on first start.

Apart from `govern.masking.keys`, which derives from it and reads no file. One line of 64 hexadecimal digits. A key
that others can read stops the gateway. A lost key loses nothing but the way back: masks of before look different
from then on, and tokens given out before stand for nothing any more.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from lockgate.model import Secret
from lockgate.store.database import StoreError

KEY_FILE: Final = "mask.key"
_BYTES: Final = 32
_LIMIT: Final = 1_024


def load_or_create_mask_key(folder: Path) -> Secret:
    """The key of a state folder as hexadecimal digits; folder and key are made where they are not there.

    `StoreError` that says what is wrong with the file and what to do.
    """
    path = folder / KEY_FILE
    try:
        return _read(path)
    except FileNotFoundError:
        _create(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", advice="make the key readable by the gateway") from None
    try:
        return _read(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def _read(path: Path) -> Secret:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StoreError(f"{path}: not a regular file")
        if stat.S_IMODE(mode) & 0o077:
            raise StoreError(f"{path}: mode {stat.S_IMODE(mode):04o} lets others read or change the key of the masks",
                             advice=f"chmod 600 {path}, and consider the key disclosed")
        content = file.read(_LIMIT).strip()
    try:
        text = content.decode("ascii")
        is_key = len(bytes.fromhex(text)) == _BYTES and len(text) == 2 * _BYTES
    except ValueError:
        text, is_key = "", False
    if not is_key:
        raise StoreError(f"{path}: not a key of 64 hexadecimal digits",
                         advice="restore it from a backup, or remove it: a new one is made, and masks of before "
                                "cannot be turned back")
    return Secret(text)


def _create(path: Path) -> None:
    """Put a new key in place whole or not at all; one that appeared meanwhile stays."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_hex(_BYTES).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return
        finally:
            temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", advice="make the state folder writable") from None
