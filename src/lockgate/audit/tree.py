"""Merkle proofs as the log's side needs them: made here, verified by `evidence.merkle`.

`Frontier` and the hashes are the verifier's own (RFC 6962); failures of verification become
`ProofFailed`, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockgate.audit.evidence import merkle
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    Frontier,
    leaf_hash,
    leaf_hashes,
    node_hash,
    perfect_root,
)
from lockgate.audit.failures import ProofFailed

__all__ = [
    "EMPTY_ROOT", "HASH_SIZE", "Frontier", "consistency_proof", "consistency_ranges", "inclusion_proof", "inclusion_ranges",
    "leaf_hash", "leaf_hashes", "node_hash", "perfect_root", "tree_root", "verify_consistency", "verify_inclusion",
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


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """RFC 6962 §2.1.1: the audit path of leaf `index` as ranges of leaves, first and behind the last, from
    the leaf's sibling up to the root's child.
    """
    if not 0 <= index < size:
        raise ValueError("the index is outside the tree")
    path: list[tuple[int, int]] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((first, middle))
            first = middle
    path.reverse()
    return path


def consistency_ranges(old: int, size: int) -> list[tuple[int, int]]:
    """RFC 6962 §2.1.2: the proof that the tree over the first `old` leaves is a prefix, as ranges of leaves."""
    if not 0 < old <= size:
        raise ValueError("the older size must be between 1 and the newer one")
    path: list[tuple[int, int]] = []
    first, end = 0, size
    while old < end:
        middle = first + _split(end - first)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((first, middle))
            first = middle
    if first:
        path.append((first, end))
    path.reverse()
    return path


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1: the audit path of leaf `index` in the tree over these leaf hashes."""
    return [tree_root(leaves[first:end]) for first, end in inclusion_ranges(index, len(leaves))]


def consistency_proof(old: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.2: that the tree over the first `old` leaf hashes is a prefix of the whole one."""
    return [tree_root(leaves[first:end]) for first, end in consistency_ranges(old, len(leaves))]


def growth_proof(old: Frontier, leaves: Sequence[bytes]) -> list[bytes]:
    """`consistency_proof` from a frontier to the tree that `leaves` (hashes) make of it.

    Costs one hash per new leaf and reads nothing: left of the boundary, a proof names only whole
    subtrees that the frontier holds already.
    """
    size, new = old.size, old.size + len(leaves)
    if size == 0 or not leaves:
        return []
    path: list[bytes] = []
    nodes = iter(old.nodes)
    low, high = 0, new
    while size != high:
        middle = low + _split(high - low)
        if size <= middle:
            path.append(tree_root(leaves[middle - size : high - size]))
            high = middle
        else:
            path.append(next(nodes))
            low = middle
    if low:
        path.append(next(nodes))
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
