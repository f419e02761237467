"""redis-py clients with the settings that this project needs.

redis-py retries by itself and sends a write again after a lost answer (doubled XADD, group reads delivered to a dead
socket), and its default socket timeout breaks blocking reads. Hence: no automatic retry anywhere; who retries stands
above, where it is idempotent; and blocking reads have a client of their own, with a longer socket timeout.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from sluiceway.errors import RedisUnavailable

# Redis itself is away, starting or failing over. A wrong command or a script error is a defect and is not here.
AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    OSError,
)


_WAIT_SECONDS = 5
_SOCKET_SECONDS = 5
_BLOCKING_SOCKET_SECONDS = 15

_READS = frozenset({"GET", "HGET", "HGETALL", "XRANGE", "XREVRANGE", "ZCOUNT", "PING"})


def open_redis(url: str, *, name: str, blocking: bool = False, max_connections: int = 64) -> Redis:
    """A client that answers bytes. `blocking`: for XREADGROUP … BLOCK, with a socket timeout longer than any block of
    ours, so that a connection that died without a word is noticed too.

    Who finds all connections in use waits for one. (redis-py's default pool raises at once, which made a storm of
    reconnecting browsers look like a Redis that is away.)
    """
    pool = BlockingConnectionPool.from_url(
        url,
        timeout=_WAIT_SECONDS,
        client_name=name,
        decode_responses=False,
        socket_connect_timeout=3,
        socket_timeout=_BLOCKING_SOCKET_SECONDS if blocking else _SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        max_connections=max_connections,
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def redis_errors() -> AsyncIterator[None]:
    """Raise RedisUnavailable where Redis is away."""
    try:
        yield
    except AWAY as error:
        raise RedisUnavailable(str(error)) from error


async def command(redis: Redis, *arguments: str | bytes | int | float) -> Any:
    """One command, one round trip. Raises RedisUnavailable where Redis is away.

    A read is tried once more: after a restart of Redis each pooled connection is found dead by its next user.
    """
    async with redis_errors():
        try:
            return await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]
        except RedisConnectionError:
            if arguments[0] not in _READS:
                raise
            return await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]
