"""Path templates like `/customers/{id}`, and which of many a path fits: found by walking a tree, not by trying each.

Apart from `targets`, which gives a path its one reading: what stands in a template is read by the same rules, so that a
template is compared with what a backend gets. Of two templates that fit, the one that is literal where the other has a
parameter is meant, leftmost first (OpenAPI 3.1.1 section 4.8.8.2: concrete before templated).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Generic, TypeVar

from lockgate.protocols.http.targets import BadTarget, read_segment

T = TypeVar("T")
_PARAMETER: Final = re.compile(r"\{([^{}]+)\}")
_MOST_STEPS: Final = 2_000_000
_ANY, _REST = "any", "rest"


class BadTemplate(ValueError):
    """A template that cannot be read, or that no path can fit. The message says why."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a template: what is literal in it, around its parameters. `("customers",)` is a literal, `("", "")` a
    parameter, `("", ".json")` both. A parameter stands for one character at least, and never for a slash."""

    literals: tuple[str, ...]

    @property
    def is_literal(self) -> bool:
        """Whether it has no parameter."""
        return len(self.literals) == 1

    @property
    def is_parameter(self) -> bool:
        """Whether it is nothing else."""
        return self.literals == ("", "")

    def fits(self, text: str) -> bool:
        """Whether a part of a path is one. Each literal is taken where it comes first, which is enough for a template."""
        if self.is_literal:
            return text == self.literals[0]
        first, *middle, last = self.literals
        if not text.startswith(first):
            return False
        at = len(first)
        for literal in middle:
            at = text.find(literal, at + 1)
            if at < 0:
                return False
            at += len(literal)
        return text.endswith(last) and len(text) - len(last) > at

    def meets(self, other: Segment) -> bool:
        """Whether some text fits both."""
        if self.is_literal:
            return other.fits(self.literals[0])
        if other.is_literal:
            return self.fits(other.literals[0])
        return _meet(self._signs(), other._signs())

    def exactness(self, other: Segment) -> int | None:
        """Of two that meet: -1 where this one is the more exact, 1 where the other is, 0 where they are alike; None where
        neither is."""
        if self.literals == other.literals:
            return 0
        ranks = [0 if one.is_literal else 2 if one.is_parameter else 1 for one in (self, other)]
        return None if ranks[0] == ranks[1] else -1 if ranks[0] < ranks[1] else 1

    def _signs(self) -> tuple[str, ...]:
        signs: list[str] = list(self.literals[0])
        for literal in self.literals[1:]:
            signs += [_ANY, _REST, *literal]
        return tuple(signs)


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a text fits both: the product of the two as automata, of at most some hundred states each."""
    seen, todo = set(), [(0, 0)]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        i, j = at
        if (i, j) == (len(one), len(other)):
            return True
        here, there = one[i:i + 1], other[j:j + 1]
        if here == (_REST,):
            todo.append((i + 1, j))
        if there == (_REST,):
            todo.append((i, j + 1))
        if here and there and (here == there or here[0] in (_ANY, _REST) or there[0] in (_ANY, _REST)):
            todo.append((i + (here != (_REST,)), j + (there != (_REST,))))
    return False


@lru_cache(maxsize=4096)
def read_template(text: str) -> tuple[Segment, ...]:
    """A template's parts. `BadTemplate` for one that is none, or that no path fits as the gateway reads paths."""
    if not text.startswith("/"):
        raise BadTemplate("it does not begin with a slash")
    parts = text[1:].split("/")
    if len(parts) > 1 and "" in parts[:-1]:
        raise BadTemplate("it holds an empty segment (//)")
    return tuple(_segment(part) for part in (parts[:-1] if parts[-1] == "" else parts))


def _segment(text: str) -> Segment:
    pieces = _PARAMETER.split(text)
    literals = pieces[::2]
    for literal in literals:
        if "{" in literal or "}" in literal:
            raise BadTemplate("its braces do not enclose names")
        if ";" in literal:
            raise BadTemplate("it holds a semicolon, behind which the gateway reads parameters")
    try:
        if len(literals) == 1:
            return Segment((read_segment(text.encode()),))
        for literal in literals:        # a dot beside a parameter is a dot
            read_segment(f"-{literal}".encode())
    except BadTarget as error:
        raise BadTemplate(str(error)) from None
    return Segment(tuple(read_segment(f"-{literal}".encode())[1:] for literal in literals))


@dataclass(slots=True)
class _Node(Generic[T]):
    """A place in the tree: what may come next, and what ends here, by method."""

    literals: dict[str, _Node[T]] = field(default_factory=dict)
    mixed: dict[Segment, _Node[T]] = field(default_factory=dict)
    parameter: _Node[T] | None = None
    ends: dict[str, T] = field(default_factory=dict)

    def child(self, segment: Segment) -> _Node[T]:
        """The place behind a segment; made where it is not there."""
        if segment.is_literal:
            return self.literals.setdefault(segment.literals[0], _Node())
        if not segment.is_parameter:
            return self.mixed.setdefault(segment, _Node())
        self.parameter = self.parameter or _Node()
        return self.parameter

    def children(self, segment: Segment) -> Iterator[tuple[Segment, _Node[T]]]:
        """The segments here that meet another one."""
        if segment.is_literal:
            found = self.literals.get(segment.literals[0])
            if found is not None:
                yield segment, found
        else:
            for literal, node in self.literals.items():
                if segment.fits(literal):
                    yield Segment((literal,)), node
        for mixed, node in self.mixed.items():
            if mixed.meets(segment):
                yield mixed, node
        if self.parameter is not None:
            yield Segment(("", "")), self.parameter


class Routes(Generic[T]):
    """Something for each of many templates and methods. Filled once, then read."""

    __slots__ = ("_all", "_root")

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._all: list[tuple[tuple[Segment, ...], str, T]] = []

    def add(self, template: tuple[Segment, ...], method: str, value: T) -> T | None:
        """What was there for the same paths and method; else None, and it is there now."""
        node = self._root
        for segment in template:
            node = node.child(segment)
        if method in node.ends:
            return node.ends[method]
        node.ends[method] = value
        self._all.append((template, method, value))
        return None

    def find(self, method: str, segments: tuple[str, ...]) -> T | None:
        """What the most exact template holds that fits a path and has the method."""
        for node in self._ends(segments):
            found = node.ends.get(method)
            if found is not None:
                return found
        return None

    def methods(self, segments: tuple[str, ...]) -> frozenset[str]:
        """The methods of all templates that fit a path."""
        return frozenset(method for node in self._ends(segments) for method in node.ends)

    def _ends(self, segments: tuple[str, ...]) -> Iterator[_Node[T]]:
        """Where a path can end, the most exact place first."""
        todo, length = [(self._root, 0)], len(segments)
        while todo:
            node, at = todo.pop()
            if at == length:
                yield node
                continue
            segment, at = segments[at], at + 1
            if node.parameter is not None:
                todo.append((node.parameter, at))
            for mixed, behind in node.mixed.items():
                if mixed.fits(segment):
                    todo.append((behind, at))
            literal = node.literals.get(segment)
            if literal is not None:
                todo.append((literal, at))

    def clashes(self) -> Iterator[tuple[T, T]]:
        """Pairs with one method that some path fits both of, where each is the more exact in a place of its own, or neither
        anywhere: nobody knows which of them a backend takes. `BadTemplate` where there is too much to compare."""
        steps = 0
        for template, method, value in self._all:
            todo: list[tuple[_Node[T], int, frozenset[int | None]]] = [(self._root, 0, frozenset())]
            while todo:
                steps += 1
                if steps > _MOST_STEPS:
                    raise BadTemplate("too many templates fit the same paths")
                node, at, ways = todo.pop()
                if at == len(template):
                    other = node.ends.get(method)
                    if other is not None and other is not value and (None in ways or ways >= {-1, 1}):
                        yield value, other
                    continue
                for segment, behind in node.children(template[at]):
                    todo.append((behind, at + 1, ways | {template[at].exactness(segment)}))


@lru_cache(maxsize=64)
def templates_of(paths: tuple[str, ...]) -> Routes[str]:
    """A connection's own templates, each for every method (""). Of two that fit the same paths the first counts."""
    routes: Routes[str] = Routes()
    for path in paths:
        routes.add(read_template(path), "", path)
    return routes
