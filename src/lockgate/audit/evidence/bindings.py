"""What was executed against what was approved, where the texts of both are at hand.

The leaves say that an intent has the binding of its ticket (`ledger`). This computes the binding again from
the payloads: from what was executed and by whom, and compares it with what the reviewer was shown. So a text
cannot be exchanged under a binding that stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from lockgate.audit.evidence.leaf import read_json
from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.evidence.salting import bound_to

_BINDING_VERSION = "lockgate/review-binding/v2"


def request_binding(who: tuple[str, str], connection: str, policy: str, payload: Mapping[str, Any]) -> str:
    """What a request binds to, from what its payload and its session's disclose: issuer and subject, connection,
    policy, statement, parameters, how it is read, and what the session did before that matters.
    """
    bound = [_BINDING_VERSION, who[0], who[1], connection, policy, payload.get("text"), payload.get("parameters"),
             payload.get("reading"), payload.get("context")]
    return sha256(json.dumps(bound, separators=(",", ":"), ensure_ascii=True).encode("ascii")).hexdigest()


class BindingBook:
    """Takes the payloads that matter in the order of the log, and says what does not fit."""

    def __init__(self) -> None:
        self.bound = 0
        """Requests whose binding was computed again."""
        self._people: dict[str, tuple[tuple[str, str], str]] = {}
        self._shown: dict[str, str] = {}

    def concerns(self, record: Mapping[str, Any]) -> bool:
        """Whether a record's payload matters here."""
        kind = record["type"]
        return kind in ("session_begin", "review_request") or (
            kind == "intent" and "ticket" in record and not is_refused(record))

    def take(self, record: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
        """One record and its payload; what is wrong with it, in words."""
        kind = record["type"]
        if kind == "session_begin":
            who = (str(content.get("issuer")), str(content.get("subject")))
            self._people[record["sid"]] = (who, record["connection"])
        elif kind == "review_request":
            self._show(record, content)
        else:
            yield from self._bind(record, content)

    def end(self, sid: str) -> None:
        """The session is over."""
        self._people.pop(sid, None)

    def _show(self, record: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """What a reviewer was shown, by the ticket."""
        data, body = record.get("data"), content.get("body")
        try:
            seen = read_json(body.encode()) if isinstance(body, str) else None
        except ValueError:
            seen = None
        if isinstance(seen, dict) and "text" in seen and isinstance(data, dict):
            self._shown[str(data.get("ticket"))] = _statement(seen)

    def _bind(self, record: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
        ticket = str(record["ticket"])
        if ticket in self._shown and "text" in content and self._shown[ticket] != _statement(content):
            yield f"the statement is not the one that the reviewer of {ticket} was shown"
        known = self._people.get(record.get("sid", ""))
        if known is not None and "reading" in content and "whole" not in content:
            self.bound += 1
            binding = request_binding(known[0], known[1], record["policy"], content)
            if bound_to(str(content.get("salt")), binding) != record.get("binding"):
                yield f"the statement is not the one that ticket {ticket} was given for"


def _statement(content: Mapping[str, Any]) -> str:
    seen = [content.get("text"), content.get("parameters")]
    return sha256(json.dumps(seen, ensure_ascii=True).encode("ascii")).hexdigest()
