"""Following a turn through reloads, killed gateways and long silences."""

import time

import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import Event, follow
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until


def _order(events: list[Event]) -> list[tuple[int, int]]:
    ids = [event.id for event in events if event.id is not None]
    return [(int(attempt), int(sequence)) for attempt, sequence in (entry_id.split("-") for entry_id in ids)]


def assert_no_gap_and_no_repeat(events: list[Event]) -> None:
    """The ids are those of one whole attempt, each once, in order."""
    order = _order(events)
    attempt, first = order[1][0], order[1][1]
    assert order[1:] == [(attempt, first + step) for step in range(len(order) - 1)]


@pytest.mark.requirement("GW-1", "GW-3", "TS-3")
async def test_a_browser_whose_gateway_is_killed_continues_at_another(services: Services) -> None:
    system = await services.whole(gateways=2)
    question = "the river runs on [[tokens=80 rate=60]]"
    async with Chat(system.gateways[0].url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn)) as before:
            await before.read_text(60)
            system.gateways[0].kill9()
            await before.read_to_end()
        assert before.end == "broken"
        assert not before.done
    async with follow(system.gateways[1].url + turn.stream_path, last_event_id=before.last_event_id) as after:
        await after.read_to_end()
    events = before.events + after.events
    assert fold(events).text == answer_to(question, 80)
    assert_no_gap_and_no_repeat(events)


@pytest.mark.requirement("GW-1", "CH-11")
async def test_a_turn_whose_gateway_is_killed_after_the_202_is_answered(services: Services) -> None:
    system = await services.whole(gateways=2)
    async with Chat(system.gateways[0].url) as chat:
        turn = await chat.ask("go on without me [[tokens=10 rate=50]]")
        system.gateways[0].kill9()
    async with Chat(system.gateways[1].url) as chat:
        assert fold(await chat.answer(turn)).text == answer_to("go on without me", 10)


@pytest.mark.requirement("GW-4")
async def test_a_browser_whose_gateway_is_told_to_stop_is_cut_off_in_time_and_continues_at_another(
    services: Services,
) -> None:
    system = await services.whole(gateways=2)
    question = "calmly [[tokens=100 rate=50]]"
    async with Chat(system.gateways[0].url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn)) as before:
            await before.read_text(40)
            asked_at = time.monotonic()
            assert await system.gateways[0].terminate() == 0
            seconds = time.monotonic() - asked_at
            await before.read_to_end()
    assert before.end == "broken"
    assert seconds < 5
    async with follow(system.gateways[1].url + turn.stream_path, last_event_id=before.last_event_id) as after:
        await after.read_to_end()
    events = before.events + after.events
    assert fold(events).text == answer_to(question, 100)
    assert_no_gap_and_no_repeat(events)


@pytest.mark.requirement("TS-3", "GW-1")
async def test_a_page_that_is_reloaded_in_mid_answer_finds_the_turn_and_shows_it_whole(
    chat: Chat, model: ModelServer
) -> None:
    question = "reload me [[tokens=12 rate=0 gate_after=6:g]]"
    turn = await chat.ask(question)
    async with follow(chat.stream_url(turn)) as first:
        await first.read_text(len(answer_to(question, 6)))
    session = await chat.session(turn.session_id)
    assert [message["role"] for message in session["messages"]] == ["user"]
    assert session["active_task"]["task_id"] == turn.task_id
    async with follow(f"{chat.url}/api/chat/sessions/{turn.session_id}/stream") as second:
        await second.read_text(len(answer_to(question, 6)))
        await model.open_gate("g")
        await second.read_to_end()
    assert second.end == "clean"
    assert fold(second.events).text == answer_to(question, 12)
    assert fold(second.events).id == turn.message_id


@pytest.mark.requirement("TS-3")
async def test_two_tabs_see_the_same_events(chat: Chat, model: ModelServer) -> None:
    question = "twice [[tokens=60 rate=100]]"
    turn = await chat.ask(question)
    async with follow(chat.stream_url(turn)) as one, follow(chat.stream_url(turn)) as other:
        await one.read_to_end()
        await other.read_to_end()
    assert fold(one.events).text == answer_to(question, 60)
    assert [event.id for event in one.events][-1] == [event.id for event in other.events][-1]
    assert fold(one.events) == fold(other.events)


@pytest.mark.requirement("TS-2")
async def test_a_turn_that_is_silent_for_longer_than_its_time_to_live_is_followed_to_its_end(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    ttl = 2.0
    system = await services.whole(LIVE_TTL_SECONDS=str(int(ttl)))
    async with Chat(system.url) as chat:
        question = "a long silence [[tokens=6 rate=0 gate_after=3:g]]"
        turn = await chat.ask(question)
        await _outlives(redis, turn.task_id, 3 * ttl)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(question, 3)))
            await model.open_gate("g")
            await stream.read_to_end()
        assert fold(stream.events).text == answer_to(question, 6)


@pytest.mark.requirement("TS-2", "CH-12")
async def test_a_turn_that_waits_for_longer_than_its_time_to_live_is_answered(
    services: Services, model: ModelServer
) -> None:
    ttl = 2.0
    system = await services.whole(LIVE_TTL_SECONDS=str(int(ttl)))
    async with Chat(system.url) as chat:
        running = await chat.ask("in front [[tokens=3 rate=0 gate=g]]")
        waiting = await chat.send(running.session_id, "behind [[tokens=3 rate=0]]")
        began = time.monotonic()
        async with follow(chat.stream_url(waiting)) as stream:
            await wait_until(lambda: _has_waited(chat, waiting.task_id, began, 3 * ttl), what="it waited that long")
            await model.open_gate("g")
            await stream.read_to_end()
        assert fold(stream.events).text == answer_to("behind", 3)


async def _outlives(redis: Redis, task_id: str, seconds: float) -> None:
    """The keys of the task are there for that long, looked at all the time."""
    await wait_until(lambda: redis.exists(keys.task_events(task_id)), what="the stream has begun")
    until = time.monotonic() + seconds

    async def still_there() -> bool:
        assert await redis.exists(keys.task_events(task_id), keys.task_meta(task_id)) == 2, "the task has expired"
        return time.monotonic() > until

    await wait_until(still_there, timeout=seconds + 10)


async def _has_waited(chat: Chat, task_id: str, since: float, seconds: float) -> bool:
    assert await chat.status(task_id) == "queued"
    return time.monotonic() - since > seconds
