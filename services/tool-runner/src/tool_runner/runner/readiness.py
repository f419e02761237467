"""Whether this runner would run an operation: its queues are read, Postgres has the schema, its tools are offered."""

import asyncio
from collections.abc import Mapping

from sluiceway.errors import StoreUnavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import Worker
from sluiceway.store import Store

_READY_PERIOD = 5.0
_UNREADY_PERIOD = 0.5


class Readiness:
    """Looks at Postgres from time to time, more often while something is wrong; answers from what it last saw.

    `offered`: the catalogue has its tools. It offers them when it is `able`, so that is asked without them.
    """

    def __init__(self, store: Store, workers: Mapping[str, Worker], stopping: Stopping) -> None:
        self._store = store
        self._workers = workers
        self._stopping = stopping
        self._seen: dict[str, str] = {"postgres": "not asked yet"}
        self.offered = False
        self._log = get_logger()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            seen = await self._look()
            if seen != self._seen:
                self._log.info("readiness_changed", problems=seen)
            self._seen = seen
            await asyncio.sleep(_UNREADY_PERIOD if seen else _READY_PERIOD)

    async def problems(self) -> dict[str, str]:
        """What keeps the runner from its work, by part; nothing: ready."""
        problems = self._without_catalogue()
        if not problems and not self.offered:
            problems["catalogue"] = "not announced yet"
        return problems

    def able(self) -> bool:
        """Whether its tools may be offered."""
        return not self._without_catalogue()

    def _without_catalogue(self) -> dict[str, str]:
        problems = dict(self._seen)
        if self._stopping:
            problems["runner"] = "draining"
        unread = sorted(name for name, worker in self._workers.items() if not worker.reading)
        if unread and not self._stopping:
            problems["queues"] = f"not reading yet: {', '.join(unread)}"
        return problems

    async def _look(self) -> dict[str, str]:
        try:
            current = await self._store.is_current()
        except StoreUnavailable as error:
            return {"postgres": error.detail}
        return {} if current else {"postgres": "the schema is older than this version; run the migrations"}
