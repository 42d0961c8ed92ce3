"""From a client's first byte to a mediator: TLS, and nothing else.

Who asks is found out with each request (`admission`), because with HTTP each request says it.
"""

from __future__ import annotations

from typing import Final

from lockgate.config.duration import seconds
from lockgate.model import Refusal
from lockgate.protocols.http.mediator import HttpMediator
from lockgate.protocols.http.multiplex import Http2Multiplexer
from lockgate.protocols.http.problems import Problem
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import Close, Compose, Receive, Side, StartTls, Steps, TlsInfo, ToClient

_HANDSHAKE: Final = b"\x16"
_NO_TLS: Final = Problem(
    426, "unauthenticated", "a token is accepted over TLS only", closes=True,
    hint="Use https. Without TLS anybody on the way could read the token.")


def login(
    context: LoginContext, make: type[HttpMediator] = HttpMediator
) -> Steps[HttpMediator | Http2Multiplexer | None]:
    """The `ProtocolSpec.login` of HTTP. None where the connection ended properly. `make`: the mediator of a protocol inside
    of HTTP."""
    first: bytes = yield Receive(Side.CLIENT)
    if not first:
        return None
    head_timeout = seconds(context.limits.login_timeout)
    if first.startswith(_HANDSHAKE) and context.route.has_tls:
        tls: TlsInfo | Refusal = yield StartTls(Side.CLIENT, first, ("h2", "http/1.1"))
        if isinstance(tls, Refusal):
            yield Close("no TLS")
            return None
        if tls.alpn == "h2":
            return Http2Multiplexer(context, tls, head_timeout, make)
        return make(context, tls, head_timeout)
    if not context.route.allow_plaintext:
        yield ToClient((yield Compose(_NO_TLS.encode())))
        yield Close("no TLS")
        return None
    mediator = make(context, None, head_timeout)
    yield from mediator.client_data(first)
    return mediator
