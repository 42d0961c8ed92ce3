"""The control API over fakes: who may see and decide what, and how errors look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockgate.audit.export.exporter import Progress
from lockgate.control.api import BODY_LIMIT, create_api
from lockgate.control.ports import LiveSession, Published, Readiness
from lockgate.errors import IdentityError
from lockgate.govern.identity import ShownCertificate
from lockgate.govern.review import ReviewDesk
from lockgate.model import Identity, ReviewTerms, Rule
from lockgate.proxy.counters import BOUNDS, Counters
from tests.unit.govern.fakes import FakeClock, World, held, identity, operation, plan, world

REVIEW = Rule("ask", when='op.verb == "delete"', review=ReviewTerms(frozenset({"dba"}), 900.0))


class Tokens:
    """``subject.group.group`` is a token."""

    def authenticate(
        self, token: str, callback: Callable[[Identity | Exception], None], certificate: ShownCertificate | None = None,
    ) -> None:
        if token == "raises":
            callback(ValueError("canary"))
        elif "." not in token:
            callback(IdentityError("not a token"))
        else:
            subject, *groups = token.split(".")
            callback(identity(subject, *groups))


class FakeGateway:
    """What the API needs, in memory."""

    bounds = BOUNDS

    def __init__(self, made: World) -> None:
        self.counters = Counters()
        self.reviews: ReviewDesk = made.reviews
        self.clock: FakeClock = made.clock
        self.verifier = Tokens()
        self.ready = Readiness(True, {"audit": "ok"})
        self.log = Published(Path("nowhere"), "off")

    def readiness(self) -> Readiness:
        return self.ready

    def live_sessions(self) -> list[LiveSession]:
        return [LiveSession("5e55", "crm", "agent", "https://idp", None, "127.0.0.1:1", 1.0, 2, 3, True)]

    def witness_lag(self) -> float | None:
        return None

    def audit_queue(self) -> int:
        return 7

    def is_audit_writable(self) -> bool:
        return True

    def published(self) -> Published:
        return self.log

    def reviewer_groups(self) -> frozenset[str]:
        return frozenset({"dba", "security"})

    def ready_connections(self) -> Mapping[str, bool]:
        return {"crm": True}

    def exports(self) -> list[Progress]:
        return [Progress("siem", 40, 2, 1.5, 3, "the target is busy or broken (503)")]


@pytest.fixture
def made() -> World:
    return world(Rule("allow", allow=True), REVIEW)


@pytest.fixture
def gateway(made: World) -> FakeGateway:
    return FakeGateway(made)


@pytest.fixture
async def api(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_api(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
def ticket(made: World) -> str:
    waiting = held(made.session().judge(operation("delete", text="DELETE FROM t", parameters=("1", None)), plan))
    return waiting.ticket


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


DORA = bearer("dora.dba")


async def test_health_needs_no_token(api: httpx.AsyncClient, gateway: FakeGateway) -> None:
    """Alive is 200; not ready is 503 with what is in the way."""
    assert (await api.get("/healthz")).status_code == 200
    assert (await api.get("/readyz")).status_code == 200
    gateway.ready = Readiness(False, {"audit": "not writable"})
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]) == (503, {"audit": "not writable"})


async def test_metrics_are_what_prometheus_reads(api: httpx.AsyncClient, gateway: FakeGateway) -> None:
    """Every family parses; counts and histograms are what was counted."""
    gateway.counters.statements["allow", "select"] += 3
    gateway.counters.masked["column"] += 5
    gateway.counters.durations.observe(0.002)
    gateway.counters.durations.observe(100.0)
    text = (await api.get("/metrics")).text
    samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
               for family in text_string_to_metric_families(text) for sample in family.samples}
    assert samples["lockgate_statements_total", (("decision", "allow"), ("verb", "select"))] == 3
    assert samples["lockgate_masked_values_total", (("kind", "column"),)] == 5
    assert samples["lockgate_audit_queue", ()] == 7
    siem = (("export", "siem"),)
    assert [samples[f"lockgate_export_{name}", siem] for name in (
        "behind", "lag_seconds", "failing", "entries_total", "failures_total")] == [2, 1.5, 1, 40, 3]
    assert samples["lockgate_request_seconds_bucket", (("le", "0.0025"),)] == 1
    assert samples["lockgate_request_seconds_bucket", (("le", "+Inf"),)] == 2
    assert samples["lockgate_request_seconds_count", ()] == 2


@pytest.mark.parametrize("path", ["/v1/reviews", "/v1/reviews/LG-AAAA-AAAA", "/v1/sessions"])
@pytest.mark.parametrize(("headers", "status"), [
    ({}, 401), ({"Authorization": "Basic eDp5"}, 401), (bearer("nonsense"), 401), (bearer("raises"), 503),
    (bearer("agent.agents"), 403),
])
async def test_whoever_is_no_reviewer_sees_nothing(
    api: httpx.AsyncClient, ticket: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Without a token 401, with somebody else's 403; errors are problem+json and quote nothing."""
    answer = await api.get(path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "canary" not in answer.text
    assert ticket not in answer.text


async def test_a_reviewer_sees_all_that_a_decision_needs(api: httpx.AsyncClient, ticket: str) -> None:
    """Statement, parameters, who, where, which rule, how long."""
    (entry,) = (await api.get("/v1/reviews", headers=DORA)).json()
    assert entry == (await api.get(f"/v1/reviews/{ticket}", headers=DORA)).json()
    assert (entry["statement"], entry["parameters"], entry["connection"]) == ("DELETE FROM t", ["1", None], "crm")
    assert (entry["requester"]["subject"], entry["rules"], entry["state"]) == ("agent", ["ask"], "pending")
    assert entry["expires_in"] == 900.0


async def test_another_groups_tickets_are_not_shown(api: httpx.AsyncClient, ticket: str) -> None:
    """A reviewer of other things neither lists nor reads nor decides it."""
    other = bearer("sven.security")
    assert (await api.get("/v1/reviews", headers=other)).json() == []
    assert (await api.get(f"/v1/reviews/{ticket}", headers=other)).status_code == 404
    assert (await api.post(f"/v1/reviews/{ticket}/approve", headers=other)).status_code == 403


async def test_a_decision_counts_once(api: httpx.AsyncClient, ticket: str) -> None:
    """Approved, then closed; the requester cannot be the reviewer; unknown tickets are unknown."""
    both = bearer("agent.dba")
    refused = await api.post(f"/v1/reviews/{ticket}/approve", headers=both, json={"comment": "me"})
    assert (refused.status_code, refused.json()["code"]) == (403, "review.self")
    answer = await api.post(f"/v1/reviews/{ticket}/approve", headers=DORA, json={"comment": "fine"})
    assert (answer.status_code, answer.json()["reviewer"], answer.json()["comment"]) == (200, "dora", "fine")
    assert (await api.post(f"/v1/reviews/{ticket}/deny", headers=DORA)).status_code == 409
    assert (await api.post("/v1/reviews/LG-AAAA-AAAA/deny", headers=DORA)).status_code == 404


async def test_a_denial_reaches_the_requester(api: httpx.AsyncClient, made: World) -> None:
    """The comment is in the refusal."""
    waiting = held(made.session().judge(operation("delete", text="DELETE FROM t"), plan))
    answers: list[Any] = []
    waiting.then(answers.append)
    await api.post(f"/v1/reviews/{waiting.ticket}/deny", headers=DORA, json={"comment": "too much"})
    assert "too much" in answers[0].reason


@pytest.mark.parametrize(("body", "status"), [
    (b"x" * (BODY_LIMIT + 1), 413), (b"{", 422), (b"[]", 422), (b'{"comment": 1}', 422), (b'{"other": "x"}', 422),
    (b'{"comment": "' + b"x" * 3000 + b'"}', 422), (b"[" * 9000, 422),
])
async def test_bad_bodies_decide_nothing(
    api: httpx.AsyncClient, ticket: str, body: bytes, status: int
) -> None:
    """Too long, not JSON, not of this shape: an error, and the ticket is as it was."""
    assert (await api.post(f"/v1/reviews/{ticket}/approve", headers=DORA, content=body)).status_code == status
    assert (await api.get(f"/v1/reviews/{ticket}", headers=DORA)).json()["state"] == "pending"


async def test_a_bad_query_is_a_problem(api: httpx.AsyncClient) -> None:
    """Unknown states and limits out of range are 422, unknown paths 404, all problem+json."""
    for path, status in (("/v1/reviews?state=odd", 422), ("/v1/reviews?limit=0", 422), ("/v1/none", 404)):
        answer = await api.get(path, headers=DORA)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_live_sessions_are_listed_for_reviewers(api: httpx.AsyncClient) -> None:
    """Who is connected where, without anything that they sent."""
    (entry,) = (await api.get("/v1/sessions", headers=DORA)).json()
    assert (entry["session"], entry["connection"], entry["subject"]) == ("5e55", "crm", "agent")
