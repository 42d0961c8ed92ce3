"""Entries of the log as spans: a trace for each session, a span for each request that ended or was refused.

Ids are derived from the log's name, the session and the record's number, so that a batch that is sent twice
gives the same spans again and not more of them. Attributes follow OpenTelemetry's semantic conventions for
database clients where there is one, and are ``lockgate.*`` otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.export.told import Record, Told
from lockgate.model import Activity, Exported

_MS: Final = 1_000_000      # nanoseconds
_US: Final = 1_000
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)

Attributes = dict[str, Any]


def resource_of(origin: str, version: str) -> Resource:
    """What all spans and metrics of one gateway have in common."""
    return Resource({"service.name": "lockgate", "service.version": version, "service.instance.id": origin})


def encoded(spans: Sequence[ReadableSpan]) -> bytes:
    """The body of an OTLP/HTTP request (``ExportTraceServiceRequest``)."""
    return bytes(encode_spans(spans).SerializeToString())


def trace_id(origin: str, sid: str) -> int:
    """128 bits that are the same whenever this session is told."""
    return int.from_bytes(sha256(f"lockgate/trace/v1\0{origin}\0{sid}".encode()).digest()[:16], "big") or 1


def span_id(origin: str, sid: str, number: int) -> int:
    """64 bits for a record of a session; number 0 is the session itself."""
    return int.from_bytes(sha256(f"lockgate/span/v1\0{origin}\0{sid}\0{number}".encode()).digest()[:8], "big") or 1


class Tracer:
    """Spans of one log. `protocols` says what each protocol's requests are."""

    def __init__(self, origin: str, version: str, protocols: Mapping[str, Exported]) -> None:
        self._origin = origin
        self._protocols = protocols
        self._resource = resource_of(origin, version)
        self._scope = InstrumentationScope("lockgate.audit", version)

    def spans(self, told: Told) -> list[ReadableSpan]:
        """The spans that an entry completes: a session's end, an outcome, a refused intent."""
        record = told.leaf.record
        kind = record["type"]
        if kind == "session_end":
            return [self._session(told)]
        if kind == "intent" and is_refused(record):
            return [self._refused(told)]
        if kind == "outcome" and told.intent is not None and not is_refused(told.intent.record):
            return [self._request(told, told.intent.record)]
        return []

    def _session(self, told: Told) -> ReadableSpan:
        record = told.leaf.record
        begin = record if told.begin is None else told.begin.record
        connection = str(begin.get("connection", "unknown"))
        attributes: Attributes = {
            "session.id": record["sid"], "lockgate.connection": connection,
            "lockgate.principal": str(begin.get("principal", "")), "lockgate.policy": str(begin.get("policy", "")),
            "lockgate.cause": record["cause"], "lockgate.records": record["count"], "lockgate.session.root": record["root"],
        }
        return self._span(told, f"session {connection}", SpanKind.SERVER, attributes, 0,
                          begin["time"] * _MS, record["time"] * _MS, Status(StatusCode.UNSET))

    def _refused(self, told: Told) -> ReadableSpan:
        record = told.leaf.record
        code = str(record.get("refusal", "denied"))
        at = record["time"] * _MS
        return self._span(told, self._name(told, record), SpanKind.CLIENT,
                          self._about(told, record) | {"error.type": f"lockgate.{code}"},
                          record["sseq"], at, at, Status(StatusCode.ERROR, "refused"))

    def _request(self, told: Told, intent: Record) -> ReadableSpan:
        outcome = told.leaf.record
        status = outcome["status"]
        attributes = self._about(told, intent) | {
            "lockgate.status": status, "lockgate.sent_bytes": outcome["sent"],
            "lockgate.masked": sum(outcome["masked"].values()),
        }
        if outcome["masked"]:
            attributes["lockgate.masked.by"] = sorted(outcome["masked"])
        if self._exported(told).activity is Activity.DATASTORE:
            attributes["db.response.returned_rows"] = outcome["rows"]
            if "code" in outcome:
                attributes["db.response.status_code"] = str(outcome["code"])
        if status != "ok":
            attributes["error.type"] = str(outcome.get("code") or f"lockgate.{status}")
        start = intent["time"] * _MS
        return self._span(told, self._name(told, intent), SpanKind.CLIENT, attributes, intent["sseq"], start,
                          start + outcome["duration"] * _US,
                          Status(StatusCode.UNSET) if status == "ok" else Status(StatusCode.ERROR, status))

    def _about(self, told: Told, intent: Record) -> Attributes:
        exported = self._exported(told)
        verb = str(intent["verbs"][0]).upper() if len(intent["verbs"]) == 1 else ""
        attributes: Attributes = {
            "lockgate.decision": intent["decision"], "lockgate.rules": [str(rule) for rule in intent["rules"]],
            "lockgate.verbs": [str(each) for each in intent["verbs"]],
            "lockgate.objects": [str(each) for each in intent["objects"]], "lockgate.record": intent["sseq"],
            "lockgate.connection": "unknown" if told.begin is None else told.begin.record["connection"],
        }
        if "ticket" in intent:
            attributes["lockgate.ticket"] = str(intent["ticket"])
        if exported.activity is Activity.DATASTORE:
            attributes["db.system.name"] = exported.system or "other_sql"
            if verb:
                attributes["db.operation.name"] = verb
            if len(intent["objects"]) == 1 and "objects_more" not in intent:
                attributes["db.collection.name"] = str(intent["objects"][0])
            if "text" in told.payload:
                attributes["db.query.text"] = told.payload["text"]
        elif exported.activity is Activity.WEB and verb:
            attributes["http.request.method"] = verb
        return attributes

    def _name(self, told: Told, intent: Record) -> str:
        """Of low cardinality: what is done and to what, never the statement."""
        verb = str(intent["verbs"][0]).upper() if len(intent["verbs"]) == 1 else ""
        touched = str(intent["objects"][0]) if len(intent["objects"]) == 1 else ""
        return f"{verb} {touched}".strip() or str(intent["kind"])

    def _exported(self, told: Told) -> Exported:
        return self._protocols.get("" if told.begin is None else str(told.begin.record["protocol"]), Exported())

    def _span(
        self, told: Told, name: str, kind: SpanKind, attributes: Attributes, number: int, start: int, end: int,
        status: Status,
    ) -> ReadableSpan:
        sid = told.leaf.record["sid"]
        for attribute, role in (("user.name", "subject"), ("gen_ai.agent.name", "agent")):
            if isinstance(told.who.get(role), str):
                attributes[attribute] = told.who[role]
        attributes |= {"lockgate.leaf.index": told.leaf.index, "lockgate.leaf.hash": told.leaf.hash.hex()}
        return ReadableSpan(
            name=name, context=self._context(sid, number), parent=self._context(sid, 0) if number else None,
            resource=self._resource, attributes=attributes, kind=kind, status=status, start_time=start, end_time=end,
            instrumentation_scope=self._scope)

    def _context(self, sid: str, number: int) -> SpanContext:
        return SpanContext(trace_id(self._origin, sid), span_id(self._origin, sid, number), is_remote=False,
                           trace_flags=_SAMPLED)
