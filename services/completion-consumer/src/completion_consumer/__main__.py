"""The completion consumer's process: settings → logging → clients → loops → drain."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway.operation.completions import KIND
from sluiceway.operation.publishing import Operations
from sluiceway.process.health import HealthServer
from sluiceway.process.lifecycle import Stopping, stop_on_signals
from sluiceway.process.logs import get_logger
from sluiceway.process.starting import run_service
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.queue.worker import Worker, WorkerOptions, persistently
from sluiceway.redis_client import open_redis
from sluiceway.store import Store
from sluiceway.stream.task_streams import TaskStreams
from sluiceway.turn.turns import Turns

from completion_consumer.completions.applying import Applying
from completion_consumer.completions.handler import CompletionHandler
from completion_consumer.completions.progress import Progress
from completion_consumer.metrics import Metrics
from completion_consumer.readiness import Readiness
from completion_consumer.reconciler.forgotten_ends import ForgottenEnds
from completion_consumer.reconciler.reconciler import Reconciler
from completion_consumer.reconciler.unfinished import Unfinished
from completion_consumer.reconciler.unfinished_operations import UnfinishedOperations
from completion_consumer.reconciler.unfinished_turns import UnfinishedTurns
from completion_consumer.settings import Settings

_CHAT = "chat"


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stopping))
        redis = await stack.enter_async_context(open_redis(settings.redis_url, name=settings.worker_name))
        blocking = open_redis(settings.redis_url, name=f"{settings.worker_name}-reader", blocking=True)
        await stack.enter_async_context(blocking)
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=settings.worker_name))
        metrics = Metrics()
        worker, reconciler = _parts(settings, redis, blocking, store, metrics, stopping)
        metrics.watch(lambda: reconciler.leads, lambda: worker.busy, settings.worker_slots)
        problems = Readiness(worker, reconciler, stopping).problems
        health = HealthServer(settings.health_host, settings.health_port, problems, metrics.registry)
        port = await stack.enter_async_context(health.serve())
        if settings.migrate_on_start and not await stopping.race(persistently(store.migrate)):
            return
        get_logger().info("started", worker=settings.worker_name, slots=settings.worker_slots, health_port=port)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name="completions")
            group.create_task(reconciler.run(), name="reconciler")
    get_logger().info("stopped")


def _parts(
    settings: Settings, redis: Redis, blocking: Redis, store: Store, metrics: Metrics, stopping: Stopping
) -> tuple[Worker, Reconciler]:
    """The loop over completions, and the rounds of the reconciler beside it."""
    lease = timedelta(seconds=settings.lease_seconds)
    streams = TaskStreams(redis, settings.retention)
    chat = Producer(redis, _CHAT)
    operations = Operations(redis, streams)
    turns = Turns(store, streams, chat, operations)
    applying = Applying(store, streams, turns, settings.max_result_chars)
    progress = Progress(store, streams, settings.max_result_chars)

    queue = WorkQueue(redis, blocking, KIND, settings.worker_name, lease=lease)
    handler = CompletionHandler(store, applying, progress, queue.key, settings.max_completion_bytes, metrics)
    options = WorkerOptions(
        slots=settings.worker_slots,
        drain=timedelta(seconds=settings.drain_seconds),
        max_deliveries=settings.max_deliveries,
    )
    worker = Worker(queue, handler.handle, handler.dead_letter, options, stopping)

    finalize_after = timedelta(seconds=settings.settle_after_seconds)
    unfinished_turns = UnfinishedTurns(
        store,
        streams,
        turns,
        chat,
        lease=lease,
        finalize_after=finalize_after,
        deadline=timedelta(seconds=settings.turn_deadline_seconds),
    )
    unfinished_operations = UnfinishedOperations(
        redis, store, streams, operations, applying, park_for=timedelta(hours=settings.park_hours)
    )
    forgotten_ends = ForgottenEnds(store, streams, turns, retention=settings.retention.ended)
    unfinished = Unfinished(
        store, forgotten_ends, unfinished_turns, unfinished_operations, finalize_after=finalize_after
    )
    return worker, Reconciler(store, unfinished, settings.reconcile_seconds, metrics, stopping)


def main() -> None:
    run_service("completion-consumer", Settings, serve)


if __name__ == "__main__":
    main()
