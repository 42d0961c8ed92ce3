"""What goes to the backend: the request as policy lets it, on record first, with the credential at the last moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lockgate.errors import ConfigError
from lockgate.govern.masking.bodies import BodyTerms
from lockgate.govern.pipeline import Grant, Planned
from lockgate.model import Decision, KeyScope, Refusal, RefusalCode, Secret
from lockgate.protocols.http.admission import Admitted, digest_of
from lockgate.protocols.http.beside import beside
from lockgate.protocols.http.codec import field_lines, request_line
from lockgate.protocols.http.conversation import Conversation
from lockgate.protocols.http.credentials import carriers, injected
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.fields import request_fields
from lockgate.protocols.http.intake import Intake, is_looked_into
from lockgate.protocols.http.messages import Field, Fields, Framing, RequestHead
from lockgate.protocols.http.operations import BadContent, renamed_fields
from lockgate.protocols.http.problems import problem_of
from lockgate.protocols.http.recording import WHOLE
from lockgate.protocols.http.signing import Key, signature
from lockgate.protocols.http.upstream import Link, connect, credential, session_token, unusable
from lockgate.protocols.http.validators import is_conditional, unsealed
from lockgate.protocols.http.websocket.handshake import UPGRADE
from lockgate.wire.steps import Passed, Record, Side, Steps, ToServer


@dataclass(frozen=True, slots=True)
class Forward:
    """What goes to the backend but for its credential, and what is due in its answer."""

    target: bytes
    lines: bytes
    content: bytes
    terms: BodyTerms | None
    line: bytes
    """The first line, unless the credential changes the target."""


_NO_WEBSOCKET: Final = Refusal(
    RefusalCode.UNSUPPORTED, "this connection lets no WebSocket through",
    hint="Nothing was forwarded. Ask over HTTP, or ask those who run the gateway to allow it.")
_WITH_CONTENT: Final = frozenset((b"POST", b"PUT", b"PATCH", b"QUERY", b"PROPFIND", b"PROPPATCH", b"REPORT", b"SEARCH", b"LOCK"))


def ends_backend(head: RequestHead) -> bool:
    """Whether the backend's connection ends behind this request: its method has no content for some servers, and these would
    read the content as the next request, which nobody has judged (CL.0)."""
    return head.framing is not Framing.NONE and head.method not in _WITH_CONTENT


class Forwarding(Conversation):
    """The way to the backend."""

    def _plan(self, exchange: Exchange, content: bytes | None, decision: Decision) -> Planned | Refusal:
        """What goes to the backend, as records show it: without the credential. `content` None: there is none, or it goes
        on as it comes."""
        admitted, request = exchange.admitted, exchange.request
        if request.unlisted is not None:
            return request.unlisted
        settings, head = admitted.settings, request.head
        if exchange.handshake is not None and settings.websocket == "deny":
            return _NO_WEBSOCKET
        limit = self._context.limits.inspect
        is_masked = bool(decision.masks or decision.detects)
        is_looked = is_looked_into(decision, request, has_keys=admitted.keys is not None)
        terms = admitted.terms(decision, request.target.segments, limit) if is_masked or is_looked else None
        if terms is not None and decision.masks and (content is not None or head.framing is Framing.NONE):
            try:
                if renamed := renamed_fields(request, content or b""):
                    terms = replace(terms, renamed=renamed)
            except BadContent as error:
                return Refusal(RefusalCode.NOT_UNDERSTOOD, str(error), hint=error.hint("Nothing"))
        target, fields, lines = self._addressed(exchange, is_masked=is_masked)
        noted: tuple[str, ...] = ()
        if terms is not None and is_looked:
            intake = Intake(terms, decision, request)
            fields, lines = self._looked_into(intake, fields, lines, decision, head)
            target = intake.target(request, target)
            if content:
                content = intake.content(request, content, binary=settings.binary == "allow")
            intake.conclude()
            if intake.refusal is not None:
                return intake.refusal
            noted = intake.noted
        framing: list[Field] = []
        if exchange.handshake is not None:
            framing += UPGRADE
        elif ends_backend(head):
            framing.append(Field.of(b"Connection", b"close"))
        if content is not None and head.framing is not Framing.NONE:
            framing.append(Field.of(b"Content-Length", b"%d" % len(content)))
        elif head.framing is Framing.LENGTH:
            framing.append(Field.of(b"Content-Length", b"%d" % head.length))
        elif head.framing is Framing.CHUNKED:
            framing.append(Field.of(b"Transfer-Encoding", b"chunked"))
        if framing:
            lines += field_lines(framing)
        line = request_line(head.method, target)
        shown = b"%b%b\r\n%b" % (line, lines, content or b"")
        digest = digest_of(decision.masks, decision.detects)
        reading, context = beside(admitted, request, decision, limit)
        return Planned(
            shown, digest, Forward(target, lines, content or b"", terms if is_masked else None, line), noted=noted,
            reading=reading, context=context)

    def _looked_into(
        self, intake: Intake, fields: Fields, lines: bytes, decision: Decision, head: RequestHead
    ) -> tuple[Fields, bytes]:
        """The fields that go on, as they are and as lines. A client sends the same ones again and again: those in which nothing
        was found are not searched anew under the same decision."""
        seen = (fields, decision.requests, decision.masks, head.method)
        known = self._searched
        if known is not None and known[0] is fields and known[1:] == seen[1:]:
            return fields, lines
        found = intake.fields(fields)
        if found != fields:
            return found, field_lines(found)
        if intake.is_clean:
            self._searched = seen
        return fields, lines

    def _fields_for(self, admitted: Admitted, head: RequestHead, host: str, *, is_masked: bool) -> tuple[Fields, bytes]:
        """The fields for the backend without framing and credential, as they are and as lines; those of the request before
        where it had the same."""
        known = self._written
        if known is not None and known[0] is head.fields and known[1] is admitted and known[2] is is_masked:
            return known[3], known[4]
        settings = admitted.settings
        fields = request_fields(
            head, host.encode("ascii"), settings.token_header, carriers(settings), is_masked=is_masked)
        lines = field_lines(fields)
        self._written = (head.fields, admitted, is_masked, fields, lines)
        return fields, lines

    def _addressed(self, exchange: Exchange, *, is_masked: bool) -> tuple[bytes, Fields, bytes]:
        """The target and the fields for the backend, without framing and credential; the fields as lines too. A protocol
        inside of HTTP lets less of them on."""
        admitted, request = exchange.admitted, exchange.request
        settings = admitted.settings
        host = settings.host or admitted.connection.address.removesuffix(
            ":80" if admitted.connection.tls.mode == "disable" else ":443")
        target = settings.base_path.encode("ascii") + request.target.raw_path
        if request.target.raw_query is not None:
            target += b"?" + request.target.raw_query
        fields, lines = self._fields_for(admitted, request.head, host, is_masked=is_masked)
        if is_conditional(fields):
            fields = unsealed(fields, admitted.keys, admitted.scopes.of(KeyScope.CONNECTION), request.target.segments,
                              is_masked=is_masked)
            lines = field_lines(fields)
        return target, fields, lines

    def _forward(self, exchange: Exchange, grant: Grant, begun: bytes = b"") -> Steps[bool]:
        """Put the request on record and send it, with the credential. `begun`: the content that has come of one that goes
        on as it comes. False where it was answered instead."""
        head = exchange.request.head
        link = self._link or (yield from self._connect(exchange))
        payload = None if link is None else (yield from self._with_credential(exchange, grant, begun))
        if payload is None:
            return False
        permit = yield Record([grant, *exchange.others], payload)
        if isinstance(permit, Refusal):
            yield from self._answer(head, problem_of(permit))
            return False
        exchange.grant = grant
        link = self._link or (yield from self._connect(exchange))       # it may have left while the record was written
        if link is None:
            return False
        link.ask(head, exchange.upgrade)
        if self._is_recorded:
            yield from self._pass(exchange, grant, begun)
        yield ToServer(permit)
        return True

    def _pass(self, exchange: Exchange, grant: Grant, begun: bytes) -> Steps[None]:
        """Say to the recording what goes on, without the credential."""
        self._passed, forward = exchange, self._carried(exchange, grant)
        data = b"%b%b\r\n%b%b" % (forward.line, forward.lines, forward.content, begun)
        yield Passed(Side.CLIENT, data, "" if begun else WHOLE)

    def _connect(self, exchange: Exchange) -> Steps[Link | None]:
        """A connection to the backend; None where there is none, and the client has been told."""
        link = yield from connect(exchange.admitted.connection, exchange, is_stream=self._is_stream)
        if isinstance(link, Refusal):
            yield from self._give_up(exchange, problem_of(link))
            return None
        self._link = link
        return link

    def _carried(self, exchange: Exchange, grant: Grant) -> Forward:
        """What a grant lets go to the backend. Several may go together where a protocol has batches."""
        forward = grant.planned.carry
        assert isinstance(forward, Forward)
        return forward

    def _with_credential(self, exchange: Exchange, grant: Grant, begun: bytes = b"") -> Steps[bytes | None]:
        """The request's bytes as the backend gets them; None where the credential cannot be used, and the client knows."""
        forward, admitted = self._carried(exchange, grant), exchange.admitted
        secret: Secret | Refusal = yield from credential(admitted.settings)
        if not isinstance(secret, Refusal):
            try:
                if admitted.settings.inject == "aws":
                    target, fields = forward.target, (yield from self._signature(exchange, forward, secret, begun))
                else:
                    target, fields = injected(
                        admitted.settings, admitted.connection.credential.user, secret, forward.target)
                line = forward.line if target == forward.target else request_line(exchange.request.head.method, target)
                return b"%b%b%b\r\n%b%b" % (
                    line, forward.lines, field_lines(fields) if fields else b"",
                    forward.content, begun)
            except ConfigError as error:
                secret = unusable(admitted.connection, error)
        yield from self._give_up(exchange, problem_of(secret))
        return None

    def _signature(self, exchange: Exchange, forward: Forward, secret: Secret, begun: bytes) -> Steps[Fields]:
        """The fields that sign the request, and its content where that is all here. `ConfigError` as `injected`."""
        settings = exchange.admitted.settings
        session = yield from session_token(settings)
        if isinstance(session, Refusal):
            raise ConfigError(session.cause or session.reason)
        key = Key(exchange.admitted.connection.credential.user, secret, settings.region or "", settings.service or "")
        return signature(key, exchange.request.head.method, forward.target, forward.lines,
                         None if begun else forward.content, self._context.now(), session)

    def _sent(self, exchange: Exchange) -> Steps[None]:
        """The whole request is with the backend; now it is the backend's turn."""
        if self._exchange is exchange:
            exchange.is_sent = True
            yield from self._await_answer(exchange)

    def _repeat(self, exchange: Exchange) -> Steps[None]:
        """The connection was closed before anything of an answer came: ask once more over a new one, where asking twice does
        no harm because it had been used before (RFC 9112 section 9.3.1), or because the backend has looked at nothing (RFC 9113
        section 8.7)."""
        grant = exchange.grant
        assert grant is not None
        exchange.repeats += 1
        link = yield from self._connect(exchange)
        payload = None if link is None else (yield from self._with_credential(exchange, grant))
        if link is None or payload is None:
            return
        permit = yield Record((), payload, grant.record)
        if isinstance(permit, Refusal):
            yield from self._give_up(exchange, problem_of(permit))
            return
        link.ask(exchange.request.head, exchange.upgrade)
        yield ToServer(permit)
