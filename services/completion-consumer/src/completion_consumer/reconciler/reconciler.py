"""The reconciler: makes true that everything in Redis can be rebuilt from Postgres.

One process leads at a time, until it ends or falls silent: see `sluiceway.store.database.leadership`. A
leader that dies, freezes or vanishes is replaced within ten seconds. Its rounds look at what is unfinished, turns and
operations, and do again, idempotently, what a crash, a flush or an outage left undone: see unfinished_turns.py,
unfinished_operations.py; round.py says how a round outlasts what goes wrong in it.
Not promised: how fast. A round begins `reconcile_seconds` after the last one ended.
"""

import asyncio
import time

from sluiceway.backoff import Backoff
from sluiceway.cancelling import cancelled
from sluiceway.errors import StoreUnavailable, Unavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.store import Store

from completion_consumer.metrics import Metrics
from completion_consumer.reconciler.quarantine import Quarantine
from completion_consumer.reconciler.round import LeadershipLost, Round
from completion_consumer.reconciler.unfinished import Unfinished

_HEARTBEAT_SECONDS = 1
_LONG_SECONDS = 5


class Reconciler:
    """Stands for leadership, and makes rounds while it leads, until the process ends."""

    def __init__(
        self,
        store: Store,
        unfinished: Unfinished,
        period_seconds: float,
        drain_seconds: float,
        metrics: Metrics,
        stopping: Stopping,
    ) -> None:
        self._unfinished = unfinished
        self._period_seconds = period_seconds
        self._drain_seconds = drain_seconds
        self._metrics = metrics
        self._stopping = stopping
        self._leadership = store.leadership("reconciler")
        self._elected = asyncio.Event()
        self._quarantine = Quarantine()
        self._backoff = Backoff(first_seconds=0.2)
        self._away: dict[str, str] = {"reconciler": "starting"}
        self._log = get_logger()

    @property
    def leads(self) -> bool:
        return self._leadership.leads

    def problem(self) -> str | None:
        """What keeps it from its rounds; None: the last one came to its end, here or where another leads."""
        return "; ".join(self._away.values()) or None

    async def run(self) -> None:
        """Once the process is to end, the round that has begun has as long to end as what is in flight. Then it is
        cut, as a crash may cut it anywhere: the next leader does again what it left."""
        standing = asyncio.create_task(self._stand(), name="leadership")
        rounds = asyncio.create_task(self._rounds(), name="rounds")
        stop = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait((standing, rounds, stop), return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                await asyncio.wait((standing, rounds), timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED)
            for loop in (standing, rounds):
                if loop.done():
                    loop.result()  # it never ends by itself: its error ends the process
        finally:
            await cancelled([standing, rounds, stop])
            await self._leadership.resign()

    # Leadership

    async def _stand(self) -> None:
        """A heartbeat every second, also while a round is long."""
        led = False
        while True:
            try:
                leads = await self._leadership.stand()
            except StoreUnavailable as error:
                leads = False
                self._is_away(error)
            else:
                if not leads:
                    self._away = {}
            if leads != led:
                self._log.info("leading" if leads else "leadership_lost")
            led = leads
            if leads:
                self._elected.set()
            else:
                self._elected.clear()
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _is_away(self, error: Unavailable) -> None:
        if error.code not in self._away:
            self._log.warning("waiting", code=error.code, reason=str(error))
        self._away = {error.code: error.detail}

    # What a leader does

    async def _rounds(self) -> None:
        while not self._stopping and await self._stopping.race(self._elected.wait()):
            await self._stopping.sleep(await self._round())

    async def _round(self) -> float:
        """Look at everything once; after how many seconds the next round is due."""
        began = time.monotonic()
        current = Round(lambda: self._leadership.leads, self._quarantine, self._metrics)
        try:
            backlog = await self._unfinished.look(current)
        except LeadershipLost:
            self._told(current, began, complete=False)
            self._elected.clear()
            return 0
        for kind, number in backlog.items():
            self._metrics.backlog.labels(kind).set(number)
        self._told(current, began, complete=current.away is None)
        if current.away is not None:
            self._is_away(current.away)
            return self._backoff.next_seconds()
        self._backoff.reset()
        self._away = {}
        return self._period_seconds

    def _told(self, current: Round, began: float, *, complete: bool) -> None:
        seconds = time.monotonic() - began
        self._metrics.rounds.labels("complete" if complete else "incomplete").inc()
        self._metrics.round_seconds.observe(seconds)
        if current.done or current.errors or seconds > _LONG_SECONDS:
            self._log.info(
                "reconciled",
                complete=complete,
                duration_ms=round(seconds * 1000),
                errors=current.errors,
                **current.done,
            )
