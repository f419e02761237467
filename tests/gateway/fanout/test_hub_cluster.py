"""The hub on a real cluster: a wire for each primary, and streams that are followed wherever their slots go."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable
from sluiceway.redis.client import command, open_redis
from sluiceway.redis.slots import slot_of

from harness.clients.sse import SseStream, follow
from harness.databases.redis_cluster import RedisCluster
from harness.databases.valkey import Valkey
from harness.waiting import wait_until
from tests.gateway.hub_app import HubServer, hub_server

pytestmark = pytest.mark.requirement("OP-8", "TS-2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One for all tests here; each leaves it whole."""
    with RedisCluster.running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[Redis]:
    async with open_redis(cluster.url, name="test") as client:
        yield client


@pytest.fixture
async def server(cluster: RedisCluster) -> AsyncIterator[HubServer]:
    async with hub_server(cluster.url, join_seconds=5) as running:
        yield running


class Writer:
    """Appends numbered texts to one stream, each once, as a worker's batches are."""

    def __init__(self, client: Redis, key: str) -> None:
        self.key = key
        self._client = client
        self._next = 0

    async def append(self, kind: str, **more: str) -> None:
        entry = f"1-{self._next}"
        while True:
            try:
                await command(self._client, "XADD", self.key, entry, "t", kind, "d", json.dumps({"type": kind, **more}))
            except RedisUnavailable:
                await asyncio.sleep(0.05)
            else:
                break
        self._next += 1

    async def start(self) -> None:
        await self.append("start")
        await command(self._client, "PEXPIRE", self.key, 600_000)

    async def text(self, text: str) -> None:
        await self.append("text-delta", id="t", delta=text)


class Followed:
    """Streams in every part of the cluster, each with a follower."""

    def __init__(self, writers: list[Writer], streams: list[SseStream]) -> None:
        self.writers, self.streams = writers, streams
        self._said = ""

    async def say(self, text: str) -> None:
        """Every stream gets it, and every follower sees it, behind what he saw, and nothing twice."""
        await asyncio.gather(*(writer.text(text) for writer in self.writers))
        self._said += text
        for stream in self.streams:
            while len(stream.text) < len(self._said):
                await stream.read_until("text-delta")
            assert stream.text == self._said

    async def finish(self) -> None:
        for writer, stream in zip(self.writers, self.streams, strict=True):
            await writer.append("finish")
            await stream.read_to_end()
            assert (stream.text, stream.end) == (self._said, "clean")


async def followed(stack: AsyncExitStack, server: HubServer, client: Redis, name: str) -> Followed:
    writers = [Writer(client, f"{name}-{number}") for number in range(9)]
    streams = []
    for writer in writers:
        await writer.start()
        stream = await stack.enter_async_context(follow(server.url(writer.key)))
        await stream.read_until("start")
        streams.append(stream)
    return Followed(writers, streams)


def hub_wires(node: Valkey) -> int:
    return str(node.ask("CLIENT", "LIST")).count("sluiceway-hub")


async def test_streams_of_all_slots_are_followed_by_one_wire_to_each_primary(
    cluster: RedisCluster, server: HubServer, client: Redis
) -> None:
    async with AsyncExitStack() as stack:
        seen = await followed(stack, server, client, "spread")
        assert len({cluster.owner(writer.key).port for writer in seen.writers}) == 3
        await seen.say("one ")
        assert [hub_wires(node) for node in cluster.primaries()] == [1, 1, 1]
        await seen.finish()


async def test_a_slot_that_moves_under_followers_is_followed_there_without_a_gap_or_a_repeat(
    cluster: RedisCluster, server: HubServer, client: Redis
) -> None:
    async with AsyncExitStack() as stack:
        seen = await followed(stack, server, client, "moving")
        await seen.say("before ")
        moves = [cluster.carry(writer.key) for writer in seen.writers[:3]]
        await seen.say("on its way ")
        async with follow(server.url(seen.writers[0].key)) as late:
            while late.text != "before on its way ":
                await late.read_until("text-delta")
        for move in moves:
            cluster.finish(move)
        await seen.say("there ")
        await cluster.move_at_once(seen.writers[4].key)
        await seen.say("at once ")
        await seen.finish()
    assert server.stats().broken == 0


async def test_a_slot_that_moved_is_found_by_what_its_old_owner_says(
    cluster: RedisCluster, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by looking again who has the slots, which is done each second."""
    monkeypatch.setattr("gateway.fanout.cluster_servers.FOLLOW_SECONDS", 600)
    async with hub_server(cluster.url, join_seconds=5) as server, AsyncExitStack() as stack:
        seen = await followed(stack, server, client, "told")
        await cluster.move_at_once(seen.writers[0].key)
        async with follow(server.url(seen.writers[0].key)) as late:
            await late.read_until("start")
        await seen.say("there ")
        await seen.finish()


@pytest.mark.parametrize("freeze", [False, True], ids=["killed", "frozen"])
async def test_streams_of_a_primary_that_is_away_are_read_at_its_replica_from_where_they_were(
    cluster: RedisCluster, server: HubServer, client: Redis, freeze: bool
) -> None:
    async with AsyncExitStack() as stack:
        seen = await followed(stack, server, client, f"failing-{freeze}")
        await seen.say("before ")
        await cluster.whole()
        victim = cluster.owner(seen.writers[0].key)
        away = {writer.key for writer in seen.writers if cluster.owner(writer.key) is victim}
        failing = asyncio.create_task(cluster.fail_over(victim, freeze=freeze))
        saying = asyncio.create_task(seen.say("after "))
        others = [stream for writer, stream in zip(seen.writers, seen.streams, strict=True) if writer.key not in away]
        promoted = await failing
        assert others, "streams are in every part"
        await asyncio.wait_for(saying, 10)
        assert asyncio.get_running_loop().time() - promoted < 5
        await seen.finish()
    cluster.bring_back(victim)
    await cluster.whole()


async def test_a_slot_that_nobody_has_is_away_and_comes_back(
    cluster: RedisCluster, server: HubServer, client: Redis
) -> None:
    writer = Writer(client, "unowned")
    await writer.start()
    slot, owner = str(slot_of("unowned")), cluster.owner("unowned")
    async with follow(server.url("unowned")) as stream:
        await stream.read_until("start")
        owner.ask("CLUSTER", "DELSLOTS", slot)
        with pytest.raises(RedisUnavailable):
            await command(client, "XADD", "unowned", "1-1", "t", "x", "d", "{}")
        owner.ask("CLUSTER", "ADDSLOTS", slot)
        await cluster.whole()
        await writer.text("still here")
        await stream.read_until("text-delta")
        await writer.append("finish")
        await stream.read_to_end()
    await wait_until(lambda: server.stats().streams == 0)
