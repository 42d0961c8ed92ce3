"""RFC 6962 Merkle trees: hashing, the frontier that appends in O(log n), and both kinds of proof.

The frontier (also "compact range") is the list of roots of the perfect subtrees that a tree of its
size falls into, largest first: all that is needed to append and to compute the root. Proof
verification follows RFC 9162 §2.1.3.2 and §2.1.4.2; it raises `ProofFailed` and returns nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from lockgate.audit.failures import ProofFailed

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of one entry, set apart from nodes by its first byte."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that can grow and tell its root, without its leaves."""

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if size < 0 or size.bit_count() != len(nodes) or any(len(node) != HASH_SIZE for node in nodes):
            raise ValueError("a frontier holds one hash per set bit of its size")
        self.size = size
        self.nodes = list(nodes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf *hash*."""
        nodes = self.nodes
        size = self.size
        self.size = size + 1
        while size & 1:
            leaf = sha256(b"\x01" + nodes.pop() + leaf).digest()
            size >>= 1
        nodes.append(leaf)

    def root(self) -> bytes:
        """The Merkle tree hash of everything appended so far."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        return Frontier(self.size, self.nodes)

    def to_bytes(self) -> bytes:
        """Size (u64, big-endian) and the hashes, as the store keeps it beside the head."""
        return self.size.to_bytes(8, "big") + b"".join(self.nodes)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Frontier:
        """The reverse of `to_bytes`; raises ValueError for anything else."""
        if len(stored) < 8 or (len(stored) - 8) % HASH_SIZE:
            raise ValueError("a stored frontier has a size and whole hashes")
        nodes = [stored[at : at + HASH_SIZE] for at in range(8, len(stored), HASH_SIZE)]
        return cls(int.from_bytes(stored[:8], "big"), nodes)


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
    """RFC 9162 §2.1.3.2: raise `ProofFailed` unless leaf hash `leaf` is entry `index` under `root`."""
    if not 0 <= index < size:
        raise ProofFailed("the index is outside the tree")
    at, last, result = index, size - 1, leaf
    for node in proof:
        if last == 0:
            raise ProofFailed("the inclusion proof is too long")
        if at & 1 or at == last:
            result = node_hash(node, result)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            result = node_hash(result, node)
        at >>= 1
        last >>= 1
    if last != 0 or not hmac.compare_digest(result, root):
        raise ProofFailed(f"the inclusion proof of entry {index} does not lead to the root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 §2.1.4.2: raise `ProofFailed` unless the older tree is a prefix of the newer one."""
    if not 0 <= old <= new:
        raise ProofFailed("the older tree is larger than the newer one")
    if old in (0, new):
        roots_agree = hmac.compare_digest(old_root, EMPTY_ROOT if old == 0 else new_root)
        if proof or not roots_agree:
            raise ProofFailed("trees of equal size must have equal roots and an empty proof")
        return
    nodes = list(proof)
    if old & (old - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        raise ProofFailed("the consistency proof is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise ProofFailed("the consistency proof is too long")
        if at & 1 or at == last:
            first = node_hash(node, first)
            second = node_hash(node, second)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            second = node_hash(second, node)
        at >>= 1
        last >>= 1
    agree = hmac.compare_digest(first, old_root) and hmac.compare_digest(second, new_root)
    if last != 0 or not agree:
        raise ProofFailed("the consistency proof does not connect the two roots")
