"""Keys of masks: one master key of the gateway, and a key of its own for every scope, label and method.

Apart from the methods, which take a derived key and know nothing of scopes. The master key is a file of the state
folder (`store.mask_key`); whoever has it can turn masks back. Derived keys live as long as the plan that uses them.
Derivation is keyed BLAKE2b (RFC 7693) with a personalisation of its own; parts are preceded by their lengths, so
that no two lists of parts read the same.
"""

from __future__ import annotations

import hashlib
from typing import Final, NoReturn

from lockgate.errors import ConfigError
from lockgate.model import MaskMethod, Secret

MASTER_BYTES: Final = 32
_PERSON: Final = b"lockgate mask v1"
_GATEWAY: Final = b""                               # a scope of a task or connection is never empty


class MaskKeys:
    """Derives keys from the master key, which is in no attribute, text or copy of it."""

    __slots__ = ("_root",)

    def __init__(self, master: Secret) -> None:
        """`master` holds 64 hexadecimal digits. `ConfigError` where it does not."""
        try:
            key = bytes.fromhex(master.reveal())
        except ValueError:
            key = b""
        if len(key) != MASTER_BYTES:
            raise ConfigError("the key of the masks is not 64 hexadecimal digits",
                              advice="restore the key file from a backup, or remove it: a new one is made, and "
                                     "masks of before cannot be turned back")
        self._root = hashlib.blake2b(key=key, digest_size=64, person=_PERSON)

    def derive(self, scope: bytes, label: str, method: MaskMethod, size: int = 32) -> bytes:
        """The key of `size` bytes (at most 64) for one scope, label and method.

        `scope` is opaque: a task's id, or a connection's. ValueError for an empty one.
        """
        if not scope:
            raise ValueError("a scope is not empty")
        return self._derived((scope, label.encode("utf-8", "surrogatepass"), method.name.encode()), size)

    def of_gateway(self, purpose: str, size: int = 32) -> bytes:
        """A key that is the same in every scope, for what the gateway has to know again everywhere."""
        return self._derived((_GATEWAY, purpose.encode()), size)

    def _derived(self, parts: tuple[bytes, ...], size: int) -> bytes:
        if not 16 <= size <= 64:
            raise ValueError("a derived key has 16 to 64 bytes")
        state = self._root.copy()
        for part in parts:
            state.update(len(part).to_bytes(8, "big") + part)
        return state.digest()[:size]

    def __repr__(self) -> str:
        return "MaskKeys(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are never serialised")
