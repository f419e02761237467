"""The tool runner's process: a worker process (see there) that has a queue for each kind of its tools.

What tools print is captured for as long as it works. Tools that were cancelled and run on all the same, in threads or
tasks of their own, are left behind at the end.
"""

import asyncio
import os
import sys
from functools import partial

import httpx
from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.process.interim_answers import bound_interim_answers
from sluiceway.process.logs import get_logger
from sluiceway.process.starting import run_service
from sluiceway.service.model_budget import ModelBudget
from sluiceway.service.worker_process import WorkerProcess, serve_worker
from sluiceway.stream.operation_output import OperationOutput
from sluiceway_llm.calling.model import Model
from sluiceway_llm.prices import Prices

from tool_runner.mcp.servers import McpServers
from tool_runner.metrics import Metrics
from tool_runner.runner.beginning import Beginning
from tool_runner.runner.captured_output import keep_the_log_whole, output_captured
from tool_runner.runner.discovery import discover
from tool_runner.runner.handler import ToolHandler
from tool_runner.runner.held_operations import HeldOperations
from tool_runner.runner.offering import Offering
from tool_runner.runner.registry import Registry
from tool_runner.runner.running import abandoned_tasks
from tool_runner.runner.runs import Runs
from tool_runner.settings import Settings
from tool_runner.tool.cookies import no_cookies
from tool_runner.tool.threads import abandoned_threads
from tool_runner.tools.builtin import builtin_tools

_HTTP_SECONDS = 30.0


async def build(process: WorkerProcess[Settings]) -> None:
    """The tools, what they may use, and a queue for each kind of them."""
    settings, redis = process.settings, process.redis
    mcp = McpServers(settings.mcp_servers, approve_destructive=settings.mcp_approve_destructive)
    registry = Registry(settings, [*builtin_tools(settings), *discover(settings.tools_dir)], [mcp])
    queues = registry.queues()
    budget = ModelBudget(redis, settings.limits_of) if settings.limits_models else None
    model = await process.open(Model.from_settings(settings, max_connections=sum(queues.values()), budget=budget))
    process.details = lambda: {**registry.details(), **({"models": told} if (told := model.told()) else {})}
    http = await process.open(httpx.AsyncClient(timeout=_HTTP_SECONDS, cookies=no_cookies()))
    bound_interim_answers(http)
    output = OperationOutput(redis, settings.retention)
    job_events, agents = JobEventPublisher(redis, settings.retention), AgentStreams(redis, settings.retention)
    beginning = Beginning(redis, process.store, settings.worker_name, process.lease)
    held = HeldOperations(redis, settings.worker_name, process.lease)
    prices = Prices(settings.openai_base_url, settings.model_prices, settings.model_price_provider)
    await asyncio.to_thread(prices.load)
    runs = Runs(settings, output, redis, model, http, job_events, agents, process.store, prices)
    handler = ToolHandler(settings, redis, process.store, registry, beginning, held, runs, Metrics(process.registry))
    offering = Offering(redis, settings.worker_name, registry, process.readiness, process.stopping)

    for kind, slots in queues.items():
        queue = await process.open_queue(keys.tool_queue(kind))
        process.work_on(queue, partial(handler.handle, queue), partial(handler.dead_letter, queue), slots=slots)
    process.beside("held-operations", held.run)
    process.beside("offering", offering.run)
    # A child process that is being ended must not be cut short.
    process.beside_until_it_ends("mcp", mcp.run, mcp.close)


async def serve(settings: Settings) -> None:
    """Run tools until SIGTERM or SIGINT."""
    with output_captured():
        await serve_worker("tool-runner", settings, build)
    if abandoned_threads() or abandoned_tasks():
        _leave_them()


def _leave_them() -> None:
    """End without waiting for tools that were cancelled and run on: they would keep the process for ever."""
    get_logger().warning("left_behind", threads=abandoned_threads(), tasks=abandoned_tasks())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    keep_the_log_whole()
    run_service("tool-runner", Settings, serve)


if __name__ == "__main__":
    main()
