"""Stored rows as start-up and the verifier read them: some at a time, so that those that are as they must be are taken
together. Whoever reads them finds out of any other row what is wrong with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from lockgate.audit.evidence.merkle import leaf_hashes
from lockgate.errors import AuditError

# What reading a damaged store raises: its own error, and values of a type or size that the schema rules out.
UNREADABLE: Final = (AuditError, ValueError, TypeError, OverflowError, MemoryError)
_Row = TypeVar("_Row", bound=tuple[Any, ...])
_TOGETHER: Final = 256          # rows
_WEIGHT: Final = 1 << 20        # bytes of what comes last in a row after which no more are taken together


def together(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """Rows, some at a time. What was read before reading failed comes before the failure."""
    taken: list[_Row] = []
    weight = 0
    try:
        for row in rows:
            taken.append(row)
            weight += len(row[-1]) if type(row[-1]) is bytes else 0
            if len(taken) == _TOGETHER or weight > _WEIGHT:
                yield taken
                taken, weight = [], 0
    except UNREADABLE:
        if taken:
            yield taken
        raise
    if taken:
        yield taken


def unbroken(rows: Sequence[tuple[Any, ...]], first: int) -> tuple[list[bytes], list[bytes]]:
    """Leaves and leaf hashes of rows (index, hash, leaf, …) from index `first` on, where every one is in its place and
    has the hash that is stored; else nothing.
    """
    leaves = [row[2] for row in rows]
    if [row[0] for row in rows] == list(range(first, first + len(rows))) and set(map(type, leaves)) == {bytes}:
        digests = leaf_hashes(leaves)
        if digests == [row[1] for row in rows]:
            return leaves, digests
    return [], []


def before(sizes: Sequence[int], size: int) -> int:
    """How many entries a log of `size` grows by until it has the next one of these sizes, which ascend."""
    at = bisect_right(sizes, size)
    return sizes[at] - size if at < len(sizes) else _TOGETHER
