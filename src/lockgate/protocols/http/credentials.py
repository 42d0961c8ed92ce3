"""The backend's credential, written into a request at the last moment (I6): records and reviewers see it without."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote, unquote_plus

import orjson

from lockgate.config.settings import Connection
from lockgate.config.strict import SecretReference
from lockgate.errors import ConfigError
from lockgate.model import Secret
from lockgate.protocols.http.messages import Field, Fields
from lockgate.protocols.http.settings import HttpSettings, settings_of
from lockgate.protocols.http.signing import CARRIERS
from lockgate.protocols.http.targets import Target
from lockgate.wire.steps import ClientCredentials

_VISIBLE: Final = frozenset(range(0x20, 0x7f)) | {9}


def injected(settings: HttpSettings, user: str, secret: Secret, target: bytes) -> tuple[bytes, Fields]:
    """The target and the field with the credential, of which at most one has it. `ConfigError` where it cannot stand in a
    field. No field of its name is left by what a client sent (`carriers`, `callers.NEVER_ON`)."""
    kind = settings.inject
    if kind == "none" or not secret:
        return target, ()
    text = secret.reveal()
    if kind == "query":
        mark = b"&" if b"?" in target else b"?"
        return target + mark + quote(settings.name or "", safe="").encode() + b"=" + quote(text, safe="").encode(), ()
    if kind == "basic":
        name, value = "Authorization", "Basic " + base64.b64encode(f"{user}:{text}".encode()).decode()
    elif kind in ("bearer", "oauth2"):
        name, value = "Authorization", f"Bearer {text}"
    else:
        name, value = settings.name or "", text
    raw = value.encode("utf-8")
    if not _VISIBLE.issuperset(raw):
        raise ConfigError("the backend's credential holds characters that no header can hold")
    return target, (Field.of(name.encode(), raw),)


def has_place_of_credential(settings: HttpSettings, target: Target) -> bool:
    """Whether a client's query has the parameter that carries the credential: of two, servers take the first or the last. Some
    end a parameter at a semicolon too, and some read names without regard to case."""
    if settings.inject != "query" or not target.raw_query:
        return False
    name = (settings.name or "").casefold()
    return any(
        unquote_plus(piece.partition(b"=")[0].decode("latin-1")).casefold() == name
        for piece in target.raw_query.replace(b";", b"&").split(b"&"))


def access_token(settings: HttpSettings) -> ClientCredentials | None:
    """How the access token is had that is the credential; None where the connection's password is."""
    if settings.inject != "oauth2" or settings.token_url is None:
        return None
    return ClientCredentials(
        settings.token_url, settings.scope, settings.audience, settings.client_auth == "post", settings.token_ca)


def spelled(connection: Connection, secret: Secret) -> list[Secret]:
    """A secret of a connection as it may look in what is recorded, should a backend echo it: in `Basic`, in a query, in JSON."""
    text = secret.reveal()
    basic = base64.b64encode(f"{connection.credential.user}:{text}".encode()).decode()
    escaped = orjson.dumps(text).decode()[1:-1]
    return [Secret(one) for one in dict.fromkeys((text, basic, quote(text, safe=""), escaped)) if text]


def secrets_of(connection: Connection) -> tuple[SecretReference, ...]:
    """Secrets that go to the backend besides the credential."""
    reference = settings_of(connection.options).session_token
    return () if reference is None else (reference,)


def carriers(settings: HttpSettings) -> frozenset[bytes]:
    """The fields that carry the credential to the backend: what a client writes there does not go on."""
    if settings.inject == "aws":
        return CARRIERS
    return frozenset((settings.name.lower().encode(),)) if settings.inject == "header" and settings.name else frozenset()
