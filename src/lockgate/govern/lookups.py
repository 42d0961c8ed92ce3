"""How often one caller may compare protected columns with constants: a count per hour, label and connection.

Apart from `review` and policy because it is a count over requests and not a decision about one. A sliding window of
two buckets: the last full hour counts by the share of it that is still inside the window, so that a caller can never
have more than twice the bound in any hour. Callers are remembered in a bounded number; the one seen longest ago goes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

HOUR: Final = 3600.0
_CALLERS: Final = 65_536


class LookupBudget:
    """Counts of every caller of this process. Not durable: a restart begins anew."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: OrderedDict[Hashable, tuple[int, int, int]] = OrderedDict()

    def spend(self, caller: Hashable, lookups: Sequence[tuple[str, int]], now: float) -> str | None:
        """Count each (label, bound per hour; 0 is no bound), as often as it stands there: one statement may compare
        many times, and each comparison is a guess. None if all of them fit into what is left; else a label for which
        they do not, and nothing is counted: what is refused tells nothing.

        Where a label has several bounds, all its comparisons have to fit into each of them."""
        wanted = Counter(label for label, bound in lookups if bound)
        for label, bound in dict.fromkeys(lookups):
            if bound and int(self._used((caller, label), now)) + wanted[label] > bound:
                return label
        for label, times in wanted.items():
            self._count((caller, label), times, now)
        return None

    def _used(self, key: Hashable, now: float) -> float:
        hour, here, before = self._at(key, now)
        return here + before * (1.0 - (now - hour * HOUR) / HOUR)

    def _at(self, key: Hashable, now: float) -> tuple[int, int, int]:
        """The hour, and the counts in it and in the one before."""
        hour = int(now // HOUR)
        then, here, before = self._counts.get(key, (hour, 0, 0))
        if then == hour:
            return hour, here, before
        return hour, 0, here if then == hour - 1 else 0

    def _count(self, key: Hashable, times: int, now: float) -> None:
        hour, here, before = self._at(key, now)
        self._counts[key] = (hour, here + times, before)
        self._counts.move_to_end(key)
        if len(self._counts) > _CALLERS:
            self._counts.popitem(last=False)
