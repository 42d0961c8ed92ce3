"""A question put to a person: what they see, and what their answer is bound to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReviewState(StrEnum):
    """Life of a ticket. Only `approved` lets a request through, once, and before `expires_at`."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Review:
    """One ticket. `binding` is the hex SHA-256 over identity, connection, policy hash, statement
    and parameters: an approval serves only a request with the same binding. Times are Unix seconds.
    The reviewer must be in one of `reviewer_groups`, and in one group of each set in `also_groups`.
    """

    ticket: str
    binding: str
    state: ReviewState
    requester_issuer: str
    requester_subject: str
    requester_agent: str | None
    connection: str
    session: str
    text: str
    parameters: tuple[str | None, ...]
    rules: tuple[str, ...]
    reviewer_groups: tuple[str, ...]
    policy_hash: str
    created_at: float
    expires_at: float
    reviewer_issuer: str | None = None
    reviewer_subject: str | None = None
    decided_at: float | None = None
    comment: str | None = None
    also_groups: tuple[tuple[str, ...], ...] = ()
    context: tuple[str, ...] = ()
    """What the session did before that may change what `text` means; part of the binding."""


ERASURE_RULE = "audit.erasure"
"""The rule of a ticket that an erasure of the audit log waits for."""


class ErasureState(StrEnum):
    """Where an erasure stands that somebody else has to approve."""

    PENDING = "pending"
    APPROVED = "approved"
    ERASED = "erased"
    REFUSED = "refused"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ENDED = "ended"

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self in (ErasureState.PENDING, ErasureState.APPROVED)
