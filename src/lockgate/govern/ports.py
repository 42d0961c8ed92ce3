"""What the pipeline needs from the outside, as interfaces. `app` plugs in the real things.

`Recorder` is the audit log (`lockgate.audit.AuditLog`), `ReviewStore` the runtime state
(`lockgate.store`). Both are called on the driver's thread and call back on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from lockgate.errors import AuditError
from lockgate.govern.identity import ShownCertificate
from lockgate.model import Event, Identity, Intent, Outcome, Review, SessionStart

Done = Callable[[AuditError | None], None]
"""Called once, on the driver's thread: None when the record is durable, else why it is not."""


class Recorder(Protocol):
    """The audit log. Every call may raise `AuditError` at once (overload, poisoned): fail closed."""

    @property
    def is_writable(self) -> bool:
        """False once the log is poisoned or its disk is full: nothing may be forwarded."""

    @property
    def is_congested(self) -> bool:
        """True while more than half of the queue is taken: new senders should wait for durability."""

    def begin_session(self, start: SessionStart, done: Done) -> None:
        """Append `session_begin`; the session's sequence starts at 0 with it."""

    def intent(self, intent: Intent, done: Done | None) -> int:
        """Queue an intent inside the stated bound; returns its sequence number in the session.

        With `done` the caller waits for durability (`audit: full`); without, the record is queued
        and follows (`audit: async`).
        """

    def outcome(self, outcome: Outcome) -> None:
        """Queue the outcome of an intent."""

    def event(self, event: Event, done: Done | None = None) -> None:
        """Queue any other record."""

    def end_session(self, session: str, cause: str) -> None:
        """Queue `session_end`; the session takes no records afterwards."""


class ReviewStore(Protocol):
    """Tickets that outlive a process. Calls are short and synchronous."""

    def create(self, review: Review) -> None: ...

    def get(self, ticket: str) -> Review | None: ...

    def standing(self, binding: str, now: float) -> Review | None:
        """The unexpired ticket that answers a request with this binding: an approved one before a pending one before a
        denied one, the newest first."""

    def transition(self, review: Review, expected: str) -> bool:
        """Store `review` if the stored state still is `expected` (compare and swap)."""

    def list(self, *, states: Sequence[str], limit: int) -> list[Review]: ...


class TokenVerifier(Protocol):
    """Checks tokens against the configured providers (`lockgate.govern.identity`)."""

    def authenticate(
        self, token: str, callback: Callable[[Identity | Exception], None], certificate: ShownCertificate | None = None,
    ) -> None:
        """Calls back once, on the driver's thread, with the identity or an `IdentityError`. `certificate`: what the client
        has shown, for a token that is bound to one."""


class Clock(Protocol):
    """Unix seconds (`now`) and a clock that never steps (`monotonic`), injected for tests."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...
