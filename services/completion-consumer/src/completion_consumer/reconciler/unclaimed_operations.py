"""The reconciler's look at operations whose tool nobody offers any more: they fail soon, not at their deadline.

Guarantees
- Nothing is given up while a runner that offers the tool lives, however long its queue is; nor while somebody renews
  the lease under which it was begun: a runner that drains offers nothing, and finishes what it has.
- The tool has to be missing for all of `after`, as this process sees it, and the operation has to wait for as long, by
  Postgres: a rollout of runners, or a Redis that forgot, gives nothing up.
- A runner that begins it at the same moment wins.
Not guaranteed: that what was begun did nothing. Its model is told so.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway.operation.catalogue import offered_names
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import OperationEnd
from sluiceway.store.records import Operation

from completion_consumer.completions.applying import Applying
from completion_consumer.reconciler.round import Round

UNAVAILABLE = "TOOL_UNAVAILABLE"
_NOT_BEGUN = "No tool runner that offers it is there. It was not run."
_BEGUN = "Its tool runner is gone, and no other one offers it. It may have done something."


class UnclaimedOperations:
    def __init__(
        self,
        redis: Redis,
        store: Store,
        applying: Applying,
        after: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._store = store
        self._applying = applying
        self._after = after
        self._clock = clock
        # By tool, since when it is missing.
        self._missing: dict[str, float] = {}
        self._log = get_logger()

    async def look(self, current: Round, unheld: Sequence[Operation]) -> None:
        """`unheld`: unfinished operations that no living runner has begun. Raises RedisUnavailable, LeadershipLost."""
        names = {operation.tool_name for operation in unheld} | self._missing.keys()
        missing = names - await offered_names(self._redis) if names else set()
        now = self._clock()
        self._missing = {name: self._missing.get(name, now) for name in missing}
        long = {name for name, since in self._missing.items() if now - since >= self._after.total_seconds()}
        given_up = {operation.id: operation for operation in unheld if operation.tool_name in long}
        await current.each("unclaimed", given_up, self._give_up)

    async def _give_up(self, operation: Operation) -> str | None:
        message = _NOT_BEGUN if operation.status == "pending" and operation.attempt == 0 else _BEGUN
        end = OperationEnd("failed", error={"type": UNAVAILABLE, "message": message})
        outcome = await self._store.deadlines.give_up(operation, end, self._after)
        if outcome is None:
            return None
        self._applying.log(outcome, "failed")
        self._log.warning(
            "operation_unclaimed", task_id=operation.task_id, operation_id=operation.id, tool=operation.tool_name
        )
        await self._applying.follow_up(outcome)
        return "operation_unclaimed"
