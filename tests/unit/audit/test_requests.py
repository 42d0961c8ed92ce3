"""What became of erasures that two persons had to agree on, read from the log alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from lockgate.audit.requests import erasure_requests
from lockgate.audit.storage.sqlite import open_source
from lockgate.model import Erasure, ErasureState, Event
from tests.unit.audit.logs import Driven, Ticking

PAUL, OLGA = ["https://issuer.test", "paul"], ["https://issuer.test", "olga"]
NOW = Ticking().time


def asked(driven: Driven, ticket: str, rules: tuple[str, ...] = ("audit.erasure",)) -> None:
    said = {"requester": PAUL, "reviewer": [None, None], "text": f"ERASE for {ticket}", "comment": None}
    driven.log.event(Event("review_request", {"ticket": ticket, "binding": "ab" * 32, "rules": list(rules),
                                              "expires": int(NOW) + 60}, None, orjson.dumps(said)))


def decided(driven: Driven, ticket: str, verdict: str, comment: str | None = None) -> None:
    said = {"requester": PAUL, "reviewer": OLGA, "comment": comment}
    driven.log.event(Event("review", {"ticket": ticket, "binding": "ab" * 32, "rules": ["audit.erasure"], "verdict": verdict},
                           None, orjson.dumps(said)))


def states(folder: Path, now: float = NOW, ticket: str | None = None) -> dict[str, tuple[ErasureState, str]]:
    with open_source(folder) as source:
        return {one.ticket: (one.state, one.why) for one in erasure_requests(source, now, ticket)}


@pytest.fixture
def log(tmp_path: Path) -> Driven:
    return Driven(tmp_path, clock=Ticking())


def test_each_request_stands_where_the_log_says(log: Driven, tmp_path: Path) -> None:
    """Waiting, decided, refused for what was found after the approval; other tickets are no erasures."""
    for ticket in ("T1", "T2", "T3", "T4", "T5", "T6"):
        asked(log, ticket)
    asked(log, "X1", ("deletes-need-a-person",))
    decided(log, "T2", "approved")
    decided(log, "T3", "denied", "ask the person first")
    decided(log, "T4", "approved", "fine")
    refused = {"requester": PAUL, "reviewer": OLGA, "reason": "entry 9 is under the legal hold 'case-7'"}
    log.log.event(Event("erasure_refused", {"ticket": "T4", "code": "audit.held"}, None, orjson.dumps(refused)))
    decided(log, "T5", "policy_changed")
    decided(log, "T6", "withdrawn")
    log.log.heartbeat()
    log.wait(lambda done: log.log.event(Event("cancel", {}), done))
    assert states(tmp_path) == {
        "T1": (ErasureState.PENDING, ""), "T2": (ErasureState.APPROVED, ""), "T3": (ErasureState.DENIED, "ask the person first"),
        "T4": (ErasureState.REFUSED, "entry 9 is under the legal hold 'case-7'"), "T5": (ErasureState.ENDED, "policy changed"),
        "T6": (ErasureState.WITHDRAWN, "")}
    assert states(tmp_path, NOW + 61, "T1") == {"T1": (ErasureState.EXPIRED, "")}
    log.log.close()
    Driven(tmp_path, clock=Ticking()).log.close()
    after = states(tmp_path)
    assert after["T1"] == after["T2"] == (ErasureState.ENDED, "the gateway was restarted")
    assert after["T4"][0] is ErasureState.REFUSED


def test_an_erasure_in_parts_is_done_with_its_last(log: Driven, tmp_path: Path) -> None:
    """One that a crash cut short is not called done; every record of it is named."""
    asked(log, "T1")
    decided(log, "T1", "approved")

    def part(rest: str) -> None:
        record = Erasure("record", ((1, 1),), ("i", "paul"), "why", ("i", "olga"), "T1", rest)
        assert log.wait(lambda done: log.log.append(record, done)) is None

    part("ab" * 32)
    assert states(tmp_path)["T1"][0] is ErasureState.APPROVED
    part("")
    with open_source(tmp_path) as source:
        (request,) = erasure_requests(source, NOW)
    assert (request.state, request.leaves) == (ErasureState.ERASED, [3, 4])
    assert (request.requester, request.reviewer, request.what) == (request.people[0], "olga", "(not kept any more)")
    log.log.close()
