"""Which entries are read of which log: of the one in a folder, or of several shards of a fleet, one after another.

A snapshot is open only while its portion is read, so that a fleet of many shards takes one connection at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.sqlite import open_source


@dataclass(frozen=True, slots=True)
class Portion:
    """The entries from `first` to `last`, both included, of the log in a folder; None: up to the newest."""

    folder: Path
    shard: int | None = None
    """Its number in a fleet; None for a log in a file."""
    first: int = 0
    last: int | None = None

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """A snapshot of the log. Raises `AuditError`."""
        with open_source(self.folder) as source:
            yield source
