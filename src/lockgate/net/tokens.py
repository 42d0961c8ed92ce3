"""Access tokens for backends: OAuth 2 client credentials (RFC 6749 section 4.4), one fetch at a time, kept in memory.

- A token is kept until shortly before it expires; who asks meanwhile gets it at once. The grant has no refresh token
  (section 4.4.3): the next that asks causes a new fetch.
- While a fetch runs, all who ask wait for it. It is bounded in time and size, follows no redirect, and what fails is not
  tried again within `PAUSE`.
- A token that a backend did not take is dropped, at most once in `DISOWNED`: a backend that answers everything with 401
  would else have one fetched for every request.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus, urlencode

import httpx

from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.govern.identity.strictjson import parse_object
from lockgate.govern.pending import Pending
from lockgate.govern.ports import Clock
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.net.tls import client_context
from lockgate.wire.steps import ClientCredentials

WITHIN: Final = 10.0
"""Seconds that a fetch may take in all."""
LIMIT: Final = 65_536
"""Bytes of a token server's answer."""
MARGIN: Final = 30.0
"""Seconds before its end from which a token is not used any more; a fifth of its life where that is less."""
UNSAID: Final = 300.0
"""Seconds that a token is kept whose life the server does not say (RFC 6749 section 5.1: it SHOULD)."""
LONGEST: Final = 86_400.0
"""Seconds that a token is kept at most."""
PAUSE: Final = 1.0
"""Seconds after a fetch that failed in which nobody is asked."""
DISOWNED: Final = 10.0
"""Seconds between two tokens that are dropped because the backend did not take them."""
_TOKEN: Final = 16_384
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7f)))
_SOURCES: Final = 1_024
_ERRORS: Final = frozenset((
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
))
"""RFC 6749 section 5.2. No other word of an answer is told: it could hold what was sent."""


class NoToken(Exception):
    """No access token can be had. Says why, without anything secret."""


def no_token(connection: str, reason: str) -> Refusal:
    """What a client reads; the reason is for the log."""
    return Refusal(
        RefusalCode.BACKEND_UNAVAILABLE, f"the gateway has no access token for connection {connection}",
        hint="Nothing was executed. Try again later; if it stays so, tell those who run the gateway.", cause=reason or None)


class AccessTokens:
    """The tokens of all connections. Lives on one event loop. `failed(connection, reason)` is told of each failure."""

    def __init__(
        self, tasks: asyncio.TaskGroup, clock: Clock, credential: Callable[[Connection], Secret],
        failed: Callable[[str, str], None],
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._credential = credential
        self._failed = failed
        self._sources: OrderedDict[tuple[str, str, ClientCredentials], _Source] = OrderedDict()

    def get(self, connection: Connection, terms: ClientCredentials) -> Secret | Refusal | Pending[Secret | Refusal]:
        """The connection's access token now, or when it has been fetched."""
        source = self._source(connection, terms)
        now = self._clock.monotonic()
        if source.token is not None and now < source.until:
            return source.token
        source.token = None
        if source.refused is not None and now < source.quiet:
            return source.refused
        waiting: Pending[Secret | Refusal] = Pending()
        source.waiting.append(waiting)
        if len(source.waiting) == 1:
            self._tasks.create_task(self._fetch(source, connection, terms))
        return waiting

    def held(self, connection: Connection) -> list[Secret]:
        """The access tokens of a connection that its backend may just have seen: the last one and the one before. May be
        called in another thread."""
        return [token for (name, _, _), source in tuple(self._sources.items()) if name == connection.name
                for token in source.recent]

    def disown(self, connection: Connection, terms: ClientCredentials) -> None:
        """The backend did not take the token."""
        source = self._source(connection, terms)
        now = self._clock.monotonic()
        if now >= source.disowned:
            source.token, source.disowned = None, now + DISOWNED

    def _source(self, connection: Connection, terms: ClientCredentials) -> _Source:
        key = (connection.name, connection.credential.user, terms)
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source()
        self._sources.move_to_end(key)
        if len(self._sources) > _SOURCES:
            self._sources.popitem(last=False)
        return source

    async def _fetch(self, source: _Source, connection: Connection, terms: ClientCredentials) -> None:
        answer: Secret | Refusal = no_token(connection.name, "the gateway is shutting down")
        try:
            token, life = await _granted(terms, connection.credential.user, self._credential(connection))
            now = self._clock.monotonic()
            source.token, source.until, source.refused = token, now + life - min(MARGIN, life / 5), None
            source.recent = (token, *source.recent[:1])
            answer = token
        except (NoToken, ConfigError) as error:
            answer = source.refused = no_token(connection.name, error.args[0])
            source.quiet = self._clock.monotonic() + PAUSE
            self._failed(connection.name, error.args[0])
        finally:
            waiting, source.waiting = source.waiting, []
            for one in waiting:
                one.resolve(answer)


class _Source:
    """One connection's token, and who waits for it. Times are the clock's monotonic seconds."""

    __slots__ = ("disowned", "quiet", "recent", "refused", "token", "until", "waiting")

    def __init__(self) -> None:
        self.token: Secret | None = None
        self.recent: tuple[Secret, ...] = ()
        self.until = 0.0
        self.refused: Refusal | None = None
        self.quiet = 0.0
        self.disowned = float("-inf")
        self.waiting: list[Pending[Secret | Refusal]] = []


async def _granted(terms: ClientCredentials, user: str, password: Secret) -> tuple[Secret, float]:
    """A fresh token and its life in seconds. Raises `NoToken`, and `ConfigError` for authorities that cannot be read."""
    context = client_context("verify-full", terms.ca, ())
    form = {"grant_type": "client_credentials"}
    if terms.scope:
        form["scope"] = terms.scope
    if terms.audience:
        form["audience"] = terms.audience
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "lockgate",
               "content-type": "application/x-www-form-urlencoded"}
    if terms.in_body:
        form |= {"client_id": user, "client_secret": password.reveal()}
    else:                                           # form-encoded before they are joined (RFC 6749 section 2.3.1)
        pair = f"{quote_plus(user)}:{quote_plus(password.reveal())}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")
    try:
        async with (
            asyncio.timeout(WITHIN),
            httpx.AsyncClient(verify=context, timeout=WITHIN, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", terms.url, content=urlencode(form), headers=headers) as answer,
        ):
            return _read(answer.status_code, await _content(answer))
    except TimeoutError:
        raise NoToken(f"the token server did not answer within {WITHIN:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:       # their texts may hold what was sent
        raise NoToken(f"the token server cannot be reached ({type(error).__name__})") from None


async def _content(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise NoToken("the token server sent a compressed answer, which was not asked for")
    data = bytearray()
    async for piece in answer.aiter_raw():
        data += piece
        if len(data) > LIMIT:
            raise NoToken(f"the token server's answer is longer than {LIMIT} bytes")
    return bytes(data)


def _read(status: int, data: bytes) -> tuple[Secret, float]:
    """What an answer grants (RFC 6749 section 5.1)."""
    try:
        said = parse_object(data, depth=8)
    except ValueError:
        said = {}
    if status != httpx.codes.OK:
        error = said.get("error")
        word = f" ({error})" if isinstance(error, str) and error in _ERRORS else ""
        raise NoToken(f"the token server answered with status {status}{word}")
    token, kind, life = said.get("access_token"), said.get("token_type"), said.get("expires_in", UNSAID)
    if not isinstance(token, str) or not 0 < len(token) <= _TOKEN or not _VISIBLE.issuperset(token):
        raise NoToken("the token server's answer holds no access token that a header can hold")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NoToken("the token server grants a token of another type than Bearer")
    if isinstance(life, str) and life.isascii() and life.isdecimal() and len(life) < 16:
        life = int(life)                            # some servers write it as text
    if isinstance(life, bool) or not isinstance(life, int | float) or not life >= 0:
        raise NoToken("the token server does not say in seconds how long its token lives")
    return Secret(token), float(min(life, LONGEST))
