"""An operation as the catalogue sees it: facts that the text of a statement alone does not tell.

Apart from `operations`, which knows the bytes only: here a name becomes the relations that it may mean
(`analysis.sql.touched`). They are worked out when a rule asks for them. Without a catalogue they are
missing, on which conditions fail closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from lockgate.analysis.sql import (
    RESOLVED,
    Catalogue,
    Estimate,
    Reach,
    SessionNames,
    Statement,
    Touched,
    touched,
)
from lockgate.model import Operation
from lockgate.protocols.postgres.operations import Seen

_NOT_YET: Final = object()
_NOWHERE: Final = Reach({}, frozenset())


class ResolvedFacts(Mapping[str, object]):
    """The facts of a statement, with those that the catalogue adds."""

    __slots__ = ("_base", "_catalogue", "_found", "_lists", "_session", "_statement")

    def __init__(self, statement: Statement, catalogue: Catalogue, session: SessionNames) -> None:
        self._base = statement.facts
        self._statement = statement
        self._catalogue = catalogue
        self._session = session
        self._found: Touched | object | None = _NOT_YET
        self._lists: dict[str, object] = {}         # each is made once, however many rules ask

    @property
    def touched(self) -> Touched | None:
        """What the statement touches, or None where it cannot be told."""
        if self._found is _NOT_YET:
            self._found = touched(self._statement, self._catalogue, self._session)
        return self._found if isinstance(self._found, Touched) else None

    def __getitem__(self, name: str) -> object:
        if name not in RESOLVED:
            return self._base[name]
        if name not in self._lists:
            found = self.touched
            if found is None:
                raise KeyError(name)
            self._lists[name] = getattr(found, name)
        return self._lists[name]

    def __contains__(self, name: object) -> bool:
        return self.touched is not None if name in RESOLVED else name in self._base

    def __iter__(self) -> Iterator[str]:
        yield from self._base
        if self.touched is not None:
            yield from RESOLVED

    def __len__(self) -> int:
        return sum(1 for _ in self)


class AddedFacts(Mapping[str, object]):
    """Facts that came later, beside those that were there; none of them is worked out by that."""

    __slots__ = ("_added", "_base")

    def __init__(self, base: Mapping[str, object], added: Mapping[str, object]) -> None:
        self._base = base
        self._added = added

    def __getitem__(self, name: str) -> object:
        return self._added[name] if name in self._added else self._base[name]

    def __contains__(self, name: object) -> bool:
        return name in self._added or name in self._base

    def __iter__(self) -> Iterator[str]:
        yield from self._added
        yield from (name for name in self._base if name not in self._added)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Resolution:
    """A statement's operations under one catalogue and one state of the session's own relations."""

    __slots__ = ("_key", "_known", "catalogue", "facts", "stamp")

    def __init__(self, statement: Statement, catalogue: Catalogue, session: SessionNames,
                 stamp: tuple[object, ...]) -> None:
        self.catalogue = catalogue
        self.stamp = stamp
        self.facts = ResolvedFacts(statement, catalogue, session)
        self._key = (statement.key, catalogue.version, catalogue.fingerprint, stamp)
        self._known: dict[str, tuple[Operation, Operation]] = {}

    def of(self, operation: Operation) -> Operation:
        """The operation with the facts that the catalogue adds, and a key that covers them."""
        known = self._known.get(operation.kind)
        if known is not None and known[0] is operation:
            return known[1]
        made = Operation(
            operation.protocol, operation.kind, operation.verbs, operation.text, self._key, self.facts,
            operation.parameters, operation.objects, operation.reading, operation.context, operation.lacks,
            operation.returns,
        )
        if not operation.parameters and not operation.context:      # those are of one execution
            self._known[operation.kind] = (operation, made)
        return made


def estimated(operation: Operation, estimate: Estimate | None) -> Operation:
    """The operation with what the planner said; where it said nothing, the facts stay missing."""
    added = {} if estimate is None else {"estimated_rows": estimate.rows, "estimated_cost": estimate.cost}
    return replace(operation, facts=AddedFacts(operation.facts, added), key=(operation.key, estimate), lacks=frozenset())


def resolved(operation: Operation, seen: Seen, catalogue: Catalogue | None, session: SessionNames) -> Operation:
    """The operation of `seen` with what the catalogue tells about it."""
    statement = seen.statement
    if catalogue is None or statement is None or "tables" in statement.facts:
        return operation
    return _resolution(seen, statement, catalogue, session).of(operation)


def reach_of(seen: Seen, catalogue: Catalogue | None, session: SessionNames) -> Reach | None:
    """What a cursor or portal that is opened for the statement touches, or None where it cannot be told."""
    statement = seen.statement
    if catalogue is None or statement is None:
        return None
    if "tables" in statement.facts:
        return _NOWHERE
    found = _resolution(seen, statement, catalogue, session).facts.touched
    return None if found is None else found.reach


def _resolution(seen: Seen, statement: Statement, catalogue: Catalogue, session: SessionNames) -> Resolution:
    stamp = session.stamp(statement)
    found = seen.resolution
    if not isinstance(found, Resolution) or found.catalogue is not catalogue or found.stamp != stamp:
        found = seen.resolution = Resolution(statement, catalogue, session, stamp)
    return found
