"""What was decided about one operation, and the refusal that a client gets to read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lockgate.model.policy import (
    UNLIMITED,
    AuditMode,
    ColumnMask,
    DetectMask,
    RequestCheck,
    ReviewTerms,
    RowLimits,
)


class Effect(StrEnum):
    """The outcome of policy, before a person was asked."""

    ALLOW = "allow"
    REVIEW = "review"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """Policy's answer for one operation, with every obligation that comes with it.

    `rules` names the rules that brought the effect about; `masks` and `detects` are in force
    whatever the effect. `policy_hash` is the hex SHA-256 of the configuration's policies.
    `limit_rules` names the rule behind each bound of `limits`, as (bound, rule) pairs. `wants` names facts
    that the operation lacks and on which rules hang that were left aside: the decision is the most
    lenient one that can come of them, so a deny is final and anything else is not.
    """

    effect: Effect
    rules: tuple[str, ...]
    reason: str
    policy_hash: str
    masks: tuple[ColumnMask, ...] = ()
    detects: tuple[DetectMask, ...] = ()
    requests: tuple[RequestCheck, ...] = ()
    limits: RowLimits = UNLIMITED
    limit_rules: tuple[tuple[str, str], ...] = ()
    notice: bool = False
    review: ReviewTerms | None = None
    audit: AuditMode = AuditMode.FULL
    wants: frozenset[str] = frozenset()

    @property
    def looks_at_requests(self) -> bool:
        """Whether what a client sends is looked at: a mask could come back, or a detector has something to find."""
        return bool(self.requests or self.masks or self.detects)


class RefusalCode(StrEnum):
    """Why something was refused; each protocol words these in its own error codes."""

    DENIED = "denied"                          # policy
    REVIEW_PENDING = "review_pending"          # mode: ticket; ask, then retry
    REVIEW_DENIED = "review_denied"            # a person said no
    REVIEW_EXPIRED = "review_expired"          # nobody decided in time, or the request was withdrawn
    UNAUTHENTICATED = "unauthenticated"        # the token was not accepted
    EXPIRED = "expired"                        # the identity's token ran out
    NOT_UNDERSTOOD = "not_understood"          # cannot be parsed or resolved (I4)
    NOT_ENFORCEABLE = "not_enforceable"        # a mask is due that this statement shape cannot carry
    UNKNOWN_OBJECT = "unknown_object"          # the backend has no such relation
    UNKNOWN_COLUMN = "unknown_column"          # … or no such column
    TOO_LARGE = "too_large"                    # a statement or row beyond `limits`
    UNLISTED = "unlisted"                      # the API's own description has no such operation
    LIMITED = "limited"                        # as many requests or bytes as policy lets a task have
    UNSUPPORTED = "unsupported"                # refused whatever the policy says
    AUDIT_UNAVAILABLE = "audit_unavailable"    # the log cannot be written
    BACKEND_UNAVAILABLE = "backend_unavailable"  # not reached, or it refused the gateway
    SHUTTING_DOWN = "shutting_down"            # the gateway ends, or this connection was changed
    INTERNAL = "internal"                      # a stage raised; fail closed


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that goes no further, worded so that an agent can act on it.

    `reason` and `hint` are shown to the client: they name no column or rule that the caller may
    not know of. `rule` is the deciding rule's name, `ticket` the review to ask about. `cause` is for those who run the
    gateway (its log, `lockgate check`) and is never sent to a client. `retry_after` are seconds after which the same
    request may go through.
    """

    code: RefusalCode
    reason: str
    rule: str | None = None
    ticket: str | None = None
    hint: str | None = None
    cause: str | None = None
    retry_after: int | None = None
