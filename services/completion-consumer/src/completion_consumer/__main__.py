"""The completion consumer's process: settings → logging → clients → loop."""

from contextlib import AsyncExitStack
from datetime import timedelta

from sluiceway.backoff import Backoff
from sluiceway.errors import Unavailable
from sluiceway.health import HealthServer
from sluiceway.lifecycle import Stopping, stop_on_signals
from sluiceway.logs import get_logger
from sluiceway.process import run_service
from sluiceway.redis_client import open_redis
from sluiceway.store import Store
from sluiceway.task_stream import TaskStreams
from sluiceway.turns import Turns
from sluiceway.work_queue import Producer
from sluiceway.worker import persistently

from completion_consumer.reconciler import Reconciler
from completion_consumer.settings import Settings


class Rounds:
    """Rounds of the reconciler, one after the other, until the process ends."""

    def __init__(self, reconciler: Reconciler, period_seconds: float, stopping: Stopping) -> None:
        self._reconciler = reconciler
        self._period_seconds = period_seconds
        self._stopping = stopping
        self._away: dict[str, str] = {"reconciler": "starting"}
        self._log = get_logger()

    async def problems(self) -> dict[str, str]:
        return {"reconciler": "draining"} if self._stopping else self._away

    async def run(self) -> None:
        backoff = Backoff(first_seconds=0.2)
        while not self._stopping:
            try:
                await self._reconciler.round()
            except Unavailable as error:
                self._away = {error.code: error.detail}
                self._log.warning("waiting", code=error.code, reason=str(error))
                await self._stopping.sleep(backoff.next_seconds())
                continue
            backoff.reset()
            self._away = {}
            await self._stopping.sleep(self._period_seconds)


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stopping))
        redis = await stack.enter_async_context(open_redis(settings.redis_url, name=settings.worker_name))
        store = await stack.enter_async_context(
            Store.open(
                settings.database_url, max_size=settings.database_pool_size, application_name=settings.worker_name
            )
        )
        streams = TaskStreams(
            redis,
            live_ttl=timedelta(seconds=settings.live_ttl_seconds),
            retention=timedelta(seconds=settings.retention_seconds),
        )
        queue = Producer(redis, "chat")
        reconciler = Reconciler(
            store,
            streams,
            Turns(store, streams, queue),
            queue,
            lease=timedelta(seconds=settings.lease_seconds),
            settle_after=timedelta(seconds=settings.settle_after_seconds),
        )
        rounds = Rounds(reconciler, settings.reconcile_seconds, stopping)
        health = HealthServer(settings.health_host, settings.health_port, rounds.problems)
        port = await stack.enter_async_context(health.serve())
        get_logger().info("started", worker=settings.worker_name, health_port=port)
        if not settings.migrate_on_start or await stopping.race(persistently(store.migrate)):
            await rounds.run()
    get_logger().info("stopped")


def main() -> None:
    run_service("completion-consumer", Settings, serve)


if __name__ == "__main__":
    main()
