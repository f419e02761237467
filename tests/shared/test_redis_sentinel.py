"""Which of several Sentinels is believed, and which server a connection stands with."""

from itertools import permutations
from pathlib import Path

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from sluiceway.redis.sentinel import Answer, Primary, PrimaryConnection
from sluiceway.redis.url import Node, RedisUrl

from harness.databases.valkey import Valkey

pytestmark = pytest.mark.requirement("OP-8")
_OLD, _NEW = Node("a", 1), Node("b", 2)


@pytest.fixture
def primary() -> Primary:
    return Primary(RedisUrl.parse("redis+sentinel://x,y,z/chat/0"))


def test_the_one_that_knows_of_the_latest_failover_is_believed_whoever_answers_first(primary: Primary) -> None:
    before, after, down = Answer(3, _OLD, down=False), Answer(4, _NEW, down=False), Answer(4, _NEW, down=True)
    answers: list[Answer | BaseException] = [before, after, RedisConnectionError("away")]
    for order in permutations(answers):
        assert primary._newest([*order]) == _NEW
    for others in permutations((before, after, down)):
        with pytest.raises(RedisConnectionError, match="is down, and has no successor yet"):
            primary._newest([*others])


async def test_a_connection_stands_with_no_server_that_says_that_it_is_no_primary(
    primary: Primary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one that comes back after a failover, of which the Sentinels have not told yet."""
    server = Valkey(tmp_path)

    async def find() -> Node:
        return Node("127.0.0.1", server.port)

    monkeypatch.setattr(primary, "find", find)
    server.start()
    try:
        connection = PrimaryConnection(primary=primary, retry=Retry(NoBackoff(), 0))
        await connection.connect()
        await connection.disconnect()
        server.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisConnectionError, match="is no primary, or not yet"):
            await connection.connect()
        await connection.disconnect()
    finally:
        server.stop()
