"""Who waits for a worker is told how many come before him, and for about how long, or that no worker is ready."""

from datetime import timedelta

import httpx
import pytest
from gateway.queue_places import DeliveryRate
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.queue_places import QueuePlaces, Waiting
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.scripts import Scripts
from sluiceway.wire.jobs import ChatJob

from harness.clients.sse import Event, follow
from harness.processes.services import Service
from tests.gateway.stand_in import StandIn

SECOND = timedelta(seconds=1)


@pytest.fixture
async def queue(redis: Redis) -> WorkQueue:
    queue = WorkQueue(redis, redis, keys.CHAT, "worker-1", lease=timedelta(minutes=1))
    await queue.ensure_group()
    return queue


async def _put(redis: Redis, *names: str) -> list[Waiting]:
    """Turns, each named by its user and a number."""
    producer = Producer(redis, keys.CHAT)
    return [
        Waiting(name, name[0], await producer.add(ChatJob(task_id=name).encode(), user_id=name[0])) for name in names
    ]


@pytest.mark.requirement("GW-11")
async def test_places_say_in_which_order_turns_are_taken_and_fall_with_each(redis: Redis, queue: WorkQueue) -> None:
    asked = await _put(redis, "f0", "f1", "f2", "f3", "a0", "a1", "b0")
    order = ["f0", "a0", "b0", "f1", "a1", "f2", "f3"]
    places = QueuePlaces(redis, keys.CHAT)
    before = (await places.find(asked)).ahead
    assert sorted(before, key=lambda name: (before[name], order.index(name))) == order
    assert [before[name] for name in ("f0", "a0", "b0")] == [0, 1, 2]
    taken: list[str] = []
    for left in range(len(order), 0, -1):
        (delivery,) = await queue.read(1, SECOND)
        taken.append(ChatJob.model_validate_json(delivery.body).task_id)
        found = await places.find(asked)
        assert found.delivered == len(taken)
        assert set(found.ahead) == set(order) - set(taken)
        assert len(found.ahead) == left - 1
        for name, ahead in found.ahead.items():
            assert ahead <= before[name], f"{name} is told more than before, though nobody came"
            assert ahead <= order.index(name) - len(taken) + 1
        before = found.ahead
    assert taken == order


async def test_of_a_queue_that_is_not_there_nothing_is_told(redis: Redis) -> None:
    found = await QueuePlaces(redis, keys.CHAT).find([Waiting("t", "u", "lane:1-1"), Waiting("v", None)])
    assert (found.ahead, found.delivered) == ({}, None)


def test_the_rate_is_that_of_what_was_seen_to_be_delivered() -> None:
    now = 0.0
    rate = DeliveryRate(window_seconds=10, clock=lambda: now)
    rate.note(100)
    assert rate.seconds_for(1) is None
    now = 2
    rate.note(100)
    assert rate.seconds_for(1) is None, "nothing was delivered: nobody knows"
    now = 4
    rate.note(108)
    assert rate.seconds_for(6) == pytest.approx(3)
    now = 14
    rate.note(128)
    assert rate.seconds_for(6) == pytest.approx(3), "what is older than the window is forgotten"
    rate.note(5)
    assert rate.seconds_for(1) is None, "Redis was flushed"


@pytest.mark.requirement("GW-11")
async def test_a_waiting_browser_sees_its_place_shrink_and_then_its_answer(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn, queue: WorkQueue, redis: Redis
) -> None:
    tasks: list[str] = []
    for number in range(3):
        await http.post("/api/chat/sessions", json={"id": f"s{number}"})
        posted = await http.post(f"/api/chat/sessions/s{number}/messages", json={"message": "hello"})
        tasks.append(posted.json()["task_id"])
    url = f"{gateway.url}/api/chat/tasks/{tasks[2]}/stream"
    await _worker_is_ready(redis)
    async with follow(url) as stream, follow(f"{url}?startIndex=0") as counting:
        told = [await _place(await stream.read_until("data-queue"))]
        for task_id in tasks[:2]:
            (delivery,) = await queue.read(1, SECOND)
            assert ChatJob.model_validate_json(delivery.body).task_id == task_id
            told.append(await _place(await stream.read_until("data-queue")))
        assert told[:2] == [2, 1]
        assert told[2] in (0, 1), "the same place, with the seconds that were measured meanwhile, or the next one"
        await worker.answer(tasks[2], "yes")
        await stream.read_to_end()
        await counting.read_to_end()
    assert stream.text == "yes"
    places = [event.chunk for event in stream.events if event.type == "data-queue"]
    assert all(place["transient"] is True for place in places)
    assert places[-1]["data"]["wait_seconds"] > 0
    first = stream.types.index("start")
    assert "data-queue" not in stream.types[first:], "nothing is told of the queue once the answer has begun"
    assert stream.events[first].id == "1-0"
    assert counting.types == stream.types[first:], "who counts chunks gets those of the stream alone"


@pytest.mark.requirement("GW-11")
async def test_where_no_worker_is_ready_who_waits_is_told_that_and_the_next_that_he_is_the_next(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn, queue: WorkQueue, redis: Redis
) -> None:
    """But not who names no chat: he comes back with the number of what he was sent (WorkflowChatTransport)."""
    await http.post("/api/chat/sessions", json={"id": "s"})
    task_id = (await http.post("/api/chat/sessions/s/messages", json={"message": "hello"})).json()["task_id"]
    nameless = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "hello"}]}]}
    async with (
        follow(f"{gateway.url}/api/chat", method="POST", json=nameless) as counting,
        follow(f"{gateway.url}/api/chat/tasks/{task_id}/stream") as stream,
    ):
        assert (await stream.read_until("data-queue")).chunk["data"] == {"position": 0, "workers": 0}
        await _worker_is_ready(redis)
        assert (await stream.read_until("data-queue")).chunk["data"] == {"position": 0}
        await queue.read(1, SECOND)
        await worker.answer(task_id, "yes")
        await stream.read_to_end()
        await worker.answer(counting.response.headers["x-workflow-run-id"], "yes")
        await counting.read_to_end()
    assert stream.text == counting.text == "yes"
    assert counting.types[0] == "start"


async def _worker_is_ready(redis: Redis) -> None:
    """One says so, as `Presence` does; it is believed for a minute."""
    await Scripts(redis).run(
        "service/announce_worker",
        [
            keys.live_workers(keys.CHAT),
        ],
        ["worker-1", 60_000],
    )


async def _place(event: Event) -> int:
    assert event.id is None
    return int(event.chunk["data"]["position"])
