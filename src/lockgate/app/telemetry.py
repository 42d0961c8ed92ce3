"""Metrics to a collector, now and then. Imported only where one is configured.

The counters belong to the event loop, so the snapshot is made there; encoding and sending are the chore's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from lockgate.app.targets import collector, version
from lockgate.audit.telemetry.spans import resource_of
from lockgate.config.duration import seconds
from lockgate.config.exports import TelemetrySettings
from lockgate.control.metrics import GatewayCollector
from lockgate.control.otlp import encoded
from lockgate.control.ports import Controlled

_PATIENCE: Final = 5.0      # seconds for the loop to make a snapshot


class MetricsSender:
    """`run` sends one snapshot, or raises `AuditError`; the next one holds everything that it would have said."""

    def __init__(
        self, telemetry: TelemetrySettings, origin: str, gateway: Controlled, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.every = seconds(telemetry.metrics)
        self._target = collector(telemetry, "metrics")
        self._resource = resource_of(origin, version())
        self._collector = GatewayCollector(gateway)
        self._loop = loop
        self._begun = time.time_ns()

    def run(self) -> None:
        """Blocks; called in a thread."""
        families = self._on_loop(lambda: list(self._collector.collect()))
        self._target.write(encoded(families, self._resource, self._begun, time.time_ns()))

    def _on_loop(self, call: Callable[[], list[Any]]) -> list[Any]:
        answer: Future[list[Any]] = Future()
        self._loop.call_soon_threadsafe(lambda: answer.set_result(call()))
        return answer.result(_PATIENCE)
