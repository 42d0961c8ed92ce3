"""What a call does with all that it calls in turn: bodies, each once, however they call one another.

Apart from `verdicts`, because this knows no labels: a policy asks for verbs where nothing is masked, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.code import Routine
from lockgate.analysis.sql.routines.bodies import Body, body_of
from lockgate.analysis.sql.routines.calls import Call, behind_views, calls_of, parts_of

MOST_ROUTINES: Final = 512
"""Routines that one call may lead to; beyond, its effect counts as unknown."""
MOST_CODE: Final = 524_288
"""Characters of all their definitions together: reading one costs some microseconds, once."""
_MOST_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Closure:
    """`opaque` says why the effect is not known, or is None; `bodies` are all that run then. Closures with an equal
    `digest` are of equal definitions."""

    bodies: tuple[Body, ...]
    opaque: str | None
    digest: bytes


def closure_of(call: Call, catalogue: Catalogue) -> Closure:
    """The closure of one call, computed once per catalogue."""
    if call.is_block:
        return _close(call, catalogue)
    kept = catalogue.derived.setdefault("closures", {})
    assert isinstance(kept, dict)
    found = kept.get(call)
    if isinstance(found, Closure):
        return found
    made = _close(call, catalogue)
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[call] = made
    return made


def _close(call: Call, catalogue: Catalogue) -> Closure:
    digest = hashlib.blake2b(call.shown.encode(), digest_size=16)
    if call.is_unknown:
        return Closure((), "it is not known here", digest.digest())
    seen: set[Routine] = set()
    bodies: list[Body] = []
    stack = list(reversed(call.routines))
    opaque: str | None = None
    size = 0
    while stack and opaque is None:
        routine = stack.pop()
        if routine in seen:
            continue
        seen.add(routine)
        if len(seen) > MOST_ROUTINES:
            opaque = f"it leads to more than {MOST_ROUTINES} routines"
            break
        size += len(routine.definition or "")
        if size > MOST_CODE:
            opaque = f"it leads to more than {MOST_CODE} characters of code"
            break
        if not catalogue.is_utf8 and routine.definition is not None and not routine.definition.isascii():
            opaque = _told(routine, call, "names outside ASCII mean something else in this database's encoding")
            break
        digest.update(repr((routine.schema, routine.name, routine.definition, routine.parts)).encode())
        if routine.definition is None and routine.parts:
            calls = parts_of(routine, catalogue)
        else:
            body = body_of(routine.language, routine.definition)
            if body.opaque is not None:
                opaque = _told(routine, call, body.opaque)
                break
            bodies.append(body)
            calls = chain(calls_of(body.reading, catalogue, body.types, body.rows), behind_views(body.reading, catalogue))
        opaque = _follow(calls, stack)
    return Closure(() if opaque is not None else tuple(bodies), opaque, digest.digest())


def _follow(calls: Iterable[Call], stack: list[Routine]) -> str | None:
    """Puts what is called on the stack; why that cannot be followed, or None."""
    for call in calls:
        if call.is_unknown:
            return f"it calls {call.shown}"
        stack.extend(call.routines)
    return None


def _told(routine: Routine, call: Call, why: str) -> str:
    """The reason, with the routine's name where it is not the one that was called."""
    return why if call.shown.endswith(f" {routine.name}") or call.shown == routine.name else f"{routine.name}: {why}"
