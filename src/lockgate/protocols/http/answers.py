"""Answers on their way to the client, and what becomes of a backend that fails."""

from __future__ import annotations

from lockgate.model import OutcomeStatus, Refusal
from lockgate.protocols.http.conversation import Conversation
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.forwarding import Forward, ends_backend
from lockgate.protocols.http.messages import End, ResponseHead
from lockgate.protocols.http.problems import Problem, bad_request, problem_of
from lockgate.protocols.http.results import Reply
from lockgate.protocols.http.statuses import FIRST_ERROR, SWITCHING
from lockgate.protocols.http.upstream import Link, disown
from lockgate.protocols.http.websocket.handshake import SwitchReply, verify_answer
from lockgate.protocols.http.websocket.socket import Socket
from lockgate.wire.steps import Clear, Close, Steps, ToClient


class Answers(Conversation):
    """The backend's side."""

    def _answers(self, exchange: Exchange, link: Link) -> Steps[None]:
        """What has come of the answer. `MessageError` where it is none."""
        data: list[bytes] = []
        ending: End | None = None
        before = exchange.reply
        while ending is None and (event := link.reader.event()) is not None:
            if isinstance(event, ResponseHead):
                if event.status == SWITCHING:
                    yield from self._switch(exchange, link, event)
                    return
                if not event.is_interim:
                    link.answered(event)
                    exchange.reply = self._reply_to(exchange, event)
            elif isinstance(event, bytes):
                data.append(event)
            elif isinstance(event, End):
                ending = event
        reply = exchange.reply
        if reply is not None and (data or ending is not None or reply is not before):
            yield from self._told(exchange, link, b"".join(data), ending)
        if ending is None and self._exchange is exchange and exchange.is_sent:
            yield from self._await_answer(exchange)

    def _switch(self, exchange: Exchange, link: Link, head: ResponseHead) -> Steps[None]:
        """What follows is a WebSocket, on both sides. `MessageError` where it is not the one that was asked for."""
        grant, handshake = exchange.grant, exchange.handshake
        assert grant is not None
        assert handshake is not None        # or the reader had refused the 101
        chosen = verify_answer(head, handshake)
        link.reader.event()                 # its End
        if not self._reader.is_idle:        # RFC 6455 section 4.1: the client waits
            yield from self._refuse_rest(bad_request(400, "something came behind the request for a WebSocket"))
            return
        forward = grant.planned.carry
        assert isinstance(forward, Forward)
        reply = SwitchReply(head, forward.terms, grant.masked, minor=1, closes=False, binary=False, lines=self._lines)
        reply.switch(handshake, chosen)
        cleared = yield Clear(reply, b"")
        if isinstance(cleared, Refusal):
            yield from self._withheld(exchange, reply, cleared)
            return
        self._phase += 1
        self._socket = Socket(exchange, grant, self._context.limits.inspect, speaks_freely=chosen is None)
        yield ToClient(cleared)
        yield from self._socket.begin(link.reader.rest())

    def _reply_to(self, exchange: Exchange, head: ResponseHead) -> Reply:
        """The clear plan of an answer. A protocol inside of HTTP masks what it knows."""
        grant = exchange.grant
        assert grant is not None
        asked, forward = exchange.request.head, grant.planned.carry
        assert isinstance(forward, Forward)
        return Reply(
            head, forward.terms, grant.masked, minor=asked.minor, closes=not (asked.keep_alive and exchange.is_sent),
            binary=exchange.admitted.settings.binary == "allow", binary_size=exchange.admitted.settings.binary_size,
            lines=self._lines, shown=self._shown_fields)

    def _told(self, exchange: Exchange, link: Link, data: bytes, ending: End | None) -> Steps[None]:
        """A piece of the answer, behind its mask, to the client."""
        reply = exchange.reply
        assert reply is not None
        if ending is not None:
            reply.ends, reply.trailers = True, ending.trailers
        cleared = yield Clear(reply, data)
        yield from self._noted(exchange)
        if isinstance(cleared, Refusal):
            yield from self._withheld(exchange, reply, cleared)
            return
        if exchange.grant is not None:
            exchange.grant.tell(reply.sent)
        yield ToClient(cleared)
        if ending is None or self._exchange is not exchange:
            return
        status = OutcomeStatus.OK if reply.status < FIRST_ERROR else OutcomeStatus.ERROR
        yield from self._settle(exchange, status, reply.sent, str(reply.status))
        yield from disown(exchange.admitted.settings, reply.status)
        link.is_used = True
        if not reply.keeps_backend or link.is_single or link.reader.has_rest or not exchange.is_sent or ends_backend(exchange.request.head):
            yield from self._drop_link()
        else:
            link.is_at_rest = True
        yield from self._done(closes=reply.closes)

    def _noted(self, exchange: Exchange) -> Steps[None]:
        """What a protocol inside of HTTP puts on record of the piece that was cleared."""
        yield from ()

    def _withheld(self, exchange: Exchange, reply: Reply, refusal: Refusal) -> Steps[None]:
        """A mask could not be put on the answer: the client gets none, or none of the rest."""
        yield from self._settle(exchange, OutcomeStatus.REFUSED, reply.sent, str(reply.status))
        yield from self._drop_link()
        if reply.is_open:
            yield Close("an answer could not be masked to its end")
            return
        problem = problem_of(refusal) if not reply.fault else Problem(
            502, "not_enforceable", f"the backend's answer cannot be shown: {reply.fault}",
            hint="The request was carried out. What came back cannot be masked as policy asks; tell those who own it.")
        yield from self._answer(exchange.request.head, problem)

    def _backend_failed(self, exchange: Exchange, reason: str) -> Steps[None]:
        yield from self._give_up(exchange, Problem(
            502, "backend_unavailable", f"the backend's answer cannot be used: {reason}",
            hint="Whether the request was carried out is not known."))
        if self._exchange is None:
            yield from self._pump()
