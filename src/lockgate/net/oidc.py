"""The verifier that logins ask: configured providers, their keys in memory, and when to fetch them.

Apart from `govern.identity`, which judges tokens and reaches nothing, and from `discovery`, which
does the HTTP. Rules:

- Keys in memory answer at once, on the caller's stack. A login waits only where no usable keys are
  there yet, or where a token names a key that is not among them.
- One task per provider fetches, so that there is never more than one fetch per provider in flight,
  and tokens with invented key ids cause at most one fetch in `refetch_interval`; in between they
  are refused at once.
- A provider that cannot be reached is bridged with the keys in memory for `max_stale` seconds since
  they were last confirmed; afterwards every login fails.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from lockgate.errors import IdentityError
from lockgate.govern.identity import (
    TOKEN_LIMIT,
    Failure,
    KeySet,
    ShownCertificate,
    UnverifiedToken,
    failed,
    index_providers,
    read_token,
    select_provider,
    verify,
    verify_binding,
)
from lockgate.govern.ports import Clock
from lockgate.model import Identity
from lockgate.net.discovery import OidcProvider, fetch_keys, open_client

Callback = Callable[[Identity | Exception], None]
Observer = Callable[[str, str, str], None]
"""Told (event, provider, detail): `keys_changed` and `keys_failed`. Details hold no secret."""


@dataclass(frozen=True, slots=True)
class OidcBounds:
    """Limits in seconds and counts."""

    fetch_timeout: float = 10.0         # discovery and key set together
    max_age: float = 300.0              # keys older than this are refreshed in the background
    max_stale: float = 3_600.0          # keys not confirmed for this long are not used any more
    refetch_interval: float = 10.0      # between two attempts at one provider
    waiting: int = 1_024                # logins that wait for one provider
    remembered: int = 4_096             # verified tokens


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """One provider for health and diagnosis. `age` is that of the keys, None without any."""

    name: str
    issuer: str
    keys: int
    age: float | None
    usable: bool
    error: str | None


class OidcVerifier:
    """Implements `govern.ports.TokenVerifier`. Lives on one event loop; `run` keeps the keys fresh."""

    def __init__(
        self,
        providers: Sequence[OidcProvider],
        clock: Clock,
        *,
        bounds: OidcBounds = OidcBounds(),
        observe: Observer | None = None,
    ) -> None:
        """Raises `ConfigError` for no providers, or for a name or issuer given twice."""
        self._rules = index_providers(provider.rules for provider in providers)
        self._sources = {
            provider.rules.issuer: _KeySource(provider, clock, bounds, observe, self._verify)
            for provider in providers
        }
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[Identity, str]] = OrderedDict()
        self._capacity = bounds.remembered
        self._stopped = False

    async def run(self) -> None:
        """Fetch and refresh until cancelled. Afterwards every login fails. Run it once.

        Raises `ConfigError` at once when a CA file cannot be read.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources.values():
                    group.create_task(source.run())
        finally:
            self._stopped = True
            for source in self._sources.values():
                source.abandon()

    async def wait_attempted(self) -> None:
        """Until every provider was asked once, with or without success."""
        for source in self._sources.values():
            await source.attempted.wait()

    def status(self) -> tuple[ProviderStatus, ...]:
        """How it stands with each provider, in the order of the configuration."""
        return tuple(source.status() for source in self._sources.values())

    def authenticate(self, token: str, callback: Callback, certificate: ShownCertificate | None = None) -> None:
        """Call back once with the identity or an `IdentityError`: at once where keys are in memory.

        A callback that had to wait runs from the loop, after the fetch. A token that is bound to a certificate counts with
        that `certificate` only.
        """
        callback = partial(_with_certificate, certificate, callback)
        answer: Identity | IdentityError | None
        try:
            answer = self._identify(token, callback)
        except IdentityError as error:
            answer = error
        if answer is not None:
            callback(answer)

    def _identify(self, token: str, callback: Callback) -> Identity | None:
        """The identity, or None when the callback was queued. Raises `IdentityError`."""
        if self._stopped:
            raise failed(Failure.STOPPED, "the gateway is shutting down")
        known = self._recall(token)
        if known is not None:
            return known
        unverified = read_token(token)
        source = self._sources[select_provider(unverified, self._rules).issuer]
        keys = source.current()
        if keys is not None:
            try:
                return self._verify(unverified, source.provider, keys)
            except IdentityError as error:
                if error.code != Failure.KEY_UNKNOWN or not source.is_askable:
                    raise
        source.enqueue(unverified, callback)
        return None

    def _verify(self, token: UnverifiedToken, provider: OidcProvider, keys: KeySet) -> Identity:
        identity = verify(token, provider.rules, keys, self._clock.now())
        self._remembered[_digest(token.text)] = (identity, keys.digest)
        while len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)
        return identity

    def _recall(self, token: str) -> Identity | None:
        """A token that was verified with the keys that are still the provider's, and has not expired.

        Agents reconnect with the same token many times; a signature costs more than a hash.
        """
        if len(token) > TOKEN_LIMIT or not token.isascii():
            return None
        digest = _digest(token)
        entry = self._remembered.get(digest)
        if entry is None:
            return None
        identity, keys_digest = entry
        keys = self._sources[identity.issuer].current()
        if keys is None or keys.digest != keys_digest or not self._clock.now() < identity.expires_at:
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return identity


def _with_certificate(certificate: ShownCertificate | None, callback: Callback, answer: Identity | Exception) -> None:
    if isinstance(answer, Identity):
        try:
            answer = verify_binding(answer, certificate)
        except IdentityError as error:
            answer = error
    callback(answer)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()


class _KeySource:
    """One provider's keys, their age, and the logins that wait for them."""

    def __init__(
        self,
        provider: OidcProvider,
        clock: Clock,
        bounds: OidcBounds,
        observe: Observer | None,
        check: Callable[[UnverifiedToken, OidcProvider, KeySet], Identity],
    ) -> None:
        self.provider = provider
        self.attempted = asyncio.Event()
        self._clock = clock
        self._bounds = bounds
        self._observe = observe
        self._check = check
        self._keys: KeySet | None = None
        self._confirmed = 0.0
        self._asked: float | None = None
        self._error: IdentityError | None = None
        self._is_fetching = False
        self._wanted = asyncio.Event()
        self._waiting: list[tuple[UnverifiedToken, Callback]] = []

    @property
    def is_askable(self) -> bool:
        """Whether a login may wait for a fetch: one is under way, or the interval has passed."""
        if self._is_fetching or self._wanted.is_set() or self._asked is None:
            return True
        return self._clock.monotonic() - self._asked >= self._bounds.refetch_interval

    def current(self) -> KeySet | None:
        """The keys, if they were confirmed recently enough; asks for fresh ones when they are old."""
        if self._keys is None:
            return None
        age = self._clock.monotonic() - self._confirmed
        if age >= self._bounds.max_age and self.is_askable and not self._is_fetching:
            self._wanted.set()
        return self._keys if age < self._bounds.max_stale else None

    def enqueue(self, token: UnverifiedToken, callback: Callback) -> None:
        """Let a login wait for the next answer. Raises `IdentityError` when it may not."""
        if not self.is_askable:
            raise self._unusable()
        if len(self._waiting) >= self._bounds.waiting:
            raise failed(Failure.OVERLOADED, f"too many logins wait for provider {self._name!r}")
        self._waiting.append((token, callback))
        if not self._is_fetching:
            self._wanted.set()

    async def run(self) -> None:
        """Fetch now, when wanted, and when the keys get old; never two at a time."""
        async with open_client(self.provider, self._bounds.fetch_timeout) as client:
            while True:
                await self._refresh(client)
                pause = self._bounds.max_age if self._error is None else self._bounds.refetch_interval
                try:
                    async with asyncio.timeout(pause):
                        await self._wanted.wait()
                except TimeoutError:
                    continue

    async def _refresh(self, client: httpx.AsyncClient) -> None:
        self._wanted.clear()
        self._is_fetching = True
        try:
            keys = await fetch_keys(client, self.provider, self._bounds.fetch_timeout)
        except IdentityError as error:
            self._error = error
            self._tell("keys_failed", f"{error.code}: {error}")
        else:
            is_changed = self._keys is None or self._keys.digest != keys.digest
            self._keys, self._error, self._confirmed = keys, None, self._clock.monotonic()
            if is_changed:
                self._tell("keys_changed", f"{len(keys.keys)} keys")
        finally:
            # After the fetch, so that a slow provider is not asked again at once.
            self._asked = self._clock.monotonic()
            self._is_fetching = False
        self.attempted.set()
        self._answer_waiting()

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        keys = self.current()
        for token, callback in waiting:
            try:
                if keys is None:
                    raise self._unusable()
                _deliver(callback, self._check(token, self.provider, keys))
            except IdentityError as error:
                _deliver(callback, error)

    def abandon(self) -> None:
        """No keys will come any more: every waiting login fails."""
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            _deliver(callback, failed(Failure.STOPPED, "the gateway is shutting down"))

    def status(self) -> ProviderStatus:
        age = None if self._keys is None else self._clock.monotonic() - self._confirmed
        return ProviderStatus(
            name=self._name,
            issuer=self.provider.rules.issuer,
            keys=0 if self._keys is None else len(self._keys.keys),
            age=age,
            usable=age is not None and age < self._bounds.max_stale,
            error=None if self._error is None else f"{self._error.code}: {self._error}",
        )

    @property
    def _name(self) -> str:
        return self.provider.rules.name

    def _tell(self, event: str, detail: str) -> None:
        if self._observe is not None:
            self._observe(event, self._name, detail)

    def _unusable(self) -> IdentityError:
        """Why no keys can be used now."""
        advice = f"See that the gateway can reach {self.provider.discovery_url}."
        if self._keys is not None:
            return failed(
                Failure.KEYS_STALE,
                f"the keys of provider {self._name!r} could not be confirmed for too long",
                advice=advice,
            )
        if self._error is None:
            return failed(Failure.PROVIDER_UNAVAILABLE, f"no keys of provider {self._name!r} yet")
        return failed(
            Failure(self._error.code),
            f"no keys of provider {self._name!r}: {self._error}",
            advice=self._error.advice() or advice,
        )


def _deliver(callback: Callback, answer: Identity | IdentityError) -> None:
    """From the loop, so that a callback that raises meets its own guard and not the fetching task."""
    asyncio.get_running_loop().call_soon(callback, answer)
