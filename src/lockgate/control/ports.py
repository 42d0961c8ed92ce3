"""What the control API needs of the gateway, as interfaces. `app` plugs in the real things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lockgate.audit.export.exporter import Progress
from lockgate.govern.ports import Clock, TokenVerifier
from lockgate.govern.review import ReviewDesk
from lockgate.model import Identity


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether sessions are taken, and what is in the way: part → one word or a reason."""

    is_ready: bool
    parts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One open session, as a person may see it."""

    session: str
    connection: str
    subject: str
    issuer: str
    agent: str | None
    peer: str
    opened: float
    statements: int
    rows: int
    is_idle: bool


@dataclass(frozen=True, slots=True)
class Published:
    """The folder of the published log, and its readers: ``off``, ``reviewers`` or ``everyone``."""

    folder: Path
    readers: str


class HistogramView(Protocol):
    """Counts per bucket and the sum of all observations."""

    @property
    def counts(self) -> Sequence[int]: ...

    @property
    def total(self) -> float: ...


class CountersView(Protocol):
    """What was counted since the start of the process (see `proxy.counters`)."""

    @property
    def connections(self) -> int: ...
    @property
    def sessions(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def logins(self) -> Counter[str]: ...
    @property
    def statements(self) -> Counter[tuple[str, str]]: ...
    @property
    def outcomes(self) -> Counter[str]: ...
    @property
    def masked(self) -> Counter[str]: ...
    @property
    def rows(self) -> int: ...
    @property
    def errors(self) -> Counter[str]: ...
    @property
    def to_server(self) -> int: ...
    @property
    def to_client(self) -> int: ...
    @property
    def durations(self) -> HistogramView: ...
    @property
    def waits(self) -> HistogramView: ...
    @property
    def cancels(self) -> Counter[str]: ...
    @property
    def links(self) -> Counter[str]: ...
    @property
    def catalogue_loads(self) -> Counter[str]: ...
    @property
    def config_reloads(self) -> int: ...
    @property
    def config_reload_failed(self) -> bool: ...


class Erasing(Protocol):
    """Has payloads of the audit log erased."""

    async def ask(self, identity: Identity, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was erased, or the ticket that somebody else has to approve. Raises `LockgateError`."""

    async def requests(self, identity: Identity, ticket: str | None) -> list[Mapping[str, Any]]:
        """What became of the erasures that the caller asked for, or may approve. Raises `LockgateError`."""


class Accepting(Protocol):
    """Definitions of tools that are pinned."""

    def listed(self, connection: str) -> Sequence[Mapping[str, Any]]:
        """Every tool of a connection, by name."""

    def accept(self, identity: Identity, connection: str, name: str, digest: str, done: Callable[[Any], None]) -> None:
        """Accept the definition with this digest: what it is then, or a `LockgateError`, comes to `done`."""


class Controlled(Protocol):
    """The running gateway."""

    @property
    def accepting(self) -> Accepting: ...
    @property
    def erasures(self) -> Erasing: ...

    @property
    def counters(self) -> CountersView: ...
    @property
    def bounds(self) -> Sequence[float]:
        """Upper bounds of the histograms' buckets, in seconds."""
    @property
    def reviews(self) -> ReviewDesk: ...
    @property
    def verifier(self) -> TokenVerifier: ...
    @property
    def clock(self) -> Clock: ...

    def readiness(self) -> Readiness: ...

    def live_sessions(self) -> Sequence[LiveSession]: ...

    def witness_lag(self) -> float | None:
        """Seconds since a quorum of witnesses cosigned the log, infinite before; None without witnesses."""

    def audit_queue(self) -> int:
        """Records that are accepted and not durable yet."""

    def is_audit_writable(self) -> bool: ...

    def published(self) -> Published:
        """The published log, and who may read it."""

    def reviewer_groups(self) -> frozenset[str]:
        """Every group that some rule names as reviewers."""

    def ready_connections(self) -> Mapping[str, bool]: ...

    def exports(self) -> Sequence[Progress]:
        """How everything stands that is given away continuously."""
