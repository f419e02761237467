"""The reconciler's look at what was deleted: its keys are erased from Redis where the deleting gateway did not come to
it, and once more after a minute, as a program that was under way may have written again."""

from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.sessions.erasing import Erasure
from sluiceway.turn.erasing import TurnErasing

from completion_consumer.reconciler.round import Round

_PAGE = 500


class DueErasures:
    def __init__(self, store: Store, erasing: TurnErasing) -> None:
        self._store = store
        self._erasing = erasing
        self._log = get_logger()

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("erasures", self._erase_due)

    async def _erase_due(self, current: Round) -> None:
        due = await self._store.erasures.due(_PAGE, current.quarantined_ids("erasures"))
        await current.each("erasures", {one.task_id: one for one in due}, self._erase)

    async def _erase(self, erasure: Erasure) -> str:
        await self._erasing.erase([erasure])
        self._log.info("turn_erased", task_id=erasure.task_id, session_id=erasure.session_id)
        return "turn_erased"
