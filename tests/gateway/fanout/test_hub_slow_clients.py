"""Browsers that read slowly, not at all, or go away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from gateway.fanout.hub import Follow, Hub
from redis.asyncio import Redis
from starlette.types import Message

from harness.clients.sse import follow
from harness.waiting import wait_until
from tests.gateway.hub_app import HubServer, Publisher, hub_server
from tests.gateway.raw_client import RawClient

BIG = "x" * 20_000


@pytest.fixture
async def server(valkey_url: str) -> AsyncIterator[HubServer]:
    async with hub_server(valkey_url) as running:
        yield running


@pytest.fixture
async def impatient(valkey_url: str) -> AsyncIterator[HubServer]:
    """It breaks a client that takes nothing for half a second."""
    async with hub_server(valkey_url, slow_seconds=0.5) as running:
        yield running


async def fill_until_slow(server: HubServer, publisher: Publisher) -> None:
    while server.stats().slow == 0:
        await publisher.text(BIG)


@pytest.mark.requirement("TS-10")
async def test_a_client_that_takes_nothing_is_broken_and_holds_up_nobody(impatient: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    stuck = RawClient(impatient.port, receive_buffer=4096)
    await stuck.open("/stream")
    async with follow(impatient.url("stream")) as healthy:
        await healthy.read_until("start")
        reading = asyncio.create_task(healthy.read_to_end())
        await fill_until_slow(impatient, publisher)
        await wait_until(lambda: impatient.stats().broken == 1, what="the stuck client is broken")
        await publisher.finish()
        await reading
        assert [event.id for event in healthy.events[:-1]] == [entry_id for entry_id, _ in publisher.entries]
    seen = [event async for event in stuck.events()]
    stuck.close()
    assert not stuck.ended_cleanly
    assert seen == publisher.entries[: len(seen)]
    assert len(seen) < len(publisher.entries)


@pytest.mark.requirement("TS-10")
async def test_a_broken_client_continues_where_it_was(impatient: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    stuck = RawClient(impatient.port, receive_buffer=4096)
    await stuck.open("/stream")
    await wait_until(lambda: impatient.stats().streams == 1)
    await fill_until_slow(impatient, publisher)
    await wait_until(lambda: impatient.stats().broken == 1, what="the stuck client is broken")
    await publisher.finish()
    seen = [event async for event in stuck.events()]
    stuck.close()
    again = RawClient(impatient.port)
    await again.open("/stream", last_event_id=seen[-1][0])
    seen += [event async for event in again.events()]
    again.close()
    assert again.ended_cleanly
    assert seen == publisher.entries


@pytest.mark.requirement("TS-10")
async def test_a_slow_client_catches_up_from_redis_and_is_live_again(server: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    slow = RawClient(server.port, receive_buffer=4096)
    await slow.open("/stream")
    await wait_until(lambda: server.stats().streams == 1)
    await fill_until_slow(server, publisher)
    assert server.stats().streams == 0
    reading = asyncio.create_task(collect(slow))
    await wait_until(lambda: server.stats().streams == 1, what="it is live again")
    await publisher.finish()
    assert await reading == publisher.entries
    assert slow.ended_cleanly
    assert server.stats().broken == 0


async def collect(client: RawClient) -> list[tuple[str, bytes]]:
    events = [event async for event in client.events()]
    client.close()
    return events


@pytest.mark.requirement("TS-10")
async def test_what_waits_for_a_stuck_client_is_bounded(impatient: HubServer, redis: Redis) -> None:
    """Replayed megabytes do not pile up in the gateway: it reads on from Redis only when the client has taken some."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(300):
        await publisher.text(BIG)
    stuck = RawClient(impatient.port, receive_buffer=4096)
    await stuck.open("/stream")
    await wait_until(lambda: impatient.stats().broken == 1, what="the stuck client is broken")
    sent = impatient.stats().events_sent
    stuck.close()
    assert sent * len(BIG) < 600_000


@pytest.mark.requirement("TS-10", "SE-3")
async def test_a_stuck_client_keeps_its_cursor_and_nothing_that_was_read_ahead(
    impatient: HubServer, redis: Redis
) -> None:
    """However large the entries are: of a reading only so many bytes are kept, and none while nobody takes them."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(60):
        await publisher.text("x" * 100_000)
    stuck = [RawClient(impatient.port, receive_buffer=4096) for _ in range(10)]
    for client in stuck:
        await client.open("/stream")
    await wait_until(lambda: impatient.stats().broken == 10, what="the stuck clients are broken")
    for client in stuck:
        client.close()
    assert impatient.stats().entries_read * 100_000 / len(stuck) < 600_000


@pytest.mark.requirement("TS-10", "SE-3")
async def test_of_a_stream_that_is_not_small_a_few_entries_are_read_first(valkey_url: str, redis: Redis) -> None:
    """Nobody knows how large they are until some were read."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(300):
        await publisher.text("x" * 4_000)
    async with Hub(valkey_url) as hub:
        before = (await redis.info("stats"))["total_net_output_bytes"]
        await hub.join(Follow("stream"))
        came = (await redis.info("stats"))["total_net_output_bytes"] - before
    assert 64 * 4_000 < came < 2 * 64 * 4_000


@pytest.mark.requirement("TS-10", "SE-3")
async def test_what_waits_for_all_stuck_clients_together_has_a_bound(valkey_url: str, redis: Redis) -> None:
    """A large entry is a piece by itself. Past the bound whoever stalls next is broken, and keeps its cursor."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(4):
        await publisher.text("x" * 1_000_000)
    await publisher.finish()
    async with hub_server(valkey_url, most_waiting_bytes=5_000_000) as server:
        stuck = [RawClient(server.port, receive_buffer=4096) for _ in range(6)]
        for client in stuck:
            await client.open("/stream")
        await wait_until(lambda: server.stats().broken == 4, what="there is room for two")
        assert server.hub.backlog.bytes <= 5_000_000
        for client in stuck:
            client.close()
        again = RawClient(server.port)
        await again.open("/stream")
        assert await collect(again) == publisher.entries
        await wait_until(lambda: server.stats().subscribers == 0)
        assert server.hub.backlog.bytes == 0


@pytest.mark.requirement("TS-9")
async def test_a_client_that_goes_away_leaves_nothing_behind(server: HubServer, redis: Redis) -> None:
    before = await redis.info("clients")
    publishers = [Publisher(redis, f"stream-{number}") for number in range(10)]
    clients = [RawClient(server.port) for _ in range(50)]
    for publisher in publishers:
        await publisher.start()
    for number, client in enumerate(clients):
        await client.open(f"/stream-{number % 10}")
    await wait_until(lambda: server.stats().subscribers == 50)
    assert server.stats().streams == 10
    for client in clients:
        client.close()
    await wait_until(lambda: server.stats().subscribers == 0, timeout=5)
    assert server.stats().streams == 0
    assert (await redis.info("clients"))["connected_clients"] == before["connected_clients"]


@pytest.mark.requirement("TS-9")
async def test_clients_that_leave_in_the_middle_of_a_replay_leave_nothing_behind(
    server: HubServer, redis: Redis
) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(100):
        await publisher.text(BIG)
    clients = [RawClient(server.port, receive_buffer=4096) for _ in range(20)]
    for client in clients:
        await client.open("/stream")
    await wait_until(lambda: server.stats().subscribers == 20)
    for client in clients:
        client.close()
    await wait_until(lambda: server.stats().subscribers == 0, timeout=5)
    assert server.stats().broken == 0


class Sink:
    """What a server gives to an application, without a server."""

    def __init__(self, fails_after: int) -> None:
        self.bodies: list[bytes] = []
        self.left = asyncio.Event()
        self._fails_after = fails_after

    async def send(self, message: Message) -> None:
        if len(self.bodies) >= self._fails_after:
            raise OSError("this socket is dead")
        self.bodies.append(message["body"])

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.mark.requirement("TS-10")
async def test_a_subscriber_whose_write_fails_costs_the_others_no_event(valkey_url: str, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    sinks = [Sink(fails_after=number if number % 2 else 1000) for number in range(8)]
    async with Hub(valkey_url) as hub:
        runs = []
        for sink in sinks:
            subscription = await hub.join(Follow("stream"))
            runs.append(asyncio.create_task(subscription.run(sink.receive, sink.send)))
        await wait_until(lambda: all(sink.bodies for sink in sinks))
        for number in range(20):
            await publisher.text(str(number))
        await publisher.finish()
        results = await asyncio.gather(*runs, return_exceptions=True)
    whole = b"".join(b"id: %b\ndata: %b\n\n" % (entry_id.encode(), data) for entry_id, data in publisher.entries)
    for number, (sink, result) in enumerate(zip(sinks, results, strict=True)):
        if number % 2:
            assert type(result).__name__ == "StreamBroken"
        else:
            assert result is None
            assert b"".join(sink.bodies) == whole + b"data: [DONE]\n\n"
