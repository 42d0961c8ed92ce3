"""Scopes and the resolution of names in them (manual, "Value Expressions", "Lexical Structure").

A scope is one query's level: the items of its FROM. A name is looked for from the inside outwards, as the
server does it (`colNameToVar`, `refnameNamespaceItem`), but every doubt is a union: a column that an item
might have that is not fully known, an item that can mean several relations. A name that is found nowhere
ends the analysis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lockgate.analysis.sql.taint.result import NOTHING, Control, Equality, Source, Sources, Write
from lockgate.analysis.sql.taint.rows import CLEAN, SYSTEM_COLUMNS, Row, Value, merged

Node = dict[str, Any]

MAX_WORK: Final = 100_000
"""Nodes visited and items looked at, for one statement or one view: some 20 ms."""

_MENTION: Final = 10
"""What is kept of a reference costs as much as this many nodes."""


class Budget:
    """The work that may still be spent on the statements of one string."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_WORK) -> None:
        self.left = left


class Top(Exception):
    """Everything has to count as sensitive. The text says why, for the record and for people; `column` is the name that
    is found nowhere, if that is why."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.column = column


class Item:
    """What one entry of a FROM makes visible: as `name.column` (`is_named`), as `column` (`is_open`).

    `schemas` are those of the relations that it can mean, where it has no alias and so can be named with
    a schema; None otherwise. `is_target`: the row that DML changes.
    """

    __slots__ = ("is_named", "is_open", "is_target", "name", "row", "schemas")

    def __init__(self, name: str | None, row: Row, schemas: frozenset[str] | None = None, *,
                 is_named: bool = True, is_open: bool = True, is_target: bool = False) -> None:
        self.name = name
        self.row = row
        self.schemas = schemas
        self.is_named = is_named and name is not None
        self.is_open = is_open
        self.is_target = is_target


class Scope:
    """One level of names. `ctes` are the WITH queries in reach; `has_with`: the level's own WITH made them."""

    __slots__ = ("ctes", "has_with", "items", "parent", "windows")

    def __init__(self, items: list[Item], parent: Scope | None, ctes: Mapping[str, Any],
                 has_with: bool = False) -> None:
        self.items = items
        self.parent = parent
        self.ctes = ctes
        self.has_with = has_with
        self.windows: dict[str, Sources] = {}


class Mention(NamedTuple):
    """A `Reference` in the making."""

    location: int
    names: tuple[str, ...]
    sources: Sources
    direct: Source | None
    is_target: bool
    in_returning: bool


class Names:
    """Resolves column references and keeps what is found on the way."""

    def __init__(self) -> None:
        self.work = MAX_WORK
        self.mentions: list[Mention] = []
        self.outputs: set[int] = set()                  # locations of references that are whole output items
        self.controls: dict[Control, None] = {}
        self.equalities: dict[Equality, None] = {}
        self.writes: list[Write] = []
        self.computed = NOTHING
        self.in_returning = False
        self._first: dict[Source, int] = {}             # where each source is mentioned first
        self._meant_target = False                      # whether the name just resolved means a DML target

    def spend(self, work: int) -> None:
        """Ends the analysis where a statement asks for too much of it."""
        self.work -= work
        if self.work < 0:
            raise Top("the statement is too complex")

    # ---------------------------------------------------------------- records

    def control(self, where: str, sources: Sources, since: int, location: int = -1) -> None:
        """Notes that rows depend on the sources, at the first reference after `since` that brought each in."""
        for source in sources:
            found = self._first.get(source, location) if not since else location
            for index in range(since, len(self.mentions) if since else 0):
                if source in self.mentions[index].sources:
                    found = self.mentions[index].location
                    break
            self.controls[Control(source, where, found)] = None

    def mention(self, location: int, names: tuple[str, ...], value: Value) -> None:
        """Notes that a name in the text stands for labelled columns."""
        self.work -= _MENTION + len(value[0])
        self.mentions.append(Mention(location, names, value[0], value[1], self._meant_target, self.in_returning))
        for source in value[0]:
            self._first.setdefault(source, location)

    # ---------------------------------------------------------------- names

    def may_be_function(self, name: str) -> bool:
        """Whether a function of that name may exist, so that `row.name` calls it where the row has no such column."""
        raise NotImplementedError

    def column(self, node: Node, scope: Scope | None) -> Value:
        """What a ColumnRef stands for: a column, a whole row, or all columns of an item or of the scope."""
        fields = node["fields"]
        last = fields[-1]
        if "A_Star" in last:
            value = self._star([field["String"]["sval"] for field in fields[:-1]], scope)
        else:
            name = last["String"]["sval"]
            if len(fields) == 1:
                value = self._unqualified(name, scope)
            elif len(fields) == 2:
                table = fields[0]["String"]["sval"]
                items = self._items(table, scope)
                if not items:
                    raise Top(f'"{table}" is not in its FROM')
                value = self._of(items, name)
            else:
                value = self._of(self._named([field["String"]["sval"] for field in fields[:-1]], scope), name)
        if value[0]:
            names = tuple("*" if "A_Star" in field else field["String"]["sval"] for field in fields)
            self.mention(node.get("location", 0), names, value)
        if self.work < 0:
            self.spend(0)
        return value

    def field(self, node: Node, name: str, scope: Scope) -> Value:
        """`(t).column`, where the ColumnRef `t` may be a composite column or a row."""
        fields = node["fields"]
        if len(fields) == 1 and "String" in fields[0]:
            table = fields[0]["String"]["sval"]
            if self._lookup(table, scope) is None:
                items = self._items(table, scope)
                if items:
                    value = self._of(items, name)
                    if value[0]:
                        self.mention(node.get("location", 0), (table, name), value)
                    return value
        return self.column(node, scope)[0], None

    def _unqualified(self, name: str, scope: Scope | None) -> Value:
        found = self._lookup(name, scope)
        if found is not None and not found[1]:
            return found[0]
        meant_target = self._meant_target
        rows = self._items(name, scope)                 # the whole row of an item of that name
        if found is None and not rows:
            raise Top(f'column "{name}" is not known', name)
        sources = NOTHING if found is None else found[0][0]
        for item in rows:
            sources |= item.row.whole
            meant_target |= item.is_target
        self._meant_target = meant_target
        return sources, None

    def _lookup(self, name: str, scope: Scope | None) -> tuple[Value, bool] | None:
        """The column of that name and whether it may be something else after all; None where there is none."""
        value: Value | None = None
        is_doubtful = False
        self._meant_target = False
        level = scope
        while level is not None:
            found, rest, is_certain = self._on_level(name, level)
            if is_certain:                              # what is not known here has no such column: it would be ambiguous
                assert found is not None
                return (found if value is None else (value[0] | found[0], None)), False
            if rest is not None:
                found = (rest, None) if found is None else (found[0] | rest, None)
            if found is not None:
                is_doubtful = True
                value = found if value is None else (value[0] | found[0], None)
            level = level.parent
        return None if value is None else ((value[0], None), is_doubtful)

    def _on_level(self, name: str, level: Scope) -> tuple[Value | None, Sources | None, bool]:
        """What a level has under a name: columns, columns that are not known, and whether it surely has one."""
        value: Value | None = None
        rest: Sources | None = None
        is_certain = False
        self.work -= len(level.items)
        for item in level.items:
            if not item.is_open:
                continue
            row = item.row
            found = row.named.get(name)
            if found is None:
                if name in SYSTEM_COLUMNS and row.has_system:
                    found = CLEAN
                elif row.rest is None:
                    continue
                else:
                    rest = row.rest if rest is None else rest | row.rest
                    self._meant_target |= item.is_target
                    continue
            is_certain |= name not in row.maybe
            value = found if value is None else merged(value, found)
            self._meant_target |= item.is_target
        return value, rest, is_certain

    def _items(self, name: str, scope: Scope | None) -> list[Item]:
        """The items of that name on the nearest level that has one."""
        self._meant_target = False
        while scope is not None:
            self.work -= len(scope.items)
            found = [item for item in scope.items if item.name == name and item.is_named]
            if found:
                return found
            scope = scope.parent
        return []

    def _named(self, names: list[str], scope: Scope | None) -> list[Item]:
        """The items that `[[database.]schema.]name` can mean."""
        items: list[Item] = []
        if len(names) == 1:
            items = self._items(names[0], scope)
        elif len(names) <= 3:
            self._meant_target = False
            while scope is not None:
                self.spend(len(scope.items))
                items += [item for item in scope.items if item.name == names[-1] and item.is_named
                          and item.schemas is not None and names[-2] in item.schemas]
                scope = scope.parent
        if not items:
            raise Top(f'"{".".join(names)}" is not known')
        return items

    def _of(self, items: list[Item], name: str) -> Value:
        """A column of the items, or a function of their whole rows that is written like one."""
        value: Value | None = None
        for item in items:
            row = item.row
            found = row.named.get(name)
            if found is None:
                is_system = name in SYSTEM_COLUMNS and row.has_system
                if not is_system and row.rest is None and not self.may_be_function(name):
                    raise Top(f'column "{item.name}.{name}" is not known', f"{item.name}.{name}")
                found = CLEAN if is_system else (row.whole, None)
            elif row.maybe and name in row.maybe:
                found = (found[0] | row.maybe[name], None)
            value = found if value is None else merged(value, found)
            if item.is_target:
                self._meant_target = True
        assert value is not None
        return value

    def _star(self, names: list[str], scope: Scope | None) -> Value:
        sources = NOTHING
        items = self.star_items(names, scope)
        self._meant_target = False
        for item in items:
            sources |= item.row.whole
            self._meant_target |= item.is_target
        return sources, None

    def star_items(self, names: list[str], scope: Scope | None) -> list[Item]:
        """The items whose columns `*` or `name.*` expands to, in their order."""
        if names:
            return self._named(names, scope)
        return [] if scope is None else [item for item in scope.items if item.is_open]
