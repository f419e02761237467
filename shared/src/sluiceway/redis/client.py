"""redis-py clients with the settings that this project needs.

redis-py retries by itself and sends a write again after a lost answer (doubled XADD, group reads delivered to a dead
socket), and its default socket timeout breaks blocking reads. Hence: no automatic retry anywhere; who retries stands
above, where it is idempotent; and blocking reads have a client of their own, with a longer socket timeout.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from sluiceway.errors import RedisRefuses, RedisUnavailable
from sluiceway.redis.asking import wants_nobody
from sluiceway.redis.cluster import ClusterPipeline, ClusterRedis
from sluiceway.redis.connections import TlsConnection, of_ours
from sluiceway.redis.sentinel import Primary, PrimaryConnection, PrimaryRedis, TlsPrimaryConnection, UnknownService
from sluiceway.redis.slots import NoCluster, SlotMap
from sluiceway.redis.url import RedisUrl

# It is there, and is not what it has to be: a wrong password or user, a right that is missing, a cluster.
_REFUSES = (AuthenticationError, NoPermissionError, MovedError, ClusterCrossSlotError, UnknownService, NoCluster)
# Redis itself is away, starting, failing over or full. A wrong command or a script error is a defect and is not here.
AWAY = (
    *_REFUSES,
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    OutOfMemoryError,
    OSError,
)
# The same, where redis-py has no class for it: a primary was made a replica under a blocked client; it has too few
# replicas, or cannot save; a script runs for too long.
_AWAY_CODES = ("UNBLOCKED", "NOREPLICAS", "MISCONF", "BUSY")
# How servers of several versions say within a script that a right is missing.
_DENIED_IN_A_SCRIPT = "ACL failure in script"
# What a server says that is not, or no longer, the one to write to. The way to its successor is a new connection.
_DEMOTED = (ReadOnlyError, MasterDownError, ClusterDownError)
# As above. A primary whose replicas are gone may be one that was cut off, and has a successor.
_DEMOTED_CODES = ("UNBLOCKED", "NOREPLICAS")

_WAIT_SECONDS = 5
_SOCKET_SECONDS = 5
_BLOCKING_SOCKET_SECONDS = 15

_READS = frozenset({"EXISTS", "GET", "HGET", "HGETALL", "PING", "PTTL", "TIME", "XRANGE", "XREVRANGE", "ZCOUNT"})


class Pool(BlockingConnectionPool):
    """redis-py's, but it hands out no connection that has died while it was idle: a write on one fails for nothing.
    `waits`, `wait_seconds`: how often a connection was asked for, and how long that took in all.

    (redis-py does not look where it listens for the maintenance notes of a server, as it does by default; its
    `disconnect` closes idle connections also while somebody is taking them.)
    """

    waits = 0
    wait_seconds = 0.0

    @property
    def in_use(self) -> int:
        return len(self._in_use_connections)

    @property
    def idle(self) -> int:
        return len(self._available_connections)

    async def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> AbstractConnection:
        began = time.perf_counter()
        try:
            connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
        finally:
            self.waits += 1
            self.wait_seconds += time.perf_counter() - began
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        reader, writer = connection._reader, connection._writer
        if reader is not None and writer is not None and (reader.at_eof() or writer.is_closing()):
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    async def drop_idle(self) -> None:
        """Close the connections that nobody uses now. Who comes next gets a new one."""
        idle, self._available_connections = self._available_connections, []
        for connection in idle:
            await connection.disconnect(nowait=True)


def open_redis(url: str, *, name: str, blocking: bool = False, max_connections: int = 64) -> Redis:
    """A client that answers bytes. `blocking`: for XREADGROUP … BLOCK, with a socket timeout longer than any block of
    ours, so that a connection that died without a word is noticed too.

    Who finds all connections in use waits for one. (redis-py's default pool raises at once, which made a storm of
    reconnecting browsers look like a Redis that is away.) Where the URL names Sentinels, each connection leads to the
    server that is the primary when it is made, and none is left with another one. Where it names a cluster, so many
    connections lead to each node. Raises ValueError, see `RedisUrl`.
    """
    named = RedisUrl.parse(url)
    if named.topology == "sentinel":
        primary = Primary(named)
        pool = _pool(named.url_of(named.nodes[0]), name, blocking, max_connections)
        tls = issubclass(pool.connection_class, TlsConnection)
        pool.connection_class = TlsPrimaryConnection if tls else PrimaryConnection
        pool.connection_kwargs["primary"] = primary
        return PrimaryRedis.leading_to(primary, pool)
    if named.topology == "cluster":
        slots = SlotMap(named)
        return ClusterRedis.of(
            slots,
            lambda node: _pool(slots.url_of(node), name, blocking, max_connections),
            _pool(slots.url_of(named.nodes[0]), name, blocking, max_connections=1),
        )
    return Redis.from_pool(_pool(url, name, blocking, max_connections))


def pools_of(redis: Redis) -> list[Pool]:
    """The pools behind a client: one, or one for each node of a cluster."""
    pools = redis.pools if isinstance(redis, ClusterRedis) else [redis.connection_pool]
    return [pool for pool in pools if isinstance(pool, Pool)]


def _pool(url: str, name: str, blocking: bool, max_connections: int) -> Pool:
    pool = Pool.from_url(
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
    pool.connection_class = of_ours(pool.connection_class)
    return pool


def is_away(error: object) -> bool:
    """Whether an error, raised or answered, says that Redis cannot serve now and may later."""
    if type(error) is ResponseError:
        # The whole word: BUSYGROUP and BUSYKEY are others.
        return str(error).partition(" ")[0] in _AWAY_CODES or _is_refused(error)
    return isinstance(error, AWAY) or _is_broken(error)


def _is_refused(error: object) -> bool:
    return isinstance(error, _REFUSES) or wants_nobody(error) or _DENIED_IN_A_SCRIPT in str(error)


def _is_broken(error: object) -> bool:
    """Whether a connection turned out to be dead. uvloop, under redis-py, says so of one that was reset while it was
    idle by a RuntimeError."""
    return isinstance(error, RedisConnectionError) or (
        isinstance(error, RuntimeError) and "the handler is closed" in str(error)
    )


@asynccontextmanager
async def redis_errors(redis: Redis) -> AsyncIterator[None]:
    """Raise RedisUnavailable where Redis is away, RedisRefuses where a person has to mend it. The connections that are
    idle are closed where one was found dead, as the others are then, or where a failover made a replica of the server,
    as they would find the same one again."""
    try:
        yield
    except (*AWAY, ResponseError, RuntimeError) as error:
        if not is_away(error):
            raise
        useless = _is_broken(error) or isinstance(error, _DEMOTED) or str(error).startswith(_DEMOTED_CODES)
        # Of a cluster the other nodes' are good; a dead one is found when it is taken.
        if useless and isinstance(redis.connection_pool, Pool) and not isinstance(redis, ClusterRedis):
            await redis.connection_pool.drop_idle()
        kind = RedisRefuses if _is_refused(error) else RedisUnavailable
        raise kind(f"{type(error).__name__}: {error}") from error


async def command(redis: Redis, *arguments: str | bytes | int | float) -> Any:
    """One command, one round trip. Raises RedisUnavailable where Redis is away.

    A read is tried once more: after a restart of Redis each pooled connection is found dead by its next user.
    """
    async with redis_errors(redis):
        try:
            return await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]
        except (RedisConnectionError, RuntimeError) as error:
            if arguments[0] not in _READS or not _is_broken(error):
                raise
            return await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]


async def server_time_ms(redis: Redis) -> int:
    """Redis's clock, in ms since 1970: what scripts write down is compared with this, never with a machine's own clock.

    Raises RedisUnavailable.
    """
    seconds, micros = await command(redis, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def commands(
    redis: Redis, many: Sequence[Sequence[str | bytes | int | float]], *, ordered: bool = False
) -> list[Any]:
    """Many commands, one round trip. Each answer stands in its command's place, or the ResponseError it got (see
    `answered`). Raises RedisUnavailable; commands that read only are tried once more, as above. In a cluster those of
    different slots run side by side, unless they are `ordered`: that costs a round trip where the node changes."""
    if not many:
        return []
    async with redis_errors(redis):
        try:
            return await _pipeline(redis, many, ordered)
        except (RedisConnectionError, RuntimeError) as error:
            if any(one[0] not in _READS for one in many) or not _is_broken(error):
                raise
            return await _pipeline(redis, many, ordered)


def answered(answer: Any) -> Any:
    """One of many answers. Raises the ResponseError where it is one."""
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _pipeline(redis: Redis, many: Sequence[Sequence[str | bytes | int | float]], ordered: bool) -> list[Any]:
    pipeline: Any = redis.pipeline(transaction=False)
    if ordered and isinstance(redis, ClusterRedis):
        pipeline = ClusterPipeline(redis, ordered=True)
    async with pipeline as pipe:
        for one in many:
            pipe.execute_command(*one)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if is_away(answer):
            raise answer
    return answers


async def cluster_primaries(redis: ClusterRedis) -> list[Redis]:
    """A client of each. Raises RedisUnavailable."""
    async with redis_errors(redis):
        return await redis.primaries()


async def on_each_primary(redis: Redis, *arguments: str | bytes | int | float) -> list[Any]:
    """One command on every primary, in an order that stays: one server has one. Raises RedisUnavailable."""
    clients = await cluster_primaries(redis) if isinstance(redis, ClusterRedis) else [redis]
    return [await command(client, *arguments) for client in clients]
