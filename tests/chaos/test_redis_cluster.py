"""The whole system on a real cluster of six nodes: a primary dies, and slots move, in the middle of answers."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from sluiceway import keys
from sluiceway.errors import RedisRefuses, RedisUnavailable
from sluiceway.operation.completions import Completions
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.partitions import partition_for, placed
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.redis.client import open_redis
from sluiceway.service.redis_suitability import unsuitable
from sluiceway.wire.events import TextDelta

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.viewer import Viewer
from harness.clients.watched_turns import watched_turns
from harness.databases.database import Database
from harness.databases.redis_cluster import RedisCluster
from harness.databases.valkey import Valkey
from harness.metrics import metrics_of
from harness.model_server import ModelServer
from harness.processes.services import Services, System
from harness.waiting import wait_until
from tests.chaos.operations import operation_in
from tests.chat_worker.flusher_desk import Desk

NEXT_TEXT_SECONDS = 5

pytestmark = pytest.mark.requirement("OP-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster.running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def system(services: Services, nodes: RedisCluster) -> System:
    system = await services.whole(
        gateways=2,
        tool_runners=1,
        REDIS_URL=nodes.url,
        TOOLS_DIR=str(TOOLS_DIR),
        RECONCILE_SECONDS="0.5",
        SETTLE_AFTER_SECONDS="0.5",
    )
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
            # Of the turns' streams, of the queue's partitions, and one more as Valkey 9 does it.
            for one in watched.turns[:3]:
                await asyncio.to_thread(cluster.move_slot, keys.task_events(one.turn.task_id))
            for partition in range(4):
                await asyncio.to_thread(cluster.move_slot, keys.work_queue(keys.CHAT, partition))
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
        await _waits_for_an_operation(system, cluster, chat, model, database)
    for gateway in system.gateways:
        await wait_until(lambda: gateway.answers("/readyz"), 30, "the gateway is ready")  # noqa: B023


async def _waits_for_an_operation(
    system: System, cluster: RedisCluster, chat: Chat, model: ModelServer, database: Database
) -> None:
    """It is left alone by the reconciler while it waits: its node is the one that it was written on."""
    await calls_tools(model, "ask somebody", call("outside", "call_o", text="hello"), says="Let me ask. ")
    await answers(model, "ask somebody", "They said hi.")
    turn = await chat.ask("ask somebody")
    operation_id = await operation_in(database, turn, "accepted")
    rebuilt, rounds = await _counted(system, _REBUILT), await _counted(system, _ROUNDS)
    async with Viewer(chat.stream_url(turn)) as viewer:
        await viewer.shows("Let me ask. ")

        async def gone_round() -> bool:
            return await _counted(system, _ROUNDS) >= rounds + 6

        await wait_until(gone_round, 30, "the reconciler has looked at the turn")
        async with open_redis(cluster.url, name="test") as client:
            await Completions(client).publish_operation_complete(operation_id, None, True, "hi")
        assert (await viewer.end()).text == "Let me ask. They said hi."
        assert viewer.restarts == 0
    assert await _counted(system, _REBUILT) == rebuilt


_ROUNDS, _REBUILT = ("sluiceway_reconciler_rounds_total", ""), ("sluiceway_reconciler_repaired_total", "turn_restored")


async def _counted(system: System, named: tuple[str, str]) -> float:
    told = await metrics_of(system.consumers[0])
    return sum(value for (name, label), value in told.items() if name == named[0] and named[1] in ("", label))


@pytest.mark.requirement("TS-2")
async def test_streams_of_the_other_nodes_are_written_while_one_is_silent(nodes: RedisCluster) -> None:
    async with open_redis(nodes.url, name="test") as client:
        desk = Desk(client)
        running = asyncio.create_task(desk.flusher.run())
        ids = [f"task_{number}" for number in range(9)]
        writers = {task_id: await desk.writer(task_id) for task_id in ids}
        noted = {
            meta.replication_id for task_id in ids if (meta := await desk.streams.registry.meta(task_id)) is not None
        }
        assert noted == await desk.streams.reader.replication_ids(), "no turn looks as if its server had failed over"
        await nodes.whole()
        shard = nodes.shard_of(keys.task_events(ids[0]))
        away = {task_id for task_id in ids if nodes.owner(keys.task_events(task_id)) in shard}
        nodes.set("cluster-require-full-coverage", "no")
        for node in shard:
            node.freeze()
        for task_id, writer in writers.items():
            writer.write(TextDelta(id="0", delta=task_id))
        others = [task_id for task_id in ids if task_id not in away]
        await asyncio.wait_for(asyncio.gather(*(writers[task_id].drained() for task_id in others)), 20)
        assert [await desk.text(task_id) for task_id in others] == others
        for task_id in others:  # and again, without a wait for who is known to be silent
            writers[task_id].write(TextDelta(id="1", delta="!"))
        await asyncio.wait_for(asyncio.gather(*(writers[task_id].drained() for task_id in others)), 20)
        assert all(writers[task_id].written == 0 for task_id in away)
        for node in shard:
            nodes.bring_back(node)
        nodes.set("cluster-require-full-coverage", "yes")
        await nodes.whole()
        await asyncio.wait_for(asyncio.gather(*(writers[task_id].drained() for task_id in away)), 30)
        assert [await desk.text(task_id) for task_id in ids] == [
            task_id if task_id in away else f"{task_id}!" for task_id in ids
        ]
        running.cancel()
        await asyncio.wait([running])


async def test_queues_of_the_other_nodes_are_read_while_one_is_silent(nodes: RedisCluster) -> None:
    partitions, kind = range(4), keys.tool_queue("test")
    async with (
        open_redis(nodes.url, name="test") as client,
        open_redis(nodes.url, name="reader", blocking=True) as blocking,
    ):
        queue = PartitionedQueue(client, blocking, kind, "worker", lease=timedelta(seconds=30), partitions=4)
        await queue.ensure_group()
        shard = nodes.shard_of(keys.work_queue(kind, 0))
        away = {one for one in partitions if nodes.owner(keys.work_queue(kind, one)) in shard}
        assert away != set(partitions), "the partitions are on several nodes"
        bodies = {one: b"%d" % next(n for n in range(99) if partition_for(b"%d" % n, 4) == one) for one in partitions}
        producer = Producer(client, kind, 4)
        for body in bodies.values():
            await producer.add(body)
        held = [one for _ in partitions for one in await queue.read(1, timedelta(milliseconds=50))]
        assert {one.body for one in held} == set(bodies.values())
        waiting = asyncio.create_task(queue.read(4, timedelta(seconds=2)))
        nodes.set("cluster-require-full-coverage", "no")
        for node in shard:
            node.freeze()
        for one in set(partitions) - away:
            await producer.add(bodies[one])
        found = list(await waiting)
        async with asyncio.timeout(15):
            while len(found) < len(partitions) - len(away):
                found += await queue.read(4, timedelta(seconds=2))
        assert {placed(one.entry_id)[0] for one in found} == set(partitions) - away
        # While the client finds out what the cluster is now, a renewal may be late: a worker tries it again.
        async with asyncio.timeout(15):
            while await _lost(queue, [one for one in held if placed(one.entry_id)[0] not in away]) is None:
                pass
        with pytest.raises(RedisUnavailable):
            await queue.renew([one.entry_id for one in held])
        for node in shard:
            nodes.bring_back(node)
        nodes.set("cluster-require-full-coverage", "yes")
        await nodes.whole()
        for one in away:
            await producer.add(bodies[one])
        async with asyncio.timeout(20):
            while len(found) < len(partitions):
                found += await queue.read(4, timedelta(seconds=2))
        assert sorted(one.body for one in found) == sorted(bodies.values())
        assert await _lost(queue, [*held, *found]) == set()
        assert all([await queue.ack(one.entry_id) for one in (*held, *found)])
        await queue.leave()


async def _lost(queue: PartitionedQueue, held: Sequence[Delivery]) -> set[str] | None:
    """Which entries are not the consumer's own any more; None: a node has not answered in time."""
    try:
        return await queue.renew([one.entry_id for one in held])
    except RedisUnavailable:
        return None


async def test_a_cluster_that_is_named_as_one_is_suitable_and_a_single_server_is_not(
    nodes: RedisCluster, valkey: Valkey
) -> None:
    async with open_redis(nodes.url, name="test") as client:
        assert await unsuitable(client) is None
        nodes.set("maxmemory-policy", "allkeys-lru")
        told = await unsuitable(client)
        nodes.set("maxmemory-policy", "noeviction")
        assert told is not None
        assert told.startswith("Redis evicts keys")
    async with open_redis(f"redis://127.0.0.1:{nodes.nodes[0].port}/0", name="test") as client:
        told = await unsuitable(client)
        assert told == ("REDIS_URL leads to a node of a cluster, which splits the keys: begin it with redis+cluster://")
    async with open_redis(f"redis+cluster://127.0.0.1:{valkey.port}", name="test") as client:
        with pytest.raises(RedisRefuses, match="is no node of a cluster: begin it with redis://"):
            await unsuitable(client)
