"""What the tool runner counts: how long operations wait, and how runs end. docs/metrics.md has the names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sluiceway.store.records import Operation

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """A tool's name is known beforehand: it is one of those that this runner offers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued_seconds = Histogram(
            "sluiceway_operation_queued_seconds",
            "From the call of a tool that needs no approval to its first runner",
            buckets=_SECONDS,
            registry=registry,
        )
        self._running = Gauge("sluiceway_operations_running", "Tools that run now", registry=registry)
        self._runs = Counter(
            "sluiceway_operation_runs",
            "Runs of tools that this process began, by how it left them",
            ["tool", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "sluiceway_operation_run_seconds", "A run of a tool", ["tool"], buckets=_SECONDS, registry=registry
        )

    def began(self, operation: Operation) -> None:
        self._running.inc()
        # One that a person had to approve waited for him, and not for us.
        if operation.attempt == 1 and operation.started_at is not None and operation.approval is None:
            self._queued_seconds.observe(max(0.0, (operation.started_at - operation.created_at).total_seconds()))

    def ended(self, tool: str, status: str, seconds: float) -> None:
        self._running.dec()
        self._runs.labels(tool, status).inc()
        self._seconds.labels(tool).observe(seconds)
