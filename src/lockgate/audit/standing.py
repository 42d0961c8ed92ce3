"""What the log itself says about its payloads by now: which ones were erased, and which ones are held.

Read from the log and from nothing else, so that it survives restarts and is the same for whoever has the
log. `advance` reads only what was appended since the last time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from lockgate.audit.entry import parse
from lockgate.audit.evidence.erasures import Destroyed, HoldBook, erased_ranges
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.storage.contract import Head
from lockgate.errors import AuditError

_KINDS: Final = (b'"type":"erasure"', b'"type":"legal_hold"')


class Records(Protocol):
    """What of a `Source` is needed here; an evidence package has it as well."""

    def head(self) -> Head:
        """As `Source.head`."""

    def leaves(
        self, first: int = 0, last: int | None = None, containing: tuple[bytes, ...] = (),
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """As `Source.leaves`."""


class Standing:
    """Erasures and holds up to `size`."""

    def __init__(self) -> None:
        self.size = 0
        self.destroyed = Destroyed()
        self.holds = HoldBook()
        self.setters: dict[str, int] = {}
        """Hold → the entry that set it."""

    def advance(self, source: Records) -> None:
        """Take what the log has had since. Raises `AuditError` where it is damaged."""
        size = source.head().size
        if size <= self.size:
            return
        for kind in _KINDS:
            for index, record in read(source, self.size, size - 1, kind):
                self._take(index, record)
        self.size = size

    def _take(self, index: int, record: dict[str, Any]) -> None:
        if record["type"] == "erasure":
            ranges = erased_ranges(record)
            if ranges is None:
                raise AuditError(f"entry {index} is damaged", advice="run `lockgate audit verify`")
            self.destroyed.add(index, ranges)
        elif record["type"] == "legal_hold":
            problem = self.holds.take(record)
            if problem is not None:
                raise AuditError(f"entry {index}: {problem}", advice="run `lockgate audit verify`")
            name = record["data"]["hold"]
            if record["data"]["action"] == "set":
                self.setters[name] = index
            else:
                del self.setters[name]


def read(source: Records, first: int, last: int | None, *containing: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and record of the leaves that contain all of these strings."""
    for index, _, leaf in source.leaves(first, last, containing):
        try:
            yield index, parse(bytes(leaf))
        except MalformedEntry as error:
            raise AuditError(f"entry {index}: {error}", advice="run `lockgate audit verify`") from None
