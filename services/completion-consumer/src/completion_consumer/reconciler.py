"""The reconciler: makes true that everything in Redis can be rebuilt from Postgres.

One leader among all processes, by an advisory lock. A round looks at what is unfinished, turns and operations, and does
again, idempotently, what a crash, a flush or an outage left undone: see unfinished_turns.py, unfinished_operations.py.
Not promised: how fast. A round begins `reconcile_seconds` after the last one ended.
"""

from sluiceway.backoff import Backoff
from sluiceway.errors import Unavailable
from sluiceway.lifecycle import Stopping
from sluiceway.logs import get_logger
from sluiceway.store import Store

from completion_consumer.unfinished_operations import UnfinishedOperations
from completion_consumer.unfinished_turns import UnfinishedTurns


class Reconciler:
    """Rounds, one after the other, until the process ends."""

    def __init__(
        self,
        store: Store,
        turns: UnfinishedTurns,
        operations: UnfinishedOperations,
        period_seconds: float,
        stopping: Stopping,
    ) -> None:
        self._store = store
        self._turns = turns
        self._operations = operations
        self._period_seconds = period_seconds
        self._stopping = stopping
        self._away: dict[str, str] = {"reconciler": "starting"}
        self._log = get_logger()

    async def problems(self) -> dict[str, str]:
        """What keeps it from its rounds; nothing: the last one came to its end, here or where another leads."""
        return self._away

    async def run(self) -> None:
        backoff = Backoff(first_seconds=0.2)
        while not self._stopping:
            try:
                await self.round()
            except Unavailable as error:
                self._away = {error.code: error.detail}
                self._log.warning("waiting", code=error.code, reason=str(error))
                await self._stopping.sleep(backoff.next_seconds())
                continue
            backoff.reset()
            self._away = {}
            await self._stopping.sleep(self._period_seconds)

    async def round(self) -> None:
        """Look at everything once, if this process leads. Raises StoreUnavailable, RedisUnavailable."""
        async with self._store.leadership("reconciler").try_lead() as leads:
            if leads:
                await self._turns.look()
                await self._operations.look()
