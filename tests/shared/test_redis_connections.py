"""Our connections stand in for each of redis-py's, and end with their time limit. See also test_cancelling.py."""

import contextlib
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
from sluiceway.redis.connections import PlainConnection, TlsConnection, UnixConnection, of_ours

from harness.databases.valkey import Valkey


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
