"""What the pipeline and a protocol hand to each other about one request.

Apart from the stages so that the protocol contract can speak of a grant without knowing how one
comes about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lockgate.govern.budget import TaskSpent
from lockgate.govern.pending import Pending
from lockgate.model import Decision, Operation, Refusal


@dataclass(frozen=True, slots=True)
class Planned:
    """What a protocol would do with an allowed operation.

    `forward` are the statement's bytes as they would go on (rewritten where masks demand it) and
    what the record commits to; `digest` is the hex SHA-256 of the mask plan ('' when nothing is
    masked); `carry` is the protocol's own state (lineage, what to rebuild), which the grant gives back; `lookups`
    are comparisons with protected columns that count: (label, bound per hour, 0 for none), one for each constant.
    `noted` are things found in the request that go on record, one name for each. `reading` and `context` are more of the
    operation's, of what costs too much to be made unless a person is asked: where one is, they are part of what is asked.
    """

    forward: bytes
    digest: str = ""
    carry: object = None
    lookups: tuple[tuple[str, int], ...] = ()
    noted: tuple[str, ...] = ()
    reading: str = ""
    context: tuple[str, ...] = ()


@dataclass(slots=True)
class Grant:
    """An operation that identity, policy and review have let through, and that is not recorded yet.

    `record` is the intent's sequence number, set by the record stage; `masked` counts hidden values
    by detector or ``column``; `is_settled` is set with the outcome. `task` counts what the caller's
    task gets, where the decision bounds it; `told` are the bytes of it that this request got.
    """

    operation: Operation
    decision: Decision
    planned: Planned
    ticket: str | None = None
    record: int = -1
    started: float = 0.0
    masked: dict[str, int] = field(default_factory=dict)
    is_settled: bool = False
    task: TaskSpent | None = None
    told: int = 0

    def tell(self, sent: int) -> None:
        """Count content as it leaves: `sent` bytes by now, over the whole answer."""
        if self.task is not None:
            self.task.bytes += sent - self.told
            self.told = sent


@dataclass(slots=True)
class Tally:
    """What a session has come to, whatever connections of its caller its requests came over."""

    statements: int = 0
    rows: int = 0
    has_ended: bool = False


class ClearPlan(Protocol):
    """How one result's bytes are masked.

    `apply` returns the chunk with every due mask applied and adds what it hid to `masked`; it may
    raise: the pipeline turns that into a refusal (I3).
    """

    masked: dict[str, int]

    def apply(self, chunk: bytes) -> bytes: ...


class Held(Pending[Grant | Refusal]):
    """A request that waits for a person. `ticket` is what to tell the client to ask about; `postpone` sends the
    client away with it."""

    __slots__ = ("postpone", "ticket")

    def __init__(self, ticket: str, postpone: Callable[[], None]) -> None:
        super().__init__()
        self.ticket = ticket
        self.postpone = postpone
