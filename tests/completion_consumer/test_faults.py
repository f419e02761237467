"""The consumer is killed, frozen, told to stop; Redis and Postgres go; nothing is lost and nothing happens twice."""

import asyncio
import signal
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway import keys
from sluiceway.store.records import Operation

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.processes.services import Service, Services, probe
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting, only

QUEUE = keys.work_queue(keys.COMPLETIONS)


async def pending(redis: Redis) -> list[dict[str, Any]]:
    """The entries in somebody's hand."""
    try:
        return list(await redis.xpending_range(QUEUE, keys.GROUP, "-", "+", 1000))
    except ResponseError:  # there is no group yet
        return []


async def _has_in_flight(redis: Redis, count: int) -> bool:
    return len(await pending(redis)) >= count


async def _is_not_ready(service: Service) -> bool:
    return await probe(service.url, "/readyz") == 503


async def _is_done_once(scene: Scene, waitings: list[Waiting]) -> None:
    """Each call has its result, shown once; each turn is queued for its next step once."""
    for waiting in waitings:
        for operation in waiting.operations:
            assert await scene.state(operation) == "succeeded"
            assert (await scene.part(operation))["output"] == operation.id
            assert only(await scene.chunks(operation))["output"] == operation.id
    assert await scene.dead_letters() == []


async def _tell(scene: Scene, operations: list[Operation]) -> None:
    await asyncio.gather(*(scene.succeed(operation, operation.id) for operation in operations))


@pytest.mark.requirement("CC-2", "CC-6", "CC-8")
async def test_consumers_that_are_killed_again_and_again_lose_and_double_nothing(
    services: Services, scene: Scene
) -> None:
    short = {"LEASE_SECONDS": "1", "RECONCILE_SECONDS": "0.3", "MAX_DELIVERIES": "50"}
    consumers = list(await asyncio.gather(services.completion_consumer(**short), services.completion_consumer(**short)))
    waitings = [await scene.waiting("pending", "pending", "pending") for _ in range(60)]
    operations = [operation for waiting in waitings for operation in waiting.operations]

    for number in range(4):
        part = operations[number::4]
        await _tell(scene, part * 2)
        victim = consumers[number % 2]
        await wait_until(lambda: _has_in_flight(scene.redis, 1), what="completions are in flight")
        victim.kill9()
        await victim.start("/healthz")
    await scene.wait_until_all_done(60)

    await _is_done_once(scene, waitings)
    await wait_until(lambda: _all_continue(scene, waitings), 30, "each turn has its next step in the queue")


async def _all_continue(scene: Scene, waitings: list[Waiting]) -> bool:
    """A kill between the durable result and the next step's entry may lead to a second entry, which is harmless."""
    return set(await scene.queued("chat")) == {waiting.task.id for waiting in waitings}


@pytest.mark.requirement("CC-2", "CC-3")
async def test_a_frozen_consumer_is_replaced_and_does_no_harm_when_it_wakes_up(
    services: Services, scene: Scene, postgres: Postgres
) -> None:
    short = {"LEASE_SECONDS": "1", "RECONCILE_SECONDS": "60"}
    frozen = await services.completion_consumer(**short)
    waitings = [await scene.waiting() for _ in range(20)]
    postgres.stop()
    await _tell(scene, [waiting.operation for waiting in waitings])
    await wait_until(lambda: _has_in_flight(scene.redis, 20), what="all are in flight")
    frozen.freeze()
    postgres.start()
    await services.completion_consumer(**short)
    await scene.wait_until_all_done(60)
    await _is_done_once(scene, waitings)
    asked_for = sorted(await scene.queued("chat"))
    assert asked_for == sorted(waiting.task.id for waiting in waitings)

    frozen.thaw()
    marker = await scene.waiting()
    await _tell(scene, [marker.operation] * 40)
    await wait_until(lambda: _logged(frozen, "lease_lost"), 30, "it noticed what it had lost")
    await scene.wait_until_all_done(60)
    await _is_done_once(scene, [*waitings, marker])
    assert sorted(await scene.queued("chat")) == sorted([*asked_for, marker.task.id])


async def _logged(service: Service, event: str) -> bool:
    return any(line.get("event") == event for line in service.log_lines)


@pytest.mark.requirement("CC-3")
async def test_who_takes_long_and_lives_is_not_robbed(services: Services, scene: Scene, database: Database) -> None:
    short = {"LEASE_SECONDS": "0.5"}
    await asyncio.gather(services.completion_consumer(**short), services.completion_consumer(**short))
    waiting = await scene.waiting()
    async with database.transaction():
        await database.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", waiting.task.id)
        await scene.succeed(waiting.operation, waiting.operation.id)
        await wait_until(lambda: _has_in_flight(scene.redis, 1))
        (before,) = await pending(scene.redis)
        until = asyncio.get_running_loop().time() + 3
        await wait_until(lambda: asyncio.get_running_loop().time() > until)
        (after,) = await pending(scene.redis)
        assert (after["message_id"], after["consumer"]) == (before["message_id"], before["consumer"])
    await scene.wait_until_all_done()
    await _is_done_once(scene, [waiting])


@pytest.mark.requirement("CC-8", "OP-7")
async def test_completions_outlast_postgres_being_away(services: Services, scene: Scene, postgres: Postgres) -> None:
    consumer = await services.completion_consumer()
    waitings = [await scene.waiting("pending", "pending") for _ in range(10)]
    postgres.stop()
    await _tell(scene, [operation for waiting in waitings for operation in waiting.operations] * 2)
    await wait_until(lambda: _is_not_ready(consumer), what="it says that Postgres is away")
    postgres.start()
    await scene.wait_until_all_done(60)
    await _is_done_once(scene, waitings)
    assert sorted(await scene.queued("chat")) == sorted(waiting.task.id for waiting in waitings)


@pytest.mark.requirement("CC-8", "CC-1", "OP-7")
@pytest.mark.parametrize("loss", ["restart", "freeze", "flush"])
async def test_the_consumer_outlasts_redis_being_away_or_forgetting_all(
    services: Services, scene: Scene, valkey: Valkey, loss: str
) -> None:
    consumer = await services.completion_consumer(RECONCILE_SECONDS="0.3")
    waiting = await scene.waiting("pending", "pending")
    await _tell(scene, [waiting.operations[0]])
    await scene.wait_until_all_done()
    if loss == "flush":
        valkey.flush()
    else:
        valkey.freeze() if loss == "freeze" else valkey.stop()
        await wait_until(lambda: _is_not_ready(consumer), 30, "it says that Redis is away")
        valkey.thaw() if loss == "freeze" else valkey.start()
    await wait_until(lambda: consumer.answers("/readyz"), 30, "it goes on")
    await wait_until(lambda: scene.streams.registry.meta(waiting.task.id), 30, "the turn's stream is there")
    await _tell(scene, [waiting.operations[1]] * 2)
    await wait_until(lambda: scene.next_steps(waiting.task), 30, "the next step is queued")
    await scene.wait_until_all_done()
    await _is_done_once(scene, [waiting])


@pytest.mark.requirement("CC-8", "CC-6")
async def test_what_was_stored_while_redis_was_away_is_shown_and_acted_on_when_it_is_back(
    services: Services, scene: Scene, valkey: Valkey, database: Database
) -> None:
    await services.completion_consumer(RECONCILE_SECONDS="0.3")
    waiting = await scene.waiting()
    async with database.transaction():
        await database.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", waiting.task.id)
        await _tell(scene, [waiting.operation])
        await wait_until(lambda: _has_in_flight(scene.redis, 1))
        valkey.freeze()
    await wait_until(lambda: _is_stored(scene, waiting.operation), what="the result is stored")
    valkey.thaw()
    await wait_until(lambda: scene.next_steps(waiting.task), 30, "the next step is queued")
    await scene.wait_until_all_done()
    await _is_done_once(scene, [waiting])


async def _is_stored(scene: Scene, operation: Operation) -> bool:
    return await scene.state(operation) == "succeeded"


@pytest.mark.requirement("CC-1")
async def test_what_was_queued_before_there_was_a_consumer_or_a_group_is_applied(
    services: Services, scene: Scene
) -> None:
    early, later = await scene.waiting(), await scene.waiting()
    await _tell(scene, [early.operation])
    await services.completion_consumer()
    await scene.wait_until_all_done()
    await scene.redis.xgroup_destroy(QUEUE, keys.GROUP)
    await _tell(scene, [later.operation])
    await wait_until(lambda: scene.next_steps(later.task), what="the next step is queued")
    await scene.wait_until_all_done()
    await _is_done_once(scene, [early, later])


@pytest.mark.requirement("CC-10", "CC-2")
async def test_a_consumer_that_is_told_to_stop_finishes_or_releases_what_it_has(
    services: Services, scene: Scene, postgres: Postgres
) -> None:
    consumer = await services.completion_consumer(DRAIN_SECONDS="0.5")
    waitings = [await scene.waiting() for _ in range(5)]
    postgres.stop()
    await _tell(scene, [waiting.operation for waiting in waitings])
    await wait_until(lambda: _has_in_flight(scene.redis, 5))
    consumer.send(signal.SIGTERM)
    consumer.send(signal.SIGTERM)
    assert await consumer.terminate(timeout=15) == 0
    assert await pending(scene.redis) == []
    assert await scene.redis.xlen(QUEUE) == 5
    assert await scene.redis.xinfo_consumers(QUEUE, keys.GROUP) == []
    postgres.start()
    await consumer.start()
    await scene.wait_until_all_done()
    await _is_done_once(scene, waitings)


@pytest.mark.requirement("CC-2", "CC-7")
@pytest.mark.requirement("CH-24")
async def test_a_result_that_postgres_refuses_is_a_failure_of_its_operation_at_once(
    services: Services, scene: Scene, database: Database
) -> None:
    await services.completion_consumer()
    await database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.output = '\"poison\"' THEN RAISE 'refused'; END IF; RETURN NEW; END $$"
    )
    await database.execute("CREATE TRIGGER t BEFORE UPDATE ON operations FOR EACH ROW EXECUTE FUNCTION refuse()")
    poisoned, healthy = await scene.waiting(), await scene.waiting()
    await scene.succeed(poisoned.operation, "poison")
    await _tell(scene, [healthy.operation])
    await wait_until(lambda: scene.next_steps(poisoned.task), 30, "the next step is queued")
    await scene.wait_until_all_done()
    assert await scene.dead_letters() == []
    shown = "RESULT_NOT_STORABLE: The tool's result could not be stored."
    assert (await scene.part(poisoned.operation))["errorText"] == shown
    assert only(await scene.chunks(poisoned.operation))["errorText"] == shown
    assert (await scene.part(healthy.operation))["output"] == healthy.operation.id


@pytest.mark.requirement("CH-24", "CC-7")
async def test_a_turn_whose_message_takes_no_result_at_all_continues_to_where_it_can_end(
    services: Services, scene: Scene, database: Database
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    await database.execute(
        "ALTER TABLE messages ADD CHECK (role = 'user' OR position('output-' IN parts::text) = 0) NOT VALID"
    )
    await scene.succeed(waiting.operation, "fine")
    await wait_until(lambda: scene.next_steps(waiting.task), 30, "the next step is queued")
    await scene.wait_until_all_done()
    assert await scene.state(waiting.operation) == "failed"
    assert await scene.dead_letters() == []
