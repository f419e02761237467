"""The process that every worker service is: settings → logging → clients → queues → presence → health → drain.

A service says in its `__main__` what is special about it: `build(process)` makes its parts, and gives the process the
queues to work on and whatever is to run beside them.

Guarantees
- Nothing is needed to start: while Redis or Postgres is away the process waits, and says in `/readyz` what is missing.
- What runs beside the queues runs from before their first entry until after their last: it is cancelled, or told to
  end, when all of them have drained. Where one part dies, the process dies.
- SIGTERM drains: see `queue/worker.py`. A process that is told to end before its queues are read ends at once.
- Told to end, or with a part that has died, it ends within its drain and `AFTER_DRAIN_SECONDS`, whatever does not let
  go.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from typing import Any, Generic, TypeVar

from redis.asyncio import Redis

from sluiceway.cancelling import cancelled
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS, end_within
from sluiceway.process.health import HealthServer
from sluiceway.process.lifecycle import Stopping, stop_on_signals
from sluiceway.process.logs import get_logger
from sluiceway.process.metrics import LoopLag, new_registry
from sluiceway.process.settings import WorkerSettings
from sluiceway.process.starting import run_service
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Worker, WorkerOptions, persistently
from sluiceway.redis.client import open_redis
from sluiceway.service.agreement import Agreement
from sluiceway.service.connections import ConnectionMetrics
from sluiceway.service.draining import LOOK_SECONDS, Drained
from sluiceway.service.presence import Presence
from sluiceway.service.readiness import Readiness, schema_of
from sluiceway.service.surroundings import Surroundings
from sluiceway.service.worker_metrics import WorkerMetrics
from sluiceway.store import Store

S = TypeVar("S", bound=WorkerSettings)
T = TypeVar("T")
Run = Callable[[], Coroutine[Any, Any, None]]


def run_worker(component: str, settings_type: type[S], build: "Callable[[WorkerProcess[S]], Awaitable[None]]") -> None:
    """The whole of a worker service, from its settings to its exit code."""
    run_service(component, settings_type, lambda settings: serve_worker(component, settings, build))


async def serve_worker(component: str, settings: S, build: "Callable[[WorkerProcess[S]], Awaitable[None]]") -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stopping, settings.drain_seconds + AFTER_DRAIN_SECONDS))
        redis = await stack.enter_async_context(open_redis(settings.redis_url, name=settings.worker_name))
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=settings.worker_name))
        process = WorkerProcess(component, settings, stopping, stack, redis, store)
        await build(process)
        await process.run()
    get_logger().info("stopped")


class WorkerProcess(Generic[S]):
    """What every worker process has, and what `build` adds to it. `registry`: of its metrics.
    `details`: what else it tells in `/readyz`."""

    def __init__(
        self, component: str, settings: S, stopping: Stopping, stack: AsyncExitStack, redis: Redis, store: Store
    ) -> None:
        self.settings = settings
        self.stopping = stopping
        self.redis = redis
        self.store = store
        self.lease = timedelta(seconds=settings.lease_seconds)
        self.readiness = Readiness(stopping)
        self.registry = new_registry(component)
        self.details: Callable[[], dict[str, object]] = dict
        self._stack = stack
        self._surroundings = Surroundings(redis, store)
        self._agreement = Agreement(
            redis, f"{component} {settings.worker_name}", settings, self.readiness.lacks, self.readiness.ready
        )
        self._workers: dict[str, Worker] = {}
        self._beside: list[tuple[str, Run]] = []
        self._ending: list[tuple[str, Run, Callable[[], None] | None]] = []
        self.readiness.look_at("postgres", schema_of(store))
        self.readiness.ask("queues", self._unread)
        self.readiness.look_at("operators", Drained(redis, settings.worker_name, self._workers).look, LOOK_SECONDS)
        self.readiness.ask("surroundings", self._surroundings.problem)
        self.beside("readiness", self.readiness.run)
        self.beside("surroundings", self._surroundings.run)
        self.beside("agreement", self._agreement.run)
        self.beside("loop-lag", LoopLag(self.registry).run)
        ConnectionMetrics(self.registry, redis, store)
        WorkerMetrics(self.registry, self._workers)

    async def open(self, resource: AbstractAsyncContextManager[T]) -> T:
        """A client that is closed when everything has ended."""
        return await self._stack.enter_async_context(resource)

    async def open_queue(self, kind: str) -> PartitionedQueue:
        """A queue waits on a connection of its own, or one for each of its partitions."""
        name = self.settings.worker_name
        blocking = await self.open(open_redis(self.settings.redis_url, name=f"{name}-reader", blocking=True))
        partitions, weights = self.settings.queue_partitions, self.settings.weights
        return PartitionedQueue(
            self.redis, blocking, kind, name, lease=self.lease, partitions=partitions, weights=weights
        )

    def work_on(
        self,
        queue: PartitionedQueue,
        handle: Callable[[Delivery], Awaitable[None]],
        dead_letter: Callable[[Delivery, str], Awaitable[None]],
        *,
        slots: int | None = None,
    ) -> Worker:
        """Handle the queue's entries, so many at once (WORKER_SLOTS, where nothing is said)."""
        slots = self.settings.worker_slots if slots is None else slots
        drain = timedelta(seconds=self.settings.drain_seconds)
        options = WorkerOptions(slots=slots, drain=drain, max_deliveries=self.settings.max_deliveries)
        worker = Worker(queue, handle, dead_letter, options, self.stopping)
        self._workers[queue.kind] = worker
        return worker

    def beside(self, name: str, run: Run) -> None:
        """Run it beside the queues; it is cancelled when they have drained."""
        self._beside.append((name, run))

    def beside_until_it_ends(self, name: str, run: Run, close: Callable[[], None] | None = None) -> None:
        """Run it beside the queues, and wait for its own end, which `stopping` brings about, or `close`, called when
        they have drained."""
        self._ending.append((name, run, close))

    def announce(self, kind: str) -> None:
        """Say that a worker of that kind is there, while it is ready."""
        presence = Presence(self.redis, kind, self.settings.worker_name, self.readiness.ready)
        self.beside("presence", presence.run)

    async def run(self) -> None:
        """Serve health probes, wait for surroundings that are fit, bring the schema up to date, and work until
        `stopping`."""
        settings = self.settings
        health = HealthServer(
            settings.health_host,
            settings.health_port,
            self.readiness.problems,
            warnings=lambda: self._agreement.warnings | self.readiness.warnings(),
            details=self.details,
            registry=self.registry,
            stuck=self._stuck,
        )
        port = await self.open(health.serve())
        if not await self.stopping.race(self._surroundings.suitable()):
            return
        if settings.migrate_on_start and not await self.stopping.race(persistently(self.store.migrate)):
            return
        slots = {kind: worker.slots for kind, worker in self._workers.items()}
        get_logger().info("started", worker=settings.worker_name, slots=slots, health_port=port)
        # All that stays is made. A full collection over it would stop every stream for 60 ms.
        gc.collect()
        gc.freeze()
        await self._work()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, run, _ in self._ending:
                group.create_task(self._part(run), name=name)
            beside = [group.create_task(self._part(run), name=name) for name, run in self._beside]
            await asyncio.gather(*(self._part(worker.run) for worker in self._workers.values()))
            for _, _, close in self._ending:
                if close is not None:
                    close()
            await cancelled(beside)

    async def _part(self, run: Run) -> None:
        try:
            await run()
        except Exception:
            end_within(self.settings.drain_seconds + AFTER_DRAIN_SECONDS)  # the others are waited for
            raise

    def _stuck(self) -> str | None:
        return next((told for worker in self._workers.values() if (told := worker.stuck()) is not None), None)

    def _unread(self) -> str | None:
        unread = sorted(kind for kind, worker in self._workers.items() if not worker.reading)
        return f"not reading yet: {', '.join(unread)}" if unread else None
