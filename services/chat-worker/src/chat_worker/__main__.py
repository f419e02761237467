"""The chat worker's process: settings → logging → clients → loop → drain."""

import asyncio
import gc
from contextlib import AsyncExitStack
from datetime import timedelta

from sluiceway.operation.catalogue import Catalogue
from sluiceway.operation.publishing import Operations
from sluiceway.process.health import HealthServer
from sluiceway.process.lifecycle import Stopping, stop_on_signals
from sluiceway.process.logs import get_logger
from sluiceway.process.starting import run_service
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.queue.worker import Worker, WorkerOptions, cancelled, persistently
from sluiceway.redis_client import open_redis
from sluiceway.scripts import Scripts
from sluiceway.service.presence import Presence
from sluiceway.store import Store
from sluiceway.stream.task_streams import TaskStreams
from sluiceway.turn.turns import Turns
from sluiceway_llm.background import BackgroundModel
from sluiceway_llm.model import Model

from chat_worker.flusher import Flusher
from chat_worker.handler import ChatHandler
from chat_worker.prompt import load_system_prompt
from chat_worker.readiness import Readiness
from chat_worker.settings import Settings

KIND = "chat"


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stopping))
        redis = await stack.enter_async_context(open_redis(settings.redis_url, name=settings.worker_name))
        blocking = open_redis(settings.redis_url, name=f"{settings.worker_name}-reader", blocking=True)
        await stack.enter_async_context(blocking)
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=settings.worker_name))
        model = await stack.enter_async_context(
            (BackgroundModel if settings.model_continuation == "background" else Model).from_settings(
                settings, max_connections=settings.worker_slots, continuation=settings.prefix_dialect
            )
        )
        streams = TaskStreams(redis, settings.retention)
        flusher = Flusher(Scripts(redis), live_ttl_ms=streams.live_ttl_ms)
        lease = timedelta(seconds=settings.lease_seconds)
        queue = WorkQueue(redis, blocking, KIND, settings.worker_name, lease=lease)
        turns = Turns(store, streams, Producer(redis, KIND), Operations(redis, streams))
        catalogue = Catalogue(redis)
        prompt = load_system_prompt(settings.system_prompt_file)
        handler = ChatHandler(settings, prompt, store, streams, turns, flusher, model, catalogue, queue.key)
        options = WorkerOptions(
            slots=settings.worker_slots,
            drain=timedelta(seconds=settings.drain_seconds),
            max_deliveries=settings.max_deliveries,
        )
        worker = Worker(queue, handler.handle, handler.dead_letter, options, stopping)
        readiness = Readiness(store, model, worker, stopping)
        presence = Presence(redis, KIND, settings.worker_name, readiness.ready)
        health = HealthServer(settings.health_host, settings.health_port, readiness.problems)
        port = await stack.enter_async_context(health.serve())
        if settings.migrate_on_start and not await stopping.race(persistently(store.migrate)):
            return
        get_logger().info("started", worker=settings.worker_name, slots=settings.worker_slots, health_port=port)
        # All that stays is made. A full collection over it would stop every stream for 60 ms.
        gc.collect()
        gc.freeze()

        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(flusher.run(), name="flusher"),
                group.create_task(catalogue.run(), name="catalogue"),
                group.create_task(readiness.run(), name="readiness"),
                group.create_task(presence.run(), name="presence"),
            ]
            await worker.run()
            await cancelled(beside)
    get_logger().info("stopped")


def main() -> None:
    run_service("chat-worker", Settings, serve)


if __name__ == "__main__":
    main()
