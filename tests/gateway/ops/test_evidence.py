"""What is known of a turn, from a real Redis and Postgres, without a process beside them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from gateway.ops.evidence import Evidence, evidence_of
from gateway.ops.queues import Queues
from gateway.ops.unknown_turn import why_unknown
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.ids import new_call_id
from sluiceway.queue.queue_state import ConsumerState
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.redis.client import open_redis
from sluiceway.service.agreement import OtherProcess
from sluiceway.store import Store
from sluiceway.store.people.usage import ModelCall
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import Data, Finish, Start

from harness.clients.turns import Streams, Turns
from harness.databases.database import Database


@dataclass(frozen=True)
class Desk:
    redis: Redis
    store: Store
    streams: Streams
    turns: Turns
    queue: WorkQueue

    async def accept(self) -> Task:
        turn = NewTurn(session_id="s", user_id="u", text="hello", create_session=True)
        return (await self.turns.intake.accept(turn)).task

    async def evidence(self, task: Task) -> Evidence:
        seen = await self.store.ops.turn(task.id)
        assert seen is not None
        (found,) = await evidence_of(self.redis, [seen], await self.store.ops.open_operations(10, task.id))
        return found


@pytest.fixture
async def desk(redis: Redis, valkey_url: str, database_url: str) -> AsyncIterator[Desk]:
    async with (
        Store.open(database_url, max_size=3, application_name="desk") as store,
        open_redis(valkey_url, name="reader", blocking=True) as blocking,
    ):
        streams = Streams(redis)
        queue = WorkQueue(redis, blocking, keys.CHAT, "worker-1", lease=timedelta(seconds=5))
        await queue.ensure_group()
        yield Desk(redis, store, streams, Turns(store, redis, streams), queue)


@pytest.mark.requirement("OP-6")
async def test_a_turn_is_followed_from_its_queue_to_its_worker_and_to_the_wait_for_the_model(desk: Desk) -> None:
    task = await desk.accept()
    waits = await desk.evidence(task)
    assert (waits.queued, waits.holder, waits.shown, waits.seen.behind) == (True, None, 0, None)
    behind = await desk.accept()
    assert (await desk.evidence(behind)).seen.behind == task.id

    (delivery,) = await desk.queue.read(5, timedelta(seconds=1))
    claimed = await desk.store.turns.claim(task.id)
    assert claimed is not None
    await desk.streams.writer.begin(claimed.fields, claimed.attempt, entry_id=delivery.entry_id)
    away = Data(type="data-status", data={"state": "waiting", "code": "MODEL_TIMEOUT"}, transient=True)
    await desk.streams.writer.append(task.id, claimed.attempt, 1, [Start(message_id=task.message_id), away])
    held = await desk.evidence(task)
    assert held.holder is not None
    assert held.holder.consumer == "worker-1"
    assert held.holder.idle_seconds < 5
    assert (held.shown, held.status) == (2, {"state": "waiting", "code": "MODEL_TIMEOUT"})
    assert held.quiet_seconds is None
    assert [one.task.id for one in await desk.store.ops.live_turns(10)] == [task.id, behind.id]

    assert await desk.streams.writer.heartbeat(task.id, claimed.attempt, quiet_seconds=4) == "ok"
    assert (await desk.evidence(task)).quiet_seconds is None
    for seconds in (40, 41):
        assert await desk.streams.writer.heartbeat(task.id, claimed.attempt, quiet_seconds=seconds) == "ok"
        assert 40 <= ((await desk.evidence(task)).quiet_seconds or 0) < 60
    await desk.streams.writer.append(task.id, claimed.attempt, 2, [away])
    assert (await desk.evidence(task)).quiet_seconds is None

    await desk.queue.ack(delivery.entry_id)
    lost = await desk.evidence(task)
    assert (lost.queued, lost.holder) == (False, None)


@pytest.mark.requirement("OP-6")
async def test_a_worker_that_holds_a_place_and_does_not_speak_is_silent_and_nobody_is_where_that_is_not_known(
    desk: Desk,
) -> None:
    queues = Queues(desk.redis, desk.store)
    assert queues.silent([]) == {}
    await desk.queue.read(1, timedelta(milliseconds=1))
    seen = await queues.look()
    # It asked a moment ago: it may be late to say that it is there.
    assert queues.silent([]) == {}
    (chat,) = [state for state in seen.states if state.kind == keys.CHAT]
    for idle, found in ((8.0, {"worker-1": 8.0}), (4000.0, {})):
        queues.seen = replace(seen, states=[replace(chat, consumers=(ConsumerState("worker-1", 0, idle),))])
        assert queues.silent([]) == found
        assert queues.silent(None) == {}
        assert queues.silent([OtherProcess("chat-worker", "worker-1", "1", "", 10.0)]) == {}


@pytest.mark.requirement("OP-6")
async def test_use_and_ends_are_summed_by_postgres(desk: Desk) -> None:
    first, second = await desk.accept(), await desk.accept()
    await desk.turns.intake.cancel(second.id, "u")
    calls = [ModelCall(new_call_id(), 1, "answer", "m", "answered", 1, 1, cost=price) for price in (0.25, 0.5, None)]
    await desk.store.usage.charge(first, calls)
    await desk.store.usage.charge(second, [replace(calls[0], id=new_call_id())])
    hour = timedelta(hours=1)
    (user,) = await desk.store.ops.top("user", hour, 5)
    assert (user.name, user.turns, user.live, user.tokens) == ("u", 2, 1, 0)
    assert (user.cost, user.unpriced) == (1.0, 1)
    (session,) = await desk.store.ops.top("session", hour, 5)
    assert (session.name, session.turns) == (first.session_id, 2)
    lately = await desk.store.ops.lately(hour)
    assert (lately.accepted, lately.ended, lately.errors) == (2, {"cancelled": 1}, {})
    assert lately.queued_seconds is None
    assert lately.turn_seconds is not None
    server = await desk.store.ops.server()
    assert server["missing"] == []


@pytest.mark.requirement("OP-6")
async def test_of_a_turn_that_postgres_does_not_have_it_is_said_what_may_have_happened_and_what_to_do(
    desk: Desk, database: Database
) -> None:
    async def why(task_id: str) -> str:
        return await why_unknown(desk.redis, desk.store, task_id)

    assert "The id is wrong, or Postgres went back" in await why("task_0")

    live, ended = await desk.accept(), await desk.accept()
    began = await desk.streams.writer.begin(ended.fields, 1)
    assert not began.cancelled
    await desk.streams.writer.append(ended.id, 1, 1, [Start(message_id=ended.message_id)])
    assert await desk.streams.writer.close(ended.fields, 1, "completed", [Finish()], proof=1) == "completed"
    await database.execute("DELETE FROM sessions")  # as a backup does that was made before
    assert "Redis does (queued): Postgres went back" in await why(live.id)
    assert "it ended (completed): Postgres went back" in await why(ended.id)
    await desk.turns.ending.forget(live.id)
    erased = await why(live.id)
    assert "what Redis had of it was erased: Postgres went back" in erased
    assert "send the message again" in erased

    other = await desk.accept()
    await desk.turns.intake.delete_session(other.session_id, "u")
    assert await why(other.id) == "It was deleted, with its session s: nothing that it said is kept."
