"""Replies to messages under row limits, and to what the gateway sends so that an excess is undone.

Apart from `replies`, which knows nothing of limits: a method here looks at a reply first, and hands it on
as long as the limits are kept. An excess is one ErrorResponse in place of the row (or the CommandComplete)
too many. What the backend still says about the statement is dropped, and both ends are brought to what an
error leaves behind: nothing done, a failed block, or everything up to the Sync discarded.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.model import OutcomeStatus
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.bounds import BEGIN, Bound, Cursor, held_cursors
from lockgate.protocols.postgres.estimate import Question
from lockgate.protocols.postgres.own import Own, Purpose
from lockgate.protocols.postgres.quota import Quota, TaskQuota
from lockgate.protocols.postgres.replies import Replies
from lockgate.protocols.postgres.states import Owed, Reply, SessionState
from lockgate.wire.steps import Settle

_DROP: Final = b""
_AT_ANY_TIME: Final = frozenset({m.NOTIFICATION, m.PARAMETER_STATUS})
_COPY_FAIL: Final = frame(m.COPY_FAIL, b"over a row limit\0")
_COMPLETE: Final = frozenset({m.COMMAND_COMPLETE, m.EMPTY_QUERY, m.PORTAL_SUSPENDED})


class Follow(NamedTuple):
    """Bytes of the gateway's own that go to the backend once the client has what is before them.

    `releases`: what waited for the bounded message goes on after it."""

    payload: bytes
    under: int
    releases: bool = False


class BoundedReplies(Replies):
    """`Replies`, with row limits. `_follows` and `_cancels` collect what has to be sent."""

    def __init__(self, state: SessionState) -> None:
        super().__init__(state)
        self._follows: list[Follow] = []
        self._cancels: Reply | None = None      # cut while the backend is still at it

    def _answer(self, head: Reply, kind: int, start: int, end: int) -> bytes | None:
        """What of a message that is no row may pass: None for all of it, or what goes in its place."""
        if kind in _AT_ANY_TIME:
            return self._table[kind](start, end)
        if head.own is not None:
            return self._own_reply(head, head.own, kind, start, end)
        if head.bound is not None:
            return self._bounded(head, head.bound, kind, start, end)
        return self._table[kind](start, end)

    # ------------------------------------------------------------ under limits

    def cut(self, head: Reply, bound: Bound) -> bytes:
        """The row at hand is one too many: the error that goes in its place, once."""
        assert bound.problem is not None
        if bound.is_over:
            return _DROP
        bound.is_over = True
        self._cancels = head
        self._state.surroundings.failed()
        self._state.has_failed = True
        if not bound.waits:                     # nobody expected rows of it: nothing was done to undo it
            self._fatal = bound.problem
            return _DROP
        return bound.problem.encode()

    def _bounded(self, head: Reply, bound: Bound, kind: int, start: int, end: int) -> bytes | None:
        if kind in _COMPLETE:
            return self._complete(head, bound, kind, start, end)
        if kind == m.READY:
            return self._bounded_ready(head, bound, start, end)
        if kind == m.ERROR_RESPONSE:
            return self._bounded_error(head, bound, start, end)
        if kind == m.COPY_IN_RESPONSE and bound.is_over:
            self._follows.append(Follow(_COPY_FAIL, record_of(head)))
            return _DROP
        out = self._table[kind](start, end)
        if kind == m.ROW_DESCRIPTION:
            bound.is_described = True
        return _DROP if bound.is_over else out

    def _complete(self, head: Reply, bound: Bound, kind: int, start: int, end: int) -> bytes | None:
        """A statement is through, or a part of its rows is."""
        tag = self._buffer[start + 5:end - 1] if kind == m.COMMAND_COMPLETE else b""
        if bound.is_wrapped and not bound.has_begun:
            if tag != b"BEGIN":
                raise RemoteProtocolError("a transaction did not begin")
            bound.has_begun = True
            return _DROP
        if kind == m.PORTAL_SUSPENDED:
            bound.refuse_part()
        else:
            bound.verify_change(tag)
        problem = None if bound.problem is None or bound.is_over else self.cut(head, bound)
        if head.owed is Owed.EXECUTE:
            return self._executed_under(head, bound, kind, start, end, problem)
        self._table[kind](start, end)
        bound.next_statement()
        if bound.is_over:
            return problem or _DROP
        statement = None if head.seen is None else head.seen.statement
        if bound.is_wrapped and statement is not None and bound.completed == statement.count:
            bound.kept = self._buffer[start:end]        # an error at COMMIT takes its place
            return _DROP
        return None

    def _executed_under(self, head: Reply, bound: Bound, kind: int, start: int, end: int,
                        problem: bytes | None) -> bytes | None:
        """An Execute is through. One that went over is an error: what is in its segment must not become final."""
        if not bound.is_over:
            out = self._table[kind](start, end)
            self._release(head)
            return out
        queue, record = self._state.queue, record_of(head)
        queue.pop()
        self._settle_over(head, bound)
        if not bound.has_sync:
            queue.failed_epoch = head.epoch
            queue.push(self._own(Purpose.FAIL_SEGMENT, head))
            self._follows.append(Follow(Purpose.FAIL_SEGMENT.value, record, releases=True))
        return problem or _DROP

    def _settle_over(self, head: Reply, bound: Bound) -> None:
        """Its outcome: refused, with the rows that were delivered."""
        assert bound.problem is not None
        grant, portal = head.grant, head.portal
        if portal is not None and portal.grant is grant:
            head.rows, head.sent, portal.grant = head.rows + portal.rows, head.sent + portal.sent, None
        head.grant = None
        if grant is not None:
            self._settles.append(Settle(grant, OutcomeStatus.REFUSED, head.rows, head.sent, bound.problem.sqlstate))
        if self._state.copying is head:
            self._state.copying = None

    def _bounded_error(self, head: Reply, bound: Bound, start: int, end: int) -> bytes | None:
        if not bound.is_over:
            out = self._table[m.ERROR_RESPONSE](start, end)
            if head.owed is Owed.EXECUTE:
                self._release(head)
            return out
        found = codec.read_fields(self._buffer, start, end)
        if codec.is_fatal(found):
            return self._table[m.ERROR_RESPONSE](start, end)
        if head.owed is Owed.EXECUTE:           # the backend discards up to the Sync by itself
            self._settle_over(head, bound)
            self._settles += self._state.queue.fail(found.get("C", "XX000"))
            if not bound.has_sync:
                self._release(head)
        elif head.owed is Owed.QUERY:
            head.is_copying_out = False
        return _DROP

    def _bounded_ready(self, head: Reply, bound: Bound, start: int, end: int) -> bytes | None:
        """The end of a Query, or of the Sync that went ahead: nothing of what went over may be left."""
        if end - start != 6:
            raise RemoteProtocolError("a ReadyForQuery does not add up")
        status = self._buffer[start + 5]
        if bound.is_over and bound.problem is not None:
            head.code = bound.problem.sqlstate
        if bound.has_begun:
            if status == m.IDLE:
                raise RemoteProtocolError("a transaction of the gateway's own ended by itself")
            return self._then(Purpose.COMMIT if status == m.IN_BLOCK and not bound.is_over else Purpose.ROLLBACK, head)
        if bound.is_over and status == m.IN_BLOCK:
            return self._then(Purpose.FAIL, head)
        out = self._table[m.READY](start, end)
        self._release(head)
        return out

    def _then(self, purpose: Purpose, head: Reply) -> bytes:
        """Send a message of the gateway's own, whose ReadyForQuery takes the place of the one at hand."""
        self._state.queue.pop()
        self._state.queue.push(self._own(purpose, head))
        self._follows.append(Follow(purpose.value, record_of(head)))
        return _DROP

    def _own(self, purpose: Purpose, head: Reply) -> Reply:
        own = Reply(Owed.OWN, head.segment, head.epoch)
        own.own = Own(purpose, head)
        own.grant, own.rows, own.sent = head.grant, head.rows, head.sent
        return own

    def _release(self, head: Reply) -> None:
        """What was sent behind it may be judged and go on."""
        state = self._state
        if state.bounded is not None and state.bounded.bound is head.bound:
            state.bounded = None

    # ------------------------------------------------------------ replies to the gateway's own

    def _own_reply(self, head: Reply, own: Own, kind: int, start: int, end: int) -> bytes | None:
        if own.question is not None:
            return self._answered(head, own, own.question, kind, start, end)
        if kind == m.ERROR_RESPONSE:
            return self._own_error(head, own, start, end)
        if kind == m.NOTICE_RESPONSE:
            found = codec.read_fields(self._buffer, start, end)
            return self._worded(kind, found, own.of) if own.purpose is Purpose.COMMIT else _DROP
        if kind == m.COMMAND_COMPLETE and own.purpose in (Purpose.COMMIT, Purpose.ROLLBACK):
            tag = self._buffer[start + 5:end - 1]
            if tag != own.purpose.name.encode():
                raise RemoteProtocolError("a transaction of the gateway's own ended otherwise")
            bound = own.of.bound
            return _DROP if own.purpose is Purpose.ROLLBACK or bound is None else bound.kept
        if kind == m.READY and end - start == 6:
            status = self._buffer[start + 5]
            if status != (m.FAILED_BLOCK if own.purpose is Purpose.FAIL else m.IDLE):
                raise RemoteProtocolError("a transaction of the gateway's own did not end")
            self._state.queue.pop()
            self._is_ready(own.of, status)
            self._release(own.of)
            return None
        raise RemoteProtocolError("a message came that has no place in a session")

    def _own_error(self, head: Reply, own: Own, start: int, end: int) -> bytes | None:
        found = codec.read_fields(self._buffer, start, end)
        if codec.is_fatal(found):
            return self._table[m.ERROR_RESPONSE](start, end)
        if own.purpose is Purpose.ROLLBACK:
            raise RemoteProtocolError("a transaction of the gateway's own cannot be ended")
        if own.purpose is Purpose.COMMIT:       # a deferred constraint, for one: as without the gateway's transaction
            own.of.code = found.get("C", "") or "XX000"
            self._state.surroundings.failed()
            return self._worded(m.ERROR_RESPONSE, found, own.of)
        if own.purpose is Purpose.FAIL_SEGMENT:
            self._state.queue.fail("")
        return _DROP

    def _answered(self, head: Reply, own: Own, question: Question, kind: int, start: int, end: int) -> bytes | None:
        """What the planner says is the gateway's; its error is that of the statement."""
        state = self._state
        if kind == m.NOTICE_RESPONSE:
            return _DROP
        if kind != m.ERROR_RESPONSE:
            if question.message(kind):
                state.queue.pop()
                if kind == m.READY:
                    self._is_ready(head, self._buffer[start + 5])
            return _DROP
        found = codec.read_fields(self._buffer, start, end)
        if codec.is_fatal(found):
            return self._table[m.ERROR_RESPONSE](start, end)
        state.surroundings.failed()
        if found.get("P", "").isdigit():
            found["P"] = str(max(1, int(found["P"]) - question.offset))
        worded = self._worded(m.ERROR_RESPONSE, found, own.of)
        question.failed(codec.fields(m.ERROR_RESPONSE, found.items()) if worded is None else worded, found)
        if question.is_query or question.problem is None:
            return _DROP
        self._settles += state.queue.fail(found.get("C", "XX000"))
        return question.problem.encode()

    # ------------------------------------------------------------ cursors

    def _executed(self, head: Reply) -> None:
        super()._executed(head)
        statement = None if head.seen is None else head.seen.statement
        if statement is None or head.code:
            return
        cursors = self._state.cursors
        for closed in statement.cursors_closed:
            if closed is None:
                cursors.clear()
            else:
                cursors.pop(closed, None)
        held = held_cursors(statement) if statement.cursors_declared else ()
        for name in statement.cursors_declared:
            cursors.pop(name, None)
            if head.bound is not None and head.bound.gauges:
                cursors[name] = Cursor(tuple(_afresh(head)), name in held)

    def _transaction_over(self, segment: int) -> None:
        super()._transaction_over(segment)
        cursors = self._state.cursors
        for name in [name for name, cursor in cursors.items() if not cursor.is_held]:
            del cursors[name]

    def _worded(self, kind: int, found: dict[str, str], head: Reply | None) -> bytes | None:
        bound = None if head is None else head.bound
        if bound is None or not bound.is_wrapped or not found.get("P", "").isdigit():
            return super()._worded(kind, found, head)
        moved = {**found, "P": str(int(found["P"]) - len(BEGIN))}
        return super()._worded(kind, moved, head) or codec.fields(kind, moved.items())


def _afresh(head: Reply) -> list[Quota | TaskQuota]:
    """The gauges of a cursor that a message has declared; rows that the same message fetched are spent."""
    bound = head.bound
    assert bound is not None
    found: list[Quota | TaskQuota] = [gauge for gauge in bound.gauges if isinstance(gauge, TaskQuota)]
    if bound.limits.rows is not None:
        found.append(Quota(bound.limits.rows, bound.rule_of.get("rows"), head.rows))
    return found


def record_of(head: Reply) -> int:
    """The record that the gateway's own messages go under."""
    return 0 if head.grant is None or head.grant.record < 0 else head.grant.record
