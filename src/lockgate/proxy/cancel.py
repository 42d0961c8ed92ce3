"""Cancel keys: the gateway's own, one per session, looked up when a cancel request arrives.

A backend's key never reaches a client, so that a cancel can only come through here: it is counted,
its guesses are limited, and it is forwarded by the session's own mediator while a request runs.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

T = TypeVar("T")

GUESSES = 10
"""Wrong keys that one peer may send within `WINDOW` seconds before it is not listened to."""
WINDOW = 60.0
_PEERS = 10_000


@dataclass(slots=True)
class _Guesses:
    since: float
    count: int


class CancelRegistry(Generic[T]):
    """Keys of the sessions of this process. Constant-time beyond a lookup by the key's hash."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._keys: dict[bytes, tuple[bytes, T]] = {}
        self._guesses: dict[str, _Guesses] = {}

    def issue(self, size: int, session: T) -> bytes:
        """A new key of `size` random bytes (4 at least), registered for `session`."""
        if not 4 <= size <= 256:
            raise ValueError("a cancel key has 4 to 256 bytes")
        while True:
            key = secrets.token_bytes(size)
            name = sha256(key).digest()
            if name not in self._keys:
                self._keys[name] = (key, session)
                return key

    def forget(self, key: bytes) -> None:
        """The session is over."""
        self._keys.pop(sha256(key).digest(), None)

    def find(self, key: bytes, peer: str) -> T | None:
        """The session of `key`. None for a wrong key, and for any key of a peer that guesses."""
        now = self._monotonic()
        guesses = self._guesses.get(peer)
        if guesses is not None and now - guesses.since > WINDOW:
            del self._guesses[peer]
            guesses = None
        if guesses is not None and guesses.count >= GUESSES:
            return None
        found = self._keys.get(sha256(key).digest())
        if found is not None and hmac.compare_digest(found[0], key):
            return found[1]
        if guesses is None:
            if len(self._guesses) >= _PEERS:
                self._guesses.pop(next(iter(self._guesses)))
            self._guesses[peer] = _Guesses(now, 1)
        else:
            guesses.count += 1
        return None

    def __len__(self) -> int:
        return len(self._keys)
