"""The whole system on a real cluster of six nodes: a primary dies, and slots move, in the middle of answers."""

import asyncio
from collections.abc import Iterator

import pytest
from sluiceway import keys
from sluiceway.redis_client import open_redis
from sluiceway.service.redis_suitability import unsuitable

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.watched_turns import watched_turns
from harness.databases.database import Database
from harness.databases.redis_cluster import RedisCluster
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.services import Services, System
from harness.waiting import wait_until

NEXT_TEXT_SECONDS = 5

pytestmark = pytest.mark.requirement("OP-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
async def system(services: Services, nodes: RedisCluster) -> System:
    system = await services.whole(gateways=2, tool_runners=1, REDIS_URL=nodes.url, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "outside")
    return system


@pytest.mark.requirement("OP-7", "TS-11")
async def test_nothing_is_lost_or_doubled_when_a_primary_dies_or_slots_move_in_mid_answer(
    system: System, nodes: RedisCluster, database: Database, model: ModelServer
) -> None:
    cluster = nodes
    async with Chat(system.url) as chat:
        async with watched_turns(system, chat, "moving", 6) as watched:
            await watched.flowing()
            # Of the turns' streams, of the queue itself, and one more as Valkey 9 does it.
            for one in watched.turns[:3]:
                await asyncio.to_thread(cluster.move_slot, keys.task_events(one.turn.task_id))
            await asyncio.to_thread(cluster.move_slot, keys.work_queue(keys.CHAT))
            await cluster.move_at_once(keys.task_events(watched.turns[4].turn.task_id))
            moved = asyncio.get_running_loop().time()
            assert await watched.more_text(moved) < NEXT_TEXT_SECONDS
            await watched.whole(database)
            assert all(one.viewer.restarts == 0 for one in watched.turns), "nobody had to begin again"
        for name, freeze in (("killed", False), ("frozen", True)):
            async with watched_turns(system, chat, name, 6) as watched:
                await watched.flowing()
                victim = cluster.owner(keys.task_events(watched.turns[0].turn.task_id))
                promoted = await cluster.fail_over(victim, freeze=freeze)
                assert await watched.more_text(promoted) < NEXT_TEXT_SECONDS
                await watched.whole(database)
            cluster.bring_back(victim)
            await cluster.whole()
        await calls_tools(model, "ask somebody", call("echo", "call_q", text="hello"), says="Let me ask. ")
        await answers(model, "ask somebody", "It said hello.")
        turn = await chat.ask("ask somebody")
        assert fold(await chat.answer(turn)).text == "Let me ask. It said hello."
    for gateway in system.gateways:
        await wait_until(lambda: gateway.answers("/readyz"), 30, "the gateway is ready")  # noqa: B023


async def test_a_cluster_that_is_named_as_one_is_suitable_and_a_single_server_is_not(
    nodes: RedisCluster, valkey: Valkey
) -> None:
    async with open_redis(nodes.url, name="test") as client:
        assert await unsuitable(client) is None
    async with open_redis(f"redis://127.0.0.1:{nodes.nodes[0].port}/0", name="test") as client:
        told = await unsuitable(client)
        assert told == ("REDIS_URL leads to a node of a cluster, which splits the keys: begin it with redis+cluster://")
