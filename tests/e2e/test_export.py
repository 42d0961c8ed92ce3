"""The record leaves a real gateway for real receivers, and nothing that happens there stops a request."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lockgate.audit.export.told import Teller
from lockgate.audit.ocsf import Mapper
from lockgate.audit.storage.sqlite import open_source
from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES
from tests.unit.audit.export.receivers import Posted, Read, http_server, stream_receiver
from tests.unit.audit.ocsf.test_events import faults

TOKEN = "siem-token-canary-77"
COLLECTOR = "collector-key-canary-78"
TARGETS = """
  export:
    - {{name: lines, to: file, path: "{folder}/out.jsonl", names: true}}
    - {{name: receiver, to: syslog, address: "127.0.0.1:{syslog}", transport: tcp}}
    - {{name: siem, to: https, url: "{siem}", unsafe_http: true, token: {{env: SIEM_TOKEN}}}}
telemetry:
  otlp: "{collector}"
  unsafe_http: true
  metrics: 1s
  headers: [{{name: x-api-key, value: {{env: COLLECTOR_KEY}}}}]
"""


def eventually(is_true: Callable[[], Any]) -> Any:
    """What `is_true` gives once it is something."""
    end = time.monotonic() + 20
    while not (found := is_true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def started(backend: Server, tokens: Issuer, tmp_path: Path) -> Callable[..., Any]:
    def start(siem: str, collector: str, syslog: int) -> Any:
        return gateway(
            tmp_path / "own", HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}",
                         "audit:\n  mode: full\n  origin: test.lockgate.example/log" + TARGETS.rstrip()) + POLICIES,
            env={"CRM_PASSWORD": PASSWORD, "SIEM_TOKEN": TOKEN, "COLLECTOR_KEY": COLLECTOR},
            backend=backend.port, issuer=tokens.url, siem=siem, collector=collector, syslog=syslog)
    return start


def metrics(front: Gateway) -> dict[str, float]:
    with urllib.request.urlopen(f"{front.control_url}/metrics", timeout=10) as answer:
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#"))}


def lines_of(front: Gateway) -> list[dict[str, Any]]:
    path = front.folder / "out.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def posted_events(posted: Posted) -> list[dict[str, Any]]:
    return [json.loads(line) for path, _, body in posted.requests if path == "/events" for line in body.splitlines()]


def test_file_syslog_https_and_collector_get_the_same_record(started: Any, agent: str) -> None:
    """Statements of a real client arrive at all four, valid by the public model; secrets go where they belong only."""
    with http_server() as siem, stream_receiver() as syslog:
        base = siem.url.removesuffix("/events")
        with started(siem.url, base, syslog.address[1]) as front:
            with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
                connection.execute("SELECT ssn FROM customers").fetchall()
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("DROP TABLE notes")
            eventually(lambda: any(event["activity_name"] == "Logoff" for event in lines_of(front)))
            eventually(lambda: any(event["activity_name"] == "Logoff" for event in posted_events(siem)))
            eventually(lambda: any(path == "/v1/metrics" for path, _, _ in siem.requests))
            eventually(lambda: len(spans(siem)) >= 3)
            check_events(front, siem, syslog)
            check_telemetry(siem)
            check_health(front)
        everything = b"".join(path.read_bytes() for path in front.folder.rglob("*") if path.is_file())
        everything += b"".join(siem.bodies) + b"".join(syslog.connections)
        for secret in (TOKEN, COLLECTOR, PASSWORD, agent.rsplit(".", 1)[1]):
            assert secret.encode() not in everything
        assert {headers.get("authorization") for path, headers, _ in siem.requests if path == "/events"} == {f"Bearer {TOKEN}"}
        assert {headers.get("x-api-key") for path, headers, _ in siem.requests if path != "/events"} == {COLLECTOR}


def spans(posted: Posted) -> list[Any]:
    return [span for path, _, body in posted.requests if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans for span in scope.spans]


def check_events(front: Gateway, siem: Posted, syslog: Read) -> None:
    events = lines_of(front)
    assert [fault for event in events for fault in faults(event)] == []
    read = next(event for event in events if event["class_uid"] == 6005)
    assert (read["actor"]["user"]["name"], read["table"]["name"], read["status"]) == (
        "agent-1", "customers", "Success")
    assert any(event["disposition"] == "Blocked" for event in events)
    order = [event["metadata"]["sequence"] for event in events]
    assert order == sorted(order)
    for others in (posted_events(siem), [json.loads(message[message.index(b"{"):]) for message in syslog.messages]):
        assert [event["raw_data_hash"] for event in others[: len(events)]] == [
            event["raw_data_hash"] for event in events[: len(others)]]
        assert "name" not in next(event for event in others if event["class_uid"] == 6005)["actor"]["user"]
    index = read["metadata"]["sequence"]
    with open_source(front.state / "audit") as source:
        assert [digest.hex() for digest in source.hashes(index, index)] == [read["raw_data_hash"]["value"]]


def check_telemetry(siem: Posted) -> None:
    found = spans(siem)
    assert {span.name for span in found} >= {"SELECT customers", "session crm"}
    root = next(span for span in found if span.name == "session crm")
    assert all(span.trace_id == root.trace_id for span in found)
    assert all(span.parent_span_id == root.span_id for span in found if span is not root)
    body = next(body for path, _, body in reversed(siem.requests) if path == "/v1/metrics")
    names = {metric.name for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
             for scope in resource.scope_metrics for metric in scope.metrics}
    assert {"lockgate_statements", "lockgate_export_lag_seconds", "lockgate_request_seconds"} <= names


def check_health(front: Gateway) -> None:
    now = eventually(lambda: found if (found := metrics(front))['lockgate_export_entries_total{export="siem"}'] else None)
    assert now['lockgate_export_failing{export="lines"}'] == 0
    with urllib.request.urlopen(f"{front.control_url}/readyz", timeout=10) as answer:
        parts = json.load(answer)["parts"]
    assert {name: parts[f"export {name}"] for name in ("lines", "receiver", "siem", "otlp.traces")} == dict.fromkeys(
        ("lines", "receiver", "siem", "otlp.traces"), "ok")


def test_targets_that_are_away_stop_nothing_and_get_everything_later(started: Any, agent: str) -> None:
    """No receiver at all: requests go on, the lag is visible, the gateway stays ready; when they are there again,
    also after `kill -9` of the gateway, everything comes, in order, nothing missing.
    """
    with http_server() as siem:
        siem.answer = lambda _: 503
        with started(siem.url, "http://127.0.0.1:1", 1) as front:
            with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
                for number in range(20):
                    connection.execute(f"SELECT {number}")
            behind = 'lockgate_export_behind{export="siem"}'
            now = eventually(lambda: found if (found := metrics(front))[behind] > 40 and
                             found['lockgate_export_failing{export="receiver"}'] else None)
            assert now['lockgate_export_lag_seconds{export="siem"}'] > 0
            assert now['lockgate_export_entries_total{export="siem"}'] == 0
            with urllib.request.urlopen(f"{front.control_url}/readyz", timeout=10) as answer:
                ready = json.load(answer)
            assert ready["status"] == "ready"
            assert "503" in ready["parts"]["export siem"]
            front.process.kill()
            front.process.wait()
        siem.requests.clear()
        siem.answer = lambda _: 200
        with started(siem.url, "http://127.0.0.1:1", 1) as again:
            eventually(lambda: [event for event in posted_events(siem) if event["activity_name"] == "Start"][1:])
            first = posted_events(siem)
        with open_source(again.state / "audit") as source:
            mapper = Mapper(source.origin, "", {})
            expected = [event["metadata"]["uid"] for told in Teller().tell(source, 0) for event in mapper.events(told)]
        assert [event["metadata"]["uid"] for event in first] == expected[: len(first)]
        assert sum(event["class_uid"] == 6005 for event in first) >= 20
