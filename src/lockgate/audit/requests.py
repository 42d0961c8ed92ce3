"""Erasures that one person asked for and another had to approve: what became of each, as the log says it.

Read from the log and from nothing else, so that requester, reviewer and auditor see the same, with the gateway
running or not. An approval is not the end: a hold that was set meanwhile refuses what was approved, which is a
record (`erasure_refused`), and a restart ends what was under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import orjson

from lockgate.audit.reader import open_payload
from lockgate.audit.standing import read
from lockgate.audit.storage.contract import Source
from lockgate.model import ERASURE_RULE, ErasureState

REFUSED: Final = "erasure_refused"
"""The record of an approved erasure that was not carried out."""
_GONE: Final = "(not kept any more)"
_VERDICTS: Final = ("approved", "denied", "expired", "withdrawn")
_KINDS: Final = (b'"type":"review"', b'"type":"erasure"', b'"type":"erasure_refused"', b'"type":"node_start"')


@dataclass(slots=True)
class ErasureRequest:
    """One request. `asked` and `expires` are Unix seconds, `record` is the entry that it was asked with, `leaves` are
    those of its erasure; `people` are principals, requester and reviewer.
    """

    ticket: str
    record: int
    asked: float
    expires: float
    what: str
    requester: str
    people: list[str]
    state: ErasureState = ErasureState.PENDING
    reviewer: str = ""
    why: str = ""
    leaves: list[int] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"ticket": self.ticket, "state": self.state.value, "record": self.record, "asked": self.asked,
                "expires": self.expires, "what": self.what, "requester": self.requester, "reviewer": self.reviewer or None,
                "why": self.why or None, "leaves": self.leaves}


def erasure_requests(source: Source, now: float, ticket: str | None = None) -> list[ErasureRequest]:
    """All requests in the order of the log, or the one of a ticket. Raises `AuditError` where the log is damaged."""
    found: dict[str, ErasureRequest] = {}
    for index, record in read(source, 0, None, b'"type":"review_request"', b'"%s"' % ERASURE_RULE.encode()):
        data = record.get("data", {})
        name = str(data.get("ticket"))
        if data.get("rules") == [ERASURE_RULE] and ticket in (None, name):
            found[name] = _asked(source, index, record, data, name)
    if not found:
        return []
    later = chain.from_iterable(read(source, 0, None, kind) for kind in _KINDS)
    for index, record in sorted(later, key=lambda item: item[0]):
        if record["type"] == "node_start":
            _restarted(found, index)
            continue
        request = found.get(str(record.get("data", {}).get("ticket")))
        if request is not None:
            _went_on(source, request, index, record)
    for request in found.values():
        if request.state is ErasureState.PENDING and now > request.expires:
            request.state = ErasureState.EXPIRED
    return list(found.values())


def _asked(source: Source, index: int, record: Mapping[str, Any], data: Mapping[str, Any], name: str) -> ErasureRequest:
    said = _said(source, index, record)
    requester = str(record.get("requester", ""))
    return ErasureRequest(name, index, record["time"] / 1000, float(data.get("expires", 0)),
                          str(said.get("text", _GONE)), _named(said, "requester", requester), [requester])


def _restarted(found: Mapping[str, ErasureRequest], index: int) -> None:
    """What waited is nobody's any more: the gateway that would have carried it out has ended."""
    for request in found.values():
        if request.state.is_open and request.record < index:
            request.why = "the gateway was restarted"
            request.state = ErasureState.ENDED


def _went_on(source: Source, request: ErasureRequest, index: int, record: Mapping[str, Any]) -> None:
    kind, data = record["type"], record["data"]
    if kind == "erasure":
        request.leaves.append(index)
        request.state = ErasureState.ERASED if data.get("rest") == "" else request.state
        return
    said = _said(source, index, record)
    if kind == REFUSED:
        request.state, request.why = ErasureState.REFUSED, str(said.get("reason", _GONE))
        return
    reviewer = str(record.get("reviewer", ""))
    if reviewer:
        request.people.append(reviewer)
        request.reviewer = _named(said, "reviewer", reviewer)
    verdict = str(data.get("verdict"))
    request.state = ErasureState(verdict) if verdict in _VERDICTS else ErasureState.ENDED
    request.why = str(said.get("comment") or "") if request.state is not ErasureState.ENDED else verdict.replace("_", " ")


def _said(source: Source, index: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a record's payload says; nothing where it was erased."""
    try:
        body = orjson.loads(open_payload(source, index, record).content.get("body", "{}"))
    except orjson.JSONDecodeError:
        body = {}
    return body if isinstance(body, dict) else {}


def _named(said: Mapping[str, Any], role: str, principal: str) -> str:
    """A person by name, or by principal where the name was erased."""
    pair = said.get(role)
    return str(pair[1]) if isinstance(pair, list) and len(pair) == 2 and pair[1] else principal
