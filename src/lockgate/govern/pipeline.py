"""STUB of the contract (to be implemented)."""
from __future__ import annotations
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from lockgate.model import Decision, Operation

@dataclass(frozen=True, slots=True)
class Planned:
    """What a protocol would do with an allowed operation.

    `forward` are the statement's bytes as they would go on (rewritten where masks demand it) and
    what the record commits to; `digest` is the hex SHA-256 of the mask plan ('' when nothing is
    masked); `carry` is the protocol's own state (lineage, what to rebuild), which the grant gives back.
    """
    forward: bytes
    digest: str = ""
    carry: object = None

@dataclass(slots=True)
class Grant:
    """An operation that identity, policy and review have let through, and that is not recorded yet.

    `record` is the intent's sequence number, set by the record stage.
    """
    operation: Operation
    decision: Decision
    planned: Planned
    ticket: str | None = None
    record: int = -1
    started: float = 0.0
    masked: dict[str, int] = field(default_factory=dict)

class ClearPlan(Protocol):
    """How one result's bytes are masked. `apply` returns the chunk with every due mask applied and
    counts what it hid in `masked`; it may raise: the pipeline turns that into a refusal (I3)."""
    def apply(self, chunk: bytes) -> bytes: ...
