"""How many entries will be delivered before a turn's: what its user is told while it waits.

Guarantees: the number of an entry in the queue is exact; that of one in a lane counts what users who wait now are given
before it, turn by turn. It falls with each delivery, and may rise where somebody else comes, who has his turn, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.queue.work_queue import LANE
from sluiceway.scripts import Scripts

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
        self._kind = kind
        self._scripts = Scripts(redis)

    async def find(self, asked: Sequence[Waiting]) -> Places:
        """Raises RedisUnavailable."""
        names = [keys.work_queue(self._kind), keys.lane_heads(self._kind)]
        arguments: list[str | int] = [keys.GROUP, keys.lane(self._kind, ""), _MOST]
        for one in asked:
            arguments += [one.task_id, one.user_id or "", _of_lane(one.entry_id)]
        try:
            read, waiting, lanes, answers = await self._scripts.run("queue/places", names, arguments)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            return Places({}, None)  # nothing was ever queued, or Redis was flushed
        lengths = dict(zip((user.decode() for user in lanes[::2]), lanes[1::2], strict=True))
        ahead: dict[str, int] = {}
        for one, (place, behind) in zip(asked, answers, strict=True):
            if isinstance(place, int):
                ahead[one.task_id] = place
            elif isinstance(behind, int):
                ahead[one.task_id] = waiting + behind + _of_others(lengths, one.user_id or "", behind)
        return Places(ahead, read if read >= 0 else None)


def _of_lane(entry_id: str | None) -> str:
    return entry_id.removeprefix(LANE) if entry_id is not None and entry_id.startswith(LANE) else ""


def _of_others(lengths: Mapping[str, int], user_id: str, rounds: int) -> int:
    """Of their lanes, while so many of the user's own are taken; what they have in the queue is counted there."""
    return sum(min(length, rounds) for user, length in lengths.items() if user != user_id)
