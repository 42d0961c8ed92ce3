"""What policies say, as values: read by `config`, compiled and applied by `govern.policy`.

Composition is independent of order (see `govern.policy`): no allow means denied, any deny wins
over any review, a review wins over allow; masks add up and the strongest wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class AuditMode(StrEnum):
    """How durable an intent must be before its request is forwarded (I2)."""

    ASYNC = "async"
    FULL = "full"


class MaskMethod(IntEnum):
    """How a value is hidden; the order is strength, so `max()` composes two masks.

    `PARTIAL`, `REDACT` and `NULL` need no key. The others do: the same value gives the same mask
    under one key, so that masked values can still be counted, grouped and joined by the agent.
    """

    PARTIAL = 1
    DATE_SHIFT = 2
    FPE = 3
    TOKEN = 4
    HASH = 5
    FAKE = 6
    REDACT = 7
    NULL = 8


class Predicates(IntEnum):
    """What a statement may do with a masked column besides showing it (WHERE, JOIN, ORDER BY …).

    The order is strictness, so `max()` composes two masks.
    """

    ALLOW = 1           # compare with the real values; on record
    EQUALITY = 2        # with constants only, counted and limited in rate
    MASKED = 3          # compare with the masks, as if they were the values
    REFUSE = 4          # a clear error, so that nobody takes "no rows" for a fact


class KeyScope(IntEnum):
    """How far one key of a deterministic mask reaches; the order is strictness."""

    CONNECTION = 1      # the same mask in every task: joinable across them
    TASK = 2            # another one in every task: no frequency can be gathered over time


class RequestAction(IntEnum):
    """What happens when a detector finds something in what an agent *sends*; the order is strength."""

    RECORD = 1
    MASK = 2
    BLOCK = 3


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
    """Columns to hide: those that one of `columns`, `names`, `types` names, or new ones.

    `columns` are globs over ``schema.relation.column`` from the right: ``*.ssn`` is every column ssn,
    ``customers.ssn`` that of any schema's customers, ``crm.*.ssn`` one schema's; with four parts the
    first is the connection's name. `names` are regular expressions (RE2, searched) over a column's
    name, `types` globs over its type's name. With `is_new` it names every column that the
    connection's list of known columns does not hold. `paths` (JSON paths) hide parts of json and
    jsonb values and leave the rest. `label` is what the column is called in notices and records.
    `lookups` bounds equality predicates per hour and identity (0: none). `returns` lets tokens that
    the gateway has given out come back as the values that they stand for.
    """

    columns: tuple[str, ...]
    method: MaskMethod
    predicates: Predicates = Predicates.REFUSE
    label: str = ""
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    scope: KeyScope = KeyScope.TASK
    is_new: bool = False
    lookups: int = 0
    returns: bool = False
    rule: str = ""


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
class DetectMask:
    """Content to hide wherever it appears in results, by detector name (``credit_card``). `customs` are those of the
    policy's own detectors that are named."""

    detectors: tuple[str, ...]
    method: MaskMethod
    customs: tuple[CustomDetector, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestCheck:
    """Content to look for in what an agent sends (statements, parameters, COPY data), by detector name."""

    detectors: tuple[str, ...]
    action: RequestAction
    customs: tuple[CustomDetector, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """At most `count` requests in `seconds`. `rule` is whose it is, set by composition: each rule counts for itself."""

    count: int
    seconds: int
    rule: str = ""


@dataclass(frozen=True, slots=True)
class RowLimits:
    """Bounds on rows, requests and bytes; None is no bound. The smallest of all rules counts, and every rate.

    `rows`: delivered by one statement. `task_rows`: delivered to one task (an identity's agent on a
    connection) over all its sessions, while the gateway runs. `changed`: inserted, updated or deleted
    by one statement. `bytes`: of content, answered to one task. `rates`: of the requests of one task.
    """

    rows: int | None = None
    task_rows: int | None = None
    changed: int | None = None
    bytes: int | None = None
    rates: tuple[Rate, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates) or not (self.rows is None and self.task_rows is None and self.changed is None
                                        and self.bytes is None)


UNLIMITED: Final = RowLimits()


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
    the reason shown; `when` is a CEL condition; `notice` tells the client which columns of a result
    are masked; `record` records whole sessions, `record_raw` what passes at the backend's end as well; `origin` is ``file:line`` for messages.
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
    requests: tuple[RequestCheck, ...] = ()
    limits: RowLimits = UNLIMITED
    notice: bool = False
    audit: AuditMode | None = None
    record: bool = False
    record_raw: bool = False
    origin: str = ""

    @property
    def restricts(self) -> bool:
        """Whether it says anything besides `allow`."""
        return bool(self.deny is not None or self.review or self.masks or self.detects or self.requests
                    or self.limits or self.notice or self.audit or self.record)
