"""What the records of a package say, taken in the order of the log: grammar, sessions, payloads, erasures.

Fed leaf by leaf with what is disclosed of each, so memory is bounded by what is open at one time, and by
the number of times that disclosed, withheld and undisclosed payloads take turns. What needs other
entries again (was an erased one on hold, was a payload that was erased disclosed) is asked in a second
look over the leaves, which is only taken where the log tells of an erasure.
"""

from __future__ import annotations

import hmac
from binascii import hexlify
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lockgate.audit.evidence.bindings import BindingBook
from lockgate.audit.evidence.disclosed import Disclosed, is_object, payload_commitment, payload_digest
from lockgate.audit.evidence.erasures import (
    Destroyed,
    HoldBook,
    RangeSweep,
    TicketHolds,
    erased_ranges,
    is_period_over,
)
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import parse_leaf, read_json
from lockgate.audit.evidence.ledger import LogLedger
from lockgate.audit.evidence.merkle import Frontier
from lockgate.audit.evidence.report import Report, Verdict, counted

_NAMED_MISSING = 100    # missing payloads that are named one by one


class PlacedLeaf:
    """A leaf at its place. `is_extra` where it stands outside the package's range; else `root` tells the root of what
    is before it, until the next leaf is asked for.
    """

    __slots__ = ("at", "digest", "is_extra", "leaf", "root")

    def __init__(
        self, at: int, leaf: bytes, digest: bytes, is_extra: bool, root: Callable[[], bytes] | None = None,
    ) -> None:
        self.at = at
        self.leaf = leaf
        self.digest = digest
        self.is_extra = is_extra
        self.root = root


class Runs:
    """Indices in ascending order as ranges. A range goes on until `cut`, whatever indices lie between."""

    def __init__(self) -> None:
        self.ranges: list[list[int]] = []
        self._is_open = False
        self._found = (0, -1)       # the range that `holds` found last, as it was then

    def add(self, index: int) -> None:
        """The next index."""
        if self._is_open:
            self.ranges[-1][1] = index
        else:
            self.ranges.append([index, index])
            self._is_open = True

    def cut(self) -> None:
        """What comes next is a range of its own."""
        self._is_open = False

    def holds(self, index: int) -> bool:
        """Whether an index lies in a range."""
        if self._found[0] <= index <= self._found[1]:
            return True
        at = bisect_right(self.ranges, [index, 1 << 62]) - 1
        if at < 0 or not self.ranges[at][0] <= index <= self.ranges[at][1]:
            return False
        self._found = (self.ranges[at][0], self.ranges[at][1])
        return True


def root_after(before: Callable[[], Frontier], digests: list[bytes]) -> Callable[[], bytes]:
    """Tells the root of a tree with some leaf hashes more."""
    return lambda: before().root_with(digests)


class _HeldErasure(NamedTuple):
    """An erasure, the holds that stood when it was recorded, and where it is a retention the periods in force (what
    was configured; an empty list where the range does not say).
    """

    at: int
    ranges: list[tuple[int, int]]
    holds: HoldBook
    time: int
    is_retention: bool
    period: Any


class Contents:
    """One pass over the records. `withheld` are the manifest's ranges, None where there are no payloads at all;
    `first` is the range's first index.
    """

    def __init__(self, report: Report, first: int, withheld: Runs | None) -> None:
        self.report = report
        self.ledger: LogLedger | None = LogLedger(first, remembers=True)
        self.found_withheld, self._opened, self._pending = Runs(), Runs(), Runs()
        self._last = self._pending
        self._withheld = withheld
        self._destroyed = Destroyed()
        self._erasures: list[_HeldErasure] = []
        self._holds = HoldBook(is_whole=first == 0)
        self._bindings = BindingBook()
        self._blamed: set[tuple[str, int]] = set()
        self._period: object = None if first == 0 else []

    # ------------------------------------------------------------ one record

    def follows(self, index: int, leaf: bytes, digest: bytes, disclosed: Disclosed | None) -> bool:
        """Take a leaf that is ordinary, and as it must be with what is disclosed of it. False, with nothing taken, for
        any other: `take` has to say what it is.
        """
        ledger = self.ledger
        if ledger is None or not ledger.follows(index, leaf):
            return False
        seen = ledger.seen
        if seen.is_request:
            if disclosed is not None and self._withheld is not None:
                payload = disclosed.payload
                if hexlify(payload_digest(disclosed.salt, payload)) != seen.commitment or len(payload) != seen.size \
                        or not is_object(payload):
                    return False
                self.report.payloads += 1
            self._account(index, disclosed is not None)
        elif disclosed is not None:
            return False
        ledger.advance(index, digest)
        return True

    def take_all(
        self, first: int, leaves: list[bytes], digests: list[bytes], before: Callable[[], Frontier],
    ) -> None:
        """Leaves of which nothing is disclosed, one after the other; `before` is the tree before the first."""
        for at in range(len(leaves)):
            if not self.follows(first + at, leaves[at], digests[at], None):
                root = root_after(before, digests[:at])
                self.take(PlacedLeaf(first + at, leaves[at], digests[at], False, root), None)

    def follow_all(
        self, tree: Frontier, leaves: list[bytes], digests: list[bytes], disclosed: list[Disclosed | None], first: int,
        stop: int,
    ) -> int:
        """Take those from `first` to `stop`, excluded, of the leaves that come next in a tree, each with what is disclosed
        of it, as far as they follow. How many.
        """
        for at in range(first, stop):
            if not self.follows(tree.size, leaves[at], digests[at], disclosed[at]):
                return at - first
            tree.append(digests[at])
        return max(0, stop - first)

    def take(self, placed: PlacedLeaf, disclosed: Disclosed | None) -> dict[str, Any] | None:
        """One leaf and what is disclosed of it. Returns the record, or None where the leaf is none."""
        index = placed.at
        try:
            record = parse_leaf(placed.leaf)
        except EvidenceError as error:
            self.report.find(error.check, Verdict.TAMPERED, error.message, index)
            self.ledger = None
            return None
        if self.ledger is not None:
            self._grammar(self.ledger, placed, record)
        kind = record["type"]
        if kind in ("erasure", "legal_hold"):
            self._disposal(index, kind, record)
        elif kind in ("node_start", "config_change"):
            data = record.get("data")
            if isinstance(data, dict) and (kind == "node_start" or "retention" in data):
                self._period = data.get("retention")
        self._payload(index, record, disclosed)
        if kind == "session_end":
            self._bindings.end(record["sid"])
        return record

    def _grammar(self, ledger: LogLedger, placed: PlacedLeaf, record: dict[str, Any]) -> None:
        try:
            if placed.is_extra:
                ledger.take_extra(placed.at, record)
            else:
                ledger.root = placed.root
                ledger.ended.clear()        # left until the next one, for who compares them with an index
                ledger.take(placed.at, record, placed.digest)
            while ledger.unrooted:
                self.report.blame(ledger.unrooted.pop())
        except EvidenceError as error:
            self.report.blame(error)
            self.ledger = None

    def _disposal(self, index: int, kind: str, record: dict[str, Any]) -> None:
        if kind == "legal_hold":
            self._holds.take(record)
            return
        ranges = erased_ranges(record)
        if ranges is not None:      # the grammar has said so where it is None
            self._destroyed.add(index, ranges)
            self._erasures.append(_HeldErasure(index, ranges, self._holds.copy(), record["time"],
                                               record["data"].get("cause") == "retention", self._period))

    # ------------------------------------------------------------ payloads

    def _payload(self, index: int, record: dict[str, Any], disclosed: Disclosed | None) -> None:
        said = record.get("payload")
        if said is None:
            if disclosed is not None:
                self.report.find("payloads", Verdict.TAMPERED, "a payload of an entry that has none", index)
            return
        if "kept" in said:
            self.report.unkept += 1
            if disclosed is not None:
                self.report.find("payloads", Verdict.TAMPERED, "a payload that was said not to be kept", index)
            return
        if self._withheld is not None and disclosed is not None:
            self._open(index, record, disclosed)
        self._account(index, disclosed is not None)

    def _account(self, index: int, is_disclosed: bool) -> None:
        """What became of a payload that there is."""
        if self._withheld is None:
            self.report.withheld += 1
            return
        if is_disclosed:
            state = self._opened
        elif self._withheld.holds(index):
            state = self.found_withheld
            self.report.withheld += 1
        else:
            state = self._pending
        if state is not self._last:
            self._last.cut()
            self._last = state
        state.add(index)

    def _open(self, index: int, record: dict[str, Any], disclosed: Disclosed) -> None:
        said, payload = record["payload"], disclosed.payload
        if not hmac.compare_digest(payload_commitment(disclosed.salt, payload), said["commitment"]):
            self.report.find("payloads", Verdict.TAMPERED, "the payload is not the one that was committed to", index)
            return
        if len(payload) != said["size"]:
            self.report.find("payloads", Verdict.TAMPERED, "the payload has another size than recorded", index)
            return
        self.report.payloads += 1
        try:
            content = read_json(payload)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            self.report.find("payloads", Verdict.TAMPERED, "the payload is not a JSON object", index)
            return
        self._compare(index, record, content)

    def _compare(self, index: int, record: dict[str, Any], content: dict[str, Any]) -> None:
        """What a disclosed payload says against what its leaf, its session and its review say."""
        if self._bindings.concerns(record):
            for problem in self._bindings.take(record, content):
                self.report.find("binding", Verdict.TAMPERED, problem, index)

    # ------------------------------------------------------------ after the last record

    @property
    def is_second_look_due(self) -> bool:
        """Whether `look_again` has something to look for."""
        return bool(self._erasures or self._pending.ranges)

    def erased_by(self, index: int) -> int | None:
        """The erasure that names an entry, or None."""
        return self._destroyed.by(index)

    def look_again(self, leaves: Iterable[PlacedLeaf]) -> None:
        """All leaves once more: each payload that is not there was erased, or is MISSING; each that was erased is
        not there, and was not on hold.
        """
        naming = RangeSweep([(first, last, number) for number, erasure in enumerate(self._erasures)
                             for first, last in erasure.ranges])
        owners: dict[str, str] = {}
        tickets = TicketHolds()
        missing = 0
        for placed in leaves:
            index = placed.at
            try:
                record = parse_leaf(placed.leaf)
            except EvidenceError:
                continue        # the grammar has said so
            if record["type"] == "session_begin":
                owners[record["sid"]] = record["principal"]
            if "ticket" in record or record["type"] == "review_request":
                tickets.name(index, record)
            by = self._destroyed.by(index)
            if by is not None:
                numbers = naming.at(index)
                for number in numbers:
                    tickets.destroy(index, record, number)
                erasures = [self._erasures[number] for number in numbers]
                self._forbidden(erasures, index, record, owners)
                self._too_early(erasures, index, record)
            said = record.get("payload")
            if said is None or "kept" in said:
                continue
            if self._withheld is None:
                if by is not None:
                    self.report.erased[by] = self.report.erased.get(by, 0) + 1
                    self.report.withheld -= 1
            elif self._pending.holds(index):
                if by is not None:
                    self.report.erased[by] = self.report.erased.get(by, 0) + 1
                elif missing < _NAMED_MISSING:
                    missing += 1
                    self.report.find("payloads", Verdict.INCOMPLETE, "the entry's payload is MISSING", index)
            elif by is not None:
                self.report.find("erasure", Verdict.TAMPERED,
                                 f"the payload was erased by record {by}, and is disclosed or withheld here", index)
        for index, number, name in tickets.forbidden(
                {place: (erasure.at, erasure.holds) for place, erasure in enumerate(self._erasures)}):
            self._held(self._erasures[number], index, name)

    def _too_early(self, erasures: list[_HeldErasure], index: int, record: dict[str, Any]) -> None:
        """A retention is of what was older than a period that was in force; every entry of it was."""
        for erasure in erasures:
            if erasure.is_retention and erasure.period != [] and not is_period_over(
                    record, erasure.period, erasure.time, is_last=erasure.ranges[-1][1] == index):
                self._blame(erasure, "erasure", "erased as older than a period that was not in force, or not over")

    def _blame(self, erasure: _HeldErasure, check: str, message: str) -> None:
        """A finding at an erasure, once for each check."""
        if (check, erasure.at) not in self._blamed:
            self._blamed.add((check, erasure.at))
            self.report.find(check, Verdict.TAMPERED, message, erasure.at)

    def _forbidden(
        self, erasures: list[_HeldErasure], index: int, record: dict[str, Any], owners: dict[str, str]
    ) -> None:
        """An erasure of what was on hold."""
        if "payload" not in record and record["type"] != "rec_mark":
            return
        sid = record.get("sid")
        people = [record[role] for role in ("principal", "requester", "reviewer")
                  if isinstance(record.get(role), str)]
        if sid in owners:
            people.append(owners[sid])
        for erasure in erasures:
            name = erasure.holds.holding(index, sid, people)
            if name is not None:
                self._held(erasure, index, name)

    def _held(self, erasure: _HeldErasure, index: int, name: str) -> None:
        self._blame(erasure, "hold", f"entry {index}, under the legal hold {name!r}, was erased by record {erasure.at}")

    def finish(self) -> None:
        """What the checks covered."""
        report = self.report
        if self.ledger is not None:
            self._sessions(self.ledger)
        erased = [f"{count} erased (by record {by})" for by, count in sorted(report.erased.items())]
        by_whom = "a published log holds commitments only" if self._withheld is None else "by this package's manifest"
        counts = [f"{count} {what}" for count, what in (
            (report.withheld, f"withheld ({by_whom})"), (report.unkept, "not kept")) if count]
        opened = [] if self._withheld is None else [f"{report.payloads} opened, each is what was committed to"]
        report.cover("payloads", "; ".join([*opened, *erased, *counts]) or "no entry has a payload")
        if self._erasures or self._holds.standing:
            report.cover("holds", f"{counted(len(self._erasures), 'erasure')}, "
                         f"{counted(len(self._holds.standing), 'hold')} in force")

    def _sessions(self, ledger: LogLedger) -> None:
        report = self.report
        report.sessions, report.open_sessions, report.intents = ledger.sessions, len(ledger.open), ledger.intents
        for error in ledger.lacking:
            report.blame(error)
        parts = f" ({ledger.partial} began before the range)" if ledger.partial else ""
        bound = f", {self._bindings.bound} of them computed again from what was executed" if self._bindings.bound else ""
        report.cover("sessions", f"{counted(ledger.sessions, 'session')}{parts}, {len(ledger.open)} open at the end, "
                     f"{counted(ledger.intents, 'request')}: gapless, chained, one outcome each; {ledger.reviewed} by a ticket, "
                     f"bound and approved by somebody else{bound}")
        stepped = f"; the clock had gone back at {ledger.stepped}, which say so" if ledger.stepped else ""
        report.cover("clock", f"{counted(report.entries, 'record')} in the order of their time{stepped}")
