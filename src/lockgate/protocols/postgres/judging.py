"""What every message of a client shares: judging, planning, sending, and how a refusal is answered.

Apart from `client`, which reads the messages one by one: here is what becomes of them.

How a refusal keeps both ends in agreement: where nothing is owed and no block is open, it is
answered here and nothing is sent. Otherwise a message that is sure to fail goes in the refused
one's place, and the backend's error for it is replaced: so the order of replies, the failed
transaction block and the discarding until Sync are the backend's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final

from lockgate.analysis.sql import Masked, Naming, Statement
from lockgate.govern.pipeline import Grant, Planned
from lockgate.model import UNLIMITED, Decision, Effect, Operation, Refusal, RefusalCode
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.bounds import refusal_of
from lockgate.protocols.postgres.estimate import EXECUTE_OFFSET, QUERY_OFFSET, Question, as_messages, as_query
from lockgate.protocols.postgres.naming import REFUSED, Tag
from lockgate.protocols.postgres.operations import PLAN_CHANGED, Problem, Seen, held_notice, problem_of
from lockgate.protocols.postgres.own import FAILING_PARSE, FAILING_QUERY, Own, Purpose
from lockgate.protocols.postgres.requests import Intake
from lockgate.protocols.postgres.resolving import estimated, reach_of, resolved
from lockgate.protocols.postgres.results import hides_from
from lockgate.protocols.postgres.states import Looked, Owed, Portal, Prepared, Reply, SessionState
from lockgate.protocols.postgres.surroundings import matters
from lockgate.wire.steps import (
    Close,
    Compose,
    Judge,
    Note,
    Record,
    Snapshot,
    Steps,
    ToClient,
    ToServer,
)

_ENDING: Final = frozenset({RefusalCode.EXPIRED, RefusalCode.SHUTTING_DOWN})

_OF_NAMES: Final = frozenset({RefusalCode.DENIED, RefusalCode.UNKNOWN_OBJECT})

_NOT_EXECUTED: Final = Refusal(
    RefusalCode.UNSUPPORTED, "FETCH from a portal that was bound by message and not executed",
    hint="Execute the portal by message, or DECLARE a cursor.",
)

_NOT_TYPED: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a binary COPY does not name its columns' types, so numbers in it cannot be told",
    hint="Use FORMAT text or csv, or SELECT.",
)

_CURSORS: Final = 4_096
_TOO_MANY_CURSORS: Final = Refusal(
    RefusalCode.TOO_LARGE, "too many cursors under row limits are open", hint="Close those that are not used.",
)
_NOT_SHOWN: Final = Refusal(
    RefusalCode.UNSUPPORTED, "a person has to approve this, and EXECUTE does not show them what would run",
    hint="Send the statement itself.",
)
_NOT_REPLACED: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a value in this statement has to be replaced, and cannot be where it stands",
    hint="Send the value as a parameter, or leave it out.",
)

_ASK_AGAIN: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "other rules on what may be sent are in force than when the values were",
    hint="Send the statement and its values again.",
)


def _says_the_same(one: Statement, other: Statement | None) -> bool:
    """Whether a decision on one statement is one on the other: everything that policy is told of them, but their length."""
    return other is not None and (one.verbs, one.objects, one.count) == (other.verbs, other.objects, other.count) and all(
        value == other.facts.get(name) for name, value in one.facts.items() if name != "text_length")


class Burst:
    """What one read buffer may send on: payload, replies owed, grants to record."""

    __slots__ = ("chunks", "grants", "has_catalogue", "has_end", "parses", "replies", "under")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.replies: list[Reply] = []
        self.grants: list[Grant] = []
        self.parses: list[tuple[Prepared, Reply, Grant]] = []    # not executed yet in this burst
        self.under = 0
        self.has_catalogue = False
        self.has_end = False            # a Sync or a failing message: replies that do not wait for what follows

    def sent(self) -> None:
        """Everything in it has left: what comes next is judged by what is known then."""
        self.chunks, self.grants, self.replies, self.parses = [], [], [], []
        self.under = 0
        self.has_catalogue = self.has_end = False


class Stall(Enum):
    """This frame and all behind it wait for a reply of the backend."""

    STALL = 1


STALL: Final = Stall.STALL
Outcome = Stall | Problem | bytes | None
"""What came of a message: nothing to say, wait, a refusal, or an answer that is in order now."""


class Judging:
    """The road of one message, up to the backend or back to the client."""

    def __init__(self, state: SessionState) -> None:
        self._state = state

    def _send(self, burst: Burst) -> Steps[None]:
        """One record wait, one write. Replies are owed from the moment the bytes leave."""
        state = self._state
        for _, reply, grant in burst.parses:
            reply.grant = grant
            burst.grants.append(grant)
        payload = burst.chunks[0] if len(burst.chunks) == 1 else b"".join(burst.chunks)
        permit = yield Record(burst.grants, payload, burst.under)
        if type(permit) is Refusal:
            yield from self.fail(problem_of(permit), "not recorded")
            return
        yield from state.queue.extend(burst.replies)
        yield ToServer(permit)

    def fail(self, problem: Problem, cause: str) -> Steps[None]:
        """End the session with a FATAL error, unless half a frame stands in front of it."""
        state = self._state
        state.is_ended = True
        if not state.is_mid_frame:
            yield ToClient((yield Compose(problem.encode("FATAL"))))
        yield Close(cause)

    # ------------------------------------------------------------ judging

    def _judge(self, burst: Burst, seen: Seen, asked: Operation, plan: Callable[[Decision], Planned | Refusal],
               ask: bool = True, question: Question | None = None) -> Steps[Grant | Refusal]:
        """One statement through the pipeline. Call it after `_look`.

        A grant whose decision wants facts is not one yet: the planner has to be asked (`_inquire`), and the
        answered `question` brings the statement here again.
        """
        if question is not None and question.estimate is not None:
            yield Note("estimate", {"rows": question.estimate.rows, "cost": round(question.estimate.cost)})
        operation, plan = self._resolved(asked, seen, question), self._within_limits(asked, seen, plan)
        if not ask or not (burst.grants or burst.has_end):
            counts = None if question is None else False        # once, when it came first
            verdict: Grant | Refusal = yield Judge(operation, plan, self._waiting, ask, counts)
            return verdict
        # Nothing that was judged may wait for a person behind it: who is asked is asked alone.
        first: Grant | Refusal = yield Judge(operation, plan, self._waiting, ask=False, counts=question is None)
        if isinstance(first, Refusal) or first.decision.effect is not Effect.REVIEW or first.decision.wants:
            return first
        yield from self._send(burst)
        burst.sent()
        yield from self.refresh()
        burst.has_catalogue = True
        answer: Grant | Refusal = yield Judge(
            self._resolved(asked, seen, question), plan, self._waiting, counts=False)
        return answer

    def _look(self, burst: Burst) -> Steps[None]:
        """A burst is read and judged with one catalogue, which is as new as the last own DDL."""
        burst.has_catalogue = True
        yield from self.refresh()

    def _within(self, seen: Seen) -> Seen:
        state = self._state
        return seen.within(state.reader.analyzer, state.catalogue, state.names)

    def _inquire(self, burst: Burst, seen: Seen, asked: Operation, grant: Grant, portal: Portal | None = None) -> None:
        """A rule hangs on the planner's estimate: ask it, in the place of the statement."""
        state = self._state
        masked = grant.planned.carry
        assert isinstance(masked, Masked)
        offset = QUERY_OFFSET if portal is None else EXECUTE_OFFSET
        question = state.question = Question(offset, seen, asked, is_query=portal is None)
        reply = state.reply(Owed.OWN)
        reply.own = Own(Purpose.ASK, self._reply(Owed.QUERY, seen, grant), question)
        burst.replies.append(reply)
        if portal is None:
            burst.chunks.append(as_query(masked.text))
            self._next_segment()
        else:
            burst.chunks.append(as_messages(masked.text, portal.prepared.types, portal.bind))
            state.is_segment_open = True

    def _unplanned(self, burst: Burst, question: Question) -> Steps[None]:
        """The planner refused the statement: that is its error, and on record as a refusal. One that came by
        messages is discarded: the client has read the error in its place."""
        problem = question.problem
        assert problem is not None
        refusal = Refusal(RefusalCode.NOT_UNDERSTOOD, f"{problem.message} ({problem.sqlstate})")
        operation = self._resolved(question.asked, question.seen)
        yield Judge(operation, lambda _: refusal, self._waiting, ask=False, counts=False)
        if question.is_query:
            yield from self._refuse(burst, problem, is_query=True)

    def _within_limits(self, asked: Operation, seen: Seen,
                       plan: Callable[[Decision], Planned | Refusal]) -> Callable[[Decision], Planned | Refusal]:
        """The same plan, or why the row limits in force could not be kept."""
        state = self._state

        def planned(decision: Decision) -> Planned | Refusal:
            found = plan(decision)
            if decision.limits is UNLIMITED or isinstance(found, Refusal):
                return found
            if seen.statement is not None and seen.statement.cursors_declared and len(state.cursors) >= _CURSORS:
                return _TOO_MANY_CURSORS
            return refusal_of(
                self._resolved(asked, seen), seen, decision, is_idle=state.status == m.IDLE and state.knows_status,
                is_mixed=asked.kind == "query" and state.is_segment_open,
            ) or found

        return planned

    def _resolved(self, operation: Operation, seen: Seen, question: Question | None = None) -> Operation:
        found = resolved(operation, seen, self._state.catalogue, self._state.names)
        return found if question is None else estimated(found, question.estimate)

    def refresh(self) -> Steps[None]:
        """The newest catalogue; after own DDL one that was taken since, which then knows what it made."""
        state = self._state
        if (state.names.defines_code or state.names.adopting) and not state.queue and state.status == m.IDLE:
            state.is_stale = True                               # it failed, or was rolled back, or is committed
        was_stale, state.is_stale = state.is_stale, False       # set anew if more DDL ends meanwhile
        found = yield Snapshot(state.version if was_stale else None)
        if type(found) is Refusal:
            # Without one, a mask that is due refuses (`_plan`); what needs no mask goes on.
            state.catalogue = None
            state.is_stale = state.is_stale or was_stale
            return
        state.catalogue = found
        if found is None:
            return
        state.version = found.version
        state.is_unconfirmed = state.is_unconfirmed or was_stale
        if state.is_unconfirmed and not state.queue and state.status == m.IDLE:
            state.is_unconfirmed = False
            state.names.confirm(found)

    def _waiting(self, ticket: str) -> bytes | None:
        return b"" if self._state.is_mid_frame else held_notice(ticket)

    def _planner(self, seen: Seen, portal: Portal | None = None) -> Callable[[Decision], Planned | Refusal]:
        """What `Judge` asks once policy has decided. A portal runs the text that Parse sent."""
        expected = None if portal is None else portal.prepared.masked.text

        def plan(decision: Decision) -> Planned | Refusal:
            planned = self._plan(seen, decision, portal)
            if expected is not None and type(planned) is Planned:
                carry = planned.carry
                if not isinstance(carry, Masked) or carry.text != expected:
                    return PLAN_CHANGED
            return planned

        return plan

    def _plan(self, seen: Seen, decision: Decision, portal: Portal | None = None) -> Planned | Refusal:
        state = self._state
        if seen.refusal is not None:
            return seen.refusal
        if seen.statement is not None and seen.statement.cursors_fetched and self._fetches_unexecuted(seen.statement):
            return _NOT_EXECUTED
        stated = seen.base.statement
        if decision.effect is Effect.REVIEW and stated is not None and stated.executes and stated.is_opaque:
            return _NOT_SHOWN
        if seen.statement is not None and decision.looks_at_requests:
            looked_at = seen.statement.copies_in + (seen.statement.copies_out if decision.detects else ())
            problem = next((copy.problem for copy in looked_at if copy.problem is not None), None)
            if problem is not None:
                return Refusal(RefusalCode.NOT_ENFORCEABLE, f"values in this COPY cannot be looked at: {problem}",
                               hint="Use FORMAT text, binary or csv with plain options, or SELECT.")
            if any(hides_from(decision.detects, copy) for copy in seen.statement.copies_out):
                return _NOT_TYPED
        if seen.statement is not None and seen.statement.application is not None and state.tag is not None:
            plain = self._looked_at(seen, None, seen.plain, decision, portal)
            if isinstance(plain, Refusal):
                return plain
            return self._named(seen, seen.statement.application, state.tag, plain.noted)
        if not decision.masks:
            return self._looked_at(seen, None, seen.plain, decision, portal)
        if state.catalogue is None or seen.statement is None:
            return Refusal(
                RefusalCode.NOT_ENFORCEABLE, "masks are due and the database's catalogue could not be read",
                hint="Try again later; tell those who run the gateway if it stays so.",
            )
        masked = state.reader.analyzer.mask(seen.statement, decision.masks, state.catalogue, state.names)
        if isinstance(masked, Refusal):
            return masked
        state.labelled = masked.labelled
        return self._looked_at(seen, masked, seen.plan(masked), decision, portal)

    def _looked_at(self, seen: Seen, masked: Masked | None, planned: Planned, decision: Decision,
                   portal: Portal | None) -> Planned | Refusal:
        """The plan once the values that the client sends have been looked at; with another text where literals
        have to be replaced."""
        state, statement = self._state, seen.statement
        if statement is None or not decision.looks_at_requests:
            return planned
        looked = self._look_at_text(seen, statement.text, masked, decision, portal)
        if looked.refusal is not None:
            return looked.refusal
        text = looked.text
        if text != statement.text:
            changed = state.reader.read(text.encode())
            if changed.statement is None or not _says_the_same(changed.statement, seen.base.statement):
                return _NOT_REPLACED
            planned = changed.plain
            if masked is not None and state.catalogue is not None:
                again = state.reader.analyzer.mask(changed.statement, decision.masks, state.catalogue, state.names)
                if isinstance(again, Refusal):
                    return again
                planned = changed.plan(again)
        noted = looked.noted
        if portal is not None:
            if portal.refusal is not None:
                return portal.refusal
            if decision.requests != portal.prepared.decision.requests:
                return _ASK_AGAIN
            noted += portal.noted
        return replace(planned, noted=noted) if noted else planned

    def _look_at_text(self, seen: Seen, text: str, masked: Masked | None, decision: Decision,
                      portal: Portal | None) -> Looked:
        """The look at a statement's literals. One that was prepared is looked at once, however often it is executed."""
        state, catalogue = self._state, self._state.catalogue
        under = (text, None if masked is None else masked.placed, decision.masks, decision.detects, decision.requests,
                 state.has_shown_masks, state.has_changed_catalogue, None if catalogue is None else (catalogue.version, catalogue.fingerprint))
        if portal is not None and portal.prepared.looked is not None and portal.prepared.looked.under == under:
            return portal.prepared.looked
        intake = Intake(seen, masked, decision, state.masks, saw_masks=state.has_shown_masks, catalogue=catalogue,
                        is_known=not state.has_changed_catalogue)
        looked = Looked(under, intake.text(text), intake.refusal, intake.noted)
        if portal is not None:
            portal.prepared.looked = looked
        return looked

    def _named(self, seen: Seen, naming: Naming, tag: Tag, noted: tuple[str, ...]) -> Planned | Refusal:
        """A SET of application_name goes on with the session's tag in front of the client's name."""
        text = tag.statement(naming)
        return REFUSED if text is None else replace(seen.plan(Masked(text, False, "", frozenset())), noted=noted)

    def _fetches_unexecuted(self, statement: Statement) -> bool:
        """FETCH and MOVE run a portal that Bind has made, and nobody has judged its execution (portalcmds.c)."""
        state = self._state
        for name in statement.cursors_fetched:
            item, cursor = state.portals.get(name.encode()), state.names.cursors.get(name)
            if isinstance(item, Portal):
                if item.is_doubtful or not state.has_settled(item) or item.grant is None or item.grant.is_settled:
                    return True
            elif item is not None and not state.has_settled(item):
                return True                         # its Close may yet be discarded
            elif cursor is not None and cursor.is_bound:
                return True
        return False

    def _answer(self, burst: Burst, outcome: Problem | bytes) -> Steps[None]:
        if isinstance(outcome, Problem):
            yield from self._refuse(burst, outcome, is_query=False)
        else:
            yield ToClient((yield Compose(outcome)))

    def _refuse(self, burst: Burst, problem: Problem, *, is_query: bool) -> Steps[None]:
        """One error in the refused message's place in the order of replies."""
        state = self._state
        is_clean = state.is_quiet and not burst.chunks and state.status != m.IN_BLOCK
        if is_query:
            if is_clean and not state.is_segment_open:
                yield ToClient((yield Compose(problem.encode() + codec.ready(state.status))))
                return
            reply = state.reply(Owed.QUERY)
            burst.chunks.append(FAILING_QUERY)
            self._next_segment()
        else:
            state.discarding = state.epoch
            if is_clean and not state.is_segment_open:
                state.has_local_sync = True
                yield ToClient((yield Compose(problem.encode())))
                return
            reply = state.reply(Owed.FAILURE)
            burst.chunks.append(FAILING_PARSE)
            state.is_segment_open = True
        reply.problem = problem
        burst.replies.append(reply)

    def _next_segment(self) -> None:
        state = self._state
        if state.names.cursors and (state.status != m.IN_BLOCK or not state.knows_status or state.segment_controls):
            state.barrier = state.is_flush_due = True       # they may end with what was sent just now
        state.segment += 1
        state.is_segment_open = state.segment_writes = state.segment_controls = False

    def _next_epoch(self) -> None:
        self._state.epoch += 1
        self._state.has_local_sync = False
        self._next_segment()

    def _is_discarding(self) -> bool:
        state = self._state
        return state.epoch in (state.discarding, state.queue.failed_epoch)

    def _must_wait(self, burst: Burst) -> bool:
        """Own DDL, code of unknown effect or a SET is on its way: nothing behind it is judged by what was
        known before it. It ends when replies or an error have come (`PostgresMediator.server_data`)."""
        state = self._state
        if not state.barrier:
            return False
        if state.queue or burst.chunks or state.is_server_busy:
            if state.is_segment_open and state.is_flush_due:
                state.is_flush_due = False
                burst.chunks.append(m.FLUSH_FRAME)       # no Sync is there yet that would bring the replies
            return True
        state.barrier = False
        return False

    def _refused(self, burst: Burst, seen: Seen, refusal: Refusal, *, is_query: bool) -> Steps[None]:
        if refusal.code in _ENDING:
            yield from self.fail(problem_of(refusal), refusal.code.value)
            return
        problem = seen.problem if seen.problem is not None else problem_of(refusal)
        unknown = None if refusal.code not in _OF_NAMES else self._unknown_cursor(seen)
        if unknown is not None:
            problem = Problem("34000", f'cursor "{unknown}" is not known in this session', problem.detail,
                              "A cursor that was closed, or that code has opened, cannot be fetched from here.")
        yield from self._refuse(burst, problem, is_query=is_query)

    def _unknown_cursor(self, seen: Seen) -> str | None:
        """What a statement fetches from without anybody knowing what it shows: why rules and masks fail closed."""
        statement, known = seen.statement, self._state.names.cursors
        if statement is None:
            return None
        return next(iter([*statement.cursors_lost, *(name for name in statement.cursors_before if name not in known)]), None)

    def _reply(self, owed: Owed, seen: Seen, grant: Grant) -> Reply:
        reply = self._state.reply(owed)
        masked = grant.planned.carry
        assert isinstance(masked, Masked)
        reply.seen = seen
        reply.masked = masked
        reply.grant = grant
        reply.is_rewritten = grant.planned is not seen.plain or seen.is_changed
        reply.changes_catalogue = seen.statement is not None and seen.statement.changes_catalogue
        if seen.statement is not None and seen.statement.cursors_left:
            reply.reach = reach_of(seen, self._state.catalogue, self._state.names)
        return reply

    def _note(self, seen: Seen, grant: Grant) -> None:
        """A statement is about to run: names that SQL makes or drops, definitions that it changes."""
        state, statement = self._state, seen.statement
        if statement is None or not seen.is_noteworthy:
            return
        masked = grant.planned.carry
        names, digest = state.names, masked.masks_digest if isinstance(masked, Masked) else ""
        names.create_all(statement)
        names.run_code(statement)
        for name, inner in statement.prepares:
            names.prepare(name, inner, digest)
            state.prepared.forget(name.encode())
        for closed in statement.cursors_closed:
            names.cursors.close(closed)
        for ended in (*statement.cursors_closed, *statement.cursors_declared):
            self._doubt_portals(ended)
        if any(inner.changes_names for name in statement.executes for inner, _ in names.prepared(name)):
            self._doubt_portals(None)
            state.prepared.forget_all()
        # What SQL drops stays a candidate until the backend has dropped it; a message may not use it.
        for dropped in statement.deallocates:
            if dropped is None:
                state.prepared.forget_all()
            else:
                state.prepared.forget(dropped.encode())
        state.surroundings.note(statement, names)
        if "rollback" in statement.verbs or statement.is_opaque:
            names.path_may_move()
        if statement.is_opaque:
            state.opaque_segment = state.segment
        # Whether names are gone, or other ones, is for the backend to say before anything is judged by them.
        changes_names = statement.deallocates or statement.cursors_closed or statement.cursors_declared
        if (statement.changes_catalogue and grant.decision.masks) or matters(statement) or changes_names or (
                statement.transaction and names.cursors):
            state.barrier = state.is_flush_due = True

    def _doubt_portals(self, name: str | None) -> None:
        """SQL closes a portal (None: all), or gives its name to a cursor, if it succeeds: no Execute may take one for
        the other, and no FETCH may take it for a cursor."""
        for portal in self._state.portals.named(None if name is None else name.encode()):
            portal.is_doubtful = True

    def _open(self, burst: Burst, reply: Reply) -> None:
        burst.replies.append(reply)
        self._state.is_segment_open = True
