"""The records of a package in the order of the log, each with what is disclosed of it, past all that judges them.

Apart from `package`, which knows where in an archive they are, because this is the loop that every record goes through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lockgate.audit.evidence.archive import Member
from lockgate.audit.evidence.contents import Contents, PlacedLeaf, Runs, root_after
from lockgate.audit.evidence.disclosed import Disclosed, DisclosedPayload
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.merkle import Frontier
from lockgate.audit.evidence.report import Report
from lockgate.audit.evidence.scope import ScopeCheck
from lockgate.audit.evidence.streams import StreamBook


class Records:
    """Takes every record once. `payloads` come in the order of the log, as the records do."""

    def __init__(
        self, report: Report, manifest: Mapping[str, Any], members: Mapping[str, Member], withheld: Runs,
        payloads: Iterator[DisclosedPayload],
    ) -> None:
        self.contents = Contents(report, manifest["first"], withheld)
        self.scope = ScopeCheck(manifest)
        self.streams = StreamBook(members)
        self._first: int = manifest["first"]
        self._last: int = manifest["last"]
        self._payloads = payloads
        self._pending = next(payloads, None)

    def take(self, placed: PlacedLeaf) -> None:
        """A record outside the range."""
        self._take(placed, self._disclosed(placed.at))

    def take_inside(self, index: int, leaf: bytes, digest: bytes, tree: Frontier, more: list[bytes]) -> None:
        """A record of the range. What is before it is a tree and some of the leaf hashes that come after that."""
        disclosed = self._disclosed(index)
        # What the question begins and ends with concerns its scope too.
        if index in (self._first, self._last) or not self.contents.follows(index, leaf, digest, disclosed):
            root = root_after(tree.copy, more[:index - tree.size])
            self._take(PlacedLeaf(index, leaf, digest, False, root), disclosed)

    def finish(self) -> None:
        """After the last record: nothing is disclosed of entries that are not here."""
        if self._pending is not None:
            raise EvidenceError("payloads", "a payload of an entry that is not here", self._pending.at)

    def _disclosed(self, index: int) -> Disclosed | None:
        pending = self._pending
        if pending is None or pending.at > index:
            return None
        if pending.at < index:
            raise EvidenceError("payloads", "a payload of an entry that is not here", pending.at)
        self._pending = next(self._payloads, None)
        return pending.disclosed

    def _take(self, placed: PlacedLeaf, disclosed: Disclosed | None) -> None:
        record = self.contents.take(placed, disclosed)
        if record is not None:
            self.scope.take(placed.at, record, placed.is_extra)
            if not placed.is_extra:
                self.streams.take(placed.at, record)
