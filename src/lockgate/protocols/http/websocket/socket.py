"""One WebSocket between a client and a backend, from the 101 to the end of the connection.

    client's message   → judge (verb `send`) → record → look into it → backend
    backend's message  → does what opened the socket still stand? → mask → client

Both ends of the protocol end here. A ping is answered here and not passed, so that no payload of one goes by unseen; of a
client's close frame its code goes on, of the backend's its reason too, behind the masks. A socket has no answers that belong
to requests: what was due for the request that opened it, and for each message since, is due for all that comes back from
then on. Who is silent is pinged, and is gone after as much silence again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from wsproto.frame_protocol import CloseReason

from lockgate.govern.masking.bodies import Renamed
from lockgate.govern.pipeline import Grant, Planned, denial
from lockgate.model import Decision, Effect, OutcomeStatus, Refusal, RefusalCode
from lockgate.protocols.http.admission import digest_of
from lockgate.protocols.http.beside import beside
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.intake import Intake
from lockgate.protocols.http.operations import BadContent
from lockgate.protocols.http.problems import problem_of
from lockgate.protocols.http.recording import socket_message
from lockgate.protocols.http.websocket.closing import close_of, cut
from lockgate.protocols.http.websocket.due import Due
from lockgate.protocols.http.websocket.frames import (
    Closing,
    FrameError,
    Frames,
    Message,
    Ping,
    close_frame,
    message_frame,
    ping_frame,
    pong_frame,
)
from lockgate.protocols.http.websocket.operations import message_operation, names_in, text_of, with_facts
from lockgate.protocols.http.websocket.shown import ShownMessages
from lockgate.wire.steps import (
    Alarm,
    Clear,
    Close,
    Compose,
    Judge,
    Record,
    Settle,
    Side,
    Steps,
    ToClient,
    ToServer,
)

_LAST_WORDS: Final = 10.0
"""Seconds that a backend has to answer a close frame, and a client to take one."""


_Plan = Callable[[Decision], Planned | Refusal]


@dataclass(frozen=True, slots=True)
class Carried:
    """A message that was let through: what goes on of it, and what is due since."""

    data: bytes
    decision: Decision


class _Peer:
    """One end: what it sends, and whether it lives. Mutable. `begun` and `done` count writes to it."""

    __slots__ = ("begun", "done", "done_before", "frames", "is_asked", "is_heard", "is_read")

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.is_heard = True
        self.is_read = True                 # False while what it sent last is at work: nothing more is taken from it
        self.is_asked = False               # a ping went out since it was heard
        self.begun = self.done = 0
        self.done_before = -1               # when the alarm last rang

    @property
    def is_slow(self) -> bool:
        """Whether a write to it waits."""
        return self.begun != self.done

    def feed(self, data: bytes) -> None:
        """Bytes that it sent."""
        self.is_heard, self.is_read = True, False
        self.frames.feed(data)


class Socket:
    """Mutable. Its generators run in the lanes of the mediator that has opened it."""

    def __init__(self, exchange: Exchange, grant: Grant, limit: int, *, speaks_freely: bool) -> None:
        """`grant`: of the request that opened it. `limit`: bytes of a message, in either direction. `speaks_freely`: no
        subprotocol says what messages may be."""
        self._exchange = exchange
        self._admitted = exchange.admitted
        self._grant = grant
        self._limit = limit
        self._due = Due(exchange.admitted, exchange.request.target.segments, limit)
        self._interval = exchange.admitted.timeout / 2
        self._speaks_freely = speaks_freely
        self._client = _Peer(Frames(of_client=True, limit=limit))
        self._server = _Peer(Frames(of_client=False, limit=limit))
        self._shown = ShownMessages(grant.masked, passes_binary=exchange.admitted.settings.binary == "allow")
        self._code: int | None = None       # with which the client has begun to close
        self._is_closing = False
        self._is_over = False

    def begin(self, early: bytes) -> Steps[None]:
        """The client has its 101; `early` came from the backend behind it."""
        yield Alarm(self._interval, self._ring)
        if early:
            yield from self.server_data(early)

    # ------------------------------------------------------------ the client's side

    def client_data(self, data: bytes) -> Steps[None]:
        """Bytes of the client."""
        self._client.feed(data)
        try:
            while not self._is_over and (event := self._client.frames.event()) is not None:
                if isinstance(event, Message):
                    yield from self._send(event)
                elif isinstance(event, Ping):
                    yield from self._to_client(ToClient((yield Compose(pong_frame(event.payload, to_client=True)))))
                elif isinstance(event, Closing):
                    yield from self._client_closes(event)
        except FrameError as error:
            yield from self._part(int(error.close), error.args[0], OutcomeStatus.ERROR)
        self._client.is_read = True

    def _send(self, message: Message) -> Steps[None]:
        """A message: may it go on?"""
        request = self._exchange.request
        standing = self._standing()
        if isinstance(standing, Refusal):
            yield from self._refuse(standing, is_text=message.is_text)
            return
        operation = message_operation(request, message)
        names = names_in(request, message)
        plan: _Plan = partial(self._plan, message, names, standing)
        patience = self._admitted.patience
        verdict: Grant | Refusal = yield Judge(operation, plan, patience=patience)
        while isinstance(verdict, Grant) and verdict.decision.wants:
            try:
                operation = with_facts(request, operation, message, verdict.decision.wants)
            except BadContent as error:
                plan = partial(_refused, Refusal(
                    RefusalCode.NOT_UNDERSTOOD, str(error), hint=error.hint("The message")))
            verdict = yield Judge(operation, plan, counts=False, patience=patience)
        if isinstance(verdict, Refusal):
            yield from self._refuse(verdict, is_text=message.is_text)
            return
        carried = verdict.planned.carry
        assert isinstance(carried, Carried)
        permit = yield Record([verdict], message_frame(carried.data, is_text=message.is_text, to_client=False))
        if isinstance(permit, Refusal):
            yield from self._refuse(permit, is_text=message.is_text)
            return
        self._widen(verdict, carried.decision, names)
        if self._admitted.is_recorded:
            yield socket_message(Side.CLIENT, carried.data)
        yield from self._to_server(ToServer(permit))
        yield Settle(verdict, OutcomeStatus.OK)

    def _plan(
        self, message: Message, names: Renamed | None, standing: Decision, decision: Decision
    ) -> Planned | Refusal:
        """What goes on of a message: with values in the place of tokens, without what must not go."""
        if decision.wants:
            return Planned(message.data)    # it is judged once more, with what is wanted
        terms = self._due.terms(standing, decision, names)
        if isinstance(terms, Refusal):
            return terms
        data = message.data
        noted: tuple[str, ...] = ()
        if terms.is_due or any(check.detectors for check in decision.requests):
            intake = Intake(terms, decision, self._exchange.request, stores=True)
            if text_of(message) is not None:
                data = intake.message(data)
            elif self._admitted.settings.binary != "allow":
                intake.binary()
            intake.conclude()
            if intake.refusal is not None:
                return intake.refusal
            noted = intake.noted
        reading, context = beside(self._admitted, self._exchange.request, decision, self._limit)
        return Planned(data, digest_of(terms.masks, terms.detects), Carried(data, decision), noted=noted, reading=reading,
                       context=context)

    def _widen(self, grant: Grant, decision: Decision, names: Renamed | None) -> None:
        """What is due for a message is due for whatever comes back behind it, and counts for its bounds."""
        self._due.widen(decision, names)
        if self._grant.task is None and grant.task is not None:
            self._grant.task, self._grant.told = grant.task, self._shown.sent

    def _client_closes(self, closing: Closing) -> Steps[None]:
        """The client says no more. The backend may, until it answers."""
        self._is_closing, self._code = True, closing.code
        permit = yield Record((), close_frame(closing.code, to_client=False), self._grant.record)
        if isinstance(permit, Refusal):
            yield from self._refuse(permit)
            return
        yield Alarm(_LAST_WORDS, self._time_is_up)
        yield from self._to_server(ToServer(permit))

    def client_closed(self) -> Steps[None]:
        """The client is gone without a word, or behind its last one."""
        if not self._is_over:
            self._is_over = True
            if not self._is_closing:
                yield from self._leave_server(CloseReason.GOING_AWAY)
            yield Settle(self._grant, OutcomeStatus.UNKNOWN, sent=self._shown.sent, code="client left")
            yield Close("client left")

    # ------------------------------------------------------------ the backend's side

    def server_data(self, data: bytes) -> Steps[None]:
        """Bytes of the backend."""
        self._server.feed(data)
        try:
            while not self._is_over and (event := self._server.frames.event()) is not None:
                if isinstance(event, Message):
                    yield from self._show(event)
                elif isinstance(event, Ping):
                    permit = yield Record((), pong_frame(event.payload, to_client=False), self._grant.record)
                    if isinstance(permit, Refusal):
                        yield from self._refuse(permit)
                    else:
                        yield from self._to_server(ToServer(permit))
                elif isinstance(event, Closing):
                    yield from self._server_closes(event)
        except FrameError as error:
            yield from self._part(CloseReason.INTERNAL_ERROR, f"the backend broke the protocol: {error.args[0]}",
                                  OutcomeStatus.ERROR, to_server=int(error.close))
        self._server.is_read = True

    def _show(self, message: Message) -> Steps[None]:
        """A message, behind its masks."""
        step = yield from self._cleared(message)
        if step is not None:
            self._grant.tell(self._shown.sent)
            yield from self._to_client(step)

    def _cleared(self, item: Message | Closing) -> Steps[ToClient | None]:
        """What may leave of it; None where nothing may, and the socket has ended."""
        standing = self._standing()
        if isinstance(standing, Refusal):
            yield from self._refuse(standing)
            return None
        shown, terms = self._shown, self._due.terms(standing)
        if isinstance(terms, Refusal):
            yield from self._refuse(terms)
            return None
        chunk = shown.take(item, terms)
        cleared = yield Clear(shown, chunk)
        if isinstance(cleared, Refusal):
            yield from self._refuse(cleared if not shown.fault else Refusal(
                RefusalCode.NOT_ENFORCEABLE, f"a message of the backend cannot be shown: {shown.fault}",
                hint="What came back cannot be masked as policy asks; tell those who own it."))
            return None
        if self._admitted.is_recorded:
            for one in shown.told:
                yield socket_message(Side.SERVER, one)
        return ToClient(cleared)

    def _server_closes(self, closing: Closing) -> Steps[None]:
        """The backend says no more: nor does the client then."""
        step = yield from self._cleared(closing)
        if step is None:
            return
        self._is_over = True
        yield Alarm(_LAST_WORDS, _cut)
        if not self._is_closing:
            yield from self._leave_server(closing.code)
        if not self._client.is_slow:
            yield step
        yield from self._settled(OutcomeStatus.OK, closing.code)

    def server_closed(self) -> Steps[None]:
        """The backend has hung up: behind the client's close frame, as some do, or without a word."""
        if self._is_over:
            return
        if self._is_closing:
            yield from self._server_closes(Closing(self._code, ""))
        else:
            yield from self._part(CloseReason.INTERNAL_ERROR, "the backend has left", OutcomeStatus.UNKNOWN)

    # ------------------------------------------------------------ what is due

    def _standing(self) -> Decision | Refusal:
        """What policy says of the request that opened the socket now: it may have changed, and tokens run out."""
        decision = self._admitted.admission.foresees(self._grant.operation)
        if isinstance(decision, Refusal):
            return decision
        if decision.effect is Effect.DENY:
            return denial(decision)
        if decision.wants or (decision.effect is Effect.REVIEW and self._grant.decision.effect is not Effect.REVIEW):
            return _CHANGED
        spent = self._grant.task
        return decision if spent is None else self._due.spent(decision, spent.bytes) or decision

    # ------------------------------------------------------------ ends

    def end(self, refusal: Refusal) -> Steps[None]:
        """The gateway drains, or the token has run out."""
        if self._is_over:
            yield from _cut()
        yield from self._part(*close_of(refusal), OutcomeStatus.UNKNOWN)

    def _refuse(self, refusal: Refusal, *, is_text: bool = False) -> Steps[None]:
        """Nothing of it goes on, and nothing behind it. `is_text`: a client whose message this was reads text."""
        own = b""
        if is_text and self._speaks_freely:
            told = replace(refusal, hint=f"{refusal.hint or ''} This WebSocket is closed; open another one.".strip())
            document = problem_of(told).document()
            own = message_frame(document, is_text=True, to_client=True)
            if self._admitted.is_recorded:
                yield socket_message(Side.SERVER, document)
        yield from self._part(*close_of(refusal), OutcomeStatus.REFUSED, own=own)

    def _part(
        self, code: int | None, reason: str, status: OutcomeStatus, *, to_server: int = CloseReason.GOING_AWAY, own: bytes = b"",
    ) -> Steps[None]:
        """End both sides, each with a close frame; `own` is the gateway's last message to the client."""
        if self._is_over:
            return
        self._is_over = True
        yield Alarm(_LAST_WORDS, _cut)
        if not self._is_closing:
            yield from self._leave_server(to_server)
        if not self._client.is_slow:
            yield ToClient((yield Compose(own + close_frame(code, cut(reason), to_client=True))))
        yield from self._settled(status, code)

    def _settled(self, status: OutcomeStatus, code: int | None) -> Steps[None]:
        name = "none" if code is None else str(code)
        self._grant.tell(self._shown.sent)
        yield Settle(self._grant, status, sent=self._shown.sent, code=name)
        yield Close(f"the WebSocket ended: {name}")

    def _leave_server(self, code: int | None) -> Steps[None]:
        """A close frame for the backend; without one where no record can be made any more."""
        permit = yield Record((), close_frame(code, to_client=False), self._grant.record)
        if not isinstance(permit, Refusal) and not self._server.is_slow:
            yield ToServer(permit)

    # ------------------------------------------------------------ time

    def _to_client(self, step: ToClient) -> Steps[None]:
        self._client.begun += 1
        yield step
        self._client.done += 1

    def _to_server(self, step: ToServer) -> Steps[None]:
        self._server.begun += 1
        yield step
        self._server.done += 1

    def _ring(self) -> Steps[None]:
        """Half of the time that an end may be silent has gone by."""
        if self._is_over or self._is_closing:
            return
        if self._is_gone(self._client):
            yield from self._part(CloseReason.GOING_AWAY, "the client was silent for too long", OutcomeStatus.UNKNOWN)
            return
        if self._is_gone(self._server):
            yield from self._part(CloseReason.INTERNAL_ERROR, "the backend was silent for too long", OutcomeStatus.UNKNOWN)
            return
        yield Alarm(self._interval, self._ring)
        for peer in (self._client, self._server):
            if not peer.is_slow and not peer.is_heard:
                peer.is_asked = True
                if peer is self._client:
                    yield from self._to_client(ToClient((yield Compose(ping_frame(to_client=True)))))
                else:
                    permit = yield Record((), ping_frame(to_client=False), self._grant.record)
                    if not isinstance(permit, Refusal):
                        yield from self._to_server(ToServer(permit))
            peer.is_heard = False

    def _is_gone(self, peer: _Peer) -> bool:
        """Whether it has not taken what was written to it, or not answered a ping while it was listened to."""
        before, peer.done_before = peer.done_before, peer.done
        if peer.is_slow:
            return before == peer.done
        if peer.is_heard or not peer.is_read:
            peer.is_heard, peer.is_asked = True, False
        return peer.is_asked

    def _time_is_up(self) -> Steps[None]:
        """The backend does not answer a close frame. What it says meanwhile may be in its lane, so nothing is masked here."""
        yield from self._part(self._code, "", OutcomeStatus.OK)


def _cut() -> Steps[None]:
    """Whoever does not take its close frame is not waited for."""
    yield Close("a close frame was not taken")


def _refused(refusal: Refusal, _decision: Decision) -> Refusal:
    return refusal


_CHANGED: Final = Refusal(
    RefusalCode.DENIED, "policy has changed since this WebSocket was opened",
    hint="Open it again; the request is judged by the policy in force.")
