"""Whether an entry begins its operation: one proof of life, and one place where it is decided.

Guarantees
- Of any number of entries and runners one begins an operation: Postgres decides, by a compare-and-set.
- It is begun again only when its runner has none of it any more: the entry under which it was begun is this one, whose
  lease ran out, or is gone, as it was released or as Redis forgot it. An entry that is in flight elsewhere, or is about
  to be taken over, is left to whoever has it or gets it.
- What was reported lately is not begun again, applied or not.
"""

from datetime import timedelta
from functools import partial
from secrets import token_hex

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.operation.completions import Completions
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.queue.worker import persistently
from sluiceway.redis.client import command
from sluiceway.store import Store
from sluiceway.store.operations.operations import Started
from sluiceway.store.records import Operation


class Beginning:
    """`runner`: the name of this consumer."""

    def __init__(self, redis: Redis, store: Store, runner: str, lease: timedelta) -> None:
        self._redis = redis
        self._store = store
        self._completions = Completions(redis)
        self._runner = runner
        self._lease = lease
        self._log = get_logger()

    async def begin(self, operation_id: str, delivery: Delivery) -> Started | None:
        """Begin the operation; None: this entry has nothing to begin. Raises RedisUnavailable."""
        # Where only the answer was lost it is not taken for another beginning; nor is that of a dead process of the
        # same name taken for this one.
        runner, over = f"{self._runner}/{token_hex(4)}", 0
        while True:
            start = partial(self._store.operations.start, operation_id, runner, delivery.entry_id, over=over)
            started = await persistently(start)
            if started is not None:
                return started
            standing = await persistently(lambda: self._store.operations.get(operation_id))
            if standing is None or standing.status not in ("pending", "running"):
                if standing is None or standing.status != "accepted":  # that one may be asked for
                    self._log.info("operation_over")
                return None
            if standing.status == "running" and not await self._is_without_a_runner(standing, delivery):
                self._log.info("duplicate_entry", entry_id=delivery.entry_id, deliveries=delivery.deliveries)
                return None
            over = standing.attempt

    async def _is_without_a_runner(self, operation: Operation, delivery: Delivery) -> bool:
        if await self._completions.is_reported(operation.id):
            return False
        if operation.entry_id is None:
            return await self._was_given_up_by_an_older_version(operation.id, delivery)
        queue = Producer(self._redis, keys.tool_queue(operation.queue))
        state = (await queue.states([operation.entry_id], self._lease))[operation.entry_id]
        if operation.entry_id == delivery.entry_id:
            return state.consumer == self._runner
        return state.where == "gone"

    async def _was_given_up_by_an_older_version(self, operation_id: str, delivery: Delivery) -> bool:
        """That one keeps its name under a lease of its own."""
        held = await command(self._redis, "EXISTS", keys.operation_reported(operation_id))
        return not held or delivery.deliveries > 1
