"""The backend's end: reached when there is something to send, kept while both sides keep it alive."""

from __future__ import annotations

from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.protocols.http.codec import ResponseReader
from lockgate.protocols.http.credentials import access_token
from lockgate.protocols.http.settings import HttpSettings
from lockgate.protocols.http.statuses import UNAUTHORIZED
from lockgate.wire.steps import Credential, Dial, Disown, HangUp, Side, StartTls, Steps, TlsInfo


class Link:
    """One connection to the backend. `is_used`: an exchange has been over it, so it may have been closed meanwhile."""

    __slots__ = ("is_used", "reader")

    def __init__(self) -> None:
        self.reader = ResponseReader()
        self.is_used = False


def connect(connection: Connection) -> Steps[Link | Refusal]:
    """A fresh connection to the backend, over TLS unless the settings say otherwise."""
    dialled: Refusal | None = yield Dial()
    if dialled is not None:
        return dialled
    if connection.tls.mode != "disable":
        tls: TlsInfo | Refusal = yield StartTls(Side.SERVER, alpn=("http/1.1",))
        if isinstance(tls, Refusal):
            yield HangUp()
            return tls
    return Link()


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
