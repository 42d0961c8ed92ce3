"""Replies of the backend, one by one: to which message each belongs, and what of it may pass.

Apart from `server`, which cuts the stream up and sends it on: a method here says of one frame that it
passes as it is (None) or what goes in its place. What does not fit the state of the session raises
`RemoteProtocolError` (I4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lockgate.analysis.sql import Statement
from lockgate.errors import RemoteProtocolError
from lockgate.model import DetectMask, OutcomeStatus
from lockgate.protocols.postgres import codec, results
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.codec import Column
from lockgate.protocols.postgres.naming import LOST
from lockgate.protocols.postgres.operations import Problem
from lockgate.protocols.postgres.quota import CopyRows
from lockgate.protocols.postgres.requests import CopyIntake, Intake
from lockgate.protocols.postgres.states import Owed, Reply, SessionState, digest_of
from lockgate.protocols.postgres.upstream import schemas
from lockgate.wire.steps import Settle

_DROP: Final = b""
_ROLLBACK: Final = b"ROLLBACK\0"
_NAMES: Final = 4_096
_CONTRADICTED: Final = Problem(
    "42501", "the result would show a column that is masked for you", severity="FATAL",
    hint="Two independent checks of this gateway disagree about the statement, so nothing of its result is "
         "delivered. Tell those who run the gateway.",
)


class Replies:
    """What each type of message means in the session's state. `_settles` and `_fatal` collect what follows."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._settles: list[Settle] = []
        self._fatal: Problem | None = None
        self._said_goodbye = False              # the backend's own FATAL has been forwarded
        self._buffer = b""
        self._searched_for: tuple[DetectMask, ...] = ()
        self._clean: set[bytes] = set()         # names of columns in which these find nothing
        table: list[Callable[[int, int], bytes | None]] = [self._unknown] * 256
        for kind, handler in (
            (m.PARSE_COMPLETE, self._parse_complete), (m.BIND_COMPLETE, self._bind_complete),
            (m.CLOSE_COMPLETE, self._close_complete), (m.PARAMETER_DESCRIPTION, self._parameter_description),
            (m.ROW_DESCRIPTION, self._row_description), (m.NO_DATA, self._no_data),
            (m.COMMAND_COMPLETE, self._command_complete), (m.EMPTY_QUERY, self._command_complete),
            (m.PORTAL_SUSPENDED, self._portal_suspended), (m.READY, self._ready),
            (m.ERROR_RESPONSE, self._error), (m.NOTICE_RESPONSE, self._notice),
            (m.NOTIFICATION, self._notification), (m.PARAMETER_STATUS, self._parameter_status),
            (m.COPY_IN_RESPONSE, self._copy_in), (m.COPY_OUT_RESPONSE, self._copy_out),
            (m.COPY_DONE, self._copy_done),
        ):
            table[kind] = handler
        self._table = table

    # ------------------------------------------------------------ replies, by type

    def _expect(self, *owed: Owed) -> Reply:
        head = self._state.queue.head
        if head is None or head.owed not in owed:
            raise RemoteProtocolError("a reply came that nothing asked for")
        return head

    def _unknown(self, start: int, end: int) -> bytes | None:
        raise RemoteProtocolError("a message came that has no place in a session")

    def _parse_complete(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.PARSE)
        self._state.queue.pop()
        if head.grant is not None:
            self._settles.append(Settle(head.grant, OutcomeStatus.OK))
        return None

    def _bind_complete(self, start: int, end: int) -> bytes | None:
        self._expect(Owed.BIND)
        reply = self._state.queue.pop()
        self._finish_replaced(reply)
        if reply.opens and reply.masked is not None and not self._state.names.cursors.opened(
                reply.opens, digest_of(reply.masked), reply.reach, is_bound=True):
            self._doubt([reply.opens])
        return None

    def _doubt(self, names: list[str]) -> None:
        """These portals are gone, or nobody will know when they are: another one may have such a name."""
        for name in names:
            for portal in self._state.portals.named(name.encode()):
                portal.is_doubtful = True

    def _close_complete(self, start: int, end: int) -> bytes | None:
        self._expect(Owed.CLOSE)
        self._finish_replaced(self._state.queue.pop())
        return None

    def _finish_replaced(self, reply: Reply) -> None:
        """The portal that this message closed or replaced delivers no more rows."""
        portal = reply.portal
        if portal is not None and portal.grant is not None:
            self._settles.append(Settle(portal.grant, OutcomeStatus.OK, portal.rows, portal.sent))
            portal.grant = None

    def _parameter_description(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.DESCRIBE)
        if head.prepared is not None:
            head.prepared.described = codec.read_oids(self._buffer[start + 5:end])
        return None

    def _row_description(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.DESCRIBE, Owed.QUERY)
        detects = self._state.may_hide()[1]
        needs_columns = head.owed is Owed.DESCRIBE or results.detects_of(head.grant) or detects
        # A cursor that SQL declared is described without a statement of its own: the labels in force count.
        labelled = self._state.labelled if head.masked is None else head.masked.labelled
        out: bytes | None = None
        if needs_columns or labelled:
            columns = codec.read_row_description(self._buffer, start, end)
            due = () if head.masked is None else head.masked.results
            if results.is_contradicted(labelled, columns, due):
                self._fatal = _CONTRADICTED
                return _DROP
            if head.owed is Owed.QUERY:
                head.columns = columns
            elif head.portal is not None:
                head.portal.columns = head.portal.prepared.columns = columns
            elif head.prepared is not None:
                head.prepared.columns = columns
            hidden = self._hidden_names(detects, columns)
            if hidden:
                out = codec.renamed_columns(self._buffer, start, end, hidden)
        if head.owed is Owed.DESCRIBE:
            self._state.queue.pop()
            return _DROP if head.is_hidden else out
        head.plan = None                        # of the result before, in a string of several statements
        return out

    def _hidden_names(self, detects: tuple[DetectMask, ...], columns: tuple[Column, ...]) -> dict[int, bytes]:
        """Names that code may have made from values, in which a detector of the session finds something: what goes
        in their place. Names that were looked at are kept, for most results have them again."""
        if not detects:
            return {}
        if detects is not self._searched_for or len(self._clean) > _NAMES:
            self._searched_for, self._clean = detects, set()
        found: dict[int, bytes] = {}
        for index, column in enumerate(columns):
            if column.name in self._clean:
                continue
            if results.holds_detected(detects, {"": column.name.decode("utf-8", "replace")}):
                found[index] = b"column%d" % (index + 1)
            else:
                self._clean.add(column.name)
        return found

    def _no_data(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.DESCRIBE)
        self._state.queue.pop()
        if head.portal is not None:
            head.portal.columns = ()
        elif head.prepared is not None:
            head.prepared.columns = ()
        return _DROP if head.is_hidden else None

    def _command_complete(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.EXECUTE, Owed.QUERY)
        self._completed(head, start, end)
        grant, masked = head.grant, head.masked
        if masked is None or not masked.shown or grant is None or not grant.decision.notice or head.is_noticed:
            return None
        head.is_noticed = True
        return results.honesty(masked.shown) + self._buffer[start:end]

    def _completed(self, head: Reply, start: int, end: int) -> None:
        head.is_copying_out = False
        head.rolls_back = head.rolls_back or self._buffer[start + 5:end] == _ROLLBACK
        if head.owed is Owed.QUERY:
            head.affected += codec.affected_rows(self._buffer, start, end)
            head.plan = None
            if self._state.copying is head:
                self._state.copying = None
            return
        state = self._state
        state.queue.pop()
        if state.copying is head:
            state.copying = None
        portal, grant = head.portal, head.grant
        if grant is not None:
            rows, sent = head.rows, head.sent
            if portal is not None and portal.grant is grant:
                rows, sent = rows + portal.rows, sent + portal.sent
                portal.grant = None
            rows = rows or codec.affected_rows(self._buffer, start, end)
            self._settles.append(Settle(grant, OutcomeStatus.OK, rows, sent))
        self._executed(head)

    def _executed(self, head: Reply) -> None:
        """A statement ran to its end: what it did to names and definitions counts from now on."""
        state = self._state
        if head.is_labelled:
            state.is_transaction_labelled = state.has_shown_masks = state.has_labelled_run = True
        if head.changes_catalogue:
            state.has_changed_catalogue = True
        seen, masked = head.seen, head.masked
        if seen is not None and seen.is_noteworthy and not head.code:
            assert seen.statement is not None
            assert masked is not None
            running = "" if head.portal is None else head.portal.bind.portal.decode("utf-8", "replace")
            state.names.succeeded(seen.statement, masked, head.reach, rolls_back=head.rolls_back, running=running)
            self._doubt(state.names.cursors.take_gone())
            self._forget_portals(seen.statement)

    def _forget_portals(self, statement: Statement) -> None:
        """SQL has closed them, or has opened a cursor where one would have been in the way."""
        portals = self._state.portals
        for name in (*statement.cursors_closed, *statement.cursors_declared):
            gone = [portal for portal in portals.named(None if name is None else name.encode()) if portal.is_doubtful]
            portals.forget_these(gone)
            self._settles += [Settle(portal.grant, OutcomeStatus.OK, portal.rows, portal.sent)
                              for portal in gone if portal.grant is not None]

    def _portal_suspended(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.EXECUTE)
        self._state.queue.pop()
        if head.portal is not None:
            head.portal.rows += head.rows
            head.portal.sent += head.sent
        if head.is_labelled:
            self._state.is_transaction_labelled = self._state.has_labelled_run = True
        return None

    def _ready(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.SYNC, Owed.QUERY)
        if end - start != 6:
            raise RemoteProtocolError("a ReadyForQuery does not add up")
        self._state.queue.pop()
        self._is_ready(head, self._buffer[start + 5])
        return None

    def _is_ready(self, head: Reply, status: int) -> None:
        """A Sync or a Query is through, and this is the transaction status that the client is told."""
        state = self._state
        state.status = status
        state.has_labelled_run = False
        state.acknowledged = head.segment + 1
        if head.owed is Owed.SYNC and head.epoch == state.queue.failed_epoch:
            state.queue.failed_epoch = -1
        if head.owed is Owed.QUERY:
            if state.copying is head:
                state.copying = None
            if head.grant is not None:
                rows = head.rows if head.is_over else head.rows or head.affected
                self._settles.append(Settle(head.grant, head.outcome, rows, head.sent, head.code))
            self._executed(head)
        if state.status == m.IDLE:
            self._transaction_over(head.segment)

    def _transaction_over(self, segment: int) -> None:
        state = self._state
        state.is_transaction_labelled = False
        state.names.cursors.ended(is_committed=not state.has_failed)
        state.names.cursors.take_gone()         # they are dropped below
        state.has_failed = False
        if not state.queue:
            state.surroundings.settled()
        for portal in state.portals.drop_until(segment):
            if portal.grant is not None:
                self._settles.append(Settle(portal.grant, OutcomeStatus.OK, portal.rows, portal.sent))
        if state.has_changed_catalogue:
            state.has_changed_catalogue = False
            state.is_stale = True

    # ------------------------------------------------------------ COPY

    def _copy_in(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.EXECUTE, Owed.QUERY)
        state = self._state
        codec.read_copy_response(self._buffer, start, end)
        state.copying = head
        head.intake = self._intake(head)
        if head.owed is Owed.EXECUTE and state.queue.drop_syncs():
            state.segment, state.epoch, state.is_segment_open = head.segment, head.epoch, True
        return None

    def _intake(self, head: Reply) -> CopyIntake | None:
        """What looks at the data that is about to come, where policy has something to look for."""
        seen, grant = head.seen, head.grant
        if grant is None or seen is None or not grant.decision.looks_at_requests:
            return None
        stated = () if seen.statement is None else seen.statement.copies_in
        if head.copies_in >= len(stated) or stated[head.copies_in].problem is not None:
            raise RemoteProtocolError("a COPY runs that its statement does not describe")
        head.copies_in += 1
        intake = Intake(seen, head.masked, grant.decision, self._state.masks, saw_masks=self._state.has_shown_masks)
        return CopyIntake(intake, stated[head.copies_in - 1], self._state.limits.inspect)

    def _copy_out(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.EXECUTE, Owed.QUERY)
        formats = codec.read_copy_response(self._buffer, start, end)
        stated = results.stated(head)
        head.plan = results.copy_plan(head, formats, stated)
        if head.bound is not None:
            head.bound.copied = CopyRows(stated, any(formats))
        head.is_copying_out = True
        return None

    def _copy_done(self, start: int, end: int) -> bytes | None:
        head = self._expect(Owed.EXECUTE, Owed.QUERY)
        if not head.is_copying_out:
            raise RemoteProtocolError("the end of a COPY came that had not begun")
        head.is_copying_out = False
        return None

    # ------------------------------------------------------------ errors and asynchronous messages

    def _error(self, start: int, end: int) -> bytes | None:
        state, queue = self._state, self._state.queue
        found = codec.read_fields(self._buffer, start, end)
        code = found.get("C", "") or "XX000"
        state.surroundings.failed()
        head = queue.head
        out = self._worded(m.ERROR_RESPONSE, found, head)
        if codec.is_fatal(found):
            self._said_goodbye = True
            if head is not None:
                head.code = code
            return out
        if head is None:
            return out
        state.has_failed = True
        if state.copying is head:
            state.copying = None
        if head.seen is not None and head.seen.statement is not None and head.seen.statement.transaction:
            state.names.cursors.failed(head.seen.statement)
            self._doubt(state.names.cursors.take_gone())
        if head.problem is not None:
            out = head.problem.encode()
        if head.owed is Owed.QUERY:
            head.code = code
            head.is_copying_out = False
            self._executed(head)
        elif head.owed is not Owed.SYNC:
            self._settle_portal(head, code)
            self._settles += queue.fail(code)
        return out

    def _settle_portal(self, head: Reply, code: str) -> None:
        """An Execute failed: its portal gives no more rows."""
        portal = head.portal
        if head.owed is Owed.EXECUTE and portal is not None and portal.grant is head.grant:
            head.rows += portal.rows
            head.sent += portal.sent
            portal.grant = None

    def _worded(self, kind: int, found: dict[str, str], head: Reply | None) -> bytes | None:
        """None where the backend's own words may pass as they are."""
        state = self._state
        is_labelled = state.is_transaction_labelled or (state.is_guarded if head is None else head.is_labelled)
        has_find = head is not None and results.holds_detected(results.detects_of(head.grant), found)
        if is_labelled or has_find:
            out = results.rebuilt(kind, found, has_find)
            return _DROP if out is None else out
        if head is not None and head.is_rewritten and "P" in found:
            return results.without_position(kind, found)
        return None

    def _notice(self, start: int, end: int) -> bytes | None:
        found = codec.read_fields(self._buffer, start, end)
        return self._worded(m.NOTICE_RESPONSE, found, self._state.queue.head)

    def _notification(self, start: int, end: int) -> bytes | None:
        if self._state.is_guarded:
            return codec.silenced_notification(self._buffer, start, end)
        return None

    def _parameter_status(self, start: int, end: int) -> bytes | None:
        name, value = codec.read_parameter(self._buffer, start, end)
        state = self._state
        pinned = m.PINNED.get(name)
        if pinned is not None and value != pinned:
            self._fatal = Problem(
                "0A000", f"{name} must stay {pinned} behind this gateway",
                hint="Statements are analysed under this setting; connect again and leave it as it is.",
                severity="FATAL",
            )
            return _DROP
        if name == "search_path":
            state.names.path = schemas(value, state.user)
        head = state.queue.head
        if state.has_labelled_run or (head is not None and head.is_labelled) or (
                results.holds_detected(state.may_hide()[1], {"": value})):
            return _DROP                        # a statement may have set it to what it read: the client keeps what it knew
        if name == "application_name" and state.tag is not None:
            shown = state.tag.shown(value)
            if shown is None:
                self._fatal = LOST
                return _DROP
            return codec.parameter_status(name, shown)
        return None if name in m.REPORTED else _DROP
