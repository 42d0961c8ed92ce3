"""Consistency proofs of a growing log that read only what is new: a frontier is kept where a proof began.

Witnesses are nearly always at the size that was cosigned last, so one look at the old entries is enough.
"""

from __future__ import annotations

from typing import Final

from lockgate.audit.storage.contract import Source
from lockgate.audit.tree import Frontier, growth_proof

_KEPT: Final = 64       # a frontier has at most 63 hashes


class Prover:
    """Proofs for one log; its snapshots are given with each call."""

    def __init__(self) -> None:
        self._frontiers: dict[int, Frontier] = {}

    def prove(self, source: Source, old: int, new: int) -> list[bytes]:
        """The proof that the first `old` entries are those of the tree of size `new` (RFC 6962 §2.1.2)."""
        if old in (0, new):
            return []
        frontier = self._at(source, old)
        leaves = list(source.hashes(old, new - 1))
        proof = growth_proof(frontier, leaves)
        grown = frontier.copy()
        for leaf in leaves:
            grown.append(leaf)
        self._keep(grown)
        return proof

    def _at(self, source: Source, size: int) -> Frontier:
        known = self._frontiers.get(size)
        if known is None:
            below = max((at for at in self._frontiers if at < size), default=0)
            known = self._frontiers[below].copy() if below else Frontier()
            for leaf in source.hashes(known.size, size - 1):
                known.append(leaf)
            self._keep(known)
        return known

    def _keep(self, frontier: Frontier) -> None:
        self._frontiers[frontier.size] = frontier
        while len(self._frontiers) > _KEPT:
            del self._frontiers[min(self._frontiers)]
