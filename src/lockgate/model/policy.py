"""What policies say, as values: read by `config`, compiled and applied by `govern.policy`.

Composition is independent of order (see `govern.policy`): no allow means denied, any deny wins
over any review, a review wins over allow; masks add up and the strongest wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class AuditMode(StrEnum):
    """How durable an intent must be before its request is forwarded (I2)."""

    ASYNC = "async"
    FULL = "full"


class MaskMethod(IntEnum):
    """How a value is hidden; the order is strength, so `max()` composes two masks."""

    PARTIAL = 1
    REDACT = 2
    NULL = 3


class ReviewMode(StrEnum):
    """Whether the client waits (`hold`) or is refused at once with a ticket (`ticket`)."""

    HOLD = "hold"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a rule speaks of. Empty sets match everyone; several kinds must all match."""

    groups: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ColumnMask:
    """Columns to hide, by glob over ``schema.relation.column`` from the right: ``*.ssn`` is every
    column ssn, ``customers.ssn`` that of any schema's customers, ``crm.*.ssn`` one schema's.
    """

    columns: tuple[str, ...]
    method: MaskMethod


@dataclass(frozen=True, slots=True)
class DetectMask:
    """Content to hide wherever it appears in results, by detector name (``credit_card``)."""

    detectors: tuple[str, ...]
    method: MaskMethod


@dataclass(frozen=True, slots=True)
class CustomDetector:
    """A detector that a policy brings: a regular expression over bytes, and where it applies.

    What the pattern's group matches is hidden, or all of it where it has none. `validator` names
    arithmetic that a match must also pass. `columns` (globs as in `ColumnMask`), `types` (``text``,
    ``int8``) and the length of the value in bytes narrow where it looks; what is not known about a
    column narrows nothing. Under `partial` the last `keep` bytes stay readable, at most half.
    """

    name: str
    pattern: str
    validator: str | None = None
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int | None = None
    keep: int = 0


@dataclass(frozen=True, slots=True)
class ReviewTerms:
    """Who may decide (groups), for how long a ticket lives (seconds), and whether the client waits.

    Where several rules ask for a review, one person has to satisfy them all: they must be in one
    group of `by` and in one group of every set in `also`.
    """

    by: frozenset[str]
    expires: float
    mode: ReviewMode = ReviewMode.HOLD
    also: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `policies`. Exactly what it names is in force; the rest is None or empty.

    `allow` admits sessions to the connections and the operations that satisfy `when`; `deny` is
    the reason shown; `when` is a CEL condition; `origin` is ``file:line`` for messages.
    """

    name: str
    who: Who = Who()
    connections: tuple[str, ...] = ()
    when: str | None = None
    allow: bool = False
    deny: str | None = None
    review: ReviewTerms | None = None
    masks: tuple[ColumnMask, ...] = ()
    detects: tuple[DetectMask, ...] = ()
    audit: AuditMode | None = None
    origin: str = ""
