"""The backend's end: reached when there is something to send, kept while both sides keep it alive, and left to other
clients' connections if it is as good as new.

What must not be shared is found here. An end whose backend authenticates connections instead of requests (`Negotiate`,
`NTLM`: RFC 4559 section 6) is nobody else's. An end over which content has gone is the same caller's only: a backend that
does not read the content of some request takes it for the next one (CL.0), and its answer would be the next client's.
"""

from __future__ import annotations

import re
from math import inf
from typing import Final

from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.protocols.http.codec import ResponseReader
from lockgate.protocols.http.credentials import access_token
from lockgate.protocols.http.exchange import REPEATS, Exchange
from lockgate.protocols.http.messages import Framing, RequestHead, ResponseHead
from lockgate.protocols.http.settings import HttpSettings, settings_of
from lockgate.protocols.http.statuses import UNAUTHORIZED
from lockgate.wire.spec import Spare
from lockgate.wire.steps import Credential, Disown, Reach, Reached, Steps

_FRESH: Final = 1.0
"""Seconds for which an end may have been idle that gets a request that cannot be repeated: shorter than any server waits."""
_H1: Final = "http/1.1"
_H2: Final = "h2"
_BINDING = re.compile(rb"(?:^|,)[ \t]*(?:negotiate|ntlm|kerberos)(?:[ \t,]|$)")
_TIMEOUT = re.compile(rb"(?:^|[ ,])timeout=([0-9]{1,5})(?![0-9])")


class Link:
    """One connection to the backend, or one stream of it (`is_single`), for one exchange. `is_used`: an exchange has been over
    it, so it may have been closed meanwhile. `is_at_rest`: none is. `is_bound`: it is its caller's. `is_private`: not even the
    caller's other connections may use it."""

    __slots__ = ("_reached", "is_at_rest", "is_bound", "is_private", "is_single", "is_used", "last", "reader")

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        self.reader = ResponseReader()
        self.is_single = reached.is_single
        self.is_used = reached.is_used
        self.is_at_rest = True
        self.is_bound = self.is_private = False
        self.last: ResponseHead | None = None       # the head of the last answer

    def ask(self, head: RequestHead, upgrade: bytes = b"") -> None:
        """A request goes out, which offers this protocol to switch to."""
        self.is_at_rest = False
        if head.framing is not Framing.NONE:
            self.is_bound = True
        self.reader.expect(head.method, upgrade)

    @property
    def is_untouched(self) -> bool:
        """Whether the backend has said that it looked at nothing of the request, when it ended this."""
        return self._reached.is_untouched

    def answered(self, head: ResponseHead) -> None:
        """The head of its answer has come."""
        self.last = head
        if head.status == UNAUTHORIZED and _binds(head):
            self.is_private = True

    def left(self) -> Spare | None:
        """What it is good for when this client leaves it."""
        if not self.is_at_rest or self.is_private:
            return None
        named = None if self.last is None else _TIMEOUT.search(b",".join(self.last.all(b"keep-alive")).lower())
        seconds = inf if named is None else int(named[1]) - _FRESH      # some servers say when they will hang up
        return Spare(seconds, self.is_bound) if seconds > 0 else None


def _binds(head: ResponseHead) -> bool:
    """Whether the backend wants to know who is behind a connection, for all requests that follow."""
    return _BINDING.search(b",".join(head.all(b"www-authenticate")).lower()) is not None


def connect(connection: Connection, exchange: Exchange, *, is_stream: bool) -> Steps[Link | Refusal]:
    """A connection to the backend, over TLS unless the settings say otherwise; one that nobody has used before for a request
    that goes out again. `is_stream`: the client speaks HTTP/2."""
    settings = settings_of(connection.options)
    is_new = exchange.repeats > 0 or not settings.reuse
    idle = 0.0 if is_new else inf if exchange.may_repeat else _FRESH
    reached: Reached | Refusal = yield Reach(_protocols(connection, settings, exchange, is_stream=is_stream), idle)
    return reached if isinstance(reached, Refusal) else Link(reached)


def _protocols(connection: Connection, settings: HttpSettings, exchange: Exchange, *, is_stream: bool) -> tuple[str, ...]:
    """What may be spoken for this request: what its client speaks, unless the settings say otherwise. A client of HTTP/1.1
    that keeps its connection has one at the backend, which is more than twice as fast as streams. HTTP/2 has no `Upgrade`, and
    a backend that refuses streams, or wants another connection for some request (HTTP_1_1_REQUIRED), is asked over HTTP/1.1
    in the end."""
    if settings.versions == "h2":
        return (_H2,)
    is_offered = is_stream and settings.versions == "auto" and settings.reuse and connection.tls.mode != "disable"
    if not is_offered or exchange.request.head.upgrade or exchange.repeats >= REPEATS:
        return (_H1,)
    return (_H2, _H1)


def credential(settings: HttpSettings) -> Steps[Secret | Refusal]:
    """What goes to the backend as its credential, now."""
    secret: Secret | Refusal = yield Credential(access_token(settings))
    return secret


def session_token(settings: HttpSettings) -> Steps[Secret | Refusal | None]:
    """The session token of a temporary key, now; None where there is none."""
    if settings.session_token is None:
        return None
    secret: Secret | Refusal = yield Credential(reference=settings.session_token)
    return secret


def disown(settings: HttpSettings, status: int) -> Steps[None]:
    """What an answer of this status says of the access token that its request bore: 401 is that it is not taken (RFC 6750
    section 3.1)."""
    token = access_token(settings)
    if token is not None and status == UNAUTHORIZED:
        yield Disown(token)


def unusable(connection: Connection, error: ConfigError) -> Refusal:
    """A credential that is no header's."""
    return Refusal(
        RefusalCode.BACKEND_UNAVAILABLE, f"the gateway has no usable credential for connection {connection.name}",
        hint="Tell those who run the gateway; its log says what is missing.", cause=error.args[0])
