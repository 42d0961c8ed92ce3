"""A message that carries a statement → `Operation`; a `Refusal` → the protocol's own error.

Apart from the mediator because it is pure: the same bytes give the same operation, so all of it is
cached by the bytes of the statement (a repeated statement costs one dictionary lookup).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lockgate.analysis.sql import (
    ESTIMATES,
    FACTS,
    RESOLVED,
    VERBS,
    AnalysisLimits,
    Analyzer,
    Catalogue,
    Data,
    Masked,
    NotUnderstood,
    Recent,
    SessionNames,
    Statement,
    data_of,
    is_explainable,
)
from lockgate.config.settings import Limits
from lockgate.govern.pipeline import Planned
from lockgate.model import Operation, Refusal, RefusalCode
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.surroundings import Surroundings, matters

PROTOCOL: Final = "postgres"
_CACHED_ENTRIES: Final = 2_048
_CACHED_BYTES: Final = 24 << 20
_NO_LABELS: Final[frozenset[tuple[int, int]]] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the client gets to read it."""

    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None
    routine: str = ""
    severity: str = "ERROR"

    def encode(self, severity: str | None = None) -> bytes:
        """The ErrorResponse (section 54.8 "Error and Notice Message Fields")."""
        level = severity or self.severity
        values = [("S", level), ("V", level), ("C", self.sqlstate), ("M", self.message)]
        if self.detail:
            values.append(("D", self.detail))
        if self.hint:
            values.append(("H", self.hint))
        if self.position:
            values.append(("P", str(self.position)))
        if self.routine:
            values.append(("R", self.routine))
        return codec.fields(m.ERROR_RESPONSE, values)


class Seen:
    """One statement as it came, read once: its analysis, its operations, and what was planned last.

    `problem` is set where it is refused whatever policy says (unreadable, too long, pinned state).
    """

    __slots__ = (
        "base",
        "data",
        "execute",
        "is_changed",
        "is_noteworthy",
        "plain",
        "planned",
        "planned_for",
        "prepare",
        "problem",
        "query",
        "raw",
        "refusal",
        "resolution",
        "resolved",
        "resolved_for",
        "statement",
        "text",
    )
    query: Operation
    execute: Operation
    prepare: Operation
    data: Data

    def __init__(self, raw: bytes, text: str, statement: Statement | None, problem: Problem | None) -> None:
        self.raw = raw
        self.statement = statement
        self.problem = problem
        self.refusal = None if problem is None else Refusal(_CODES.get(problem.sqlstate, _UNREAD), problem.message)
        self.text = text
        forward = text if statement is None else statement.text
        self.is_changed = forward != text           # comments were taken out
        is_same = statement is not None and not self.is_changed
        self.plain = Planned(raw if is_same else forward.encode("utf-8", "replace"),
                             carry=Masked(forward, False, "", _NO_LABELS))
        self.is_noteworthy = statement is not None and bool(
            statement.created or statement.prepares or statement.deallocates or statement.cursors_declared
            or statement.cursors_closed or statement.runs_code or statement.transaction
            or statement.changes_catalogue or "rollback" in statement.verbs or matters(statement)
        )
        self.planned = self.plain
        self.planned_for: Masked | None = None
        self.base = self
        self.resolved: Seen | None = None           # under the catalogue of `resolved_for`, where it is another one
        self.resolved_for: tuple[int, str] | None = None
        self.resolution: object = None              # of `resolving`, for the catalogue seen last

    def __getattr__(self, name: str) -> Operation | Data:
        """An operation when it is first asked for: most statements come by one kind of message only. `data`, which of
        its constants are data, is asked for where one of them has to be replaced."""
        made: Operation | Data
        if name == "data" and self.statement is not None:
            made = data_of(self.statement.text)
        elif name in ("query", "execute", "prepare"):
            made = _operation(name, self.text, self.statement)
        else:
            raise AttributeError(name)
        setattr(self, name, made)
        return made

    @property
    def weight(self) -> int:
        """Bytes of memory that it holds, about; what was planned for it may be as long again."""
        return 2_000 + 8 * len(self.raw) + (0 if self.statement is None else self.statement.weight)

    def within(self, analyzer: Analyzer, catalogue: Catalogue | None, names: SessionNames) -> Seen:
        """The statement with the effects of the code that it runs, as far as the catalogue knows it."""
        base = self.base
        statement = base.statement
        if catalogue is None or statement is None or base.problem is not None or names.defines_code:
            return base
        stamp = (catalogue.version, catalogue.fingerprint)
        if base.resolved_for != stamp:
            known = analyzer.in_catalogue(statement, catalogue, names)
            base.resolved, base.resolved_for = None, stamp
            if known is not statement:
                base.resolved = base.read_as(known)
        found = base.resolved or base
        assert found.statement is not None
        if not found.statement.executes:
            return found
        executed = analyzer.in_session(found.statement, names, catalogue)       # of this session, so it is not kept
        return found if executed is found.statement else base.read_as(executed)

    def read_as(self, statement: Statement) -> Seen:
        """The same text with what is known of it beyond the text."""
        made = Seen(self.raw, self.text, statement, None)
        made.base, made.plain = self, self.plain
        return made

    def plan(self, masked: Masked) -> Planned:
        """The plan for `masked`; the same object for the same mask result, which analysis caches."""
        if self.planned_for is not masked:
            self.planned = Planned(
                masked.text.encode(), masked.digest, masked, tuple((one.label, one.per_hour) for one in masked.lookups))
            self.planned_for = masked
        return self.planned

    def bound(self, values: tuple[str | None, ...], reading: str, surroundings: Surroundings) -> Operation:
        """The operation of an Execute with these parameters."""
        return _within(self.execute, values, reading, surroundings.of(self.statement))

    def asked(self, surroundings: Surroundings) -> Operation:
        """The operation of a Query."""
        return _within(self.query, (), "", surroundings.of(self.statement))


class StatementReader:
    """Statement bytes → `Seen`, cached. Shared by the sessions of one connection."""

    def __init__(self, limit: int) -> None:
        self.analyzer = Analyzer(AnalysisLimits(statement=limit))
        self._limit = limit
        self._seen: Recent[bytes, Seen] = Recent(_CACHED_ENTRIES, _CACHED_BYTES)

    def read(self, raw: bytes) -> Seen:
        """The statement in `raw` (without its NUL)."""
        if len(raw) > self._limit:                  # before it is hashed, decoded or parsed
            return self._read(raw)
        found = self._seen.get(raw)
        if found is None:
            found = self._read(raw)
            self._seen.put(raw, found, found.weight)
        return found

    def _read(self, raw: bytes) -> Seen:
        if len(raw) > self._limit:
            problem = Problem("54000", f"a statement may have {self._limit} bytes here, this one has {len(raw)}",
                              hint="Bulk data belongs into parameters or COPY.")
            return Seen(raw[:0], "", None, problem)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            return Seen(raw, raw.decode("utf-8", "replace"), None, Problem(
                "22021", f'invalid byte sequence for encoding "UTF8" at byte {error.start + 1}',
                hint="The gateway pins client_encoding to UTF8.",
            ))
        if "\0" in text:
            return Seen(raw, text.replace("\0", "\ufffd"), None,
                        Problem("22021", 'invalid byte sequence for encoding "UTF8": 0x00'))
        try:
            statement = self.analyzer.statement(text)
        except NotUnderstood as error:
            return Seen(raw, text, None, Problem(error.sqlstate, error.message, hint=error.hint, position=error.position))
        refused: Problem | None = None
        if statement.forbidden is not None:
            refused = Problem("42501", statement.forbidden, hint="Nothing was executed.")
        return Seen(raw, text, statement, refused)


@lru_cache(maxsize=256)
def reader_for(connection: str, address: str, limits: Limits) -> StatementReader:  # noqa: ARG001 - the key
    """The reader that the sessions of one connection share (mask plans are cached by its catalogue)."""
    return StatementReader(limits.statement)


def reading_of(formats: tuple[int, ...], types: bytes) -> str:
    r"""What decides how the bytes of parameters are read: the text ``\\x64`` and the byte 0x64 look the same, and
    eight bytes are another number as int8 than as float8. Empty where all are text of types that the backend infers."""
    if not any(formats) and not any(types[2:]):
        return ""
    return f"{types[2:].hex()}:{''.join(map(str, formats))}"


def _within(base: Operation, values: tuple[str | None, ...], reading: str, context: tuple[str, ...]) -> Operation:
    if not values and not context:
        return base
    return Operation(
        base.protocol, base.kind, base.verbs, base.text, base.key, base.facts, values, base.objects, reading, context,
        base.lacks, base.returns,
    )


_ENDS: Final = "; \t\r\n"


def _operation(kind: str, text: str, statement: Statement | None) -> Operation:
    """Facts of `statement`; one that could not be read has every effect (I4).

    Its text is what an approval is bound to, so a terminator at its end, which some clients send and
    some do not, is left out. (What was read has its comments out and its literals closed.)
    """
    if statement is None:           # what is shown of it may be the whole text of one that can be read
        key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16, person=b"unreadable").digest()
        return Operation(PROTOCOL, kind, VERBS, text, key, _UNREADABLE)
    return Operation(
        PROTOCOL, kind, statement.verbs, statement.text.strip(_ENDS), statement.key, statement.facts, (),
        statement.objects, lacks=_ASKED if is_explainable(statement) else _KNOWN,
        returns=statement.is_opaque or statement.returns_rows_maybe or statement.copy == "out",
    )


def _fact_of_unreadable(name: str) -> object:
    if name in ("is_opaque", "changes_catalogue", "copies_program", "touches_files", "tautology"):
        return True
    if name == "has_where":
        return False
    if name in ("statements", "text_length"):
        return 0
    return []


_ASKED: Final = frozenset(ESTIMATES)
_KNOWN: Final[frozenset[str]] = frozenset()
_UNREADABLE: Final[dict[str, object]] = {name: _fact_of_unreadable(name) for name in FACTS
                                        if name not in (*RESOLVED, *ESTIMATES)}


# ---------------------------------------------------------------- refusals

_UNREAD: Final = RefusalCode.NOT_UNDERSTOOD
_CODES: Final = {"54000": RefusalCode.TOO_LARGE, "42501": RefusalCode.UNSUPPORTED}

_SQLSTATES: Final[dict[RefusalCode, str]] = {
    RefusalCode.DENIED: "42501",
    RefusalCode.REVIEW_PENDING: "42501",
    RefusalCode.REVIEW_DENIED: "42501",
    RefusalCode.REVIEW_EXPIRED: "42501",
    RefusalCode.UNAUTHENTICATED: "28P01",
    RefusalCode.EXPIRED: "57P05",
    RefusalCode.NOT_UNDERSTOOD: "42601",
    RefusalCode.NOT_ENFORCEABLE: "42501",
    RefusalCode.UNKNOWN_OBJECT: "42P01",
    RefusalCode.UNKNOWN_COLUMN: "42703",
    RefusalCode.TOO_LARGE: "54000",
    RefusalCode.UNLISTED: "0A000",
    RefusalCode.LIMITED: "54000",
    RefusalCode.UNSUPPORTED: "0A000",
    RefusalCode.AUDIT_UNAVAILABLE: "58030",
    RefusalCode.BACKEND_UNAVAILABLE: "08006",
    RefusalCode.SHUTTING_DOWN: "57P01",
    RefusalCode.INTERNAL: "XX000",
}

PLAN_CHANGED: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE,
    "cached plan must not change result type",
    hint="The policy or the database's definitions changed since this statement was prepared. Prepare it again.",
)


def problem_of(refusal: Refusal) -> Problem:
    """A refusal of an operation in this protocol's words: what happened, the rule, the way forward."""
    if refusal is PLAN_CHANGED:
        # With this routine name asyncpg and pgjdbc prepare again by themselves.
        return Problem("0A000", refusal.reason, hint=refusal.hint, routine="RevalidateCachedQuery")
    detail = None if refusal.rule is None else f"rule: {refusal.rule}"
    if refusal.ticket is not None:
        detail = f"ticket: {refusal.ticket}" if detail is None else f"{detail}; ticket: {refusal.ticket}"
    return Problem(_SQLSTATES[refusal.code], refusal.reason, detail, refusal.hint)


def held_notice(ticket: str) -> bytes:
    """What the client reads while a person decides about its statement."""
    return codec.fields(m.NOTICE_RESPONSE, [
        ("S", "NOTICE"), ("V", "NOTICE"), ("C", "01000"),
        ("M", f"this statement waits for a person's approval, ticket {ticket}"),
        ("H", f"A reviewer can run: lockgate review approve {ticket}. Keep waiting, or cancel and send it again later."),
    ])

