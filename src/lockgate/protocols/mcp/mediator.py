"""MCP over HTTP: each JSON-RPC message of a request is judged and recorded by itself, and so is each that comes back.

    POST    messages → judge each → record → one request to the server → messages, masked each
    GET     a stream of what the server says by itself, or one that is resumed
    DELETE  the end of a session

Everything that has to do with bytes and connections is HTTP's (`protocols.http`); judging and masking of messages know
nothing of HTTP (`operations`, `sent`, `shown`, `pins`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Final

import orjson

from lockgate.errors import ConfigError
from lockgate.govern.pipeline import Grant, Planned
from lockgate.model import Decision, Refusal, RefusalCode, Secret
from lockgate.protocols.http.admission import Admitted, digest_of
from lockgate.protocols.http.codec import chunk, field_lines, last_chunk, request_line
from lockgate.protocols.http.credentials import injected
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.forwarding import Forward
from lockgate.protocols.http.mediator import HttpMediator
from lockgate.protocols.http.messages import Field, Fields, RequestHead, ResponseHead
from lockgate.protocols.http.operations import Request
from lockgate.protocols.http.problems import Problem, problem_of
from lockgate.protocols.http.results import Reply
from lockgate.protocols.http.targets import BadTarget, read_target
from lockgate.protocols.http.upstream import credential
from lockgate.protocols.mcp import binding, methods
from lockgate.protocols.mcp.exchange import McpExchange
from lockgate.protocols.mcp.jsonrpc import Id, Kind, Malformed, Message, read
from lockgate.protocols.mcp.judging import Asking, Carried, looked_beside, pins_of
from lockgate.protocols.mcp.operations import refused_operation, stream_operation
from lockgate.protocols.mcp.recording import of_refused
from lockgate.protocols.mcp.refusals import answer_of, answer_to_server
from lockgate.protocols.mcp.shown import Asked, Shown, anywhere
from lockgate.protocols.mcp.streams import OPENING, McpReply, document_of, event_of, json_response
from lockgate.protocols.mcp.unanswered import Unanswered
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import Aside, Compose, Judge, Note, Record, Steps, TlsInfo, ToClient

_TRAVELS: Final = frozenset((
    b"host", b"accept", b"accept-encoding", b"accept-language", b"content-type", b"user-agent", b"last-event-id",
    b"mcp-protocol-version", binding.FIELD, b"traceparent", b"tracestate",
))
"""Fields of a client that go on: others are no part of MCP, and nobody has looked into them."""
_ADDRESSES: Final = frozenset((b"host", b"user-agent", b"mcp-protocol-version", binding.FIELD))
"""Fields of a request that an answer to the server has too."""
_ANSWERING: Final = (Field.of(b"Content-Type", b"application/json"), Field.of(b"Accept", b"application/json, text/event-stream"),
                     Field.of(b"Connection", b"close"))
_ANSWERS: Final = 16
"""Requests of a server that are answered in one exchange."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_JSON: Final = Problem(415, "not_understood", "MCP messages come as application/json, not compressed",
                          hint="Nothing was forwarded.")
_NO_CONTENT: Final = Problem(400, "not_understood", "a POST of MCP has JSON-RPC messages as its content, and only a POST",
                             hint="Nothing was forwarded.")
_NO_METHOD: Final = Problem(405, "unsupported", "MCP over HTTP knows POST, GET and DELETE", hint="Nothing was forwarded.")
_NO_PLACE: Final = Problem(404, "unlisted", "the connection's `paths` do not list this path", hint="Nothing was forwarded.")
_NO_SESSION: Final = Problem(400, "not_understood", "a DELETE of MCP ends a session, and names it in Mcp-Session-Id",
                             hint="Nothing was forwarded.")
_NOT_YOURS: Final = Problem(404, "not_understood", "there is no such session for you", hint="Begin with `initialize`.")
_SAME_ID: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "another request of this session with the same id has not been answered yet",
    hint="Nothing was forwarded. Give each request of a session an id of its own.")


class McpMediator(HttpMediator):
    """The mediator of one client's connection."""

    def __init__(self, context: LoginContext, tls: TlsInfo | None, head_timeout: float) -> None:
        super().__init__(context, tls, head_timeout)
        self._named_session: tuple[Fields, Admitted, str, bytes] | None = None
        """Fields of a client that name a session of its own at a path; the reader gives the same ones as the same object."""
        self._travelling: tuple[Fields, bytes, Fields, bytes] | None = None
        """And what goes on of them: all that HTTP lets on, the session, what MCP does, as lines too."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed to the client. A stream that it listens to owes it nothing."""
        exchange = self._exchange
        return exchange is None or (exchange.is_sent and exchange.request.method == "GET")

    # ------------------------------------------------------------ requests

    def _exchange_of(self, admitted: Admitted, request: Request, *, has_content: bool) -> Exchange | Problem:
        head, method = request.head, request.method
        if admitted.settings.paths and not request.template:
            return _NO_PLACE
        session = self._session_of(admitted, request)
        if session is None or len(head.all(binding.FIELD)) > 1:
            return _NOT_YOURS
        if method == "POST":
            if not has_content:
                return _NO_CONTENT
            if request.media_type != "application/json" or head.all(b"content-encoding"):
                return _NO_JSON
            return McpExchange(admitted, request, refused_operation(), session)
        if method not in ("GET", "DELETE"):
            return _NO_METHOD
        if has_content:
            return _NO_CONTENT
        if method == "DELETE" and not session:
            return _NO_SESSION
        return McpExchange(admitted, request, stream_operation(methods.LISTEN if method == "GET" else methods.LEAVE), session)

    def _session_of(self, admitted: Admitted, request: Request) -> bytes | None:
        """The server's id of the session, empty where there is none; None for one of somebody else, or of another path."""
        fields, path, known = request.head.fields, request.target.path, self._named_session
        if known is not None and known[0] is fields and known[1] is admitted and known[2] == path:
            return known[3]
        given = request.head.all(binding.FIELD)
        session = binding.unbound(given[0], admitted.keys, admitted.identity, admitted.connection.name, path) if given else b""
        self._named_session = None if session is None else (fields, admitted, path, session)
        return session

    def _ask_beforehand(self, exchange: Exchange) -> Steps[None]:
        """Nothing can be judged before the messages are there."""
        if exchange.request.head.expects_continue:
            yield ToClient((yield Compose(_CONTINUE)))

    def _addressed(self, exchange: Exchange, *, is_masked: bool) -> tuple[bytes, Fields, bytes]:
        assert isinstance(exchange, McpExchange)
        target, fields, _ = super()._addressed(exchange, is_masked=is_masked)
        known = self._travelling
        if known is None or known[0] is not fields or known[1] != exchange.session:
            kept = tuple(field._replace(value=exchange.session) if field.name == binding.FIELD else field
                         for field in fields if field.name in _TRAVELS)
            known = self._travelling = fields, exchange.session, kept, field_lines(kept)
        return target, known[2], known[3]

    def _plan(self, exchange: Exchange, content: bytes | None, decision: Decision) -> Planned | Refusal:
        """Of a stream, or a session's end; messages have plans of their own."""
        terms = exchange.admitted.terms(decision, (), self._context.limits.inspect)
        target, fields, lines = self._addressed(exchange, is_masked=terms.is_due)
        beside = looked_beside(lambda: fields, exchange.request.target, terms, decision)
        if beside.refusal is not None:
            return beside.refusal
        line = request_line(exchange.request.head.method, target)
        return Planned(b"%b%b\r\n" % (line, lines), digest_of(terms.masks, terms.detects), Forward(target, lines, b"", terms, line), noted=beside.noted)

    def _judge(self, exchange: Exchange, content: bytes | None) -> Steps[None]:
        assert isinstance(exchange, McpExchange)
        self._phase += 1                    # a person may take longer than content may
        if content is None:
            yield from super()._judge(exchange, content)
            return
        try:
            exchange.messages, exchange.is_batch = read(content)
        except Malformed as error:
            yield from self._refuse_all(exchange, error)
            return
        granted: list[Grant] = []
        texts: list[str] = []
        for message in exchange.messages:
            verdict = yield from self._judge_message(exchange, message)
            if isinstance(verdict, Refusal):
                exchange.refusal = verdict
                if message.kind is Kind.REQUEST:
                    exchange.own.append(answer_of(message.id, message.method, verdict))
                continue
            carried = verdict.planned.carry
            assert isinstance(carried, Carried)
            if not self._is_first(exchange, message):
                yield Judge(refused_operation(), lambda _: _SAME_ID)
                exchange.refusal = _SAME_ID
                exchange.own.append(answer_of(message.id, message.method, _SAME_ID))
                continue
            granted.append(verdict)
            texts.append(carried.text)
            if message.id is not None and message.kind is Kind.REQUEST:
                exchange.asked[type(message.id), message.id] = Asked(message.method, carried.terms)
        if not granted:
            yield from self._answer_alone(exchange)
            return
        target, _, lines = self._addressed(exchange, is_masked=True)
        data = ("[" + ",".join(texts) + "]" if exchange.is_batch else texts[0]).encode()
        lines += field_lines((Field.of(b"Content-Length", b"%d" % len(data)),))
        exchange.forward = Forward(target, lines, data, None, request_line(exchange.request.head.method, target))
        exchange.others = tuple(granted[1:])
        if (yield from self._forward(exchange, granted[0])):
            yield from self._sent(exchange)
        else:
            self._free(exchange, list(exchange.asked))

    def _is_first(self, exchange: McpExchange, message: Message) -> bool:
        """Whether no other request of the session with this id waits for its answer. Without a session each HTTP request is
        answered by itself."""
        if message.kind is not Kind.REQUEST or message.id is None or not exchange.session:
            return True
        return self._unanswered.ask((exchange.admitted.connection.name, exchange.session), message.id)

    def _free(self, exchange: McpExchange, ids: Iterable[tuple[type, Id]]) -> None:
        if exchange.session:
            for _, one in ids:
                self._unanswered.settle((exchange.admitted.connection.name, exchange.session), one)

    @property
    def _unanswered(self) -> Unanswered:
        shared = self._context.shared
        if "unanswered" not in shared:
            shared["unanswered"] = Unanswered()
        found: Unanswered = shared["unanswered"]
        return found

    def _judge_message(self, exchange: McpExchange, message: Message) -> Steps[Grant | Refusal]:
        asking = Asking.about(
            message, exchange.admitted, self._context, lambda: self._addressed(exchange, is_masked=True)[1],
            exchange.request.target)
        step = asking.step()
        if exchange.may_open and message.kind is Kind.REQUEST:
            step.waiting = partial(self._waiting, exchange, message)
        verdict: Grant | Refusal = yield step
        return asking.refusal if asking.refusal is not None and isinstance(verdict, Refusal) else verdict

    def _carried(self, exchange: Exchange, grant: Grant) -> Forward:
        assert isinstance(exchange, McpExchange)
        return exchange.forward or super()._carried(exchange, grant)

    # ------------------------------------------------------------ the gateway's own answers

    def _waiting(self, exchange: McpExchange, message: Message, ticket: str) -> bytes | None:
        """Bytes for a client whose request a person looks at: progress if it asked for that, or a comment."""
        exchange.waited += 1
        meta = message.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        words = f"waits for a person to approve it (ticket {ticket})"
        if isinstance(token, str | int):
            event = event_of(orjson.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": token, "progress": exchange.waited, "message": words}}))
        else:
            event = f": {words}\n\n".encode()
        opening = b"" if exchange.is_opened else OPENING
        exchange.is_opened = True
        return opening + chunk(event)

    def _refuse_all(self, exchange: McpExchange, error: Malformed) -> Steps[None]:
        """What the client sent is no JSON-RPC: on record, and answered without an id, as none is known."""
        refusal = Refusal(RefusalCode.NOT_UNDERSTOOD, f"this is no JSON-RPC of one reading: {error}",
                          hint="Nothing was forwarded.")
        yield Judge(refused_operation(), lambda _: refusal)
        exchange.own.append(answer_of(None, "", refusal, error.code))
        yield from self._answer_alone(exchange)

    def _answer_alone(self, exchange: McpExchange) -> Steps[None]:
        """Nothing goes on."""
        refusal = exchange.refusal or Refusal(RefusalCode.NOT_UNDERSTOOD, "nothing can be forwarded of this")
        yield from self._answer(exchange.request.head, problem_of(refusal))

    def _of_refused(self) -> bytes:
        """The messages by method and name, without what they say."""
        exchange = self._exchange
        asked = [message for message in exchange.messages if message.method] if isinstance(exchange, McpExchange) else []
        found = [of_refused(message) for message in asked]
        return document_of(found, is_batch=False) if found else b""

    def _worded(self, head: RequestHead, problem: Problem, *, closes: bool) -> bytes:
        """A refusal as JSON-RPC where a request waits for it, on its stream where that is open. With 200, because clients
        show nobody what an HTTP error says."""
        exchange = self._exchange
        if not isinstance(exchange, McpExchange):
            return super()._worded(head, problem, closes=closes)
        found = exchange.answers(Refusal(
            RefusalCode(problem.code), problem.detail, problem.rule, problem.ticket, problem.hint))
        if exchange.is_opened:
            return b"".join(chunk(event_of(one)) for one in found) + last_chunk()
        if not found:
            return super()._worded(head, problem, closes=closes)
        return json_response(
            document_of(found, is_batch=exchange.is_batch), 200 if exchange.messages else problem.status, closes=closes)

    # ------------------------------------------------------------ answers

    def _reply_to(self, exchange: Exchange, head: ResponseHead) -> Reply:
        assert isinstance(exchange, McpExchange)
        admitted, grant = exchange.admitted, exchange.grant
        assert grant is not None
        masks, detects = admitted.admission.may_hide()
        rest = admitted.terms_of(anywhere(masks), detects, (), self._context.limits.inspect)
        shown = exchange.shown = Shown(
            exchange.asked, rest, pins_of(admitted, self._context), admitted.admission.foresees, rest.is_due,
            admitted.settings.binary == "allow")
        asked = exchange.request.head
        if head.all(binding.FIELD):
            head = replace(head, fields=tuple(
                field._replace(value=self._bound(exchange, field.value)) if field.name == binding.FIELD else field
                for field in head.fields))
        return McpReply(head, exchange, shown, grant.masked,
                        closes=not (asked.keep_alive and exchange.is_sent), route=partial(self._route_of, exchange), lines=self._lines)

    def _bound(self, exchange: McpExchange, session: bytes) -> bytes:
        """The id that the client gets for the server's; most answers name the session that the client named."""
        if session and session == exchange.session:
            return exchange.request.head.all(binding.FIELD)[0]
        admitted = exchange.admitted
        return binding.bound(
            session, admitted.keys, admitted.identity, admitted.connection.name, exchange.request.target.path)

    def _route_of(self, exchange: McpExchange, data: bytes) -> bytes:
        """Where the older transport's client has to send its messages: a path here. ValueError for any other place."""
        admitted = exchange.admitted
        base, prefix = (admitted.settings.base_path or "").encode(), (admitted.settings.prefix or "").encode()
        path = data.strip()
        if not path.startswith(base + b"/") or path.startswith(b"//") or not path.isascii():
            raise ValueError("the endpoint is no path of the server")
        try:
            read_target(path)
        except BadTarget:
            raise ValueError("the endpoint is no path of one reading") from None
        exchange.endpoint = path
        return prefix + path[len(base):]

    def _noted(self, exchange: Exchange) -> Steps[None]:
        """Definitions that were pinned or have changed, and what the server may not ask the client for."""
        assert isinstance(exchange, McpExchange)
        shown = exchange.shown
        if shown is not None and shown.answered:
            self._free(exchange, list(shown.answered))
        while shown is not None and shown.notes:
            event, fields = shown.notes.pop(0)
            yield Note(event, fields)
        while shown is not None and shown.unasked:
            yield from self._answer_server(exchange, shown.unasked.pop(0))

    def _answer_server(self, exchange: McpExchange, message: Message) -> Steps[None]:
        """A request that the client does not get is answered here, or the server would wait for it: over a connection of its
        own, as this one carries the stream. In the older transport the stream has said where answers go. Only so often, as
        each costs a connection."""
        admitted, grant, asked = exchange.admitted, exchange.grant, exchange.request
        is_current = asked.method == "POST" or bool(asked.head.all(binding.FIELD))
        if grant is None or not (is_current or exchange.endpoint) or exchange.answered_server >= _ANSWERS or admitted.settings.inject == "aws":
            return
        exchange.answered_server += 1
        target, fields, _ = self._addressed(exchange, is_masked=True)
        if exchange.endpoint:
            target = exchange.endpoint
        content = answer_to_server(message.id)
        secret: Secret | Refusal = yield from credential(admitted.settings)
        if isinstance(secret, Refusal):
            return
        try:
            target, carriers = injected(admitted.settings, admitted.connection.credential.user, secret, target)
        except ConfigError:
            return                      # the request at hand says so, to somebody who reads it
        kept = tuple(field for field in fields if field.name in _ADDRESSES)
        lines = field_lines((*kept, *_ANSWERING, Field.of(b"Content-Length", b"%d" % len(content)), *carriers))
        permit = yield Record((), b"%b%b\r\n%b" % (request_line(b"POST", target), lines, content), grant.record)
        if not isinstance(permit, Refusal):
            yield Aside(permit, is_secured=admitted.connection.tls.mode != "disable")

    def _await_answer(self, exchange: Exchange) -> Steps[None]:
        """A server that is listened to may be silent for as long as it likes."""
        reply = exchange.reply
        if isinstance(reply, McpReply) and reply.is_stream and exchange.request.method == "GET":
            yield from self._await("answer", None)
        else:
            yield from super()._await_answer(exchange)
