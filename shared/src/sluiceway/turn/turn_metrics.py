"""Turns that this process ended, by how, and how long they took: whoever ends one in Postgres counts it, once.

Durations are Postgres's, from the acceptance of a turn to its end, whichever processes had it in between.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

from sluiceway.wire.task import EndStatus

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 900, 3600)


class TurnMetrics:
    """`code` says why a turn failed; it is empty where it did not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "sluiceway_turns_ended", "Turns that this process ended", ["status", "code"], registry=registry
        )
        self._seconds = Histogram(
            "sluiceway_turn_seconds",
            "From the acceptance of a turn to its end",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )
        for status in ("completed", "failed", "cancelled"):
            self._seconds.labels(status)
            if status != "failed":
                self._ended.labels(status, "")

    def ended(self, status: EndStatus, code: str, seconds: float) -> None:
        self._ended.labels(status, code).inc()
        self._seconds.labels(status).observe(max(0.0, seconds))
