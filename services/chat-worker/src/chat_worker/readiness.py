"""Whether this worker would answer a message: its parts are there, and the model server takes requests."""

import asyncio

from sluiceway.errors import StoreUnavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import Worker
from sluiceway.store import Store
from sluiceway_llm.model import Model
from sluiceway_llm.model_errors import ModelError

_READY_PERIOD_SECONDS = 15.0
_UNREADY_PERIOD_SECONDS = 0.5


class Readiness:
    """Looks at the parts from time to time, more often while something is wrong; answers from what it last saw."""

    def __init__(self, store: Store, model: Model, worker: Worker, stopping: Stopping) -> None:
        self._store = store
        self._model = model
        self._worker = worker
        self._stopping = stopping
        self._seen: dict[str, str] = {"worker": "starting"}
        self._log = get_logger()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            seen = await self._look()
            if seen != self._seen:
                self._log.info("readiness_changed", problems=seen)
            self._seen = seen
            await asyncio.sleep(_UNREADY_PERIOD_SECONDS if seen else _READY_PERIOD_SECONDS)

    async def problems(self) -> dict[str, str]:
        """What keeps the worker from answering, by part; nothing: ready."""
        problems = dict(self._seen)
        if self._stopping:
            problems["worker"] = "draining"
        elif not self._worker.reading:
            problems["queue"] = "not reading yet"
        return problems

    async def ready(self) -> bool:
        return not await self.problems()

    async def _look(self) -> dict[str, str]:
        problems: dict[str, str] = {}
        try:
            if not await self._store.is_current():
                problems["postgres"] = "the schema is older than this version; run the migrations"
        except StoreUnavailable as error:
            problems["postgres"] = error.detail
        try:
            await self._model.probe()
        except ModelError as error:
            problems["model"] = error.user_message
        return problems
