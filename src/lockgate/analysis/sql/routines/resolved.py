"""A statement with the effects of the routines that it calls: what a policy sees once there is a catalogue.

Apart from `effects`, which reads the text alone and has to count every function that it does not know as every
effect. Verbs and facts of all that runs are added; what can be read from a routine's text only is what counts.
A view's functions run in the statement that reads it. Triggers, rules and the like, which the database's owner has
set behind a relation, are no part of a statement's own effects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.functions import is_builtin
from lockgate.analysis.sql.reading import Reading
from lockgate.analysis.sql.routines.bodies import Body
from lockgate.analysis.sql.routines.calls import behind_views, calls_of
from lockgate.analysis.sql.routines.closure import Closure, closure_of
from lockgate.analysis.sql.statement import CATALOGUE_VERBS, VERBS, Statement

_LISTS: Final = ("relations", "columns_written", "functions", "sets", "creates")
_MOST_KEPT: Final = 4_096


def resolved(statement: Statement, catalogue: Catalogue) -> Statement:
    """The statement with the verbs and facts of all that it runs; itself where the catalogue adds nothing.

    Where something that it runs is not known after all (a function with the name of a built-in one), it becomes
    opaque. Call it with a catalogue that knows all the code that the session may have made.
    """
    reading = statement.whole.reading
    if reading is None:
        return statement
    if not statement.is_opaque and not has_hidden_code(catalogue) and next(behind_views(reading, catalogue), None) is None:
        return statement
    if any(not why.startswith("function ") and why not in ("CALL", "DO") for why in reading.opaque):
        return statement
    closures = _closures(statement, reading, catalogue)
    if not closures and not statement.is_opaque:
        return statement
    if any(closure.opaque is not None for closure in closures):
        return statement if statement.is_opaque else _opaque(statement, closures)
    return _with(statement, reading, closures)


def has_hidden_code(catalogue: Catalogue) -> bool:
    """Whether a statement may run somebody's code without the name of a function that is not built in."""
    found = catalogue.derived.get("has hidden code")
    if found is None:
        found = catalogue.derived["has hidden code"] = bool(
            catalogue.code.casts or catalogue.code.domains
            or any(not routine.is_pure for routines in catalogue.operators.values() for routine in routines)
            or any(not routine.is_pure and (routine.takes_row or is_builtin(name))
                   for name, routines in catalogue.functions.items() for routine in routines))
    return bool(found)


def _closures(statement: Statement, reading: Reading, catalogue: Catalogue) -> tuple[Closure, ...]:
    """What the calls of a statement lead to; kept, because a shape has many statements."""
    kept = catalogue.derived.setdefault("resolved", {})
    assert isinstance(kept, dict)
    key = statement.whole.key
    found: tuple[Closure, ...] | None = kept.get(key)
    if found is None:
        found = tuple(closure_of(call, catalogue) for call in dict.fromkeys(
            (*calls_of(reading, catalogue), *behind_views(reading, catalogue))))
        if not reading.blocks:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            kept[key] = found
    return found


def _key(statement: Statement, closures: Iterable[Closure]) -> bytes:
    digest = hashlib.blake2b(statement.key, digest_size=16)
    for closure in closures:
        digest.update(closure.digest)
    return digest.digest()


def _opaque(statement: Statement, closures: Iterable[Closure]) -> Statement:
    facts = {**statement.facts, "is_opaque": True, "has_where": False, "changes_catalogue": True}
    return replace(statement, key=_key(statement, closures), verbs=VERBS, facts=facts, is_opaque=True,
                   changes_catalogue=True)


def _with(statement: Statement, reading: Reading, closures: tuple[Closure, ...]) -> Statement:
    bodies = tuple({id(body): body for closure in closures for body in closure.bodies}.values())
    inner = [body.statement for body in bodies if body.statement is not None]
    verbs = set(reading.verbs) if statement.is_opaque else set(statement.verbs)
    for body in bodies:
        verbs |= _verbs(body)
    changes = not CATALOGUE_VERBS.isdisjoint(verbs)
    before = statement.facts
    facts: dict[str, object] = {**before, "is_opaque": False, "changes_catalogue": changes}
    facts["has_where"] = not reading.unbounded and all(one.facts["has_where"] for one in inner)
    for fact in ("tautology", "touches_files"):
        facts[fact] = bool(before[fact]) or any(bool(one.facts[fact]) for one in inner)
    for fact in _LISTS:
        facts[fact] = _union(before[fact], *(one.facts[fact] for one in inner))
    facts["columns_read"] = _union(before["columns_read"], *map(_columns, bodies))
    made = statement.reading
    if made is not None and any(one.created for one in inner):
        made = _making(made, inner)
    sets = tuple(dict.fromkeys((*statement.sets, *(name for one in inner for name in one.sets))))
    return replace(
        statement, key=_key(statement, closures), verbs=frozenset(verbs), facts=facts,
        objects=tuple(dict.fromkeys((*statement.objects, *(name for one in inner for name in one.objects)))),
        is_opaque=False, changes_catalogue=changes, runs_code=True, sets=sets,
        search_path=statement.search_path if sets == statement.sets else None,
        transaction=(*statement.transaction, *(word for one in inner for word in one.transaction)),
        created=tuple(dict.fromkeys((*statement.created, *(name for one in inner for name in one.created)))),
        reading=made,
    )


def _verbs(body: Body) -> frozenset[str]:
    """The verbs of a body; an expression that reads no relation is no `select`, and nothing is nothing."""
    reads = any(use.kind == "read" for use in body.reading.uses)
    return frozenset(body.reading.verbs) - ({"empty"} if reads else {"empty", "select"})


def _columns(body: Body) -> list[str]:
    """The columns that a body reads, without its own variables."""
    assert body.statement is not None
    columns = body.statement.facts["columns_read"]
    assert isinstance(columns, list)
    return [name for name in columns if name.partition(".")[0] not in body.own]


def _union(*lists: object) -> list[object]:
    return list(dict.fromkeys(item for one in lists if isinstance(one, list) for item in one))


def _making(reading: Reading, inner: Iterable[Statement]) -> Reading:
    """The reading with the relations that routines make: the session has them afterwards."""
    made = copy(reading)
    made.created, made.temporary = list(reading.created), set(reading.temporary)
    for one in inner:
        assert one.reading is not None
        made.temporary |= {len(made.created) + index for index in one.reading.temporary}
        made.created += one.reading.created
    return made
