"""What the completion consumer does with an entry of its queue: apply it, show it, or keep what cannot be applied."""

from sluiceway.process.logs import bound, get_logger
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Unreadable
from sluiceway.service.deliveries import keep_dead_letter
from sluiceway.store import Store
from sluiceway.tracing import names
from sluiceway.tracing.spans import processing, trace_id_of
from sluiceway.wire.jobs import CompletionJob, OperationError, ProgressJob
from sluiceway.wire.json_values import clean_json

from completion_consumer.completions.applying import Applying
from completion_consumer.completions.progress_reports import ProgressReports
from completion_consumer.completions.reading import operation_named_by, read_job
from completion_consumer.metrics import Metrics

_UNREADABLE = OperationError(type="INVALID_RESULT", message="The tool's result could not be read.")
_TOO_LARGE = OperationError(type="RESULT_TOO_LARGE", message="The tool's result is too large to be kept.")
_GAVE_UP = OperationError(message="The tool's result could not be stored, after several attempts.")


class CompletionHandler:
    def __init__(
        self,
        store: Store,
        applying: Applying,
        reports: ProgressReports,
        queue_key: str,
        max_completion_bytes: int,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._applying = applying
        self._reports = reports
        self._queue_key = queue_key
        self._max_completion_bytes = max_completion_bytes
        self._metrics = metrics
        self._log = get_logger()

    async def handle(self, delivery: Delivery) -> None:
        """Do an entry's work; returning means that it is done for good."""
        job = read_job(delivery, self._max_completion_bytes)
        told = {names.OPERATION: job.operation_id, names.DELIVERIES: delivery.deliveries}
        with (
            bound(operation_id=job.operation_id, entry_id=delivery.entry_id, trace_id=trace_id_of(job.traceparent)),
            processing("completions", delivery.entry_id, job.traceparent, told),
        ):
            if isinstance(job, ProgressJob):
                await self._reports.show(job)
                self._metrics.completions.labels("progress").inc()
                return
            outcome = await self._applying.carry_out(job)
            self._metrics.completions.labels(outcome.kind).inc()
            if outcome.kind == "late" and job.receipt is None:  # else the journal has it
                await self._keep(delivery, f"late: {outcome.reason}", job.task_id)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Keep an entry that no attempt could handle. The operation that it ends, where one is named, has failed."""
        operation_id, error = self._what_it_ends(delivery)
        operation = await self._store.operations.get(operation_id) if operation_id is not None else None
        await self._keep(delivery, reason, operation.task_id if operation is not None else None, operation_id)
        if operation is not None:
            await self._applying.carry_out(CompletionJob(operation_id=operation.id, success=False, error=error))

    async def _keep(
        self, delivery: Delivery, reason: str, task_id: str | None, operation_id: str | None = None
    ) -> None:
        ids = {"operation_id": clean_json(operation_id)} if operation_id is not None else {}
        await keep_dead_letter(self._store, self._queue_key, delivery, reason, task_id=clean_json(task_id), **ids)
        self._metrics.dead_letters.inc()

    def _what_it_ends(self, delivery: Delivery) -> tuple[str | None, OperationError]:
        try:
            job = read_job(delivery, self._max_completion_bytes)
        except Unreadable:
            too_large = len(delivery.body) > self._max_completion_bytes
            return operation_named_by(delivery.body), _TOO_LARGE if too_large else _UNREADABLE
        return job.operation_id if isinstance(job, CompletionJob) else None, _GAVE_UP
