"""Which routines a statement may run, with the catalogue: those it calls, and those that nobody wrote as a call.

Apart from `closure`, which asks the same of what these run. A name stands for every routine of that name in
every schema (functions are never looked for among temporary objects: manual, "CREATE FUNCTION" and
`search_path`), so that a search path changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.code import Name, Routine
from lockgate.analysis.sql.definitions import definition_of
from lockgate.analysis.sql.functions import is_admitted, is_builtin
from lockgate.analysis.sql.reading import Reading, Use


class Call(NamedTuple):
    """One call as people read it, and what it may run. `is_unknown`: also code of which the catalogue knows nothing,
    or built-in code that does more than compute."""

    shown: str
    routines: tuple[Routine, ...] = ()
    is_unknown: bool = False

    @property
    def is_block(self) -> bool:
        """Whether it is a DO, whose text comes from the client: nothing keeps it for long."""
        return self.shown == "DO"


def calls_of(reading: Reading, catalogue: Catalogue, types: Iterable[Name] = (), rows: Iterable[Name] = ()) -> Iterator[Call]:
    """Every call that is not one of a function of its arguments alone."""
    for schema, name in dict.fromkeys(reading.functions):
        if name == "set_config" and schema in (None, "pg_catalog") and "function set_config" not in reading.opaque:
            continue
        call = named(schema, name, catalogue, reading.arities.get((schema, name), frozenset((-1,))))
        if call is not None:
            yield call
    for text in reading.blocks:
        yield Call("DO", (Routine("", "DO", False, language="block", definition=text),))
    yield from _operators(reading, catalogue)
    yield from _casts(reading, catalogue, types, rows)
    for name in reading.attributes | reading.keywords:
        found = tuple(routine for routine in catalogue.functions.get(name, ())
                      if not routine.is_pure and (routine.takes_row or name in reading.keywords))
        if found:
            yield Call(f"function {name}", found)


def behind_views(reading: Reading, catalogue: Catalogue) -> Iterator[Call]:
    """Every call that the views which a statement names run, at any depth; not those of an extension's own views, which
    is trusted as the server is."""
    kept = catalogue.derived.setdefault("behind views", {})
    assert isinstance(kept, dict)
    for schema, name, kind in dict.fromkeys((use.schema, use.name, _kind_run(use)) for use in reading.uses):
        for relation in catalogue.candidates(schema, name) if kind else ():
            if relation.kind == kind and relation.definition is not None and not relation.is_extension:
                found: tuple[Call, ...] | None = kept.get(relation.oid)
                if found is None:
                    found = kept[relation.oid] = tuple(dict.fromkeys(_behind(relation, catalogue)))
                yield from found


def _kind_run(use: Use) -> str:
    """The kind of view whose definition runs where it is named like this: a materialised one when it is refreshed."""
    return "m" if use.context == "RefreshMatViewStmt" else "v" if use.kind in ("read", "copy", "target") else ""


def _behind(view: Relation, catalogue: Catalogue) -> Iterator[Call]:
    seen: set[int] = set()
    stack = [view]
    while stack:
        relation = stack.pop()
        if relation.oid in seen:
            continue
        seen.add(relation.oid)
        found = definition_of(relation.definition or "")
        if found is None:
            yield Call(f"view {relation.name}", is_unknown=True)
            continue
        yield from calls_of(found.reading, catalogue)
        stack += [below for use in found.reading.uses for below in catalogue.candidates(use.schema, use.name)
                  if below.kind == "v" and below.definition is not None and not below.is_extension]


def named(schema: str | None, name: str, catalogue: Catalogue, counts: Iterable[int] = (-1,)) -> Call | None:
    """A call by name, or None where it is a function of its arguments alone."""
    routines = [routine for routine in catalogue.functions.get(name, ()) if schema in (None, routine.schema)]
    if not is_admitted(schema, name) and (not routines or (schema in (None, "pg_catalog") and is_builtin(name))):
        return Call(f"function {name}", is_unknown=True)
    counts = tuple(counts)
    impure = tuple(routine for routine in routines if not routine.is_pure and any(map(routine.takes, counts)))
    return Call(f"function {name}", impure) if impure else None


def _operators(reading: Reading, catalogue: Catalogue) -> Iterator[Call]:
    if not catalogue.operators:
        return
    for schema, name in reading.operators:
        found = tuple(routine for routine in catalogue.operators.get(name, ())
                      if not routine.is_pure and schema in (None, routine.schema))
        if found:
            yield Call(f"operator {name}", found)


def _casts(reading: Reading, catalogue: Catalogue, types: Iterable[Name], rows: Iterable[Name]) -> Iterator[Call]:
    """Casts, and checks of domains: of the types that are named and of the columns of the relations that are."""
    code = catalogue.code
    if not code.casts and not code.domains:
        return
    for name in dict.fromkeys(name for _, name in (*reading.types, *types)):
        if name in code.casts:
            yield _cast(f"cast to or from {name}", code.casts[name], catalogue)
        if name in code.domains:
            yield Call(f"domain {name}", code.domains[name])
    for schema, name in dict.fromkeys((*((use.schema, use.name) for use in reading.uses), *rows)):
        for relation in catalogue.candidates(schema, name):
            for kind in catalogue.casting.get(relation.oid, ()):
                yield _cast(f"casts of {name}'s types", code.casts[kind], catalogue)


def _cast(shown: str, functions: tuple[Name, ...], catalogue: Catalogue) -> Call:
    calls = [named(schema, name, catalogue) for schema, name in functions]
    return Call(shown, tuple(routine for call in calls if call is not None for routine in call.routines),
                any(call is not None and call.is_unknown for call in calls))


def parts_of(routine: Routine, catalogue: Catalogue) -> Iterator[Call]:
    """What an aggregate or operator runs by its definition."""
    for schema, name in routine.parts:
        call = named(schema, name, catalogue)
        if call is not None:
            yield call


