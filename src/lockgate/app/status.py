"""The running gateway as the control API sees it (`control.ports.Controlled`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lockgate.app.custody import Erasures
from lockgate.app.definitions import Accepting
from lockgate.audit.export.exporter import Progress
from lockgate.audit.tiles.disk import TILES_FOLDER
from lockgate.control.ports import LiveSession, Published, Readiness
from lockgate.govern.ports import Clock, TokenVerifier
from lockgate.govern.review import ReviewDesk
from lockgate.proxy.counters import BOUNDS, Counters

if TYPE_CHECKING:
    from lockgate.app.gateway import Gateway
    from lockgate.govern.pipeline import Governor


class Status:
    """Reads; changes nothing."""

    bounds: Sequence[float] = BOUNDS

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def counters(self) -> Counters:
        """What was counted."""
        return self._gateway.counters

    @property
    def reviews(self) -> ReviewDesk:
        """The desk."""
        return self._gateway.reviews

    @property
    def accepting(self) -> Accepting:
        """Definitions of tools, and people's yes to them."""
        return self._gateway.accepting

    @property
    def erasures(self) -> Erasures:
        """Who has payloads of the log erased."""
        return self._gateway.erasures

    @property
    def verifier(self) -> TokenVerifier:
        """The verifier in force."""
        return self._gateway.verifier

    @property
    def clock(self) -> Clock:
        """The clock that tickets live by."""
        return self._gateway.clock

    def readiness(self) -> Readiness:
        """Ready: the log takes records, some provider's keys are there, every connection was checked.

        An export that cannot deliver is told here and no reason to turn sessions away.
        """
        gateway = self._gateway
        parts = {"audit": "ok" if self.is_audit_writable() else "not writable"}
        lateness = None if gateway.witnessing is None else gateway.witnessing.lateness()
        if gateway.witnessing is not None:
            parts["witnesses"] = lateness or "ok"
        providers = gateway.verifier.status()
        for provider in providers:
            parts[f"provider {provider.name}"] = "ok" if provider.usable else "no usable keys"
        for name, is_ready in self.ready_connections().items():
            parts[f"connection {name}"] = "ok" if is_ready else self._why_not(name)
        for export in self.exports():
            parts[f"export {export.name}"] = f"behind by {export.behind}: {export.problem}" if export.problem else "ok"
        if gateway.host.is_draining:
            parts["drain"] = "shutting down"
        is_ready = (
            self.is_audit_writable() and gateway.audit.withheld is None and not gateway.host.is_draining
            and any(provider.usable for provider in providers) and all(self.ready_connections().values())
        )
        return Readiness(is_ready, parts)

    def _why_not(self, name: str) -> str:
        keeper = self._gateway.host.keepers[name]
        return "a policy cannot be enforced" if keeper.problems else "backend not reached yet"

    def live_sessions(self) -> list[LiveSession]:
        """Sessions that were admitted and are open. One that several connections are in is told once, with the address that it
        was begun from; it is idle when all of them are."""
        found: dict[str, LiveSession] = {}
        for session in self._gateway.host.sessions:
            governor, identity = session.governor, session.identity
            if governor is None or identity is None or session.mediator is None:
                continue
            before = found.get(governor.session)
            is_idle = session.mediator.is_idle and (before is None or before.is_idle)
            found[governor.session] = _live(governor, is_idle=is_idle)
        for governor in self._gateway.host.callers.resting:
            found[governor.session] = _live(governor, is_idle=True)
        return list(found.values())

    def witness_lag(self) -> float | None:
        """Seconds since a quorum of witnesses cosigned the log, infinite before; None without witnesses."""
        return None if self._gateway.witnessing is None else self._gateway.witnessing.lag

    def audit_queue(self) -> int:
        """Records that are accepted and not durable yet."""
        return self._gateway.audit.queued

    def is_audit_writable(self) -> bool:
        """False once the log is poisoned."""
        return self._gateway.audit.is_writable

    def published(self) -> Published:
        """The published log, and who may read it now."""
        settings = self._gateway.loaded.settings
        return Published(self._gateway.audit_folder / TILES_FOLDER, settings.audit.serve)

    def reviewer_groups(self) -> frozenset[str]:
        """Every group that some rule, or the setting for erasures, names as reviewers."""
        groups: set[str] = set(self._gateway.loaded.settings.audit.erasure.approve)
        for rule in self._gateway.loaded.rules:
            if rule.review is not None:
                groups |= rule.review.by
        return frozenset(groups)

    def ready_connections(self) -> Mapping[str, bool]:
        """Connection → whether it takes sessions."""
        return {name: keeper.is_ready for name, keeper in self._gateway.host.keepers.items()}

    def exports(self) -> Sequence[Progress]:
        """How everything stands that is given away continuously."""
        return [exporter.progress for exporter in self._gateway.exporters]


def _live(governor: Governor, *, is_idle: bool) -> LiveSession:
    who = governor.identity
    return LiveSession(
        session=governor.session, connection=governor.connection, subject=who.subject, issuer=who.issuer, agent=who.agent,
        peer=governor.begun_at, opened=governor.started, statements=governor.statements, rows=governor.rows, is_idle=is_idle,
    )
