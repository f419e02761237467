"""Running a claimed turn until it has ended or waits for its operations, or for its model.

Guarantees: a run that breaks off gives the turn up, so that its successor need not wait for its lease to run out. An
error that nobody foresaw (neither of what we stand on, nor of the data, nor of a successor) is tried again once; a turn
whose model was called again for it ends, with an error that its user sees.
"""

import asyncio
import time

from sluiceway.errors import Fenced, NotStorable, Unavailable
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.tracing.spans import current
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.not_storable import ERROR
from sluiceway_llm.prices import Prices

from chat_worker.account import Account
from chat_worker.attempt import MODEL_CALLS
from chat_worker.metrics import Metrics
from chat_worker.settings import Settings
from chat_worker.turn.attempts import Attempts

_CHARGE_SECONDS = 1
BROKEN = {
    "code": "TURN_BROKEN",
    "message": "The answer broke off, as something in this service failed. Please try again.",
}


class TurnRunner:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        ending: TurnEnding,
        attempts: Attempts,
        metrics: Metrics,
        prices: Prices | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ending = ending
        self._attempts = attempts
        self._metrics = metrics
        self._prices = prices
        self._log = get_logger()

    async def run(self, task: Task, entry_id: str, *, repeated: bool = False) -> None:
        """Run a turn that this worker has just claimed, under the lease of that queue entry. `repeated`: the entry was
        delivered before."""
        began = time.monotonic()
        meter = self._metrics.claimed(task)
        queued_ms = None if meter.queued_seconds is None else round(meter.queued_seconds * 1000)
        self._log.info(
            "turn_started", attempt=task.attempt, worker=self._settings.worker_name, **_told(queued_ms=queued_ms)
        )
        status = "released"
        facts: dict[str, str | int] = {
            "model": task.model or self._settings.model,
            "worker": self._settings.worker_name,
        }
        account = Account(self._prices, task.usage, self._metrics.used)
        try:
            status = await self._attempts.run(task, entry_id, meter, account, facts)
        except NotStorable as error:
            self._log.error("turn_not_storable", attempt=task.attempt, reason=str(error))
            # By its own retries: in the queue's, all that led here would be done, and paid, again.
            status = await self._fail(task, facts, ERROR)
        except (Unavailable, Fenced):
            raise
        except Exception as error:
            if not repeated or MODEL_CALLS not in facts:
                raise
            self._log.exception("turn_broken", attempt=task.attempt, code=BROKEN["code"])
            facts["reason"] = type(error).__name__
            status = await self._fail(task, facts, BROKEN)
        finally:
            if status == "released":
                await self._attempts.release(task)
            await self._charge(task, account)
            current().ended(status, facts.get("code"))
            duration_ms = round((time.monotonic() - began) * 1000)
            self._log.info("turn_ended", **facts, attempt=task.attempt, status=status, duration_ms=duration_ms)

    async def _fail(self, task: Task, facts: dict[str, str | int], error: dict[str, str]) -> str:
        """End the turn with what it has shown. Raises NotStorable where that cannot be: its entry is a dead letter
        then, and not run again."""
        facts["code"] = error["code"]
        try:
            failed = await persistently(lambda: self._ending.end_unheld(task, "failed", error, facts))
        except (Fenced, NotStorable):
            raise
        except Exception as broken:
            raise NotStorable(f"{error['code']}: the turn could not be ended: {type(broken).__name__}") from broken
        return "failed" if failed else "fenced"

    async def _charge(self, task: Task, account: Account) -> None:
        """Write what was used by calls that became nothing: the attempt was fenced, or the process is about to end."""
        if not account.unwritten:
            return
        try:
            async with asyncio.timeout(_CHARGE_SECONDS):
                await self._store.usage.charge(task, account.unwritten)
        except (Unavailable, NotStorable, TimeoutError) as error:
            self._log.warning("usage_lost", calls=len(account.unwritten), reason=str(error))


def _told(**fields: int | None) -> dict[str, int]:
    """Those that there are."""
    return {name: value for name, value in fields.items() if value is not None}
