"""How far behind a queue is, as Redis tells it."""

from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.queue_state import entry_places, queue_states
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.redis.client import open_redis

from harness.waiting import wait_until


async def test_a_queue_that_nobody_has_used_is_empty(redis: Redis) -> None:
    (state,) = await queue_states(redis, ["chat"])
    assert (state.waiting, state.in_flight, state.consumers) == (0, 0, ())
    assert (state.waiting_seconds, state.in_flight_seconds) == (None, None)


async def test_entries_that_nobody_reads_wait_and_grow_old(redis: Redis) -> None:
    for body in (b"1", b"2"):
        await Producer(redis, keys.CHAT).add(body)

    async def old() -> bool:
        states = await queue_states(redis, [keys.COMPLETIONS, keys.CHAT])
        assert [one.waiting for one in states] == [0, 2]
        return (states[1].waiting_seconds or 0) > 0.05

    await wait_until(old, what="the oldest entry has an age")


async def test_who_holds_entries_is_told_by_name_and_what_waits_behind_them_is_counted_apart(
    redis: Redis, valkey_url: str
) -> None:
    producer = Producer(redis, keys.CHAT)
    first, second = [await producer.add(body) for body in (b"1", b"2")]
    async with open_redis(valkey_url, name="reader", blocking=True) as blocking:
        queue = WorkQueue(redis, blocking, keys.CHAT, "worker-1", lease=timedelta(seconds=5))
        await queue.ensure_group()
        (delivery,) = await queue.read(1, timedelta(seconds=1))
        assert delivery.entry_id == first
        (state,) = await queue_states(redis, [keys.CHAT])
        assert (state.waiting, state.in_flight) == (1, 1)
        assert [(one.name, one.in_flight) for one in state.consumers] == [("worker-1", 1)]
        places = await entry_places(redis, [(keys.CHAT, first), (keys.CHAT, second), (keys.CHAT, "1-1")])
        assert [one.queued for one in places.values()] == [True, True, False]
        assert [one.holder and one.holder.consumer for one in places.values()] == ["worker-1", None, None]
        assert state.in_flight_seconds is not None
        assert state.waiting_seconds is not None
        # By the ids: the one that waits was queued after the one that is held.
        assert state.waiting_seconds <= state.in_flight_seconds
        await queue.ack(first)
        (state,) = await queue_states(redis, [keys.CHAT])
        assert (state.waiting, state.in_flight, state.in_flight_seconds) == (1, 0, None)
