"""What a worker process tells to probes: it is alive while its loop turns and its leases are renewed."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.cancelling import cancelled
from sluiceway.process.health import HealthServer
from sluiceway.process.lifecycle import Stopping
from sluiceway.queue import worker as worker_module
from sluiceway.queue.work_queue import Delivery, Producer, WorkQueue
from sluiceway.queue.worker import Worker, WorkerOptions
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.processes.services import probe
from harness.waiting import wait_until

LEASE = timedelta(milliseconds=300)


async def _for_ever(_: Delivery, reason: str = "") -> None:
    await asyncio.Event().wait()


def _worker(redis: Redis, blocking: Redis) -> Worker:
    queue = WorkQueue(redis, blocking, keys.CHAT, "w", lease=LEASE)
    return Worker(queue, _for_ever, _for_ever, WorkerOptions(slots=2, drain=timedelta(0)), Stopping())


@pytest.mark.requirement("OP-10")
async def test_liveness_fails_when_leases_stand_still_and_not_while_redis_is_away(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STUCK_SECONDS", 1.0)
    # A client without the time limits of ours: what it waits for it waits for for ever, as a defect of ours would.
    async with Redis.from_url(valkey.url) as endless, open_redis(valkey.url, name="b", blocking=True) as blocking:
        worker = _worker(endless, blocking)
        health = HealthServer("127.0.0.1", 0, dict, stuck=worker.stuck)
        running = asyncio.create_task(worker.run())
        async with health.serve() as port:
            url = f"http://127.0.0.1:{port}"
            await wait_until(lambda: worker.reading, what="it reads")
            await Producer(endless, keys.CHAT).add(b"{}")
            await wait_until(lambda: worker.busy == 1, what="it has an entry in flight")
            valkey.stop()
            ticked = worker.tick_age_seconds
            await wait_until(lambda: worker.tick_age_seconds < ticked, what="it tries while Redis is away")
            assert await probe(url, "/healthz") == 200
            valkey.start()
            valkey.freeze()
            await wait_until(lambda: worker.stuck() is not None, what="its leases stand still")
            assert await probe(url, "/healthz") == 503
            valkey.thaw()
            await wait_until(lambda: _alive(url), what="it lives again")
        await cancelled([running])


@pytest.mark.requirement("OP-10")
async def test_who_waits_for_surroundings_or_for_others_to_drain_is_not_stuck(
    redis: Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Liveness would end it, again and again, where only its operator can help."""
    monkeypatch.setattr(worker_module, "_STUCK_SECONDS", -LEASE.total_seconds())  # at once
    async with open_redis(valkey_url, name="b", blocking=True) as blocking:
        worker = _worker(redis, blocking)
        assert worker.stuck() is None
        running = asyncio.create_task(worker.run())
        await wait_until(lambda: worker.stuck() is not None, what="it is judged while it runs")
        await cancelled([running])
        assert worker.stuck() is None


async def _alive(url: str) -> bool:
    return await probe(url, "/healthz") == 200


@pytest.mark.requirement("TS-13")
async def test_a_deliverys_ids_are_those_of_its_job_and_no_other_words_of_it() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    body = f'{{"task_id": "t-1", "operation_id": "op_2", "traceparent": "00-{trace}-b7ad6b7169203331-01", "x": "y"}}'
    assert Delivery("1-0", body.encode(), 1).ids == {"task_id": "t-1", "operation_id": "op_2", "trace_id": trace}
    for strange in (b"", b"nonsense", b"[1]", b'{"task_id": ["t"]}', b'{"task_id": "two words", "traceparent": 3}'):
        assert Delivery("1-0", strange, 1).ids == {}
