"""The backend's end: reached when there is something to send, kept while both sides keep it alive."""

from __future__ import annotations

from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.protocols.http.codec import ResponseReader
from lockgate.wire.steps import Credential, Dial, HangUp, Side, StartTls, Steps, TlsInfo


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


def credential() -> Steps[Secret | Refusal]:
    """The backend's credential, now."""
    secret: Secret | Refusal = yield Credential()
    return secret


def unusable(connection: Connection, error: ConfigError) -> Refusal:
    """A credential that is no header's."""
    return Refusal(
        RefusalCode.BACKEND_UNAVAILABLE, f"the gateway has no usable credential for connection {connection.name}",
        hint="Tell those who run the gateway; its log says what is missing.", cause=error.args[0])
