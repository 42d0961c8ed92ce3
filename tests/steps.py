"""How much work a piece of code does, counted, never timed: lines of Python, and steps of regular expressions.

A bound on time fails on a machine that is busy and passes on one that is fast; these counts are the same everywhere.
What one line does in C is one line here, whatever it costs. Regular expressions are the part of it that can go back and
forth over a text, so they have a count of their own: `Counted` stands in for a pattern and tries beside it, one sign at
a time, what the pattern has to try.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from types import FrameType, ModuleType
from typing import Any

import pytest


class Steps:
    """The work so far."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def lines(most: int = sys.maxsize) -> Iterator[Steps]:
    """Counts the lines of Python that run in the block, in this thread; fails in the one that is more than `most`, so
    that a test of what must end ends by itself where it does not.
    """
    found = Steps()

    def trace(_: FrameType, event: str, __: Any) -> Any:
        if event == "line":
            found.count += 1
            if found.count > most:
                raise AssertionError(f"more than {most} lines of Python ran")
        return trace

    usual = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(usual)


@contextmanager
def calls(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments of every call of a function, which still does what it does."""
    real = getattr(owner, name)
    made: list[tuple[Any, ...]] = []

    def noted(*arguments: Any, **named: Any) -> Any:
        made.append(arguments)
        return real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, noted)
        yield made


@contextmanager
def matching(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Iterator[Steps]:
    """Counts the steps of every pattern that a module has or makes in the block."""
    found = Steps()

    class Regular:
        """The module `re`, as far as patterns are made with it in passing."""

        IGNORECASE = re.IGNORECASE
        escape = staticmethod(re.escape)

        @staticmethod
        def compile(pattern: str, flags: int = 0) -> Counted:
            return Counted(re.compile(pattern, flags), found)

        @staticmethod
        def search(pattern: str, text: str, flags: int = 0) -> re.Match[str] | None:
            return Counted(re.compile(pattern, flags), found).search(text)

        @staticmethod
        def finditer(pattern: str, text: str, flags: int = 0) -> Iterator[re.Match[str]]:
            return Counted(re.compile(pattern, flags), found).finditer(text)

    with monkeypatch.context() as patched:
        patched.setattr(module, "re", Regular)
        for name, value in list(vars(module).items()):
            if isinstance(value, re.Pattern):
                patched.setattr(module, name, Counted(value, found))
        yield found


class Counted:
    """A pattern that gives what it gives, and counts what a backtracking matcher has to try for it.

    The count is the work of a plain matcher; `re` may do less, where it looks for a literal first. Each match is
    compared with that of `re`, so that what is counted is the search that takes place.
    """

    def __init__(self, pattern: re.Pattern[Any], steps: Steps) -> None:
        self._real = pattern
        self._steps = steps
        self._matcher = _Matcher(pattern, steps)

    def match(self, text: Any, position: int = 0) -> re.Match[Any] | None:
        found = self._real.match(text, position)
        self._agree(found, self._matcher.at(text, position), position)
        return found

    def search(self, text: Any, position: int = 0) -> re.Match[Any] | None:
        found = self._real.search(text, position)
        for start in range(position, len(text) + 1):
            end = self._matcher.at(text, start)
            if end is not None:
                self._agree(found, end, start)
                return found
        assert found is None
        return None

    def finditer(self, text: Any, position: int = 0) -> Iterator[re.Match[Any]]:
        while position <= len(text):
            found = self.search(text, position)
            if found is None:
                return
            yield found
            assert found.end() > found.start(), "what matches nothing is not followed here"
            position = found.end()

    def sub(self, instead: Callable[[re.Match[Any]], Any], text: Any) -> Any:
        for _ in self.finditer(text):
            pass
        return self._real.sub(instead, text)

    @staticmethod
    def _agree(found: re.Match[Any] | None, end: int | None, start: int) -> None:
        assert (None if found is None else found.span()) == (None if end is None else (start, end))


_CATEGORIES = {op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
               op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D"}


class _Matcher:
    """Matches by the parse tree of a pattern, the way `re` is documented: alternatives from left to right, greedy
    repeats from the longest, nothing given back of what is possessive.
    """

    def __init__(self, pattern: re.Pattern[Any], steps: Steps) -> None:
        self._tree = _parser.parse(pattern.pattern, pattern.flags).data
        self._ignores_case = bool(pattern.flags & re.IGNORECASE)
        self._dot_all = bool(pattern.flags & re.DOTALL)
        self._steps = steps
        self._known: dict[tuple[int, str], bool] = {}   # by part of the tree, which stays, and sign
        self._text = ""
        self._groups: dict[int, tuple[int, int]] = {}

    def at(self, text: str, position: int) -> int | None:
        """Where the match that starts at a position ends."""
        self._text = text
        self._groups = {}
        return next(self._sequence(self._tree, 0, position), None)

    def _sequence(self, items: list[Any], index: int, position: int) -> Iterator[int]:
        while index < len(items) and items[index][0] in _SINGLE:
            if not self._one(items[index], position):
                return
            index, position = index + 1, position + 1
        if index == len(items):
            yield position
            return
        for end in self._item(*items[index], position):
            yield from self._sequence(items, index + 1, end)

    def _one(self, item: Any, position: int) -> bool:
        """Whether the sign at a position is one that a part for one sign matches."""
        self._steps.count += 1
        if position >= len(self._text):
            return False
        key = (id(item), self._text[position])
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._fits(*item, key[1])
        return known

    def _fits(self, kind: Any, value: Any, sign: str) -> bool:
        if kind is op.ANY:
            return self._dot_all or sign != "\n"
        signs = {sign.lower(), sign.upper()} if self._ignores_case else {sign}
        if kind is op.LITERAL:
            return chr(value) in signs
        if kind is op.NOT_LITERAL:
            return chr(value) not in signs
        is_negated = value[0][0] is op.NEGATE
        return any(_is_in(value, one) for one in signs) != is_negated

    def _item(self, kind: Any, value: Any, position: int) -> Iterator[int]:
        self._steps.count += 1
        if kind is op.SUBPATTERN:
            for end in self._sequence(value[3].data, 0, position):
                if value[0] is not None:
                    self._groups[value[0]] = (position, end)
                yield end
        elif kind is op.BRANCH:
            for branch in value[1]:
                yield from self._sequence(branch.data, 0, position)
        elif kind is op.ATOMIC_GROUP:
            yield from self._first(value.data, position)
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            way, inside = value
            start = position if way > 0 else position - inside.getwidth()[0]
            holds = start >= 0 and next(self._sequence(inside.data, 0, start), None) is not None
            if holds == (kind is op.ASSERT):
                yield position
        elif kind is op.AT:
            if self._is_at(value, position):
                yield position
        elif kind is op.GROUPREF:
            start, end = self._groups[value]
            self._steps.count += end - start
            if self._text.startswith(self._text[start:end], position):
                yield position + end - start
        else:
            yield from self._repeat(kind, *value, position)

    def _first(self, items: list[Any], position: int) -> Iterator[int]:
        for end in self._sequence(items, 0, position):
            yield end
            return

    def _repeat(self, kind: Any, least: int, most: int, inside: Any, position: int) -> Iterator[int]:
        items = inside.data
        if kind is op.POSSESSIVE_REPEAT or (len(items) == 1 and items[0][0] in _SINGLE):
            yield from self._in_a_row(kind, least, most, items, position)
        elif kind is op.MAX_REPEAT:
            yield from self._greedy(least, most, items, position, 0)
        else:
            raise NotImplementedError("lazy repeats of more than one sign are not counted")

    def _in_a_row(self, kind: Any, least: int, most: int, items: list[Any], position: int) -> Iterator[int]:
        """Repeats whose parts are what they are: nothing inside of them is tried again."""
        ends = [position]
        if kind is op.MIN_REPEAT:
            while len(ends) - 1 <= most:
                if len(ends) > least:
                    yield ends[-1]
                if len(ends) - 1 == most or not self._one(items[0], ends[-1]):
                    return
                ends.append(ends[-1] + 1)
        while len(ends) - 1 < most:
            end = next(self._first(items, ends[-1]), None)
            if end is None or (end == ends[-1] and len(ends) > least):
                break
            ends.append(end)
        if len(ends) <= least:
            return
        if kind is op.POSSESSIVE_REPEAT:
            yield ends[-1]
            return
        while len(ends) > least:
            self._steps.count += 1
            yield ends.pop()

    def _greedy(self, least: int, most: int, items: list[Any], position: int, done: int) -> Iterator[int]:
        if done < most:
            for end in self._sequence(items, 0, position):
                if end > position:
                    yield from self._greedy(least, most, items, end, done + 1)
        if done >= least:
            yield position

    def _is_at(self, where: Any, position: int) -> bool:
        if where is op.AT_END_STRING:
            return position == len(self._text)
        if where is op.AT_BOUNDARY:
            return re.compile(r"\b").match(self._text, position) is not None
        raise NotImplementedError(str(where))


_SINGLE = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)


def _is_in(value: list[Any], sign: str) -> bool:
    """Whether a sign is one of a set, its negation aside."""
    for kind, what in value:
        if kind is op.LITERAL and ord(sign) == what:
            return True
        if kind is op.RANGE and what[0] <= ord(sign) <= what[1]:
            return True
        if kind is op.CATEGORY and re.match(_CATEGORIES[what], sign):
            return True
    return False
