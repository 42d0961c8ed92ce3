"""The gateway's own log-in to a backend: TLS, authentication, start-up. Shared by log-in and probe.

Apart from `login`, which speaks to the client: nothing of the client reaches this conversation but
the start-up parameters that `login` let through. The credential is read when the backend asks for
it and forgotten with this generator (I6). Every failure is a `Problem` that names the connection,
never its address, its account or what the backend said about them; those are in its cause, for the
gateway's log and `lockgate check`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lockgate.config.settings import Connection
from lockgate.errors import BackendError, RemoteProtocolError
from lockgate.kernel.frames import frame, split_frames
from lockgate.kernel.rows import fields
from lockgate.model import Refusal, Secret
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.operations import Problem, problem_of
from lockgate.protocols.postgres.scram import ScramClient
from lockgate.wire.steps import Credential, Dial, Receive, Record, Side, StartTls, Steps, TlsInfo, ToServer

_CLIENTS_FAULT: Final = frozenset({"22023", "42704"})
"""A start-up parameter of the client was wrong: the backend's text names only what the client sent."""
_SCHEMA: Final = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')
_PASSED_ON: Final = frozenset({"53300", "57P03", "57P01", "57P02"})


class Upstream:
    """The backend's bytes, message by message, while logging in or probing."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tls: TlsInfo | None = None
        self._buffer = b""
        self._frames: list[tuple[int, int, int]] = []      # of the buffer, not handed out yet; last first
        self._position = 0                                 # behind the message handed out last

    def send(self, payload: bytes) -> Steps[None]:
        """Forward bytes of the gateway itself, under the session's own record."""
        permit = yield Record((), payload)
        if type(permit) is Refusal:
            raise Failure(problem_of(permit))
        yield ToServer(permit)

    def byte(self) -> Steps[int]:
        """One byte (the answer to SSLRequest). More than one is refused: it would be unencrypted."""
        data: bytes = yield Receive(Side.SERVER)
        if len(data) != 1:
            raise self.failure("did not answer the request for TLS properly")
        return data[0]

    def message(self, limit: int = m.MAX_LOGIN_MESSAGE) -> Steps[tuple[int, bytes]]:
        """The next message as (type, body)."""
        while not self._frames:
            rest = self._buffer[self._position:]
            found, _ = split_frames(rest, 0, limit)
            if not found:
                data: bytes = yield Receive(Side.SERVER)
                if not data:
                    raise self.failure("closed the connection")
                rest += data
                found, _ = split_frames(rest, 0, limit)
            self._buffer, self._position = rest, 0
            self._frames = found[::-1]
        kind, start, end = self._frames.pop()
        self._position = end
        return kind, self._buffer[start + 5:end]

    def leave(self) -> bytes:
        """What was received and not handed out; belongs to the caller from now on."""
        rest, self._buffer, self._frames, self._position = self._buffer[self._position:], b"", [], 0
        return rest

    def failure(self, what: str, sqlstate: str = "08006", cause: str | None = None) -> Failure:
        """A problem with the backend, in words for the client; `cause` is for those who run the gateway."""
        return Failure(Problem(
            sqlstate, f"the database behind connection {self.connection.name} {what}", severity="FATAL",
            hint="Nothing was executed. Try again later; if it stays so, tell those who run the gateway.",
        ), cause or f"{self.connection.address}: the database {what}")


class Failure(BackendError):
    """The backend cannot be used; `problem` is what the client reads, `cause` what those who run the gateway do."""

    def __init__(self, problem: Problem, cause: str | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.cause = cause


@dataclass(slots=True)
class Ready:
    """A backend that waits for the first statement."""

    parameters: dict[str, str] = field(default_factory=dict)
    key: bytes = b""
    rest: bytes = b""


def log_in(connection: Connection, database: str, parameters: Mapping[str, str]) -> Steps[tuple[Upstream, Ready]]:
    """Dial, TLS, authenticate, wait for ReadyForQuery. Raises `Failure`."""
    link = Upstream(connection)
    dialled = yield Dial()
    if type(dialled) is Refusal:
        raise Failure(problem_of(dialled), dialled.cause)
    if connection.tls.mode != "disable":
        yield from _start_tls(link)
    yield from link.send(codec.startup(m.PROTOCOL_3_0, {
        "user": connection.credential.user, "database": database, **parameters,
    }))
    try:
        yield from _authenticate(link, database)
        ready = yield from _settle(link, database)
    except RemoteProtocolError:
        raise link.failure("answered in a way that the gateway does not understand") from None
    return link, ready


def search_path(link: Upstream, ready: Ready) -> Steps[tuple[str, ...] | None]:
    """The schemas of the session's search path. A backend that does not report it (before PostgreSQL 18) is asked;
    None where it does not say."""
    told = ready.parameters.get("search_path")
    if told is None and not ready.rest:
        yield from link.send(codec.query("SHOW search_path"))
        for _ in range(100):
            kind, body = yield from link.message()
            if kind == m.DATA_ROW:
                (start, end), = fields(body, 0, len(body))
                told = body[max(start, 0):max(end, 0)].decode("utf-8", "replace")
            elif kind == m.READY:
                ready.rest = link.leave()
                break
        else:
            raise link.failure("does not say what its search path is")
    return None if told is None else schemas(told, link.connection.credential.user)


def schemas(path: str, user: str) -> tuple[str, ...]:
    """The names in a `search_path` as the server writes it (`"$user", public`); `$user` is the gateway's account."""
    found = []
    for quoted, bare in _SCHEMA.findall(path):
        name = quoted.replace('""', '"') if quoted else bare.lower()
        found.append(user if name == "$user" else name)
    return tuple(found)


def _start_tls(link: Upstream) -> Steps[None]:
    yield from link.send(codec.request(m.SSL_REQUEST))
    answer = yield from link.byte()
    if answer != ord("S"):
        raise link.failure("does not offer TLS, which its configuration asks for")
    info = yield StartTls(Side.SERVER, alpn=(m.ALPN,))
    if type(info) is Refusal:
        raise Failure(problem_of(info), info.cause)
    link.tls = info


def _authenticate(link: Upstream, database: str) -> Steps[None]:
    """Until AuthenticationOk. A backend that began SASL must end it: it has to prove itself too."""
    scram: ScramClient | None = None
    is_verified = False
    for _ in range(8):
        kind, body = yield from link.message()
        if kind == m.ERROR_RESPONSE:
            raise _refused(link, body, database)
        if kind in (m.NOTICE_RESPONSE, m.NEGOTIATE_VERSION):
            continue
        if kind != m.AUTHENTICATION or len(body) < 4:
            raise RemoteProtocolError("no authentication request")
        code, data = int.from_bytes(body[:4], "big"), body[4:]
        if code == m.AUTH_OK:
            if scram is not None and not is_verified:
                raise link.failure("did not prove that it knows the password")
            return
        try:
            if code == m.AUTH_SASL and scram is None:
                scram = yield from _sasl_begin(link, data)
            elif code == m.AUTH_SASL_CONTINUE and scram is not None:
                yield from link.send(frame(m.PASSWORD, scram.final(data)))
            elif code == m.AUTH_SASL_FINAL and scram is not None:
                scram.verify(data)
                is_verified = True
            elif code in (m.AUTH_CLEARTEXT, m.AUTH_MD5) and scram is None:
                yield from _send_password(link, code, data)
            else:
                raise link.failure("asks for an authentication that the gateway does not do")
        except Failure:
            raise
        except BackendError as error:
            raise link.failure(f"could not be logged in to: {error.args[0]}") from None
    raise RemoteProtocolError("authentication does not end")


def _credential(link: Upstream) -> Steps[Secret]:
    if link.connection.credential.password is None:
        raise link.failure("asks for a password and none is configured")
    secret = yield Credential()
    if type(secret) is Refusal:
        raise Failure(problem_of(secret), secret.cause)
    return secret  # type: ignore[no-any-return]


def _sasl_begin(link: Upstream, data: bytes) -> Steps[ScramClient]:
    offered = [name.decode("ascii", "replace") for name in data.split(b"\0") if name]
    secret = yield from _credential(link)
    end_point = link.tls.server_end_point if link.tls is not None else None
    scram = ScramClient(secret, offered, end_point, is_tls=link.tls is not None)
    first = scram.first()
    body = codec.text(scram.mechanism) + len(first).to_bytes(4, "big") + first
    yield from link.send(frame(m.PASSWORD, body))
    return scram


def _send_password(link: Upstream, code: int, salt: bytes) -> Steps[None]:
    """md5 as PostgreSQL defines it (section 54.2.1), or cleartext, which only goes over TLS."""
    if code == m.AUTH_CLEARTEXT and link.tls is None:
        raise link.failure("asks for a cleartext password without TLS")
    secret = yield from _credential(link)
    answer = secret.reveal()
    if code == m.AUTH_MD5:
        if len(salt) != 4:
            raise RemoteProtocolError("a salt of the wrong length")
        inner = hashlib.md5((answer + link.connection.credential.user).encode(), usedforsecurity=False).hexdigest()
        answer = "md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
    yield from link.send(frame(m.PASSWORD, codec.text(answer)))


def _settle(link: Upstream, database: str) -> Steps[Ready]:
    """ParameterStatus and BackendKeyData until ReadyForQuery."""
    ready = Ready()
    for _ in range(200):
        kind, body = yield from link.message()
        if kind == m.READY:
            ready.rest = link.leave()
            for name, wanted in m.PINNED.items():
                if ready.parameters.get(name) != wanted:
                    raise link.failure(f"runs with another {name} than {wanted}")
            return ready
        if kind == m.ERROR_RESPONSE:
            raise _refused(link, body, database)
        if kind == m.PARAMETER_STATUS:
            whole = frame(kind, body)
            name, value = codec.read_parameter(whole, 0, len(whole))
            ready.parameters[name] = value
        elif kind == m.BACKEND_KEY_DATA:
            # Empty from some poolers: then this session cannot be cancelled, and all else works.
            ready.key = body if 8 <= len(body) <= 260 else b""
        elif kind != m.NOTICE_RESPONSE:
            raise RemoteProtocolError("a message that has no place in a start-up")
    raise RemoteProtocolError("start-up does not end")


def _refused(link: Upstream, body: bytes, database: str) -> Failure:
    """The backend's ErrorResponse: for the client without what it says of account, host or database."""
    whole = frame(m.ERROR_RESPONSE, body)
    found = codec.read_fields(whole, 0, len(whole))
    code = found.get("C", "")
    if code in _CLIENTS_FAULT:
        return Failure(Problem(code, found.get("M", "a start-up parameter is wrong"), severity="FATAL"))
    if code in _PASSED_ON:
        return link.failure("takes no connections now", code)
    state = code[:5] or "unknown"
    user = link.connection.credential.user
    causes = {
        "3D000": f"the database `{database}` does not exist; set `options.database`",
        "28P01": f"the database refused user `{user}` or its password",
        "28000": f"the database takes no log-in of user `{user}` from here (no such user, or pg_hba.conf)",
    }
    cause = causes.get(state)
    return link.failure(f"refused the gateway's log-in (SQLSTATE {state})", cause=cause and f"{cause} (SQLSTATE {state})")
