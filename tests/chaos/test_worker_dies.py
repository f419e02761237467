"""Chat workers that are killed, frozen, or told to stop in mid-answer."""

import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import Event, SseStream, follow, replay
from harness.clients.streams import entry_ids, holder_of, lease_is_older_than, nothing_is_queued
from harness.databases.database import Database, stored_answer, task_status
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services, System
from harness.waiting import wait_until

QUESTION = "what floats down the river? [[tokens=24 rate=0]]"
ANSWER = answer_to(QUESTION, 24)
PARTIAL = "Only the beginning "


async def _stall_once(model: ModelServer, match: str | None = None) -> None:
    """The next answer begins, and never goes on; the one after it is whole."""
    await model.script({"text": PARTIAL}, {"stall": "ever"}, match=match)


async def _holder(redis: Redis, turn: Turn, system: System) -> Service:
    """The worker that holds the turn."""
    name = await wait_until(lambda: holder_of(redis, turn.task_id), what="somebody holds the task")
    return next(worker for worker in system.workers if worker.environment["WORKER_NAME"] == name)


async def _follow_past_the_partial_text(stream: SseStream) -> None:
    assert await stream.read_text(len(PARTIAL)) == PARTIAL


@pytest.fixture
async def system(services: Services) -> System:
    return await services.whole(workers=2)


@pytest.fixture
async def chat(system: System) -> AsyncIterator[Chat]:
    async with Chat(system.url) as client:
        yield client


async def _killed_in_mid_answer(
    system: System, chat: Chat, model: ModelServer, redis: Redis
) -> tuple[Turn, dict[int, list[Event]]]:
    """A turn whose worker was killed after it had said something, and what followers of both protocols saw of it."""
    await _stall_once(model)
    turn = await chat.ask(QUESTION)
    async with (
        follow(chat.stream_url(turn), protocol=6) as older,
        follow(chat.stream_url(turn), protocol=7) as newer,
    ):
        for stream in (older, newer):
            await _follow_past_the_partial_text(stream)
        (await _holder(redis, turn, system)).kill9()
        for stream in (older, newer):
            await stream.read_to_end()
            assert stream.end == "clean"
            assert stream.done
    return turn, {6: older.events, 7: newer.events}


@pytest.mark.requirement("TS-5", "CH-11")
async def test_an_answer_whose_worker_is_killed_is_given_by_another_in_the_same_stream(
    system: System, chat: Chat, model: ModelServer, redis: Redis, database: Database
) -> None:
    turn, seen = await _killed_in_mid_answer(system, chat, model, redis)
    newer, older = fold(seen[7], 7), fold(seen[6], 6)
    assert newer.text == ANSWER
    assert newer.resets == 1
    assert older.text == PARTIAL + ANSWER
    assert [len(step) for step in older.steps] == [1, 1]
    assert await stored_answer(database, turn.message_id) == ANSWER
    assert await task_status(database, turn.task_id) == "completed"


@pytest.mark.requirement("TS-3", "TS-5")
async def test_who_comes_after_a_killed_worker_sees_nothing_of_what_was_abandoned_and_who_was_away_no_gap(
    system: System, chat: Chat, model: ModelServer, redis: Redis
) -> None:
    turn, seen = await _killed_in_mid_answer(system, chat, model, redis)
    for protocol, events in seen.items():
        whole = fold(await chat.replay(turn, protocol=protocol), protocol)
        assert whole.text == ANSWER
        assert whole.resets == 0
        assert len(whole.steps) == 1
        for cut in range(1, len(events) - 1):
            after = await replay(chat.stream_url(turn), protocol=protocol, last_event_id=events[cut - 1].id)
            message = fold(events[:cut] + after.events, protocol)
            assert message.last_step_text == ANSWER, f"protocol {protocol}, resumed after {events[cut - 1]}"
            assert message.finish is not None


@pytest.mark.requirement("TS-5")
async def test_two_workers_that_are_killed_one_after_the_other_leave_one_answer(
    services: Services, system: System, chat: Chat, model: ModelServer, redis: Redis
) -> None:
    await _stall_once(model)
    await _stall_once(model)
    turn = await chat.ask(QUESTION)
    async with follow(chat.stream_url(turn), protocol=7) as stream:
        await _follow_past_the_partial_text(stream)
        (await _holder(redis, turn, system)).kill9()
        await stream.read_until("reset-step")
        await stream.read_until("text-delta")
        await services.chat_worker()
        system.workers[0].kill9() if system.workers[0].alive else system.workers[1].kill9()
        await stream.read_to_end()
    message = fold(stream.events, 7)
    assert message.text == ANSWER
    assert message.resets == 2
    assert fold(await chat.replay(turn)).text == ANSWER


@pytest.mark.requirement("CH-13", "TS-5")
async def test_a_turn_whose_worker_is_dead_is_cancelled_by_the_next_one_and_keeps_its_partial_text(
    system: System, chat: Chat, model: ModelServer, redis: Redis
) -> None:
    await _stall_once(model)
    turn = await chat.ask(QUESTION)
    async with follow(chat.stream_url(turn)) as stream:
        await _follow_past_the_partial_text(stream)
        (await _holder(redis, turn, system)).kill9()
        await chat.cancel(turn.task_id)
        await stream.read_to_end()
    for seen in (stream.events, await chat.replay(turn), await chat.replay(turn, protocol=7)):
        assert fold(seen, 7).aborted
        assert fold(seen, 7).text == PARTIAL
    assert await chat.status(turn.task_id) == "cancelled"
    assert (await chat.messages(turn.session_id))[-1] == ("assistant", PARTIAL)
    assert len(await questions(model)) == 1


@pytest.mark.requirement("CH-13", "TS-5")
async def test_a_cancelled_turn_ends_also_when_every_worker_is_dead(services: Services, model: ModelServer) -> None:
    system = await services.whole(workers=1)
    async with Chat(system.url) as chat:
        await _stall_once(model)
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await _follow_past_the_partial_text(stream)
            system.worker.kill9()
            await chat.cancel(turn.task_id)
            await stream.read_to_end()
        assert fold(stream.events).aborted
        assert fold(stream.events).text == PARTIAL
        assert await chat.status(turn.task_id) == "cancelled"
        assert (await chat.messages(turn.session_id))[-1] == ("assistant", PARTIAL)


@pytest.mark.requirement("OP-7", "TS-5")
@pytest.mark.parametrize("age", [0.1, 0.29])
async def test_the_queue_alone_brings_a_killed_workers_turn_to_another_at_any_age_of_its_lease(
    services: Services, model: ModelServer, redis: Redis, age: float
) -> None:
    lease = 2.0
    system = await services.whole(workers=2, consumers=0, LEASE_SECONDS=str(lease))
    async with Chat(system.url) as chat:
        await _stall_once(model)
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await _follow_past_the_partial_text(stream)
            await wait_until(lambda: lease_is_older_than(redis, age * lease), what="the lease was renewed a while ago")
            (await _holder(redis, turn, system)).kill9()
            await stream.read_to_end(timeout=20)
        assert fold(stream.events, 7).text == ANSWER


@pytest.mark.requirement("TS-11", "TS-5")
async def test_a_frozen_worker_that_wakes_up_after_it_lost_its_task_cannot_write_one_more_event(
    system: System, chat: Chat, model: ModelServer, redis: Redis, database: Database
) -> None:
    endless = {"tokens": 100_000, "rate": 40, "of": "stale words"}
    await model.script(endless)
    await model.script({"text": "fresh "}, {"gate": "go"}, {"text": "words"})
    turn = await chat.ask("who may write?")
    async with follow(chat.stream_url(turn), protocol=7) as stream:
        await stream.read_text(20)
        frozen = await _holder(redis, turn, system)
        frozen.freeze()
        await stream.read_until("reset-step")
        await stream.read_until(lambda event: '"fresh ' in event.data)
        frozen.thaw()
        await asked(model, lambda record: record.client_closed_at)
        await model.open_gate("go")
        await stream.read_to_end()
    assert fold(stream.events, 7).text == "fresh words"
    attempts = [attempt for attempt, _ in await entry_ids(redis, turn.task_id)]
    assert attempts == sorted(attempts)
    assert await stored_answer(database, turn.message_id) == "fresh words"
    await wait_until(lambda: nothing_is_queued(redis), what="no queue entry is left")


@pytest.mark.requirement("TS-5", "CH-20")
async def test_a_worker_that_is_told_to_stop_releases_its_turn_well_before_its_lease_runs_out(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    system = await services.whole(workers=2, LEASE_SECONDS="60", DRAIN_SECONDS="1")
    async with Chat(system.url) as chat:
        await _stall_once(model)
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await _follow_past_the_partial_text(stream)
            told_at = time.monotonic()
            assert await (await _holder(redis, turn, system)).terminate() == 0
            await stream.read_to_end()
        assert time.monotonic() - told_at < 15
        assert fold(stream.events, 7).text == ANSWER
        assert fold(await chat.replay(turn)).text == ANSWER
        # What it had asked for is paid, too.
        calls = (await chat.get(f"/api/chat/tasks/{turn.task_id}/usage")).json()["calls"]
        answers = [(call["attempt"], call["outcome"]) for call in calls if call["purpose"] == "answer"]
        assert answers == [(1, "stopped"), (2, "answered")]


@pytest.mark.requirement("TS-5")
async def test_a_worker_that_is_told_to_stop_finishes_what_is_nearly_done(
    services: Services, model: ModelServer
) -> None:
    system = await services.whole(DRAIN_SECONDS="20")
    async with Chat(system.url) as chat:
        question = "nearly done [[tokens=40 rate=40]]"
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(30)
            assert await system.worker.terminate() == 0
            await stream.read_to_end()
        assert fold(stream.events).text == answer_to(question, 40)
        assert len(await questions(model)) == 1
