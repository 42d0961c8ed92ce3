"""JSON by path: which values of a document are hidden, and the document with only these replaced.

Apart from the masks, which say what stands there instead (`Leaf`). The language is a small part of SQL/JSON's:

    $.a.b   $.items[*].ssn   $.items[0]   $..ssn   $.*   $["any key"]

in its lax mode, read so that more is hidden rather than less: an array on the way to a key is looked through, and an
index of what is no array means the thing itself. A scalar where a path wants to go further is hidden, because it may
be a document written as text. Keys are compared after their escapes are undone; of two equal keys both are hidden.

The document is read once, by its own tokens (RFC 8259), so that what is not hidden stays byte for byte: numbers of any
precision, order, spaces, equal keys. What is no JSON, or nested deeper than `DEEPEST`, raises ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

DEEPEST: Final = 512
MOST_STEPS: Final = 64
_MOST_KEPT: Final = 4_096

Leaf = Callable[[str], str]
"""The JSON text of a hidden value (a scalar, an object, an array) becomes another JSON text."""

_STEP: Final = re.compile(
    r'(\.\.?)(?:([A-Za-z_][A-Za-z0-9_]*)|\*)|\[(?:(\*)|([0-9]{1,6}))\]|\["([^"\\]{1,200})"\]')
_TOKEN: Final = re.compile(
    r'[ \t\n\r]*(?:([\[\]{},:])|("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")'
    r'|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?![0-9A-Za-z.+-]))')
_SPACE: Final = re.compile(r"[ \t\n\r]*")


class _Kind(Enum):
    KEY = auto()
    ANY_KEY = auto()
    INDEX = auto()
    ANY_INDEX = auto()


@dataclass(frozen=True, slots=True)
class _Step:
    kind: _Kind
    key: str = ""
    index: int = 0
    is_deep: bool = False


States = frozenset[int]
"""Numbers of the steps that may come next."""


def parse_path(text: str) -> tuple[_Step, ...]:
    """The steps of a path. ValueError that says what is wrong with it."""
    if not text.startswith("$"):
        raise ValueError(f"the JSON path {text[:80]!r} does not begin with $")
    steps: list[_Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or len(steps) >= MOST_STEPS:
            raise ValueError(f"the JSON path {text[:80]!r} cannot be read from character {at + 1} on; "
                             'write steps as .key, ..key, .*, [*], [0] or ["key"]')
        dots, key, star, index, quoted = found.groups()
        if dots is not None:
            steps.append(_Step(_Kind.ANY_KEY if key is None else _Kind.KEY, key or "", is_deep=dots == ".."))
        elif quoted is not None:
            steps.append(_Step(_Kind.KEY, quoted))
        else:
            steps.append(_Step(_Kind.ANY_INDEX) if star else _Step(_Kind.INDEX, index=int(index)))
        at = found.end()
    if not steps:
        raise ValueError("the JSON path $ is the whole value; leave the paths out to hide it")
    return tuple(steps)


class JsonPaths:
    """Paths, ready to be applied. Every step of every path has a number; a set of them says what may come next."""

    __slots__ = ("_by_index", "_by_key", "_ends", "_entered", "_indexes", "_keys", "_near", "_start", "_steps")

    def __init__(self, paths: Iterable[str]) -> None:
        """ValueError for a path that cannot be read, and for none."""
        self._steps: list[_Step | None] = []        # None: the path has been gone to its end
        start = []
        for path in dict.fromkeys(paths):
            start.append(len(self._steps))
            self._steps += [*parse_path(path), None]
        if not start:
            raise ValueError("no JSON path is given")
        self._start: States = frozenset(start)
        self._keys = {step.key for step in self._steps if step is not None and step.kind is _Kind.KEY}
        self._ends = {at for at, step in enumerate(self._steps) if step is None}
        self._near = {at for at, step in enumerate(self._steps) if step is not None and not step.is_deep}
        self._indexes = {step.index for step in self._steps if step is not None and step.kind is _Kind.INDEX}
        self._by_index: dict[tuple[States, int | None], States] = {}
        self._by_key: dict[tuple[States, str | None], States] = {}
        self._entered: dict[States, States] = {}

    def apply(self, text: str, leaf: Leaf) -> str:
        """The document with every hidden value replaced. ValueError for what is no JSON."""
        return _Reading(self, text, leaf).run()

    def entered(self, states: States) -> States:
        """What holds for a value that is no array: an index of it means the value. Kept, as by `under_key`."""
        kept = self._entered.get(states)
        if kept is not None:
            return kept
        found = set(states)
        todo = list(states)
        while todo:
            at = todo.pop()
            step = self._steps[at]
            if step is not None and step.kind in (_Kind.INDEX, _Kind.ANY_INDEX) and at + 1 not in found:
                found.add(at + 1)
                todo.append(at + 1)
        made = frozenset(found)
        if len(self._entered) < _MOST_KEPT:
            self._entered[states] = made
        return made

    def hides(self, states: States) -> bool:
        """Whether a path ends at the value."""
        return not states.isdisjoint(self._ends)

    def wants_more(self, states: States) -> bool:
        """Whether a path leads exactly here and further."""
        return not states.isdisjoint(self._near)

    @property
    def start(self) -> States:
        """What holds for the whole document."""
        return self._start

    @property
    def has_indexes(self) -> bool:
        """Whether a path names an array's element by its index."""
        return bool(self._indexes)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that paths name."""
        return frozenset(self._keys)

    def under_key(self, states: States, key: str | None) -> States:
        """What holds for the member of an object, None for any that no path names. Kept for the few keys that paths name."""
        known = key if key in self._keys else None
        found = self._by_key.get((states, known))
        if found is None:
            found = frozenset(self._next(states, known))
            if len(self._by_key) < _MOST_KEPT:
                self._by_key[states, known] = found
        return found

    def _next(self, states: States, key: str | None) -> Iterable[int]:
        for at in states:
            step = self._steps[at]
            if step is None:
                continue
            if step.is_deep:
                yield at
            if step.kind is _Kind.ANY_KEY or (step.kind is _Kind.KEY and step.key == key):
                yield at + 1

    def under_index(self, states: States, index: int) -> States:
        """What holds for the element of an array: keys look through it. Kept for the few indexes that paths name."""
        known = index if index in self._indexes else None
        found = self._by_index.get((states, known))
        if found is None:
            found = self._at_index(states, index)
            if len(self._by_index) < _MOST_KEPT:
                self._by_index[states, known] = found
        return found

    def _at_index(self, states: States, index: int) -> States:
        found = set()
        for at in states:
            step = self._steps[at]
            if step is None:
                continue
            if step.kind in (_Kind.KEY, _Kind.ANY_KEY):
                found.add(at)
            elif step.kind is _Kind.ANY_INDEX or step.index == index:
                found.add(at + 1)
        return frozenset(found)


@dataclass(slots=True)
class _Container:
    """An object or array that is being read. `index` counts an array's elements."""

    is_object: bool
    states: States
    start: int
    is_hidden: bool
    index: int = 0


class _Reading:
    """One document, token by token, with a stack of what is open."""

    def __init__(self, paths: JsonPaths, text: str, leaf: Leaf) -> None:
        self._paths = paths
        self._text = text
        self._leaf = leaf
        self._at = 0
        self._out: list[str] = []
        self._done = 0
        self._stack: list[_Container] = []
        self._hidden = 0                            # how many open containers are hidden as a whole

    def run(self) -> str:
        self._value(self._paths.start)
        while self._stack:
            self._member(self._stack[-1])
        if _SPACE.fullmatch(self._text, self._at) is None:
            raise ValueError("something follows a JSON document")
        return "".join([*self._out, self._text[self._done:]]) if self._out else self._text

    def _token(self) -> tuple[str, str, int]:
        """The next token: what of it is a mark, what else it is, and where it begins."""
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise ValueError("not JSON")
        self._at = found.end()
        mark, string, word = found.groups()
        rest = string or word or ""
        return mark or "", rest, found.end() - len(mark or rest)

    def _value(self, states: States, token: tuple[str, str, int] | None = None) -> None:
        mark, _, start = token or self._token()
        if mark == "[":
            self._open(False, states, start, self._paths.hides(states))
        elif mark == "{":
            states = self._paths.entered(states)
            self._open(True, states, start, self._paths.hides(states))
        elif not mark:
            states = self._paths.entered(states)
            if not self._hidden and (self._paths.hides(states) or self._paths.wants_more(states) or not self._stack):
                self._replace(start)
        else:
            raise ValueError("not JSON")

    def _open(self, is_object: bool, states: States, start: int, is_hidden: bool) -> None:
        if len(self._stack) >= DEEPEST:
            raise ValueError("JSON is nested too deeply")
        is_hidden = is_hidden and not self._hidden
        self._hidden += is_hidden
        self._stack.append(_Container(is_object, states, start, is_hidden))

    def _member(self, container: _Container) -> None:
        """One member with the comma before it, or the end of the container."""
        token = self._token()
        if token[0] == ("}" if container.is_object else "]"):
            self._close(container)
            return
        if container.index:
            if token[0] != ",":
                raise ValueError("not JSON")
            token = self._token()
        if container.is_object:
            if not token[1].startswith('"'):
                raise ValueError("not JSON")
            key = token[1][1:-1] if "\\" not in token[1] else str(json.loads(token[1]))
            if self._token()[0] != ":":
                raise ValueError("not JSON")
            states, value = self._paths.under_key(container.states, key), None
        else:
            states, value = self._paths.under_index(container.states, container.index), token
        container.index += 1
        self._value(states, value)

    def _close(self, container: _Container) -> None:
        self._stack.pop()
        if container.is_hidden:
            self._hidden -= 1
            self._replace(container.start)

    def _replace(self, start: int) -> None:
        self._out += (self._text[self._done:start], self._leaf(self._text[start:self._at]))
        self._done = self._at


