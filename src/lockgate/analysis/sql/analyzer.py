"""The entrance: `Analyzer` parses, caches, and plans masks. Pure: no socket, no clock, no database.

A statement string is parsed once; a repeated one costs a dictionary look-up, and one that differs from
earlier ones only in literals on which nothing depends is known by its shape (`shape`). All caches are
bounded by entries and by the bytes they hold, so that an agent that never repeats itself costs no memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import pgparse

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.effects import read
from lockgate.analysis.sql.errors import SYNTAX_ERROR, TOO_COMPLEX, NotUnderstood
from lockgate.analysis.sql.parser import CollectorRests, Tree, parse_trees
from lockgate.analysis.sql.recent import Recent
from lockgate.analysis.sql.rewrite import plan
from lockgate.analysis.sql.routines.resolved import resolved
from lockgate.analysis.sql.session import SessionNames
from lockgate.analysis.sql.shape import Pieces, Shape, learn, split
from lockgate.analysis.sql.statement import CATALOGUE_VERBS, Masked, Statement
from lockgate.analysis.sql.text import require_parsable, require_readable, strip_comments
from lockgate.model import ColumnMask, Refusal

LONGEST_SHAPE: Final = 16_384
"""Bytes that a text of `shape.LONGEST` characters may have: a smaller limit is left to `require_readable`."""

_LONGEST_REMEMBERED: Final = 65_536
"""Characters of a text whose trees are kept until the next one is read, for its masks are planned right away."""

_SEEN_ONCE: Final = object()
_NONE: Final = object()
_PIECES_WEIGHT: Final = 500
_PLAN_WEIGHT: Final = 2_000
_MOST_MASKS: Final = 1_024

_UNMASKED: Final[frozenset[tuple[int, int]]] = frozenset()


@dataclass(frozen=True, slots=True)
class AnalysisLimits:
    """Bounds: bytes of one statement; entries of each cache, and the bytes that it may hold."""

    statement: int = 262_144
    entries: int = 4_096
    bytes: int = 33_554_432
    plans: int = 4_096
    shapes: int = 1_024


class Analyzer:
    """Reads statements and plans their masks. One per process; not thread-safe."""

    def __init__(self, limits: AnalysisLimits = AnalysisLimits()) -> None:
        self._limits = limits
        self._statements: Recent[str, Statement] = Recent(limits.entries, limits.bytes)
        self._plans: Recent[tuple[object, ...], Masked | Refusal] = Recent(limits.plans, limits.bytes)
        self._shapes: Recent[Pieces, Shape | object] = Recent(limits.shapes, limits.bytes)
        self._last: tuple[Statement, list[Tree]] | None = None
        self._masks: tuple[ColumnMask, ...] = ()
        self._numbers: dict[tuple[ColumnMask, ...], int] = {}
        self._count = count(1)
        self._number = 0

    def statement(self, text: str) -> Statement:
        """Reads the statement or statements of a string. Raises `NotUnderstood`; nothing is cached then."""
        found = self._statements.get(text)
        if found is not None:
            return found
        if self._limits.statement >= LONGEST_SHAPE:
            known = self._by_shape(text)
            if known is not None:
                return known
        require_readable(text, self._limits.statement)
        bare = strip_comments(text)
        statement, trees = parse(bare, self._limits.statement)
        self._last = (statement, trees) if len(bare) <= _LONGEST_REMEMBERED else None
        self._statements.put(text, statement, statement.weight + 2 * len(text))
        return statement

    def _by_shape(self, text: str) -> Statement | None:
        """The statement, if its shape is known. A shape is learned when it comes for the second time."""
        parts = split(text)
        if parts is None:
            return None
        pieces, literals = parts
        shapes = self._shapes
        shape = shapes.get(pieces)
        if shape is None:
            shapes.put(pieces, _SEEN_ONCE, _PIECES_WEIGHT + 60 * len(literals) + 2 * len(text))
            return None
        if shape is _SEEN_ONCE:
            shape = learn(pieces) or _NONE
            if isinstance(shape, Shape) and not _agrees(shape.filled(text, literals), parse(strip_comments(text))[0]):
                shape = _NONE
            held = shape.statement.weight if isinstance(shape, Shape) else 0
            shapes.put(pieces, shape, _PIECES_WEIGHT + 60 * len(literals) + 2 * len(text) + held)
        return shape.filled(text, literals) if isinstance(shape, Shape) else None

    def mask(self, statement: Statement, masks: tuple[ColumnMask, ...], catalogue: Catalogue,
             session: SessionNames) -> Masked | Refusal:
        """Plans what to forward so that no labelled column can be read, or why there is none."""
        if not masks:
            return Masked(statement.text, False, "", _UNMASKED)
        shape = statement.shape
        if shape is not None:
            whole = self.mask(shape.statement, masks, catalogue, session)
            if isinstance(whole, Refusal):
                return whole
            made = shape.masked(whole, statement)
            if made is not None:
                return made
            statement = parse(statement.text, self._limits.statement)[0]
        key = (statement.text, statement.key, self._known(masks), catalogue.version, catalogue.fingerprint,
               session.stamp(statement))
        found = self._plans.get(key)
        if found is None:
            last, self._last = self._last, None
            with CollectorRests():
                found = plan(statement, masks, catalogue, session,
                             last[1] if last is not None and last[0] is statement else None)
            size = len(statement.text) + (len(found.text) if isinstance(found, Masked) else 0)
            self._plans.put(key, found, _PLAN_WEIGHT + 2 * size)
        return found

    def _known(self, masks: tuple[ColumnMask, ...]) -> int:
        """A number for these masks. Equal ones are mostly made of the same objects, so comparing them with the last
        ones costs less than their hash."""
        if masks != self._masks:
            self._masks = masks
            if len(self._numbers) >= _MOST_MASKS and masks not in self._numbers:
                self._numbers.clear()               # the count goes on, so no number means two things
            self._number = self._numbers.setdefault(masks, next(self._count))
        return self._number

    def in_catalogue(self, statement: Statement, catalogue: Catalogue, session: SessionNames) -> Statement:
        """The statement with the effects of the functions, procedures and blocks that it runs, where they are known.

        `statement` alone has to count each as every effect. Judge this one instead; its key covers the definitions.
        """
        return statement if session.defines_code else resolved(statement, catalogue)

    def in_session(self, statement: Statement, session: SessionNames, catalogue: Catalogue) -> Statement:
        """The statement with the effects of what it EXECUTEs, where the session knows the name and all that it may
        stand for is plain: reads and changes of rows that run no code.

        `statement` alone has to count EXECUTE as every effect. Judge this one instead.
        """
        reading = statement.reading
        if not statement.executes or reading is None or not session.knows_prepared or any(
                why != "EXECUTE" for why in reading.opaque):
            return statement
        own = {name for name, _ in statement.prepares}
        is_early = bool(reading.opaque)             # some EXECUTE stands before any PREPARE of its name
        verbs = set(reading.verbs)
        for name in statement.executes:
            candidates = session.prepared(name)
            if not candidates and (name not in own or is_early):
                return statement
            for inner, _ in candidates:
                if not inner.is_plain or self.in_catalogue(inner, catalogue, session) is not inner:
                    return statement
                verbs.update(inner.verbs)
        changes = not CATALOGUE_VERBS.isdisjoint(verbs)
        facts = {**statement.facts, "is_opaque": False, "has_where": not reading.unbounded, "changes_catalogue": changes}
        for name in statement.executes:
            for inner, _ in session.prepared(name):
                facts["has_where"] = facts["has_where"] and inner.facts["has_where"]
                facts["tautology"] = facts["tautology"] or inner.facts["tautology"]
                for fact in ("relations", "columns_read", "columns_written", "functions"):
                    facts[fact] = list(dict.fromkeys([*facts[fact], *inner.facts[fact]]))  # type: ignore[misc]
        key = hashlib.blake2b(statement.key + repr(sorted(verbs)).encode() + repr(facts).encode(), digest_size=16)
        return replace(statement, key=key.digest(), verbs=frozenset(verbs), facts=facts, is_opaque=False,
                       changes_catalogue=changes)


def _agrees(filled: Statement, parsed: Statement) -> bool:
    """A last witness, once a shape: what it says of the text that taught it is what the parser says."""
    return replace(parsed, key=filled.key) == filled


def parse(bare: str, limit: int = 262_144) -> tuple[Statement, list[Tree]]:
    """Parses a string without comments: what it says, and its trees. Raises `NotUnderstood` with PostgreSQL's
    message."""
    data = require_readable(bare, limit)
    require_parsable(bare, data, limit)
    try:
        with CollectorRests():
            trees = parse_trees(bare)
            return read(trees, bare, data), trees
    except pgparse.PGQueryError as error:
        message = str(error.args[0]) if error.args else "syntax error"
        position = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None
        deep = "memory exhausted" in message or "stack depth" in message
        raise NotUnderstood(TOO_COMPLEX if deep else SYNTAX_ERROR, message, position or None) from None
    except RecursionError:
        raise NotUnderstood(TOO_COMPLEX, "statement is nested too deeply") from None
