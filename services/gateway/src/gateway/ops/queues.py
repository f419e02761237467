"""All work queues as they are now: how far behind, who works on them, what was given up.

Guarantees: however many ask, Redis and Postgres are asked at most once every MOST_FRESH_SECONDS. Queues of tools are
known from the catalogue, from operations that are open, and for as long as this process lives: one whose runners are
all gone is told, too.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.coalesced import Coalesced
from sluiceway.errors import Unavailable
from sluiceway.operation.catalogue import read_catalogue
from sluiceway.queue.queue_state import QueueState, queue_states
from sluiceway.service.agreement import HEARD_SECONDS, OtherProcess
from sluiceway.service.presence import count_live
from sluiceway.store import Store
from sluiceway.wire.tools import DEFAULT_QUEUE

MOST_FRESH_SECONDS = 2.0
_SECONDS = 2.0
_FORGOTTEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class QueuesSeen:
    """`dead_letters`: how many, by the kind of their queue. `chat_workers`: how many say that they are ready."""

    states: Sequence[QueueState]
    dead_letters: Mapping[str, int]
    chat_workers: int
    at: float


class Queues:
    def __init__(self, redis: Redis, store: Store) -> None:
        self._redis = redis
        self._store = store
        self._kinds = {keys.CHAT, keys.COMPLETIONS, keys.tool_queue(DEFAULT_QUEUE)}
        self._asking: Coalesced[QueuesSeen] = Coalesced()
        self.seen: QueuesSeen | None = None

    async def refresh(self) -> None:
        """For `seen`; None where Redis or Postgres does not answer in time."""
        try:
            async with asyncio.timeout(_SECONDS):
                await self.look()
        except (Unavailable, TimeoutError):
            self.seen = None

    def silent(self, others: Sequence[OtherProcess] | None) -> dict[str, float]:
        """Who holds a place at a queue and is heard of nowhere: frozen, or dead. For how many seconds, by name. Nobody
        where `seen` or the `others` are not known."""
        if self.seen is None or others is None:
            return {}
        there = {one.name for one in others}
        idle: dict[str, float] = {}
        for who in (who for state in self.seen.states for who in state.consumers if who.name not in there):
            idle[who.name] = min(who.idle_seconds, idle.get(who.name, who.idle_seconds))
        return {name: seconds for name, seconds in idle.items() if HEARD_SECONDS < seconds < _FORGOTTEN_SECONDS}

    async def look(self) -> QueuesSeen:
        """Raises RedisUnavailable, StoreUnavailable."""
        if self.seen is None or time.monotonic() - self.seen.at > MOST_FRESH_SECONDS:
            self.seen = await self._asking.ask(self._look)
        return self.seen

    async def _look(self) -> QueuesSeen:
        catalogue, in_use, dead = await asyncio.gather(
            read_catalogue(self._redis), self._store.operations.queues_in_use(), self._store.dead_letters.counts()
        )
        self._kinds |= {keys.tool_queue(queue) for queue in (*(one.queue for one in catalogue.values()), *in_use)}
        states, chat_workers = await asyncio.gather(
            queue_states(self._redis, sorted(self._kinds)), count_live(self._redis, keys.CHAT)
        )
        return QueuesSeen(states, {keys.kind_of(queue): n for queue, n in dead.items()}, chat_workers, time.monotonic())
