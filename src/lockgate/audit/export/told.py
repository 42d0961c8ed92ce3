"""Leaves with what they refer to: the session's beginning, and for an outcome the intent that it settles.

A leaf alone says "record 7 of this session ended"; whoever reads it elsewhere needs to know what record 7
was. Apart from the exporters because OCSF events, traces and the query tables' joins need the same.
Memory is bounded: what was forgotten, or was before this process, is looked up in the snapshot again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from lockgate.audit.entry import parse
from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.reader import open_payload
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

Record = Mapping[str, Any]

_SESSIONS: Final = 10_000       # sessions remembered
_INTENTS: Final = 4_096         # intents remembered that wait for their outcome
_TEXT: Final = 32_768           # characters of a statement that leave


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry, as stored and as read."""

    index: int
    hash: bytes
    text: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class Told:
    """One leaf and what it refers to. `begin` and `intent` are None where there is no such leaf; `who` and
    `payload` are empty unless they were asked for, and where they were erased.
    """

    leaf: Leaf
    begin: Leaf | None = None
    intent: Leaf | None = None
    who: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return len(self.leaf.text) + len(str(self.payload.get("text", ""))) + 512


class _Session(NamedTuple):
    begin: Leaf | None
    who: Mapping[str, Any]


class Teller:
    """Reads leaves in order. `names`: who is asking, from payloads. `statements`: the texts of requests."""

    def __init__(self, *, names: bool = False, statements: bool = False) -> None:
        self._names = names
        self._statements = statements
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._intents: dict[tuple[str, int], tuple[Leaf, Mapping[str, Any]]] = {}

    def tell(self, source: Source, first: int, last: int | None = None) -> Iterator[Told]:
        """Every leaf from `first` to `last` included. Raises `AuditError` at one that is damaged."""
        for index, digest, text in source.leaves(first, last):
            leaf = read_leaf(index, digest, text)
            yield self._one(source, leaf) if "sid" in leaf.record else self._alone(source, leaf)

    def forget(self) -> None:
        """Look everything up again from here on: what is remembered may have been erased meanwhile."""
        self._sessions.clear()
        self._intents.clear()

    def _alone(self, source: Source, leaf: Leaf) -> Told:
        if leaf.record["type"] == "erasure":
            self.forget()
        return Told(leaf, payload=self._people(source, leaf))

    def _one(self, source: Source, leaf: Leaf) -> Told:
        record = leaf.record
        kind, sid = record["type"], record["sid"]
        session = self._session(source, leaf, sid)
        if kind == "session_end":
            self._sessions.pop(sid, None)
        elif kind == "intent":
            payload = self._text(source, leaf)
            if not is_refused(record):
                self._intents[sid, record["sseq"]] = (leaf, payload)
                if len(self._intents) > _INTENTS:
                    del self._intents[next(iter(self._intents))]
            return Told(leaf, session.begin, None, session.who, payload)
        elif kind == "outcome":
            known = self._intents.pop((sid, record["record"]), None)
            intent, payload = known if known is not None else self._intent(source, session, leaf)
            return Told(leaf, session.begin, intent, session.who, payload)
        return Told(leaf, session.begin, None, session.who, self._people(source, leaf))

    def _session(self, source: Source, leaf: Leaf, sid: str) -> _Session:
        found = self._sessions.get(sid)
        if found is not None:
            self._sessions.move_to_end(sid)
            return found
        begin = leaf if leaf.record["type"] == "session_begin" else self._begin(source, sid)
        who: Mapping[str, Any] = {}
        if begin is not None and self._names:
            who = open_payload(source, begin.index, begin.record).content
        made = self._sessions[sid] = _Session(begin, who)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return made

    def _begin(self, source: Source, sid: str) -> Leaf | None:
        try:
            first, _, _ = source.session(sid)
        except AuditError:
            return None     # the log's own table has lost it; the verifier says so, an exporter goes on
        for row in source.leaves(first, first):
            leaf = read_leaf(*row)
            return leaf if leaf.record.get("sid") == sid else None
        return None

    def _intent(
        self, source: Source, session: _Session, outcome: Leaf
    ) -> tuple[Leaf | None, Mapping[str, Any]]:
        """An intent from before this process, or one that was forgotten among very many open ones."""
        if session.begin is None:
            return None, {}
        marks = (f'"sid":"{outcome.record["sid"]}"'.encode(), b'"type":"intent"',
                 f'"sseq":{outcome.record["record"]}'.encode())
        for row in source.leaves(session.begin.index, outcome.index, marks):
            leaf = read_leaf(*row)
            if leaf.record["sseq"] == outcome.record["record"] and leaf.record["sid"] == outcome.record["sid"]:
                return leaf, self._text(source, leaf)
        return None, {}

    def _text(self, source: Source, leaf: Leaf) -> Mapping[str, Any]:
        """The statement, cut, and with names where its client was, if not where the session began; parameters and the bytes that
        were forwarded stay here."""
        if not (self._statements or self._names):
            return {}
        content = open_payload(source, leaf.index, leaf.record).content
        found: dict[str, Any] = {}
        text, peer = content.get("text"), content.get("peer")
        if self._statements and isinstance(text, str):
            found |= {"text": text[:_TEXT], "length": len(text)}
        if self._names and isinstance(peer, str):
            found["peer"] = peer
        return found

    def _people(self, source: Source, leaf: Leaf) -> Mapping[str, Any]:
        """Requester, reviewer or actor of what people did, where names are asked for."""
        if not self._names or leaf.record["type"] == "session_begin" or "payload" not in leaf.record:
            return {}
        content = open_payload(source, leaf.index, leaf.record).content
        body = content.get("body")
        try:
            found = orjson.loads(body) if isinstance(body, str) else content
        except orjson.JSONDecodeError:
            return {}
        if not isinstance(found, Mapping):
            return {}
        return {role: found[role] for role in ("requester", "reviewer", "actor") if _is_person(found.get(role))}


def _is_person(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def read_leaf(index: int, digest: bytes, text: bytes) -> Leaf:
    """A row of a source as a leaf. Raises `AuditError` where it is damaged."""
    try:
        return Leaf(int(index), bytes(digest), bytes(text), parse(bytes(text)))
    except (MalformedEntry, TypeError, ValueError) as error:
        raise AuditError(f"entry {index} is damaged: {error}", advice="run `lockgate audit verify`") from None
