"""Requests in their order: who asks for what, is it allowed, and its content."""

from __future__ import annotations

from functools import partial
from typing import Final

from lockgate.govern.pipeline import Grant
from lockgate.model import Effect, Refusal
from lockgate.protocols.http import operations
from lockgate.protocols.http.admission import Admitted, admit
from lockgate.protocols.http.callers import OVERRIDES
from lockgate.protocols.http.codec import chunk, last_chunk
from lockgate.protocols.http.credentials import carriers, has_place_of_credential
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.fields import request_trailers
from lockgate.protocols.http.messages import End, Event, Fields, Framing, MessageError, RequestHead
from lockgate.protocols.http.problems import Problem, bad_request, problem_of
from lockgate.protocols.http.routing import NoRoute, destination, destination_within, host_of
from lockgate.protocols.http.targets import BadTarget, Target, read_target
from lockgate.protocols.http.tunnels import Tunnels
from lockgate.protocols.http.websocket.handshake import is_asked_for, read_handshake
from lockgate.wire.steps import Compose, Judge, Passed, Record, Side, Steps, ToClient, ToServer

HELD: Final = 65_536
"""Bytes of a request's content that are held without anybody having asked to see it."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNKNOWN_METHOD: Final = Problem(
    501, "unsupported", "the gateway does not let requests of this method through",
    hint="Nothing was forwarded. What the method does is not known, so no policy could judge it.")
_NOT_YOURS: Final = Problem(
    400, "not_understood", "the query holds the parameter in which the gateway shows the backend its own credential",
    hint="Nothing was forwarded. Leave the parameter out.")
_NO_PROXY: Final = Problem(
    400, "not_understood", "this port is no proxy: the request's target names a scheme and a host",
    hint="Send the path alone, and the host in Host.")


class Requests(Tunnels):
    """The client's side. Bytes of a pipelined request wait in the reader."""

    def _pump(self) -> Steps[None]:
        """Go on with what the client has sent, as far as it goes. Only one generator does at a time."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            yield from self._requests()
        finally:
            self._is_pumping = False

    def _requests(self) -> Steps[None]:
        while True:
            exchange = self._exchange
            if exchange is not None and exchange.is_sent:
                return
            try:
                event = self._reader.event()
            except MessageError as error:
                yield from self._refuse_rest(bad_request(error.status, error.args[0]))
                return
            if event is None:
                yield from self._wait_for_client()
                return
            if isinstance(event, RequestHead):
                self._is_read = event.framing is Framing.NONE
                if self._is_read:
                    self._reader.event()    # its End
                yield from self._begin(event)
            elif exchange is not None:
                yield from self._content(exchange, event)

    def _begin(self, head: RequestHead) -> Steps[None]:
        """A request's head: who asks for what, and is it allowed as far as a head tells."""
        self._phase += 1
        if head.method == b"CONNECT":
            yield from self._open_tunnel(head)
            return
        is_proxied = not head.target.startswith((b"/", b"*"))
        found = yield from self._request_of(head, is_proxied=is_proxied)
        if isinstance(found, Problem):
            yield from self._answer(head, found.at_proxy() if is_proxied else found)
            return
        admitted, request = found
        has_content = head.framing is not Framing.NONE
        exchange = self._exchange_of(admitted, request, has_content=has_content)
        if isinstance(exchange, Problem):
            yield from self._answer(head, exchange)
            return
        self._exchange = exchange
        if not has_content:
            yield from self._judge(exchange, None)
        elif head.expects_continue or head.framing is Framing.CHUNKED or head.length > HELD:
            yield from self._ask_beforehand(exchange)

    def _exchange_of(self, admitted: Admitted, request: operations.Request, *, has_content: bool) -> Exchange | Problem:
        """What is known of a request by its head. A protocol inside of HTTP reads it otherwise, or not at all."""
        exchange = Exchange(admitted, request, operations.head_operation(request, has_content=has_content))
        if request.is_websocket:
            handshake = read_handshake(request.head)
            if isinstance(handshake, Problem):
                return handshake
            exchange.handshake = handshake
        return exchange

    def _request_of(
        self, head: RequestHead, *, is_proxied: bool
    ) -> Steps[tuple[Admitted, operations.Request] | Problem]:
        try:
            (_, host, override, media_type), raw = self._named_by(head), head.target
            if is_proxied:
                if self._tunnel is not None or not self._context.route.is_proxy:
                    return _NO_PROXY
                raw = _origin_form(raw, b"ws" if is_asked_for(head) else b"http")
            target = read_target(raw)
            target.query                    # noqa: B018 - raises for what cannot be read
            if override is not None and override.upper() != head.method:
                raise BadTarget("a field asks for another method than the request's")
            if self._tunnel is not None:
                to = destination_within(self._context, host, self._tunnel.admitted.connection.name)
            else:
                to = destination(self._context, host, target.path, self._server_name)
            if to.prefix:
                target = _without(to.prefix, target)
        except BadTarget as error:
            return Problem(400, "not_understood", str(error), hint="Nothing was forwarded.")
        except NoRoute as error:
            return Problem(error.status, "denied", str(error), hint="The host, or the beginning of the path, selects the "
                           "connection; ask those who run the gateway which one is meant.")
        admitted: Admitted | Problem | None = self._tunnel.admitted if self._tunnel is not None else None
        if admitted is None and head.fields is self._asked and self._admitted is not None and (
                self._context.connections.get(to.connection) is self._admitted.connection):
            admitted = self._admitted       # the same token and task as before, for the same connection
        if admitted is None:
            admitted = yield from admit(self._context, head, to, self._admitted, self._certificate)
        if isinstance(admitted, Problem):
            yield from self._forget_caller()
            return admitted
        self._asked = head.fields
        if admitted is not self._admitted:
            self._admitted, self._link, self._is_recorded = admitted, None, admitted.is_recorded
        if head.method.decode("ascii").lower() not in operations.METHODS:
            return _UNKNOWN_METHOD
        if has_place_of_credential(admitted.settings, target):
            return _NOT_YOURS
        place = admitted.listing.place(head.method.decode("ascii"), target.segments)
        return admitted, operations.Request(
            head, host, target, place.template, media_type, target.path.casefold() in admitted.graphql, place.operation,
            place.unlisted, is_asked_for(head))

    def _named_by(self, head: RequestHead) -> tuple[Fields, str, bytes | None, str]:
        """The fields, and of them the host, the method that they ask for instead, and the content's type; read once where
        a client sends the same fields again."""
        known = self._named
        if known is None or known[0] is not head.fields:
            override = next((value for name in OVERRIDES for value in head.all(name)), None)
            known = self._named = (
                head.fields, host_of(head.get(b"host") or b""), override, operations.media_type_of(head))
        return known

    # ------------------------------------------------------------ content

    def _ask_beforehand(self, exchange: Exchange) -> Steps[None]:
        """Judge the head before the content is let in: what is refused anyway is not sent for nothing."""
        verdict: Grant | Refusal = yield Judge(
            exchange.operation, partial(self._plan, exchange, None), ask=False, counts=False)
        head = exchange.request.head
        if isinstance(verdict, Refusal):
            yield from self._answer(head, problem_of(verdict))
            return
        decision = verdict.decision
        exchange.may_stream = (
            decision.effect is Effect.ALLOW and not decision.wants and not decision.looks_at_requests
            and not exchange.admitted.settings.signs_content
            and not (decision.masks and exchange.request.is_graphql))
        if head.expects_continue:
            yield ToClient((yield Compose(_CONTINUE)))

    def _content(self, exchange: Exchange, event: Event) -> Steps[None]:
        """A piece of the content, or its end."""
        if isinstance(event, End):
            self._is_read = True
            if exchange.streams:
                yield from self._end_stream(exchange, event.trailers)
            else:
                content, exchange.content = b"".join(exchange.content), []
                yield from self._judge(exchange, content)
            return
        assert isinstance(event, bytes)
        if exchange.streams:
            yield from self._stream(exchange, event)
            return
        exchange.content.append(event)
        exchange.size += len(event)
        if exchange.size <= HELD:
            return
        if exchange.may_stream:
            yield from self._begin_stream(exchange)
        elif exchange.size > self._context.limits.inspect:
            yield from self._answer(exchange.request.head, Problem(
                413, "too_large", "the content has to be looked into as a whole, and is too large for that",
                hint="Nothing was forwarded. Send less at a time."))

    def _begin_stream(self, exchange: Exchange) -> Steps[None]:
        """The content is large and nobody asks to see it: what has come goes on, and the rest as it comes."""
        verdict: Grant | Refusal = yield Judge(
            exchange.operation, partial(self._plan, exchange, None), patience=exchange.admitted.patience)
        if isinstance(verdict, Refusal):
            yield from self._answer(exchange.request.head, problem_of(verdict))
            return
        content, exchange.content = b"".join(exchange.content), []
        is_chunked = exchange.request.head.framing is Framing.CHUNKED
        exchange.streams = True             # from the first byte on: it cannot go out again
        yield from self._forward(exchange, verdict, chunk(content) if is_chunked else content)

    def _stream(self, exchange: Exchange, data: bytes) -> Steps[None]:
        is_chunked = exchange.request.head.framing is Framing.CHUNKED
        yield from self._send_on(exchange, chunk(data) if is_chunked else data)

    def _end_stream(self, exchange: Exchange, trailers: Fields) -> Steps[None]:
        if exchange.request.head.framing is Framing.CHUNKED:
            settings = exchange.admitted.settings
            kept = request_trailers(trailers, settings.token_header, carriers(settings))
            yield from self._send_on(exchange, last_chunk(kept))
        yield from self._sent(exchange)

    def _send_on(self, exchange: Exchange, data: bytes) -> Steps[None]:
        """More of a request that is on record."""
        if self._link is None or exchange.grant is None:
            return                          # the backend has left, and its failure is being told
        permit = yield Record((), data, exchange.grant.record)
        if isinstance(permit, Refusal):
            yield from self._give_up(exchange, problem_of(permit))
            return
        if self._is_recorded:
            yield Passed(Side.CLIENT, data)
        yield ToServer(permit)

    # ------------------------------------------------------------ one request

    def _judge(self, exchange: Exchange, content: bytes | None) -> Steps[None]:
        """The request is whole (None: without content): may it go on?"""
        request, operation = exchange.request, exchange.operation
        if content is not None:
            operation = operations.with_content(request, operation, content)
        plan, patience = partial(self._plan, exchange, content), exchange.admitted.patience
        verdict: Grant | Refusal = yield Judge(operation, plan, patience=patience)
        while isinstance(verdict, Grant) and verdict.decision.wants:
            try:
                operation = operations.with_facts(request, operation, content or b"", verdict.decision.wants)
            except operations.BadContent as error:
                yield from self._answer(request.head, Problem(400, "not_understood", str(error), hint=error.hint("Nothing")))
                return
            verdict = yield Judge(operation, plan, counts=False, patience=patience)
        if isinstance(verdict, Refusal):
            yield from self._answer(request.head, problem_of(verdict))
            return
        if (yield from self._forward(exchange, verdict)):
            yield from self._sent(exchange)


def _origin_form(target: bytes, also: bytes) -> bytes:
    """The path and query of a target in absolute form (RFC 9112 section 3.2.2); the reader has compared its host. `also` is
    a scheme besides http that it may have."""
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", also):
        raise BadTarget("a forward proxy is asked for https by CONNECT")
    slash = rest.find(b"/")
    mark = rest.find(b"?")
    if slash < 0 or 0 <= mark < slash:
        return b"/" + (rest[mark:] if mark >= 0 else b"")
    return rest[slash:]


def _without(prefix: str, target: Target) -> Target:
    """The target behind the prefix that led to the connection. `BadTarget` where the prefix is written in another way."""
    if not target.raw_path.startswith(prefix.encode("ascii")):
        raise BadTarget("the beginning of the path selects the connection, and is not written as it is configured")
    raw = target.raw_path[len(prefix):] or b"/"
    return read_target(raw if target.raw_query is None else raw + b"?" + target.raw_query)
