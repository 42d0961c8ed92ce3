"""What an erasure and a legal hold say, and what follows from them for the payloads of other entries.

An `erasure` names ranges of indices whose payloads and keys were destroyed with it. Nothing else explains a
payload that is not there: what no erasure names is MISSING, and what one names must be gone. A recorded
stream is destroyed by naming its last `rec_mark`, which has no payload of its own.

Where two persons decided, the review is bound to the exact set by a chain of hashes, one link for each leaf
of the erasure (`erasure_link`), so that every leaf can be checked when it comes.

A `legal_hold` is set and lifted by name; its scope is everything, a session, a person or a range.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from lockgate.audit.evidence.leaf import data_of

ERASURE_CAUSES = frozenset({"subject", "record", "retention"})
ERASURE_RANGES = 60
_ABOUT_TICKETS = ("review_request", "review")
_LINK_DOMAIN = "lockgate/erasure-link/v1"
_BINDING_DOMAIN = "lockgate/erasure-binding/v1"


def erased_ranges(record: Mapping[str, Any]) -> list[tuple[int, int]] | None:
    """The ranges that an erasure's leaf names, first and last included; None where it is not as it must be."""
    listed = data_of(record).get("ranges")
    if not isinstance(listed, list) or not 0 < len(listed) <= ERASURE_RANGES:
        return None
    found: list[tuple[int, int]] = []
    before = -1
    for pair in listed:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) is not int or type(pair[1]) is not int:
            return None
        if not before < pair[0] <= pair[1]:
            return None
        found.append((pair[0], pair[1]))
        before = pair[1]
    return found


def erasure_link(cause: str, ranges: list[tuple[int, int]], rest: str) -> str:
    """One leaf's link: the hash of what it destroys and of the next leaf's link (empty for the last one)."""
    return _hashed([_LINK_DOMAIN, cause, [list(pair) for pair in ranges], rest])


def erasure_binding(requester: str, purpose: str, link: str) -> str:
    """What the review of an erasure is bound to: who asked, why (both opaque), and the first leaf's link."""
    return _hashed([_BINDING_DOMAIN, requester, purpose, link])


def _hashed(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Destroyed:
    """Which erasure names an index; any of them, where several do."""

    def __init__(self) -> None:
        self._leaves: list[tuple[int, list[tuple[int, int]]]] = []
        self._starts: list[int] = []
        self._merged: list[tuple[int, int, int]] = []
        self._dirty = False

    def add(self, leaf: int, ranges: list[tuple[int, int]]) -> None:
        """An erasure at index `leaf`. They are added in the order of the log."""
        self._leaves.append((leaf, ranges))
        self._dirty = True

    def by(self, index: int) -> int | None:
        """The index of the erasure that names this entry, or None."""
        self._merge()
        at = bisect_right(self._starts, index) - 1
        if at < 0:
            return None
        _, last, leaf = self._merged[at]
        return leaf if index <= last else None

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """First and last index of what is destroyed and the erasure's own, in order and apart."""
        self._merge()
        return iter(self._merged)

    def _merge(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        pieces = sorted((first, last, leaf) for leaf, listed in self._leaves for first, last in listed)
        merged: list[tuple[int, int, int]] = []
        for first, last, leaf in pieces:
            if merged and first <= merged[-1][1]:
                first = merged[-1][1] + 1
            if first <= last:
                merged.append((first, last, leaf))
        self._merged = merged
        self._starts = [first for first, _, _ in merged]


class RangeSweep:
    """Which ranges an index lies in, for indices that are asked for in ascending order. `pieces`: first, last, number."""

    def __init__(self, pieces: list[tuple[int, int, int]]) -> None:
        self._coming = sorted(pieces, reverse=True)
        self._open: list[tuple[int, int, int]] = []

    def at(self, index: int) -> list[int]:
        """The numbers of the ranges that hold it."""
        while self._coming and self._coming[-1][0] <= index:
            self._open.append(self._coming.pop())
        self._open = [piece for piece in self._open if piece[1] >= index]
        return [number for _, _, number in self._open]


def is_period_over(record: Mapping[str, Any], periods: object, erased: int, is_last: bool) -> bool:
    """Whether a retention at the time `erased` (Unix milliseconds) was due for a record that it names.

    Nothing is due without a period of its kind. What a range spans and holds nothing is never too early, but for
    the last entry that an erasure names: that is the end of a session whose recording has no mark.
    """
    if "payload" not in record and record["type"] != "rec_mark" and not is_last:
        return True
    seconds = periods.get("payloads" if "payload" in record else "recordings") if isinstance(periods, dict) else None
    return type(seconds) is int and erased - int(record["time"]) >= seconds * 1000


class HoldBook:
    """The holds that stand, as the log's `legal_hold` leaves say it. Leaves are taken in order.

    Where not the `is_whole` log is seen, a hold may be lifted that was set before.
    """

    def __init__(self, is_whole: bool = True) -> None:
        self._is_whole = is_whole
        self.standing: dict[str, Mapping[str, Any]] = {}

    def copy(self) -> HoldBook:
        """The holds that stand now, apart from what comes."""
        other = HoldBook(self._is_whole)
        other.standing = dict(self.standing)
        return other

    def take(self, record: Mapping[str, Any]) -> str | None:
        """One `legal_hold`; returns what is wrong with it, or None."""
        data = data_of(record)
        if not isinstance(data.get("hold"), str):
            return "a legal hold without a name"
        name, action, scope = data["hold"], data.get("action"), data.get("scope")
        if action == "lift":
            if name not in self.standing and self._is_whole:
                return f"the hold {name!r} is lifted and was not set"
            self.standing.pop(name, None)
            return None
        if action != "set" or not isinstance(scope, dict) or not _is_scope(scope):
            return f"the hold {name!r} has no valid action or scope"
        if name in self.standing:
            return f"the hold {name!r} is set a second time"
        self.standing[name] = scope
        return None

    def holding(self, index: int, sid: str | None, people: list[str]) -> str | None:
        """The name of a hold on this entry, or None. `people` are the principals that it is about: of its
        session, or the requester and reviewer that it names.
        """
        for name, scope in self.standing.items():
            if scope.get("all") is True or ("session" in scope and scope["session"] == sid):
                return name
            if "principal" in scope and scope["principal"] in people:
                return name
            if "first" in scope and scope["first"] <= index <= scope["last"]:
                return name
        return None


class TicketHolds:
    """Holds that keep what was said about a ticket, because something that names it is on hold: the request that
    went on by it, in whatever session, or the one that it was asked for.

    Its review is a record of the gateway itself and bears no session, so a hold on a session or a range does not
    name it. Records are taken in any order; those of erasures are compared at the end.
    """

    def __init__(self) -> None:
        self._naming: dict[str, list[tuple[int, str | None]]] = {}
        self._reviews: list[tuple[int, str, int]] = []

    def name(self, index: int, record: Mapping[str, Any]) -> None:
        """One record, which may name a ticket."""
        ticket = ticket_named(record)
        if ticket is not None:
            self._naming.setdefault(ticket, []).append((index, record.get("sid")))

    def destroy(self, index: int, record: Mapping[str, Any], number: int) -> None:
        """A record that erasure `number` names."""
        ticket = data_of(record).get("ticket")
        if record["type"] in _ABOUT_TICKETS and isinstance(ticket, str):
            self._reviews.append((index, ticket, number))

    def forbidden(self, at: Mapping[int, tuple[int, HoldBook]]) -> Iterator[tuple[int, int, str]]:
        """Entry, number of its erasure and name of the hold, of all that should have been kept. `at` says where an
        erasure is and which holds stood there; what names a ticket only later did not keep it.
        """
        for index, ticket, number in self._reviews:
            erased, holds = at[number]
            for place, sid in self._naming.get(ticket, ()):
                name = holds.holding(place, sid, []) if place < erased else None
                if name is not None:
                    yield index, number, name
                    break


def ticket_named(record: Mapping[str, Any]) -> str | None:
    """The ticket that a request went on by or was refused with, or that was asked for."""
    data = record.get("data")
    ticket = record.get("ticket")
    if record["type"] == "review_request" and isinstance(data, dict):
        ticket = data.get("ticket")
    return ticket if isinstance(ticket, str) else None


def _is_scope(scope: Mapping[str, Any]) -> bool:
    if scope == {"all": True}:
        return scope["all"] is True
    if set(scope) in ({"session"}, {"principal"}):
        return all(isinstance(value, str) and value for value in scope.values())
    if set(scope) == {"first", "last"}:
        return type(scope["first"]) is int and type(scope["last"]) is int and 0 <= scope["first"] <= scope["last"]
    return False
