"""Reading a log for people: sessions, their statements, and who caused them.

Shows what the log says, without proving it; that is `verify`. Works beside a running gateway, and
says so where a payload is not there (never kept, erased, missing) instead of failing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

import orjson

from lockgate.audit.commitment import KEY_SIZE, unseal, verify_commitment
from lockgate.audit.entry import parse
from lockgate.audit.evidence.recordings import RECORDING_MARK
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.standing import Records, Standing
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.sqlite import open_source
from lockgate.errors import AuditError

Record = dict[str, Any]
MISSING: Final = "MISSING"


@dataclass(frozen=True, slots=True)
class Payload:
    """What an entry committed to, or why it cannot be shown: `state` is ``open``, ``none``, ``not kept``,
    ``erased by record N``, ``MISSING`` or ``damaged``.
    """

    state: str
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf, read."""

    index: int
    hash: str
    record: Record


@dataclass(slots=True)
class StatementView:
    """One request of a session: its intent, how it ended, and who let it through."""

    index: int
    record: Record
    payload: Payload
    outcome: Record | None = None
    reviews: list[tuple[Record, Payload]] = field(default_factory=list)


@dataclass(slots=True)
class SessionView:
    """One session. `end` is None while it runs, or where a crash has not been recovered from."""

    sid: str
    index: int
    begin: Record
    who: Payload
    end: Record | None = None
    requests: int = 0
    refused: int = 0
    rows: int = 0
    matching: list[int] = field(default_factory=list)   # entries that the filter asked for
    statements: list[StatementView] = field(default_factory=list)
    events: list[tuple[int, Record, Payload]] = field(default_factory=list)
    marks: dict[str, Mapping[str, Any]] = field(default_factory=dict)   # the last of each recorded stream
    erased_by: int | None = None        # the record that its recording was erased by


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter over requests; what is None or empty matches everything."""

    verb: str | None = None
    object: str | None = None
    subject: str | None = None

    @property
    def asks_for_requests(self) -> bool:
        """Whether it names a kind of request, so that sessions without one are left out."""
        return bool(self.verb or self.object)

    def takes(self, intent: Mapping[str, Any]) -> bool:
        """Whether an intent's leaf matches. ``customers`` matches ``public.customers`` as well."""
        if self.verb and self.verb.lower() not in intent["verbs"]:
            return False
        if not self.object:
            return True
        wanted = self.object.lower()
        return "objects_more" in intent or any(
            name.lower() == wanted or name.lower().endswith(f".{wanted}") for name in intent["objects"]
        )


def open_payload(source: Source, index: int, record: Mapping[str, Any]) -> Payload:
    """What a record committed to, opened and compared with the commitment. `MISSING` where it was erased, too:
    only who knows the log's erasures can tell.
    """
    said = record.get("payload")
    if said is None:
        return Payload("none")
    if "kept" in said:
        return Payload("not kept")
    try:
        secret, sealed = source.kept(index)
        if secret is None or sealed is None:
            return Payload(MISSING)
        content = unseal(bytes(secret)[:KEY_SIZE], bytes(sealed))
        verify_commitment(said["commitment"], bytes(secret)[KEY_SIZE:], content)
        return Payload("open", orjson.loads(content))
    except (AuditError, orjson.JSONDecodeError, TypeError, ValueError):
        return Payload("damaged")


class Pages(Records, Protocol):
    """Where a reader gets records and payloads from: a store's snapshot, or an evidence package."""

    @property
    def whole(self) -> tuple[int, int | None]:
        """The first and the last entry (None: the newest) between which none is missing."""

    def session(self, prefix: str) -> tuple[int, int | None, str]:
        """As `Source.session`."""

    def payload(self, index: int, record: Mapping[str, Any]) -> Payload:
        """What a record committed to. `MISSING` where it was erased, too: the log's erasures tell."""

    def close(self) -> None:
        """Let go of it."""


class _StoredPages:
    """A store's snapshot."""

    whole = (0, None)

    def __init__(self, folder: Path) -> None:
        source = open_source(folder)
        self._source = source
        self.head, self.leaves, self.session = source.head, source.leaves, source.session

    def payload(self, index: int, record: Mapping[str, Any]) -> Payload:
        return open_payload(self._source, index, record)

    def close(self) -> None:
        self._source.__exit__()


class Reader:
    """An open log, or what a package holds of one, read-only. A context manager; every method may raise `AuditError`."""

    def __init__(self, place: Path | Pages) -> None:
        """`place` is the log's folder, or whatever else has pages to read."""
        self._source: Pages = _StoredPages(place) if isinstance(place, Path) else place
        self._standing: Standing | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    # ------------------------------------------------------------ entries

    def entry(self, index: int) -> tuple[Entry, Payload]:
        """One entry with its payload."""
        for entry in self._entries(index, index):
            return entry, self.payload(entry)
        raise AuditError(f"there is no entry {index} here")

    def _entries(self, first: int = 0, last: int | None = None, *containing: bytes) -> Iterator[Entry]:
        try:
            for index, digest, leaf in self._source.leaves(first, last, containing):
                yield Entry(int(index), bytes(digest).hex(), parse(bytes(leaf)))
        except (MalformedEntry, TypeError, ValueError) as error:
            raise AuditError(f"the log is damaged: {error}", advice="run `lockgate audit verify`") from None

    def payload(self, entry: Entry) -> Payload:
        """What the entry committed to, opened and compared with the commitment."""
        payload = self._source.payload(entry.index, entry.record)
        return Payload(self._lost(entry.index)) if payload.state == MISSING else payload

    def _lost(self, index: int) -> str:
        """Why a payload is not there: by an erasure, or without any reason."""
        by = self._erased_by(index)
        return MISSING if by is None else f"erased by record {by}"

    def _erased_by(self, index: int) -> int | None:
        """The record of the erasure that took what an entry stands for."""
        if self._standing is None:
            self._standing = Standing()
            self._standing.advance(self._source)
        return self._standing.destroyed.by(index)

    # ------------------------------------------------------------ sessions

    def sessions(self, wanted: Wanted | None = None) -> list[SessionView]:
        """All sessions that match, oldest first, without their statements."""
        wanted = wanted or Wanted()
        found: dict[str, SessionView] = {}
        for entry in self._entries(*self._source.whole, b'"sid":'):
            record = entry.record
            kind, sid = record["type"], record.get("sid", "")
            if kind == "session_begin":
                found[sid] = SessionView(sid, entry.index, record, self.payload(entry))
            elif sid in found:
                _count(found[sid], entry, wanted)
                if kind == RECORDING_MARK:
                    found[sid].erased_by = self._erased_by(entry.index)
        return [
            view for view in found.values()
            if (view.matching or not wanted.asks_for_requests)
            and (not wanted.subject or view.who.content.get("subject") == wanted.subject)
        ]

    def session(self, prefix: str) -> SessionView:
        """One session in full, by its id or the beginning of it."""
        first, last, sid = self._source.session(prefix)
        view: SessionView | None = None
        by_number: dict[int, StatementView] = {}
        for entry in self._entries(first, last, f'"sid":"{sid}"'.encode()):
            record = entry.record
            kind = record["type"]
            if kind == "session_begin":
                view = SessionView(sid, entry.index, record, self.payload(entry))
            elif view is None:
                break
            elif kind == "intent":
                statement = StatementView(entry.index, record, self.payload(entry))
                if "ticket" in record:
                    statement.reviews = self._reviews(record["ticket"])
                by_number[record["sseq"]] = statement
                view.statements.append(statement)
                _count(view, entry, Wanted())
            elif kind == "outcome" and record["record"] in by_number:
                by_number[record["record"]].outcome = record
                _count(view, entry, Wanted())
            elif kind == "session_end":
                view.end = record
            else:
                view.events.append((entry.index, record, self.payload(entry)))
                _count(view, entry, Wanted())
                if kind == RECORDING_MARK:
                    view.erased_by = self._erased_by(entry.index)
        if view is None:
            raise AuditError("the log is damaged: a session has no beginning",
                             advice="run `lockgate audit verify`")
        return view

    def _reviews(self, ticket: str) -> list[tuple[Record, Payload]]:
        """What people said about a ticket, wherever in the log."""
        found = []
        marker = b'"ticket":' + orjson.dumps(ticket)
        for entry in self._entries(0, None, marker, b'"type":"review'):
            data = entry.record.get("data")
            if isinstance(data, dict) and data.get("ticket") == ticket:
                found.append((entry.record, self.payload(entry)))
        return found


def _count(view: SessionView, entry: Entry, wanted: Wanted) -> None:
    record = entry.record
    if record["type"] == "intent":
        view.requests += 1
        view.refused += record["decision"] == "deny" or "refusal" in record
        if wanted.asks_for_requests and wanted.takes(record):
            view.matching.append(entry.index)
    elif record["type"] == "outcome":
        view.rows += record["rows"]
    elif record["type"] == "session_end":
        view.end = record
    elif record["type"] == RECORDING_MARK:
        view.marks[str(record["data"].get("stream"))] = record["data"]


def reviewer(reviews: list[tuple[Record, Payload]]) -> tuple[str, str, str] | None:
    """The verdict on a ticket: what, by whom, with which comment; None where nobody has spoken."""
    for record, payload in reversed(reviews):
        verdict = record.get("data", {}).get("verdict")
        if record["type"] != "review" or verdict is None:
            continue
        content: Mapping[str, Any] = {}
        try:
            content = orjson.loads(payload.content.get("body", "{}"))
        except orjson.JSONDecodeError:
            pass
        pair = content.get("reviewer") or [None, None]
        who = str(pair[1]) if pair[1] else record.get("reviewer", "nobody")
        return str(verdict), who, str(content.get("comment") or "")
    return None
