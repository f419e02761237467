"""What the queue loops of a worker process tell: slots, entries by how they were left, leases, and their renewal."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

from sluiceway.process.metrics import Family, Gathered, gauges
from sluiceway.queue.worker import Worker


class WorkerMetrics:
    """Of all queues that a process works on. `workers`: by the kind of the queue; it may still grow."""

    def __init__(self, registry: CollectorRegistry, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        Gathered(registry, self._gather)

    def _gather(self) -> Iterable[Family]:
        yield self._of("sluiceway_worker_slots", "Queue entries that may be in flight at once", lambda one: one.slots)
        yield self._of("sluiceway_worker_in_flight", "Queue entries in flight now", lambda one: one.busy)
        yield self._of(
            "sluiceway_worker_lease_tick_age_seconds",
            "Since this process last renewed its leases, or tried to",
            lambda one: one.tick_age_seconds,
        )
        entries = CounterMetricFamily(
            "sluiceway_worker_entries", "Queue entries, by what became of them", labels=["queue", "event"]
        )
        for kind, worker in self._workers.items():
            for event, number in worker.counts.items():
                entries.add_metric([kind, event], number)
        yield entries

    def _of(self, name: str, told: str, value: Callable[[Worker], float]) -> Family:
        return gauges(name, told, "queue", {kind: value(worker) for kind, worker in self._workers.items()})
