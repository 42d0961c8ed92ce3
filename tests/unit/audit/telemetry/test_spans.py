"""Spans as a collector decodes them: who belongs to whom, what they say, and that sending twice adds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lockgate.audit.export.told import Teller
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.telemetry.spans import Tracer, encoded, span_id, trace_id
from lockgate.model import Activity, Exported
from tests.unit.audit.logs import ORIGIN, sample

PROTOCOLS = {"postgres": Exported(Activity.DATASTORE, "postgresql")}


def sent(folder: Path, **options: bool) -> bytes:
    with open_source(folder) as source:
        tracer = Tracer(source.origin, "1.0", PROTOCOLS)
        return encoded([span for entry in Teller(**options).tell(source, 0) for span in tracer.spans(entry)])


def received(body: bytes) -> list[Any]:
    request = ExportTraceServiceRequest.FromString(body)
    assert {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes} == {
        "service.name": "lockgate", "service.version": "1.0", "service.instance.id": ORIGIN}
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def attributes(span: Any) -> dict[str, Any]:
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


def test_a_trace_for_each_session_and_a_span_for_each_request(tmp_path: Path) -> None:
    """Requests hang below their session's span; a refused one is an error; ids follow from session and record."""
    sample(tmp_path)
    spans = received(sent(tmp_path))
    assert [span.name for span in spans] == [
        "SELECT public.customers", "DROP public.customers", "DELETE public.customers", "SELECT public.customers",
        "session crm", "session crm"]
    for span, (sid, number) in zip(spans, [("a", 1), ("b", 1), ("a", 4), ("b", 2), ("a", 0), ("b", 0)], strict=True):
        assert int.from_bytes(span.trace_id, "big") == trace_id(ORIGIN, sid * 16)
        if number:
            assert int.from_bytes(span.parent_span_id, "big") == span_id(ORIGIN, sid * 16, 0)
            assert attributes(span)["lockgate.record"] == number
            assert int.from_bytes(span.span_id, "big") == span_id(ORIGIN, sid * 16, number)
        else:
            assert span.parent_span_id == b""
    assert [span.status.code for span in spans] == [0, 2, 0, 0, 0, 0]
    assert spans[0].end_time_unix_nano - spans[0].start_time_unix_nano == 1_500_000


def test_attributes_are_those_of_the_conventions(tmp_path: Path) -> None:
    """db.* where OpenTelemetry has a name, lockgate.* with what only we know; every span points at its leaf."""
    sample(tmp_path)
    read, dropped, deleted = received(sent(tmp_path))[:3]
    about = attributes(read)
    with open_source(tmp_path) as source:
        leaf = next(iter(source.hashes(4, 4))).hex()
    assert {name: about[name] for name in (
        "db.system.name", "db.operation.name", "db.collection.name", "db.response.returned_rows", "lockgate.decision",
        "lockgate.masked", "lockgate.masked.by", "lockgate.leaf.index", "lockgate.leaf.hash", "lockgate.connection",
    )} == {
        "db.system.name": "postgresql", "db.operation.name": "SELECT", "db.collection.name": "public.customers",
        "db.response.returned_rows": 1, "lockgate.decision": "allow", "lockgate.masked": 2, "lockgate.masked.by": ["email"],
        "lockgate.leaf.index": 4, "lockgate.leaf.hash": leaf, "lockgate.connection": "crm"}
    assert attributes(dropped)["error.type"] == "lockgate.denied"
    assert attributes(deleted)["lockgate.ticket"] == "T1"


def test_names_and_statements_only_when_asked_for(tmp_path: Path) -> None:
    """No text and no name leaves by default."""
    sample(tmp_path)
    for word in (b"alice", b"planner", b"DELETE FROM", b"ticket 4711"):
        assert word not in sent(tmp_path)
    told = [attributes(span) for span in received(sent(tmp_path, names=True, statements=True))]
    assert [each.get("db.query.text") for each in told][:3] == ["SELECT 1", "DROP TABLE customers", "DELETE FROM customers"]
    assert {each["user.name"] for each in told} == {"alice", "bob"}


def test_what_is_sent_twice_is_the_same(tmp_path: Path) -> None:
    """After a crash the batch comes again, byte for byte, from a new process as well: a collector sees no second span."""
    sample(tmp_path)
    program = ("import sys; from pathlib import Path; from tests.unit.audit.telemetry.test_spans import sent;"
               "sys.stdout.buffer.write(sent(Path(sys.argv[1])))")
    again = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True,
                           cwd=Path(__file__).resolve().parents[4]).stdout
    assert again == sent(tmp_path)


def test_nothing_global_is_installed_and_no_thread_started(tmp_path: Path) -> None:
    """The SDK's provider stays unset and its environment unread: whoever embeds the gateway keeps their own."""
    sample(tmp_path)
    program = """
import json, os, sys, threading
os.environ |= {"OTEL_RESOURCE_ATTRIBUTES": "canary=1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
from pathlib import Path
from tests.unit.audit.telemetry.test_spans import sent
body = sent(Path(sys.argv[1]))
from opentelemetry import metrics, trace
print(json.dumps([type(trace.get_tracer_provider()).__name__, type(metrics.get_meter_provider()).__name__,
                  threading.active_count(), b"canary" in body]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True,
                          cwd=Path(__file__).resolve().parents[4])
    assert json.loads(done.stdout) == ["ProxyTracerProvider", "_ProxyMeterProvider", 1, False]
    assert threading.active_count() >= 1
