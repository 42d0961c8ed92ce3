"""One catalogue per connection, kept fresh over the gateway's own connection to the backend.

A statement is judged with the newest catalogue; while sessions exist it is asked for again and
again, so that what somebody else changed is seen in about a second. Rules:

- one probe at a time; who asks meanwhile waits for it, or for the next where it must be newer;
- a catalogue that could not be confirmed for a while counts as none: fail closed;
- a connection takes no session before its first catalogue was there and every rule that applies to
  it was found enforceable with it (I5). The same is asked of every changed catalogue: where a masked
  column was renamed behind the gateway's back, the connection stops instead of showing it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.config.settings import Connection
from lockgate.errors import AuditError
from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Governor, audit_refusal
from lockgate.model import AuditMode, Identity, Refusal, RefusalCode, SessionStart
from lockgate.proxy.driver import log, unreachable
from lockgate.proxy.probe import Probe
from lockgate.wire.spec import Enforcement, ProbeContext, ProtocolSpec

if TYPE_CHECKING:
    from lockgate.proxy.governed import Governed
    from lockgate.proxy.host import Host

POLL = 1.0
"""Seconds between two looks at a backend that has sessions."""
_SHARE = 25.0
"""A look takes at most one in so many seconds of the backend's time."""
FRESH = 3.0
"""Seconds for which a catalogue counts as fresh when nobody is looking."""
STALE = 15.0
"""Seconds after which a catalogue is not used any more, though a look is under way."""
_RETRY = 2.0

GATEWAY = Identity(
    issuer="lockgate", subject="gateway", provider="lockgate", groups=frozenset(), expires_at=float("inf"),
    token_hash="",
)
"""Who asks, in the log, when the gateway itself does."""

Check = Callable[[ProtocolSpec, Connection, Any], Sequence[Enforcement]]
"""Every rule that applies to the connection, with how it is enforced given this catalogue."""


class Keeper:
    """The catalogue of one connection, and whether sessions may use the connection."""

    def __init__(self, host: Host, spec: ProtocolSpec, connection: Connection, check: Check) -> None:
        self.connection = connection
        self.spec = spec
        self.sessions: set[Governed] = set()
        self.catalogue: Any = None
        self.problems: tuple[Enforcement, ...] = ()
        self.is_checked = False
        self._host = host
        self._check = check
        self._version = 0
        self._confirmed = float("-inf")
        self._launched = 0.0
        self._interval = POLL
        self._flight: Probe | None = None
        self._beginning = False
        self._waiters: list[Pending[Any]] = []
        self._later: list[Pending[Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._governor: Governor | None = None
        self._is_stopped = False
        self.complaint = ""

    # ------------------------------------------------------------ asking

    @property
    def is_ready(self) -> bool:
        """True when sessions are admitted."""
        return self.is_checked and not self.problems

    def usable(self) -> Pending[Refusal | None]:
        """None when sessions may use the connection, else why not. Looks again where it must."""
        answer: Pending[Refusal | None] = Pending()
        if self.is_checked:
            answer.resolve(self._objection())
        else:
            self.refresh().then(lambda found: answer.resolve(self._after(found)))
        return answer

    def _after(self, found: Any) -> Refusal | None:
        """What stands in the way after a look: its own refusal where the log was in its way, not the backend."""
        if isinstance(found, Refusal) and found.code is RefusalCode.AUDIT_UNAVAILABLE:
            return found
        return self._objection()

    def _objection(self) -> Refusal | None:
        if not self.is_checked:
            return unreachable(self.connection.name)
        if self.problems:
            return Refusal(
                RefusalCode.NOT_ENFORCEABLE,
                f"a policy cannot be enforced on connection {self.connection.name}, so it takes no sessions",
                hint="Tell those who run the gateway; `lockgate check` says which rule and why.",
            )
        return None

    def snapshot(self, newer_than: int | None) -> Any:
        """The catalogue, a `Refusal`, or a `Pending` of either. With `newer_than` one that was looked
        for after now, where the one at hand is not newer.
        """
        if self.spec.probe is None:
            return None
        if self.problems:
            return self._objection()
        catalogue = self.catalogue
        if newer_than is not None and (catalogue is None or catalogue.version <= newer_than):
            return self.refresh(join=False)
        age = self._host.clock.monotonic() - self._confirmed
        if catalogue is not None and age <= (STALE if self._is_looking else FRESH):
            return catalogue
        return self.refresh()

    @property
    def _is_looking(self) -> bool:
        return self._flight is not None or self._beginning

    def refresh(self, *, join: bool = True) -> Pending[Any]:
        """Look now. With `join` a look that is under way will do."""
        answer: Pending[Any] = Pending()
        if not self._is_looking:
            self._waiters.append(answer)
            self._launch()
        elif join:
            self._waiters.append(answer)
        else:
            self._later.append(answer)
        return answer

    # ------------------------------------------------------------ looking

    def _launch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._launched = self._host.clock.monotonic()
        if self.spec.probe is None:
            self._landed(None)
            return
        if self._is_stopped:
            self._landed(unreachable(self.connection.name))
            return
        if self._governor is None:
            self._begin()
            return
        context = ProbeContext(self.connection, self._version + 1, self.catalogue)
        self._flight = Probe(self._host, context, self._governor, self._landed)
        self._flight.start(self.spec)

    def _begin(self) -> None:
        """Put the gateway's own session on record before its first byte."""
        pipeline = self._host.pipeline
        start = SessionStart(
            session=secrets.token_hex(16), issuer=GATEWAY.issuer, subject=GATEWAY.subject, agent=None, model=None,
            client_id=None, groups=(), token_hash="", connection=self.connection.name, protocol=self.spec.name,
            peer="gateway", policy_hash=pipeline.policy.policy_hash, claims={"kind": "system"},
        )
        governor = Governor(pipeline, GATEWAY, self.connection.name, start, AuditMode.FULL, self.spec.noun)
        self._beginning = True

        def begun(error: AuditError | None) -> None:
            self._beginning = False
            if error is not None:
                self._landed(audit_refusal(error))
                return
            self._governor = governor
            self._launch()

        try:
            pipeline.recorder.begin_session(start, begun)
        except AuditError as error:
            begun(error)

    def _landed(self, value: Any) -> None:
        """A look has ended, with a catalogue or a refusal."""
        self._flight = None
        if isinstance(value, Refusal):
            self._host.counters.catalogue_loads["failed"] += 1
            self._complain(value.cause or value.reason)
        else:
            self._take(value)
            self._complain("")
            value = self._objection() or value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.resolve(value)
        if self._later:
            later, self._later = self._later, []
            self._waiters.extend(later)
            if not self._is_looking:
                self._launch()
        elif not self._is_looking:
            self._schedule()

    def _take(self, catalogue: Any) -> None:
        clock = self._host.clock
        self._interval = max(POLL, (clock.monotonic() - self._launched) * _SHARE)
        self._confirmed = self._launched
        is_new = catalogue is not self.catalogue
        if is_new:
            self._version = max(self._version + 1, getattr(catalogue, "version", 0))
            self.catalogue = catalogue
        self._host.counters.catalogue_loads["changed" if is_new else "same"] += 1
        if is_new or not self.is_checked:
            self.recheck()

    def recheck(self) -> None:
        """Ask again whether every rule that applies can be enforced; before the first look: nothing."""
        if self.catalogue is None and self.spec.probe is not None:
            return
        self.problems = tuple(self._warn(self._check(self.spec, self.connection, self.catalogue)))
        self.is_checked = True

    def _complain(self, reason: str) -> None:
        """Say once why the backend cannot be used; "" when it can."""
        if reason and reason != self.complaint:
            log.warning("backend cannot be used", connection=self.connection.name, reason=reason)
        self.complaint = reason

    def _warn(self, rows: Sequence[Enforcement]) -> list[Enforcement]:
        found = [row for row in rows if row.problem is not None]
        for row in found:
            log.error("policy not enforceable", connection=row.connection, rule=row.rule, control=row.control,
                      reason=row.problem)
        return found

    def _schedule(self) -> None:
        if self._is_stopped or self.spec.probe is None:
            return
        delay = self._interval if self.is_checked else _RETRY
        self._timer = self._host.loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.sessions or not self.is_ready:
            self._launch()
        else:
            self._schedule()

    def stop(self, cause: str = "shutdown") -> None:
        """Look no more; the gateway's own session ends."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flight is not None:
            self._flight.close(cause)
        if self._governor is not None:
            self._governor.end(cause)
            self._governor = None
