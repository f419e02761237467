"""Running tools with all that they may use: their context, their progress, their job events."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from dataclasses import asdict
from functools import partial

import httpx
from redis.asyncio import Redis
from sluiceway.errors import JobEventError, NotStorable, StoreUnavailable
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.files.keeping import FileKeeping, FileLimits, Sent
from sluiceway.files.kinds import KINDS
from sluiceway.files.objects import FileObjects
from sluiceway.ids import new_call_id
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.operations.operations import Started
from sluiceway.store.operations.polls import Polled
from sluiceway.store.people.usage import CallOutcome, ModelCall
from sluiceway.store.records import Operation
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.tracing.spans import within
from sluiceway.wire.file_part import file_part
from sluiceway.wire.message import Part
from sluiceway_llm.calling.charging import charged
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import ModelRequest, Usage
from sluiceway_llm.prices import Prices

from tool_runner.runner.held_operations import Held
from tool_runner.runner.results import (
    Asked,
    Elicits,
    Failed,
    HandedOver,
    Outcome,
    Succeeded,
    Unwanted,
    outcome_of,
    outcome_of_error,
)
from tool_runner.runner.running import Run
from tool_runner.settings import Settings
from tool_runner.tool.callbacks import Callbacks
from tool_runner.tool.context import ToolContext
from tool_runner.tool.conversation import Said, texts_of
from tool_runner.tool.definition import AnyTool
from tool_runner.tool.progress import Progress

_CHARGE_SECONDS = 5
_LOOK_SECONDS = 30


class Runs:
    """The clients that tools may use, and how a run is set up with them."""

    def __init__(
        self,
        settings: Settings,
        output: OperationOutput,
        redis: Redis,
        model: Model,
        http: httpx.AsyncClient,
        job_events: JobEventPublisher,
        agents: AgentStreams,
        store: Store,
        prices: Prices | None = None,
    ) -> None:
        self._settings = settings
        self._output = output
        self._redis = redis
        self._model = model
        self._http = http
        self._job_events = job_events
        self._agents = agents
        self._store = store
        self._prices = prices
        limits = FileLimits(settings.max_file_bytes, KINDS)
        self._files = FileKeeping(store, FileObjects(settings.files_url), limits)
        self._callbacks = Callbacks.from_settings(settings)

    async def run(self, tool: AnyTool, started: Started, held: Held, seconds: float) -> Outcome:
        """Run a tool for an operation, for so long. `held` can cancel it from here on."""
        operation = started.operation
        run = held.run = Run(tool)
        publishes = _tells_job_events(tool)
        progress = Progress(self._output, operation, run.cancel, self._job_events if publishes else None)
        context = self._context(started, progress)
        if publishes:
            await _published(self._job_events.publish_task_started(operation.id, tool.name))
        try:
            outcome = await run.run(operation.input, context, seconds, self._settings.max_result_bytes)
            if not isinstance(outcome, Unwanted):
                await progress.finish()
        finally:
            progress.close()
        return outcome

    async def look(self, tool: AnyTool, polled: Polled) -> Outcome:
        """Ask what became of the work that an outside service has."""
        progress = Progress(self._output, polled.operation, lambda: None, None)
        context = self._context(Started(polled.operation, 0, polled.user_id, polled.seconds_left), progress)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                outcome = outcome_of(await tool.look(polled.handle, context), self._settings.max_result_bytes)
            await progress.finish()
        except TimeoutError:
            return Asked(dict(polled.handle), _LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises ends its operation, and nothing else
            return outcome_of_error(error)
        finally:
            progress.close()
        return outcome

    async def tell_job_events(self, tool: AnyTool, operation: Operation, outcome: Outcome) -> None:
        """The last job event of a tool that has them. Whatever comes of it, the operation has ended."""
        if not _tells_job_events(tool):
            return
        match outcome:
            case Succeeded(result):
                await _published(self._job_events.publish_task_completed(operation.id, tool.name, result))
            case Failed(error):
                reason = f"{error.type}: {error.message}"
                await _published(self._job_events.publish_task_failed(operation.id, tool.name, reason))
            case Unwanted():
                stopped = {"event_type": "task_stopped", "task_type": tool.name, "status": "stopped"}
                await _published(self._job_events.publish_event(operation.id, stopped))
            case HandedOver() | Asked() | Elicits():
                pass

    def _context(self, started: Started, progress: Progress) -> ToolContext:
        operation = started.operation
        return ToolContext(
            operation_id=operation.id,
            task_id=operation.task_id,
            session_id=operation.session_id,
            tool_call_id=operation.tool_call_id,
            user_id=started.user_id,
            attempt=operation.attempt,
            deadline_at=operation.deadline_at,
            ends_at=time.monotonic() + started.seconds_left,
            settings=self._settings,
            model=self._model,
            model_name=self._settings.model,
            http=self._http,
            redis=self._redis,
            job_events=self._job_events,
            agents=self._agents,
            reporter=progress,
            traceparent=within(operation.traceparent),
            callback=self._callbacks.of(operation.id) if self._callbacks is not None else None,
            callbacks=self._callbacks,
            read_conversation=partial(self._read_conversation, operation.task_id),
            charge=partial(self._charge, operation),
            write_down=partial(self._write_down, started.user_id, operation.session_id),
            keep=partial(self._keep, started),
        )

    async def _read_conversation(self, task_id: str, max_messages: int) -> list[Said]:
        task = await self._store.turns.get(task_id)
        return texts_of(await self._store.turns.history(task, max_messages)) if task is not None else []

    async def _charge(
        self, operation: Operation, request: ModelRequest, outcome: CallOutcome, told: Usage | None, said_chars: int
    ) -> None:
        used = charged(request, told, said_chars, self._prices)
        if used is None:
            return
        fields = {"step": operation.step, "purpose": operation.tool_name, "model": request.model, "outcome": outcome}
        call = ModelCall(id=new_call_id(), **fields, **asdict(used))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(_CHARGE_SECONDS):
                task = await self._store.turns.get(operation.task_id)
                if task is not None:
                    await self._store.usage.charge(task, [call])
        except (StoreUnavailable, NotStorable, TimeoutError) as error:
            get_logger().warning("usage_lost", calls=1, reason=str(error))

    async def _write_down(self, user_id: str | None, session_id: str, name: str, fact: str | None) -> int | None:
        known = await self._store.understandings.remember(user_id, name, fact, session_id)
        return len(known.facts) if known is not None else None

    async def _keep(self, started: Started, name: str, content: bytes, media_type: str | None) -> Part:
        sent = Sent(name, media_type, len(content), started.user_id, started.operation.session_id)
        file = await self._files.keep_bytes(sent, content)
        return file_part(file.id, file.name, file.media_type)


def _tells_job_events(tool: AnyTool) -> bool:
    return tool.long and not tool.own_job_events


async def _published(publishing: Awaitable[str]) -> None:
    """See a job event published, or not: the publisher has logged it, and the operation continues."""
    with contextlib.suppress(JobEventError):
        await publishing
