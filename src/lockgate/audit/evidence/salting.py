"""What leaves show of a review's binding: a salted hash, so that nobody can guess the statement from it.

Apart from `bindings`, which computes bindings from disclosed texts, because the grammar needs it as well.
The salt is different for each ticket. It is in the payloads that the binding is computed from, so it is
disclosed, withheld and erased with them.
"""

from __future__ import annotations

from hashlib import sha256

_BOUND = "lockgate/bound/v1"


def bound_to(salt: str, binding: str) -> str:
    r"""Hex of ``SHA-256("lockgate/bound/v1\0" ‖ salt ‖ "\0" ‖ binding)``."""
    return sha256(f"{_BOUND}\0{salt}\0{binding}".encode("utf-8", "replace")).hexdigest()
