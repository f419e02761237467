"""Telling who waits how many come before him, and for about how long: `data-queue`, while his turn is in the queue.

Guarantees: what is told was so at most a look ago; seconds are told only where a rate was measured, of the deliveries
while somebody waited. Where no worker is ready that is told instead (`workers`: 0): who is the first then waits for one
to start, which takes a while where they are scaled to zero. Nothing is told any more once the stream has begun. Those
who count what they were sent are told nothing, as this is in no stream, and they would come back with a wrong number.
Where nobody waits, nothing is asked.
Not guaranteed: that everybody is told at each look; there is a most for one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.process.org_weights import OrgWeights
from sluiceway.queue.queue_places import QueuePlaces, Waiting
from sluiceway.service.presence import count_live
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.wire.events import Data

# Says it to those who follow a task and have seen nothing of it; False where there is nobody.
Tell = Callable[[str, bytes], bool]
_LOOK_SECONDS = 1.0
_MOST = 200
# Who has just come may not be followed yet.
_GRACE_SECONDS = 5.0


@dataclass(slots=True)
class _Watched:
    """`seen`: it waited at a look before this one."""

    waiting: Waiting
    since: float
    told: bytes = b""
    seen: bool = False


class DeliveryRate:
    """Entries that were delivered a second, over the last minute in which anybody asked."""

    def __init__(self, window_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_seconds = window_seconds
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def forget(self) -> None:
        self._seen.clear()

    def note(self, delivered: int | None) -> None:
        if delivered is None or (self._seen and delivered < self._seen[-1][1]):
            self.forget()  # Redis was flushed
        if delivered is not None:
            self._seen.append((self._clock(), delivered))
        while self._seen and self._seen[0][0] < self._clock() - self._window_seconds:
            self._seen.popleft()

    def seconds_for(self, entries: int) -> float | None:
        """For so many to be delivered; None where none was seen to be."""
        if len(self._seen) < 2:
            return None
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return (ended - began) / (after - before) * entries if after > before else None


class QueueNews:
    """`tell`: see `Tell`; it gets the key of the task's stream."""

    def __init__(self, redis: Redis, registry: TaskRegistry, tell: Tell, weights: OrgWeights) -> None:
        self._redis = redis
        self._places = QueuePlaces(redis, keys.CHAT, weights)
        self._registry = registry
        self._tell = tell
        self._watched: dict[str, _Watched] = {}
        self._come = asyncio.Event()
        self._rate = DeliveryRate()
        self._log = get_logger()

    def watch(self, task_id: str, meta: TaskMeta | None) -> None:
        """Somebody follows a task that has not begun. `meta`: None where it waits behind another of its session."""
        waiting = Waiting(task_id, meta.user_id, meta.queue_entry) if meta is not None else Waiting(task_id, None)
        self._watched.setdefault(task_id, _Watched(waiting, time.monotonic()))
        self._come.set()

    async def run(self) -> None:
        while True:
            if not self._watched:
                self._rate.forget()
                self._come.clear()
                await self._come.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except RedisUnavailable:
                self._rate.forget()

    async def look(self) -> None:
        """Tell those who were not told for the longest. Raises RedisUnavailable."""
        waiting = self._waiting()
        if not waiting:
            return
        found, workers = await asyncio.gather(
            self._places.find([one.waiting for one in waiting]), count_live(self._redis, keys.CHAT)
        )
        self._rate.note(found.delivered)
        lost: list[_Watched] = []
        for one in waiting:
            ahead = found.ahead.get(one.waiting.task_id)
            if ahead is None:
                lost.append(one)
            elif workers == 0:
                self._say(one, _frame(ahead, workers=0))
            elif ahead or one.seen:  # who is the next has nothing to wait for, mostly
                self._say(one, _frame(ahead, self._rate.seconds_for(ahead + 1)))
            one.seen = ahead is not None
        await self._look_again(lost)

    def _waiting(self) -> list[_Watched]:
        """Those for whom somebody waits now; they go behind the others. Who has begun, or is followed no more, goes."""
        waiting: list[_Watched] = []
        for task_id in list(islice(self._watched, _MOST)):
            one = self._watched.pop(task_id)
            if self._tell(keys.task_events(task_id), b""):
                waiting.append(one)
            elif time.monotonic() - one.since > _GRACE_SECONDS:
                continue
            self._watched[task_id] = one
        return waiting

    def _say(self, one: _Watched, frame: bytes) -> None:
        if frame != one.told:
            one.told = frame
            self._tell(keys.task_events(one.waiting.task_id), frame)

    async def _look_again(self, lost: Sequence[_Watched]) -> None:
        """What is in no place that was known has begun, has another entry, or is not queued yet."""
        seen = await self._registry.snapshots([one.waiting.task_id for one in lost])
        for one, snapshot in zip(lost, seen, strict=True):
            meta = snapshot.meta
            if meta is None:
                continue
            if meta.status != "queued":
                self._watched.pop(one.waiting.task_id, None)
            one.waiting = replace(one.waiting, user_id=meta.user_id, entry_id=meta.queue_entry)


def _frame(ahead: int, seconds: float | None = None, workers: int | None = None) -> bytes:
    """No id: it is in no stream, and a client's cursor stays where it was. `workers`: None where some are ready."""
    told: dict[str, int | float] = {"position": ahead}
    if workers is not None:
        told["workers"] = workers
    if seconds is not None:
        told["wait_seconds"] = round(seconds, 1)
    return b"data: " + Data(type="data-queue", data=told, transient=True).encode() + b"\n\n"
