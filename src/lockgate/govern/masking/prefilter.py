"""Prefilter: the RE2 side of detection. Which detectors could find something, told without looking closely.

Two questions over the same patterns. `union` searches a whole chunk for any of them in one pass (the GIL is
released). `Choice` says which of them occur in a value, so that only those run. RE2 needs linear time
whatever the input; its automata are built lazily inside `_MEMORY` and thrown away when they outgrow it.
"""

from __future__ import annotations

from functools import lru_cache

import re2

from lockgate.errors import ConfigError

_MEMORY = 16 << 20
"""Bytes for the automata of one set of patterns. All detectors on varied text need about a quarter of it."""

_NOTHING = r"[^\x00-\xff]"


def options() -> re2.Options:
    """How every pattern is read: over bytes, without captures, without writing to standard error."""
    chosen = re2.Options()
    chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.never_capture = True
    chosen.log_errors = False
    chosen.max_mem = _MEMORY
    return chosen


@lru_cache(maxsize=64)
def union(patterns: tuple[str, ...]) -> re2._Regexp:
    """One pattern that finds what any of `patterns` finds; without patterns it finds nothing."""
    text = "|".join(f"(?:{pattern})" for pattern in patterns) or _NOTHING
    return re2.compile(text.encode("ascii"), options())


class Choice:
    """Which of some patterns occur in a value, in one pass."""

    __slots__ = ("_all", "_set")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._all = list(range(len(patterns)))
        self._set: re2.Set | None = None
        if len(patterns) < 2:
            return
        self._set = re2.Set.SearchSet(options())
        for pattern in patterns:
            self._set.Add(pattern.encode("ascii"))
        try:
            # Fails when the memory does not do; unnoticed, the set would match nothing ever after.
            self._set.Compile()
        except re2.error as error:
            raise ConfigError(
                "the detectors' patterns are too large together", advice="use fewer or shorter patterns"
            ) from error

    def __call__(self, value: bytes) -> list[int]:
        """The places of the patterns that occur in `value`, in ascending order (of one pattern: always it)."""
        return self._all if self._set is None else sorted(self._set.Match(value) or ())


@lru_cache(maxsize=64)
def choice(patterns: tuple[str, ...]) -> Choice:
    """The Choice of these patterns."""
    return Choice(patterns)
