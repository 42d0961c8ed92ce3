"""Taking over a changed configuration while running.

Valid and enforceable: recorded, then in force for every request from then on, also of sessions that
are open. Anything else: the old one stays, and it is said loudly, with file and line.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from lockgate.app.configuration import (
    certificates_of,
    compile_policy,
    load_configuration,
    recording_terms,
    refuse_problems,
    rows_for,
)
from lockgate.app.custody import in_force
from lockgate.audit.admin import account
from lockgate.audit.custody import Person, by_whom
from lockgate.audit.entry import canonical
from lockgate.config.load import Loaded
from lockgate.errors import AuditError, LockgateError
from lockgate.govern.policy import PolicySet
from lockgate.model import AuditMode, Event, Refusal, RefusalCode
from lockgate.net.oidc import OidcVerifier
from lockgate.proxy.catalogue import Keeper
from lockgate.proxy.host import HostLimits

if TYPE_CHECKING:
    from lockgate.app.gateway import Gateway

log = structlog.get_logger("lockgate")
_WATCH = 1.0
_AT_ONCE = ("mode", "erasure", "retention", "recording", "serve")
"""What of `audit` is in force without a restart."""
_RESTART = ("listeners", "control", "state", "telemetry")
_RECONFIGURED = Refusal(
    RefusalCode.SHUTTING_DOWN, "this connection was reconfigured", hint="Nothing is lost; connect again.",
)


class Reloader:
    """Watches one gateway's file, and those that it names."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Look now (SIGHUP)."""
        self._asked.set()

    async def watch(self) -> None:
        """Look at the file every second, and at once when asked."""
        source = self._gateway.loaded.source
        seen = self._stamps()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH):
                    await self._asked.wait()
            now = self._stamps()
            if self._asked.is_set() or now != seen:
                self._asked.clear()
                await self._reload(source)
                seen = [now[0], *self._stamps()[1:]]        # it may name other files now

    def _stamps(self) -> list[tuple[int, int, int]]:
        loaded = self._gateway.loaded
        return [_stamp(path) for path in (loaded.source, *loaded.files)]

    async def _reload(self, source: Path) -> None:
        gateway = self._gateway
        try:
            fresh = await asyncio.to_thread(load_configuration, source)     # a long OpenAPI document takes a while
            if fresh.config_hash == gateway.loaded.config_hash:
                gateway.counters.config_reload_failed = False
                return
            await self._take_over(fresh, compile_policy(fresh))
        except LockgateError as error:
            gateway.counters.config_reload_failed = True
            log.error("configuration not taken over; the old one stays in force", code=error.code,
                      reason=str(error.args[0]))

    async def _take_over(self, fresh: Loaded, policy: PolicySet) -> None:
        gateway = self._gateway
        keepers, added = self._keepers(fresh)
        gateway.check = partial(rows_for, fresh)
        try:
            await gateway.first_looks(added)
            refuse_problems(fresh, [
                row for keeper in keepers.values() if keeper.is_checked
                for row in rows_for(fresh, keeper.spec, keeper.connection, keeper.catalogue)
            ])
            verifier = None
            if fresh.settings.identity != gateway.loaded.settings.identity:
                verifier = gateway.make_verifier(fresh.settings.identity)
                gateway.require_usable(certificates_of(fresh.settings.identity))
            await self._record(gateway.loaded, fresh)
        except LockgateError:
            gateway.check = gateway.rows
            for keeper in added:
                keeper.stop("configuration not taken over")
            raise
        self._apply(fresh, policy, keepers, verifier)

    def _keepers(self, fresh: Loaded) -> tuple[dict[str, Keeper], list[Keeper]]:
        """The keeper of every connection of the new file, and which of them are new or changed."""
        keepers: dict[str, Keeper] = {}
        added: list[Keeper] = []
        for connection in fresh.settings.connections:
            keeper = self._gateway.host.keepers.get(connection.name)
            if keeper is None or keeper.connection != connection:
                keeper = self._gateway.keeper(connection)
                added.append(keeper)
            keepers[connection.name] = keeper
        return keepers, added

    async def _record(self, old: Loaded, fresh: Loaded) -> None:
        """The change is durable in the log before it counts."""
        recorded: asyncio.Future[AuditError | None] = asyncio.get_running_loop().create_future()
        change = Event("config_change", {
            "before": old.config_hash, "after": fresh.config_hash,
            "policy_before": old.policy_hash, "policy_after": fresh.policy_hash, **in_force(fresh.settings.audit),
        }, None, canonical({"reason": "the configuration file changed", "file": str(fresh.source)}))
        self._gateway.audit.event(by_whom(change, _writer(fresh.source)), recorded.set_result)
        error = await recorded
        if error is not None:
            raise error

    def _apply(
        self, fresh: Loaded, policy: PolicySet, keepers: dict[str, Keeper], verifier: OidcVerifier | None
    ) -> None:
        gateway = self._gateway
        host, old = gateway.host, gateway.loaded
        gateway.loaded = fresh
        gateway.check = gateway.rows
        gone = [keeper for name, keeper in host.keepers.items() if keepers.get(name) is not keeper]
        host.set_keepers(keepers)
        host.limits = HostLimits.of(fresh.settings.limits)
        host.audit = AuditMode(fresh.settings.audit.mode)
        if verifier is not None:
            gateway.use_verifier(verifier)
            host.verifier = verifier
            host.certificates = certificates_of(fresh.settings.identity)
        gateway.studio.use(recording_terms(fresh))
        gateway.pipeline.replace(policy)
        host.callers.retire("reconfigured")
        for running in tuple(host.sessions):
            if running.is_unrecorded:
                running.end_when_idle(_RECONFIGURED)
        for keeper in keepers.values():
            keeper.recheck()
        for keeper in gone:
            for session in tuple(keeper.sessions):
                session.end_when_idle(_RECONFIGURED)
            keeper.stop("reconfigured")
        gateway.counters.config_reloads += 1
        gateway.counters.config_reload_failed = False
        log.info("configuration taken over", config=fresh.config_hash[:12], policy=fresh.policy_hash[:12])
        for name in _RESTART:
            if getattr(fresh.settings, name) != getattr(old.settings, name):
                log.warning("this change takes a restart", section=name)
        before, after = old.settings.audit, fresh.settings.audit
        if before.model_copy(update={name: getattr(after, name) for name in _AT_ONCE}) != after:
            log.warning("this change takes a restart", section="audit")


def _writer(path: Path) -> Person:
    """Who is answerable for the file: its owner, as far as the system knows."""
    try:
        return account(path.stat().st_uid)
    except OSError:
        return account(os.getuid())


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does; zeros while it is not there (an editor replaces it)."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
