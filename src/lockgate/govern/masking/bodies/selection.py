"""Which members of a body are hidden: the masks of columns, read as masks of named members.

Apart from `analysis.sql.covers`, which asks a catalogue. A body has none, so names decide: the last part of a glob is
compared with the member's own name, whatever the case of its letters; the parts before it have to occur in this order among
the names around it (`BodyTerms.place`, then the members that it lies in), not necessarily next to each other. `*` asks
for nothing. A member that the request gave another name (`BodyTerms.renamed`) is named by both. Of four parts the first is the connection's name. `names` are searched in the member's name, `types` say
nothing here. JSON paths begin at the whole document, or at each member that the mask names. Rather too much is hidden than
too little.

It all becomes one automaton over names and indexes, made as documents need it and kept (`kernel.json_rules.JsonTables`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

import re2

from lockgate.analysis.sql.covers import Cover, cover_of
from lockgate.govern.masking.bodies.terms import Renamed
from lockgate.govern.masking.detector import REDACTED
from lockgate.govern.masking.json_paths import JsonPaths, States
from lockgate.govern.masking.json_values import leaf_of
from lockgate.govern.masking.prefilter import options
from lockgate.kernel.json_rules import JsonTables
from lockgate.model import ColumnMask, MaskMethod

_MOST_STATES: Final = 10_000
_MOST_NAMES: Final = 4_096                          # kept for one state
_LONGEST_NAME: Final = 128                          # bytes of a name that is kept
_ANY_LENGTH: Final = -1
_CONNECTION: Final = 4
_ASKED: Final = (b"",) * 4
_FIXED: Final = {
    method: tuple(leaf(value).encode() for value in ('""', "0", "true", "null"))
    for method, leaf in ((method, leaf_of(method, lambda _value: REDACTED, lambda _value: None))
                         for method in (MaskMethod.REDACT, MaskMethod.NULL))
}
"""What stands for a string (an object, an array), a number, true or false, and null, where it is always the same."""


@dataclass(frozen=True, slots=True)
class _Glob:
    """A mask's glob: the names that still have to come, one after the other, and the member's own."""

    mask: int
    around: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class _State:
    """Where a member lies. `done` counts the names that each glob has met, `paths` is what holds for each mask's
    paths, `hidden` are the masks that name it, `fresh` those whose paths begin at it.
    """

    done: tuple[int, ...]
    paths: tuple[States, ...]
    hidden: frozenset[int] = frozenset()
    fresh: frozenset[int] = frozenset()


class Selection:
    """The automaton of some masks. `covers` says for each number in `tables.arrays`, `objects` and `scalars` how such
    values are hidden, `labels` under which one name equal values get equal masks, as in results of SQL.
    """

    def __init__(
        self, masks: tuple[ColumnMask, ...], globs: tuple[_Glob, ...], deltas: tuple[str, ...] = (), renamed: Renamed = (),
    ) -> None:
        """`deltas` are paths to strings that are pieces of a longer text: where no mask hides one, `delta` does."""
        self._delta = frozenset((len(masks),)) if deltas else frozenset()
        if deltas:
            masks = (*masks, ColumnMask((), MaskMethod.PARTIAL, label="text", paths=deltas))
        self._covers = tuple(cover_of(mask, ", ".join(mask.columns or mask.names or mask.paths)) for mask in masks)
        self._globs = globs
        self._renamed = {name: tuple((one, one.casefold()) for one in meant) for name, meant in renamed}
        self._names = [(at, re2.compile(text.encode(), options()))
                       for at, mask in enumerate(masks) for text in mask.names]
        self._paths = tuple(JsonPaths(mask.paths) if mask.paths else None for mask in masks)
        named = frozenset(at for at, mask in enumerate(masks) if mask.columns or mask.names or mask.types or mask.is_new)
        begins = frozenset(at for at, one in enumerate(self._paths) if one is not None and at not in named)
        self._by_names = bool(globs or self._names)
        self._ids: dict[_State, int] = {}
        self._states: list[_State] = []
        self._hides: dict[frozenset[int], int] = {}
        self._below: dict[tuple[int, str], int] = {}
        self.delta = -1
        self.covers: list[Cover] = []
        self.labels: list[str] = []
        self.tables = JsonTables()
        self.tables.lengths = self._lengths()
        self._id(_State((0,) * len(globs), tuple(
            frozenset() if one is None or at not in begins else one.start for at, one in enumerate(self._paths)),
            fresh=begins))

    @property
    def is_idle(self) -> bool:
        """Whether nothing can be hidden in any document."""
        return not self.tables.alive[0] and self.tables.arrays[0] < 0 and self.tables.objects[0] < 0 and self.tables.scalars[0] < 0

    def member(self, state: int, name: bytes) -> int:
        """The state of a member whose name is written like this in JSON."""
        found = self._id(self._under(self._states[state], _text(name)))
        known = self.tables.known[state]
        if len(name) <= _LONGEST_NAME:
            if len(known) >= _MOST_NAMES:
                known.clear()
            known[name] = found
        return found

    def element(self, state: int, index: int) -> int:
        """The state of an array's element."""
        return self._id(self._at(self._states[state], index))

    def below(self, state: int, name: str) -> int:
        """The state of a member by its name as text."""
        found = self._below.get((state, name))
        if found is None:
            found = self._id(self._under(self._states[state], name))
            if len(self._below) >= _MOST_NAMES:
                self._below.clear()
            if len(name) <= _LONGEST_NAME:
                self._below[state, name] = found
        return found

    def hides_at(self, path: Iterable[str | int]) -> int:
        """What hides a string at the end of a path of names and indexes, or something that it lies in; -1 for nothing."""
        state, tables = 0, self.tables
        for step in path:
            is_index = isinstance(step, int)
            found = tables.arrays[state] if is_index else tables.objects[state]
            if found >= 0:
                return found
            state = self._id(self._at(self._states[state], step)) if isinstance(step, int) else (
                self.below(tables.inside[state], step))
        return tables.scalars[state]

    def _under(self, state: _State, name: str) -> _State:
        folded = name.casefold()
        also = self._renamed.get(folded, ())
        hidden = {at for at, pattern in self._names for one in (name, *(true for true, _ in also))
                  if pattern.search(one.encode("utf-8", "replace")) is not None}
        done = list(state.done)
        for place, glob in enumerate(self._globs):
            met = done[place]
            wanted = glob.name if met == len(glob.around) else glob.around[met]
            if not (fnmatchcase(folded, wanted) or any(fnmatchcase(one, wanted) for _, one in also)):
                continue
            if met == len(glob.around):
                hidden.add(glob.mask)
            else:
                done[place] = met + 1
        return self._next(tuple(done), tuple(
            states if one is None else one.under_key(states, name).union(*(one.under_key(states, true) for true, _ in also))
            for one, states in zip(self._paths, state.paths, strict=True)), hidden)

    def _other(self, state: _State) -> _State:
        """The state of a member whose name nothing knows."""
        return _State(state.done, tuple(
            states if one is None else one.under_key(states, None)
            for one, states in zip(self._paths, state.paths, strict=True)))

    def _at(self, state: _State, index: int) -> _State:
        return _State(state.done, tuple(
            states if one is None else one.under_index(states, index)
            for one, states in zip(self._paths, state.paths, strict=True)))

    def _next(self, done: tuple[int, ...], paths: tuple[States, ...], hidden: Iterable[int]) -> _State:
        """The masks that name the member hide it, or begin their paths at it."""
        begun = list(paths)
        whole, fresh = set(), set()
        for at in hidden:
            one = self._paths[at]
            if one is None:
                whole.add(at)
            else:
                begun[at] |= one.start
                fresh.add(at)
        return _State(done, tuple(begun), frozenset(whole), frozenset(fresh))

    # ------------------------------------------------------------ numbers

    def _id(self, state: _State) -> int:
        found = self._ids.get(state)
        if found is not None:
            return found
        number = len(self._states)
        if number >= _MOST_STATES:
            raise ValueError("the masks' globs and paths meet in too many ways in this document")
        self._ids[state] = number
        self._states.append(state)
        entered = tuple(states if one is None else one.entered(states)
                        for one, states in zip(self._paths, state.paths, strict=True))
        self.tables.known.append({})
        self.tables.arrays.append(self._hide((state.hidden | self._ends(state.paths)) - self._delta))
        self.tables.objects.append(self._hide((state.hidden | self._ends(entered)) - self._delta))
        self.tables.scalars.append(self._hide(state.hidden | self._ends(entered) | self._leads_on(entered) | state.fresh))
        self.tables.alive.append(int(self._by_names or any(state.paths)))
        for table in (self.tables.others, self.tables.elements, self.tables.inside):
            table.append(number)
        self.tables.others[number] = number if state == (other := self._other(state)) else self._id(other)
        self.tables.inside[number] = number if entered == state.paths else self._id(_State(state.done, entered))
        if any(one is not None and one.has_indexes and states for one, states in zip(self._paths, state.paths, strict=True)):
            self.tables.elements[number] = -1
        else:
            self.tables.elements[number] = self._id(self._at(state, -1))
        return number

    def _hide(self, masks: frozenset[int]) -> int:
        if not masks:
            return -1
        masks = (masks - self._delta) or masks
        found = self._hides.get(masks)
        if found is None:
            found = self._hides[masks] = len(self.covers)
            first, *rest = sorted(masks)
            cover = self._covers[first]
            for at in rest:
                cover |= self._covers[at]
            self.covers.append(cover)
            self.labels.append(", ".join(sorted(cover.labels)))
            if masks == self._delta:
                self.delta = found
            self.tables.fixed += _FIXED.get(cover.method, _ASKED)
        return found

    def _ends(self, paths: tuple[States, ...]) -> frozenset[int]:
        return frozenset(at for at, one in enumerate(self._paths) if one is not None and one.hides(paths[at]))

    def _leads_on(self, paths: tuple[States, ...]) -> frozenset[int]:
        return frozenset(at for at, one in enumerate(self._paths) if one is not None and one.wants_more(paths[at]))

    def _lengths(self) -> int:
        """The lengths of plain names that have to be looked up, as bits."""
        names = {name for glob in self._globs for name in (*glob.around, glob.name)}
        if self._names or any(mark in name for name in names for mark in "*?["):
            return _ANY_LENGTH
        for one in self._paths:
            names |= frozenset() if one is None else one.keys
        names |= self._renamed.keys()
        bits = 0
        for name in names:
            bits |= 1 << min(len(name.encode("utf-8", "replace")), 62)
        return bits


def selection(
    masks: tuple[ColumnMask, ...], place: tuple[str, ...], deltas: tuple[str, ...] = (), renamed: Renamed = (),
) -> Selection:
    """The automaton for a body of this place. Kept: places that differ in names which no glob means have one together."""
    return _made(masks, tuple(_globs(masks, place)), deltas, renamed)


@lru_cache(maxsize=256)
def _made(masks: tuple[ColumnMask, ...], globs: tuple[_Glob, ...], deltas: tuple[str, ...], renamed: Renamed) -> Selection:
    return Selection(masks, globs, deltas, renamed)


def _globs(masks: tuple[ColumnMask, ...], place: tuple[str, ...]) -> Iterable[_Glob]:
    folded: list[str] | None = None
    for at, mask in enumerate(masks):
        for text in mask.columns:
            if "." not in text:
                yield _Glob(at, (), text.casefold())
                continue
            if folded is None:
                folded = [name.casefold() for name in place]
            *around, name = text.casefold().split(".")
            if len(around) >= _CONNECTION - 1:
                connection = around.pop(0)
                if folded and not fnmatchcase(folded[0], connection):
                    continue
            yield _Glob(at, _left([part for part in around if part != "*"], folded), name)


def _left(around: list[str], place: list[str]) -> tuple[str, ...]:
    """The names that `place` does not have, in their order."""
    met = 0
    for name in place:
        if met < len(around) and fnmatchcase(name, around[met]):
            met += 1
    return tuple(around[met:])


def _text(name: bytes) -> str:
    """A name as it is meant: its escapes undone."""
    if b"\\" in name:
        return str(json.loads(b'"' + name + b'"'))
    return name.decode("utf-8", "replace")
