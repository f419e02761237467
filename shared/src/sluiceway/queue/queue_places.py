"""How many entries will be delivered before a turn's: what its user is told while it waits.

Guarantees: the number of an entry in the queue is exact; that of one in a lane counts what users and organisations
that wait now are given before it, turn by turn, and within its organisation what its people are. Partitions count as
one queue, as what came first is taken first. It falls with each delivery, and may rise where somebody else comes, who
has his turn, too.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.ids import org_of
from sluiceway.process.org_weights import EQUAL, OrgWeights
from sluiceway.queue.partitions import partitions_in_use, placed
from sluiceway.queue.work_queue import LANE, lane_names
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
    def __init__(self, redis: Redis, kind: str, weights: OrgWeights = EQUAL) -> None:
        self._redis = redis
        self._kind = kind
        self._weights = weights
        self._scripts = Scripts(redis)

    async def find(self, asked: Sequence[Waiting]) -> Places:
        """Raises RedisUnavailable."""
        [partitions] = await partitions_in_use(self._redis, [self._kind])
        calls = [self._asking(partition, asked) for partition in partitions]
        answers = await self._scripts.run_many(calls)
        seen = [_read(partition, told) for partition, told in zip(partitions, answers, strict=True)]
        waiting = sorted(position for one in seen for position in one.waiting)
        lanes = _Lanes(
            self._weights,
            {user: length for one in seen for user, length in one.lanes.items()},
            {org: people for one in seen for org, people in one.orgs.items()},
        )
        ahead: dict[str, int] = {}
        for one in seen:
            for waits, (place, behind) in zip(asked, one.answers, strict=False):
                if isinstance(place, int):
                    ahead[waits.task_id] = bisect_left(waiting, one.waiting[place])
                elif isinstance(behind, int):
                    ahead[waits.task_id] = len(waiting) + lanes.before(waits.user_id or "", behind)
        known = [one.delivered for one in seen if one.delivered is not None]
        return Places(ahead, sum(known) if known else None)

    def _asking(self, partition: int, asked: Sequence[Waiting]) -> Call:
        names = [name(self._kind, partition) for name in (keys.work_queue, keys.lane_heads, keys.lane_orgs)]
        arguments: list[str | int] = [keys.GROUP, *lane_names(self._kind, partition), _MOST]
        for one in asked:
            arguments += [one.task_id, one.user_id or "", _of_lane(one.entry_id, partition)]
        return Call("queue/places", names, arguments)


@dataclass(frozen=True, slots=True)
class _Lanes:
    """How long they are: `users`, of those who take turns by themselves; `orgs`, of the people of each organisation,
    who is next first."""

    weights: OrgWeights
    users: Mapping[str, int]
    orgs: Mapping[str, Mapping[str, int]]

    def before(self, user: str, behind: int) -> int:
        """How many of those in lanes come before one with so many of its user's own before it; what is in the queue is
        counted there."""
        org = org_of(user)
        people = self.orgs.get(org, {}) if org else {}
        if user not in people:
            return behind + self._of_others(user, "", behind)
        places = list(people)
        place = places.index(user)
        own = behind + sum(
            min(people[other], behind + (1 if at < place else 0)) for at, other in enumerate(places) if at != place
        )
        return own + self._of_others("", org, own // self.weights.of(org))

    def _of_others(self, user: str, org: str, rounds: int) -> int:
        """While each takes so many turns."""
        of_users = sum(min(length, rounds) for other, length in self.users.items() if other != user)
        return of_users + sum(
            min(sum(people.values()), rounds * self.weights.of(other))
            for other, people in self.orgs.items()
            if other != org
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one partition. `waiting`: where its entries are among those of all, by when they came. `lanes`, `orgs`: as
    `_Lanes` has them."""

    delivered: int | None = None
    waiting: Sequence[tuple[int, int, int]] = ()
    lanes: Mapping[str, int] = field(default_factory=dict)
    orgs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    answers: Sequence[tuple[object, object]] = ()


def _read(partition: int, told: Any) -> _Seen:
    if isinstance(told, ResponseError) and "no such key" in str(told):
        return _Seen()  # nothing was ever queued, or Redis was flushed
    read, lanes, answers, ids, orgs = answered(told)
    positions = [(int(ms), int(number), partition) for ms, _, number in (one.partition(b"-") for one in ids)]
    of_orgs = {org.decode(): _lengths(people) for org, people in zip(orgs[::2], orgs[1::2], strict=True)}
    return _Seen(read if read >= 0 else None, positions, _lengths(lanes), of_orgs, answers)


def _lengths(flat: Sequence[Any]) -> dict[str, int]:
    return dict(zip((user.decode() for user in flat[::2]), flat[1::2], strict=True))


def _of_lane(entry_id: str | None, partition: int) -> str:
    if entry_id is None or not entry_id.startswith(LANE):
        return ""
    where, there = placed(entry_id)
    return there.removeprefix(LANE) if where == partition else ""
