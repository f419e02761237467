"""What the connection pools of a process tell: how many are in use, and how long somebody waited for one."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from sluiceway.process.metrics import Family, Gathered, counter, gauge, gauges
from sluiceway.redis.client import pools_of
from sluiceway.store import Store


class ConnectionMetrics:
    """Of one client of Redis, and of the store."""

    def __init__(self, registry: CollectorRegistry, redis: Redis, store: Store) -> None:
        self._redis = redis
        self._store = store
        Gathered(registry, self._gather)

    def _gather(self) -> Iterable[Family]:
        pools = pools_of(self._redis)
        yield from _of(
            "redis",
            "Redis",
            sum(pool.in_use for pool in pools),
            sum(pool.idle for pool in pools),
            sum(pool.max_connections for pool in pools),
            sum(pool.waits for pool in pools),
            sum(pool.wait_seconds for pool in pools),
        )
        state = self._store.pool_state
        yield from _of("postgres", "Postgres", state.in_use, state.idle, state.most, state.waits, state.wait_seconds)


def _of(prefix: str, name: str, in_use: int, idle: int, most: int, waits: int, wait_seconds: float) -> Iterable[Family]:
    states = {"in_use": float(in_use), "idle": float(idle)}
    yield gauges(f"sluiceway_{prefix}_connections", f"Connections to {name} of this pool", "state", states)
    yield gauge(f"sluiceway_{prefix}_connections_max", f"Connections to {name} that the pool may have", most)
    yield counter(f"sluiceway_{prefix}_acquisitions", f"How often a connection to {name} was taken", waits)
    yield counter(
        f"sluiceway_{prefix}_wait_seconds",
        f"Seconds spent waiting for, or making, a connection to {name}",
        wait_seconds,
    )
