"""From what was said about an operation to its effects: Postgres first, then the stream, then the next step.

Guarantees: see the promises of a completion in the README. Each step is durable before the next one begins.
"""

import asyncio
from dataclasses import replace
from hashlib import sha256

from sluiceway.errors import NotStorable, StoreUnavailable
from sluiceway.process.logs import get_logger, joined
from sluiceway.queue.worker import persistently
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, ReportedEnd
from sluiceway.store.records import Task
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.resume import TurnResume
from sluiceway.wire.elicitation import asking_events
from sluiceway.wire.events import Event
from sluiceway.wire.jobs import CompletionJob, OperationError
from sluiceway.wire.json_values import clean_json, shorten
from sluiceway.wire.message import output_of

# Clients and models want a result; a tool that has none answers null.
NOTHING = "No result."
# More than it takes from a commit to the note of the queue entry that follows from it.
_TWIN_SECONDS = 0.5
_NOT_STORABLE = {"type": "RESULT_NOT_STORABLE", "message": "The tool's result could not be stored."}
_SILENT = OperationError(message="It failed, and did not say why.")


class Applying:
    """`carry_out` is the whole way of a completion. The reconciler takes its two halves one by one: `apply` is durable
    and happens once; `follow_up` tells of it, and may be done again."""

    def __init__(
        self,
        store: Store,
        output: OperationOutput,
        resume: TurnResume,
        background: TurnBackground,
        dispatch: TurnDispatch,
        max_result_chars: int,
    ) -> None:
        self._store = store
        self._output = output
        self._resume = resume
        self._background = background
        self._dispatch = dispatch
        self._max_result_chars = max_result_chars
        self._log = get_logger()

    async def carry_out(self, job: CompletionJob) -> EndOutcome:
        """Apply it, however long Postgres or Redis is away, with all that follows; park it where its operation is not
        known yet. One that came late has no effect: what becomes of it is its reader's to say."""
        outcome = await self._applied(job)
        match outcome.kind:
            case "unknown":
                await persistently(lambda: self._park(job))
            case "applied" | "repeat":
                # Applying it again after a failure here would answer a repeat, which leaves the next step to others.
                await persistently(lambda: self.follow_up(outcome))
            case "late":
                pass
        return outcome

    async def _applied(self, job: CompletionJob) -> EndOutcome:
        """Where only the answer of Postgres was lost, this call still queues the next step."""
        unsure = False

        async def apply() -> EndOutcome:
            nonlocal unsure
            try:
                return await self.apply(job, unsure=unsure)
            except StoreUnavailable:
                unsure = True
                raise

        return await persistently(apply)

    async def _park(self, job: CompletionJob) -> None:
        body = clean_json(job.model_dump(mode="json", exclude_none=True))
        if await self._store.parked.add(body.get("operation_id"), body.get("task_id"), body):
            self._log.warning("completion_parked", task_id=job.task_id)
        else:
            self._log.info("completion_of_deleted", task_id=job.task_id)

    async def apply(self, job: CompletionJob, *, unsure: bool = False) -> EndOutcome:
        """Raises StoreUnavailable: it may have been applied then, and applying it again answers a repeat. `unsure`:
        that happened before."""
        if job.elicits is not None and (asked := await self._ask(job)) is not None:
            return asked
        completion = ReportedEnd(
            operation_id=clean_json(job.operation_id),
            task_id=clean_json(job.task_id),
            end=self._ending(job),
            # Sent again it is the same, whichever span it comes from.
            digest=sha256(job.model_copy(update={"traceparent": None}).encode()).hexdigest(),
            receipt=job.receipt,
        )
        completion, outcome = await self._complete(completion, unsure)
        if outcome.operation is not None:
            ended = completion.end.status if outcome.kind == "applied" else outcome.operation.status
            self.log(outcome, ended)
        return outcome

    async def _ask(self, job: CompletionJob) -> EndOutcome | None:
        """Let it wait for its person. None: nobody is there to be asked, so it ends."""
        if job.elicits is None or job.operation_id is None or job.task_id is None:
            return None
        try:
            outcome = await self._store.elicitations.ask(job.operation_id, job.task_id, job.elicits)
        except NotStorable as error:
            self._log.error("question_not_storable", operation_id=job.operation_id, reason=str(error))
            return None
        if outcome is not None:
            self.log(outcome, "approval")
        return outcome

    async def _complete(self, completion: ReportedEnd, unsure: bool) -> tuple[ReportedEnd, EndOutcome]:
        """As it was reported; where Postgres refuses that, the operation has failed, and its turn continues."""
        try:
            return completion, await self._store.completions.complete(completion, unsure=unsure)
        except NotStorable as error:
            self._log.error("result_not_storable", operation_id=completion.operation_id, reason=str(error))
        failed = replace(completion, end=OperationEnd("failed", error=_NOT_STORABLE))
        try:
            return failed, await self._store.completions.complete(failed, unsure=unsure)
        except NotStorable:
            # Then it is the message that takes no more: the turn has to continue to where it can end.
            untold = replace(failed, end=replace(failed.end, told=False))
            return untold, await self._store.completions.complete(untold, unsure=unsure)

    async def follow_up(self, outcome: EndOutcome) -> None:
        """Show the result in the stream, and resume a turn that waits for nothing any more; one in the background
        ends, and another continues it. Raises RedisUnavailable, StoreUnavailable.

        The worker of the next step shows it where the stream does not take it, or does not exist.
        """
        if outcome.operation is None or outcome.task is None or outcome.task.ended:
            return
        output = _shown(outcome)
        background = outcome.task.background_at is not None
        if outcome.resumes and outcome.kind == "applied" and not background:
            await self._resume.resume(outcome.task, outcome.operation, output)
            return
        if output:
            await self._output.show(outcome.task.id, outcome.operation.id, output, final=True)
        if outcome.resumes and background:
            await self._background.carry_on(outcome.task)
        elif outcome.resumes:
            await self._queue_unless_its_twin_does(outcome.task)

    async def _queue_unless_its_twin_does(self, task: Task) -> None:
        """A repeat may be this consumer's own doing, whose answer was lost; or its twin has applied it a moment ago."""
        await asyncio.sleep(_TWIN_SECONDS)
        now = await self._store.turns.get(task.id)
        if now is not None and (now.status, now.attempt) == (task.status, task.attempt):
            await self._dispatch.publish(task)

    def log(self, outcome: EndOutcome, ended: str) -> None:
        operation = outcome.operation
        if operation is None:
            return
        fields: dict[str, object] = {"reason": outcome.reason} if outcome.reason else {}
        if operation.ended_at is not None:
            fields["duration_ms"] = round((operation.ended_at - operation.created_at).total_seconds() * 1000)
        self._log.info(
            "operation_completed",
            outcome=outcome.kind,
            status=ended,
            task_id=operation.task_id,
            session_id=operation.session_id,
            operation_id=operation.id,
            tool_name=operation.tool_name,
            resumes=outcome.resumes,
            **joined(operation.traceparent, outcome.task.user_id if outcome.task is not None else None),
            **fields,
        )

    def _ending(self, job: CompletionJob) -> OperationEnd:
        whole = clean_json(job.result)
        if job.success:
            shown = NOTHING if whole is None else shorten(whole, self._max_result_chars)
            return OperationEnd("succeeded", output=whole, shown=shown)
        error = job.error or _SILENT
        message = shorten(clean_json(error.message), self._max_result_chars)
        return OperationEnd("failed", output=whole, error={"type": clean_json(error.type), "message": message})


def _shown(outcome: EndOutcome) -> list[Event]:
    if outcome.asks is not None:
        return asking_events(outcome.asks)
    event = output_of(outcome.part) if outcome.part is not None else None
    return [event] if event is not None else []
