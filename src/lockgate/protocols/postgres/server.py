"""The backend's side of a session: every reply is matched to the message that asked for it.

Apart from the client side, because the two run at the same time and meet only in `states`. What
passes unchanged is never copied: a read buffer goes on as slices between the frames that have to be
dropped or rewritten. Rows leave through `Clear` with the plan of their result; whatever else is
checked by its type first. What does not fit the state of the session ends it (I4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockgate.errors import RemoteProtocolError
from lockgate.govern.pipeline import ClearPlan, Grant
from lockgate.kernel.frames import scan_replies
from lockgate.model import OutcomeStatus, Refusal
from lockgate.protocols.postgres import codec, results
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.bounded import BoundedReplies, record_of
from lockgate.protocols.postgres.bounds import Bound
from lockgate.protocols.postgres.estimate import LONGEST
from lockgate.protocols.postgres.operations import Problem, problem_of
from lockgate.protocols.postgres.states import Reply, SessionState
from lockgate.wire.buffer import Backlog
from lockgate.wire.steps import Aside, Clear, Close, Compose, Record, Settle, Steps, ToClient, ToServer

_STREAM_ABOVE: Final = 65_536
"""An incomplete row longer than this goes on in pieces where nothing is looked for in it."""
_BULK: Final = frozenset({m.DATA_ROW, m.COPY_DATA})
_BROKEN: Final = Problem("08P01", "the database answered in a way that the gateway does not understand",
                         hint="The session was ended so that nothing unchecked is delivered.", severity="FATAL")
_LOST: Final = Problem("08006", "the database closed the connection", severity="FATAL",
                       hint="What was running may or may not have been executed. Connect again.")


class ServerSide(BoundedReplies):
    """Bytes of the backend → what the client gets."""

    def __init__(self, state: SessionState) -> None:
        super().__init__(state)
        self._backlog = Backlog()
        self._passing = 0                       # bytes of a giant frame that still go straight on
        self._is_dropping = False               # … or nowhere

    def data(self, data: bytes) -> Steps[None]:
        """Everything that arrived, in order."""
        state = self._state
        if self._passing:
            data = yield from self._continue_giant(data)
            if not data:
                return
        buffer = self._backlog.take(data)
        if not buffer:
            return
        self._buffer = buffer
        head = state.queue.head
        bulk = m.DATA_ROW if head is None or not head.is_copying_out else m.COPY_DATA
        try:
            items, rest, missing = scan_replies(buffer, 0, bulk)
            yield from self._replies(items, rest)
        except RemoteProtocolError:
            self._fatal, rest, missing = _BROKEN, len(buffer), 0
        if self._fatal is not None:
            yield from self._end(self._fatal)
            return
        if rest < len(buffer):
            yield from self._incomplete(rest, missing)
        if self._follows or self._cancels is not None:
            yield from self._follow_up()
        self._buffer = b""

    def closed(self) -> Steps[None]:
        """The backend is gone: open requests end as unknown, the client is told unless it was."""
        yield from self.abandon("connection lost")
        if not self._said_goodbye and not self._state.is_mid_frame:
            yield ToClient((yield Compose(_LOST.encode())))
        yield Close("backend closed")

    def abandon(self, code: str, refused: Grant | None = None) -> Steps[None]:
        """Settle whatever was forwarded and not answered; `refused` is settled already."""
        state = self._state
        settled = [refused]
        open_ = [(reply.grant, reply.rows, reply.sent) for reply in state.queue.drain()]
        open_ += [(portal.grant, portal.rows, portal.sent) for portal in state.portals.drop_until(state.segment)]
        for grant, rows, sent in open_:
            if grant is not None and not any(grant is other for other in settled):
                settled.append(grant)
                yield Settle(grant, OutcomeStatus.UNKNOWN, rows, sent, code)

    # ------------------------------------------------------------ one buffer

    def _replies(self, items: Sequence[tuple[int, int, int, int]], rest: int) -> Steps[None]:
        """Handle complete frames; what may pass leaves in as few pieces as possible."""
        buffer, queue, table = self._buffer, self._state.queue, self._table
        pieces: list[bytes] = []
        plan: ClearPlan | None = None
        grant: Grant | None = None
        mark = 0
        for kind, start, end, count in items:
            if kind in _BULK:
                head = queue.head
                if head is None or not head.takes(kind):
                    self._fatal, rest = _BROKEN, start
                    break
                last = end
                if head.own is not None and head.own.question is not None:
                    head.own.question.row(buffer[start:end])
                    pieces.append(buffer[mark:start])
                    mark = end
                    continue
                if head.bound is not None:
                    try:
                        count, last = head.bound.passing(buffer, kind, start, end, count)
                    except RemoteProtocolError:
                        self._fatal, rest = _BROKEN, start
                        break
                due = results.row_plan(head, self._state.masks, self._state.catalogue) if head.plan is None else head.plan
                head.rows += count
                head.sent += last - start
                if due is not plan:
                    if plan is not None:
                        pieces.append(buffer[mark:start])
                        yield from self._send(pieces, plan, grant)
                        pieces, mark = [], start
                    plan, grant = due, head.grant
                if last < end:
                    pieces += (buffer[mark:last], self.cut(head, head.bound))  # type: ignore[arg-type]
                    mark = end
                    if self._fatal is not None:
                        rest = end
                        break
                continue
            try:
                head = queue.head
                if head is None or (head.bound is None and head.own is None):
                    replacement = table[kind](start, end)
                else:
                    replacement = self._answer(head, kind, start, end)
            except RemoteProtocolError:
                self._fatal, rest = _BROKEN, start
                break
            if replacement is not None:
                pieces.append(buffer[mark:start])
                pieces.append(replacement)
                mark = end
                if self._fatal is not None:
                    rest = end
                    break
        if mark == 0 and rest == len(buffer):
            pieces.append(buffer)
        else:
            pieces.append(buffer[mark:rest])
        yield from self._send(pieces, plan, grant)

    def _send(self, pieces: list[bytes], plan: ClearPlan | None, grant: Grant | None = None) -> Steps[None]:
        """Clear and deliver; then the outcomes of what is delivered go on record."""
        chunk = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if chunk:
            cleared = (yield Compose(chunk)) if plan is None else (yield Clear(plan, chunk))
            if type(cleared) is Refusal:
                yield from self._refuse_result(cleared)
                return
            if plan is not None and plan.masked and grant is not None:
                _count(plan.masked, grant)
            yield ToClient(cleared)
        if self._settles:
            settles, self._settles = self._settles, []
            yield from settles

    def _refuse_result(self, refusal: Refusal) -> Steps[None]:
        """The mask stage failed: not one byte of the chunk goes on, and the session ends (I3)."""
        settles, self._settles = self._settles, []
        for step in settles:
            step.status, step.code = OutcomeStatus.REFUSED, ""
            yield step
        yield from self._end(problem_of(refusal))

    def _end(self, problem: Problem) -> Steps[None]:
        """Tell the client why, settle, close. The last thing that this object does."""
        state = self._state
        state.is_ended = True
        settles, self._settles = self._settles, []
        yield from settles
        head = state.queue.head
        refused = None
        if head is not None and head.grant is not None and problem is not _BROKEN:
            refused = head.grant
            yield Settle(refused, OutcomeStatus.REFUSED, head.rows, head.sent, problem.sqlstate)
        yield from self.abandon("session ended", refused)
        if not state.is_mid_frame:
            yield ToClient((yield Compose(problem.encode("FATAL"))))
        yield Close("result refused" if problem is not _BROKEN else "backend broke the protocol")

    def _follow_up(self) -> Steps[None]:
        """Send what the gateway has to say to the backend itself, now that the client has what came before it."""
        state = self._state
        follows, self._follows = self._follows, []
        cut, self._cancels = self._cancels, None
        if cut is not None and cut is state.queue.head:
            yield from cancel(state, waits=True)
        for follow in follows:
            permit = yield Record((), follow.payload, follow.under)
            if type(permit) is Refusal:
                yield from self._end(problem_of(permit))
                return
            yield ToServer(permit)
            if follow.releases:
                state.bounded = None

    # ------------------------------------------------------------ giant frames

    def _incomplete(self, rest: int, missing: int) -> Steps[None]:
        """The last frame is not whole: keep it, pass its beginning on, or refuse it."""
        buffer, state = self._buffer, self._state
        if missing <= _STREAM_ABOVE:
            self._backlog.keep(buffer[rest:], missing)
            return
        kind, head = buffer[rest], state.queue.head
        if kind in (m.DATA_ROW, m.COPY_DATA) and head is not None and head.takes(kind):
            if head.own is not None and head.own.question is not None:
                if missing <= LONGEST:
                    self._backlog.keep(buffer[rest:], missing)
                else:
                    head.own.question.too_long()
                    self._passing, self._is_dropping = missing - (len(buffer) - rest), True
                return
            if head.bound is not None and not head.bound.left:
                yield from self._drop_giant(head, head.bound, len(buffer) - rest, missing)
                return
            plan = results.row_plan(head, self._state.masks, self._state.catalogue)
            if plan is results.PASS:
                if head.bound is not None:
                    head.bound.take(1)
                yield from self._pass_giant(head, buffer[rest:], missing)
                return
        if missing > state.limits.inspect:
            problem = Problem(
                "54000", f"a row of {missing} bytes is larger than the gateway may inspect ({state.limits.inspect})",
                hint="Select fewer or shorter columns.",
            )
            yield from self._end(problem)
            return
        self._backlog.keep(buffer[rest:], missing)

    def _pass_giant(self, head: Reply, beginning: bytes, length: int) -> Steps[None]:
        head.rows += 1
        head.sent += length
        self._passing = length - len(beginning)
        self._state.is_mid_frame = True
        yield from self._send([beginning], results.PASS)

    def _drop_giant(self, head: Reply, bound: Bound, size: int, length: int) -> Steps[None]:
        """It is one row too many: not worth keeping."""
        self._passing, self._is_dropping = length - size, True
        bound.refuse_row()
        yield from self._send([self.cut(head, bound)], None)
        if self._fatal is not None:
            yield from self._end(self._fatal)

    def _continue_giant(self, data: bytes) -> Steps[bytes]:
        """More of a frame whose beginning has gone on. → what lies behind it."""
        piece, rest = data[:self._passing], data[self._passing:]
        self._passing -= len(piece)
        if self._is_dropping:
            self._is_dropping = self._passing > 0
            return rest
        self._state.is_mid_frame = self._passing > 0
        yield from self._send([piece], results.PASS)
        return rest


def cancel(state: SessionState, *, waits: bool = False) -> Steps[None]:
    """Cancel what runs, with the backend's own key over a connection of its own. With `waits` nothing goes on
    before the backend has taken it: what is sent next can then not be hit."""
    head = state.queue.head
    if head is None or not state.backend_key:
        return
    permit = yield Record((), codec.request(m.CANCEL_REQUEST, state.backend_key), record_of(head))
    if type(permit) is not Refusal:
        yield Aside(permit, waits)


def _count(masked: dict[str, int], grant: Grant) -> None:
    """Move what a plan hid into the grant, whose outcome says it."""
    for name, count in masked.items():
        grant.masked[name] = grant.masked.get(name, 0) + count
    masked.clear()
