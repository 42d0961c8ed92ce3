"""An OpenID Connect issuer for demos and tests that gives anyone a token for anybody.

Apart from everything that a gateway runs: nothing imports it but its command, the demo and tests.
It authenticates nobody, so it refuses to start without an explicit flag, and anywhere but on a
loopback address. Its tokens and documents have the form that real providers use (RFC 9068 access
tokens, OpenID Connect Discovery), so that what is tried with it holds elsewhere.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import uvicorn
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import serialize_compact
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lockgate.errors import ConfigError

DEFAULT_AUDIENCE = "lockgate"
DEFAULT_LIFETIME = 3_600.0
LONGEST_LIFETIME = 86_400.0
_FORM_LIMIT = 16_384
_LAST_PORT = 65_535
_KEYS_KEPT = 2
_KEY_FILE = "issuer-keys.json"

Algorithm = Literal["ES256", "ES384", "RS256", "PS256", "Ed25519"]


class UnsafeDevelopmentIssuer:
    """Mints tokens for whoever asks. `issuer` is its URL, which must be on loopback."""

    def __init__(
        self,
        issuer: str,
        *,
        unsafe_development_only: bool,
        state: Path | None = None,
        algorithm: Algorithm = "ES256",
        now: Callable[[], float] = time,
    ) -> None:
        """With `state` the keys outlive the process (file mode 0600).

        Raises `ConfigError` without the flag, off loopback, or for an unreadable key file.
        """
        if unsafe_development_only is not True:
            raise ConfigError(
                "the development issuer gives anyone any identity; it starts only with "
                "--unsafe-development-only"
            )
        self.host = urlsplit(issuer).netloc
        require_loopback(urlsplit(issuer).hostname or "")
        self.issuer = issuer
        self.algorithm: Algorithm = algorithm
        self._now = now
        self._file = None if state is None else state / _KEY_FILE
        self._keys = self._load()
        if not self._keys:
            self.rotate()

    def mint(
        self,
        *,
        subject: str,
        groups: Iterable[str] = (),
        lifetime: float = DEFAULT_LIFETIME,
        audience: str | list[str] = DEFAULT_AUDIENCE,
        agent: str | None = None,
        model: str | None = None,
        client_id: str | None = None,
        **claims: object,
    ) -> str:
        """A signed token. `claims` replace or add; a claim given as None is left out."""
        now = self._now()
        content: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": int(now),
            "nbf": int(now),
            "exp": now + lifetime if lifetime % 1 else int(now + lifetime),
            "jti": secrets.token_hex(16),
            "groups": list(groups),
            "agent": agent,
            "model": model,
            "client_id": client_id,
        }
        content |= claims
        payload = json.dumps({name: value for name, value in content.items() if value is not None})
        key = self._keys[-1]
        header = {"alg": self.algorithm, "typ": "at+jwt", "kid": key.kid}
        return serialize_compact(header, payload, key, algorithms=[self.algorithm])

    def rotate(self, *, keep: int = _KEYS_KEPT - 1) -> None:
        """Sign with a new key from now on; the last `keep` old ones stay published."""
        key = _generate(self.algorithm)
        self._keys = [*(self._keys[-keep:] if keep else []), key]
        self._save()

    def jwks(self) -> dict[str, object]:
        """The public keys (RFC 7517)."""
        keys = [key.as_dict(private=False) for key in self._keys]
        return {"keys": [{**key, "use": "sig", "alg": self.algorithm} for key in keys]}

    def discovery(self) -> dict[str, object]:
        """OpenID Connect Discovery §3."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint": f"{self.issuer}/token",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
        }

    def _load(self) -> list[jwk.Key]:
        if self._file is None or not self._file.exists():
            return []
        try:
            stored = json.loads(self._file.read_bytes())
            if stored["algorithm"] != self.algorithm:
                return []
            return [jwk.import_key(key) for key in stored["keys"]]
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            raise ConfigError(
                f"{self._file} is no key file of the development issuer ({type(error).__name__}); "
                "delete it to get new keys"
            ) from None

    def _save(self) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        content = {"algorithm": self.algorithm, "keys": [key.as_dict(private=True) for key in self._keys]}
        fresh = self._file.with_suffix(".new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file)
        fresh.replace(self._file)


def _generate(algorithm: Algorithm) -> jwk.Key:
    match algorithm:
        case "ES256":
            return jwk.ECKey.generate_key("P-256", auto_kid=True)
        case "ES384":
            return jwk.ECKey.generate_key("P-384", auto_kid=True)
        case "Ed25519":
            return jwk.OKPKey.generate_key("Ed25519", auto_kid=True)
        case "RS256" | "PS256":
            return jwk.RSAKey.generate_key(2_048, auto_kid=True)


def require_loopback(host: str) -> None:
    """Raises `ConfigError` unless `host` is the number of a loopback address (or `localhost`)."""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(f"the development issuer listens on loopback only, e.g. 127.0.0.1, not {host!r}")


def unsafe_application(issuer: UnsafeDevelopmentIssuer) -> Starlette:
    """Its web application: discovery, keys and `/token`."""

    async def discovery(request: Request) -> Response:
        return _refuse_stranger(request, issuer) or JSONResponse(issuer.discovery())

    async def jwks(request: Request) -> Response:
        return _refuse_stranger(request, issuer) or JSONResponse(issuer.jwks())

    async def token(request: Request) -> Response:
        stranger = _refuse_stranger(request, issuer)
        if stranger is not None:
            return stranger
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_LIMIT:
                return _bad_request("the form is too long")
        try:
            fields = parse_qs(body.decode("utf-8"), strict_parsing=True, max_num_fields=256)
            return JSONResponse(_grant(issuer, fields), headers={"cache-control": "no-store"})
        except ValueError as error:
            return _bad_request(str(error))

    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", discovery),
            Route("/jwks", jwks),
            Route("/token", token, methods=["POST"]),
        ]
    )


def _grant(issuer: UnsafeDevelopmentIssuer, fields: dict[str, list[str]]) -> dict[str, object]:
    """The answer of `/token` (RFC 6749 §5.1). Raises `ValueError` for a wrong field."""
    one = {name: values[-1] for name, values in fields.items()}
    unknown = fields.keys() - {
        "grant_type", "subject", "group", "groups", "agent", "model", "lifetime", "audience", "client_id",
    }
    if unknown:
        raise ValueError("unknown field; known are subject, group, agent, model, lifetime, audience, client_id")
    if not one.get("subject"):
        raise ValueError("the field subject is missing")
    lifetime = float(one.get("lifetime", DEFAULT_LIFETIME))
    if not 0 < lifetime <= LONGEST_LIFETIME:
        raise ValueError(f"lifetime must be between 0 and {LONGEST_LIFETIME:.0f} seconds")
    groups = [*fields.get("group", []), *(name for text in fields.get("groups", []) for name in text.split())]
    text = issuer.mint(
        subject=one["subject"],
        groups=groups,
        lifetime=lifetime,
        audience=one.get("audience", DEFAULT_AUDIENCE),
        agent=one.get("agent"),
        model=one.get("model"),
        client_id=one.get("client_id"),
    )
    return {"access_token": text, "token_type": "Bearer", "expires_in": lifetime}


def _refuse_stranger(request: Request, issuer: UnsafeDevelopmentIssuer) -> Response | None:
    """Only its own name is served: a web page that rebinds its DNS name to loopback gets no token."""
    if request.headers.get("host") == issuer.host:
        return None
    return JSONResponse({"error": "invalid_request"}, status_code=421)


def _bad_request(text: str) -> Response:
    return JSONResponse({"error": "invalid_request", "error_description": text}, status_code=400)


def bind_loopback(address: str) -> tuple[socket.socket, str]:
    """A listening socket and the issuer URL for ``host:port`` (port 0: the system chooses).

    Raises `ConfigError` for an address off loopback or in use.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    require_loopback(host)
    if not (port.isascii() and port.isdigit() and int(port) <= _LAST_PORT):
        raise ConfigError(f"{address!r} has no port; write for example 127.0.0.1:8480")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise ConfigError(f"the development issuer cannot listen on {address}: {error}") from None
    shown = f"[{host}]" if ":" in host else host
    return listening, f"http://{shown}:{listening.getsockname()[1]}"


def unsafe_server(issuer: UnsafeDevelopmentIssuer) -> uvicorn.Server:
    """A uvicorn server for it; run it with `server.run(sockets=[listening])` or `await serve(…)`."""
    config = uvicorn.Config(
        unsafe_application(issuer), log_level="warning", access_log=False, lifespan="off", ws="none"
    )
    return uvicorn.Server(config)
