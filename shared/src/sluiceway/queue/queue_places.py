"""How many entries will be delivered before a turn's: what its user is told while it waits.

Guarantees: the number of an entry in the queue is exact; that of one in a lane counts what users who wait now are given
before it, turn by turn. Partitions count as one queue, as what came first is taken first. It falls with each delivery,
and may rise where somebody else comes, who has his turn, too.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.queue.partitions import partitions_in_use, placed
from sluiceway.queue.work_queue import LANE
from sluiceway.redis.client import answered
from sluiceway.scripts import Call, Scripts

# A script holds everybody up: of more than this nothing is told.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A turn that is asked for. `entry_id`: as noted with its metadata; of one in a lane it says where."""

    task_id: str
    user_id: str | None
    entry_id: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """`ahead`: by task, how many entries come before it; who is not there waits for no worker. `delivered`: how many
    entries of the queue ever were; None where Redis does not know."""

    ahead: Mapping[str, int]
    delivered: int | None


class QueuePlaces:
    def __init__(self, redis: Redis, kind: str) -> None:
        self._redis = redis
        self._kind = kind
        self._scripts = Scripts(redis)

    async def find(self, asked: Sequence[Waiting]) -> Places:
        """Raises RedisUnavailable."""
        [partitions] = await partitions_in_use(self._redis, [self._kind])
        calls = [self._asking(partition, asked) for partition in partitions]
        answers = await self._scripts.run_many(calls)
        seen = [_read(partition, told) for partition, told in zip(partitions, answers, strict=True)]
        waiting = sorted(position for one in seen for position in one.waiting)
        lengths = {user: length for one in seen for user, length in one.lanes.items()}
        ahead: dict[str, int] = {}
        for one in seen:
            for waits, (place, behind) in zip(asked, one.answers, strict=False):
                if isinstance(place, int):
                    ahead[waits.task_id] = bisect_left(waiting, one.waiting[place])
                elif isinstance(behind, int):
                    ahead[waits.task_id] = len(waiting) + behind + _of_others(lengths, waits.user_id or "", behind)
        known = [one.delivered for one in seen if one.delivered is not None]
        return Places(ahead, sum(known) if known else None)

    def _asking(self, partition: int, asked: Sequence[Waiting]) -> Call:
        names = [keys.work_queue(self._kind, partition), keys.lane_heads(self._kind, partition)]
        arguments: list[str | int] = [keys.GROUP, keys.lane(self._kind, "", partition), _MOST]
        for one in asked:
            arguments += [one.task_id, one.user_id or "", _of_lane(one.entry_id, partition)]
        return Call("queue/places", names, arguments)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one partition. `waiting`: where its entries are among those of all, by when they came."""

    delivered: int | None = None
    waiting: Sequence[tuple[int, int, int]] = ()
    lanes: Mapping[str, int] = field(default_factory=dict)
    answers: Sequence[tuple[object, object]] = ()


def _read(partition: int, told: Any) -> _Seen:
    if isinstance(told, ResponseError) and "no such key" in str(told):
        return _Seen()  # nothing was ever queued, or Redis was flushed
    read, lanes, answers, ids = answered(told)
    positions = [(int(ms), int(number), partition) for ms, _, number in (one.partition(b"-") for one in ids)]
    lengths = dict(zip((user.decode() for user in lanes[::2]), lanes[1::2], strict=True))
    return _Seen(read if read >= 0 else None, positions, lengths, answers)


def _of_lane(entry_id: str | None, partition: int) -> str:
    if entry_id is None or not entry_id.startswith(LANE):
        return ""
    where, there = placed(entry_id)
    return there.removeprefix(LANE) if where == partition else ""


def _of_others(lengths: Mapping[str, int], user_id: str, rounds: int) -> int:
    """Of their lanes, while so many of the user's own are taken; what they have in the queue is counted there."""
    return sum(min(length, rounds) for user, length in lengths.items() if user != user_id)
