"""Metrics in the text format of Prometheus, for `GET /metrics`: what every process tells of itself.

Each process makes one registry and passes it on: to the class that has the service's own metrics, and to what serves
them. Nothing registers itself anywhere else, so that many services can be made in one process, and none twice.
Names begin with `sluiceway_`; docs/metrics.md has all of them. Labels have few values, known beforehand: never an id,
and nothing that a user said.
What somebody counts anyhow is `Gathered` from him when the metrics are read, so it costs nothing where it happens.
"""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_LAG_PERIOD_SECONDS = 0.25
_LAG_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
Family = CounterMetricFamily | GaugeMetricFamily


class Gathered(Collector):
    """Metrics that are asked for when they are read."""

    def __init__(self, registry: CollectorRegistry, gather: Callable[[], Iterable[Family]]) -> None:
        self._gather = gather
        registry.register(self)

    def collect(self) -> Iterable[Any]:
        return self._gather()


def counter(name: str, told: str, value: float) -> Family:
    return CounterMetricFamily(name, told, value=value)


def gauge(name: str, told: str, value: float) -> Family:
    return GaugeMetricFamily(name, told, value=value)


def counters(name: str, told: str, label: str, values: Mapping[str, float]) -> Family:
    """One with a single label, by its values."""
    family = CounterMetricFamily(name, told, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def gauges(name: str, told: str, label: str, values: Mapping[str, float]) -> Family:
    family = GaugeMetricFamily(name, told, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def new_registry(component: str) -> CollectorRegistry:
    """A registry that has what the system knows of the process (`process_…`, on Linux), and what was built."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    built = Gauge("sluiceway_build_info", "1, by what runs here", ["component", "version", "python"], registry=registry)
    built.labels(component, version_of(component), platform.python_version()).set(1)
    return registry


class LoopLag:
    """How late the event loop comes to what is due: everything else in the process is at least as late."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "sluiceway_event_loop_lag_seconds",
            "How late the event loop came to a timer, four times a second",
            buckets=_LAG_SECONDS,
            registry=registry,
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_PERIOD_SECONDS
            await asyncio.sleep(_LAG_PERIOD_SECONDS)
            self._seconds.observe(max(0.0, loop.time() - due))


def exposition(registry: CollectorRegistry) -> bytes:
    """All metrics as they are now, in the format named by `CONTENT_TYPE`."""
    return generate_latest(registry)


def version_of(component: str) -> str:
    """Of the package that a service is."""
    try:
        return version(f"sluiceway-{component}")
    except PackageNotFoundError:
        return "unknown"
