"""What the tests of the worker loop share."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sluiceway.queue.work_queue import Producer

from tests.shared.queue.bench import Bench


@pytest.fixture
async def bench(valkey_url: str) -> AsyncIterator[Bench]:
    bench = Bench(valkey_url)
    yield bench
    await bench.close()


@pytest.fixture
def producer(redis: Redis) -> Producer:
    return Producer(redis, "test")
