"""Fetching a provider's keys: its discovery document, then its key set, over HTTPS.

Apart from the verifier so that everything that touches a foreign HTTP server is here: bounded in
time and size, without redirects, over verified TLS, and with every foreign exception translated.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from lockgate.config.duration import seconds
from lockgate.config.settings import Provider
from lockgate.errors import ConfigError, IdentityError
from lockgate.govern.identity import KEY_SET_LIMIT, Failure, KeySet, ProviderRules, failed
from lockgate.govern.identity.strictjson import parse_object

DOCUMENT_LIMIT = 131_072
_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """One provider: what its tokens must look like, and how it may be reached.

    `ca` is a PEM file; with it only the authorities inside are trusted, without it the system's.
    `unsafe_http` admits plain http, and only to a loopback address (development).
    """

    rules: ProviderRules
    ca: Path | None = None
    unsafe_http: bool = False

    def __post_init__(self) -> None:
        """Raises `ConfigError` for an issuer that may not be asked."""
        try:
            require_safe(self.rules.issuer, unsafe_http=self.unsafe_http)
            if "?" in self.rules.issuer:
                raise ValueError("must have no query (OpenID Connect Discovery §3)")
        except ValueError as error:
            raise ConfigError(f"identity provider {self.rules.name!r}: issuer {error}") from None

    @classmethod
    def of(cls, settings: Provider) -> OidcProvider:
        """From the configuration. Raises `ConfigError` as the constructors do."""
        rules = ProviderRules(
            name=settings.name,
            issuer=settings.issuer,
            audience=settings.audience,
            groups_claim=settings.groups_claim,
            agent_claim=settings.agent_claim,
            model_claim=settings.model_claim,
            algorithms=frozenset(settings.algorithms),
            leeway=seconds(settings.leeway),
        )
        return cls(rules, settings.ca, settings.unsafe_http)

    @property
    def discovery_url(self) -> str:
        """OpenID Connect Discovery §4: a slash at the end of the issuer is taken off."""
        return self.rules.issuer.removesuffix("/") + _WELL_KNOWN


def require_safe(url: str, *, unsafe_http: bool) -> None:
    """Refuse a URL that is not plain https (or http to loopback, where allowed): `ValueError`."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be a URL with a host, without credentials and fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and unsafe_http and is_loopback(parts)):
        return
    if parts.scheme == "http" and unsafe_http:
        raise ValueError("may use http only on a loopback address, e.g. 127.0.0.1")
    raise ValueError("must use https (or set unsafe_http, on loopback, for development)")


def is_loopback(parts: SplitResult) -> bool:
    """Whether the host is this machine by its very name or number; nothing is resolved."""
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def open_client(provider: OidcProvider, timeout: float) -> httpx.AsyncClient:
    """An HTTP client for this provider only. Raises `ConfigError` for an unreadable CA file."""
    try:
        context = ssl.create_default_context(cafile=provider.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"identity provider {provider.rules.name!r}: cannot read the CA file {provider.ca} ({error})"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return httpx.AsyncClient(
        verify=context,
        timeout=timeout,
        follow_redirects=False,
        # Proxies of the environment serve a company's https; loopback must not leave the machine.
        trust_env=not provider.unsafe_http,
        limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
        # Compressed answers could unfold beyond the size bound.
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "lockgate"},
    )


async def fetch_keys(client: httpx.AsyncClient, provider: OidcProvider, within: float) -> KeySet:
    """The provider's present keys, `within` seconds for both documents together.

    Raises `IdentityError`; nothing is kept after a failure.
    """
    try:
        async with asyncio.timeout(within):
            uri = await _discover(client, provider)
            data = await _get(client, uri, KEY_SET_LIMIT, Failure.KEYS)
    except TimeoutError:
        raise failed(Failure.PROVIDER_UNAVAILABLE, f"no answer within {within:g} s") from None
    return KeySet.parse(data)


async def _discover(client: httpx.AsyncClient, provider: OidcProvider) -> str:
    """The `jwks_uri` of a discovery document that speaks for exactly the configured issuer."""
    data = await _get(client, provider.discovery_url, DOCUMENT_LIMIT, Failure.DISCOVERY)
    try:
        document = parse_object(data, depth=8)
    except ValueError as error:
        raise failed(Failure.DISCOVERY, f"the discovery document cannot be read: {error}") from None
    # OpenID Connect Discovery §4.3: MUST be identical, else one provider could speak for another.
    if document.get("issuer") != provider.rules.issuer:
        raise failed(
            Failure.DISCOVERY,
            "the discovery document is of another issuer than the configured one",
            advice="Copy `issuer` from the provider's discovery document, character for character.",
        )
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise failed(Failure.DISCOVERY, "the discovery document has no 'jwks_uri'")
    try:
        require_safe(uri, unsafe_http=provider.unsafe_http)
    except ValueError as error:
        raise failed(Failure.DISCOVERY, f"the provider's 'jwks_uri' {error}") from None
    return uri


async def _get(client: httpx.AsyncClient, url: str, limit: int, failure: Failure) -> bytes:
    try:
        async with client.stream("GET", url) as response:
            if response.is_redirect:
                raise failed(failure, "the provider answered with a redirect, which is not followed")
            if response.status_code != httpx.codes.OK:
                raise _refused(failure, response.status_code)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise failed(failure, "the provider sent a compressed answer, which was not asked for")
            return await _read_bounded(response, limit, failure)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        # The class says enough (ConnectError, ReadTimeout …); texts may hold URLs of proxies.
        what = type(error).__name__
        raise failed(Failure.PROVIDER_UNAVAILABLE, f"the provider cannot be reached ({what})") from None


async def _read_bounded(response: httpx.Response, limit: int, failure: Failure) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > limit:
            raise failed(failure, f"the provider's answer is longer than {limit} bytes")
    return bytes(data)


def _refused(failure: Failure, status: int) -> IdentityError:
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return failed(Failure.PROVIDER_UNAVAILABLE, f"the provider answered with status {status}")
    return failed(failure, f"the provider answered with status {status}")
