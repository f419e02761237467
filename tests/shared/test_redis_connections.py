"""Who is cancelled while he sends to Redis stops: redis-py's own connections lose that, on Python 3.11."""

import asyncio
import contextlib
import itertools
from typing import Any

import pytest
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sluiceway.redis.client import open_redis
from sluiceway.redis.connections import PlainConnection, TlsConnection, UnixConnection, of_ours
from sluiceway.scripts import Scripts

from harness.databases.valkey import Valkey

_MOMENTS = 150
_KEYS = ("task:{t}:meta", "task:{t}:events")


async def test_who_is_cancelled_at_any_moment_of_a_connection_stops(valkey_url: str) -> None:
    answered = 0
    for moment in range(_MOMENTS):
        async with open_redis(valkey_url, name="cancelled") as redis:
            scripts = Scripts(redis)

            async def for_ever(scripts: Scripts = scripts) -> None:
                nonlocal answered
                for attempt in itertools.count(1):
                    await scripts.run("stream/heartbeat", _KEYS, (attempt, 1000, 0, 0))
                    answered += 1

            running = asyncio.create_task(for_ever())
            for _ in range(moment):
                await asyncio.sleep(0)
            running.cancel()
            _, goes_on = await asyncio.wait([running], timeout=20)
            assert not goes_on, f"cancelled in the event loop's round {moment}"
            assert running.cancelled()
    assert answered > _MOMENTS


@pytest.mark.parametrize(
    ("kind", "ours"),
    [(Connection, PlainConnection), (SSLConnection, TlsConnection), (UnixDomainSocketConnection, UnixConnection)],
)
def test_each_of_redis_pys_connections_has_one_of_ours(
    kind: type[AbstractConnection], ours: type[AbstractConnection]
) -> None:
    assert of_ours(kind) is ours
    assert of_ours(ours) is ours


async def test_a_send_that_nobody_takes_ends_with_its_time_limit_and_its_connection(valkey: Valkey) -> None:
    connection = await _connected(valkey.url, 0.2)
    valkey.freeze()
    with pytest.raises(RedisTimeoutError, match="writing"):
        await connection.send_packed_command(b"x" * 50_000_000)
    assert not connection.is_connected


async def test_a_send_to_who_has_hung_up_says_so(valkey: Valkey) -> None:
    connection = await _connected(valkey.url, 5)
    valkey.stop()
    for _ in range(3):  # the first one may still be taken by the kernel
        with contextlib.suppress(RedisConnectionError):
            await connection.send_packed_command(b"x" * 1_000_000)
    assert not connection.is_connected


async def _connected(url: str, seconds: float) -> Any:
    connection: Any = PlainConnection(**parse_url(url), socket_timeout=seconds, retry=Retry(NoBackoff(), 0))
    await connection.connect()
    return connection
