"""One running gateway: start-up in order, serving, and the shut-down in reverse.

Start-up stops at the first thing that is wrong: listeners' sockets and keys, audit log (recovered),
runtime state, policy, connections (catalogue and enforcement), then the doors open. At the end the
doors close, sessions end, and the audit log is closed last.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from lockgate.app.admin import AdminServer
from lockgate.app.configuration import (
    certificates_of,
    compile_policy,
    credential_of,
    load_configuration,
    recording_terms,
    refuse_problems,
    rows_for,
)
from lockgate.app.custody import Erasures, in_force, make_custody, retention
from lockgate.app.definitions import Accepting
from lockgate.app.fleet import Fleet
from lockgate.app.housekeeping import Chore, keep_house
from lockgate.app.piping import PipeDoor
from lockgate.app.reload import Reloader
from lockgate.app.status import Status
from lockgate.app.targets import LogAt, exporters
from lockgate.app.witnessing import Witnessing
from lockgate.audit.custody import Custody
from lockgate.audit.export.exporter import Exporter
from lockgate.audit.keys import COSIGNED_FILE, VERIFIER_FILE, read_verifier
from lockgate.audit.log import AuditLog
from lockgate.audit.recording.studio import Studio
from lockgate.audit.storage.database.recordings import Recorder
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import TILES_FOLDER, Disk
from lockgate.audit.tiles.publisher import Publisher
from lockgate.config.duration import seconds
from lockgate.config.load import Loaded
from lockgate.config.settings import Connection, IdentitySettings
from lockgate.control.api import create_api
from lockgate.control.server import ControlServer, control_server
from lockgate.errors import AuditError, LockgateError
from lockgate.govern.identity import CertificateRules
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.pipeline import Pipeline
from lockgate.govern.review import ReviewDesk
from lockgate.model import AuditMode, Refusal, RefusalCode
from lockgate.net.authority import open_authority
from lockgate.net.discovery import OidcProvider
from lockgate.net.listen import open_listeners
from lockgate.net.oidc import OidcVerifier
from lockgate.protocols import discover
from lockgate.proxy.catalogue import Check, Keeper
from lockgate.proxy.counters import Counters
from lockgate.proxy.driver import place
from lockgate.proxy.host import Host, HostLimits
from lockgate.proxy.listener import Door, Doorway
from lockgate.store import SqlDefinitions, SqlReviewStore, open_database
from lockgate.store.mask_key import load_or_create_mask_key
from lockgate.wire.spec import Enforcement, ProtocolSpec

if TYPE_CHECKING:
    from lockgate.app.anchoring import Anchoring

log = structlog.get_logger("lockgate")
_HEARTBEAT = 60.0
_KEEP_TICKETS = 7 * 86_400.0
_FIRST_KEYS = 5.0
"""Seconds that start-up waits for the providers' keys; later log-ins wait by themselves."""
_LOG_BROKEN = Refusal(
    RefusalCode.AUDIT_UNAVAILABLE, "the gateway cannot write its audit log, so nothing is let through",
    hint="Tell those who run the gateway, then try again later.",
)


class SystemClock:
    """The machine's clocks (`govern.ports.Clock`)."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never step."""
        return time.monotonic()


class Gateway:
    """One gateway on the current event loop. `run` runs it to its end."""

    host: Host
    verifier: OidcVerifier
    pipeline: Pipeline
    reviews: ReviewDesk
    definitions: SqlDefinitions
    accepting: Accepting
    audit: AuditLog
    custody: Custody
    erasures: Erasures
    admin: AdminServer
    publisher: Publisher
    keys: MaskKeys
    studio: Studio

    def __init__(self, loaded: Loaded, tasks: asyncio.TaskGroup, *, unused: float | None = None) -> None:
        """With `unused` it ends by itself when it has had no session for so many seconds."""
        self.loaded = loaded
        self._unused = unused
        self._pipes = PipeDoor(loaded.settings.state)
        self.tasks = tasks
        self.clock = SystemClock()
        self.counters = Counters()
        self.check: Check = self.rows
        self._stop = asyncio.Event()
        self._keys: asyncio.Task[None] | None = None
        self._doors: list[Door] = []
        self._server: ControlServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._chores: list[asyncio.Task[None]] = []
        self.fleet: Fleet | None = None
        self.endorsing: list[Chore] = []
        self.audit_folder = loaded.settings.state / "audit"
        self.exported = LogAt(loaded.settings.audit.origin, self.audit_folder)
        self.exporters: list[Exporter] = []
        self.witnessing: Witnessing | None = None
        self.anchoring: Anchoring | None = None

    # ------------------------------------------------------------ putting together

    def open_state(self, folder: Path, stack: ExitStack) -> None:
        """Audit log, runtime state and the key of the masks in `folder`, closed by `stack`."""
        loaded = self.loaded
        audit = loaded.settings.audit
        loop = asyncio.get_running_loop()

        def dispatch(call: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(call)

        self.fleet = Fleet.join(loaded, lambda: self.loaded.settings)
        own, origin, place, shard = folder / "audit", audit.origin, None, 0
        if self.fleet is not None:
            stack.callback(self.fleet.leave)
            member = self.fleet.member
            own, origin, place, shard = member.folder, member.origin, member.place, member.lease.shard
            self.exported = LogAt(origin, own, place, shard)
            self.exporters = exporters(loaded.settings, self.exported)
        self.audit_folder = own
        self.audit = AuditLog.open(
            own, origin=origin, dispatch=dispatch, queue=audit.queue, clock=self.clock, place=place, shard=shard,
            apart=True, signer={} if audit.signer is None else audit.signer.terms(),
            facts={"config": loaded.config_hash, "policy": loaded.policy_hash, "mode": audit.mode, **in_force(audit)},
        )
        self.publisher = publisher_of(own)
        if audit.witness is not None:
            self.witnessing = Witnessing(audit.witness, own, lambda: open_source(own), self.clock.now)
            stack.callback(self.witnessing.close)
        if audit.anchor is not None:
            from lockgate.app.anchoring import Anchoring  # only where it is configured

            self.anchoring = Anchoring(audit.anchor, own, lambda: open_source(own))
            stack.callback(self.anchoring.close)
        if self.fleet is not None:
            self.endorsing = self.fleet.endorsement(audit, self.clock.now, stack)
        stack.callback(self._close_audit)
        self.studio = Studio(own, self.audit, dispatch, recording_terms(loaded),
                             None if place is None else Recorder(place, shard))
        stack.callback(self.studio.close)
        engine = open_database(folder)
        stack.callback(engine.dispose)
        store = SqlReviewStore(engine)
        self.reviews = ReviewDesk(store, self.audit, self.clock)
        self.reviews.recover()
        self.definitions = SqlDefinitions(engine)
        self.accepting = Accepting(self.definitions, self.audit)
        self.custody = make_custody(self, dispatch, store.drop)
        self.erasures = Erasures(self, self.custody)
        self.admin = AdminServer(self.custody)
        store.forget(self.clock.now() - _KEEP_TICKETS)
        self.keys = MaskKeys(load_or_create_mask_key(folder))
        self.pipeline = Pipeline(compile_policy(loaded), self.audit, self.reviews, self.clock, self._faulted)

    def _close_audit(self) -> None:
        try:
            self.audit.close()
        except AuditError as error:
            log.error("audit log not closed cleanly", code=error.code)
        if self.loaded.settings.audit.publish is not None:
            try:
                self.publisher.run()    # what is durable, down to the last record
            except (LockgateError, OSError) as error:
                log.error("the last records are not published yet", error=str(error), place=place(error))

    def _faulted(self, stage: str, fault: Exception) -> None:
        """A stage of the pipeline raised: say where, never what."""
        self.counters.errors[f"stage.{stage}"] += 1
        log.error("stage failed", stage=stage, error=type(fault).__name__, place=place(fault))

    def make_verifier(self, identity: IdentitySettings) -> OidcVerifier:
        """The token verifier of these settings."""
        return OidcVerifier(
            [OidcProvider.of(provider) for provider in identity.providers], self.clock,
            observe=lambda event, provider, detail: (log.warning if event == "keys_failed" else log.info)(
                event, provider=provider, detail=detail),
        )

    def require_usable(self, certificates: Mapping[str, CertificateRules]) -> None:
        """`ConfigError` where some listener could not verify its clients' certificates by these rules."""
        for door in self._doors:
            door.doorway.require_usable(certificates)

    def use_verifier(self, verifier: OidcVerifier) -> None:
        """Verify with this one from here on; log-ins that wait for the one before are refused."""
        if self._keys is not None:
            self._keys.cancel()
        self.verifier = verifier
        self._keys = self.tasks.create_task(verifier.run())

    def start_host(self, check: Check) -> None:
        """The host and a keeper per connection; `check` says how rules are held."""
        settings = self.loaded.settings
        self.check = check
        self.host = Host(
            definitions=self.definitions,
            tasks=self.tasks, pipeline=self.pipeline, verifier=self.verifier, clock=self.clock,
            limits=HostLimits.of(settings.limits), counters=self.counters, credential=credential_of,
            audit=AuditMode(settings.audit.mode), keys=self.keys, studio=self.studio,
            certificates=certificates_of(settings.identity),
            authority=open_authority(settings.state) if any(one.proxy for one in settings.listeners) else None,
        )
        self.host.set_keepers({connection.name: self.keeper(connection) for connection in settings.connections})

    def keeper(self, connection: Connection) -> Keeper:
        """A keeper that checks with whatever `check` is in force when it looks."""

        def check(spec: ProtocolSpec, asked: Connection, catalogue: Any) -> Sequence[Enforcement]:
            return self.check(spec, asked, catalogue)

        return Keeper(self.host, discover()[connection.protocol], connection, check)

    def rows(self, spec: ProtocolSpec, connection: Connection, catalogue: Any) -> list[Enforcement]:
        """How the rules in force are held on a connection."""
        return rows_for(self.loaded, spec, connection, catalogue)

    async def first_looks(self, keepers: Iterable[Keeper]) -> None:
        """Ask each backend once, all at the same time; bounded by the log-in deadline."""
        missing = 0
        done = asyncio.Event()

        def landed(_: object) -> None:
            nonlocal missing
            missing -= 1
            if missing == 0:
                done.set()

        for keeper in tuple(keepers):
            missing += 1
            keeper.refresh().then(landed)
        if missing:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.host.limits.login_timeout + 1.0):
                    await done.wait()

    # ------------------------------------------------------------ running

    async def run(self, announce: Callable[[str], None]) -> None:
        """Serve until told to stop. `LockgateError` where it cannot start."""
        with ExitStack() as stack:
            control = self._bind(stack)
            self.open_state(self.loaded.settings.state, stack)
            self.use_verifier(self.make_verifier(self.loaded.settings.identity))
            try:
                await self._first_quorum()
                await self._start(control, announce)
                await self._stop.wait()
                log.info("stopping", sessions=len(self.host.sessions))
            finally:
                await self._finish()
        log.info("stopped")

    async def _first_quorum(self) -> None:
        """Ask the witnesses before anything is let through. `Conflict` where one has seen another log."""
        if self.witnessing is not None:
            try:
                await asyncio.to_thread(self.witnessing.run)
            finally:
                self.audit.withhold(self.witnessing.problem())

    def _bind(self, stack: ExitStack) -> list[socket.socket]:
        """Every socket and key first: what is wrong with them is found before anything is written."""
        certificates = certificates_of(self.loaded.settings.identity)
        for listener in self.loaded.settings.listeners:
            door = Door(Doorway.of(listener, discover()[listener.protocol], certificates))
            stack.callback(door.close)
            self._doors.append(door)
        self.exporters = exporters(self.loaded.settings, self.exported)
        control = open_listeners(self.loaded.settings.control.address)
        for listening in control:
            stack.callback(listening.close)
        return control

    async def _start(self, control: list[socket.socket], announce: Callable[[str], None]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_KEYS):
                await self.verifier.wait_attempted()
        self.start_host(self.rows)
        await self.first_looks(self.host.keepers.values())
        refuse_problems(self.loaded, [row for keeper in self.host.keepers.values() for row in keeper.problems])
        reloader = Reloader(self)
        self._on_signals(reloader)
        for door in self._doors:
            await door.open(self.host)
            announce(f"{door.doorway.name}: {door.doorway.spec.title} on {_shown(door)}")
        await self._pipes.open(self.host)
        await self.admin.open()
        self._server = control_server(create_api(Status(self)))
        self._serving = self.tasks.create_task(self._server.serve(sockets=control))
        announce(f"control: http://{control[0].getsockname()[0]}:{control[0].getsockname()[1]}")
        self._chores = [self.tasks.create_task(self._chore()), self.tasks.create_task(reloader.watch())]
        self._chores += [self.tasks.create_task(keep_house(chore, self.counters)) for chore in self.chores()]

    def chores(self) -> list[Chore]:
        """What the settings ask for beside the requests."""
        chores = [retention(self), *([] if self.fleet is None else self.fleet.chores())]
        chores += self.endorsing
        chores += [Chore(f"export.{exporter.name}", 1.0, exporter.run) for exporter in self.exporters]
        publish = self.loaded.settings.audit.publish
        if publish is not None:
            chores.append(Chore("publish", seconds(publish), self.publisher.run))
        witness = self.loaded.settings.audit.witness
        if self.witnessing is not None and witness is not None:
            chores.append(Chore("witness", seconds(witness.every), self.witnessing.run))
        anchor = self.loaded.settings.audit.anchor
        if self.anchoring is not None and anchor is not None:
            chores.append(Chore("anchor", seconds(anchor.every), self.anchoring.run))
        telemetry = self.loaded.settings.telemetry
        if telemetry is not None:
            from lockgate.app.telemetry import MetricsSender  # only where it is configured

            sender = MetricsSender(telemetry, self.exported.origin, Status(self), asyncio.get_running_loop())
            chores.append(Chore("telemetry.metrics", sender.every, sender.run))
        return chores

    def _on_signals(self, reloader: Reloader) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)

    def stop(self) -> None:
        """Begin the shut-down."""
        self._stop.set()

    async def _finish(self) -> None:
        """Doors, sessions, the gateway's own connections, the control API, the providers' keys."""
        for door in self._doors:
            door.close()
        self._pipes.close()
        for chore in self._chores:
            chore.cancel()
        await self.admin.close()
        if hasattr(self, "host"):
            await self.host.drain(self.host.limits.drain)
            for keeper in self.host.keepers.values():
                keeper.stop()
            await self.host.drain(1.0)
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self._keys is not None:
            self._keys.cancel()

    async def _chore(self) -> None:
        """What has to happen now and then: tickets expire, the log shows that it lives."""
        beat = used = self.clock.monotonic()
        while True:
            await asyncio.sleep(1.0)
            used = self.clock.monotonic() if self.host.sessions else used
            if self._unused is not None and self.clock.monotonic() - used >= self._unused:
                self.stop()
            self.studio.tick()
            try:
                self.reviews.expire_due()
                if self.audit.is_writable and self.clock.monotonic() - beat >= _HEARTBEAT:
                    beat = self.clock.monotonic()
                    self.audit.heartbeat({"refusals": sum(
                        count for (decision, _), count in self.counters.statements.items() if decision == "deny")})
            except LockgateError as error:
                log.error("chore failed", code=error.code, place=place(error))
            if self.witnessing is not None:
                self.audit.withhold(self.witnessing.problem())
            if not self.audit.is_writable:
                for session in tuple(self.host.sessions):
                    session.end_when_idle(_LOG_BROKEN)


def publisher_of(folder: Path) -> Publisher:
    """Publishes the log in a folder into `tiles` there."""
    return Publisher(lambda: open_source(folder), read_verifier(folder / VERIFIER_FILE), Disk(folder / TILES_FOLDER),
                     folder / COSIGNED_FILE)


def _shown(door: Door) -> str:
    host = door.doorway.address.rpartition(":")[0]
    how = "TLS" if door.doorway.certificate is not None else "plaintext, loopback only"
    return f"{', '.join(f'{host}:{port}' for port in dict.fromkeys(door.ports))} ({how})"


def serve(path: Path, announce: Callable[[str], None], *, unused: float | None = None) -> None:
    """Run a gateway with this configuration until SIGTERM or SIGINT, or until nobody has used it for so many seconds.
    `LockgateError` where it cannot."""
    loaded = load_configuration(path)

    async def run() -> LockgateError | None:
        async with asyncio.TaskGroup() as tasks:
            try:
                await Gateway(loaded, tasks, unused=unused).run(announce)
            except LockgateError as error:
                return error
        return None

    error = uvloop.run(run())
    if error is not None:
        raise error



