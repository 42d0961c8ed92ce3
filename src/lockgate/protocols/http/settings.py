"""The protocol's own keys of a connection (`options` in the configuration)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, computed_field, model_validator

from lockgate.config.strict import Duration, SecretReference, Strict
from lockgate.protocols.http.openapi import OpenApi
from lockgate.protocols.http.templates import BadTemplate, read_template

_TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"
_SCOPE = r"^([\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*)?$"       # RFC 6749 appendix A.4
_PATH = r"^(/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+$"
Template = Annotated[str, Field(pattern=r"^(/([A-Za-z0-9._~!$&'()*+,=:@-]+|\{[A-Za-z_][A-Za-z0-9_]{0,62}\}))+$")]
_HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length", "expect",
))


class HttpSettings(Strict):
    """What an HTTP connection may say besides address, credential and TLS."""

    inject: Literal["bearer", "basic", "header", "query", "oauth2", "aws", "none"] = Field(
        default="bearer", description="How the backend gets its credential: `Authorization: Bearer`, `Basic` with "
                                      "`credential.user`, a header or a query parameter of the name in `name`, an access "
                                      "token that is fetched for `credential` (`oauth2`), a signature (`aws`), or not.")
    name: str | None = Field(
        default=None, pattern=_TOKEN, description="The header or query parameter that carries the credential.")
    token_url: str | None = Field(
        default=None, max_length=2000,
        description="`inject: oauth2`: where access tokens are had (RFC 6749 section 4.4). `credential.user` is the client's "
                    "id, `credential.password` its secret. https only.")
    scope: str = Field(
        default="", pattern=_SCOPE, max_length=2000, description="Of the access token, in words with one space between.")
    audience: str = Field(
        default="", max_length=2000, description="A parameter `audience`, which some token servers want.")
    client_auth: Literal["basic", "post"] = Field(
        default="basic", description="How id and secret go to the token server: as `Authorization: Basic`, or in the content.")
    token_ca: Path | None = Field(
        default=None, description="PEM file of authorities for the token server instead of the system's.")
    unsafe_http: bool = Field(
        default=False, strict=True, description="Allow a token server on loopback over plain http. For development.")
    region: str | None = Field(
        default=None, pattern=r"^[a-z0-9-]{1,64}$",
        description="`inject: aws`: of AWS Signature Version 4, like `eu-central-1`. `credential.user` is the access key's id, "
                    "`credential.password` the secret key.")
    service: str | None = Field(
        default=None, pattern=r"^[a-z0-9-]{1,64}$", description="`inject: aws`: the service's signing name, like `s3`.")
    session_token: SecretReference | None = Field(
        default=None, description="`inject: aws`: where the session token of a temporary key is.")
    unsigned_payload: bool = Field(
        default=False, strict=True,
        description="`inject: aws`: large content goes on as it comes, unsigned; for services that take that (S3 over TLS). "
                    "Else it is held until it is whole, up to `limits.inspect`.")
    host: str | None = Field(
        default=None, pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$",
        description="The `Host` that the backend is asked for; its address where it is not given.")
    base_path: str = Field(default="", pattern=r"^$|" + _PATH, max_length=200, description="In front of every path.")
    prefix: str | None = Field(
        default=None, pattern=_PATH, max_length=200,
        description="Requests whose path begins with it lead here, without it: for listeners that several connections "
                    "share by path.")
    paths: tuple[Template, ...] = Field(
        default=(), max_length=2000, description="Templates like `/customers/{id}`: `op.template` is the one that fits.")
    openapi: Path | None = Field(
        default=None, description="The backend's OpenAPI document (3.0 or 3.1, JSON or YAML): `op.operation` and "
                                  "`op.template` come from it, and what it does not list is refused.")
    openapi_base: str | None = Field(
        default=None, pattern=r"^$|" + _PATH, max_length=200,
        description="The path below which the document's operations are at the backend, instead of what its `servers` say.")
    unlisted: Literal["deny", "allow"] = Field(
        default="deny", description="What happens to requests that the OpenAPI document does not list.")
    graphql: tuple[Annotated[str, Field(pattern=_PATH, max_length=200)], ...] = Field(
        default=(), max_length=100, description="Paths on which the backend speaks GraphQL, like `/graphql`: `op.graphql` "
                                                "holds the operations of requests there.")
    token_header: str | None = Field(
        default=None, pattern=_TOKEN,
        description="A header in which agents may send their token besides `Authorization` and `Proxy-Authorization`, "
                    "like `x-api-key`. It never travels on.")
    patience: Duration = Field(
        default="3s", description="How long a request under review is held before it is refused with its ticket.")
    timeout: Duration = Field(default="60s", description="How long the backend may be silent while an answer is due.")
    versions: Literal["auto", "http/1.1", "h2"] = Field(
        default="auto", description="What the backend is spoken to in. `auto`: HTTP/2 for requests of clients that speak it, if "
                                    "the backend offers it over TLS; else HTTP/1.1. `h2`: HTTP/2 for all requests; without TLS "
                                    "it is taken for granted.")
    reuse: bool = Field(
        default=True, strict=True,
        description="Connections to the backend that a client leaves are kept for a while, and used again for other clients' "
                    "requests. Those over which content has gone, for the same caller's only. Without it HTTP/2 is not offered.")
    binary: Literal["deny", "allow"] = Field(
        default="deny", description="What happens to answers that cannot be looked into (images, archives) where a mask "
                                    "or a detector is due.")
    binary_size: int | None = Field(
        default=None, gt=0, strict=True,
        description="`binary: allow`: the most bytes that such an answer may have. A longer one is refused, or cut where its "
                    "length was not known.")
    text: Literal["allow", "deny"] = Field(
        default="allow", description="What happens to answers of running text (plain text, HTML, YAML) where masks are due that "
                                     "go by names, which only detectors find anything in then.")
    websocket: Literal["allow", "deny"] = Field(
        default="allow", description="Whether requests may become WebSockets. Each message of a client is judged by itself, "
                                     "with the verb `send`.")

    tunnel: bool = Field(
        default=False, strict=True,
        description="Clients of a forward proxy reach the backend blindly by CONNECT: nothing is looked into, and no "
                    "credential is injected. A policy has to allow the verb `connect`; rules that mask or look into "
                    "requests cannot be held and stop the start.")

    _api: OpenApi | None = PrivateAttr(default=None)

    @property
    def api(self) -> OpenApi | None:
        """What the OpenAPI document says; read when the configuration was."""
        return self._api

    @computed_field  # type: ignore[prop-decorator]  # so that another document is another configuration
    @property
    def openapi_sha256(self) -> str | None:
        """Of the document's file, in hex."""
        return None if self._api is None else self._api.digest

    def with_api(self, api: OpenApi) -> Self:
        """The same with its document read."""
        made = self.model_copy()
        made._api = api
        return made

    @property
    def signs_content(self) -> bool:
        """Whether all of a request's content has to be there before it goes on."""
        return self.inject == "aws" and not self.unsigned_payload

    @model_validator(mode="after")
    def _names(self) -> HttpSettings:
        if self.binary_size is not None and self.binary == "deny":
            raise ValueError("`binary_size` goes with `binary: allow`")
        if (self.inject in ("header", "query")) != (self.name is not None):
            raise ValueError("`name` goes with `inject: header` or `inject: query`, and they need it")
        if self.inject == "header" and (self.name or "").lower() in _HOP_BY_HOP:
            raise ValueError("this header belongs to the connection; the credential needs another")
        for template in self.paths:
            try:
                read_template(template)
            except BadTemplate as error:
                raise ValueError(f"no path fits {template}: {error}") from None
        for path in (self.base_path, self.prefix or "", self.openapi_base or ""):
            if path.endswith("/") or re.search(r"//|/\.\.?(/|$)|%", path):
                raise ValueError("write base_path, prefix and openapi_base like /api/v1: no dot segments, escapes or slash at the end")
        return self


def settings_of(options: object) -> HttpSettings:
    """A connection's options, whether they were validated before or not."""
    if isinstance(options, HttpSettings):
        return options
    return HttpSettings() if options is None else HttpSettings.model_validate(options)
