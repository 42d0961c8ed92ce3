"""A cache that is bounded by the memory it holds, and not only by its number of entries.

Apart from its users because the bound is the same everywhere: who never repeats a statement fills a cache with
what is large. A text of ten kilobytes can hold five thousand names, and what is known of it is a hundred times
its size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The entries used last: at most `entries` of them, which weigh at most `weight` bytes together."""

    __slots__ = ("_entries", "_found", "_weight", "weight")

    def __init__(self, entries: int, weight: int) -> None:
        self._entries = entries
        self._weight = weight
        self._found: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0
        """Bytes held now, as far as they were stated."""

    def __len__(self) -> int:
        return len(self._found)

    def clear(self) -> None:
        """Forgets everything."""
        self._found.clear()
        self.weight = 0

    def get(self, key: K) -> V | None:
        """What was put under the key, if it is still there. It is the newest then."""
        entry = self._found.get(key)
        if entry is None:
            return None
        self._found.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keeps a value that weighs so many bytes with its key, unless it is an eighth of all there is room for."""
        old = self._found.pop(key, None)
        if old is not None:
            self.weight -= old[1]
        if weight > self._weight // 8:
            return
        self._found[key] = value, weight
        self.weight += weight
        while len(self._found) > self._entries or self.weight > self._weight:
            _, (_, dropped) = self._found.popitem(last=False)
            self.weight -= dropped
