"""The hub and its Redis: one connection, which may die, hang, refuse, and forget everything."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from gateway.fanout.redis_way import FixedWay
from gateway.fanout.redis_wire import Address, RedisWire, WireLost
from gateway.fanout.uplink import Uplink
from redis.asyncio import Redis
from sluiceway.cancelling import cancelled
from structlog.testing import capture_logs

from harness.clients.sse import follow, replay
from harness.databases.valkey import Valkey
from harness.waiting import wait_until
from tests.gateway.hub_app import HubServer, Publisher, hub_server

HUB = "sluiceway-hub"


@pytest.fixture
async def server(valkey_url: str) -> AsyncIterator[HubServer]:
    async with hub_server(
        valkey_url, outage_seconds=1, reply_seconds=1, join_seconds=0.5, heartbeat_seconds=1
    ) as running:
        yield running


@pytest.fixture
def publisher(redis: Redis) -> Publisher:
    return Publisher(redis, "stream")


async def connections(redis: Redis) -> list[str]:
    return [client["id"] for client in await redis.client_list() if client["name"] == HUB]


async def kill_hub(redis: Redis) -> None:
    for number in await connections(redis):
        await redis.execute_command("CLIENT", "KILL", "ID", number)  # type: ignore[no-untyped-call]


@pytest.mark.requirement("GW-5")
async def test_a_hundred_subscribers_of_many_streams_share_one_connection(server: HubServer, redis: Redis) -> None:
    publishers = [Publisher(redis, f"stream-{number}") for number in range(20)]
    for publisher in publishers:
        await publisher.start()
    viewers = [asyncio.create_task(replay(server.url(f"stream-{number % 20}"))) for number in range(100)]
    await wait_until(lambda: server.stats().subscribers == 100)
    assert len(await connections(redis)) == 1
    for publisher in publishers:
        await publisher.finish()
    for viewer in viewers:
        assert (await viewer).types == ["start", "finish", "[DONE]"]


@pytest.mark.requirement("GW-5")
async def test_followers_continue_after_the_connection_was_killed(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        for number in range(5):
            await kill_hub(redis)
            await publisher.text(str(number))
            await stream.read_text(number + 1)
        await publisher.finish()
        await stream.read_to_end()
    assert stream.text == "01234"
    assert stream.end == "clean"
    assert server.stats().reconnects >= 5


@pytest.mark.requirement("TS-12")
@pytest.mark.parametrize("command", ["FLUSHALL", "DEL"])
async def test_followers_of_a_stream_that_vanishes_are_broken_and_never_ended(
    server: HubServer, publisher: Publisher, redis: Redis, command: str
) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        await redis.execute_command(command, *(["stream"] if command == "DEL" else []))  # type: ignore[no-untyped-call]
        await stream.read_to_end()
        assert stream.end == "broken"


@pytest.mark.requirement("TS-12")
async def test_followers_of_a_stream_that_began_again_are_broken(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete("stream")
            pipe.xadd("stream", {"t": "start", "d": '{"type":"start"}'}, id="2-0")
            pipe.expire("stream", 60)
            await pipe.execute()
        await stream.read_to_end()
        assert stream.end == "broken"


@pytest.mark.requirement("TS-3")
async def test_who_waits_for_a_turn_to_begin_outlives_a_flush(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    async with follow(server.url("stream")) as stream:
        await wait_until(lambda: server.stats().streams == 1)
        await redis.flushall()
        await publisher.start()
        await stream.read_until("start")


@pytest.mark.requirement("TS-2")
async def test_a_renewed_ttl_disturbs_nobody(server: HubServer, publisher: Publisher, redis: Redis) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        for seconds in range(100, 120):
            await redis.expire("stream", seconds)
        await publisher.text("still here")
        await stream.read_until("text-delta")
    assert stream.types == ["start", "text-delta"]


@pytest.mark.requirement("GW-3")
async def test_silent_streams_get_comments_and_nothing_else(server: HubServer, publisher: Publisher) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        assert stream.retry_ms is not None
        reading = asyncio.create_task(stream.next_event())
        await wait_until(lambda: len(stream.comments) >= 2, what="two heartbeats")
        await publisher.text("awake")
        event = await reading
    assert event is not None
    assert event.type == "text-delta"
    assert stream.types == ["start", "text-delta"]
    assert {comment.strip() for comment in stream.comments} == {"keep-alive"}


@pytest.mark.requirement("GW-3")
async def test_clients_are_told_different_times_to_come_back(server: HubServer, publisher: Publisher) -> None:
    await publisher.start()
    await publisher.finish()
    told = {(await replay(server.url("stream"))).retry_ms for _ in range(8)}
    assert len(told) > 1


@pytest.mark.requirement("GW-4")
async def test_a_drain_tells_every_follower_when_to_come_back_and_breaks_it(
    server: HubServer, publisher: Publisher
) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        first = stream.retry_ms
        stream.retry_ms = None
        server.drain()
        await stream.read_to_end()
        assert stream.end == "broken"
        assert first is not None
        assert stream.retry_ms is not None
    async with follow(server.url("stream")) as late:
        await late.read_to_end()
        assert late.end == "broken"


@pytest.mark.requirement("TS-12")
async def test_while_redis_is_away_joins_are_refused_and_open_streams_break_and_then_all_continues(
    server: HubServer, publisher: Publisher, valkey: Valkey
) -> None:
    await publisher.start()
    async with follow(server.url("stream")) as stream:
        await stream.read_until("start")
        valkey.stop()
        await stream.read_to_end()
        assert stream.end == "broken"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(server.url("stream"))
    assert (answer.status_code, answer.json()["code"]) == (503, "REDIS_UNAVAILABLE")
    valkey.start()
    async with Redis.from_url(valkey.url) as redis:
        again = Publisher(redis, "other")
        await again.start()
        await again.finish()

    async def comes_back() -> bool:
        async with follow(server.url("other")) as stream:
            return stream.status == 200 and bool(await stream.read_to_end())

    await wait_until(comes_back, what="streams can be followed again")


@pytest.mark.requirement("TS-3")
async def test_a_redis_that_hangs_is_left_and_found_again(
    server: HubServer, publisher: Publisher, valkey: Valkey
) -> None:
    await publisher.start()
    valkey.freeze()
    try:
        await wait_until(lambda: server.stats().reconnects == 1, what="the silent connection is given up")
    finally:
        valkey.thaw()
    await publisher.finish()

    async def whole() -> bool:
        async with follow(server.url("stream")) as stream:
            return stream.status == 200 and len(await stream.read_to_end()) == 3

    await wait_until(whole, what="the stream can be followed")


@pytest.fixture
async def closed_door() -> AsyncIterator[tuple[Address, list[None]]]:
    """A server that says at once why it wants nobody, and hangs up, as one in protected mode or with too many clients
    does. And one entry for each who came."""
    came: list[None] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(None)
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        yield Address.parse(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"), came


@pytest.mark.requirement("OP-12")
async def test_a_server_that_refuses_before_it_was_asked_has_said_why(
    closed_door: tuple[Address, list[None]],
) -> None:
    address, _ = closed_door
    wire = RedisWire(address, lambda _: None, lambda: None)
    await asyncio.get_running_loop().create_connection(lambda: wire, address.host, address.port)
    await wait_until(lambda: wire.gone)
    with pytest.raises(WireLost, match="max number of clients reached"):
        await wire.execute("PING")


@pytest.mark.requirement("OP-12")
async def test_a_redis_that_cannot_be_reached_is_told_once_and_not_with_each_attempt(
    closed_door: tuple[Address, list[None]],
) -> None:
    address, came = closed_door
    with capture_logs() as lines:
        uplink = Uplink(FixedWay(address), name=HUB, reply_seconds=1, on_push=lambda _: None, on_up=lambda: None)
        running = asyncio.create_task(uplink.run())
        await wait_until(lambda: len(came) == 6)
        await cancelled([running])
    told = [(line["event"], line["reason"]) for line in lines]
    assert ("redis_unreachable", "ERR max number of clients reached") in told
    assert len(told) == len(set(told)) < 6


@pytest.mark.requirement("GW-5")
async def test_the_hub_logs_in_and_selects_its_database_as_the_url_says(redis: Redis, valkey: Valkey) -> None:
    await redis.execute_command("ACL", "SETUSER", "hub", "on", ">p@ss/word", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
    url = f"redis://hub:p%40ss%2Fword@127.0.0.1:{valkey.port}/3"
    async with Redis.from_url(url) as third:
        publisher = Publisher(third, "stream")
        await publisher.start()
        await publisher.finish()
    async with hub_server(url) as server:
        assert (await replay(server.url("stream"))).types == ["start", "finish", "[DONE]"]
    await redis.execute_command("ACL", "DELUSER", "hub")  # type: ignore[no-untyped-call]


@pytest.mark.requirement("GW-5")
@pytest.mark.parametrize("url", ["http://x", "redis://:secret@h/one", "127.0.0.1:6379"])
def test_a_url_that_is_none_of_redis_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="Redis URL") as refusal:
        Address.parse(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.requirement("GW-5")
def test_redis_urls_mean_what_they_say() -> None:
    assert Address.parse("redis://") == Address("127.0.0.1", 6379, None, False, "default", None, 0)
    assert Address.parse("rediss://u:p@h:1/2") == Address("h", 1, None, True, "u", "p", 2)
    assert Address.parse("redis://:p@h?db=4") == Address("h", 6379, None, False, "default", "p", 4)
    assert Address.parse("unix:///run/redis.sock?db=1").path == "/run/redis.sock"
