"""The end of an operation is with replicas before its worker lets go of it, where that is wanted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.operation.completions import Completions, ReplicaWait
from sluiceway.redis.client import open_redis
from structlog.testing import capture_logs

from harness.databases.valkey import Valkey
from harness.waiting import wait_until

QUEUE = keys.work_queue(keys.COMPLETIONS)


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[Redis]:
    async with open_redis(valkey.url, name="test") as client:
        yield client


@pytest.mark.requirement("OP-8")
async def test_a_replica_has_the_end_when_publishing_has_returned(
    valkey: Valkey, client: Redis, tmp_path: Path
) -> None:
    replica = Valkey(tmp_path, "replica")
    replica.start()
    try:
        replica.follow(valkey.port)
        await wait_until(lambda: replica.has_all_of(valkey), what="the replica has all")
        completions = Completions(client, ReplicaWait(1, 4000))
        with capture_logs() as logs:
            entry_id = await completions.publish_operation_complete("op-1", "task-1", True, "done")
        assert replica.ask("XRANGE", QUEUE, entry_id, entry_id)
        assert not logs
    finally:
        replica.stop()


@pytest.mark.requirement("OP-8")
async def test_too_few_replicas_hold_up_no_result_for_longer_than_was_said(client: Redis) -> None:
    completions = Completions(client, ReplicaWait(1, 50))
    with capture_logs() as logs:
        entry_id = await completions.publish_operation_complete("op-1", "task-1", True, "done")
    assert await client.xrange(QUEUE, entry_id, entry_id)
    assert [(log["event"], log["wanted"], log["had"]) for log in logs] == [("replicas_missed", 1, 0)]
    assert await completions.is_reported("op-1")
