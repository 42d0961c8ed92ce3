"""Prometheus metrics, read from the counters when somebody asks; the hot path knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lockgate.control.ports import Controlled, HistogramView


class GatewayCollector(Collector):
    """Every metric of one gateway."""

    def __init__(self, gateway: Controlled) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """One snapshot."""
        yield from self._sessions()
        yield from self._requests()
        yield from self._health()
        yield from self._exports()

    def _sessions(self) -> Iterator[Metric]:
        counters = self._gateway.counters
        yield GaugeMetricFamily(
            "lockgate_sessions_open", "Sessions that are open now.", value=len(self._gateway.live_sessions()))
        yield CounterMetricFamily(
            "lockgate_sessions", "Sessions that were admitted.", value=counters.sessions)
        yield CounterMetricFamily(
            "lockgate_connections", "Client connections that were accepted.", value=counters.connections)
        logins = CounterMetricFamily("lockgate_logins", "Log-ins by result.", labels=["result"])
        for result, count in sorted(counters.logins.items()):
            logins.add_metric([result], count)
        yield logins
        sent = CounterMetricFamily("lockgate_bytes", "Payload bytes by direction.", labels=["to"])
        sent.add_metric(["backend"], counters.to_server)
        sent.add_metric(["client"], counters.to_client)
        yield sent

    def _requests(self) -> Iterator[Metric]:
        counters = self._gateway.counters
        statements = CounterMetricFamily(
            "lockgate_statements", "Judged statements by decision and verb.", labels=["decision", "verb"])
        for (decision, verb), count in sorted(counters.statements.items()):
            statements.add_metric([decision, verb], count)
        yield statements
        for name, text, label, values in (
            ("lockgate_outcomes", "Forwarded requests by how they ended.", "status", counters.outcomes),
            ("lockgate_masked_values", "Values hidden, by detector or `column`.", "kind", counters.masked),
            ("lockgate_cancels", "Cancel requests by result.", "result", counters.cancels),
            ("lockgate_catalogue_loads", "Looks at a backend's catalogue by result.", "result",
             counters.catalogue_loads),
            ("lockgate_backend_links", "Connections to backends by what became of them.", "event", counters.links),
            ("lockgate_errors", "Errors by kind.", "kind", counters.errors),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in sorted(values.items()):
                family.add_metric([value], count)
            yield family
        yield CounterMetricFamily("lockgate_rows", "Rows that were delivered.", value=counters.rows)
        yield GaugeMetricFamily("lockgate_held_reviews", "Requests that wait for a person now.", value=counters.held)
        bounds = self._gateway.bounds
        yield _histogram("lockgate_request_seconds", "From record to outcome.", bounds, counters.durations)
        yield _histogram("lockgate_review_wait_seconds", "How long held requests waited.", bounds, counters.waits)

    def _health(self) -> Iterator[Metric]:
        gateway = self._gateway
        yield GaugeMetricFamily(
            "lockgate_audit_queue", "Records accepted and not durable yet.", value=gateway.audit_queue())
        yield GaugeMetricFamily(
            "lockgate_audit_writable", "1 while the audit log takes records.", value=int(gateway.is_audit_writable()))
        lag = gateway.witness_lag()
        if lag is not None:
            yield GaugeMetricFamily(
                "lockgate_witness_lag_seconds", "Since a quorum of witnesses cosigned the log; +Inf before.", value=lag)
        yield CounterMetricFamily(
            "lockgate_config_reloads", "Configurations taken over while running.",
            value=gateway.counters.config_reloads)
        yield GaugeMetricFamily(
            "lockgate_config_reload_failed", "1 while the configuration file is not the one in force.",
            value=int(gateway.counters.config_reload_failed))
        ready = GaugeMetricFamily(
            "lockgate_connection_ready", "1 while a connection takes sessions.", labels=["connection"])
        for name, is_ready in sorted(gateway.ready_connections().items()):
            ready.add_metric([name], int(is_ready))
        yield ready

    def _exports(self) -> Iterator[Metric]:
        exports = self._gateway.exports()
        for name, text, values in (
            ("lockgate_export_behind", "Entries of the log that an export has not delivered yet.",
             [(each.name, float(each.behind)) for each in exports]),
            ("lockgate_export_lag_seconds", "Age of the oldest entry that an export has not delivered yet.",
             [(each.name, each.lag) for each in exports]),
            ("lockgate_export_failing", "1 while an export cannot deliver.",
             [(each.name, float(bool(each.problem))) for each in exports]),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["export"])
            for export, value in values:
                gauge.add_metric([export], value)
            yield gauge
        for name, text, counts in (
            ("lockgate_export_entries", "Entries of the log that an export has delivered.",
             [(each.name, each.sent) for each in exports]),
            ("lockgate_export_failures", "Batches that an export could not deliver.",
             [(each.name, each.failures) for each in exports]),
        ):
            counter = CounterMetricFamily(name, text, labels=["export"])
            for export, count in counts:
                counter.add_metric([export], count)
            yield counter


def _histogram(name: str, text: str, bounds: Sequence[float], values: HistogramView) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, bounds), "+Inf"), values.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=values.total)


def registry(gateway: Controlled) -> CollectorRegistry:
    """A registry of this gateway alone; nothing global."""
    made = CollectorRegistry(auto_describe=False)
    made.register(GatewayCollector(gateway))
    return made


def exposition(made: CollectorRegistry) -> bytes:
    """The text format that Prometheus reads."""
    return generate_latest(made)
