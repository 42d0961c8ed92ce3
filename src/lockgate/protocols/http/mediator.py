"""Requests in their order, each judged, recorded, forwarded and answered before the next one is.

    client's bytes   → head → who and where (`admission`) → judge → record → backend      `requests`, `forwarding`
    backend's bytes  → answer → mask (`results`) → client → the next request              `answers`

Content up to `requests.HELD` is held until it is whole, so that policy, reviewer and record see all of it; more goes on as
it comes, unless somebody has to see it first. Whatever the backend says without having been asked ends its connection,
because it would answer somebody's next request. Behind a 101 both sides are the socket's (`websocket`).
"""

from __future__ import annotations

from lockgate.errors import LockgateError
from lockgate.model import OutcomeStatus, Refusal
from lockgate.protocols.http.answers import Answers
from lockgate.protocols.http.messages import End, MessageError
from lockgate.protocols.http.requests import Requests
from lockgate.wire.spec import Spare
from lockgate.wire.steps import Close, Steps


class HttpMediator(Requests, Answers):
    """The mediator of one client's connection."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed to the client."""
        if self._socket is not None:
            return True                     # messages go whole: there is always an end of one
        return self._exchange is None and (self._tunnel is None or not self._tunnel.is_blind)

    @property
    def is_stalled(self) -> bool:
        """Whether the client's next bytes have to wait for an answer."""
        return self._exchange is not None and self._exchange.is_sent and self._socket is None

    @property
    def spare(self) -> Spare | None:
        """What the backend's connection is good for when this client leaves it."""
        link = self._link
        return None if link is None or not self._admitted or not self._admitted.settings.reuse else link.left()

    def client_data(self, data: bytes) -> Steps[None]:
        """Bytes of the client."""
        if self._socket is not None:
            yield from self._socket.client_data(data)
            return
        if self._tunnel is not None and self._tunnel.is_blind:
            yield from self._up(self._tunnel, data)
            return
        try:
            self._reader.feed(data)
        except LockgateError:
            return                          # behind a request that could not be read; the connection is being closed
        yield from self._pump()

    def server_data(self, data: bytes) -> Steps[None]:
        """Bytes of the backend."""
        if self._socket is not None:
            yield from self._socket.server_data(data)
            return
        if self._tunnel is not None and self._tunnel.is_blind:
            yield from self._down(self._tunnel, data)
            return
        link, exchange = self._link, self._exchange
        if link is None:
            return
        if exchange is None or exchange.grant is None or not exchange.grant.record >= 0:
            yield from self._drop_link()    # an answer that nobody asked for
            return
        try:
            link.reader.feed(data)
            yield from self._answers(exchange, link)
        except MessageError as error:
            yield from self._backend_failed(exchange, error.args[0])
            return
        if self._exchange is None:
            yield from self._pump()

    def client_closed(self) -> Steps[None]:
        """The client is gone: what is open ends with the session, as unknown."""
        exchange, tunnel = self._exchange, self._tunnel
        if self._socket is not None:
            yield from self._socket.client_closed()
        elif tunnel is not None and tunnel.is_blind:
            yield from self._end_tunnel(tunnel, OutcomeStatus.OK, "client left")
        elif exchange is not None:
            yield from self._settle(exchange, OutcomeStatus.UNKNOWN, code="client left")

    def server_closed(self) -> Steps[None]:
        """The backend has hung up."""
        if self._socket is not None:
            yield from self._socket.server_closed()
            return
        if self._tunnel is not None and self._tunnel.is_blind:
            yield from self._end_tunnel(self._tunnel, OutcomeStatus.OK, "backend left")
            return
        link, exchange, self._link = self._link, self._exchange, None
        if link is None or exchange is None or exchange.grant is None or exchange.grant.record < 0:
            return
        try:
            ending = link.reader.closed()
        except MessageError as error:
            if exchange.can_repeat and (link.is_untouched or (link.is_used and exchange.may_repeat)):
                yield from self._repeat(exchange)
            else:
                yield from self._backend_failed(exchange, error.args[0])
            return
        if isinstance(ending, End):
            yield from self._told(exchange, link, b"", ending)
            if self._exchange is None:
                yield from self._pump()

    def end(self, refusal: Refusal) -> Steps[None]:
        """Between requests a connection is closed without a word (RFC 9112 section 9.5); a WebSocket is told why."""
        if self._socket is not None:
            yield from self._socket.end(refusal)
            return
        yield Close(f"ended: {refusal.code}")

    def interrupt(self) -> Steps[None]:
        """HTTP/1 has no way to cancel but to leave."""
        yield from ()
