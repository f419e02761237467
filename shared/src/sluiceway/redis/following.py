"""A client that follows where its server is, and hangs up on those where it is not any more.

Guarantee: as long as the client is open, its connections are judged anew every second, by what is asked of others: a
server that is frozen or cut off says nothing of itself.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import Self

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from sluiceway.cancelling import cancelled

FOLLOW_SECONDS = 1.0


class FollowingRedis(Redis, ABC):  # type: ignore[misc]  # two of redis-py's own bases disagree
    _follower: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._follower = asyncio.create_task(self._follow(), name="redis-follower")
        await super().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._follower is not None:
            await cancelled([self._follower])
        await super().__aexit__(*error)  # type: ignore[no-untyped-call]

    @abstractmethod
    async def _look(self) -> None:
        """Hang up on what is not the server any more. May raise RedisError, OSError, TimeoutError."""

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self._look()


def open_connections(pool: ConnectionPool) -> list[AbstractConnection]:
    return [one for one in [*pool._available_connections, *pool._in_use_connections] if one.is_connected]


async def hang_up(connection: AbstractConnection) -> None:
    """Who waits for an answer is told that the connection was lost."""
    await connection.disconnect(nowait=True)
