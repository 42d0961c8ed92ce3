"""Which entries an erasure destroys: found by subject, by index or by age, checked against the holds.

Pure reading; `custody` carries it out. What is found is cut into parts, one leaf and one transaction each, so
that a large erasure never holds up the records that come meanwhile for longer than a moment. A part names
ranges of indices; a range may span entries that hold nothing to destroy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.evidence.erasures import ERASURE_RANGES, erasure_binding, erasure_link, ticket_named
from lockgate.audit.leaves import principal, purpose
from lockgate.audit.standing import Standing, read
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

Ranges = tuple[tuple[int, int], ...]

_PART: Final = 1_000                # payloads in one transaction
_PART_BYTES: Final = 8 * 1024**2    # of payload in one transaction
_BRIDGE: Final = 64                 # entries without payload that one range spans at most
MOST: Final = 1_000_000             # payloads of one erasure
_RECORDS: Final = 1_000_000         # entries that a list of indices may name


class Held(AuditError):
    """A legal hold stands in the way; nothing was erased."""

    code = "audit.held"


class NothingToErase(AuditError):
    """No payload is left of what was named."""

    code = "audit.nothing"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants erased: a subject (of an issuer, where several know the name), or ranges of indices."""

    reason: str
    subject: str | None = None
    issuer: str | None = None
    records: Ranges = ()

    @property
    def cause(self) -> str:
        """The `cause` of its leaves."""
        return "record" if self.subject is None else "subject"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be destroyed. `sessions` are those whose recordings go, `unfinished` those that still run."""

    cause: str
    parts: tuple[Ranges, ...]
    payloads: int
    sessions: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    person: tuple[str, str] | None = None
    tickets: tuple[str, ...] = ()
    """Reviews whose statements are among what is destroyed: they are kept elsewhere as well, for a while."""

    def links(self) -> list[str]:
        """The chain of hashes over the parts: each one's own, and at the end an empty one."""
        found = [""]
        for ranges in reversed(self.parts):
            found.append(erasure_link(self.cause, list(ranges), found[-1]))
        return found[::-1]

    def binding(self, key: bytes, requester: tuple[str, str], reason: str) -> str:
        """What a person's approval of this plan is bound to. `key` is the log's for principals."""
        return erasure_binding(principal(key, *requester), purpose(key, reason), self.links()[0])


@dataclass(slots=True)
class _Session:
    first: int
    last: int | None
    principal: str


@dataclass(slots=True)
class _Search:
    """One snapshot, and what was found in it: index → bytes of payload."""

    source: Source
    standing: Standing
    skips_held: bool = False
    found: dict[int, int] = field(default_factory=dict)
    empty: set[int] = field(default_factory=set)
    known: dict[str, _Session] = field(default_factory=dict)
    tickets: dict[str, None] = field(default_factory=dict)
    held: dict[str, str] | None = None

    def session(self, sid: str) -> _Session:
        known = self.known.get(sid)
        if known is None:
            first, last, _ = self.source.session(sid)
            begin = next((record for _, record in read(self.source, first, first)), {})
            known = self.known[sid] = _Session(first, last, begin.get("principal", ""))
        return known

    def hold(self, index: int, record: dict[str, Any]) -> str | None:
        """The hold on an entry, or None."""
        if not self.standing.holds.standing:
            return None
        sid = record.get("sid")
        people = [record[role] for role in ("principal", "requester", "reviewer") if role in record]
        if sid is not None:
            people.append(self.session(sid).principal)
        name = self.standing.holds.holding(index, sid, people)
        if name is not None or record["type"] not in ("review_request", "review"):
            return name
        return self.held_tickets().get(record.get("data", {}).get("ticket"))

    def held_tickets(self) -> dict[str, str]:
        """Ticket → the hold on a request that names it. What was said about the ticket is kept with that request."""
        if self.held is None:
            self.held = {}
            for name, scope in self.standing.holds.standing.items():
                if "session" in scope:
                    session = self.session(scope["session"])
                    found = read(self.source, session.first, session.last, _of(scope["session"]), b'"ticket":')
                elif "first" in scope:
                    found = read(self.source, scope["first"], scope["last"], b'"ticket":')
                else:
                    continue        # on everything, or on a person, whom the records name themselves
                for _, record in found:
                    ticket = ticket_named(record)
                    if ticket is not None:
                        self.held.setdefault(ticket, name)
        return self.held

    def take(self, index: int, record: dict[str, Any]) -> None:
        """Note an entry that has something to destroy. Raises `Held`, or leaves out what is held."""
        has = "payload" in record or record["type"] == "rec_mark"
        if not has or self.standing.destroyed.by(index) is not None:
            self.empty.add(index)
            return
        name = self.hold(index, record)
        if name is None:
            self.found[index] = record.get("payload", {}).get("size", 0)
            ticket = record.get("ticket", record.get("data", {}).get("ticket"))
            if isinstance(ticket, str):
                self.tickets[ticket] = None
            if len(self.found) > MOST:
                raise AuditError(f"more than {MOST} payloads at once", advice="erase by --records in several steps")
        elif not self.skips_held:
            raise Held(f"entry {index} is under the legal hold {name!r}; nothing was erased",
                       advice="a hold is lifted with `lockgate audit hold lift`")

    def payloads(self) -> int:
        """How many payloads were found. Marks of recordings are found as well and hold none, so they do not count."""
        return sum(1 for size in self.found.values() if size)

    def marks(self, sid: str) -> list[tuple[int, dict[str, Any]]]:
        """The marks of a session's recording."""
        session = self.session(sid)
        return list(read(self.source, session.first, session.last, _of(sid), b'"type":"rec_mark"'))

    def is_recorded(self, sid: str) -> bool:
        """Whether a recording is marked that no erasure took yet."""
        return any(self.standing.destroyed.by(index) is None for index, _ in self.marks(sid))

    def recording(self, sid: str) -> bool:
        """Take a session's recording, which shows everything of the session: where a hold is on any entry of it,
        raise `Held`, or return False and leave it.
        """
        session = self.session(sid)
        if self.standing.holds.standing:
            for index, record in read(self.source, session.first, session.last, _of(sid)):
                name = self.hold(index, record)
                if name is not None and self.skips_held:
                    return False
                if name is not None:
                    raise Held(f"the session's recording shows entry {index}, which is under the legal hold {name!r}; "
                               "nothing was erased", advice="a hold is lifted with `lockgate audit hold lift`")
        for index, record in self.marks(sid):
            self.take(index, record)
        return True

    # ------------------------------------------------------------ into parts

    def parts(self) -> tuple[Ranges, ...]:
        """What was found, in ranges, so many to a part."""
        parts: list[Ranges] = []
        ranges: list[tuple[int, int]] = []
        count = size = 0
        for index in sorted(self.found):
            joins = bool(ranges) and self._is_empty(ranges[-1][1], index)
            full = count >= _PART or size + self.found[index] > _PART_BYTES
            if ranges and (full or (not joins and len(ranges) >= ERASURE_RANGES)):
                parts.append(tuple(ranges))
                ranges, count, size, joins = [], 0, 0, False
            if joins:
                ranges[-1] = (ranges[-1][0], index)
            else:
                ranges.append((index, index))
            count += 1
            size += self.found[index]
        if ranges:
            parts.append(tuple(ranges))
        return tuple(parts)

    def _is_empty(self, before: int, after: int) -> bool:
        """Whether nothing between two entries could be destroyed."""
        between = range(before + 1, after)
        if len(between) > _BRIDGE:
            return False
        if self.empty.issuperset(between):
            return all(self.standing.destroyed.by(index) is None for index in between)
        return not any(holds_something(leaf) for _, _, leaf in self.source.leaves(before + 1, after - 1))


def holds_something(leaf: bytes) -> bool:
    """Whether a leaf has a payload, or stands for a part of a recording. A quotation mark inside of a JSON
    string is escaped, so that these bytes are a key and nothing else.
    """
    return b'"payload":' in leaf or b'"type":"rec_mark"' in leaf


def _of(sid: str) -> bytes:
    return f'"sid":"{sid}"'.encode()


# ---------------------------------------------------------------- by subject, by index


def find(source: Source, standing: Standing, wish: Wish) -> Plan:
    """What fulfils a wish. Raises `Held`, `NothingToErase`, or `AuditError` where it is not clear who is meant."""
    search = _Search(source, standing)
    person: tuple[str, str] | None = None
    if wish.subject is not None:
        person = (wish.issuer or issuer_of(source, wish.subject), wish.subject)
        sids = _of_subject(search, principal(source.pseudonyms, *person))
    else:
        sids = _of_records(search, wish.records)
    gone, unfinished = [], []
    for sid in sids:
        if search.session(sid).last is None:
            unfinished.append(sid)
        elif search.is_recorded(sid) and search.recording(sid):
            gone.append(sid)
    if not search.found:
        raise NothingToErase("no payload is left of what was named" if wish.subject is None else
                             f"no payload of {wish.subject} is in this log, or none is left",
                             advice="" if wish.issuer is None else "look at the issuer with `lockgate session list`")
    return Plan(wish.cause, search.parts(), search.payloads(), tuple(gone), tuple(unfinished), person,
                tuple(search.tickets))


def issuer_of(source: Source, subject: str) -> str:
    """The one issuer under which this log knows a name, from payloads that can still be opened."""
    issuers: set[str] = set()
    for index, _ in read(source, 0, None, b'"type":"session_begin"'):
        who = _opened(source, index)
        if who.get("subject") == subject and isinstance(who.get("issuer"), str):
            issuers.add(who["issuer"])
    for index, record in read(source, 0, None, b'"requester":"'):
        if "sid" not in record or record["type"] == "review_request":
            issuers |= {pair[0] for pair in _people(_opened(source, index)) if pair[1] == subject}
    if not issuers:
        raise NothingToErase(f"no payload that names {subject} is in this log, or none is left")
    if len(issuers) > 1:
        raise AuditError(f"several issuers know a {subject}: {', '.join(sorted(issuers))}",
                         advice="say which one with --issuer")
    return issuers.pop()


def _opened(source: Source, index: int) -> dict[str, Any]:
    secret, sealed = source.kept(index)
    if secret is None or sealed is None:
        return {}
    content = orjson.loads(unseal(bytes(secret)[:KEY_SIZE], bytes(sealed)))
    return content if isinstance(content, dict) else {}


def _people(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        said = orjson.loads(content.get("body", "{}"))
    except orjson.JSONDecodeError:
        return
    for role in ("requester", "reviewer"):
        pair = said.get(role) if isinstance(said, dict) else None
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            yield pair[0], pair[1]


def _of_subject(search: _Search, who: str) -> list[str]:
    """Everything of a person's sessions, and every other record that names the person."""
    sids = []
    for index, record in read(search.source, 0, None, who.encode()):
        if record["type"] == "session_begin" and record["principal"] == who:
            sids.append(record["sid"])
        elif who in (record.get("requester"), record.get("reviewer")):
            search.take(index, record)
    for sid in sids:
        session = search.session(sid)
        for index, record in read(search.source, session.first, session.last, _of(sid)):
            if record["type"] != "rec_mark":
                search.take(index, record)
    return sids


def _of_records(search: _Search, records: Iterable[tuple[int, int]]) -> list[str]:
    """The named entries, and the sessions that they are of."""
    sids: dict[str, None] = {}
    named = 0
    for first, last in records:
        named += last - first + 1
        if named > _RECORDS:
            raise AuditError(f"more than {_RECORDS} entries at once")
        for index, record in read(search.source, first, last):
            if record["type"] != "rec_mark":
                search.take(index, record)
                if index in search.found and "sid" in record:
                    sids[record["sid"]] = None
    return list(sids)


def require_free(source: Source, standing: Standing, plan: Plan) -> None:
    """Raise `Held` where a hold was set on something that a plan destroys, after it was made."""
    search = _Search(source, standing)
    for ranges in plan.parts:
        for first, last in ranges:
            for index, record in read(source, first, last):
                search.take(index, record)
    for sid in plan.sessions:
        search.recording(sid)


# ---------------------------------------------------------------- by age


def find_old(source: Source, standing: Standing, before: int, most: int) -> Plan | None:
    """Up to `most` payloads of entries older than `before` (Unix milliseconds) that no hold is on, or None."""
    search = _Search(source, standing, skips_held=True)
    for index, record in _kept(source, standing):
        if record["time"] >= before or len(search.found) >= most:
            break
        search.take(index, record)
    if not search.found:
        return None
    return Plan("retention", search.parts(), search.payloads(), tickets=tuple(search.tickets))


def _kept(source: Source, standing: Standing) -> Iterator[tuple[int, dict[str, Any]]]:
    """Entries with a payload that no erasure names, in order. What was erased is not read again."""
    first = 0
    for start, last, _ in standing.destroyed.ranges():
        if start > first:
            yield from read(source, first, start - 1, b'"payload":')
        first = last + 1
    yield from read(source, first, None, b'"payload":')


def is_recording_erased(source: Source, standing: Standing, sid: str) -> bool:
    """Whether the log says that a session's recording was destroyed."""
    search = _Search(source, standing)
    last = search.session(sid).last
    marks = [index for index, _ in search.marks(sid)] or ([] if last is None else [last])
    return bool(marks) and all(standing.destroyed.by(index) is not None for index in marks)


def find_recording(source: Source, standing: Standing, sid: str, before: int) -> Plan | None:
    """The recording of a session that ended before `before` (Unix milliseconds), or None while it is kept.

    A recording without any mark is destroyed by naming the session's end, which holds nothing else.
    """
    search = _Search(source, standing, skips_held=True)
    session = search.session(sid)
    if session.last is None:
        return None
    if any(record["time"] >= before for _, record in read(source, session.last, session.last)):
        return None
    if not search.recording(sid):
        return None
    if not search.marks(sid) and standing.destroyed.by(session.last) is None:
        search.found[session.last] = 0
    return Plan("retention", search.parts(), search.payloads(), (sid,))
