"""What the chat worker does with an entry of its queue: claim the turn and run it, or see that it needs no worker."""

from datetime import timedelta

from pydantic import TypeAdapter
from sluiceway.errors import Unavailable
from sluiceway.process.logs import bound, get_logger, user_hash
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.service.deliveries import job_of, keep_dead_letter, read_job
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.stream.registry import TaskRegistry
from sluiceway.tracing import names
from sluiceway.tracing.spans import Attributes, processing, trace_id_of
from sluiceway.turn.ending import TurnEnding
from sluiceway.wire.jobs import ChatJob

from chat_worker.turn.runner import TurnRunner

GAVE_UP = "TURN_GAVE_UP"
_GAVE_UP_MESSAGE = "The answer could not be produced, after several attempts. Please try again."
_JOB = TypeAdapter(ChatJob)


class ChatHandler:
    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        ending: TurnEnding,
        runner: TurnRunner,
        queue: Producer,
        *,
        lease: timedelta,
    ) -> None:
        self._store = store
        self._registry = registry
        self._ending = ending
        self._runner = runner
        self._queue = queue
        self._lease = lease
        self._log = get_logger()

    async def handle(self, delivery: Delivery) -> None:
        """Do an entry's work; returning means that it is done for good."""
        job = read_job(_JOB, delivery, "a chat job")
        # A redelivered entry's lease ran out: it may be the last one that its turn has.
        if delivery.deliveries == 1 and (holder := await self._holder(job.task_id, delivery.entry_id)) is not None:
            self._log.info("duplicate_entry", task_id=job.task_id, entry_id=delivery.entry_id, holder=holder)
            return
        task = await self._store.turns.claim(job.task_id)
        if task is None:
            self._log.info("task_deleted", task_id=job.task_id)
            await self._ending.forget(job.task_id)
            return
        trace_id = trace_id_of(task.traceparent)
        with bound(task_id=task.id, session_id=task.session_id, user=user_hash(task.user_id), trace_id=trace_id):
            if task.ended:
                await self._ending.finalize(task)
            elif task.status == "waiting":
                self._log.info("turn_waits", open_operations=task.open_operations, retry_at=task.retry_at)
            else:
                await self._run(task, job, delivery)

    async def _run(self, task: Task, job: ChatJob, delivery: Delivery) -> None:
        told: Attributes = {
            names.TASK: task.id,
            names.GEN_AI_CONVERSATION: task.session_id,
            names.ATTEMPT: task.attempt,
            names.DELIVERIES: delivery.deliveries,
        }
        same = trace_id_of(job.traceparent) == trace_id_of(task.traceparent)
        with processing("chat", delivery.entry_id, job.traceparent if same else task.traceparent, told):
            await self._runner.run(task, delivery.entry_id, repeated=delivery.deliveries > 1)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Keep an entry that nobody can handle, and end its turn with an error that the user sees."""
        job = job_of(_JOB, delivery)
        await keep_dead_letter(self._store, self._queue.key, delivery, reason, task_id=job.task_id if job else None)
        task = await self._store.turns.get(job.task_id) if job is not None else None
        if task is None or task.ended:
            return
        try:
            error, facts = {"code": GAVE_UP, "message": _GAVE_UP_MESSAGE}, {"deliveries": delivery.deliveries}
            await self._ending.end_unheld(task, "failed", error, facts)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - an entry that is not done now is run, and its model paid, again
            # The letter is kept, and its entry done; the reconciler tries again, with the turn's deadline.
            self._log.exception("turn_not_ended", task_id=task.id, session_id=task.session_id, code=GAVE_UP)

    async def _holder(self, task_id: str, entry_id: str) -> str | None:
        """The living worker, maybe this one, that has the task under another entry. Then this is a second one for it,
        and the other one brings the turn on, also when that worker dies."""
        meta = await self._registry.meta(task_id)
        held = meta.held_entry if meta is not None else None
        if held is None or held == entry_id:
            return None
        state = (await self._queue.states([held], self._lease))[held]
        return state.consumer if state.held else None
