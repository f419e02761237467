"""A stage for one run of a tool: a waiting task in a real Valkey, the fake model server, and what was seen of it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher, read_job_events
from sluiceway.store.records import Operation
from sluiceway.wire.events import Data, ToolOutputAvailable
from sluiceway.wire.task import TaskFields
from sluiceway_llm.calling.model import Model
from tool_runner.settings import Settings
from tool_runner.tool.context import ToolContext
from tool_runner.tool.definition import FunctionTool
from tool_runner.tool.progress import Progress

from harness.clients.turns import Streams
from harness.model_server import ModelServer
from harness.retention import RETENTION

OPERATION = "op_1"
_TASK = TaskFields("task_1", "ses_1", "ada", "msg_1", "2026-11-22T00:00:00+00:00")
_LATER = datetime.now(UTC) + timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """`run` is what a runner does with a tool; the rest is what a browser, and readers of its events, get to see."""

    context: ToolContext
    streams: Streams
    redis: Redis

    async def run(self, tool: FunctionTool, **arguments: Any) -> dict[str, Any]:
        result = await tool.run(tool.read(arguments), self.context)
        await self.context.reporter.finish()
        assert isinstance(result, dict)
        json.dumps(result)
        return result

    async def progress(self) -> list[dict[str, Any]]:
        """The preliminary outputs that were shown, in order."""
        events = [entry.event for entry in await self.streams.reader.read(_TASK.task_id)]
        return [event.output for event in events if isinstance(event, ToolOutputAvailable)]

    async def parts(self) -> list[Data]:
        """The `data-` parts of the answer, in order."""
        return [entry.event for entry in await self.streams.reader.read(_TASK.task_id) if isinstance(entry.event, Data)]

    async def job_events(self) -> list[dict[str, Any]]:
        events = await read_job_events(self.redis, OPERATION, limit=1000) or []
        return [json.loads(event.data) for event in events]

    async def agent_events(self) -> list[AgentEvent]:
        return await self.context.agents.events(OPERATION)


@asynccontextmanager
async def stage_for(redis: Redis, model: ModelServer, **settings: Any) -> AsyncIterator[Stage]:
    """Settings in lower case, such as `model_attempts=1`."""
    streams = Streams(redis)
    await streams.registry.create(_TASK)
    await streams.writer.begin(_TASK, 1)
    await streams.writer.wait(_TASK.task_id, 1, {})
    progress = Progress(streams.output, _operation(), ended=lambda: None)
    async with Model(model.base_url, "sk-of-the-test") as client, httpx.AsyncClient() as http:
        context = ToolContext(
            operation_id=OPERATION,
            task_id=_TASK.task_id,
            session_id=_TASK.session_id,
            tool_call_id="call_1",
            user_id=_TASK.user_id,
            attempt=1,
            deadline_at=_LATER,
            ends_at=time.monotonic() + 3600,
            settings=Settings(**{"model": "fake", **settings}),
            model=client,
            model_name="fake",
            http=http,
            redis=redis,
            job_events=JobEventPublisher(redis, RETENTION),
            agents=AgentStreams(redis, RETENTION),
            reporter=progress,
        )
        yield Stage(context, streams, redis)
        progress.close()


def _operation() -> Operation:
    return Operation(
        id=OPERATION,
        task_id=_TASK.task_id,
        session_id=_TASK.session_id,
        message_id=_TASK.message_id,
        step=1,
        tool_call_id="call_1",
        tool_name="a_long_tool",
        input={},
        queue="default",
        status="running",
        attempt=1,
        runner="runner",
        approval_id=None,
        approval=None,
        error=None,
        traceparent=None,
        deadline_seconds=3600,
        deadline_at=_LATER,
        created_at=_LATER,
        started_at=None,
        ended_at=None,
    )
