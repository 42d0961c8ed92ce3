"""What the audit log is told: plain values, before they become canonical leaves.

Leaves hold opaque ids and salted commitments only; `payload` is what is committed to and kept
beside the log (see `audit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class OutcomeStatus(StrEnum):
    """How a forwarded request ended."""

    OK = "ok"
    ERROR = "error"            # the backend answered with an error
    REFUSED = "refused"        # the gateway stopped the result (a mask could not be applied)
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"        # crash or lost connection: the backend may have executed it


@dataclass(frozen=True, slots=True)
class SessionStart:
    """A login that policy admitted. `session` is an opaque random id (hex)."""

    session: str
    issuer: str
    subject: str
    agent: str | None
    model: str | None
    client_id: str | None
    groups: tuple[str, ...]
    token_hash: str
    connection: str
    protocol: str
    peer: str
    policy_hash: str
    claims: Mapping[str, str] = field(default_factory=dict)   # e.g. the task that the client claims
    certificate: str | None = None      # hex SHA-256 of the certificate that the client has shown


@dataclass(frozen=True, slots=True)
class Intent:
    """One request that is about to be forwarded, or was refused (`decision` deny)."""

    session: str
    kind: str
    verbs: tuple[str, ...]
    decision: str
    rules: tuple[str, ...]
    policy_hash: str
    objects: tuple[str, ...]
    text: str                           # payload: the view that policy and reviewer saw
    parameters: tuple[str | None, ...]  # payload
    forwarded: bytes                    # payload: the exact bytes sent on; empty when refused
    mask_plan: str = ""                 # hex SHA-256 of the mask plan, empty when none
    ticket: str | None = None
    refusal: str | None = None
    binding: str | None = None          # of a request that goes on by a ticket: what this very request binds to
    reading: str = ""                   # payload, with a binding: the two other things that it covers
    context: tuple[str, ...] = ()
    peer: str = ""                      # payload: where the client is (``ip:port``), if not where the session was begun


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the request with the intent `record` ended. `duration` in seconds."""

    session: str
    record: int
    status: OutcomeStatus
    rows: int = 0
    sent: int = 0
    masked: Mapping[str, int] = field(default_factory=dict)
    duration: float = 0.0
    code: str = ""                      # the backend's error code (SQLSTATE), never its text


@dataclass(frozen=True, slots=True)
class Event:
    """Anything else the log must hold: `config_change`, `review_request`, `review`, `cancel` …"""

    type: str
    fields: Mapping[str, object]
    session: str | None = None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The log goes on with another key, which is ready. `actor` is a pair (issuer, subject)."""

    actor: tuple[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """Payloads of log entries are destroyed, in one transaction with the record that says so.

    `ranges` are first and last index, both included, ascending and apart. `cause` is ``subject``, ``record``
    or ``retention``. People are pairs (issuer, subject). With a `reviewer` the erasure was asked for by
    `ticket`, and `rest` continues the chain of hashes that the ticket is bound to (see `audit.erasing`).
    """

    cause: str
    ranges: tuple[tuple[int, int], ...]
    requester: tuple[str, str]
    reason: str
    reviewer: tuple[str, str] | None = None
    ticket: str | None = None
    rest: str = ""
