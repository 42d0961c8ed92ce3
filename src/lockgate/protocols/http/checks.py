"""What no single key of a connection shows: credentials that miss something, and keys that belong to another kind of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from lockgate.config.checks import is_loopback
from lockgate.config.settings import Connection
from lockgate.protocols.http.openapi import read_openapi
from lockgate.protocols.http.settings import HttpSettings, settings_of

_KEYS: Final = {
    "oauth2": ("token_url", "scope", "audience", "client_auth", "token_ca", "unsafe_http"),
    "aws": ("region", "service", "session_token", "unsigned_payload"),
}
"""Keys that say something of one kind of credential only."""
_PLAIN: Final = frozenset(("bearer", "basic", "header", "query"))
"""Kinds that carry the credential as it is."""
Found = tuple[tuple[str, ...], str]


def mismatches(connection: Connection) -> Iterator[Found]:
    """What does not go together: (keys that lead to it, what to write)."""
    settings = settings_of(connection.options)
    yield from _openapi(settings)
    for kind, keys in _KEYS.items():
        for key in keys:
            if settings.inject != kind and key in settings.model_fields_set:
                yield ("options", key), f"`{key}` goes with `inject: {kind}`"
    if settings.versions == "h2" and not settings.reuse:
        yield ("options", "reuse"), "`reuse: false` goes with `versions: http/1.1`; HTTP/2 carries many requests on one connection"
    if "inject" in settings.model_fields_set and settings.inject in _PLAIN and connection.credential.password is None:
        yield ("options", "inject"), (
            f"`inject: {settings.inject}` has nothing to inject; write `credential: {{password: {{env: NAME}}}}`, or for a "
            "backend that wants none `inject: none`")
    if settings.inject == "oauth2":
        yield from _account(connection, "the client's id at the token server", "its secret")
        yield from _oauth2(settings)
    elif settings.inject == "aws":
        yield from _account(connection, "the access key's id", "the secret key")
        yield from _aws(settings, has_tls=connection.tls.mode != "disable")


def _openapi(settings: HttpSettings) -> Iterator[Found]:
    if settings.openapi is None:
        for key in ("openapi_base", "unlisted"):
            if key in settings.model_fields_set:
                yield ("options", key), f"`{key}` goes with `openapi`"
        return
    if settings.paths:
        yield ("options", "paths"), "templates come from the OpenAPI document; take `paths` away"
    if settings.tunnel:
        yield ("options", "openapi"), "nothing is looked into in a blind tunnel, so nothing can be compared with a document"


def attach(options: HttpSettings, folder: Path) -> tuple[HttpSettings, tuple[Path, ...]]:
    """The `ProtocolSpec.attach` of HTTP: the OpenAPI document."""
    if options.openapi is None:
        return options, ()
    path = folder / options.openapi
    return options.with_api(read_openapi(path, options.openapi_base)), (path,)


def _account(connection: Connection, user: str, password: str) -> Iterator[Found]:
    inject = settings_of(connection.options).inject
    if not connection.credential.user:
        yield ("credential",), f"`inject: {inject}` needs {user}; write `credential: {{user: …}}`"
    if connection.credential.password is None:
        yield ("credential",), f"`inject: {inject}` needs {password}; write `credential: {{password: {{env: NAME}}}}`"


def _aws(settings: HttpSettings, *, has_tls: bool) -> Iterator[Found]:
    for key, example in (("region", "eu-central-1"), ("service", "s3")):
        if getattr(settings, key) is None:
            yield ("options",), f"`inject: aws` needs a {key}; write `{key}: {example}`"
    token = settings.session_token
    if token is not None and (token.env is None) == (token.file is None):
        yield ("options", "session_token"), "a secret has one place; write `{env: NAME}` or `{file: path}`"
    if settings.unsigned_payload and not has_tls:
        yield ("options", "unsigned_payload"), "content that nobody signs needs TLS; write another `tls: {mode: …}`"


def _oauth2(settings: HttpSettings) -> Iterator[Found]:
    at = ("options", "token_url")
    if settings.token_url is None:
        yield ("options",), "`inject: oauth2` needs the token server's address; write `token_url: https://…`"
        return
    try:
        url = urlsplit(settings.token_url)
        is_whole = url.hostname and url.username is None and not url.fragment and url.port != 0
    except ValueError:
        url, is_whole = urlsplit(""), False
    if not is_whole or url.scheme not in ("https", "http"):
        yield at, "`token_url` must be a URL without user and fragment; write https://…"
    elif url.scheme == "http" and not (settings.unsafe_http and is_loopback(url.hostname or "")):
        yield at, ("the client's secret would travel without TLS; write https://…, or for development on loopback "
                   "`unsafe_http: true`")
    if settings.token_ca is not None and not settings.token_ca.is_file():
        yield ("options", "token_ca"), f"there is no file {settings.token_ca}"
