"""Conversations of the HTTP mediator without sockets: real pipeline, real policy, a log in memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lockgate.config.settings import Connection, Limits
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Governor, Pipeline
from lockgate.govern.policy import PolicySet
from lockgate.model import AuditMode, Identity, Refusal, RefusalCode, Rule, Secret, SessionStart
from lockgate.protocols.http.mediator import HttpMediator
from lockgate.wire.conformance import Broken
from lockgate.wire.playbook import CLIENT, Playbook
from lockgate.wire.spec import LoginContext, Passing, Route
from lockgate.wire.steps import (
    Admission,
    Admit,
    Alarm,
    Authenticate,
    Credential,
    Dial,
    EndSession,
    HangUp,
    Reach,
    Reached,
    TlsInfo,
)
from tests.protocols.world import IDENTITY, Clock, Desk, Log

ALLOW = Rule(name="open", allow=True)
NO_DELETE = Rule(name="never-delete", when='op.verb == "delete"', deny="deletes are not allowed")
TOKEN = b"eyJ.token.1"
SECRET = "backend-secret-7"
ROUTE = Route("api", None, "127.0.0.1:9", is_loopback=True, allow_plaintext=True, has_tls=False)


def connection(name: str = "crm", /, **options: object) -> Connection:
    """A connection as configuration makes it."""
    return Connection.model_validate({
        "name": name, "protocol": "http", "address": "crm.internal:8080", "server_names": [f"{name}.example"],
        "tls": {"mode": "disable"}, "options": options,
    })


@dataclass
class World:
    """One gateway, and what its driver was asked for besides bytes."""

    rules: Sequence[Rule] = (ALLOW, NO_DELETE)
    connections: Sequence[Connection] = (connection(),)
    route: Route = ROUTE
    limits: Limits = field(default_factory=Limits)
    audit: AuditMode = AuditMode.ASYNC
    secret: str = SECRET
    keys: MaskKeys | None = None
    now: Callable[[], float] = time.time
    log: Log = field(default_factory=Log)
    desk: Desk = field(default_factory=Desk)
    clock: Clock = field(default_factory=Clock)
    faults: list[tuple[str, Exception]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    dials: int = 0
    hang_ups: int = 0
    unreachable: bool = False
    tls: TlsInfo | None = None
    used: bool = False
    """Whether ends that may be kept ones are."""
    reached: list[Reach] = field(default_factory=list)
    given: list[Reached] = field(default_factory=list)
    alarm: Alarm | None = None
    make: type[HttpMediator] = HttpMediator
    wire: Any = None
    definitions: Passing = field(default_factory=Passing)
    shared: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=lambda: {TOKEN.decode(): IDENTITY})

    def context(self) -> LoginContext:
        names = {name: one.name for one in self.connections for name in one.server_names}
        return LoginContext(
            self.route, {one.name: one for one in self.connections}, names.get, lambda size: b"", self.limits, self.keys,
            self.now, self.definitions, shared=self.shared)

    def book(self) -> Playbook:
        """A conversation that begins."""
        policy = PolicySet.compile(tuple(self.rules), "ab" * 32)
        pipeline = Pipeline(policy, self.log, self.desk, self.clock, lambda *fault: self.faults.append(fault))  # type: ignore[arg-type]
        def admit(step: Admit) -> Any:
            if all(one.name != step.connection for one in self.connections):
                return Refusal(RefusalCode.DENIED, "there is no such connection here")
            start = SessionStart("5e55", "https://issuer", "agent-1", None, None, None, (), "00", step.connection, "http",
                                 "127.0.0.1:1", "ab" * 32)
            answer = pipeline.admit(step.identity, step.connection, start, self.audit)
            if isinstance(answer, Pending):
                found: list[Any] = []
                answer.then(found.append)
                answer = found[0]
            if not isinstance(answer, Governor):
                return answer
            broken = book.governor if isinstance(book.governor, Broken) else None
            book.governor = answer if broken is None else Broken(answer, broken.stage)
            self.admitted.append(step.connection)
            settings = next(one for one in self.connections if one.name == step.connection)
            return Admission("5e55", settings, settings.credential.user, answer.may_hide, answer.foresee)

        def authenticate(step: Authenticate) -> Identity | Refusal:
            token = "a certificate" if step.token is None else step.token.reveal()
            self.tokens.append(token)
            return self.identities.get(token) or Refusal(RefusalCode.UNAUTHENTICATED, "the token was not accepted")

        def dial(step: Dial) -> Refusal | None:
            self.dials += 1
            return Refusal(RefusalCode.BACKEND_UNAVAILABLE, "the backend cannot be reached") if self.unreachable else None

        def reach(step: Reach) -> Reached | Refusal:
            self.dials += 1
            self.reached.append(step)
            if self.unreachable:
                return Refusal(RefusalCode.BACKEND_UNAVAILABLE, "the backend cannot be reached")
            protocol = step.protocols[0]
            self.given.append(Reached(protocol, is_used=self.used and step.idle > 0, is_single=protocol == "h2"))
            return self.given[-1]

        def end(step: EndSession) -> None:
            self.ended.append(step.cause)
            book.governor.end(step.cause)

        def hang_up(step: HangUp) -> None:
            self.hang_ups += 1

        def alarm(step: Alarm) -> None:
            self.alarm = step

        # Before the first admission nobody is behind a conversation, and its own answers are cleared by the pipeline.
        book = Playbook(self.make(self.context(), self.tls, 15.0), pipeline, {
            Authenticate: authenticate, Admit: admit, Dial: dial, EndSession: end, HangUp: hang_up, Alarm: alarm,
            Reach: reach,
            Credential: lambda step: Secret(self.secret),
        }, wire=self.wire)
        return book

    def ring(self, book: Playbook) -> None:
        """The time of the alarm has come."""
        assert self.alarm is not None
        assert self.alarm.call is not None
        book.run(self.alarm.call())


def request(
    method: str = "GET", target: str = "/customers/1", content: bytes | None = None, *, token: bytes | None = TOKEN,
    host: bytes = b"crm.example", **fields: str,
) -> bytes:
    """A request's bytes; names of `fields` are written with dashes."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: " + host]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token)
    lines += [f"{name.replace('_', '-')}: {value}".encode("latin-1") for name, value in fields.items()]
    if content is not None:
        lines.append(b"Content-Length: %d" % len(content))
    return b"\r\n".join([*lines, b"", content or b""])


def answer(
    content: bytes = b'{"ok":true}', status: int = 200, media_type: str = "application/json", **fields: str,
) -> bytes:
    """A backend's answer with a length."""
    lines = [f"HTTP/1.1 {status} Fine".encode(), f"Content-Type: {media_type}".encode(),
             b"Content-Length: %d" % len(content)]
    lines += [f"{name.replace('_', '-')}: {value}".encode("latin-1") for name, value in fields.items()]
    return b"\r\n".join([*lines, b"", content])


def problem(book: Playbook) -> dict[str, Any]:
    """The last answer of the gateway's own."""
    head, _, body = book.sent(CLIENT).rpartition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    found = orjson.loads(body)
    assert isinstance(found, dict)
    return found


def status(book: Playbook) -> int:
    """Of the last answer that the client got."""
    return int(re.findall(rb"HTTP/1\.1 (\d{3}) ", book.sent(CLIENT))[-1])
