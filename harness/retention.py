"""How long Redis keeps what a test writes by itself, where the test is not about that: as services do by default."""

from datetime import timedelta

from sluiceway.process.retention import Retention

RETENTION = Retention(live=timedelta(hours=24), ended=timedelta(hours=1))


def retention(*, live_seconds: float | None = None, ended_seconds: float | None = None) -> Retention:
    """The same, but for what is given."""
    return Retention(
        live=RETENTION.live if live_seconds is None else timedelta(seconds=live_seconds),
        ended=RETENTION.ended if ended_seconds is None else timedelta(seconds=ended_seconds),
    )
