"""No pattern that Python's engine runs over foreign bytes may read the same bytes again and again.

Told from the patterns themselves, not by a clock: a repetition without a bound is either the last thing that can
fail, or something stands before it that it cannot take itself, so that no two of its runs share a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking import (
    addresses,
    assignments,
    conceal,
    credentials,
    detection,
    payment,
    personal,
    writeback,
)
from lockgate.govern.masking.detector import Pattern
from lockgate.govern.masking.detectors import DETECTORS

BOUND = 1_000
"""Repetitions up to this many cost what they cost; above, they have no bound."""

ANCHORED = {"_COLON"}
"""Patterns that are matched at one place only, behind a token that has been read."""

EVERY_BYTE = frozenset(range(256))
Guards = list[frozenset[int]]


def patterns() -> Iterator[tuple[str, re.Pattern[bytes]]]:
    for module in (addresses, assignments, conceal, credentials, detection, payment, personal, writeback):
        for name, value in vars(module).items():
            value = value.compiled if isinstance(value, Pattern) else value
            if isinstance(value, re.Pattern) and name not in ANCHORED:
                yield f"{module.__name__.rpartition('.')[2]}.{name}", value
    for name, detector in DETECTORS.items():
        for half in (detector.find, detector.suspect):
            if isinstance(half, Pattern):
                yield name, half.compiled


def taken(nodes: Any, flags: int) -> frozenset[int]:
    """Every byte that the nodes may take; a look-around takes none."""
    found: set[int] = set()
    for code, argument in nodes:
        if code is op.LITERAL:
            found.add(argument)
        elif code is op.NOT_LITERAL:
            found |= EVERY_BYTE - {argument}
        elif code is op.ANY:
            found |= EVERY_BYTE if flags & re.DOTALL else EVERY_BYTE - {10}
        elif code is op.RANGE:
            found |= set(range(argument[0], argument[1] + 1))
        elif code is op.CATEGORY:
            found |= {byte for byte in range(256) if re.match({
                op.CATEGORY_SPACE: rb"\s", op.CATEGORY_NOT_SPACE: rb"\S", op.CATEGORY_DIGIT: rb"\d",
                op.CATEGORY_WORD: rb"\w",
            }[argument], bytes((byte,)))}  # fmt: skip
        elif code is op.IN:
            negated = argument[0][0] is op.NEGATE
            inside = taken(argument[negated:], flags)
            found |= EVERY_BYTE - inside if negated else inside
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            found |= taken(argument[2], flags)
        elif code is op.SUBPATTERN:
            found |= taken(argument[3], flags | argument[1])
        elif code is op.ATOMIC_GROUP:
            found |= taken(argument, flags)
        elif code is op.BRANCH:
            for branch in argument[1]:
                found |= taken(branch, flags)
        else:
            assert code in (op.AT, op.ASSERT, op.ASSERT_NOT), code
    if flags & re.IGNORECASE:
        found |= {byte ^ 32 for byte in found if 65 <= byte & ~32 <= 90}
    return frozenset(found)


def cannot_fail(nodes: Any) -> bool:
    return all(code in (op.MAX_REPEAT, op.POSSESSIVE_REPEAT) and argument[0] == 0 for code, argument in nodes)


def faults(nodes: Any, flags: int, guards: Guards, is_last: bool) -> Iterator[str]:
    """Repetitions that could read bytes again: `guards` are the sets that stand before, each of one byte."""
    for at, (code, argument) in enumerate(nodes):
        rest_is_optional = is_last and cannot_fail(nodes[at + 1:])
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            _, most, body = argument
            if most <= BOUND:
                yield from faults(body, flags, guards, rest_is_optional)
                continue
            inside = taken(body, flags)
            if any(True for _ in faults(body, flags, [], False)):
                yield "an unbounded repetition inside another"
            if not rest_is_optional and not any(not guard & inside for guard in guards):
                yield f"{body} has nothing before it that it cannot take"
            guards = []
        elif code is op.SUBPATTERN:
            yield from faults(argument[3], flags | argument[1], guards, rest_is_optional)
        elif code is op.BRANCH:
            for branch in argument[1]:
                yield from faults(branch, flags, guards, rest_is_optional)
        elif code is op.ASSERT_NOT and argument[0] == -1 and len(argument[1]) == 1:
            guards = [*guards, EVERY_BYTE - taken(argument[1], flags)]
        elif code in (op.LITERAL, op.IN):
            guards = [*guards, taken([(code, argument)], flags)]


def faults_of(pattern: bytes, flags: int = 0) -> list[str]:
    # What takes every quote, closed or not, reads each byte once (the next test holds it to that).
    text = pattern.replace(conceal._QUOTED, b'"').replace(writeback._STRING.pattern, b'"')
    parsed = parser.parse(text, flags)
    return list(faults(parsed, parsed.state.flags, [], True))


@pytest.mark.parametrize(("name", "pattern"), list(patterns()))
def test_every_pattern_reads_its_bytes_once(name: str, pattern: re.Pattern[bytes]) -> None:
    """However long a value is and whatever it repeats, the work grows with its length only."""
    assert faults_of(pattern.pattern, pattern.flags) == [], name


@pytest.mark.parametrize("pattern", [rb"[^@]+@", rb"(?:a+)+b", rb"x[xy]*z", rb"(?i)x[a-c]+[a-z]+!"])
def test_a_pattern_that_reads_again_is_told(pattern: bytes) -> None:
    """The check fails for what grows with the square."""
    assert faults_of(pattern)


@given(rest=st.text(alphabet='a"\\\n', max_size=12).map(str.encode))
def test_a_quote_always_begins_a_string(rest: bytes) -> None:
    """Closed, open, or open behind a lone escape: the pattern never gives a quote up, so none is tried twice."""
    for pattern in (conceal._JSON_TOKEN, conceal._ARRAY_ITEM, writeback._STRING):
        found = pattern.match(b'"' + rest)
        assert found is not None
        assert found.end() == len(rest) + 1 or found.group().endswith(b'"')
