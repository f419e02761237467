"""What the tool runner does with an entry of its queues: take the operation, run its tool, tell how it ended.

Guarantees
- What was begun is told exactly one end by this handler, or its entry goes to another runner. The end is queued before
  the entry is acknowledged, and is safe from cancellation.
- A tool that may not be repeated is begun once. An operation whose runner died is run again only when its tool is
  repeatable; it fails as INTERRUPTED otherwise.
- Of an operation that was cancelled nothing is told.
"""

import asyncio
import random
import time

from pydantic import TypeAdapter
from redis.asyncio import Redis
from sluiceway.errors import Fenced
from sluiceway.operation.catalogue import read_catalogue
from sluiceway.operation.completions import Completions, ReplicaWait
from sluiceway.process.logs import bound, get_logger, user_hash
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import persistently
from sluiceway.service.deliveries import job_of, keep_dead_letter, read_job
from sluiceway.store import Store
from sluiceway.store.operations.operations import Started
from sluiceway.store.operations.polls import Polled
from sluiceway.store.records import Operation
from sluiceway.tracing import names
from sluiceway.tracing.spans import Attributes, continued, current, trace_id_of, within
from sluiceway.wire.jobs import CompletionJob, ToolJob

from tool_runner.metrics import Metrics
from tool_runner.runner.beginning import Beginning
from tool_runner.runner.held_operations import Held, HeldOperations
from tool_runner.runner.registry import Registry
from tool_runner.runner.results import Asked, Elicits, Failed, HandedOver, Outcome, Succeeded, Unwanted, failed
from tool_runner.runner.runs import Runs
from tool_runner.settings import Settings
from tool_runner.tool.definition import AnyTool

_JOB = TypeAdapter(ToolJob)
_LAST_WORD_SECONDS = 2.5
_RELEASE_SECONDS = (0.3, 0.7)
_MOST_MISSED = 10_000
_UNTOLD_SECONDS = 60.0
_GAVE_UP = "The tool could not be run, after several attempts."
_INTERRUPTED = (
    "The process that ran the tool ended in the middle. The tool was not run again, because it may not be repeated; "
    "it may have had effects."
)


class ToolHandler:
    """For all queues of the process."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        store: Store,
        registry: Registry,
        beginning: Beginning,
        held: HeldOperations,
        runs: Runs,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = store
        self._registry = registry
        self._beginning = beginning
        self._held_operations = held
        self._runs = runs
        self._metrics = metrics
        wait = ReplicaWait(settings.redis_wait_replicas, settings.redis_wait_ms)
        self._completions = Completions(redis, wait, partitions=settings.queue_partitions)
        self._missed: dict[str, float] = {}
        self._log = get_logger()

    async def handle(self, queue: PartitionedQueue, delivery: Delivery) -> None:
        """Do an entry's work; returning means that it is done for good, or in the queue again."""
        job = read_job(_JOB, delivery, "a tool job")
        trace_id = trace_id_of(job.traceparent)
        with bound(task_id=job.task_id, operation_id=job.operation_id, tool=job.tool_name, trace_id=trace_id):
            tool = self._registry.get(job.tool_name)
            if tool is None:
                await self._miss(queue, delivery, job)
            else:
                await self._take(queue, delivery, job, tool)

    async def dead_letter(self, queue: PartitionedQueue, delivery: Delivery, reason: str) -> None:
        """Keep an entry that nobody can handle, and fail its operation, so that the turn resumes."""
        job = job_of(_JOB, delivery)
        task_id, operation_id = (job.task_id, job.operation_id) if job is not None else (None, None)
        await keep_dead_letter(self._store, queue.key, delivery, reason, task_id=task_id, operation_id=operation_id)
        if job is not None:
            await self._publish(job, failed("GAVE_UP", _GAVE_UP))

    # Before it begins

    async def _miss(self, queue: PartitionedQueue, delivery: Delivery, job: ToolJob) -> None:
        """A tool that is not here: leave it to a runner that has it, or to one that may be starting just now."""
        operation = await self._store.operations.get(job.operation_id)
        if operation is None or operation.status not in ("pending", "running"):
            return
        waited = time.monotonic() - self._missed.setdefault(job.operation_id, time.monotonic())
        offered = job.tool_name in await read_catalogue(self._redis)
        if offered or waited < self._settings.tool_wait_seconds:
            await asyncio.sleep(random.uniform(*_RELEASE_SECONDS))  # noqa: S311 - jitter
            await queue.requeue([delivery.entry_id])
        else:
            self._log.warning("tool_unavailable", waited_seconds=round(waited, 1))
            self._missed.pop(job.operation_id)
            sentence = f"Nobody offers the tool {job.tool_name} at the moment. Do without it, or try again later."
            await self._publish(job, failed("TOOL_UNAVAILABLE", sentence))
        while len(self._missed) > _MOST_MISSED:
            del self._missed[next(iter(self._missed))]

    async def _take(self, queue: PartitionedQueue, delivery: Delivery, job: ToolJob, tool: AnyTool) -> None:
        started = await self._beginning.begin(job.operation_id, delivery)
        if started is None:
            await self._look(queue, delivery, job, tool)
            return
        if started.before >= self._settings.max_deliveries:
            await self.dead_letter(queue, delivery, f"begun {started.before} times without an end")
            return
        operation = started.operation
        same = trace_id_of(job.traceparent) == trace_id_of(operation.traceparent)
        parent = job.traceparent if same else operation.traceparent
        with (
            bound(session_id=operation.session_id, user=user_hash(started.user_id)),
            continued(names.execute_tool(tool.name), parent, attributes=_told(operation)),
            self._held_operations.hold(operation, queue.kind, delivery.entry_id) as held,
        ):
            await self._run_to_its_end(job, held, tool, started)

    # What an outside service has

    async def _look(self, queue: PartitionedQueue, delivery: Delivery, job: ToolJob, tool: AnyTool) -> None:
        """Ask for the work that an outside service has; tell it where nobody wants that any more."""
        polled = await persistently(lambda: self._store.polls.get(job.operation_id))
        if polled is None or polled.operation.status == "approval":
            return
        if polled.operation.ended_at is not None:
            await tool.give_up(polled.handle)
            await persistently(lambda: self._store.polls.over(job.operation_id))
            self._log.info("outside_work_cancelled", status=polled.operation.status)
            return
        outcome = await self._runs.look(tool, polled)
        if isinstance(outcome, Asked):
            handle, seconds = outcome.handle, outcome.seconds
            await persistently(lambda: self._store.polls.again(job.operation_id, polled.handle, handle, seconds))
            return
        operation = polled.operation
        if isinstance(outcome, Elicits):
            await self._elicit(polled, outcome)
            return
        self._log.info("operation_ended", attempt=operation.attempt, status=_status(outcome))
        with self._held_operations.hold(operation, queue.kind, delivery.entry_id) as held:
            await self._tell(job, held, operation, outcome)
        await self._runs.tell_job_events(tool, operation, outcome)

    async def _elicit(self, polled: Polled, asks: Elicits) -> None:
        """Have its person asked. The handle first: that one is told the answer. It is due again in a minute, where the
        process dies between the two."""
        operation, before = polled.operation, polled.handle
        await persistently(lambda: self._store.polls.again(operation.id, before, asks.handle, _UNTOLD_SECONDS))
        job = CompletionJob(
            operation_id=operation.id,
            task_id=operation.task_id,
            success=False,
            error=asks.unanswerable,
            elicits=asks.elicitation,
        )
        await persistently(lambda: self._completions.publish(job))
        self._log.info("operation_asks")

    # From its beginning to its end

    async def _run_to_its_end(self, job: ToolJob, held: Held, tool: AnyTool, started: Started) -> None:
        operation, began = started.operation, time.monotonic()
        self._log.info(
            "operation_started",
            attempt=operation.attempt,
            runner=self._settings.worker_name,
        )
        self._metrics.began(operation)
        status, facts = "released", dict[str, str]()
        try:
            if started.before and not tool.repeatable:
                outcome: Outcome = failed("INTERRUPTED", _INTERRUPTED)
            else:
                outcome = await self._runs.run(tool, started, held, min(tool.seconds, started.seconds_left))
            status = _status(outcome)
            if isinstance(outcome, Failed):
                facts["code"] = outcome.error.type
            if held.lost:
                raise Fenced(f"operation {operation.id}, attempt {operation.attempt}: another runner has it")
            await self._tell(job, held, operation, outcome)
            await self._runs.tell_job_events(tool, operation, outcome)
        finally:
            seconds = time.monotonic() - began
            current().ended(status, facts.get("code"))
            self._metrics.ended(tool.name, status, seconds)
            duration_ms = round(seconds * 1000)
            self._log.info(
                "operation_ended",
                **facts,
                attempt=operation.attempt,
                status=status,
                duration_ms=duration_ms,
            )

    async def _tell(self, job: ToolJob, held: Held, operation: Operation, outcome: Outcome) -> None:
        """The one thing that cancellation waits for: a result that is there is not lost to a drain."""
        telling = asyncio.create_task(self._told(job, held, operation, outcome), name=f"telling-{operation.id}")
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            await asyncio.wait({telling}, timeout=_LAST_WORD_SECONDS)
            telling.cancel()
            raise

    async def _told(self, job: ToolJob, held: Held, operation: Operation, outcome: Outcome) -> None:
        match outcome:
            case HandedOver():
                traceparent = within(operation.traceparent)
                await persistently(
                    lambda: self._store.operations.accepted(operation.id, operation.attempt, traceparent)
                )
            case Asked(handle, seconds):
                await persistently(lambda: self._store.polls.accepted(operation.id, operation.attempt, handle, seconds))
                return  # it will be in the queue again
            case Succeeded() | Failed():
                await self._publish(job, outcome)
            case Unwanted() | Elicits():
                pass
        held.done = True

    async def _publish(self, job: ToolJob, outcome: Succeeded | Failed) -> None:
        success = isinstance(outcome, Succeeded)
        result = outcome.result if isinstance(outcome, Succeeded) else None
        error = outcome.error if isinstance(outcome, Failed) else None
        await persistently(
            lambda: self._completions.publish_operation_complete(job.operation_id, job.task_id, success, result, error)
        )


def _told(operation: Operation) -> Attributes:
    """Of its span, when it begins."""
    return {
        names.GEN_AI_OPERATION: "execute_tool",
        names.GEN_AI_TOOL_NAME: operation.tool_name,
        names.GEN_AI_TOOL_CALL: operation.tool_call_id,
        names.GEN_AI_CONVERSATION: operation.session_id,
        names.TASK: operation.task_id,
        names.OPERATION: operation.id,
        names.ATTEMPT: operation.attempt,
    }


def _status(outcome: Outcome) -> str:
    match outcome:
        case Succeeded():
            return "succeeded"
        case Failed():
            return "failed"
        case HandedOver() | Asked() | Elicits():
            return "handed_over"
        case Unwanted():
            return "unwanted"
