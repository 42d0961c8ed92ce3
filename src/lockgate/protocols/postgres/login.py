"""From a client's first byte to an admitted session. One generator; every wait is a step.

    1. opening     direct TLS, SSLRequest, GSSENCRequest, CancelRequest, StartupMessage
    2. identity    a certificate in TLS; or a token as the password, over TLS (or on loopback where the listener allows it)
    3. admission   which connection, and may this identity use it
    4. backend     `upstream`: the gateway's own log-in with the injected credential
    5. hand-over   what the client gets to know of the backend, and a cancel key of our own

Apart from `mediator`, which judges statements: here nothing is judged and nobody is believed.
Source: PostgreSQL 18 manual, sections 54.2.1 and 54.2.11–54.2.13.
"""

from __future__ import annotations

from typing import Final

from lockgate.config.settings import Connection
from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.model import Identity, Refusal, RefusalCode, Secret
from lockgate.protocols.postgres import codec, oauth
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.mediator import PostgresMediator
from lockgate.protocols.postgres.operations import Problem, problem_of, reader_for
from lockgate.protocols.postgres.sessionmasks import SessionMasks
from lockgate.protocols.postgres.settings import settings_of
from lockgate.protocols.postgres.startup import Wishes, sort_wishes
from lockgate.protocols.postgres.states import SessionState
from lockgate.protocols.postgres.upstream import Failure, Ready, log_in, search_path
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import (
    Admission,
    Admit,
    Authenticate,
    Close,
    Compose,
    Interrupt,
    Opened,
    Receive,
    Side,
    StartTls,
    Steps,
    TlsInfo,
    ToClient,
)

_NO_TLS: Final = Problem(
    "28000", "a token is accepted over TLS only", severity="FATAL",
    hint="Connect with sslmode=require (or verify-full). Without TLS anybody on the way could read the token.",
)
_NO_SUCH: Final = Problem(
    "3D000", "there is no connection of this name here", severity="FATAL",
    hint="The database name of the client's configuration selects the connection.",
)


_SASL_AROUND: Final = 256            # bytes of a SASL response beside its token


class _Gone(Exception):
    """The client left."""


class _Refused(Exception):
    """The log-in is over; the client reads `problem` (None: nothing can be said)."""

    def __init__(self, problem: Problem | None) -> None:
        super().__init__()
        self.problem = problem


class _Client:
    """The client's bytes before the session."""

    def __init__(self) -> None:
        self.rest = b""
        self.tls: TlsInfo | None = None

    def read(self, count: int) -> Steps[bytes]:
        """Exactly `count` bytes."""
        while len(self.rest) < count:
            data: bytes = yield Receive(Side.CLIENT)
            if not data:
                raise _Gone
            self.rest += data
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def peek(self) -> Steps[int]:
        """The next byte, left where it is."""
        first = yield from self.read(1)
        self.rest = first + self.rest
        return first[0]

    def say(self, payload: bytes) -> Steps[None]:
        """Bytes of the gateway itself."""
        yield ToClient((yield Compose(payload)))


def login(context: LoginContext) -> Steps[PostgresMediator | None]:
    """The `ProtocolSpec.login` of PostgreSQL. None where the connection ended properly."""
    client = _Client()
    try:
        return (yield from _login(context, client))
    except _Gone:
        return None
    except _Refused as refused:
        problem = refused.problem
    except Failure as failure:
        problem = failure.problem
    except RemoteProtocolError as error:
        problem = Problem("08P01", error.args[0], severity="FATAL")
    if problem is not None:
        yield from client.say(problem.encode("FATAL"))
    yield Close("log-in refused" if problem is None else f"log-in refused with {problem.sqlstate}")
    return None


def _login(context: LoginContext, client: _Client) -> Steps[PostgresMediator | None]:
    opening = yield from _opening(context, client)
    if opening is None:
        return None
    minor, wishes = opening
    identity = yield from _identify(context, client, wishes)
    admission = yield from _admit(context, client, wishes, identity)
    connection: Connection = admission.connection
    settings = settings_of(connection.options)
    application = f"{settings.application_name}:{admission.session}"[:63]
    link, ready = yield from log_in(
        connection, settings.database or connection.name, {**wishes.forward, "application_name": application}
    )
    path = yield from search_path(link, ready)
    mediator = yield from _hand_over(context, client, connection, wishes, ready, minor, application, path)
    mediator.state.may_hide = admission.may_hide
    if context.keys is not None:
        mediator.state.masks = SessionMasks(
            context.keys, connection.name, identity, admission.session, wishes.claims.get("task"))
    yield from _begin(client, ready, mediator)
    return mediator


# ---------------------------------------------------------------- 1. opening


def _opening(context: LoginContext, client: _Client) -> Steps[tuple[int, Wishes] | None]:
    """Everything up to the start-up message; None after a cancel request."""
    has_asked_gss = False
    if (yield from client.peek()) == m.TLS_HANDSHAKE:
        yield from _direct_tls(context, client)
    has_asked_tls = client.tls is not None
    while True:
        code, body = yield from _request(client)
        if code == m.SSL_REQUEST and not has_asked_tls and not body:
            has_asked_tls = True
            yield from _offer_tls(context, client)
        elif code == m.GSSENC_REQUEST and not has_asked_gss and client.tls is None and not body:
            has_asked_gss = True
            if client.rest:
                raise RemoteProtocolError("bytes were sent ahead of the answer to an encryption request")
            yield from client.say(b"N")
        elif code == m.CANCEL_REQUEST and 8 <= len(body) <= 260:
            yield Interrupt(body)
            return None
        elif code >> 16 == 3:
            return (yield from _start_up(client, code & 0xFFFF, body))
        elif code >> 16 == 1234:
            raise RemoteProtocolError("an encryption request is malformed or comes twice")
        else:
            raise _Refused(Problem(
                "0A000", f"frontend protocol {code >> 16}.{code & 0xFFFF} is not supported; 3.0 to 3.2 are",
                severity="FATAL",
            ))


def _request(client: _Client) -> Steps[tuple[int, bytes]]:
    """(code, rest) of one untyped message, bounded before its body is waited for."""
    head = yield from client.read(4)
    length = int.from_bytes(head, "big")
    if not 8 <= length <= m.MAX_STARTUP:
        raise RemoteProtocolError("the start-up message has an impossible length")
    body = yield from client.read(length - 4)
    return int.from_bytes(body[:4], "big"), body[4:]


def _direct_tls(context: LoginContext, client: _Client) -> Steps[None]:
    """TLS from the first byte (PostgreSQL 17): ALPN is required, against cross-protocol attacks."""
    if not context.route.has_tls:
        raise _Refused(None)
    initial, client.rest = client.rest, b""
    info = yield StartTls(Side.CLIENT, initial=initial, alpn=(m.ALPN,))
    if type(info) is Refusal:
        raise _Refused(None)
    client.tls = info
    if info.alpn != m.ALPN:
        raise _Refused(Problem("08P01", "direct TLS needs the ALPN protocol postgresql", severity="FATAL"))


def _offer_tls(context: LoginContext, client: _Client) -> Steps[None]:
    """Answer SSLRequest. Bytes that came with it were sent in the clear: refused (CVE-2021-23214)."""
    if client.rest:
        raise RemoteProtocolError("bytes were sent ahead of the answer to an encryption request")
    if not context.route.has_tls:
        yield from client.say(b"N")
        return
    yield from client.say(b"S")
    info = yield StartTls(Side.CLIENT, alpn=(m.ALPN,))
    if type(info) is Refusal:
        raise _Refused(None)
    if info.alpn not in (None, m.ALPN):
        raise _Refused(Problem("08P01", "the ALPN protocol must be postgresql", severity="FATAL"))
    client.tls = info


def _start_up(client: _Client, minor: int, body: bytes) -> Steps[tuple[int, Wishes]]:
    """Sort the parameters; negotiate once where the client knows more than we do."""
    wishes = sort_wishes(codec.read_startup(body))
    if isinstance(wishes, Problem):
        raise _Refused(wishes)
    agreed = min(minor, m.NEWEST_MINOR)
    if agreed != minor or wishes.unknown_options:
        yield from client.say(codec.negotiate_version(agreed, wishes.unknown_options))
    return agreed, wishes


# ---------------------------------------------------------------- 2. identity


def _identify(context: LoginContext, client: _Client, wishes: Wishes) -> Steps[Identity]:
    """By the certificate that the client has shown in TLS, or else ask for the token and have it verified."""
    route = context.route
    if client.tls is None and not (route.is_loopback and route.allow_plaintext):
        raise _Refused(_NO_TLS)
    is_sasl = wishes.claims.get("auth", "").lower() == oauth.CHOICE
    if client.tls is not None and client.tls.certificate is not None and not is_sasl:
        return (yield from _verified(client, None))
    token = yield from (_bearer(client) if is_sasl else _password(client))
    if not token:
        if is_sasl:
            yield from _fail_sasl(client)
        raise _Refused(Problem("28P01", "the password is not a token", severity="FATAL",
                               hint="Send a token of a trusted provider as the password."))
    return (yield from _verified(client, token, is_sasl=is_sasl))


def _verified(client: _Client, token: Secret | None, *, is_sasl: bool = False) -> Steps[Identity]:
    """Whose the token is, or (None) the certificate that the client has shown."""
    identity = yield Authenticate(token)
    if type(identity) is Refusal:
        if is_sasl:
            yield from _fail_sasl(client)
        code = "28000" if identity.code is RefusalCode.EXPIRED else "28P01"
        raise _Refused(Problem(code, identity.reason, hint=identity.hint, severity="FATAL"))
    return identity  # type: ignore[no-any-return]


def _response(client: _Client, limit: int) -> Steps[bytes]:
    """The body of a message with a secret in it, bounded before it is waited for."""
    head = yield from client.read(5)
    length = int.from_bytes(head[1:], "big")
    if head[0] != m.PASSWORD:
        raise RemoteProtocolError("a password message was expected")
    if not 4 < length <= limit + 5:
        raise _Refused(Problem("28P01", "the token is empty or too long", severity="FATAL",
                               hint=f"Send a token of at most {m.MAX_TOKEN} bytes as the password."))
    return (yield from client.read(length - 4))


def _password(client: _Client) -> Steps[Secret]:
    yield from client.say(m.ASK_PASSWORD)
    body = yield from _response(client, m.MAX_TOKEN)
    try:
        return Secret(codec.whole_string(body, 0, len(body)).decode("ascii"))
    except UnicodeDecodeError:
        return Secret("")


def _bearer(client: _Client) -> Steps[Secret]:
    """OAUTHBEARER: the token is in the initial response, or in the one after it."""
    yield from client.say(oauth.ASK)
    response = oauth.read_choice((yield from _response(client, m.MAX_TOKEN + _SASL_AROUND)))
    if response is None:
        yield from client.say(oauth.GO_ON)
        response = yield from _response(client, m.MAX_TOKEN + _SASL_AROUND)
    return oauth.read_response(response)


def _fail_sasl(client: _Client) -> Steps[None]:
    """RFC 7628, section 3.2.3: the failure is a challenge, which the client acknowledges."""
    yield from client.say(oauth.FAILED)
    if (yield from _response(client, 16)) != oauth.LAST_WORD:
        raise RemoteProtocolError("an OAUTHBEARER exchange went on after it had failed")


# ---------------------------------------------------------------- 3. admission


def _admit(context: LoginContext, client: _Client, wishes: Wishes, identity: Identity) -> Steps[Admission]:
    """Find the connection (listener, then server name, then database name) and ask for admission."""
    name = route(context, client.tls, wishes.database)
    if name is None:
        raise _Refused(_NO_SUCH)
    admission = yield Admit(identity, name, dict(wishes.claims))
    if type(admission) is Refusal:
        problem = problem_of(admission)
        if admission.code is RefusalCode.EXPIRED:
            problem = Problem("28000", problem.message, problem.detail, problem.hint)
        raise _Refused(problem)
    return admission  # type: ignore[no-any-return]


def route(context: LoginContext, tls: TlsInfo | None, database: str) -> str | None:
    """The connection that a client means, or None."""
    if context.route.connection is not None:
        return context.route.connection
    if tls is not None and tls.server_name:
        named = context.by_server_name(tls.server_name)
        if named is not None and named in context.connections:
            return named
    if database in context.connections:
        return database
    same = [
        name for name, found in context.connections.items()
        if settings_of(getattr(found, "options", found)).database == database
    ]
    return same[0] if len(same) == 1 else None


# ---------------------------------------------------------------- 5. hand-over


def _hand_over(
    context: LoginContext, client: _Client, connection: Connection, wishes: Wishes, ready: Ready, minor: int,
    tag: str, path: tuple[str, ...] | None,
) -> Steps[PostgresMediator]:
    """The client's session begins: filtered parameters, a key of our own, ReadyForQuery."""
    reader = reader_for(connection.name, connection.address, context.limits)
    state = SessionState(reader, context.limits, wishes.application, ready.key, tag, wishes.forward)
    state.names.path, state.names.is_path_reported = path, "search_path" in ready.parameters
    state.user = connection.credential.user
    mediator = PostgresMediator(state)
    key = context.cancel_key(8 if minor < 2 else 36)
    shown = {name: value for name, value in ready.parameters.items() if name in m.REPORTED}
    shown["application_name"] = wishes.application
    shown["session_authorization"] = wishes.user
    yield from client.say(
        m.AUTHENTICATION_OK
        + b"".join(codec.parameter_status(name, value) for name, value in shown.items())
        + frame(m.BACKEND_KEY_DATA, key)
        + codec.ready(m.IDLE)
    )
    return mediator


def _begin(client: _Client, ready: Ready, mediator: PostgresMediator) -> Steps[None]:
    """What came with the last bytes of the log-in belongs to the session."""
    yield Opened(client.rest, ready.rest)
    if ready.rest:
        yield from mediator.server_data(ready.rest)
    if client.rest:
        yield from mediator.client_data(client.rest)
