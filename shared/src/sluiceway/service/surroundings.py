"""Whether the Redis and the Postgres that a process was told of are fit for it: looked at when it starts, and again.

Guarantees: what is unsuitable (an evicting, old, clustered or replica Redis; a missing right; a pooler in the wrong
mode; a standby) is told in one sentence: one log line when it is found, one when it is mended, and the readiness detail
in between. A worker takes nothing before all is suitable, and a gateway answers 503. Nothing restarts: what is mended
heals by itself within a second.
A part that is away is neither suitable nor unsuitable: what was found before holds until it answers. There is one
line of that, too, and one when it is back, also where nobody asks anything of it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from sluiceway.errors import RedisRefuses, StoreRefuses, Unavailable
from sluiceway.process.logs import get_logger
from sluiceway.service import redis_suitability
from sluiceway.store import Store

_PERIOD_SECONDS = 30.0
_UNSUITABLE_PERIOD_SECONDS = 0.5

Look = Callable[[], Awaitable[str | None]]


class Surroundings:
    """`run` is its one task."""

    def __init__(self, redis: Redis, store: Store) -> None:
        self._looks: dict[str, Look] = {
            "redis": lambda: redis_suitability.unsuitable(redis),
            "postgres": store.unsuitable,
        }
        self._log = get_logger()
        # By part, a sentence each.
        self.problems: dict[str, str] = {}
        self._away: set[str] = set()

    def problem(self) -> str | None:
        """All that is wrong; None: nothing."""
        return "; ".join(self.problems.values()) or None

    async def look(self) -> None:
        """Look at each part once."""
        await asyncio.gather(*(self._look(part, look) for part, look in self._looks.items()))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_UNSUITABLE_PERIOD_SECONDS if self.problems else _PERIOD_SECONDS)

    async def suitable(self) -> None:
        """Look until nothing is known to be wrong."""
        await self.look()
        while self.problems:
            await asyncio.sleep(_UNSUITABLE_PERIOD_SECONDS)
            await self.look()

    async def _look(self, part: str, look: Look) -> None:
        try:
            found = await look()
        except RedisRefuses as error:
            found = f"Redis refuses the user, the password or a command of REDIS_URL: {error}"
        except StoreRefuses:  # the pool says so
            return
        except Unavailable as error:
            if part not in self._away:
                self._log.warning("surroundings_away", part=part, reason=str(error))
                self._away.add(part)
            return
        if part in self._away:
            self._log.info("surroundings_back", part=part)
            self._away.remove(part)
        if found is None:
            if self.problems.pop(part, None) is not None:
                self._log.info("surroundings_suitable", part=part)
        elif found != self.problems.get(part):
            self._log.error("surroundings_unsuitable", part=part, reason=found)
            self.problems[part] = found
