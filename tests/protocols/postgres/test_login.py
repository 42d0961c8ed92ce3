"""Log-in: negotiation, token, routing, the backend's own log-in, and what the client gets to know."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any

import pytest

from lockgate.config.settings import BackendCredential, BackendTls, Connection
from lockgate.kernel.frames import frame
from lockgate.model import Identity, Refusal, RefusalCode, Secret
from lockgate.protocols.postgres import SPEC, messages
from lockgate.protocols.postgres.mediator import PostgresMediator
from lockgate.wire.playbook import CLIENT, SERVER, Performer
from lockgate.wire.spec import LoginContext, Route
from lockgate.wire.steps import (
    Admission,
    Admit,
    Authenticate,
    Credential,
    Dial,
    Interrupt,
    Side,
    StartTls,
    TlsInfo,
)
from tests.protocols.postgres import support as s

SSL = struct.pack("!II", 8, 80877103)
GSS = struct.pack("!II", 8, 80877104)
SECRET = "backend-password-4711"
TOKEN = "a.b.c"


def startup(version: int = 196608, **parameters: str) -> bytes:
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, version) + body


def password(text: str) -> bytes:
    return frame(ord("p"), text.encode() + b"\0")


def auth(code: int, data: bytes = b"") -> bytes:
    return frame(ord("R"), struct.pack("!I", code) + data)


GREETING = (
    auth(0) + s.parameter("client_encoding", "UTF8") + s.parameter("standard_conforming_strings", "on")
    + s.parameter("search_path", '"$user", public') + s.parameter("application_name", "lockgate:5e55") + s.parameter("session_authorization", "crm_app")
    + s.parameter("weird.extension", "x") + frame(ord("K"), b"\0\0\0\7real") + s.ready()
)


@dataclass
class Scene:
    """A log-in with everything around it decided by the test."""

    has_tls: bool = True
    loopback: bool = True
    plaintext: bool = False
    connection: str | None = None
    server_name: str | None = None
    certificate: str | None = None
    alpn: str | None = None
    tls_mode: str = "disable"
    options: Any = None
    with_password: bool = True
    identity: Any = s.IDENTITY
    dial: Any = None
    admitted: list[Admit] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    interrupts: list[bytes] = field(default_factory=list)
    handshakes: list[StartTls] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        credential = BackendCredential(user="crm_app", password={"env": "X"} if self.with_password else None)  # type: ignore[arg-type]
        self.crm = Connection(name="crm", protocol="postgres", address="10.9.8.7:5432", credential=credential,
                              tls=BackendTls(mode=self.tls_mode), options=self.options)  # type: ignore[arg-type]
        self.world = s.World()
        self.play = Performer(self.world.governor(), {
            StartTls: self._tls, Authenticate: self._authenticate, Admit: self._admit,
            Dial: lambda step: self.dial, Credential: lambda step: Secret(SECRET),
            Interrupt: lambda step: self.interrupts.append(step.key),
        })
        route = Route("agents", self.connection, "127.0.0.1:5", self.loopback, self.plaintext, self.has_tls)
        context = LoginContext(route, {"crm": self.crm}, lambda name: "crm" if name == "crm.example" else None, self._key)
        self.play.run(SPEC.login(context))

    def _key(self, size: int) -> bytes:
        self.keys.append(b"k" * size)
        return self.keys[-1]

    def _tls(self, step: StartTls) -> TlsInfo:
        self.handshakes.append(step)
        if step.side is Side.CLIENT:
            return TlsInfo(self.server_name, self.alpn, None, self.certificate)
        return TlsInfo(None, None, b"\x01" * 32)

    def _authenticate(self, step: Authenticate) -> Identity | Refusal:
        self.tokens.append("a certificate" if step.token is None else step.token.reveal())
        return self.identity  # type: ignore[no-any-return]

    def _admit(self, step: Admit) -> Any:
        self.admitted.append(step)
        if step.connection != "crm":
            return Refusal(RefusalCode.DENIED, "not for you", rule="r")
        return Admission("5e55", self.crm, "crm_app")

    def client(self, data: bytes) -> Scene:
        self.play.receive(CLIENT, data)
        return self

    def server(self, data: bytes) -> Scene:
        self.play.receive(SERVER, data)
        return self

    @property
    def to_client(self) -> bytes:
        return self.play.sent(CLIENT)

    @property
    def to_server(self) -> bytes:
        return self.play.sent(SERVER)

    @property
    def mediator(self) -> object:
        return self.play.results[-1] if self.play.results else None

    def through(self, **parameters: str) -> Scene:
        """TLS, start-up and token."""
        return self.client(SSL).client(startup(**{"user": "me", "database": "crm", **parameters})).client(password(TOKEN))

    def error(self) -> dict[str, str]:
        data = self.to_client.lstrip(b"SN") if not self.to_client.startswith((b"E", b"R")) else self.to_client
        return s.errors(data)[-1]


def test_the_whole_road() -> None:
    """TLS, token, admission, backend log-in; the client gets filtered parameters and a key of our own."""
    scene = Scene().through(application_name="agent-7", TimeZone="UTC")
    assert scene.tokens == [TOKEN]
    assert scene.admitted[0].claims == {"application_name": "agent-7"}
    sent = scene.to_server
    assert b"user\0crm_app\0database\0crm\0" in sent
    assert b"application_name\0lockgate:5e55\0" in sent
    assert b"TimeZone\0UTC\0" in sent
    assert TOKEN.encode() not in sent
    scene.server(GREETING)
    assert isinstance(scene.mediator, PostgresMediator)
    greeting = s.messages(scene.to_client[1 + 9:])
    assert [kind for kind, _ in greeting] == list("RSSSSSKZ")
    shown = dict(body.rstrip(b"\0").split(b"\0") for kind, body in greeting if kind == "S")
    assert shown == {b"client_encoding": b"UTF8", b"standard_conforming_strings": b"on",
                     b"search_path": b'"$user", public', b"application_name": b"agent-7", b"session_authorization": b"me"}
    assert scene.keys == [b"k" * 8]
    assert SECRET.encode() not in scene.to_client
    assert b"real" not in scene.to_client


def test_bytes_stuffed_behind_sslrequest_are_refused() -> None:
    """What came before the handshake came in the clear (CVE-2021-23214)."""
    scene = Scene().client(SSL + startup(user="me", database="crm"))
    assert scene.handshakes == []
    assert scene.error()["C"] == "08P01"


def test_gss_then_ssl() -> None:
    """GSSENCRequest is answered N, and SSLRequest may follow; each once."""
    scene = Scene().client(GSS).client(SSL)
    assert scene.to_client == b"NS"
    scene.client(GSS)
    assert scene.play.is_closed


@pytest.mark.parametrize("twice", [SSL, GSS])
def test_a_request_comes_once(twice: bytes) -> None:
    """A second request of the same kind ends the log-in."""
    scene = Scene(has_tls=False).client(twice).client(twice)
    assert scene.error()["C"] == "08P01"
    assert scene.play.is_closed


def test_direct_tls_needs_alpn() -> None:
    """A first byte 0x16 is TLS at once; without ALPN `postgresql` it is refused."""
    scene = Scene(alpn=None).client(b"\x16\x03\x01hello")
    assert scene.handshakes[0].initial == b"\x16\x03\x01hello"
    assert scene.error()["C"] == "08P01"
    scene = Scene(alpn="postgresql").client(b"\x16\x03\x01hello").client(startup(user="me", database="crm"))
    assert scene.to_client == auth(3)


def test_direct_tls_without_certificate_closes() -> None:
    """There is nobody to speak TLS with."""
    scene = Scene(has_tls=False).client(b"\x16\x03\x01")
    assert scene.to_client == b""
    assert scene.play.is_closed


@pytest.mark.parametrize(("loopback", "plaintext", "asks"), [
    (True, True, True), (True, False, False), (False, True, False), (False, False, False),
])
def test_a_token_needs_tls(loopback: bool, plaintext: bool, asks: bool) -> None:
    """Without TLS a token is asked for on loopback only, and only where the listener says so."""
    scene = Scene(loopback=loopback, plaintext=plaintext).client(startup(user="me", database="crm"))
    if asks:
        assert scene.to_client == auth(3)
    else:
        assert scene.error()["C"] == "28000"
        assert "sslmode" in scene.error()["H"]
        assert scene.tokens == []


def test_a_bad_token_is_28p01() -> None:
    """The reason is useful and the token is not in it."""
    scene = Scene(identity=Refusal(RefusalCode.UNAUTHENTICATED, "the signature is wrong", hint="get another")).through()
    assert scene.error()["C"] == "28P01"
    assert TOKEN not in scene.error()["M"]
    assert scene.to_server == b""


@pytest.mark.parametrize("message", [password(""), password("ü"), frame(ord("p"), b"a" * 16_500 + b"\0"), s.SYNC,
                                     b"p\xff\xff\xff\xff", b"p\0\0\0\0"])
def test_what_is_no_token_is_refused(message: bytes) -> None:
    """Empty, too long, not ASCII, or no password message at all: nobody is asked about it."""
    scene = Scene().client(SSL).client(startup(user="me", database="crm")).client(message)
    assert scene.tokens == []
    assert scene.play.is_closed


def test_unknown_connection_says_nothing_of_others() -> None:
    """3D000 comes after authentication and names no connection that exists."""
    scene = Scene().through(database="nosuch")
    assert scene.tokens == [TOKEN]
    assert scene.error()["C"] == "3D000"
    assert "crm" not in scene.error()["M"] + scene.error()["H"]
    assert scene.admitted == []


@pytest.mark.parametrize(("scene", "database"), [
    (Scene, "crm"),
    (lambda: Scene(connection="crm"), "anything"),
    (lambda: Scene(server_name="crm.example"), "anything"),
    (lambda: Scene(options={"database": "sales"}), "sales"),
])
def test_routes(scene: Any, database: str) -> None:
    """By listener, by server name, by connection name, by the backend's database name."""
    assert [step.connection for step in scene().through(database=database).admitted] == ["crm"]


@pytest.mark.parametrize(("version", "options", "minor", "unknown"), [
    (196608, {}, None, []), (196610, {}, None, []), (196608 + 9999, {}, 2, []),
    (196608, {"_pq_.grease": "1"}, 0, ["_pq_.grease"]),
    (196608 + 9999, {"_pq_.a": "1", "_pq_.b": "2"}, 2, ["_pq_.a", "_pq_.b"]),
])
def test_version_is_negotiated_once(version: int, options: dict[str, str], minor: int | None, unknown: list[str]) -> None:
    """An unknown minor version or option is answered with NegotiateProtocolVersion, all names in it."""
    scene = Scene().client(SSL).client(startup(version, user="me", database="crm", **options))
    found = [body for kind, body in s.messages(scene.to_client[1:]) if kind == "v"]
    if minor is None:
        assert found == []
    else:
        expected = struct.pack("!II", 196608 + minor, len(unknown)) + b"".join(n.encode() + b"\0" for n in unknown)
        assert found == [expected]


def test_protocol_3_2_gets_a_long_key() -> None:
    """A 3.2 client gets a key of 32 random bytes behind the process id, a 3.0 client one of 4."""
    scene = Scene().client(SSL).client(startup(196610, user="me", database="crm")).client(password(TOKEN)).server(GREETING)
    assert scene.keys == [b"k" * 36]


def test_old_protocols_are_refused() -> None:
    """Protocol 2 is 0A000."""
    assert Scene().client(SSL).client(startup(131072, user="me")).error()["C"] == "0A000"


@pytest.mark.parametrize("length", [0, 7, 10_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_hostile_startup_lengths(length: int) -> None:
    """The length is checked before anything is waited for."""
    scene = Scene().client(struct.pack("!I", length))
    assert scene.error()["C"] == "08P01"
    assert scene.play.is_closed


@pytest.mark.parametrize("parameters", [
    {"replication": "database"}, {"replication": "true"}, {"client_encoding": "LATIN1"}, {"role": "postgres"},
    {"session_replication_role": "replica"}, {"options": "-c role=postgres"}, {"options": "-d 5"},
    {"options": "-c standard_conforming_strings=off"}, {"local_preload_libraries": "x"}, {"app.tenant": "7"},
])
def test_dangerous_startup_parameters_are_refused(parameters: dict[str, str]) -> None:
    """What a client may not have is refused by name, not quietly dropped."""
    scene = Scene().client(SSL).client(startup(user="me", database="crm", **parameters))
    assert scene.error()["S"] == "FATAL"
    assert scene.tokens == []


def test_claims_come_from_options_and_application_name() -> None:
    """`-c lockgate.x=y` is a claim: recorded, not forwarded."""
    scene = Scene().through(options=r"-c lockgate.task=nightly\ run -c geqo=off --statement-timeout=5s")
    assert scene.admitted[0].claims == {"task": "nightly run"}
    assert b"geqo\0off\0" in scene.to_server
    assert b"statement_timeout\0005s\0" in scene.to_server
    assert b"lockgate.task" not in scene.to_server


@pytest.mark.parametrize("encoding", ["UTF8", "utf-8", "'utf-8'", "Unicode", "UTF_8"])
def test_utf8_by_any_name(encoding: str) -> None:
    """asyncpg quotes it, others spell it their way."""
    assert Scene().through(client_encoding=encoding).admitted


def test_cancel_request_interrupts_by_key() -> None:
    """A cancel comes on its own connection and is named by exactly the key that was given out."""
    for key in (b"\0\0\0\1abcd", b"k" * 36):
        scene = Scene().client(struct.pack("!II", 8 + len(key), 80877102) + key)
        assert scene.interrupts == [key]
        assert scene.to_client == b""
        assert scene.play.results == [None]


def test_a_client_that_leaves_ends_the_log_in() -> None:
    """libpq without a password hangs up and comes again: no error, nothing dialled."""
    scene = Scene().client(SSL).client(startup(user="me", database="crm")).client(b"")
    assert scene.play.results == [None]
    assert scene.to_server == b""


# ---------------------------------------------------------------- the backend's side


def test_backend_without_tls_is_refused_where_tls_is_asked_for() -> None:
    """SSLRequest must be answered S, and the credential has not left by then."""
    scene = Scene(tls_mode="require").through().server(b"N")
    assert scene.error()["C"] == "08006"
    assert scene.to_server == SSL
    assert "10.9.8.7" not in str(scene.error())


def test_backend_bytes_behind_its_s_are_refused() -> None:
    """A server's S with more behind it is somebody in the middle."""
    scene = Scene(tls_mode="require").through().server(b"SR\0\0\0\x08\0\0\0\0")
    assert scene.error()["C"] == "08006"
    assert [step for step in scene.handshakes if step.side is Side.SERVER] == []


def test_cleartext_goes_over_tls_only() -> None:
    """A cleartext password is never sent without TLS; over TLS it is, as the manual says."""
    scene = Scene().through().server(auth(3))
    assert SECRET.encode() not in scene.to_server
    assert scene.error()["C"] == "08006"
    scene = Scene(tls_mode="require").through().server(b"S").server(auth(3))
    assert scene.to_server.endswith(password(SECRET))


def test_md5() -> None:
    """md5 as section 54.2.1 defines it."""
    scene = Scene().through().server(auth(5, b"salt"))
    inner = hashlib.md5((SECRET + "crm_app").encode()).hexdigest()
    assert scene.to_server.endswith(password("md5" + hashlib.md5(inner.encode() + b"salt").hexdigest()))


def test_sasl_must_end_with_a_proof() -> None:
    """A server that skips its own proof does not get a session."""
    scene = Scene().through().server(auth(10, b"SCRAM-SHA-256\0\0"))
    assert b"SCRAM-SHA-256\0" in scene.to_server
    scene.server(auth(0))
    assert "prove" in scene.error()["M"]


@pytest.mark.parametrize(("sqlstate", "shown"), [("28P01", "08006"), ("3D000", "08006"), ("53300", "53300"), ("57P03", "57P03")])
def test_the_backends_refusal_names_the_connection_only(sqlstate: str, shown: str) -> None:
    """What a backend says about the gateway's account does not reach the client."""
    scene = Scene().through().server(s.error(sqlstate, 'password authentication failed for user "crm_app"', "FATAL"))
    found = scene.error()
    assert found["C"] == shown
    assert "crm" in found["M"]
    assert "crm_app" not in str(found)


def test_a_wrong_parameter_of_the_client_is_explained() -> None:
    """The backend's own words about a value that the client sent do pass."""
    scene = Scene().through(TimeZone="Mars").server(s.error("22023", 'invalid value for parameter "TimeZone": "Mars"', "FATAL"))
    assert "Mars" in scene.error()["M"]


def test_backend_down() -> None:
    """A refusal to dial is 08006."""
    scene = Scene(dial=Refusal(RefusalCode.BACKEND_UNAVAILABLE, "the backend of crm is down")).through()
    assert scene.error()["C"] == "08006"


@pytest.mark.parametrize("reply", [
    b"", b"X", b"R\0\0\0\2", s.row(b"1"), auth(7), auth(12, b"v=x"), auth(11, b"r=x"), b"R\xff\xff\xff\xff", auth(99),
    b"R\x7f\xff\xff\xff", auth(5, b"xx"),
])
def test_a_backend_that_talks_nonsense_is_refused(reply: bytes) -> None:
    """Nothing but the protocol's own messages, in order and bounded, leads to a session."""
    scene = Scene().through().server(reply)
    if reply == b"X":
        scene.server(b"")
    assert scene.error()["C"] == "08006"
    assert scene.play.is_closed
    assert SECRET not in str(scene.error())


@pytest.mark.parametrize("name", ["client_encoding", "standard_conforming_strings"])
def test_a_backend_with_another_pinned_parameter_is_refused(name: str) -> None:
    """Analysis would not hold there."""
    value = b"UTF8\0" if name == "client_encoding" else b"on\0"
    other = b"UTF7\0" if name == "client_encoding" else b"no\0"
    scene = Scene().through().server(GREETING.replace(name.encode() + b"\0" + value, name.encode() + b"\0" + other))
    assert scene.error()["C"] == "08006"


def test_statements_sent_ahead_are_judged() -> None:
    """Bytes behind the password belong to the session: judged like any other."""
    scene = Scene().client(SSL).client(startup(user="me", database="crm"))
    scene.client(password(TOKEN) + s.query("drop table t")).server(GREETING)
    assert scene.error()["C"] == "42501"
    assert b"drop" not in scene.to_server


def test_a_certificate_stands_in_the_place_of_the_password() -> None:
    """No password is asked for; who chooses OAUTHBEARER is asked for a token all the same."""
    scene = Scene(certificate="ab" * 32)
    scene.client(SSL).client(startup(user="me", database="crm"))
    assert messages.ASK_PASSWORD not in scene.to_client
    assert (scene.tokens, [one.connection for one in scene.admitted]) == (["a certificate"], ["crm"])
    chosen = Scene(certificate="ab" * 32)
    chosen.client(SSL).client(startup(user="me", database="crm", options="-c lockgate.auth=oauthbearer"))
    assert (chosen.tokens, chosen.admitted) == ([], [])
    refused = Scene(certificate="ab" * 32, identity=Refusal(RefusalCode.UNAUTHENTICATED, "the certificate is an authority's"))
    refused.client(SSL).client(startup(user="me", database="crm"))
    assert refused.error()["C"] == "28P01"
    assert refused.admitted == []
