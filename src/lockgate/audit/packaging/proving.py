"""Proofs over a log that need not fit into memory: say what is wanted, read the leaf hashes once, take them.

A proof is made of roots over ranges of leaves, and each range falls into perfect subtrees. One pass with
a stack as high as the tree meets every one of them; only those that were asked for are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lockgate.audit.tree import consistency_ranges, inclusion_ranges, node_hash
from lockgate.errors import AuditError


class Proofs:
    """Proofs in the tree of the first `size` leaves. `want_…` first, then `read`, then the proofs."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._wanted: set[tuple[int, int]] = set()
        self._found: dict[tuple[int, int], bytes] = {}

    def want_inclusion(self, index: int) -> None:
        """The audit path of an entry will be asked for."""
        self._want(inclusion_ranges(index, self._size))

    def want_consistency(self, old: int) -> None:
        """So will the proof that the tree of `old` entries is a prefix."""
        self._want(consistency_ranges(old, self._size))

    def want_frontier(self, size: int) -> None:
        """So will the frontier of the tree of `size` entries."""
        self._wanted.update(_perfect(0, size))

    def _want(self, ranges: list[tuple[int, int]]) -> None:
        for first, end in ranges:
            self._wanted.update(_perfect(first, end))

    def read(self, hashes: Iterable[bytes]) -> None:
        """Take all leaf hashes, in order. Raises `AuditError` where there are fewer than the tree has."""
        stack: list[tuple[int, int, bytes]] = []     # level, number at that level, root
        count = 0
        for count, digest in enumerate(hashes, 1):
            level, number, node = 0, count - 1, digest
            self._keep(level, number, node)
            while stack and stack[-1][0] == level:
                node = node_hash(stack.pop()[2], node)
                level, number = level + 1, number >> 1
                self._keep(level, number, node)
            stack.append((level, number, node))
        if count != self._size:
            raise AuditError(f"the log is damaged: {count} of {self._size} entries are stored",
                             advice="run `lockgate audit verify`")

    def _keep(self, level: int, number: int, node: bytes) -> None:
        if (level, number) in self._wanted:
            self._found[level, number] = node

    def inclusion(self, index: int) -> list[bytes]:
        """RFC 6962 §2.1.1: the audit path."""
        return [self._root(first, end) for first, end in inclusion_ranges(index, self._size)]

    def consistency(self, old: int) -> list[bytes]:
        """RFC 6962 §2.1.2: the consistency proof."""
        return [self._root(first, end) for first, end in consistency_ranges(old, self._size)]

    def frontier(self, size: int) -> list[bytes]:
        """The roots of the perfect subtrees of the tree of `size` entries, largest first."""
        return [self._found[place] for place in _perfect(0, size)]

    def _root(self, first: int, end: int) -> bytes:
        nodes = [self._found[place] for place in _perfect(first, end)]
        root = nodes.pop()
        while nodes:
            root = node_hash(nodes.pop(), root)
        return root


def _perfect(first: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees (level, number) that a range of a proof falls into, largest first."""
    while first < end:
        level = (end - first).bit_length() - 1
        yield level, first >> level
        first += 1 << level
