"""The gateway's metrics as a collector decodes them."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from lockgate.control.metrics import GatewayCollector
from lockgate.control.otlp import encoded
from tests.unit.control.test_api import FakeGateway
from tests.unit.govern.fakes import world


def test_every_metric_is_there_with_its_kind_and_value() -> None:
    """Counters are cumulative sums since the start, gauges are gauges, histograms count between their bounds."""
    gateway = FakeGateway(world())
    gateway.counters.statements["allow", "select"] += 3
    gateway.counters.durations.observe(0.002)
    gateway.counters.durations.observe(0.002)
    gateway.counters.durations.observe(100.0)
    collector = GatewayCollector(gateway)
    body = encoded(collector.collect(), Resource({"service.name": "lockgate"}), 5, 9)
    [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    assert resource.resource.attributes[0].value.string_value == "lockgate"
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert set(found) == {family.name for family in collector.collect()}
    statements = found["lockgate_statements"].sum
    assert (statements.is_monotonic, statements.aggregation_temporality) == (True, 2)
    [point] = statements.data_points
    assert ({each.key: each.value.string_value for each in point.attributes}, point.as_int) == (
        {"decision": "allow", "verb": "select"}, 3)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 9)
    assert found["lockgate_audit_queue"].gauge.data_points[0].as_int == 7
    assert found["lockgate_export_lag_seconds"].gauge.data_points[0].as_double == 1.5
    [spread] = found["lockgate_request_seconds"].histogram.data_points
    assert (found["lockgate_request_seconds"].unit, spread.count, spread.sum) == ("s", 3, 100.004)
    assert spread.bucket_counts[:3] == [0, 2, 0]
    assert spread.bucket_counts[-1] == 1
    assert len(spread.bucket_counts) == len(spread.explicit_bounds) + 1
    assert not spread.HasField("min")
