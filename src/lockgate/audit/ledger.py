"""The grammar of a log: what may follow what, checked leaf by leaf in the order of the log.

Start-up uses it to find the sessions and intents that a crash left open; the verifier uses it to
find the first record that does not fit. It sees leaves only, so it needs no payload and no key.
Memory is bounded by what is open at one time, and by the tickets that were approved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.audit.entry import NO_PREVIOUS
from lockgate.audit.failures import Tampered
from lockgate.audit.leaves import is_refused
from lockgate.audit.recording.coverage import MARK, TRUNCATED, Recorded
from lockgate.audit.tree import Frontier

_NODE_TYPES: Final = frozenset({"node_start", "node_stop", "heartbeat"})


class Session:
    """One session as its leaves tell it: where its chain stands, and which intents are open."""

    __slots__ = ("begin", "frontier", "last", "next", "open", "prev", "principal", "recorded", "refused", "sid")

    def __init__(self, sid: str, begin: int = -1, principal: str = "") -> None:
        self.sid = sid
        self.begin = begin
        self.principal = principal
        self.last = begin
        self.next = 0
        self.prev = NO_PREVIOUS
        self.frontier = Frontier()
        self.open: set[int] = set()
        self.refused: set[int] = set()
        self.recorded = Recorded()


class _Ticket:
    """What the log has said about one review."""

    __slots__ = ("binding", "requester", "used_by", "verdict")

    def __init__(self, binding: object, requester: object) -> None:
        self.binding = binding
        self.requester = requester
        self.verdict: object = None
        self.used_by = -1


class Ledger:
    """Takes every leaf in turn; raises `Tampered` at the first one that cannot be where it is."""

    def __init__(self) -> None:
        self.open: dict[str, Session] = {}
        self.ended: dict[str, tuple[int, int]] = {}
        """Sessions that ended since this was last emptied: sid → (first index, last index)."""
        self.starts = 0
        self.last_time = 0
        self.sessions = 0
        self.intents = 0
        self._tickets: dict[str, _Ticket] = {}

    def take(self, index: int, record: Mapping[str, Any], leaf_hash: bytes) -> None:
        """Check one parsed leaf against everything before it."""
        if record["index"] != index:
            raise Tampered(
                f"the entry says it is number {record['index']}", index=index, check="position"
            )
        if record["time"] < self.last_time:
            raise Tampered("the entry is older than the one before it", index=index, check="clock")
        self.last_time = record["time"]
        kind = record["type"]
        if kind in _NODE_TYPES:
            self._node(index, kind, record)
        elif kind == "review_request":
            self._review_request(index, record)
        elif kind == "review":
            self._review(index, record)
        if "sid" in record:
            self._session(index, kind, record, leaf_hash)

    # ------------------------------------------------------------ processes

    def _node(self, index: int, kind: str, record: Mapping[str, Any]) -> None:
        if record["size"] != index:
            raise Tampered(f"the {kind} record counts {record['size']} entries", index=index, check="position")
        if kind == "node_start":
            self.starts += 1
            if record["epoch"] != self.starts:
                raise Tampered(
                    f"the log was opened {self.starts} times, the entry says {record['epoch']}",
                    index=index, check="epoch",
                )
        elif not self.starts:
            raise Tampered("the log does not begin with node_start", index=index, check="epoch")

    # ------------------------------------------------------------ sessions

    def _session(self, index: int, kind: str, record: Mapping[str, Any], leaf_hash: bytes) -> None:
        sid = record["sid"]
        session = self.open.get(sid)
        if kind == "session_begin":
            if session is not None:
                raise Tampered("the session has begun before", index=index, check="session")
            session = self.open[sid] = Session(sid, index, record["principal"])
            self.sessions += 1
        elif session is None:
            raise Tampered(f"a {kind} of a session that is not open", index=index, check="session")
        if record["sseq"] != session.next:
            raise Tampered(
                f"the session's record {session.next} is missing: this one is number {record['sseq']}",
                index=index, check="gapless",
            )
        if record["prev"] != session.prev:
            raise Tampered(
                "the entry does not follow the session's previous record", index=index, check="chain"
            )
        if kind == "intent":
            self._intent(index, record, session)
        elif kind == "outcome":
            self._outcome(index, record, session)
        elif kind in (MARK, TRUNCATED):
            _require_recorded(index, lambda: session.recorded.take(kind, record["data"]))
        elif kind == "session_end":
            self._end(index, record, session)
            return
        session.next += 1
        session.last = index
        session.prev = leaf_hash.hex()
        session.frontier.append(leaf_hash)

    def _intent(self, index: int, record: Mapping[str, Any], session: Session) -> None:
        self.intents += 1
        if is_refused(record):
            session.refused.add(session.next)
            return
        session.open.add(session.next)
        ticket = record.get("ticket")
        if ticket is not None:
            self._use(index, ticket, session)
        elif record["decision"] == "review":
            raise Tampered("a held request went on without a review", index=index, check="review")

    def _outcome(self, index: int, record: Mapping[str, Any], session: Session) -> None:
        settled = record["record"]
        if settled in session.refused:
            if record["rows"] or record["sent"]:
                raise Tampered("a refused request has a result", index=index, check="outcome")
            session.refused.discard(settled)
        elif settled in session.open:
            session.open.discard(settled)
        else:
            raise Tampered(
                f"a second outcome, or one without an intent (record {settled})", index=index, check="outcome"
            )

    def _end(self, index: int, record: Mapping[str, Any], session: Session) -> None:
        if session.open:
            raise Tampered(
                f"the session ends with {len(session.open)} intents without outcome",
                index=index, check="outcome",
            )
        if record["count"] != session.next or record["root"] != session.frontier.root().hex():
            raise Tampered("the session's root is not that of its records", index=index, check="session root")
        _require_recorded(index, lambda: session.recorded.require(record.get("coverage")))
        del self.open[session.sid]
        self.ended[session.sid] = (session.begin, index)

    # ------------------------------------------------------------ reviews

    def _review_request(self, index: int, record: Mapping[str, Any]) -> None:
        data = record.get("data")
        ticket = data.get("ticket") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(ticket, str):
            raise Tampered("a review request without a ticket", index=index, check="review")
        if ticket in self._tickets:
            raise Tampered(f"ticket {ticket} was opened before", index=index, check="review")
        self._tickets[ticket] = _Ticket(data.get("binding"), record.get("requester"))

    def _review(self, index: int, record: Mapping[str, Any]) -> None:
        data = record.get("data")
        name = data.get("ticket") if isinstance(data, dict) else None
        ticket = self._tickets.get(name) if isinstance(name, str) else None
        if not isinstance(data, dict) or ticket is None:
            raise Tampered("a review of a ticket that nobody asked for", index=index, check="review")
        if data.get("binding") != ticket.binding:
            raise Tampered(
                f"the review of {name} is bound to another request", index=index, check="review"
            )
        ticket.verdict = data.get("verdict")
        if ticket.verdict == "approved":
            reviewer = record.get("reviewer")
            if reviewer is None or ticket.requester is None or reviewer == ticket.requester:
                raise Tampered(
                    f"ticket {name} was not approved by somebody else than its requester",
                    index=index, check="review",
                )

    def _use(self, index: int, name: object, session: Session) -> None:
        ticket = self._tickets.get(name) if isinstance(name, str) else None
        if ticket is None or ticket.verdict != "approved":
            raise Tampered(f"a request went on by ticket {name}, which nobody approved",
                           index=index, check="review")
        if ticket.requester != session.principal:
            raise Tampered(f"ticket {name} was given to somebody else", index=index, check="review")
        if ticket.used_by >= 0:
            raise Tampered(f"ticket {name} was used before, by entry {ticket.used_by}",
                           index=index, check="review")
        ticket.used_by = index


def _require_recorded(index: int, check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise Tampered(str(error), index=index, check="recordings") from None
