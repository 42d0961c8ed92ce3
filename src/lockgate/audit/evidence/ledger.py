"""The grammar of a log: what may follow what, checked leaf by leaf in the order of the log.

Start-up uses it to find the sessions and intents that a crash left open; the verifier uses it to
find the first record that does not fit. It sees leaves only, so it needs no payload and no key.
Memory is bounded by what is open at one time, and by the tickets that were approved; with `remembers` also by
the sessions that have ended, so that none begins again.

A ledger that does not begin at entry 0 (an evidence package holds a range) takes a session's first
record that it sees as it is, and says how many sessions it saw only the rest of. What single leaves
outside the range say of reviews comes through `take_extra`.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.audit.evidence.erasures import (
    ERASURE_CAUSES,
    HoldBook,
    erased_ranges,
    erasure_binding,
    erasure_link,
)
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import is_hash
from lockgate.audit.evidence.merkle import HASH_SIZE, Frontier
from lockgate.audit.evidence.ordinary import OrdinaryLeaf, plain_id
from lockgate.audit.evidence.recordings import RECORDING_CUT, RECORDING_MARK, RecordedStreams
from lockgate.audit.evidence.salting import bound_to

_digits: Final = hexlify        # a constant, which compiled code does not look up by its name
SIGNED_APART = "apart"
"""What `node_start` says of a signer that signs behind the commit."""
_NODE_TYPES = frozenset({"node_start", "node_stop", "heartbeat"})
_OF_SESSION = frozenset({"session_begin", "session_end", "intent", "outcome"})     # and of nothing else
_LACKING = 100          # what is not there is named so many times at most
_PATIENCE_MS = 60_000   # between a ticket's last moment and the record of the request that it let through


class Session:
    """One session as its leaves tell it: where its chain stands, and which intents are open.

    `begin` is -1 where the ledger did not see it begin; its principal and root are unknown then.
    """

    __slots__ = ("begin", "digest", "first", "frontier", "last", "next", "open", "principal", "recorded", "refused",
                 "sid")

    def __init__(self, sid: str, begin: int = -1, principal: str = "") -> None:
        self.sid = sid
        self.begin = begin
        self.principal = principal
        self.last = begin
        self.first = 0
        self.next = 0
        self.digest = bytes(HASH_SIZE)
        """The hash of its newest record."""
        self.frontier = Frontier()
        self.open: set[int] = set()
        self.refused: set[int] = set()
        self.recorded = RecordedStreams()

    def grow(self, index: int, leaf_hash: bytes) -> None:
        """Its next record is the one at `index`."""
        self.next += 1
        self.last = index
        self.digest = leaf_hash
        self.frontier.append(leaf_hash)


class _Ticket:
    """What the log has said about one review."""

    __slots__ = ("binding", "expires", "is_asked", "requester", "rest", "reviewer", "used_by", "verdict")

    def __init__(self, binding: object, requester: object, expires: object, is_asked: bool) -> None:
        self.binding = binding
        self.requester = requester
        self.expires = expires
        self.is_asked = is_asked
        self.reviewer: object = None
        self.verdict: object = None
        self.used_by = -1
        self.rest = ""      # of an erasure: the link that its next leaf must have


class LogLedger:
    """Takes every leaf in turn; raises `EvidenceError` at the first one that cannot be where it is."""

    def __init__(self, first: int = 0, *, remembers: bool = False) -> None:
        self.first = first
        self.root: Callable[[], bytes] | None = None
        """The root of the tree before the leaf that is taken, where somebody grows one."""
        self.seen = OrdinaryLeaf()
        """What `follows` has seen last."""
        self.open: dict[str, Session] = {}
        self.ended: dict[str, tuple[int, int]] = {}
        """Sessions that ended since this was last emptied: sid → (first index, last index)."""
        self.starts = 0
        self.last_time = 0
        self.sessions = 0
        self.partial = 0
        """Sessions of which only the rest was seen."""
        self.intents = 0
        self.reviewed = 0
        """Requests that went on by a ticket."""
        self.stepped = 0
        """Records at which the clock had gone back."""
        self.rotations: list[tuple[int, str, str]] = []
        """Changes of the log's key: index, old and new verifier key."""
        self.lags = False
        """Whether whoever opened the log last has a signer that may be behind the entries."""
        self.lacking: list[EvidenceError] = []
        """What a range does not hold, though something in it relies on it."""
        self.unrooted: list[EvidenceError] = []
        """The first record of the gateway itself that names another root than the entries before it have. Not raised,
        because what comes next may say which of them was altered.
        """
        self._holds = HoldBook(is_whole=first == 0)
        self._approvals: object = None      # persons that an erasure needs, as the log says itself
        self._tickets: dict[str, _Ticket] = {}
        self._over: set[str] = set()
        self._by_id: dict[bytes, Session] = {}     # open sessions by what a leaf says, where that is the id itself
        self._rooted: int | None = first    # what is before it has the root that a record of the gateway names
        self._remembers = remembers or first > 0
        self._following = Session("")

    def take(self, index: int, record: dict[str, Any], leaf_hash: bytes) -> None:
        """Check one parsed leaf against everything before it."""
        kind: str = record["type"]
        self._place(index, record)
        if kind not in _OF_SESSION:
            if kind in _NODE_TYPES:
                self._node(index, kind, record)
            else:
                self._beside(index, kind, record)
        if "sid" in record:
            self._session(index, kind, record, leaf_hash)

    def follows(self, index: int, leaf: bytes) -> bool:
        """Whether a leaf is an ordinary one that `take` would take here. Then it is `seen`, and `advance` takes it; for
        any other leaf, `take` has to say what it is.
        """
        seen = self.seen
        if not seen.read(leaf):
            return False
        session = self._by_id.get(seen.sid)
        if session is None or seen.index != index or seen.number != session.next or seen.time < self.last_time:
            return False
        if _digits(session.digest) != seen.prev or not (seen.is_request or seen.record in session.open):
            return False
        self._following = session
        return True

    def advance(self, index: int, leaf_hash: bytes) -> None:
        """Take the leaf that follows."""
        session, seen = self._following, self.seen
        self.last_time = seen.time
        if seen.is_request:
            self.intents += 1
            session.open.add(session.next)
        else:
            session.open.discard(seen.record)
        session.grow(index, leaf_hash)

    def follow_all(self, tree: Frontier, leaves: list[bytes], digests: list[bytes], first: int, stop: int) -> int:
        """Take those from `first` to `stop`, excluded, of the leaves that come next in a tree, as far as they follow. How
        many.
        """
        for at in range(first, stop):
            if not self.follows(tree.size, leaves[at]):
                return at - first
            self.advance(tree.size, digests[at])
            tree.append(digests[at])
        return max(0, stop - first)

    def take_extra(self, index: int, record: dict[str, Any]) -> None:
        """One leaf outside the range, for what it says of others. In the order of the log, with the range's."""
        self._place(index, record)
        self._beside(index, record["type"], record)

    def take_session(self, index: int, record: dict[str, Any], leaf_hash: bytes) -> None:
        """One leaf before the range, of a session that is open where the range begins. In order, from the session's first."""
        if record["index"] != index or "sid" not in record:
            raise EvidenceError("position", "the entry is not a session's, or says it is another", index)
        self._session(index, record["type"], record, leaf_hash)

    def _beside(self, index: int, kind: str, record: dict[str, Any]) -> None:
        """What says something about other entries."""
        if kind == "review_request":
            self._review_request(index, record)
        elif kind == "review":
            self._review(index, record)
        elif kind == "erasure":
            self._erasure(index, record)
        elif kind == "legal_hold":
            problem = self._holds.take(record)
            if problem is not None:
                raise EvidenceError("hold", problem, index)
        elif kind == "config_change":
            self._in_force(record)
        elif kind == "key_rotate":
            self._rotate(index, record)

    def _place(self, index: int, record: dict[str, Any]) -> None:
        place: int = record["index"]
        if place != index:
            raise EvidenceError("position", f"the entry says it is number {place}", index)
        time: int = record["time"]
        if time < self.last_time:
            raise EvidenceError("clock", "the entry is older than the one before it", index)
        self.last_time = time
        if "clock" in record:
            if type(record["clock"]) is not int or not 0 <= record["clock"] < time:
                raise EvidenceError("clock", "the entry names a clock that had not gone back", index)
            self.stepped += 1

    # ------------------------------------------------------------ processes

    def _node(self, index: int, kind: str, record: dict[str, Any]) -> None:
        if record["size"] != index:
            raise EvidenceError("position", f"the {kind} record counts {record['size']} entries", index)
        if self.root is not None and self._rooted is not None:
            if record["root"] == self.root().hex():
                self._rooted = index
            else:
                self.unrooted.append(EvidenceError("position", f"the {kind} record {index} names another root than the "
                                                   "entries before it have", self._rooted, last=index))
                self._rooted = None
        if kind == "node_start":
            self._in_force(record)
            data = record.get("data")
            self.lags = isinstance(data, dict) and data.get("signer") == SIGNED_APART
            self.starts += 1
            if self.first and self.starts == 1:
                self.starts = record["epoch"]
            if record["epoch"] != self.starts:
                raise EvidenceError(
                    "epoch", f"the log was opened {self.starts} times, the entry says {record['epoch']}", index)
        elif not self.starts and not self.first:
            raise EvidenceError("epoch", "the log does not begin with node_start", index)
        elif kind == "node_stop" and self.open:
            raise EvidenceError("session", f"the log was closed with {len(self.open)} sessions that have no end", index)

    def _rotate(self, index: int, record: dict[str, Any]) -> None:
        old, new = (record["data"].get(name) for name in ("old", "new"))
        if "sid" in record or type(old) is not str or type(new) is not str:
            raise EvidenceError("rotation", "a change of keys does not name two keys", index)
        if self.rotations and self.rotations[-1][2] != old:
            raise EvidenceError("rotation", "a change of keys is not by the key that was in use", index)
        self.rotations.append((index, old, new))

    def _in_force(self, record: dict[str, Any]) -> None:
        """How many persons an erasure needs from here on."""
        data = record.get("data")
        if isinstance(data, dict) and "approvals" in data:
            self._approvals = data["approvals"]
        elif record["type"] == "node_start":
            self._approvals = None

    # ------------------------------------------------------------ erasures

    def _erasure(self, index: int, record: dict[str, Any]) -> None:
        ranges, data = erased_ranges(record), record.get("data")
        if ranges is None or not isinstance(data, dict) or ranges[-1][1] >= index:
            raise EvidenceError("erasure", "an erasure does not name earlier entries", index)
        if data.get("cause") not in ERASURE_CAUSES or not isinstance(record.get("requester"), str):
            raise EvidenceError("erasure", "an erasure without a cause or a requester", index)
        if data.get("approvals") == 2:
            self._approved(index, record, data, ranges)
        elif data.get("approvals") != 1 or (self._approvals == 2 and data["cause"] != "retention"):
            raise EvidenceError("erasure", "one person erased where two have to agree", index)

    def _approved(
        self, index: int, record: dict[str, Any], data: Mapping[str, Any], ranges: list[tuple[int, int]]
    ) -> None:
        """An erasure that two persons agreed on: the ticket, who they are, and the exact set."""
        name, rest = data.get("ticket"), data.get("rest")
        ticket = self._tickets.get(name) if isinstance(name, str) else None
        if self.first and (ticket is None or not ticket.is_asked):
            self._lack(index, name)
            return
        if ticket is None or ticket.verdict != "approved" or not isinstance(rest, str):
            raise EvidenceError("erasure", f"an erasure by ticket {name}, which nobody approved", index)
        if (ticket.requester, ticket.reviewer) != (record["requester"], record.get("reviewer")):
            raise EvidenceError("erasure", f"ticket {name} was asked for or approved by somebody else", index)
        link = erasure_link(data["cause"], ranges, rest)
        if ticket.used_by < 0:
            bound = erasure_binding(record["requester"], str(data.get("purpose")), link)
            is_bound = bound_to(str(data.get("salt")), bound) == ticket.binding
            ticket.used_by = index
        else:
            is_bound = link == ticket.rest
        if not is_bound:
            raise EvidenceError("erasure", f"ticket {name} was approved for another erasure, or is used up", index)
        ticket.rest = rest

    # ------------------------------------------------------------ sessions

    def _session(self, index: int, kind: str, record: dict[str, Any], leaf_hash: bytes) -> None:
        sid: str = record["sid"]
        number: int = record["sseq"]
        prev: str = record["prev"]
        session = self.open.get(sid)
        if kind == "session_begin":
            if session is not None or sid in self._over:
                raise EvidenceError("session", "the session has begun before", index)
            session = self._opened(Session(sid, index, record["principal"]))
            self.sessions += 1
        elif session is None:
            session = self._joined(index, kind, record)
        if number != session.next:
            raise EvidenceError(
                "gapless", f"the session's record {session.next} is missing: this one is number {number}", index)
        if prev != session.digest.hex():
            raise EvidenceError("chain", "the entry does not follow the session's previous record", index)
        if kind == "intent":
            self._intent(index, record, session)
        elif kind == "outcome":
            self._outcome(index, record, session)
        elif kind in (RECORDING_MARK, RECORDING_CUT):
            session.recorded.take(kind, record["data"], index)
        elif kind == "session_end":
            self._end(index, record, session)
            return
        session.grow(index, leaf_hash)

    def _opened(self, session: Session) -> Session:
        self.open[session.sid] = session
        plain = plain_id(session.sid)
        if plain is not None:
            self._by_id[plain] = session
        return session

    def _joined(self, index: int, kind: str, record: dict[str, Any]) -> Session:
        """A session that began before the range: its first record seen is taken as it is."""
        sid = record["sid"]
        if not self.first or sid in self._over or record["sseq"] == 0:
            raise EvidenceError("session", f"a {kind} of a session that is not open", index)
        if not is_hash(record["prev"]):
            raise EvidenceError("chain", "the entry names no previous record", index)
        session = self._opened(Session(sid))
        session.first = session.next = record["sseq"]
        session.digest = bytes.fromhex(record["prev"])
        self.sessions += 1
        self.partial += 1
        return session

    def _intent(self, index: int, record: dict[str, Any], session: Session) -> None:
        self.intents += 1
        if is_refused(record):
            session.refused.add(session.next)
            return
        session.open.add(session.next)
        ticket = record.get("ticket")
        if ticket is not None:
            self._use(index, ticket, record, session)
        elif record["decision"] == "review":
            raise EvidenceError("review", "a held request went on without a review", index)

    def _outcome(self, index: int, record: dict[str, Any], session: Session) -> None:
        settled: int = record["record"]
        if settled in session.refused:
            if record["rows"] or record["sent"]:
                raise EvidenceError("outcome", "a refused request has a result", index)
            session.refused.discard(settled)
        elif settled in session.open:
            session.open.discard(settled)
        elif not 0 < settled < session.first:
            raise EvidenceError(
                "outcome", f"a second outcome, or one without an intent (record {settled})", index)

    def _end(self, index: int, record: dict[str, Any], session: Session) -> None:
        if session.open:
            raise EvidenceError(
                "outcome", f"the session ends with {len(session.open)} intents without outcome", index)
        is_rooted = session.first > 0 or record["root"] == session.frontier.root().hex()
        if record["count"] != session.next or not is_rooted:
            raise EvidenceError("session root", "the session's root is not that of its records", index)
        if session.begin >= 0:
            session.recorded.require(record.get("coverage"), index)
        del self.open[session.sid]
        self._by_id.pop(session.sid.encode(), None)
        if self._remembers:
            self._over.add(session.sid)
        self.ended[session.sid] = (session.begin, index)

    # ------------------------------------------------------------ reviews

    def _review_request(self, index: int, record: dict[str, Any]) -> None:
        data = _data(record)
        ticket = data.get("ticket")
        if not isinstance(ticket, str):
            raise EvidenceError("review", "a review request without a ticket", index)
        if ticket in self._tickets:
            raise EvidenceError("review", f"ticket {ticket} was opened before", index)
        self._tickets[ticket] = _Ticket(data.get("binding"), record.get("requester"), data.get("expires"), True)

    def _review(self, index: int, record: dict[str, Any]) -> None:
        data = _data(record)
        name = data.get("ticket")
        ticket = self._tickets.get(name) if isinstance(name, str) else None
        if self.first and ticket is None and isinstance(name, str):
            ticket = self._tickets[name] = _Ticket(data.get("binding"), None, None, False)
        if ticket is None:
            raise EvidenceError("review", "a review of a ticket that nobody asked for", index)
        if data.get("binding") != ticket.binding:
            raise EvidenceError("review", f"the review of {name} is bound to another request", index)
        if ticket.used_by >= 0:
            raise EvidenceError("review", f"ticket {name} is reviewed after it was used", index)
        if data.get("verdict") == "approved" and ticket.verdict is not None:
            raise EvidenceError("review", f"ticket {name} was approved after it had been decided", index)
        ticket.verdict = data.get("verdict")
        if ticket.verdict == "approved" and ticket.is_asked:
            reviewer = ticket.reviewer = record.get("reviewer")
            if reviewer is None or ticket.requester is None or reviewer == ticket.requester:
                raise EvidenceError(
                    "review", f"ticket {name} was not approved by somebody else than its requester", index)
            if type(ticket.expires) is int and record["time"] >= (ticket.expires + 1) * 1000:
                raise EvidenceError("review", f"ticket {name} was approved after it had expired", index)

    def _use(self, index: int, name: object, record: dict[str, Any], session: Session) -> None:
        self.reviewed += 1
        ticket = self._tickets.get(name) if isinstance(name, str) else None
        if self.first and (ticket is None or not ticket.is_asked):
            self._lack(index, name)
            return
        if ticket is None or ticket.verdict != "approved":
            raise EvidenceError("review", f"a request went on by ticket {name}, which nobody approved", index)
        if ticket.requester != session.principal and session.begin >= 0:
            raise EvidenceError("review", f"ticket {name} was given to somebody else", index)
        if ticket.used_by >= 0:
            raise EvidenceError("review", f"ticket {name} was used before, by entry {ticket.used_by}", index)
        if record.get("binding") != ticket.binding:
            raise EvidenceError(
                "review", f"what was executed is not what ticket {name} was approved for", index)
        if type(ticket.expires) is int and record["time"] >= (ticket.expires + 1) * 1000 + _PATIENCE_MS:
            raise EvidenceError("review", f"ticket {name} was used after it had expired", index)
        ticket.used_by = index

    def _lack(self, index: int, name: object) -> None:
        """What lets an entry stand is outside the range."""
        if len(self.lacking) < _LACKING:
            self.lacking.append(EvidenceError(
                "review", f"the request or the review of ticket {name} is not there", index, "incomplete"))


def _data(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says besides its own fields."""
    data = record.get("data")
    return data if isinstance(data, dict) else {}


def is_refused(intent: Mapping[str, Any]) -> bool:
    """Whether nothing was forwarded for this intent, so that it needs no outcome."""
    return intent["decision"] == "deny" or "refusal" in intent
