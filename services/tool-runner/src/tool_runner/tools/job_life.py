"""The life of a long operation, told twice: to the conversation as progress, and to its job events.

Guarantees: it begins with `task_started`, and ends with `task_completed` where the tool has said `completed`; else with
`task_failed`, or with `task_stopped` where the operation was cancelled, ran out of time or continues elsewhere. Trouble
with the events was logged by their publisher, and never harms the work.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sluiceway.errors import JobEventError

from tool_runner.tool.definition import ToolContext, ToolFailed

_LAST_WORD_SECONDS = 0.4
"""Who was cancelled has a second in all, and the request to the model has to be closed, too."""


class JobLife:
    """`async with JobLife(context, "document_generation") as life`; the job's id is the operation's."""

    def __init__(self, context: ToolContext, task_type: str, **told: Any) -> None:
        self._context = context
        self._events = context.job_events
        self._job_id = context.operation_id
        self._task_type = task_type
        self._told = told

    async def __aenter__(self) -> Self:
        await self.tell(self._events.publish_task_started(self._job_id, self._task_type, **self._told))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self.tell(self._events.publish_event(self._job_id, self._stopped()))
        elif error is not None:
            # Other errors are mistakes of ours, and may quote anything.
            reason = str(error) if isinstance(error, ToolFailed) else "It failed unexpectedly."
            await self.tell(self._events.publish_task_failed(self._job_id, self._task_type, reason))

    async def progress(self, percent: float, message: str, data: Any = None, **members: Any) -> None:
        """Tell both; `data` is shown in the conversation, the members are the event's."""
        await self._context.progress(percent, message, data)
        told = self._events.publish_task_progress(self._job_id, self._task_type, message, percent=percent, **members)
        await self.tell(told)

    async def completed(self, result: Any) -> None:
        """The last event of what went well; behind that of its kind, which the tool publishes."""
        await self.tell(self._events.publish_task_completed(self._job_id, self._task_type, result))

    async def tell(self, publishing: Awaitable[str]) -> None:
        """See an event published, or not."""
        with suppress(JobEventError):
            await publishing

    def _stopped(self) -> dict[str, str]:
        return {"event_type": "task_stopped", "task_type": self._task_type, "status": "stopped"}
