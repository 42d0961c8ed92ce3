"""The Merkle tree against a naive one, and proofs that must hold or must not."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit.failures import ProofFailed
from lockgate.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(301)]
ROOTS = [naive_root(LEAVES[:n]) for n in range(301)]


def test_frontier_has_the_naive_root_at_every_size() -> None:
    """The incremental tree equals the recursive definition from 0 to 300 leaves, also when stored."""
    frontier = Frontier()
    for size in range(301):
        assert frontier.root() == ROOTS[size]
        frontier = Frontier.from_bytes(frontier.to_bytes())
        assert frontier.size == size
        frontier.append(LEAVES[size])


def test_known_roots() -> None:
    """The empty tree and RFC 6962's well-known two-leaf vectors have their published hashes."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    vector = Frontier()
    vector.append(leaf_hash(b""))
    vector.append(leaf_hash(b"\x00"))
    assert vector.root().hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_inclusion_proofs_hold_and_only_for_their_leaf(data: st.DataObject) -> None:
    """An inclusion proof leads to the root for its own leaf and place, and for nothing else."""
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, LEAVES[:size])
    verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size])
    with pytest.raises(ProofFailed):
        verify_inclusion(index, size, LEAVES[300], proof, ROOTS[size])
    with pytest.raises(ProofFailed):
        verify_inclusion(index, size, LEAVES[index], [*proof, LEAVES[0]], ROOTS[size])
    if proof:
        with pytest.raises(ProofFailed):
            verify_inclusion(index, size, LEAVES[index], proof[:-1], ROOTS[size])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_consistency_proofs_hold_and_only_between_their_trees(data: st.DataObject) -> None:
    """A consistency proof connects the two roots that it was made for, and no other."""
    new = data.draw(st.integers(1, 300))
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, LEAVES[:new])
    verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
    with pytest.raises(ProofFailed):
        verify_consistency(old, new, LEAVES[300], ROOTS[new], proof)
    with pytest.raises(ProofFailed):
        verify_consistency(old, new, ROOTS[old], ROOTS[new], [*proof, LEAVES[0]])
    if proof:
        with pytest.raises(ProofFailed):
            verify_consistency(old, new, ROOTS[old], ROOTS[new], proof[1:])


def test_impossible_proofs_are_refused() -> None:
    """Places outside the tree, a shrinking tree and a wrong empty root raise."""
    with pytest.raises(ProofFailed):
        verify_inclusion(3, 3, LEAVES[0], [], ROOTS[3])
    with pytest.raises(ProofFailed):
        verify_consistency(4, 3, ROOTS[4], ROOTS[3], [])
    with pytest.raises(ProofFailed):
        verify_consistency(0, 3, ROOTS[1], ROOTS[3], [])
    verify_consistency(0, 3, EMPTY_ROOT, ROOTS[3], [])
    for wrong in (b"", b"\0" * 9, b"\0" * 7 + b"\x03" + LEAVES[0]):
        with pytest.raises(ValueError, match="frontier"):
            Frontier.from_bytes(wrong)
