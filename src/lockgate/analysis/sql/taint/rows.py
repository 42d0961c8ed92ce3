"""Rows: which names a relation's columns have and which labelled columns each of them depends on.

A row may end or go on with columns that are not known: system catalogues, temporary relations of the
session, functions. Such a *run* is one entry without a name. `Row` is immutable; those of relations are
made once per catalogue and labels (`relations`), those of queries as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lockgate.analysis.sql.taint.result import NOTHING, Source, Sources

Column = tuple[str | None, Sources, Source | None]
"""Name (None: a run of any number of columns), what it depends on, and the column whose value it is."""

Value = tuple[Sources, Source | None]
"""The same of an expression."""

CLEAN: Final[Value] = (NOTHING, None)
SYSTEM_COLUMNS: Final = frozenset(("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"))
"""Of every table, behind the names of its own (manual, "System Columns"). They are never labelled."""


class Row:
    """The columns of one relation, query or function."""

    __slots__ = ("columns", "has_system", "maybe", "named", "rest", "whole")

    def __init__(self, columns: Sequence[Column], has_system: bool = False) -> None:
        self.columns = columns
        self.has_system = has_system
        self.maybe: dict[str, Sources] = {}
        """Names that only some of the relations have that can be meant, and what the whole rows of the others hold."""
        self.rest: Sources | None = None
        """What columns depend on that are not known; None where all are known."""
        named: dict[str, Value] = {}
        whole = NOTHING
        for name, sources, direct in columns:
            if sources:
                whole |= sources
            if name is None:
                self.rest = sources if self.rest is None else self.rest | sources
            elif name in named:
                named[name] = merged(named[name], (sources, direct))
            else:
                named[name] = (sources, direct)
        self.named = named
        self.whole = whole

    def renamed(self, names: Sequence[str]) -> Row:
        """The row under an alias with column names: `AS t (a, b)` renames from the left."""
        return Row(renamed(self.columns, names), self.has_system) if names else self


UNKNOWN: Final = Row([(None, NOTHING, None)])
"""A relation of which nothing is known and nothing is labelled."""


def merged(one: Value, two: Value) -> Value:
    """A value that may be either."""
    if one == two:
        return one
    return one[0] | two[0], one[1] if one[1] == two[1] else None


def union(columns: Iterable[Column]) -> Sources:
    """What any of the columns depends on."""
    sources = NOTHING
    for column in columns:
        if column[1]:
            sources |= column[1]
    return sources


def renamed(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns with new names from the left. Where a run comes first, each may be any that follows."""
    found: list[Column] = []
    for index, name in enumerate(names):
        if index >= len(columns):
            break                               # more names than columns: the server's error
        old, sources, direct = columns[index]
        if old is None:
            every = union(columns[index:])
            found += [(new, every, None) for new in names[index:]]
            found.append((None, every, None))
            return found
        found.append((name, sources, direct))
    return found + list(columns[len(found):])


def aligned(left: Sequence[Column], right: Sequence[Column]) -> list[Column]:
    """Columns of two queries on top of each other, under the names of the left one."""
    if len(left) != len(right) or any(column[0] is None for column in (*left, *right)):
        return [(None, union(left) | union(right), None)]
    return [(one[0], *merged((one[1], one[2]), (two[1], two[2]))) for one, two in zip(left, right, strict=True)]


def either(rows: Sequence[Row]) -> Row:
    """The row of a name that can mean several relations."""
    first = rows[0]
    if len(rows) == 1:
        return first
    names = [column[0] for column in first.columns]
    if all([column[0] for column in row.columns] == names for row in rows):
        columns: Sequence[Column] = first.columns
        for row in rows[1:]:
            columns = aligned(columns, row.columns) if None not in names else [(None, union(columns) | row.whole, None)]
        return Row(columns, all(row.has_system for row in rows))
    whole = NOTHING
    for row in rows:
        whole |= row.whole
    found = Row([(None, whole, None)], all(row.has_system for row in rows))
    rests = [row.rest for row in rows if row.rest is not None]
    found.rest = NOTHING.union(*rests) if rests else None
    every = frozenset(name for row in rows for name in row.named)
    for row in rows:
        for name, value in row.named.items():
            found.named[name] = merged(found.named[name], value) if name in found.named else value
    for name in every:
        others = [row.whole for row in rows if name not in row.named]
        if others:
            found.maybe[name] = NOTHING.union(*others)
    return found
