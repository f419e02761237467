"""One consumer's view of all partitions of a work queue, as if it were one; see `WorkQueue` for what each promises.

Guarantees
- Every partition with an entry is read, also one beyond the number that is set: what was put there by a process with
  another number is found within seconds. So the number may be raised and lowered while everything runs.
- What has waited longest, by the ids of entries, is taken first, whichever partition it is in: users take turns across
  partitions as they do in one, as far as the clocks of the servers agree.
- One partition costs what a queue without partitions costs: one blocking read that takes what comes.
- Of several nothing is taken without a free slot: a waiting read of each only rings when something comes, and takes
  nothing. So it may be left waiting, and no slot is kept free for a partition that has nothing.
- A node that is away, or silent while others answer, holds up its own partitions; of others new entries, and leases,
  for a second at most, and what dead consumers have left for as long as a socket waits.
Not guaranteed: that who was woken gets anything. Another consumer was woken, too; who came in vain rests for some
milliseconds, so that a crowd of idle consumers is not woken by each entry.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.cancelling import cancelled
from sluiceway.errors import RedisUnavailable
from sluiceway.process.org_weights import EQUAL, OrgWeights
from sluiceway.queue.partitions import by_partition, mark_of, partitions_in_use, placed
from sluiceway.queue.work_queue import Delivery, WorkQueue
from sluiceway.redis.client import command
from sluiceway.scripts import Call, Scripts

T = TypeVar("T")
# An id of an entry, to be compared.
Position = tuple[int, ...]
_PATIENCE_SECONDS = 1.0
# How long a partition that did not answer is left alone, where others do.
_AWAY_SECONDS = 0.5
# How often it is looked for partitions beyond those that are set.
_LOOK_SECONDS = 3.0
_REST_SECONDS = 0.03


class PartitionedQueue:
    """`partitions`: how many are set. `key`: what the queue is known by; the key of its first partition. `blocking`: a
    client of its own for waiting reads. `leave` ends what it has begun."""

    def __init__(
        self,
        redis: Redis,
        blocking: Redis,
        kind: str,
        consumer: str,
        *,
        lease: timedelta,
        partitions: int = 1,
        weights: OrgWeights = EQUAL,
    ) -> None:
        self.kind = kind
        self.key = keys.work_queue(kind)
        self.consumer = consumer
        self.lease = lease
        self._redis = redis
        self._scripts = Scripts(redis)
        self._set = partitions
        self._parts = [
            WorkQueue(redis, blocking, kind, consumer, lease=lease, partition=partition, weights=weights)
            for partition in range(keys.MOST_PARTITIONS)
        ]
        self._bells = _Bells(blocking, kind)
        self._used: tuple[int, ...] = tuple(range(partitions))
        self._look_at = 0.0
        self._back_at: dict[int, float] = {}
        self._first = 0
        self._releasing: set[asyncio.Task[None]] = set()

    async def ensure_group(self) -> None:
        """Make the groups, at 0; those that exist are fine."""
        await self._look()
        await self._each({partition: self._parts[partition].ensure_group for partition in self._used})

    async def read(self, count: int, block: timedelta) -> list[Delivery]:
        """New entries, waiting for the first. Empty when none came."""
        await self._look()
        if len(self._used) == 1:
            return await self._parts[0].read(count, block)
        used = self._answering()
        heads, newest = await self._heads(used, count)
        if heads:
            return await self._take(Counter(partition for _, partition in heads[:count]))
        rung = await self._bells.wait(newest, block)
        if not rung:
            # Lanes move on where somebody reads, and a group that is gone is made again.
            return await self._take(dict.fromkeys(self._turned(used)[:count], 1))
        taken = await self._take(dict.fromkeys(rung[:1], count))
        if not taken:
            await asyncio.sleep(_REST_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        return taken

    async def own_pending(self, count: int) -> list[Delivery]:
        """What a process of this consumer's name, now dead, left in flight; see `WorkQueue`. What is on a node that is
        away is taken over when its lease has run out."""
        return await self._in_turn(count, lambda part, most: part.own_pending(most))

    async def sweep(self, count: int) -> list[Delivery]:
        """Take over entries whose lease ran out."""
        return await self._in_turn(count, lambda part, most: part.sweep(most))

    async def renew(self, entry_ids: Sequence[str]) -> set[str]:
        """Renew leases; answers the entries that are not the consumer's own any more. Raises RedisUnavailable also
        where one node is away, when the leases on the others are renewed."""
        asked = {
            partition: _bound(self._parts[partition].renew, [there + mark_of(partition) for there in ids])
            for partition, ids in by_partition(entry_ids).items()
        }
        answers = await self._each(asked)
        lost = {entry_id for answer in answers.values() for entry_id in answer}
        if len(answers) < len(asked) and not lost:
            raise RedisUnavailable("a node of the cluster with entries in flight is away")
        return lost

    async def ack(self, entry_id: str) -> bool:
        """Done with it. False when it was not the consumer's own any more."""
        return await self._parts[placed(entry_id)[0]].ack(entry_id)

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        """Release entries, to be delivered to any consumer at once; how many were still the consumer's own."""
        return sum([await self._parts[placed(one)[0]].requeue([one]) for one in entry_ids])

    async def leave(self) -> None:
        """Release all that this consumer still has, known or not, and be forgotten."""
        await self._bells.silence()
        for task in self._releasing:
            task.cancel()
        await self._each({partition: self._parts[partition].leave for partition in self._used})

    # Which partitions there are

    async def _look(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS * random.uniform(0.7, 1.3)  # noqa: S311 - jitter
        # Where a node is away, what is known is read.
        with contextlib.suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                [self._used] = await partitions_in_use(self._redis, [self.kind], self._set)

    def _answering(self) -> tuple[int, ...]:
        """The partitions whose node was not away a moment ago; all, where that is none."""
        now = time.monotonic()
        there = tuple(one for one in self._used if self._back_at.get(one, 0.0) <= now)
        return there or self._used

    # Taking entries

    async def _heads(self, used: Sequence[int], count: int) -> tuple[list[tuple[Position, int]], dict[int, str]]:
        """What waits, oldest first, each with its partition; and of each partition the newest id that it ever had.
        Raises RedisUnavailable where no node answers."""
        calls = [Call("queue/heads", [keys.work_queue(self.kind, one)], [keys.GROUP, count]) for one in used]
        heads: list[tuple[Position, int]] = []
        newest: dict[int, str] = {}
        for partition, answer in zip(used, await self._scripts.run_many(calls, each=True), strict=True):
            if isinstance(answer, RedisUnavailable):
                self._is_away(partition)
                continue
            if isinstance(answer, Exception):
                raise answer
            last, *ids = (told.decode() for told in answer)
            newest[partition] = last
            heads += [(_position(one), partition) for one in ids]
        return sorted(heads), newest

    async def _take(self, counts: Mapping[int, int]) -> list[Delivery]:
        """What comes too late, as a node was silent for a while, is released: nobody waits for it any more."""
        tasks = {one: asyncio.ensure_future(self._parts[one].take(count)) for one, count in counts.items()}
        try:
            late = await _answered(tasks.values())
        except asyncio.CancelledError:
            for task in tasks.values():
                task.cancel()  # `leave` releases what it brings
            raise
        for partition, task in tasks.items():
            if task in late:
                self._is_away(partition)
                releasing = asyncio.create_task(self._release(partition, task), name="queue-late-answer")
                self._releasing.add(releasing)
                releasing.add_done_callback(self._releasing.discard)
        taken = self._results({one: task for one, task in tasks.items() if task not in late})
        deliveries = [delivery for answer in taken.values() for delivery in answer]
        return sorted(deliveries, key=lambda delivery: _position(placed(delivery.entry_id)[1]))

    async def _release(self, partition: int, taking: "asyncio.Future[list[Delivery]]") -> None:
        with contextlib.suppress(RedisUnavailable):  # else its lease runs out
            await self._parts[partition].requeue([one.entry_id for one in await taking])

    async def _in_turn(self, count: int, ask: Callable[[WorkQueue, int], Awaitable[list[Delivery]]]) -> list[Delivery]:
        """At most so many from all. Nobody's answer is given up, as it may bring entries."""
        await self._look()
        used = self._turned(self._answering())
        found: list[Delivery] = []
        for partition in used:
            if len(found) < count:
                try:
                    found += await ask(self._parts[partition], count - len(found))
                except RedisUnavailable:
                    self._is_away(partition)
                    if len(used) == 1:
                        raise
        return found

    def _turned(self, used: Sequence[int]) -> list[int]:
        """Another one first each time."""
        self._first = (self._first + 1) % len(used)
        return [*used[self._first :], *used[: self._first]]

    # Nodes that are away

    async def _each(self, asked: Mapping[int, Callable[[], Awaitable[T]]]) -> dict[int, T]:
        """The answers of those that answer, of what may be asked twice. Raises RedisUnavailable where none does."""
        tasks = {partition: asyncio.ensure_future(ask()) for partition, ask in asked.items()}
        try:
            late = await _answered(tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
        for partition, task in tasks.items():
            if task in late:
                self._is_away(partition)
        return self._results({partition: task for partition, task in tasks.items() if task not in late})

    def _results(self, tasks: "Mapping[int, asyncio.Future[T]]") -> dict[int, T]:
        """Raises RedisUnavailable where that is what all say."""
        answers: dict[int, T] = {}
        away: RedisUnavailable | None = None
        for partition, task in tasks.items():
            try:
                answers[partition] = task.result()
            except RedisUnavailable as error:
                self._is_away(partition)
                away = error
        if away is not None and not answers:
            raise away
        return answers

    def _is_away(self, partition: int) -> None:
        self._back_at[partition] = time.monotonic() + _AWAY_SECONDS


async def _answered(tasks: "Collection[asyncio.Future[T]]") -> "set[asyncio.Future[T]]":
    """Wait for the first, and for the others a while; those that have not answered by then."""
    if not tasks:
        return set()
    done, late = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
    if not done:
        done, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
    return late


class _Bells:
    """A waiting read of each partition that says when something comes, and takes nothing."""

    def __init__(self, blocking: Redis, kind: str) -> None:
        self._redis = blocking
        self._kind = kind
        self._ringing: dict[int, asyncio.Task[str | None]] = {}

    async def wait(self, newest: Mapping[int, str], block: timedelta) -> list[int]:
        """Until something comes behind those ids, by partition; where it did."""
        for partition, last in newest.items():
            bell = self._ringing.get(partition)
            if bell is None or (bell.done() and not _rang(bell, last)):
                self._ringing[partition] = asyncio.create_task(self._ring(partition, last, block), name="queue-bell")
        bells = [self._ringing[partition] for partition in newest]
        await asyncio.wait(bells, timeout=block.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        return [partition for partition, last in newest.items() if _rang(self._ringing[partition], last)]

    async def silence(self) -> None:
        bells = list(self._ringing.values())
        self._ringing = {}
        await cancelled(bells)

    async def _ring(self, partition: int, last: str, block: timedelta) -> str | None:
        """The id of what came; None: nothing."""
        block_ms = max(1, int(block.total_seconds() * 1000))
        key = keys.work_queue(self._kind, partition)
        try:
            answer = await command(self._redis, "XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", key, last)
        except RedisUnavailable:
            await asyncio.sleep(_AWAY_SECONDS)
            return None
        return str(answer[0][1][0][0].decode()) if answer else None


def _rang(bell: "asyncio.Task[str | None]", last: str) -> bool:
    """Something came that was not seen by who asked for what waits."""
    if not bell.done() or (came := bell.result()) is None:
        return False
    return _position(came) > _position(last)


def _position(entry_id: str) -> Position:
    return tuple(map(int, entry_id.split("-")))


def _bound(call: Callable[..., Awaitable[T]], *arguments: Any) -> Callable[[], Awaitable[T]]:
    return lambda: call(*arguments)
