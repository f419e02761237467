"""The tool runner's process: settings → logging → tools → clients → loops → drain."""

import asyncio
import gc
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import httpx
from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.process.health import HealthServer
from sluiceway.process.lifecycle import Stopping, stop_on_signals
from sluiceway.process.logs import get_logger
from sluiceway.process.starting import run_service
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.queue.worker import Worker, WorkerOptions, cancelled, persistently
from sluiceway.redis_client import open_redis
from sluiceway.store import Store
from sluiceway.stream.task_streams import TaskStreams
from sluiceway_llm.model import Model

from tool_runner.mcp.servers import McpServers
from tool_runner.runner.captured_output import keep_the_log_whole, output_captured
from tool_runner.runner.discovery import discover
from tool_runner.runner.handler import ToolHandler
from tool_runner.runner.held_operations import HeldOperations
from tool_runner.runner.offering import Offering
from tool_runner.runner.readiness import Readiness
from tool_runner.runner.registry import Registry
from tool_runner.runner.running import abandoned_tasks
from tool_runner.runner.runs import Runs
from tool_runner.settings import Settings
from tool_runner.tool.threads import abandoned_threads
from tool_runner.tools.builtin import builtin_tools

_HTTP_SECONDS = 30.0


async def serve(settings: Settings) -> None:
    """Run tools until SIGTERM or SIGINT."""
    with output_captured():
        await _serve(settings)
    get_logger().info("stopped")
    if abandoned_threads() or abandoned_tasks():
        _leave_them()


async def _serve(settings: Settings) -> None:
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stopping))
        name, lease = settings.worker_name, timedelta(seconds=settings.lease_seconds)
        mcp = McpServers(settings.mcp_servers, approve_destructive=settings.mcp_approve_destructive)
        registry = Registry(settings, [*builtin_tools(settings), *discover(settings.tools_dir)], [mcp])
        queues = registry.queues()

        redis = await stack.enter_async_context(open_redis(settings.redis_url, name=name))
        # Each queue waits on a connection of its own.
        blocking = open_redis(settings.redis_url, name=f"{name}-reader", blocking=True, max_connections=len(queues) + 1)
        await stack.enter_async_context(blocking)
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=name))
        model = await stack.enter_async_context(Model.from_settings(settings, max_connections=sum(queues.values())))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=_HTTP_SECONDS, follow_redirects=False))
        streams = TaskStreams(redis, settings.retention)
        job_events = JobEventPublisher(redis, settings.retention)
        runs = Runs(settings, streams, redis, model, http, job_events, AgentStreams(redis, settings.retention))
        hands = HeldOperations(redis, name, lease)
        handler = ToolHandler(settings, redis, store, registry, hands, runs)

        workers: dict[str, Worker] = {}
        for kind, slots in queues.items():
            queue = WorkQueue(redis, blocking, keys.tool_queue(kind), name, lease=lease)
            drain = timedelta(seconds=settings.drain_seconds)
            options = WorkerOptions(slots=slots, drain=drain, max_deliveries=settings.max_deliveries)
            handle, dead_letter = partial(handler.handle, queue), partial(handler.dead_letter, queue)
            workers[kind] = Worker(queue, handle, dead_letter, options, stopping)
        readiness = Readiness(store, workers, stopping)
        offering = Offering(redis, name, registry, readiness, stopping)
        health = HealthServer(settings.health_host, settings.health_port, readiness.problems)
        port = await stack.enter_async_context(health.serve())
        if settings.migrate_on_start and not await stopping.race(persistently(store.migrate)):
            return
        get_logger().info("started", worker=name, queues=queues, health_port=port)
        gc.collect()
        gc.freeze()

        async with asyncio.TaskGroup() as group:
            # It ends by `close`: a child process that is being ended must not be cut short.
            group.create_task(mcp.run(), name="mcp")
            beside = [
                group.create_task(hands.run(), name="hands"),
                group.create_task(readiness.run(), name="readiness"),
                group.create_task(offering.run(), name="offering"),
            ]
            await asyncio.gather(*(worker.run() for worker in workers.values()))
            mcp.close()
            await cancelled(beside)


def _leave_them() -> None:
    """End without waiting for tools that were cancelled and go on: they would keep the process for ever."""
    get_logger().warning("left_behind", threads=abandoned_threads(), tasks=abandoned_tasks())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    keep_the_log_whole()
    run_service("tool-runner", Settings, serve)


if __name__ == "__main__":
    main()
