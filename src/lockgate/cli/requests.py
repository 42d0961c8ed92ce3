"""Erasures that wait for somebody else, in words, for those who asked and for those who approved.

An approval is answered before it is carried out, so whoever gave it is told what became of it: a legal hold
that was set meanwhile refuses what was approved.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from lockgate.cli.calling import call
from lockgate.cli.shown import one_line
from lockgate.model import ERASURE_RULE, ErasureState, Secret

_PATIENCE: Final = 60.0     # seconds; an erasure walks through the log first
_POLL: Final = 0.2

ERASED, CAME_TO_NOTHING, WAITS = range(3)
"""Exit statuses."""


def asked_for(url: str, token: Secret, ticket: str | None) -> Any:
    """The requests that the control API shows to the token's bearer, or the one of a ticket."""
    return call(url, "/v1/audit/erasures" + ("" if ticket is None else f"?ticket={quote(ticket, safe='')}"), token)


def is_erasure(review: dict[str, Any]) -> bool:
    """Whether a ticket is about an erasure."""
    return review.get("rules") == [ERASURE_RULE]


def outcome(url: str, token: Secret, ticket: str) -> dict[str, Any] | None:
    """What became of an approved erasure, waited for; None where nothing is known of it."""
    deadline, pause = time.monotonic() + _PATIENCE, threading.Event()
    while True:
        found = asked_for(url, token, ticket)
        request: dict[str, Any] | None = found[0] if found else None
        if request is None or not ErasureState(request["state"]).is_open or time.monotonic() > deadline:
            return request
        pause.wait(_POLL)


def status_of(request: dict[str, Any]) -> int:
    """The exit status that says what became of a request."""
    state = ErasureState(request["state"])
    return ERASED if state is ErasureState.ERASED else WAITS if state.is_open else CAME_TO_NOTHING


def words_of(request: dict[str, Any]) -> str:
    """One request for people, in two lines."""
    asked = datetime.fromtimestamp(request["asked"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    who = one_line(request["requester"]) + (f", decided by {one_line(request['reviewer'])}" if request["reviewer"] else "")
    what = one_line(request["what"].partition("\n")[0])
    records = ", ".join(map(str, request["leaves"]))
    came = {"erased": f"on record as {records}"}.get(request["state"], one_line(request["why"] or ""))
    return f"{request['ticket']}  {request['state']}{f': {came}' if came else ''}\n    asked {asked} by {who}: {what}"
