"""The hub under faults: dying connections on both sides, slow readers, payloads of all sizes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from harness.waiting import wait_until
from tests.gateway.hub_app import HubServer, Publisher, hub_server
from tests.gateway.raw_client import RawClient

CLIENTS = 48
STREAMS = 8
ENTRIES = 300
SLOW_SHARE = 5
# By progress, not by the clock: on a slow machine a clock kills before anything was read.
KILL_AFTER_EVENTS = 1500
# A slow reader reads so much, and then nothing until so many more entries of its stream are written.
SLOW_READ_BYTES = 48 * 1024
SLOW_WAIT_ENTRIES = 40


class Source(Publisher):
    """A publisher that slow readers can wait for."""

    def __init__(self, redis: Redis, key: str, chance: random.Random) -> None:
        super().__init__(redis, key)
        self._chance = chance
        self._progress = asyncio.Condition()
        self.finished = False

    async def run(self) -> None:
        attempt = 1
        await self.start()
        for number in range(ENTRIES):
            attempt += self._chance.random() < 0.02
            await self.text(f"{number}:" + "x" * self._size(), attempt=attempt)
            async with self._progress:
                self._progress.notify_all()
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.uniform(0, 0.05))
        await self.finish(attempt=attempt)
        self.finished = True
        async with self._progress:
            self._progress.notify_all()

    def _size(self) -> int:
        return int(20 * 1000 ** self._chance.random())

    async def more(self, count: int) -> None:
        """Wait until `count` more entries are written, or all."""
        wanted = len(self.entries) + count
        async with self._progress:
            await self._progress.wait_for(lambda: self.finished or len(self.entries) >= wanted)


class Viewer:
    """A browser that reconnects by Last-Event-ID whenever it likes, or must."""

    def __init__(self, port: int, source: Source, chance: random.Random, *, slow: bool) -> None:
        self._port = port
        self._source = source
        self._chance = chance
        self._slow = slow
        self.seen: list[tuple[str, bytes]] = []
        self.connections = 0

    async def run(self) -> None:
        ended = False
        while not ended:
            ended = await self._one_connection()

    async def _one_connection(self) -> bool:
        client = RawClient(self._port, receive_buffer=4096 if self._slow else None)
        self.connections += 1
        try:
            await client.open(f"/{self._source.key}", last_event_id=self.seen[-1][0] if self.seen else None)
            # 204: it left between the last event and [DONE].
            assert client.status in (200, 204, 503), client.status
            if client.status == 200:
                await self._read(client)
        except ConnectionError:
            pass
        finally:
            client.close()
        return client.ended_cleanly or client.status == 204

    async def _read(self, client: RawClient) -> None:
        pause_at = SLOW_READ_BYTES
        async for event in client.events():
            self.seen.append(event)
            if self._slow and client.bytes_read > pause_at:
                pause_at = client.bytes_read + SLOW_READ_BYTES
                await self._source.more(SLOW_WAIT_ENTRIES)
            if self._chance.random() < 0.012:
                return


def _has_sent(server: HubServer, events: int) -> bool:
    return server.stats().events_sent >= events


async def kill_again_and_again(server: HubServer, redis: Redis, count: Callable[[], None]) -> None:
    sent = 0
    while True:
        await wait_until(partial(_has_sent, server, sent + KILL_AFTER_EVENTS), 600, "more is sent")
        sent = server.stats().events_sent
        for client in await redis.client_list():
            if client["name"] == "sluiceway-hub":
                try:
                    await redis.execute_command("CLIENT", "KILL", "ID", client["id"])  # type: ignore[no-untyped-call]
                    count()
                except ResponseError:
                    continue


@pytest.fixture
async def server(valkey_url: str) -> AsyncIterator[HubServer]:
    async with hub_server(valkey_url) as running:
        yield running


@pytest.mark.requirement("TS-3")
@pytest.mark.requirement("TS-10")
@pytest.mark.requirement("GW-5")
async def test_every_client_sees_every_entry_once_and_in_order_whatever_dies(server: HubServer, redis: Redis) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sources = [Source(redis, f"stream-{index}", random.Random(chance.random())) for index in range(STREAMS)]
    viewers = [
        Viewer(server.port, sources[n % STREAMS], random.Random(chance.random()), slow=n % SLOW_SHARE == 0)
        for n in range(CLIENTS)
    ]
    kills = 0

    def killed() -> None:
        nonlocal kills
        kills += 1

    killing = asyncio.create_task(kill_again_and_again(server, redis, killed))
    try:
        await asyncio.gather(*(source.run() for source in sources), *(viewer.run() for viewer in viewers))
    finally:
        killing.cancel()
        stats = server.stats()
        print(f"{kills} kills, {sum(viewer.connections for viewer in viewers)} connections, {stats}")
    for number, viewer in enumerate(viewers):
        expected = sources[number % STREAMS].entries
        assert [entry_id for entry_id, _ in viewer.seen] == [entry_id for entry_id, _ in expected], f"viewer {number}"
        assert viewer.seen == expected, f"viewer {number}"
    assert kills > 5
    assert stats.slow > 0
