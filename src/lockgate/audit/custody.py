"""Acts of those who run the gateway, each of them on record before it counts.

Blocking, for worker threads and commands: `append` returns when the record is durable, at its index. Acts
take turns, so that a hold that was set is seen by the erasure that comes after it. Who acts is said by the
caller, who knows it from the system or from a token, never by the record that is offered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson

from lockgate.audit.entry import canonical
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.log import AuditLog
from lockgate.errors import AuditError
from lockgate.model import Erasure, Event

OFFERED: Final = frozenset({"export", "recording_view", "verify_run"})
"""Records that a command may ask for as they are; everything else goes with an act of its own."""
_PATIENCE: Final = 30.0     # seconds until a record is durable
REASON: Final = 2_000       # characters

Person = tuple[str, str]
"""Issuer and subject."""


class Custody:
    """One open log, as administrative acts see it. `submit` waits until a record is durable, or raises."""

    def __init__(self, folder: Path, submit: Callable[[Event | Erasure], int]) -> None:
        self.folder = folder
        self.submit = submit
        self.turn = threading.RLock()

    def append(self, event: Event, requester: Person) -> int:
        """Put an `OFFERED` record on the log, with who asked for it. Returns its index."""
        if event.type not in OFFERED:
            raise MalformedEntry(f"{event.type} is not a record that a command may ask for")
        return self.record(event, requester)

    def record(self, event: Event, requester: Person) -> int:
        """As `append`, for acts of this process itself."""
        with self.turn:
            return self.submit(by_whom(event, requester))


def by_whom(event: Event, requester: Person) -> Event:
    """The event with its requester in the payload, whatever it said there before."""
    said: Mapping[str, Any] = {}
    if event.payload:
        try:
            said = orjson.loads(event.payload)
        except orjson.JSONDecodeError:
            raise MalformedEntry("what an act says of itself is a JSON object") from None
        if not isinstance(said, dict):
            raise MalformedEntry("what an act says of itself is a JSON object")
    payload = {name: value for name, value in said.items() if name not in ("requester", "reviewer")}
    return replace(event, payload=canonical({**payload, "requester": list(requester)}))


def submitting(log: AuditLog, enter: Callable[[Callable[[], None]], object]) -> Callable[[Event | Erasure], int]:
    """A `submit` for a log that is driven by another thread: `enter` runs a call there."""

    def submit(record: Event | Erasure) -> int:
        answer: SimpleQueue[int | AuditError] = SimpleQueue()

        def start() -> None:
            index = -1

            def done(error: AuditError | None) -> None:
                answer.put(index if error is None else error)

            try:
                index = log.append(record, done)
            except AuditError as error:
                answer.put(error)

        try:
            enter(start)
            found = answer.get(timeout=_PATIENCE)
        except (Empty, RuntimeError):       # RuntimeError: the driver's loop is closed
            raise AuditError("the record is not durable in time, so it does not count") from None
        if isinstance(found, AuditError):
            raise found
        return found

    return submit
