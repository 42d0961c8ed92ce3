"""What became of one shape fired one way: values that campaign and report share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """One word for it."""

    LEAK = "leak"
    ANSWERED = "answered"       # and nothing of the canary in it
    REFUSED = "refused"         # with an error, and nothing of the canary in it
    HELD = "held"               # it waits for a person; the test lets go of it
    STATED = "stated"           # a leak that the documentation states and does not claim to close
    UNKNOWN = "unknown"         # no whole answer in the time, or other answers to the same question


LEAKING: Final = frozenset((Verdict.LEAK, Verdict.STATED))


@dataclass(frozen=True, slots=True)
class Result:
    """One shape, one way."""

    shape: str
    group: str
    way: str
    verdict: Verdict
    code: str = ""
    detail: str = ""
    """For a leak the forms that were found, else the refusal's words or why it is unknown."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole run. `control` is what the same shapes did on a direct connection, empty where nobody asked."""

    results: tuple[Result, ...]
    benign: tuple[Result, ...]
    control: tuple[Result, ...]
    unmasked: tuple[str, ...]
    """Labelled columns that the plainest read showed."""

    def count(self, verdict: Verdict) -> int:
        """Results with this verdict."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def over_refused(self) -> tuple[Result, ...]:
        """Ordinary statements that got no answer."""
        return tuple(result for result in self.benign if result.verdict not in (Verdict.ANSWERED, *LEAKING))

    @property
    def leaks(self) -> tuple[Result, ...]:
        """What leaked, ordinary statements included."""
        return tuple(result for result in (*self.results, *self.benign) if result.verdict is Verdict.LEAK)

    @property
    def unproved(self) -> tuple[str, ...]:
        """Shapes that show nothing of the canary on a direct connection either, in no way of firing."""
        leaking = {result.shape for result in self.control if result.verdict in LEAKING}
        return tuple(dict.fromkeys(result.shape for result in self.control if result.shape not in leaking))
