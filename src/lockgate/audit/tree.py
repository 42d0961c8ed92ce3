"""Merkle proofs as the log's side needs them: made here, verified by `evidence.merkle`.

`Frontier` and the hashes are the verifier's own (RFC 6962); failures of verification become
`ProofFailed`, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockgate.audit.evidence import merkle
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.merkle import EMPTY_ROOT, HASH_SIZE, Frontier, leaf_hash, node_hash
from lockgate.audit.failures import ProofFailed

__all__ = [
    "EMPTY_ROOT", "HASH_SIZE", "Frontier", "consistency_proof", "inclusion_proof", "leaf_hash", "node_hash",
    "tree_root", "verify_consistency", "verify_inclusion",
]


def _split(size: int) -> int:
    """The largest power of two below `size` (RFC 6962's k)."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1: the audit path of leaf `index` in the tree over these leaf hashes."""
    if not 0 <= index < len(leaves):
        raise ValueError("the index is outside the tree")
    path: list[bytes] = []
    while len(leaves) > 1:
        split = _split(len(leaves))
        if index < split:
            path.append(tree_root(leaves[split:]))
            leaves = leaves[:split]
        else:
            path.append(tree_root(leaves[:split]))
            leaves = leaves[split:]
            index -= split
    path.reverse()
    return path


def consistency_proof(old: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.2: that the tree over the first `old` leaf hashes is a prefix of the whole one."""
    if not 0 < old <= len(leaves):
        raise ValueError("the older size must be between 1 and the newer one")
    path: list[bytes] = []
    whole = True
    while old < len(leaves):
        split = _split(len(leaves))
        if old <= split:
            path.append(tree_root(leaves[split:]))
            leaves = leaves[:split]
        else:
            path.append(tree_root(leaves[:split]))
            leaves = leaves[split:]
            old -= split
            whole = False
    if not whole:
        path.append(tree_root(leaves))
    path.reverse()
    return path


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """As `merkle.verify_inclusion`; raises `ProofFailed`."""
    try:
        merkle.verify_inclusion(index, size, leaf, proof, root)
    except EvidenceError as error:
        raise ProofFailed(error.message) from None


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """As `merkle.verify_consistency`; raises `ProofFailed`."""
    try:
        merkle.verify_consistency(old, new, old_root, new_root, proof)
    except EvidenceError as error:
        raise ProofFailed(error.message) from None
