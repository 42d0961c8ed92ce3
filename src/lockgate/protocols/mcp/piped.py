"""MCP over standard streams: the gateway stands where the client expects its server, and starts the server itself.

    client line → judge → record → server line        each message by itself, requests next to each other
    server line → mask → client line                   what the client may not get is answered to the server here
    server's standard error → mask → the client's

Stands apart from `mediator`, which is HTTP's: here one session is one program, nothing of it outlives the other, and many
requests are under way at once. One that waits for a person runs beside the others (`Fork`), so that a ping, an answer to
the server or a cancellation is not held up by it. Judging and masking are the same (`judging`, `shown`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import orjson

from lockgate.govern.masking.bodies import BodyTerms
from lockgate.govern.pipeline import Grant
from lockgate.govern.policy import MayHide
from lockgate.model import Decision, Effect, OutcomeStatus, Refusal, RefusalCode
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.mcp.jsonrpc import INVALID_REQUEST, Id, Kind, Malformed, Message, read
from lockgate.protocols.mcp.judging import Asking, Carried, pins_of
from lockgate.protocols.mcp.lines import Line, LineReader, line_of, on_one_line
from lockgate.protocols.mcp.operations import refused_operation
from lockgate.protocols.mcp.recording import of_refused
from lockgate.protocols.mcp.refusals import answer_of, answer_to_server, words_of
from lockgate.protocols.mcp.shown import Asked, Shown, anywhere
from lockgate.protocols.mcp.spoken import ErrorLine, Spoken, seeming_id
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import (
    Abandon,
    Clear,
    Close,
    Compose,
    Fork,
    Judge,
    Note,
    Passed,
    Record,
    Settle,
    Side,
    Steps,
    Tell,
    ToClient,
    ToServer,
)

Key = tuple[type, Id]
Let = tuple[Grant, Message]
_AT_ONCE: Final = 256
"""Requests of a client that are under way."""
_LEFT: Final = 4_096
"""Ids of requests that nobody waits for any more, and that the server may answer all the same."""
_NOTES: Final = 256
"""Events of one session for the record that its server causes; more are counted by nobody."""
_ASIDE: Final = 8_192
"""Bytes of the longest line of a server's standard error that is shown."""
_CANCELLED: Final = "notifications/cancelled"


class PipedMediator:
    """Mutable; one client, one server."""

    def __init__(self, context: LoginContext, admitted: Admitted) -> None:
        self._context = context
        self._admitted = admitted
        limit = context.limits.inspect
        self._client, self._server, self._aside = LineReader(limit), LineReader(limit), LineReader(_ASIDE)
        self._asked: dict[Key, Asked] = {}
        self._grants: dict[Key, Grant] = {}
        self._held: dict[Key, Message] = {}         # a person is asked about these, or they are being recorded
        self._left: set[Key] = set()                # were cancelled, or seem to be answered: their ids are nobody else's
        self._waited = 0
        self._beside = 0                            # how many of them
        self._noted = 0
        self._may_hide: MayHide | None = None
        self._rest: BodyTerms                       # what is due in what answers nothing, as `_may_hide` says

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not (self._asked or self._held)

    @property
    def is_stalled(self) -> bool:
        """Never: what cannot be sent on at once is refused."""
        return False

    def interrupt(self) -> Steps[None]:
        """There is no such thing beside the stream."""
        yield from ()

    # ------------------------------------------------------------ the client's side

    def client_data(self, data: bytes) -> Steps[None]:
        """What the client wrote. What is let through of it goes on together, with one wait for its records."""
        granted: list[Let] = []
        for line in self._client.feed(data):
            try:
                if not line.is_whole:
                    raise Malformed("a message is longer than the gateway looks into")
                messages, _ = read(line.data)
            except Malformed as error:
                yield from self._refuse_line(error)
                continue
            for message in messages:            # on record as it goes on
                yield from self._heard(replace(message, text=on_one_line(message.text)), granted)
        yield from self._forward(granted)

    def _heard(self, message: Message, granted: list[Let]) -> Steps[None]:
        trouble = self._trouble(message, granted)
        if trouble is not None:
            yield Judge(refused_operation(message.method), lambda _: trouble)
            yield from self._answer(None if trouble is _TAKEN else message.id, message, trouble)
            return
        if message.method == _CANCELLED and (key := _cancelled(message)) in self._held:
            del self._held[key]                 # the server has not heard of it, and nobody waits any more
            yield Abandon(key)
            return
        asking = Asking.about(message, self._admitted, self._context)
        decision = self._admitted.admission.foresees(asking.operation)
        if asking.refusal is None and isinstance(decision, Decision) and decision.effect is Effect.REVIEW:
            yield from self._put_to_a_person(asking)
            return
        verdict: Grant | Refusal = yield asking.step()
        if isinstance(verdict, Grant):
            granted.append((verdict, message))
        else:
            yield from self._answer(message.id, message, asking.refusal or verdict)

    def _trouble(self, message: Message, granted: list[Let]) -> Refusal | None:
        """Why a request cannot be told from others, or is one too many; or a cancellation. The answer to a request that was
        cancelled may still come, and would be taken for the answer to another one with its id, behind that one's masks."""
        if message.method == _CANCELLED and len(self._left) >= _LEFT and _cancelled(message) in self._asked:
            return _NO_CANCEL
        if message.kind is not Kind.REQUEST:
            return None
        key = _key(message)
        if key in self._asked or key in self._held or key in self._left or any(_key(other) == key for _, other in granted if other.kind is Kind.REQUEST):
            return _TAKEN
        return _BUSY if len(self._asked) + len(self._held) + len(granted) >= _AT_ONCE else None

    def _put_to_a_person(self, asking: Asking) -> Steps[None]:
        """Ask beside the others, and go on when there is an answer."""
        message = asking.message
        key = _key(message)
        if self._beside >= _AT_ONCE:
            yield Judge(refused_operation(message.method), lambda _: _BUSY)
            yield from self._answer(message.id, message, _BUSY)
            return
        self._beside += 1
        if message.kind is Kind.REQUEST:
            self._held[key] = message
        yield Fork(key if message.kind is Kind.REQUEST else object(), partial(self._reviewed, asking, key))

    def _reviewed(self, asking: Asking, key: Key) -> Steps[None]:
        message = asking.message
        step = asking.step()
        if message.kind is Kind.REQUEST:
            step.waiting = partial(self._waiting, message)
        try:
            verdict: Grant | Refusal = yield step
        finally:
            self._beside -= 1           # also where it is abandoned
        if isinstance(verdict, Grant):
            yield from self._forward([(verdict, message)])
        else:
            yield from self._answer(message.id, message, verdict)
            self._held.pop(key, None)

    def _waiting(self, message: Message, ticket: str) -> bytes | None:
        """Progress for a client that asked for it, while a person looks at its request."""
        meta = message.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        if not isinstance(token, str | int):
            return None
        self._waited += 1
        return orjson.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
            "progressToken": token, "progress": self._waited,
            "message": f"waits for a person to approve it (ticket {ticket})"}}) + b"\n"

    def _forward(self, granted: Sequence[Let]) -> Steps[None]:
        """Put messages on record and send them, one a line."""
        if not granted:
            return
        for _, message in granted:
            if message.kind is Kind.REQUEST:
                self._held[_key(message)] = message
        permit = yield Record([grant for grant, _ in granted], b"".join(line_of(_carried(grant).text) for grant, _ in granted))
        if isinstance(permit, Refusal):
            for _, message in granted:
                self._held.pop(_key(message), None)
                yield from self._answer(message.id, message, permit)
            return
        for grant, message in granted:
            if message.kind is Kind.REQUEST:
                del self._held[_key(message)]
                self._asked[_key(message)] = Asked(message.method, _carried(grant).terms)
                self._grants[_key(message)] = grant
        if self._admitted.is_recorded:
            yield Passed(Side.CLIENT, b"".join(line_of(_carried(grant).text) for grant, _ in granted))
        yield ToServer(permit)
        for grant, message in granted:
            if message.kind is not Kind.REQUEST:
                yield Settle(grant, OutcomeStatus.OK)
            if message.method == _CANCELLED:
                key = _cancelled(message)
                if key is not None and key in self._asked:
                    self._left.add(key)
                yield from self._done(key, OutcomeStatus.CANCELLED, code="cancelled")

    def _refuse_line(self, error: Malformed) -> Steps[None]:
        """A line that is no message: on record, and answered without an id, as none is known."""
        refusal = Refusal(RefusalCode.NOT_UNDERSTOOD, f"this is no JSON-RPC of one reading: {error}",
                          hint="Nothing was forwarded.")
        yield Judge(refused_operation(), lambda _: refusal)
        yield ToClient((yield Compose(answer_of(None, "", refusal, error.code) + b"\n")))

    def _answer(self, number: Id | None, message: Message, refusal: Refusal) -> Steps[None]:
        """Tell the client that its request goes no further. What wants no answer gets none."""
        if self._admitted.is_recorded and message.method:
            yield Passed(Side.CLIENT, of_refused(message) + b"\n")
        if message.kind is Kind.REQUEST:
            code = INVALID_REQUEST if number is None else None
            yield ToClient((yield Compose(answer_of(number, message.method if number is not None else "", refusal, code) + b"\n")))

    def _done(self, key: Key | None, status: OutcomeStatus, sent: int = 0, code: str = "") -> Steps[None]:
        """A request is over."""
        if key is None or self._asked.pop(key, None) is None:
            return
        grant = self._grants.pop(key)
        grant.tell(sent)
        yield Settle(grant, status, sent=sent, code=code)

    # ------------------------------------------------------------ the server's side

    def server_data(self, data: bytes) -> Steps[None]:
        """What the server wrote on its standard output."""
        for line in self._server.feed(data):
            yield from self._said(line)

    def _said(self, line: Line) -> Steps[None]:
        if not line.is_whole:
            yield from self._withheld(line, "it is longer than the gateway looks into")
            return
        shown = self._look()
        spoken = Spoken(shown)
        cleared = yield Clear(spoken, line.data)
        yield from self._note(shown.notes)
        if isinstance(cleared, Refusal) or spoken.fault:
            yield from self._withheld(line, spoken.fault or "a mask that is due cannot be put on it", tuple(shown.answered))
            return
        for key, code in shown.answered.items():
            grant = self._grants[key]
            for name, count in shown.masked.items():
                grant.masked[name] = grant.masked.get(name, 0) + count
            shown.masked.clear()
            yield from self._done(key, OutcomeStatus.ERROR if code else OutcomeStatus.OK, spoken.sent, code)
        if spoken.sent:
            yield ToClient(cleared)
        for message in shown.unasked:
            yield from self._answer_server(message)

    def _look(self) -> Shown:
        """The look at one line, under the rules in force."""
        admitted = self._admitted
        may_hide = admitted.admission.may_hide()
        if may_hide is not self._may_hide:
            self._may_hide = may_hide
            masks, detects = may_hide
            self._rest = admitted.terms_of(anywhere(masks), detects, (), self._context.limits.inspect)
        return Shown(self._asked, self._rest, pins_of(admitted, self._context), admitted.admission.foresees,
                     self._rest.is_due, admitted.settings.binary == "allow", is_strict=True)

    def _note(self, notes: list[tuple[str, dict[str, object]]]) -> Steps[None]:
        for event, fields in notes:
            if event != "server_refused" or self._noted < _NOTES:
                self._noted += event == "server_refused"
                yield Note(event, fields)

    def _withheld(self, line: Line, reason: str, answered: tuple[Key, ...] = ()) -> Steps[None]:
        """A line that cannot be shown. What it answers, or seems to, is answered."""
        yield from self._note([("server_refused", {"method": "", "reason": "unreadable"})])
        number = seeming_id(line.data)
        refusal = Refusal(
            RefusalCode.BACKEND_UNAVAILABLE, f"the server's answer cannot be shown: {reason}",
            hint="The request was carried out. What came back cannot be masked as policy asks; tell those who own it.")
        for key in answered or (() if number is None else ((type(number), number),)):
            asked = self._asked.get(key)
            if asked is not None and (answered or len(self._left) < _LEFT):
                if not answered:
                    self._left.add(key)
                yield from self._done(key, OutcomeStatus.REFUSED, code="unreadable")
                yield ToClient((yield Compose(answer_of(key[1], asked.method, refusal) + b"\n")))

    def _answer_server(self, message: Message) -> Steps[None]:
        """A request that the client does not get is answered here, or the server would wait for it."""
        permit = yield Record((), answer_to_server(message.id) + b"\n")
        if not isinstance(permit, Refusal):
            yield ToServer(permit)

    def server_aside(self, data: bytes) -> Steps[None]:
        """What the server wrote on its standard error."""
        for line in self._aside.feed(data):
            plan = ErrorLine(self._look().rest)
            cleared = yield Clear(plan, line.data)
            if isinstance(cleared, Refusal):
                cleared = yield Compose(_UNSHOWN)
            yield Tell(cleared)

    # ------------------------------------------------------------ ends

    def client_closed(self) -> Steps[None]:
        """The client has closed its end: nobody reads answers any more."""
        yield Close("client left")

    def server_closed(self) -> Steps[None]:
        """The server has ended."""
        yield from self._end_all(_SERVER_LEFT)
        yield Close("the server has ended")

    def end(self, refusal: Refusal) -> Steps[None]:
        """End it between requests. The client reads why in its log, people on its standard error."""
        yield ToClient((yield Compose(orjson.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {
            "level": "error", "logger": "lockgate", "data": words_of(refusal)}}) + b"\n")))
        yield Tell((yield Compose(f"lockgate: {words_of(refusal)}\n".encode())))
        yield Close(f"ended: {refusal.code}")

    def _end_all(self, refusal: Refusal) -> Steps[None]:
        """Every request that is under way is answered."""
        waiting = [(key[1], asked.method) for key, asked in self._asked.items()]
        waiting += [(key[1], message.method) for key, message in self._held.items()]
        for key in tuple(self._asked):
            yield from self._done(key, OutcomeStatus.UNKNOWN, code="server ended")
        for key in tuple(self._held):
            yield Abandon(key)
        self._held.clear()
        if waiting:
            yield ToClient((yield Compose(b"".join(answer_of(number, method, refusal) + b"\n" for number, method in waiting))))


def _key(message: Message) -> Key:
    return (type(message.id), message.id)  # type: ignore[return-value]     # of a request there is one


def _carried(grant: Grant) -> Carried:
    carried = grant.planned.carry
    assert isinstance(carried, Carried)
    return carried


def _cancelled(message: Message) -> Key | None:
    """What a cancellation is about."""
    number = message.params.get("requestId")
    return (type(number), number) if isinstance(number, str | int) else None


_TAKEN: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "a request has the id of one that is under way, or that was cancelled",
    hint="Nothing was forwarded. Ids are used once in a session.")
_BUSY: Final = Refusal(
    RefusalCode.LIMITED, f"more than {_AT_ONCE} requests are under way", hint="Nothing was forwarded. Wait for answers first.")
_NO_CANCEL: Final = Refusal(
    RefusalCode.LIMITED, f"more than {_LEFT} requests of this session were cancelled", hint="Wait for the answer.")
_SERVER_LEFT: Final = Refusal(
    RefusalCode.BACKEND_UNAVAILABLE, "the server has ended",
    hint="Whether the request was carried out is not known. Start it again by connecting again.")
_UNSHOWN: Final = b"[a line of the server's standard error cannot be shown]\n"
