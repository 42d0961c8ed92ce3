"""The client's side of a session: what it sends is judged, recorded and forwarded.

Apart from the server side, which matches the replies. One read buffer is one `Burst`: its messages
are judged one by one, then everything that may go on leaves in one payload under one record wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from lockgate.analysis.sql import SHOWS_VALUES, Masked
from lockgate.errors import RemoteProtocolError
from lockgate.govern.pipeline import Grant
from lockgate.kernel.frames import HEADER, frame, split_frames
from lockgate.model import UNLIMITED, MaskMethod, Refusal
from lockgate.protocols.postgres import codec, results
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.bounds import BEGIN, Bound, Cursor, bound_of, has_effect
from lockgate.protocols.postgres.judging import STALL, Burst, Judging, Outcome
from lockgate.protocols.postgres.operations import Problem, Seen, problem_of, reading_of
from lockgate.protocols.postgres.quota import Quota
from lockgate.protocols.postgres.requests import Intake
from lockgate.protocols.postgres.resolving import reach_of
from lockgate.protocols.postgres.states import Gone, Owed, Portal, Prepared, Reply, SessionState, digest_of
from lockgate.protocols.postgres.values import read_values, types_of
from lockgate.wire.steps import Close, Steps, computed


class ClientSide(Judging):
    """Bytes of the client → what the backend gets."""

    def __init__(self, state: SessionState) -> None:
        super().__init__(state)
        self._limit = max(state.limits.inspect, state.limits.statement + 1_024)
        self._pieces: list[bytes] = []      # behind the inbox, of a frame that is not whole: joined once, not at every read
        self._missing = 0

    def data(self, data: bytes) -> Steps[None]:
        """Everything that arrived, in order, as far as it can be judged now."""
        state = self._state
        self._missing -= len(data)
        if self._missing > 0:
            self._pieces.append(data)
            return
        if state.inbox or self._pieces:
            data = b"".join((state.inbox, *self._pieces, data))
            self._pieces.clear()
        state.inbox = data
        if not state.is_client_busy and not state.is_ended:
            yield from self.go_on()

    def go_on(self) -> Steps[None]:
        """Work on what is in the inbox. Also called when a reply has come that frames waited for."""
        state = self._state
        state.is_client_busy = True
        size = -1
        while not state.is_ended:
            if state.is_full and state.copying is None and len(state.queue) > _MOST_OWED // 2:
                break
            if size == len(state.inbox) and not (state.is_woken or state.is_full):
                break
            size = len(state.inbox)
            state.is_woken = state.is_full = False
            if size >= 5:
                yield from self._burst()
        state.is_client_busy = False
        self._missing = _length_of(state.inbox) - len(state.inbox) - sum(map(len, self._pieces))

    def _burst(self) -> Steps[None]:
        state = self._state
        buffer, burst = state.inbox, Burst()
        state.is_stalled = False
        try:
            window = buffer if len(buffer) <= _WINDOW else buffer[:_WINDOW]
            frames, position = split_frames(window, 0, self._limit)
            if not frames and window is not buffer:
                frames, position = split_frames(buffer, 0, self._limit)
            room = _MOST_OWED - len(state.queue)
            for kind, start, end in frames:
                if len(burst.replies) >= room and state.copying is None:
                    if state.is_segment_open:
                        burst.chunks.append(m.FLUSH_FRAME)
                    state.is_stalled = state.is_full = True
                    position = start
                    break
                if (state.bounded is not None and not self._may_pass(kind, state.bounded)) or (
                        state.question is not None and not state.question.is_answered and kind not in _BESIDE_ROWS):
                    self._ask_for_rows(burst)
                    state.is_stalled = True
                    position = start
                    break
                if state.copying is not None and kind not in _DURING_COPY:
                    raise RemoteProtocolError("a message came that has no place in COPY data")
                plain = _PLAIN.get(kind)
                if plain is not None:
                    outcome = plain(self, burst, buffer, start, end)
                else:
                    waiting = _WAITING.get(kind)
                    if waiting is None:
                        raise RemoteProtocolError("a message came that has no place in a session")
                    outcome = yield from waiting(self, burst, buffer, start, end)
                if outcome is STALL:
                    state.is_stalled = True
                    position = start
                    break
                if outcome is not None:
                    yield from self._answer(burst, outcome)
        except RemoteProtocolError as error:
            yield from self.fail(Problem("08P01", error.args[0], severity="FATAL"), "client broke the protocol")
            return
        state.inbox = state.inbox[position:]
        if burst.chunks:
            yield from self._send(burst)

    # ------------------------------------------------------------ messages

    def _query(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        verdict: Grant | Refusal | None
        verdict, state.ahead = state.ahead, None
        if self._is_discarding():
            state.question = None
            return None
        if self._must_wait(burst):
            return STALL
        question, state.question = state.question, None
        if buffer[end - 1] != 0:
            raise RemoteProtocolError("a string has no end")
        raw = buffer[start + 5:end - 1]
        if self._may_be_misread(raw):
            yield from self._refuse(burst, _SYNC_FIRST, is_query=True)
            return None
        if not burst.has_catalogue:
            yield from self._look(burst)
        seen = self._within(state.reader.read(raw))
        asked = seen.asked(state.surroundings)
        if question is not None and question.problem is not None:
            yield from self._unplanned(burst, question)
            return None
        if verdict is None:
            verdict = yield from self._judge(burst, seen, asked, self._planner(seen), question=question)
        if isinstance(verdict, Refusal):
            yield from self._refused(burst, seen, verdict, is_query=True)
            return None
        if verdict.decision.wants:
            if not state.is_segment_open:
                self._inquire(burst, seen, asked, verdict)
                return STALL
            yield from self._refuse(burst, _ASK_ALONE, is_query=True)
            return None
        bound = self._bound(seen, verdict) if state.cursors or verdict.decision.limits is not UNLIMITED else None
        if bound is not None and bound.waits and (state.queue or burst.chunks or state.is_server_busy):
            state.ahead = verdict                   # how it is sent depends on the block that it will be in
            return STALL
        reply = self._reply(Owed.QUERY, seen, verdict)
        if bound is not None:
            self._put_under(reply, bound)
        if bound is not None and bound.is_wrapped:
            burst.chunks.append(codec.query(BEGIN + reply.masked.text))  # type: ignore[union-attr]
        elif reply.is_rewritten:
            burst.chunks.append(codec.query(reply.masked.text))  # type: ignore[union-attr]
        else:
            burst.chunks.append(buffer[start:end])
        burst.grants.append(verdict)
        burst.replies.append(reply)
        self._note(seen, verdict)
        self._next_segment()
        return None

    def _may_be_misread(self, raw: bytes) -> bool:
        """Code of unknown effect ran in this segment. If it has changed `standard_conforming_strings` or
        `client_encoding`, the backend says so with its ReadyForQuery only (ReportChangedGUCOptions in
        postgres.c): until then a text must read the same under every value of the two."""
        return self._state.opaque_segment == self._state.segment and (b"\\" in raw or not raw.isascii())

    def _parse(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        if self._is_discarding():
            return None
        if self._must_wait(burst):
            return STALL
        name, raw, types = codec.read_parse(buffer, start, end)
        if self._may_be_misread(raw):
            yield from self._refuse(burst, _SYNC_FIRST, is_query=False)
            return None
        if not burst.has_catalogue:
            yield from self._look(burst)
        seen = self._within(state.reader.read(raw))
        verdict = yield from self._judge(burst, seen, seen.prepare, self._planner(seen), ask=False)
        if isinstance(verdict, Refusal):
            yield from self._refused(burst, seen, verdict, is_query=False)
            return None
        state.prepared.prune(state.acknowledged)
        if state.prepared.is_full:
            yield from self._refuse(burst, _TOO_MANY, is_query=False)
            return None
        reply = self._reply(Owed.PARSE, seen, verdict)
        reply.grant = None
        masked = reply.masked
        assert masked is not None
        prepared = Prepared(seen, masked, state.segment, verdict.decision, types)
        if prepared.weight > _HEAVY and state.prepared.holds_more_than(state.limits.inspect):
            yield from self._refuse(burst, _TOO_MUCH, is_query=False)
            return None
        reply.undo = state.prepared.set(name, prepared)
        if name and seen.statement is not None:
            state.names.prepare(name.decode("utf-8", "replace"), seen.statement,
                                SHOWS_VALUES if _holds_values(masked) else digest_of(masked))
        if reply.is_rewritten:
            burst.chunks.append(codec.parse(name, masked.text, types))
        else:
            burst.chunks.append(buffer[start:end])
        burst.parses.append((prepared, reply, verdict))
        self._open(burst, reply)
        return None

    def _bind(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        if self._is_discarding():
            return None
        if self._must_wait(burst):
            return STALL
        bind = codec.read_bind(buffer, start, end)
        prepared = state.prepared.get(bind.statement)
        if prepared is not None and not state.has_settled(prepared):
            return STALL
        if prepared is None or isinstance(prepared, Gone):
            return _unknown_statement(bind.statement)
        state.portals.prune(state.acknowledged)
        if state.portals.is_full:
            return _TOO_MANY
        before = state.portals.get(bind.portal)
        if bind.portal and before is not None and not state.has_settled(before):
            return STALL                            # what a failure takes back must be what the backend has
        reply = state.reply(Owed.BIND)
        reply.portal = before if isinstance(before, Portal) else None
        reply.masked = prepared.masked
        values = read_values(bind.formats, bind.values, prepared.types, prepared.described)
        portal = Portal(prepared, bind, values, state.segment, reading_of(bind.formats, prepared.types))
        if portal.weight > _HEAVY and state.portals.holds_more_than(state.limits.inspect):
            return _TOO_MUCH
        reply.undo = state.portals.set(bind.portal, portal)
        if bind.portal:
            reply.opens = bind.portal.decode("utf-8", "replace")
            reply.reach = reach_of(prepared.seen, state.catalogue, state.names)
        burst.chunks.append((yield from self._taken_in(bind, portal, buffer[start:end])))
        self._open(burst, reply)
        return None

    def _taken_in(self, bind: codec.Bind, portal: Portal, raw: bytes) -> Steps[bytes]:
        """The Bind as it goes on: its values are looked at before they leave. What came of it is told at Execute,
        which is judged."""
        prepared, decision = portal.prepared, portal.prepared.decision
        if not (bind.values and decision.looks_at_requests):
            return raw
        intake = Intake(prepared.seen, prepared.masked, decision, self._state.masks,
                        saw_masks=self._state.has_shown_masks, catalogue=self._state.catalogue)
        types = types_of(prepared.types, prepared.described)
        values = yield from computed(
            lambda: intake.parameters(bind.values, bind.formats, types, portal.values), len(raw))
        portal.refusal, portal.noted = intake.refusal, intake.noted
        if all(new is old for new, old in zip(values, bind.values, strict=True)):
            return raw
        portal.bind = bind._replace(values=values)
        return codec.bind(portal.bind)

    def _describe(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        state = self._state
        if self._is_discarding():
            return None
        kind, name = codec.read_target(buffer, start, end)
        reply = state.reply(Owed.DESCRIBE)
        found = state.prepared.get(name) if kind == ord("S") else state.portals.get(name)
        if found is not None and not state.has_settled(found):
            return STALL
        if isinstance(found, Prepared):
            reply.prepared, reply.masked, found.asked = found, found.masked, state.segment
        elif isinstance(found, Portal):
            reply.portal, reply.masked, found.asked = found, found.prepared.masked, state.segment
        elif kind == ord("S"):
            return _unknown_statement(name)
        elif self._must_wait(burst):
            return STALL
        elif name.decode("utf-8", "replace") not in state.names.cursors:    # psycopg asks about a DECLAREd one
            return _unknown_portal(name)
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

    def _execute(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        question = state.question
        if self._is_discarding():
            state.question = None
            if question is not None and question.problem is not None:
                yield from self._unplanned(burst, question)
            return None
        if self._must_wait(burst):
            return STALL
        state.question = None
        name, _ = codec.read_execute(buffer, start, end)
        portal = state.portals.get(name)
        if portal is not None and not state.has_settled(portal):
            return STALL
        if not isinstance(portal, Portal) or portal.is_doubtful:
            yield from self._refuse(burst, _unknown_portal(name), is_query=False)
            return None
        grant = portal.grant
        if (grant is None or grant.is_settled) and not burst.has_catalogue:
            yield from self._look(burst)
        seen = self._within(portal.prepared.seen)
        if grant is None or grant.is_settled:
            asked = seen.bound(portal.values, portal.reading, state.surroundings)
            verdict = yield from self._judge(
                burst, seen, asked, self._planner(seen, portal), question=question)
            if isinstance(verdict, Refusal):
                yield from self._refused(burst, seen, verdict, is_query=False)
                return None
            if verdict.decision.wants:
                self._inquire(burst, seen, asked, verdict, portal)
                return STALL
            grant = portal.grant = verdict
            burst.grants.append(grant)
            burst.parses = [item for item in burst.parses if item[0] is not portal.prepared]
            self._note(seen, grant)
        else:
            burst.under = grant.record               # more rows of an execution that is on record
        reply = self._reply(Owed.EXECUTE, seen, grant)
        reply.portal = portal
        self._note_effect(seen, grant)
        if grant.decision.limits is not UNLIMITED or portal.quota is not None or state.cursors:
            bound = self._bound(seen, grant, portal)
            if bound is not None:
                self._put_under(reply, bound)
        if self._needs_columns(reply) and not state.knows_columns(portal):
            self._ask_columns(burst, name, portal)
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

    # ------------------------------------------------------------ row limits

    def _may_pass(self, kind: int, bounded: Reply) -> bool:
        """Whether a message may go on behind one under row limits that is not through yet. A Sync may where what
        it would make final has no effect, or where the block can still be made to fail after it."""
        state = self._state
        if bounded.bound is None:                   # an error before it took it back
            state.bounded = None
            return True
        if kind != m.SYNC or state.copying is not None:
            return kind in _BESIDE_ROWS or kind == m.SYNC
        return (
            bounded.owed is Owed.EXECUTE and not bounded.bound.has_sync and state.knows_status
            and (not state.segment_writes or (state.status == m.IN_BLOCK and not state.segment_controls))
        )

    def _ask_for_rows(self, burst: Burst) -> None:
        """No Sync is on its way that would bring the replies."""
        state = self._state
        if state.is_segment_open and state.is_flush_due_for_rows:
            state.is_flush_due_for_rows = False
            burst.chunks.append(m.FLUSH_FRAME)

    def _bound(self, seen: Seen, grant: Grant, portal: Portal | None = None) -> Bound | None:
        """The row limits of a message that is about to be sent, with those of the cursors that it fetches from."""
        state, statement, limits = self._state, seen.statement, grant.decision.limits
        if statement is None:
            return None
        rule = dict(grant.decision.limit_rules).get("rows") if limits else None
        if portal is not None and portal.quota is None and limits.rows is not None and not statement.cursors_fetched:
            portal.quota = Quota(limits.rows, rule, portal.rows)
        cursors = []
        for name in statement.cursors_fetched:
            bound = state.portals.get(name.encode())
            if isinstance(bound, Portal) and bound.quota is not None:
                cursors.append(Cursor((bound.quota,), is_held=False))
            elif name not in state.cursors and limits.rows is not None:
                state.cursors[name] = Cursor((Quota(limits.rows, rule),), is_held=True)
            if name in state.cursors:
                cursors.append(state.cursors[name])
        return bound_of(grant, statement, None if portal is None else portal.quota, cursors)

    def _put_under(self, reply: Reply, bound: Bound) -> None:
        state, grant = self._state, reply.grant
        assert grant is not None
        reply.bound = bound
        if bound.waits:
            state.bounded, state.is_flush_due_for_rows = reply, True
            bound.is_wrapped = reply.owed is Owed.QUERY and state.status == m.IDLE and (
                bound.changed is not None or has_effect(grant.operation))

    def _note_effect(self, seen: Seen, grant: Grant) -> None:
        """What the Sync of the open segment will make final."""
        state = self._state
        if seen.statement is None or seen.statement.transaction:
            state.segment_controls = state.segment_writes = True
        elif not state.segment_writes:
            state.segment_writes = has_effect(grant.operation)

    def _needs_columns(self, reply: Reply) -> bool:
        """True for rows that are looked at, or whose columns must not be labelled ones."""
        if results.detects_of(reply.grant):
            return True
        statement = None if reply.seen is None else reply.seen.statement
        return reply.masked is not None and bool(reply.masked.labelled) and (
            statement is None or statement.returns_rows_maybe)

    def _ask_columns(self, burst: Burst, name: bytes, portal: Portal) -> None:
        """Detectors and the second witness need the columns, and this client never asked for them."""
        reply = self._state.reply(Owed.DESCRIBE)
        reply.portal, reply.masked, reply.is_hidden = portal, portal.prepared.masked, True
        portal.asked = self._state.segment
        burst.chunks.append(codec.describe_portal(name))
        self._open(burst, reply)

    def _close(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        state = self._state
        if self._is_discarding():
            return None
        kind, name = codec.read_target(buffer, start, end)
        reply = state.reply(Owed.CLOSE)
        if kind == ord("S"):
            reply.undo = state.prepared.set(name, Gone(state.segment))
        else:
            before = state.portals.get(name)
            reply.portal = before if isinstance(before, Portal) else None
            reply.undo = state.portals.set(name, Gone(state.segment))
            state.names.cursors.close(name.decode("utf-8", "replace"))
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

    def _sync(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        state = self._state
        if end - start != 5:
            raise RemoteProtocolError("a Sync message holds something")
        if state.copying is not None:
            return None                             # the copying backend would ignore it too
        if state.has_local_sync:
            self._next_epoch()
            state.acknowledged = max(state.acknowledged, state.segment) if state.is_quiet else state.acknowledged
            return codec.ready(state.status)
        burst.has_end = True
        burst.chunks.append(m.SYNC_FRAME)
        reply = state.reply(Owed.SYNC)
        if state.bounded is not None and state.bounded.bound is not None:
            reply.bound = state.bounded.bound       # it goes on ahead of the rows
            reply.bound.has_sync = True
        burst.replies.append(reply)
        self._next_epoch()
        return None

    def _flush(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        if end - start != 5:
            raise RemoteProtocolError("a Flush message holds something")
        if not self._is_discarding() and self._state.copying is None:
            burst.chunks.append(buffer[start:end])
        return None

    def _copy(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        """CopyData, CopyDone, CopyFail: under the permit of the COPY, or dropped as the backend would."""
        state = self._state
        copying = state.copying
        if copying is None:
            # A client may send ahead of CopyInResponse; what follows a failed COPY is dropped.
            is_early = not self._is_discarding() and (state.queue.has_copy_in() or _has_copy_in(burst))
            return STALL if is_early else None
        grant = copying.grant
        burst.under = 0 if grant is None else grant.record
        data = buffer[start:end]
        if copying.intake is not None:
            data = yield from computed(partial(copying.intake.apply, data), copying.intake.size(data))
            if copying.intake.refusal is not None:
                # The backend fails, and its error is replaced: so a transaction block fails on both sides.
                copying.problem = problem_of(copying.intake.refusal)
                data, state.copying = _COPY_REFUSED, None
        burst.chunks.append(data)
        if buffer[start] != m.COPY_DATA:
            if copying.intake is not None and grant is not None:
                for name in copying.intake.noted:
                    grant.masked[name] = grant.masked.get(name, 0) + 1
            state.copying = None
        return None

    def _terminate(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        """Forward, and hang up at once: asyncpg waits for the server to do so."""
        burst.chunks.append(m.TERMINATE_FRAME)
        yield from self._send(burst)
        self._state.is_ended = True
        yield Close("client terminated")
        return None

    def _function_call(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        if not self._is_discarding():
            yield from self._refuse(burst, _NO_FUNCTION_CALL, is_query=True)
        return None


def _length_of(inbox: bytes) -> int:
    """Bytes of the frame that begins here; 0 where its header is not there yet."""
    return 1 + int.from_bytes(inbox[1:5], "big") if len(inbox) >= HEADER else 0


_COPY_REFUSED: Final = frame(m.COPY_FAIL, b"lockgate refused the data\0")
_HEAVY: Final = 16_384
_WINDOW: Final = 65_536
"""Bytes of frames that are taken apart at a time."""
_MOST_OWED: Final = 4_096
"""Replies owed above which frames wait, until half of them have come: a client that does not read makes the
gateway keep no more than this."""
_SYNC_FIRST: Final = Problem(
    "0A000", "a statement with a backslash or a character beyond ASCII cannot follow here before a Sync",
    hint="Code whose effect the gateway cannot see ran in this pipeline. Send Sync (or end the pipeline) first.",
)
_ASK_ALONE: Final = Problem(
    "0A000", "a Query whose size a policy depends on cannot follow other messages before a Sync", hint="Send Sync first.",
)
_TOO_MUCH: Final = Problem("53400", "the prepared statements or portals of this session hold too much text",
                           hint="Close those that are not used.")
_BESIDE_ROWS: Final = frozenset({m.COPY_DATA, m.COPY_DONE, m.COPY_FAIL, m.FLUSH})
"""What may go on while the rows of a statement under limits are awaited."""
_DURING_COPY: Final = frozenset({m.COPY_DATA, m.COPY_DONE, m.COPY_FAIL, m.SYNC, m.FLUSH, m.TERMINATE})
"""What may come while the backend reads COPY data. It ends its session over anything else, for it does
not read the message that it complains about (copyfromparse.c, CopyGetData); so does the gateway."""
_TOO_MANY: Final = Problem("53400", "too many prepared statements or portals in this session")
_NO_FUNCTION_CALL: Final = Problem(
    "0A000", "function calls by protocol message are refused by the gateway", hint="Use SELECT function(...)."
)


def _holds_values(masked: Masked) -> bool:
    """Whether a text may hold values that tokens stood for: SQL must not run or explain it by its name."""
    return any(one.opens and one.literal >= 0 and one.cover.method is MaskMethod.TOKEN for one in masked.placed)


def _unknown_statement(name: bytes) -> Problem:
    shown = name.decode("utf-8", "replace")
    return Problem("26000", f'prepared statement "{shown}" does not exist' if shown
                   else "unnamed prepared statement does not exist")


def _unknown_portal(name: bytes) -> Problem:
    return Problem("34000", f'portal "{name.decode("utf-8", "replace")}" does not exist')


def _has_copy_in(burst: Burst) -> bool:
    return any(r.seen is not None and r.seen.statement is not None and r.seen.statement.copy == "in"
               for r in burst.replies)


_PLAIN: Final[dict[int, Callable[[ClientSide, Burst, bytes, int, int], Outcome]]] = {
    m.DESCRIBE: ClientSide._describe,
    m.CLOSE: ClientSide._close,
    m.SYNC: ClientSide._sync,
    m.FLUSH: ClientSide._flush,
}
_WAITING: Final[dict[int, Callable[[ClientSide, Burst, bytes, int, int], Steps[Outcome]]]] = {
    m.QUERY: ClientSide._query,
    m.PARSE: ClientSide._parse,
    m.BIND: ClientSide._bind,
    m.EXECUTE: ClientSide._execute,
    m.COPY_DATA: ClientSide._copy,
    m.COPY_DONE: ClientSide._copy,
    m.COPY_FAIL: ClientSide._copy,
    m.TERMINATE: ClientSide._terminate,
    m.FUNCTION_CALL: ClientSide._function_call,
}
