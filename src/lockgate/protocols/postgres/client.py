"""The client's side of a session: what it sends is judged, recorded and forwarded.

Apart from the server side, which matches the replies. One read buffer is one `Burst`: its messages
are judged one by one, then everything that may go on leaves in one payload under one record wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import split_frames
from lockgate.model import Refusal
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.judging import STALL, Burst, Judging, Outcome
from lockgate.protocols.postgres.operations import Problem, parameters
from lockgate.protocols.postgres.states import Gone, Owed, Portal, Prepared, SessionState
from lockgate.wire.steps import Close, Steps


class ClientSide(Judging):
    """Bytes of the client → what the backend gets."""

    def __init__(self, state: SessionState) -> None:
        super().__init__(state)
        self._limit = max(state.limits.inspect, state.limits.statement + 1_024)

    def data(self, data: bytes) -> Steps[None]:
        """Everything that arrived, in order, as far as it can be judged now."""
        state = self._state
        state.inbox = state.inbox + data if state.inbox else data
        if not state.is_client_busy and not state.is_ended:
            yield from self.go_on()

    def go_on(self) -> Steps[None]:
        """Work on what is in the inbox. Also called when a reply has come that frames waited for."""
        state = self._state
        state.is_client_busy = True
        size = -1
        while size != len(state.inbox) and not state.is_ended:
            size = len(state.inbox)
            if size >= 5:
                yield from self._burst()
        state.is_client_busy = False

    def _burst(self) -> Steps[None]:
        state = self._state
        buffer, burst = state.inbox, Burst()
        state.is_stalled = False
        try:
            frames, position = split_frames(buffer, 0, self._limit)
            for kind, start, end in frames:
                plain = _PLAIN.get(kind)
                if plain is not None:
                    outcome = plain(self, burst, buffer, start, end)
                    if outcome is not None and outcome is not STALL:
                        yield from self._answer(burst, outcome)
                else:
                    judged = _JUDGED.get(kind)
                    if judged is None:
                        raise RemoteProtocolError("a message came that has no place in a session")
                    outcome = yield from judged(self, burst, buffer, start, end)
                if outcome is STALL:
                    state.is_stalled = True
                    position = start
                    break
        except RemoteProtocolError as error:
            yield from self.fail(Problem("08P01", error.args[0], severity="FATAL"), "client broke the protocol")
            return
        state.inbox = state.inbox[position:]
        if burst.chunks:
            yield from self._send(burst)

    # ------------------------------------------------------------ messages

    def _query(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        if self._is_discarding():
            return None
        if self._must_wait(burst):
            return STALL
        if buffer[end - 1] != 0:
            raise RemoteProtocolError("a string has no end")
        seen = state.reader.read(buffer[start + 5:end - 1])
        verdict = yield from self._judge(burst, seen.query, self._planner(seen))
        if isinstance(verdict, Refusal):
            yield from self._refused(burst, seen, verdict, is_query=True)
            return None
        reply = self._reply(Owed.QUERY, seen, verdict)
        if reply.is_rewritten:
            burst.chunks.append(codec.query(reply.masked.text))  # type: ignore[union-attr]
        else:
            burst.chunks.append(buffer[start:end])
        burst.grants.append(verdict)
        burst.replies.append(reply)
        self._note(seen, verdict)
        self._next_segment()
        return None

    def _parse(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        if self._is_discarding():
            return None
        if self._must_wait(burst):
            return STALL
        name, raw, types = codec.read_parse(buffer, start, end)
        seen = state.reader.read(raw)
        verdict = yield from self._judge(burst, seen.prepare, self._planner(seen), ask=False)
        if isinstance(verdict, Refusal):
            yield from self._refused(burst, seen, verdict, is_query=False)
            return None
        if state.prepared.is_full:
            yield from self._refuse(burst, _TOO_MANY, is_query=False)
            return None
        reply = self._reply(Owed.PARSE, seen, verdict)
        reply.grant = None
        masked = reply.masked
        assert masked is not None
        prepared = Prepared(seen, masked, state.segment)
        reply.undo = state.prepared.set(name, prepared)
        if name and seen.statement is not None:
            state.names.prepare(name.decode("utf-8", "replace"), seen.statement, masked.masks_digest)
        if reply.is_rewritten:
            burst.chunks.append(codec.parse(name, masked.text, types))
        else:
            burst.chunks.append(buffer[start:end])
        burst.parses.append((prepared, reply, verdict))
        self._open(burst, reply)
        return None

    def _bind(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        state = self._state
        if self._is_discarding():
            return None
        bind = codec.read_bind(buffer, start, end)
        prepared = state.prepared.get(bind.statement)
        if prepared is not None and not state.has_settled(prepared):
            return STALL
        if prepared is None or isinstance(prepared, Gone):
            return _unknown_statement(bind.statement)
        if state.portals.is_full:
            return _TOO_MANY
        reply = state.reply(Owed.BIND)
        before = state.portals.get(bind.portal)
        reply.portal = before if isinstance(before, Portal) else None
        reply.masked = prepared.masked
        values = parameters(bind.formats, bind.values)
        reply.undo = state.portals.set(bind.portal, Portal(prepared, values, bind.result_formats, state.segment))
        if bind.portal:
            state.names.declare(bind.portal.decode("utf-8", "replace"), prepared.masked.masks_digest)
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

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
        elif not state.names.has_cursor(name.decode("utf-8", "replace")):    # psycopg asks about a DECLAREd one
            return _unknown_portal(name)
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

    def _execute(self, burst: Burst, buffer: bytes, start: int, end: int) -> Steps[Outcome]:
        state = self._state
        if self._is_discarding():
            return None
        if self._must_wait(burst):
            return STALL
        name, _ = codec.read_execute(buffer, start, end)
        portal = state.portals.get(name)
        if portal is not None and not state.has_settled(portal):
            return STALL
        if not isinstance(portal, Portal):
            yield from self._refuse(burst, _unknown_portal(name), is_query=False)
            return None
        seen, grant = portal.prepared.seen, portal.grant
        if grant is None or grant.is_settled:
            verdict = yield from self._judge(
                burst, seen.bound(portal.values), self._planner(seen, portal.prepared.masked.text)
            )
            if isinstance(verdict, Refusal):
                yield from self._refused(burst, seen, verdict, is_query=False)
                return None
            grant = portal.grant = verdict
            burst.grants.append(grant)
            burst.parses = [item for item in burst.parses if item[0] is not portal.prepared]
            self._note(seen, grant)
        else:
            burst.under = grant.record               # more rows of an execution that is on record
        reply = self._reply(Owed.EXECUTE, seen, grant)
        reply.portal = portal
        if grant.decision.detects and not state.knows_columns(portal):
            self._ask_columns(burst, name, portal)
        burst.chunks.append(buffer[start:end])
        self._open(burst, reply)
        return None

    def _ask_columns(self, burst: Burst, name: bytes, portal: Portal) -> None:
        """Detectors need the columns' types, and this client never asked for them."""
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
        burst.chunks.append(m.SYNC_FRAME)
        burst.replies.append(state.reply(Owed.SYNC))
        self._next_epoch()
        return None

    def _flush(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        if end - start != 5:
            raise RemoteProtocolError("a Flush message holds something")
        if not self._is_discarding() and self._state.copying is None:
            burst.chunks.append(buffer[start:end])
        return None

    def _copy(self, burst: Burst, buffer: bytes, start: int, end: int) -> Outcome:
        """CopyData, CopyDone, CopyFail: under the permit of the COPY, or dropped as the backend would."""
        state = self._state
        copying = state.copying
        if copying is None:
            # A client may send ahead of CopyInResponse; what follows a failed COPY is dropped.
            is_early = not self._is_discarding() and (state.queue.has_copy_in() or _has_copy_in(burst))
            return STALL if is_early else None
        grant = copying.grant
        burst.under = 0 if grant is None else grant.record
        burst.chunks.append(buffer[start:end])
        if buffer[start] != m.COPY_DATA:
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


_TOO_MANY: Final = Problem("53400", "too many prepared statements or portals in this session")
_NO_FUNCTION_CALL: Final = Problem(
    "0A000", "function calls by protocol message are refused by the gateway", hint="Use SELECT function(...)."
)


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
    m.BIND: ClientSide._bind,
    m.DESCRIBE: ClientSide._describe,
    m.CLOSE: ClientSide._close,
    m.SYNC: ClientSide._sync,
    m.FLUSH: ClientSide._flush,
    m.COPY_DATA: ClientSide._copy,
    m.COPY_DONE: ClientSide._copy,
    m.COPY_FAIL: ClientSide._copy,
}
_JUDGED: Final[dict[int, Callable[[ClientSide, Burst, bytes, int, int], Steps[Outcome]]]] = {
    m.QUERY: ClientSide._query,
    m.PARSE: ClientSide._parse,
    m.EXECUTE: ClientSide._execute,
    m.TERMINATE: ClientSide._terminate,
    m.FUNCTION_CALL: ClientSide._function_call,
}
