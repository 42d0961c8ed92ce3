"""The same metrics as OpenTelemetry's: one snapshot of `metrics`, as the body of an OTLP/HTTP request.

Imported only where a collector is configured. Made from the families that Prometheus reads, so that a metric
exists once and both show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def encoded(families: Iterable[Any], resource: Resource, begun: int, now: int) -> bytes:
    """``ExportMetricsServiceRequest`` of all families. `begun` is when counting began; both in Unix nanoseconds."""
    metrics = [_metric(family, begun, now) for family in families]
    scope = InstrumentationScope("lockgate.control")
    data = MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])
    return bytes(encode_metrics(data).SerializeToString())


def _metric(family: Any, begun: int, now: int) -> Metric:
    name, unit = family.name, "s" if family.name.endswith("_seconds") else "1"
    data: Gauge | Sum | Histogram
    if family.type == "histogram":
        data = Histogram([_histogram(family, begun, now)], _CUMULATIVE)
    elif family.type == "counter":
        data = Sum(_numbers(family, begun, now), _CUMULATIVE, is_monotonic=True)
    else:
        data = Gauge(_numbers(family, begun, now))
    return Metric(name, family.documentation, unit, data)


def _numbers(family: Any, begun: int, now: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(dict(sample.labels), begun, now, _whole(sample.value)) for sample in family.samples]


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _histogram(family: Any, begun: int, now: int) -> HistogramDataPoint:
    """Prometheus counts everything up to a bound, OpenTelemetry what lies between two."""
    bounds: list[float] = []
    counts: list[int] = []
    before = total = 0
    observed = 0.0
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            counts.append(int(sample.value) - before)
            before = total = int(sample.value)
            if sample.labels["le"] != "+Inf":
                bounds.append(float(sample.labels["le"]))
        elif sample.name.endswith("_sum"):
            observed = float(sample.value)
    unknown: Any = None     # least and largest are optional in the protocol, and nobody has counted them
    return HistogramDataPoint({}, begun, now, total, observed, counts, bounds, unknown, unknown)
