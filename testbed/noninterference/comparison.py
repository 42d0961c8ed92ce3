"""Whether outcomes are equal, and what can still be said where a statement differs from itself.

A statement with `now()`, `random()` or the database's name in it differs between two runs on equal
databases. Its steady part is what all runs on equal data have in common; it has to be the same on the
other side. The rest cannot be compared: it is searched for the labelled values instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from testbed.noninterference.outcome import Outcome

SHORTEST: Final = 5
"""Characters of a labelled value that is worth searching for: shorter ones turn up by chance."""

_LONGEST: Final = 300

Cell = bytes | None
Shape = list[tuple[str, int]]


class Verdict(Enum):
    """What a comparison came to."""

    EQUAL = "equal"
    UNSETTLED = "unsettled"         # differs from itself; the steady part is equal and no value is in the rest
    STATED = "stated"               # a constraint on a labelled column answers: docs/explanation/threat-model.md
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of one statement: on `one` and on `two`."""

    one: Sequence[Outcome]
    two: Sequence[Outcome]


def are_equal(left: Outcome, right: Outcome) -> bool:
    """Whether a client could not tell the two apart."""
    return (left.refusal, left.messages, left.witnessed) == (right.refusal, right.messages, right.witnessed)


def judge(runs: Runs, values_one: frozenset[bytes], values_two: frozenset[bytes]) -> tuple[Verdict, str]:
    """The verdict over several runs, and the reason for it. At least two runs of each side.

    `values_…` are the texts of the labelled values of each side.
    """
    outcomes = [*runs.one, *runs.two]
    if any(outcome.refusal != outcomes[0].refusal for outcome in outcomes):
        return Verdict.DIFFERENT, "refused on one side only"
    verdict, reason = _compared(runs, values_one, values_two)
    if verdict is not Verdict.DIFFERENT and any(outcome.witnessed for outcome in outcomes):
        return Verdict.DIFFERENT, "a labelled column is in a RowDescription"
    return verdict, reason


def _compared(runs: Runs, values_one: frozenset[bytes], values_two: frozenset[bytes]) -> tuple[Verdict, str]:
    left, right = [_shape(run) for run in runs.one], [_shape(run) for run in runs.two]
    if not _agree(left, right):
        return Verdict.DIFFERENT, _first_difference(runs.one[0], runs.two[0])
    if any(shape != left[0] for shape in left + right):
        return _searched(runs, values_one, values_two, "its messages vary in number or kind")
    unsettled = False
    for number, (one, two) in enumerate(zip(_cells(runs.one), _cells(runs.two), strict=True)):
        if not _agree(one, two):
            return Verdict.DIFFERENT, f"value {number}: {one[0]!r} {two[0]!r}"
        unsettled |= any(cell != one[0] for cell in one + two)
    if unsettled:
        return _searched(runs, values_one, values_two, "some of its values vary")
    return Verdict.EQUAL, ""


def _agree(one: Sequence[object], two: Sequence[object]) -> bool:
    """Whether what was seen of one thing in all runs can be the same thing on both sides.

    Steady on both: equal. Varying on both: nothing can be said. Else the steady one must be among what
    was seen on the other side, where it may have come by chance.
    """
    steady_one, steady_two = (all(item == items[0] for item in items) for items in (one, two))
    if steady_one and steady_two:
        return one[0] == two[0]
    return (not steady_one or one[0] in two) and (not steady_two or two[0] in one)


def _shape(outcome: Outcome) -> Shape:
    return [(message.kind, len(message.cells)) for message in outcome.messages]


def _first_difference(one: Outcome, two: Outcome) -> str:
    """Where two outcomes part that do not have the same messages."""
    for left, right in zip(one.messages, two.messages, strict=False):
        if left != right:
            return f"{left.kind} {left.cells[:3]!r} or {right.kind} {right.cells[:3]!r}"[:_LONGEST]
    return f"{len(one.messages)} messages or {len(two.messages)}"


def _cells(runs: Sequence[Outcome]) -> list[tuple[Cell, ...]]:
    """For every value of the messages, what it was in each run. The runs have one shape."""
    return list(zip(*([cell for message in run.messages for cell in message.cells] for run in runs), strict=True))


def _searched(runs: Runs, values_one: frozenset[bytes], values_two: frozenset[bytes], why: str) -> tuple[Verdict, str]:
    """Nothing of one side's own values may be in what cannot be compared, unless the other side shows it too."""
    one, two = (b"\n".join(outcome.seen for outcome in outcomes) for outcomes in (runs.one, runs.two))
    for here, there, own in ((one, two, values_one - values_two), (two, one, values_two - values_one)):
        for value in own:
            if len(value) >= SHORTEST and value in here and value not in there:
                return Verdict.DIFFERENT, f"{why}, and {value!r} is in them"
    return Verdict.UNSETTLED, why
