"""One client's connection: what both directions share, the gateway's own answers, and time.

Apart from `requests` and `answers`, which go on with it. What is awaited has a time, and a number by which an alarm that
comes late knows that it is nobody's any more.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from lockgate.model import ColumnMask, OutcomeStatus, RequestCheck
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.http.codec import FieldLines, RequestReader
from lockgate.protocols.http.exchange import Exchange, Tunnel
from lockgate.protocols.http.messages import Fields, RequestHead
from lockgate.protocols.http.problems import Problem
from lockgate.protocols.http.recording import refused
from lockgate.protocols.http.results import ShownFields
from lockgate.protocols.http.upstream import Link
from lockgate.protocols.http.websocket.socket import Socket
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import Alarm, Close, Compose, EndSession, HangUp, Settle, Steps, TlsInfo, ToClient

_IDLE: Final = 75.0
"""Seconds that a connection may be idle between requests."""


class Conversation:
    """Mutable. Until the first request is admitted nobody is behind it."""

    def __init__(self, context: LoginContext, tls: TlsInfo | None, head_timeout: float) -> None:
        self._context = context
        self._server_name = tls.server_name if tls is not None else None
        self._certificate = tls.certificate if tls is not None else None
        self._is_stream = tls is not None and tls.alpn == "h2"      # one of a client's connection of HTTP/2
        self._head_timeout = head_timeout
        self._reader = RequestReader()
        self._admitted: Admitted | None = None
        self._exchange: Exchange | None = None
        self._link: Link | None = None
        self._tunnel: Tunnel | None = None  # of a forward proxy's client
        self._socket: Socket | None = None  # that a request has opened
        self._written: tuple[Fields, Admitted, bool, Fields, bytes] | None = None
        """What was made of a client's fields last, for it sends the same ones again and again (`forwarding`)."""
        self._searched: tuple[Fields, tuple[RequestCheck, ...], tuple[ColumnMask, ...], bytes] | None = None
        """Fields in which nothing was found, and under what (`forwarding`)."""
        self._lines = FieldLines()          # of answers
        self._shown_fields = ShownFields()
        self._asked: Fields | None = None
        """The fields with which the session at hand was last asked for; the reader gives the same ones as the same object."""
        self._named: tuple[Fields, str, bytes | None, str] | None = None
        """And what they say: host, another method, the content's type (`requests`)."""
        self._is_recorded = False           # the session at hand
        self._passed: Exchange | None = None
        """The exchange whose request has been recorded as it went on."""
        self._is_pumping = False
        self._is_read = True                # the client has sent all of its request
        self._awaited = ""                  # what the alarm that is set is about
        self._phase = 0                     # counts changes of what is awaited

    def _pump(self) -> Steps[None]:
        """Go on with what the client has sent, as far as it goes."""
        raise NotImplementedError

    def _forget_caller(self) -> Steps[None]:
        """Nobody knows who asks now: the session at hand is not theirs, and the next one who says who they are begins anew."""
        if self._admitted is not None:
            yield EndSession("a request came whose caller is not known")
        self._admitted = self._link = self._asked = None
        self._is_recorded = False

    # ------------------------------------------------------------ the gateway's own answers

    def _answer(self, head: RequestHead, problem: Problem) -> Steps[None]:
        """Answer a request that goes no further."""
        closes = problem.closes or not (head.keep_alive and self._is_read)
        exchange = self._exchange
        if self._is_recorded and (exchange is None or exchange is not self._passed):
            yield refused(head, head.length if exchange is None else max(exchange.size, head.length), self._of_refused())
        yield ToClient((yield Compose(self._worded(head, problem, closes=closes))))
        yield from self._done(closes=closes)

    def _of_refused(self) -> bytes:
        """What is recorded of the content of a request that does not go on. A protocol inside of HTTP says what it asked for."""
        return b""

    def _worded(self, head: RequestHead, problem: Problem, *, closes: bool) -> bytes:
        """The bytes of such an answer. A protocol inside of HTTP has words of its own."""
        return problem.encode(closes=closes, is_head=head.method == b"HEAD")

    def _settle(self, exchange: Exchange, status: OutcomeStatus, sent: int = 0, code: str = "") -> Steps[None]:
        """Say how what was forwarded has ended."""
        if exchange.grant is not None:
            for grant in (exchange.grant, *exchange.others):
                yield Settle(grant, status, sent=sent if grant is exchange.grant else 0, code=code)

    def _refuse_rest(self, problem: Problem) -> Steps[None]:
        """What the client sent is no request, and nothing behind it can be one."""
        exchange = self._exchange
        if exchange is not None:
            yield from self._settle(exchange, OutcomeStatus.UNKNOWN, code="cut")
        if exchange is None or exchange.reply is None or not exchange.reply.is_open:
            yield ToClient((yield Compose(problem.encode(closes=True))))
        yield Close("a request that cannot be read")

    def _give_up(self, exchange: Exchange, problem: Problem) -> Steps[None]:
        """The backend cannot be asked, or not to the end."""
        reply = exchange.reply
        yield from self._settle(exchange, OutcomeStatus.UNKNOWN, code=str(problem.status))
        yield from self._drop_link()
        if reply is not None and reply.is_open:
            yield Close("the answer was cut")
        else:
            yield from self._answer(exchange.request.head, problem)

    def _drop_link(self) -> Steps[None]:
        self._link = None
        yield HangUp()

    def _done(self, *, closes: bool) -> Steps[None]:
        """An exchange is over."""
        self._exchange = None
        self._phase += 1
        self._awaited = ""                  # the next head has a time of its own
        if closes or not self._is_read:
            yield Close("the last answer of the connection was given")
        else:
            self._reader.next_message()

    # ------------------------------------------------------------ time

    def _wait_for_client(self) -> Steps[None]:
        """Nothing more can be done until the client sends more: for how long?"""
        if self._exchange is not None:
            yield from self._await("content", self._exchange.admitted.timeout)
        elif not self._reader.in_head:
            yield from self._await("request", _IDLE)
        elif self._awaited != "head":       # once for each head: bytes that trickle in do not prolong it
            yield from self._await("head", self._head_timeout)

    def _await_answer(self, exchange: Exchange) -> Steps[None]:
        """It is the backend's turn: for how long? A protocol in which a backend may be silent has other times."""
        yield from self._await("answer", exchange.admitted.timeout)

    def _await(self, what: str, seconds: float | None) -> Steps[None]:
        self._phase += 1
        self._awaited = what
        yield Alarm(seconds, None if seconds is None else partial(self._late, self._phase))

    def _late(self, phase: int) -> Steps[None]:
        """The alarm: whoever was awaited has not come."""
        if phase != self._phase:
            return
        exchange = self._exchange
        if self._awaited == "answer" and exchange is not None:
            yield from self._give_up(exchange, Problem(
                504, "backend_unavailable", "the backend did not answer in time",
                hint="Whether the request was carried out is not known."))
            if self._exchange is None:
                yield from self._pump()
        elif self._awaited == "request":
            yield Close("idle")
        else:
            yield from self._refuse_rest(Problem(
                408, "not_understood", "the request did not arrive in time", hint="Nothing was carried out of it.",
                closes=True))
