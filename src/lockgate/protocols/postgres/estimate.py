"""Asking the planner on the session's own connection before a statement is judged: question and answer.

Apart from `bounded`, which limits what happens: here is found out what is expected, because a rule of the
caller reads `op.estimated_rows` or `op.estimated_cost`. The question is sent in the place of the statement
and in the form that it would have (masked, with its parameters), under a time-out of its own, and what
waits behind it waits on. An error of the planner is the statement's own error: nothing was executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockgate.analysis.sql import QUESTION, Estimate, read_estimate
from lockgate.errors import RemoteProtocolError
from lockgate.kernel.rows import fields
from lockgate.model import Operation
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.codec import Bind
from lockgate.protocols.postgres.operations import Problem, Seen

TIMEOUT: Final = 3_000
"""Milliseconds that the planner has."""
LONGEST: Final = 4 << 20
"""Bytes of an answer; a longer one counts as none."""
_SAVED: Final = "lockgate.statement_timeout"
_BEFORE: Final = (
    f"SELECT pg_catalog.set_config('{_SAVED}', pg_catalog.current_setting('statement_timeout'), true), "
    f"pg_catalog.set_config('statement_timeout', '{TIMEOUT}', true)"
)
_AFTER: Final = f"SELECT pg_catalog.set_config('statement_timeout', pg_catalog.current_setting('{_SAVED}'), true)"
_NAME: Final = b"lockgate's question"
_NOTHING: Final = Bind(b"", b"", (), (), ())
_CLOSES: Final = 9
_TOO_LONG: Final = "57014"


@dataclass(frozen=True, slots=True)
class Relayed(Problem):
    """An error of the backend, as it came or as it was worded anew."""

    raw: bytes = b""

    def encode(self, severity: str | None = None) -> bytes:
        """The ErrorResponse."""
        return self.raw if severity is None else Problem.encode(self, severity)


class Question:
    """One question. Mutable: filled by the replies, read when the statement is judged again."""

    __slots__ = ("_closed", "_completed", "_rows", "_size", "asked", "estimate", "is_answered", "is_query", "offset",
                 "problem", "seen")

    def __init__(self, offset: int, seen: Seen, asked: Operation, *, is_query: bool) -> None:
        self.seen = seen                        # the statement and what is asked of the gateway
        self.asked = asked
        self.is_query = is_query
        self.offset = offset                    # characters of the question in front of the statement
        self.is_answered = False
        self.estimate: Estimate | None = None   # None: unknown
        self.problem: Relayed | None = None
        self._completed = 0
        self._closed = 0
        self._rows: list[bytes] = []
        self._size = 0

    def row(self, frame: bytes) -> None:
        """A row of one of the three statements; that of the second is the answer."""
        if self._completed == 1:
            self._size += len(frame)
            if self._size <= LONGEST:
                self._rows.append(frame)

    def too_long(self) -> None:
        """A row came that is not worth keeping."""
        self._size = LONGEST + 1

    def message(self, kind: int) -> bool:
        """Another reply. True when it was the last."""
        if kind == m.COMMAND_COMPLETE:
            self._completed += 1
        elif kind == m.CLOSE_COMPLETE:
            self._closed += 1
        elif kind not in _EXPECTED:
            raise RemoteProtocolError("a message came that has no place in an answer")
        is_last = kind == m.READY if self.is_query else self._closed == _CLOSES
        if is_last:
            self.dropped()
            if self.problem is None and self._size <= LONGEST:
                self.estimate = _read(self._rows)
        return is_last

    def dropped(self) -> None:
        """Nothing more will come."""
        self.is_answered = True

    def failed(self, raw: bytes, found: dict[str, str]) -> None:
        """The planner refused, or took too long."""
        code = found.get("C", "XX000")
        if code == _TOO_LONG:
            raw = Problem(
                code, "the database was stopped before it could say how many rows this statement concerns",
                hint="A policy of the gateway depends on it. Nothing was executed; ask something simpler, or try again.",
            ).encode()
        self.problem = Relayed(code, "the database refused to plan this statement", raw=raw)


_EXPECTED: Final = frozenset({
    m.PARSE_COMPLETE, m.BIND_COMPLETE, m.ROW_DESCRIPTION, m.NO_DATA, m.READY, m.EMPTY_QUERY,
})


def _read(rows: list[bytes]) -> Estimate | None:
    if len(rows) != 1:
        return None
    spans = fields(rows[0], 5, len(rows[0]))
    if len(spans) != 1 or spans[0][0] < 0:
        return None
    try:
        return read_estimate(rows[0][spans[0][0]:spans[0][1]].decode())
    except UnicodeDecodeError:
        return None


QUERY_OFFSET: Final = len(f"{_BEFORE};{QUESTION}")
EXECUTE_OFFSET: Final = len(QUESTION)


def as_query(statement: str) -> bytes:
    """The question in front of a simple Query, as one of its own."""
    return codec.query(f"{_BEFORE};{QUESTION}{statement};{_AFTER}")


def as_messages(statement: str, types: bytes, bind: Bind) -> bytes:
    """The question in front of an Execute, in its segment, with the parameters that it was bound to."""
    parts = [
        _once(_NAME + b" 1", _BEFORE, b"\0\0", _NOTHING), _once(_NAME + b" 2", QUESTION + statement, types, bind),
        _once(_NAME + b" 3", _AFTER, b"\0\0", _NOTHING), m.FLUSH_FRAME,
    ]
    return b"".join(parts)


def _once(name: bytes, statement: str, types: bytes, bind: Bind) -> bytes:
    """A statement of one's own beside those of the client: both unnamed ones stay what they are.

    Closed before as well as behind: an error in between makes the backend skip what is behind, and a prepared statement
    outlives the transaction. Closing one that is not there is no error (manual, "Extended Query").
    """
    return b"".join((
        codec.target(m.CLOSE, b"S", name),
        codec.parse(name, statement, types), codec.bind(bind._replace(portal=name, statement=name, result_formats=())), codec.execute(name),
        codec.target(m.CLOSE, b"P", name), codec.target(m.CLOSE, b"S", name),
    ))
