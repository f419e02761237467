"""Telling a person's devices what becomes of his sessions: one stream a person, `sw:person:{ID}:events`.

Guarantees
- Events are in the order in which they were told, and whoever reads after a cursor sees every one of them, or learns
  that some are gone: ids are GENERATION-NUMBER without a gap, and a new generation begins after each loss that Redis
  itself may have had (a flush, a failover, a restart).
- The newest MOST_KEPT are there, for the TTL of what is live after the last of them. Where nothing is told a stream
  lasts for RETENTION after somebody has come to follow it: whoever comes leaves little behind.
- `tell` raises RedisUnavailable where it could not; its callers are repeated then, and tell again. `mention` is for
  what nobody repeats, and never raises: a loss that it knows of begins a new generation as soon as Redis is back, while
  `run` runs, so every device reads everything again.
Not guaranteed: that an event comes once; and that one comes at all where its process is killed between the commit and
the telling, and neither the reconciler nor a request that is sent again comes by (ADR 30).
"""

import asyncio
import hashlib
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger, user_hash
from sluiceway.process.retention import Retention
from sluiceway.redis.client import command
from sluiceway.scripts import Argument, Scripts
from sluiceway.wire.person_event import PersonEvent

MOST_KEPT = 500
# Of people whose devices are to read everything again; beyond it the oldest is left to what comes next.
_MOST_OWED = 10_000
_AGAIN_SECONDS = 1.0
# Somebody waits for the answer to what is mentioned here.
_PATIENCE_SECONDS = 2.0


def events_key(user_id: str | None) -> str:
    """Of a person's events, for those who read them. None: the one person of a machine without users."""
    return keys.person_events("local" if user_id is None else hashlib.sha256(user_id.encode()).hexdigest()[:32])


class PersonEvents:
    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._ttl_ms = retention.live_ms
        self._silent_ttl_ms = retention.ended_ms
        self._owed: dict[str | None, None] = {}
        self._owing = asyncio.Event()
        self._log = get_logger()

    async def tell(self, user_id: str | None, *events: PersonEvent) -> None:
        """Raises RedisUnavailable. A Redis that refuses this stream alone keeps nothing else from going on."""
        told = [text for event in events for text in (event.type, event.encode())]
        try:
            await self._add(user_id, told)
        except ResponseError as error:
            self._log.error("person_not_told", user=user_hash(user_id), kinds=len(events), reason=str(error))

    async def mention(self, user_id: str | None, *events: PersonEvent) -> None:
        """As `tell`, for what has happened and is done by nobody again."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.tell(user_id, *events)
        except (RedisUnavailable, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            self._log.warning("person_not_told_yet", user=user_hash(user_id), reason=reason)
            self._owe(user_id)

    async def place(self, user_id: str | None) -> str:
        """The id of the newest entry: who reads after it sees all that comes. Raises RedisUnavailable."""
        place: bytes = await self._add(user_id, ())
        return place.decode()

    async def begin_anew(self, user_id: str | None) -> None:
        """Have every device of the person read everything again. Raises RedisUnavailable."""
        await self._add(user_id, (), anew=True)

    async def erase(self, user_id: str | None) -> None:
        """Take out all that was told. Raises RedisUnavailable."""
        await command(self._redis, "DEL", events_key(user_id))

    async def run(self) -> None:
        """Make up for what could not be mentioned, until cancelled."""
        while True:
            await self._owing.wait()
            try:
                await self._pay()
            except RedisUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _pay(self) -> None:
        while self._owed:
            user_id = next(iter(self._owed))
            await self.begin_anew(user_id)
            self._owed.pop(user_id, None)
        self._owing.clear()

    def _owe(self, user_id: str | None) -> None:
        self._owed[user_id] = None
        if len(self._owed) > _MOST_OWED:
            self._owed.pop(next(iter(self._owed)))
        self._owing.set()

    async def _add(self, user_id: str | None, told: Sequence[str | bytes], *, anew: bool = False) -> bytes:
        ttl_ms = self._ttl_ms if told else self._silent_ttl_ms
        arguments: list[Argument] = [ttl_ms, MOST_KEPT, "1" if anew else "", *told]
        place: bytes = await self._scripts.run("feeds/tell_person", [events_key(user_id)], arguments)
        return place
