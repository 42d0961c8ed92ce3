"""What the hot path counts: plain integers, exported by `control.metrics` when somebody asks.

Stands apart from any metrics library because an increment here costs nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds of the duration buckets, in seconds."""


class Histogram:
    """Counts per bucket of `BOUNDS` (the last one is unbounded) and the sum of what was observed."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Counters:
    """Since the start of this process."""

    connections: int = 0
    sessions: int = 0
    held: int = 0                       # requests that wait for a person now
    logins: Counter[str] = field(default_factory=Counter)                     # by result
    statements: Counter[tuple[str, str]] = field(default_factory=Counter)     # by decision and verb
    outcomes: Counter[str] = field(default_factory=Counter)                   # by status
    masked: Counter[str] = field(default_factory=Counter)                     # values hidden, by detector or column
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)                     # by kind
    to_server: int = 0                  # bytes
    to_client: int = 0                  # bytes
    durations: Histogram = field(default_factory=Histogram)                   # recorded until settled
    waits: Histogram = field(default_factory=Histogram)                       # for a person
    cancels: Counter[str] = field(default_factory=Counter)                    # by result
    links: Counter[str] = field(default_factory=Counter)                      # backends' ends: dialled, reused, dropped why
    catalogue_loads: Counter[str] = field(default_factory=Counter)            # by result
    config_reloads: int = 0
    config_reload_failed: bool = False
