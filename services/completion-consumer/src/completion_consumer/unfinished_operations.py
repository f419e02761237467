"""The reconciler's look at operations: what nobody works on, what is overdue, and what was said but not applied.

- An operation past its deadline has failed, and its turn goes on; one that waited for a person just ends.
- An operation that should be in a runner's queue or hand, and is in neither, is queued again: the runner that gets it
  decides whether it may be begun again. One that an outside service works on is left to its deadline.
- A webhook that was accepted, and that the consumer has not dealt with, is put into its queue again.
- A completion that came before its operation is applied; after `park_for` without one it is a dead letter.
Each is bounded per round, so that one kind does not keep the others waiting.
"""

import time
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.completions import KIND, Completions
from sluiceway.jobs import CompletionJob
from sluiceway.logs import get_logger
from sluiceway.message import output_of
from sluiceway.operations import Operations
from sluiceway.redis_client import command
from sluiceway.store import Store
from sluiceway.store.completing import Ending
from sluiceway.store.records import Operation
from sluiceway.task_stream import TaskStreams

from completion_consumer.applying import Applying

_PAGE = 200
# Younger operations and webhooks are still on their way through the process that stored them.
_PUBLISHING = timedelta(seconds=5)
# A webhook whose entry waits in a long queue is not put into it again and again.
_AGAIN_SECONDS = 60.0
_OVERDUE = Ending(
    "expired",
    error={"type": "DEADLINE_EXCEEDED", "message": "The tool did not end before its deadline."},
)
_UNANSWERED = Ending(
    "expired",
    error={"type": "DEADLINE_EXCEEDED", "message": "Nobody answered the request for approval in time."},
)


class UnfinishedOperations:
    def __init__(
        self,
        redis: Redis,
        store: Store,
        streams: TaskStreams,
        operations: Operations,
        applying: Applying,
        *,
        park_for: timedelta,
    ) -> None:
        self._redis = redis
        self._store = store
        self._streams = streams
        self._operations = operations
        self._applying = applying
        self._completions = Completions(redis)
        self._park_for = park_for
        self._looked_at = ""
        self._sent_again: dict[int, float] = {}
        self._log = get_logger()

    async def look(self) -> None:
        """Raises StoreUnavailable, RedisUnavailable."""
        await self._expire()
        await self._queue_again()
        await self._send_webhooks_again()
        await self._apply_parked()

    async def _expire(self) -> None:
        for outcome in await self._store.completions.expire(_OVERDUE, _PAGE):
            self._applying.log(outcome, "expired")
            await self._applying.follow_up(outcome)
        for expired in await self._store.completions.expire_approvals(_UNANSWERED, _PAGE):
            operation = expired.operation
            self._log.info("approval_expired", task_id=operation.task_id, operation_id=operation.id)
            event = output_of(expired.part)
            if event is not None:  # an ended turn's stream does not take it, and needs not
                await self._streams.annotate(operation.task_id, operation.id, [event], final=True)

    async def _queue_again(self) -> None:
        """A page of operations in each round, in turn."""
        page = await self._store.completions.unfinished(self._looked_at, _PUBLISHING, _PAGE)
        self._looked_at = page[-1].id if len(page) == _PAGE else ""
        unheld = [operation for operation in page if not await self._is_held(operation)]
        for operation in await self._operations.republish(unheld):
            self._log.warning(
                "operation_requeued", task_id=operation.task_id, operation_id=operation.id, status=operation.status
            )

    async def _is_held(self, operation: Operation) -> bool:
        """The runner that began it gives signs of life."""
        if operation.status != "running":
            return False
        return bool(await command(self._redis, "EXISTS", keys.operation_holder(operation.id)))

    async def _send_webhooks_again(self) -> None:
        now = time.monotonic()
        self._sent_again = {receipt: at for receipt, at in self._sent_again.items() if now - at < _AGAIN_SECONDS}
        for webhook in await self._store.webhooks.unapplied(_PUBLISHING, _PAGE):
            if webhook.id not in self._sent_again:
                await self._completions.publish(webhook.job)
                self._sent_again[webhook.id] = now
                self._log.warning("webhook_sent_again", operation_id=webhook.operation_id, receipt=webhook.id)

    async def _apply_parked(self) -> None:
        queue = keys.work_queue(KIND)
        for parked in await self._store.completions.parked(_PAGE):
            outcome = await self._applying.apply(CompletionJob.model_validate(parked.body))
            if outcome.kind == "late":
                await self._store.completions.give_up([parked.id], queue, f"late: {outcome.reason}")
            elif outcome.kind != "unknown":
                await self._applying.follow_up(outcome)
                await self._store.completions.unpark(parked.id)
        if outdated := await self._store.completions.outdated(self._park_for, _PAGE):
            await self._store.completions.give_up(outdated, queue, "its operation never came")
            self._log.error("dead_letters", count=len(outdated), reason="completions whose operation never came")
