"""RFC 6962 Merkle trees: hashing, the frontier that appends in O(log n), and verifying both kinds of proof.

The frontier (also "compact range") is the list of roots of the perfect subtrees that a tree of its
size falls into, largest first: all that is needed to append and to compute the root. Proof
verification follows RFC 9162 §2.1.3.2 and §2.1.4.2; it raises and returns nothing. Proofs are made by
`audit.tree`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from lockgate.audit.evidence.failures import EvidenceError

HASH_SIZE: Final = 32
_PROOF = "proof"
EMPTY_ROOT = sha256(b"").digest()
_hasher: Final = sha256        # a constant, which compiled code does not look up by its name


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of one entry, set apart from nodes by its first byte."""
    return _hasher(b"\x00%b" % leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of an inner node."""
    return _hasher(b"\x01%b%b" % (left, right)).digest()


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """`leaf_hash` of each."""
    return [_hasher(b"\x00%b" % leaf).digest() for leaf in leaves]


def perfect_root(hashes: bytes) -> bytes:
    """The root over concatenated hashes, whose number is a power of two (RFC 6962 §2.1)."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join([_hasher(b"\x01%b" % hashes[at:at + 2 * HASH_SIZE]).digest()
                           for at in range(0, len(hashes), 2 * HASH_SIZE)])
    return hashes


class Frontier:
    """A tree that can grow and tell its root, without its leaves."""

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if size < 0 or bin(size).count("1") != len(nodes) or any(len(node) != HASH_SIZE for node in nodes):
            raise ValueError("a frontier holds one hash per set bit of its size")
        self.size = size
        self.nodes = list(nodes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf *hash*."""
        nodes = self.nodes
        size = self.size
        self.size = size + 1
        while size & 1:
            leaf = _hasher(b"\x01%b%b" % (nodes.pop(), leaf)).digest()
            size >>= 1
        nodes.append(leaf)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, level by level, which is faster than one by one."""
        row, size = list(leaves), self.size
        self.size = size + len(row)
        kept: list[bytes] = []
        while row:
            if size & 1:
                row.insert(0, self.nodes.pop())
            if len(row) & 1:
                kept.append(row.pop())
            row = [_hasher(b"\x01%b%b" % (row[at], row[at + 1])).digest() for at in range(0, len(row), 2)]
            size >>= 1
        kept.reverse()
        self.nodes += kept

    def root(self) -> bytes:
        """The Merkle tree hash of everything appended so far."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root

    def root_with(self, leaves: Sequence[bytes]) -> bytes:
        """The root of the tree with some leaf hashes more. It does not grow by them."""
        grown = self.copy()
        grown.extend(leaves)
        return grown.root()

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


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2: raise unless leaf hash `leaf` is entry `index` under `root`."""
    if not 0 <= index < size:
        raise EvidenceError(_PROOF, "the index is outside the tree")
    at, last, result = index, size - 1, leaf
    for node in proof:
        if last == 0:
            raise EvidenceError(_PROOF, "the inclusion proof is too long")
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
        raise EvidenceError(_PROOF, f"the inclusion proof of entry {index} does not lead to the root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 §2.1.4.2: raise unless the older tree is a prefix of the newer one."""
    if not 0 <= old <= new:
        raise EvidenceError(_PROOF, "the older tree is larger than the newer one")
    if old in (0, new):
        roots_agree = hmac.compare_digest(old_root, EMPTY_ROOT if old == 0 else new_root)
        if proof or not roots_agree:
            raise EvidenceError(_PROOF, "trees of equal size must have equal roots and an empty proof")
        return
    nodes = list(proof)
    if old & (old - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        raise EvidenceError(_PROOF, "the consistency proof is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise EvidenceError(_PROOF, "the consistency proof is too long")
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
        raise EvidenceError(_PROOF, "the consistency proof does not connect the two roots")
