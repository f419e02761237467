"""Reports of progress, as outside services send them: preliminary tool outputs in the stream; the newest one wins.

One that the stream does not take now is put off: its turn runs, which the operation does not block, or Redis forgot the
stream. It is shown when the turn waits: by a worker that lets it wait, else by the reconciler.
"""

from collections.abc import Mapping
from typing import Any, Literal

from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import ASKING, Operation
from sluiceway.stream.operation_output import OperationOutput, ShowResult
from sluiceway.wire.events import ToolOutputAvailable
from sluiceway.wire.jobs import ProgressJob
from sluiceway.wire.json_values import clean_json, shorten

_MAX_MESSAGE_CHARS = 500
Outcome = Literal["applied", "late", "superseded", "put off"]
_OUTCOMES: Mapping[ShowResult, Outcome] = {
    "ok": "applied",
    "old": "superseded",
    "ended": "late",
    "refused": "put off",
    "lost": "put off",
}


class ProgressReports:
    def __init__(self, store: Store, output: OperationOutput, max_result_chars: int) -> None:
        self._store = store
        self._operation_output = output
        self._max_result_chars = max_result_chars
        self._log = get_logger()

    async def show(self, job: ProgressJob) -> None:
        """Show it unless a later one or the end was shown, or put it off. Raises StoreUnavailable, RedisUnavailable."""
        operation = await self._store.operations.get(clean_json(job.operation_id))
        if operation is None:
            self._log.warning("progress_of_unknown_operation", operation_id=job.operation_id)
            return
        outcome = await self._show(operation, job)
        if job.receipt is None:
            return
        if outcome == "put off":
            await self._store.completions.put_off_progress(job.receipt)
        else:
            await self._store.completions.note_progress(job.receipt, outcome)

    async def _show(self, operation: Operation, job: ProgressJob) -> Outcome:
        if not operation.open or operation.status in ASKING:
            return "late"
        event = ToolOutputAvailable(tool_call_id=operation.tool_call_id, output=self._output(job), preliminary=True)
        number = job.number or None  # 0: its sender counts nothing
        shown = await self._operation_output.show(operation.task_id, operation.id, [event], number=number)
        return _OUTCOMES[shown]

    def _output(self, job: ProgressJob) -> dict[str, Any]:
        output: dict[str, Any] = {"status": "running"}
        if job.percent is not None:
            output["percent"] = job.percent
        if job.message is not None:
            output["message"] = shorten(clean_json(job.message), _MAX_MESSAGE_CHARS)
        if job.data is not None:
            output["data"] = shorten(clean_json(job.data), self._max_result_chars)
        return output
