"""What all sessions of one process share: the pipeline, the connections, the limits, the registries.

Made by `app`, which alone knows where each part comes from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lockgate.audit.recording.studio import Studio
from lockgate.config.duration import seconds
from lockgate.config.settings import Connection, Limits
from lockgate.errors import BackendError, ConfigError
from lockgate.govern.identity import CertificateRules
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Pipeline
from lockgate.govern.ports import Clock, TokenVerifier
from lockgate.model import AuditMode, Secret
from lockgate.net.address import split_address
from lockgate.net.authority import Authority
from lockgate.net.dial import dial
from lockgate.net.tls import client_context
from lockgate.net.tokens import AccessTokens
from lockgate.proxy.callers import Callers
from lockgate.proxy.cancel import CancelRegistry
from lockgate.proxy.counters import Counters
from lockgate.proxy.driver import log
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.pool import Pool
from lockgate.wire.spec import Definitions, Passing, ProtocolSpec

if TYPE_CHECKING:
    from lockgate.govern.pipeline import Governor
    from lockgate.proxy.catalogue import Keeper
    from lockgate.proxy.governed import Governed
    from lockgate.proxy.recording import Recording
    from lockgate.proxy.session import Session

_ASIDE = 5.0
"""Seconds that a backend has to take an aside (a cancel) and hang up."""
_BESIDE = 2
"""Large values that are looked at at a time."""
_ASIDES = 64
"""Asides in flight at once; more are dropped, as the backend would be busy with those."""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """`config.settings.Limits` in seconds and numbers."""

    login_timeout: float
    drain: float
    sessions: int
    buffer: int
    session_idle: float
    settings: Limits

    @classmethod
    def of(cls, limits: Limits) -> HostLimits:
        """Read the settings."""
        return cls(seconds(limits.login_timeout), seconds(limits.drain), limits.sessions, limits.buffer,
                   seconds(limits.session_idle), limits)


class Host:
    """Mutable; lives as long as the process, on one event loop."""

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        pipeline: Pipeline,
        verifier: TokenVerifier,
        clock: Clock,
        limits: HostLimits,
        counters: Counters,
        credential: Callable[[Connection], Secret],
        audit: AuditMode,
        keys: MaskKeys | None = None,
        studio: Studio | None = None,
        authority: Authority | None = None,
        definitions: Definitions | None = None,
        certificates: Mapping[str, CertificateRules] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks = tasks
        self.pipeline = pipeline
        self.verifier = verifier
        self.clock = clock
        self.limits = limits
        self.counters = counters
        self.read_credential = credential
        self.tokens = AccessTokens(tasks, clock, credential, self._no_token)
        self.audit = audit
        self.keys = keys
        self.studio = studio
        self.authority = authority
        self.definitions: Definitions = Passing() if definitions is None else definitions
        self.shared: dict[str, dict[str, Any]] = {}     # of protocols, by name
        self.certificates: Mapping[str, CertificateRules] = certificates or {}
        """How certificates of clients are read, by the name that listeners call them."""
        self.recorded: set[Governor] = set()
        """Of sessions that are over and of which not all is recorded yet."""
        self.keepers: dict[str, Keeper] = {}
        self.sessions: set[Session] = set()
        self.cancels: CancelRegistry[Governed] = CancelRegistry(clock.monotonic)
        self.is_draining = False
        self.pool = Pool(self)
        self.callers = Callers(self)
        self._ends: set[Endpoint] = set()
        self._quiet: asyncio.Event | None = None
        self._server_names: dict[str, str] = {}
        self._by_spec: dict[tuple[str, bool], Mapping[str, Connection]] = {}
        self._asides = 0
        self._beside = ThreadPoolExecutor(_BESIDE, thread_name_prefix="lockgate-beside")

    @property
    def dial_timeout(self) -> float:
        """Seconds to reach a backend: less than a log-in has, so that the client hears of it."""
        return self.limits.login_timeout * 0.6

    # ------------------------------------------------------------ connections

    def set_keepers(self, keepers: Mapping[str, Keeper]) -> None:
        """The connections from here on; sessions that are open keep the settings they began with."""
        self.keepers = dict(keepers)
        self._server_names = {
            name.lower(): keeper.connection.name
            for keeper in keepers.values() for name in keeper.connection.server_names
        }
        self._by_spec = {}
        self.pool.settings_changed()

    def connections_of(self, spec: ProtocolSpec, *, piped: bool = False) -> Mapping[str, Connection]:
        """Connections of one protocol, by name: those with an address, or those that are programs."""
        found = self._by_spec.get((spec.name, piped))
        if found is None:
            found = self._by_spec[spec.name, piped] = {
                name: keeper.connection for name, keeper in self.keepers.items()
                if keeper.spec is spec and piped is not bool(keeper.connection.address)
            }
        return found

    def by_server_name(self, name: str) -> str | None:
        """The connection that a TLS server name routes to."""
        return self._server_names.get(name.lower().removesuffix("."))

    def audit_mode(self, connection: str) -> AuditMode:
        """The default audit mode of a connection."""
        keeper = self.keepers.get(connection)
        if keeper is None or keeper.connection.audit is None:
            return self.audit
        return AuditMode(keeper.connection.audit)

    def _no_token(self, connection: str, reason: str) -> None:
        log.error("no access token", connection=connection, reason=reason)
        self.counters.errors["backend.token"] += 1

    # ------------------------------------------------------------ sessions

    def welcome(self, session: Session) -> bool:
        """Count a client's connection in; False above twice the limit of sessions (log-ins included)."""
        if self.is_draining or len(self.sessions) >= 2 * self.limits.sessions + 64:
            return False
        self.sessions.add(session)
        return True

    def left(self, session: Session) -> None:
        """A client's connection is over."""
        self.sessions.discard(session)
        self.stir()

    def end_session(self, governor: Governor, recording: Recording | None, cause: str) -> None:
        """A session is over: it ends in the log once all of it is recorded."""
        if recording is None:
            governor.end(cause)
        else:
            self.recorded.add(governor)
            recording.finish(partial(self.recorded_to_the_end, governor, cause))

    def recorded_to_the_end(self, governor: Governor, cause: str) -> None:
        """All of a session is recorded, or will never be: now it can end in the log, with what is recorded of it."""
        governor.end(cause)
        self.recorded.discard(governor)
        self.stir()

    def opened(self, end: Endpoint) -> None:
        """An end has a transport."""
        self._ends.add(end)

    def gone(self, end: Endpoint) -> None:
        """An end has none any more."""
        self._ends.discard(end)
        self.stir()

    def stir(self) -> None:
        """Something is over: a drain looks whether anything is left."""
        if self._quiet is not None and not (self.sessions or self._ends or self.recorded or self.callers.is_beginning):
            self._quiet.set()

    async def drain(self, deadline: float) -> None:
        """No session is admitted any more; those that are open end when they owe nothing, or at the
        deadline (seconds from now). When this returns no connection is left.
        """
        self.is_draining = True
        self.pool.close()
        self.callers.close()
        try:
            await self._emptied(deadline)
        finally:
            self.pool.stop()
            self._beside.shutdown(wait=False, cancel_futures=True)

    async def _emptied(self, deadline: float) -> None:
        self._quiet = asyncio.Event()
        for session in tuple(self.sessions):
            session.drain()
        self.stir()
        try:
            async with asyncio.timeout(deadline):
                await self._quiet.wait()
                return
        except TimeoutError:
            log.warning("drain deadline reached", sessions=len(self.sessions))
        for session in tuple(self.sessions):
            session.close("drain deadline")
        for end in tuple(self._ends):
            end.abort()
        try:
            async with asyncio.timeout(5.0):
                await self._quiet.wait()
        except TimeoutError:
            log.error("connections would not close", connections=len(self._ends))

    # ------------------------------------------------------------ beside the loop

    def beside(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run something pure and long in a thread: what it does not share with the loop is its processor time. A few
        at a time; the others wait for their turn."""
        return self.loop.run_in_executor(self._beside, call)

    # ------------------------------------------------------------ asides

    def spawn_aside(self, connection: Connection, payload: bytes, taken: Pending[None], *, is_secured: bool = False) -> None:
        """Send bytes (taken out of a permit by the caller) over a fresh connection. `taken` when it is closed. Over TLS with
        `is_secured`."""
        if self._asides >= _ASIDES:
            self.counters.errors["aside.busy"] += 1
            taken.resolve(None)
            return
        self._asides += 1
        self.tasks.create_task(self._aside(connection, payload, taken, is_secured))

    async def _aside(self, connection: Connection, payload: bytes, taken: Pending[None], is_secured: bool) -> None:
        host, port = split_address(connection.address)
        tls = connection.tls
        done = asyncio.Event()
        try:
            secured = (client_context(tls.mode, tls.ca, (), tls.own), tls.server_name or host) if is_secured else None
            transport = await dial(host, port, partial(_Brief, payload, done), self.dial_timeout, secured)
            try:
                async with asyncio.timeout(_ASIDE):
                    await done.wait()
            finally:
                transport.abort()
        except (BackendError, ConfigError, TimeoutError) as error:
            log.warning("aside failed", connection=connection.name, error=type(error).__name__)
            self.counters.errors["aside.failed"] += 1
        finally:
            self._asides -= 1
            taken.resolve(None)


class _Brief(asyncio.Protocol):
    """Sends one thing and waits for the peer to hang up."""

    def __init__(self, payload: bytes, done: asyncio.Event) -> None:
        self._payload = payload
        self._done = done

    def connection_made(self, transport: Any) -> None:
        transport.write(self._payload)
        self._payload = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set()
