"""One step, on real streams, a real store and a model server over HTTP, without the worker's process."""

import asyncio

import pytest
from chat_worker.account import Account
from chat_worker.calls import AskedCall
from chat_worker.model_wait import ModelWait
from chat_worker.step.note import Note
from chat_worker.step.offer import NotContinued, Offer, Tries
from chat_worker.step.step import TOOL_LIMIT
from sluiceway import keys
from sluiceway.errors import Fenced, Forgotten
from sluiceway.service.model_budget import ModelBudget
from sluiceway.store.records import Message, Task
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import Data, StartStep
from sluiceway.wire.message import text_of
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience, Tried
from sluiceway_llm.model_events import ModelRequest, Reached

from harness.clients.asking import asked
from harness.model_server import ModelServer, answer_to
from tests.chat_worker.desk import NO_TOOLS, TOOLS, Desk


@pytest.mark.requirement("CH-9")
async def test_an_answer_is_durable_and_shown_with_its_end(desk: Desk) -> None:
    assert await desk.ask("count [[tokens=5 rate=0]]") == "completed"

    task, message = await desk.stored()
    assert task.status == "completed"
    assert text_of(message.parts) == answer_to("count", 5)
    types = await desk.types()
    assert (types[:2], types[-3:]) == (["start-step", "text-start"], ["text-end", "finish-step", "finish"])
    assert task.usage is not None
    assert message.metadata is not None
    assert message.metadata["usage"] == task.usage


@pytest.mark.requirement("CH-9")
async def test_calls_are_durable_and_queued_and_the_turn_waits_for_them(desk: Desk) -> None:
    assert await desk.ask("look [[tools=weather,time,unknown]]", Offer(TOOLS, max_calls=8)) == "waiting"

    task, message = await desk.stored()
    assert (task.status, task.open_operations) == ("waiting", 2)
    operations = await desk.store.operations.of_task(task.id)
    assert [(one.tool_name, one.status) for one in operations] == [
        ("weather", "pending"),
        ("time", "pending"),
        ("unknown", "failed"),
    ]
    assert [part["type"] for part in message.parts] == ["step-start", "tool-weather", "tool-time", "tool-unknown"]
    assert await desk.redis.xlen(keys.work_queue(keys.tool_queue("default"))) == 2
    meta = await desk.streams.registry.meta(task.id)
    assert meta is not None
    assert (meta.status, meta.held_entry) == ("waiting", None)


@pytest.mark.requirement("CH-19")
async def test_a_turn_with_a_call_that_does_not_block_it_continues_and_into_the_background_with_its_answer(
    desk: Desk,
) -> None:
    offer = Offer({"time": TOOLS["time"].model_copy(update={"background": True})}, max_calls=8)
    step = desk.step()
    request = ModelRequest(model="m", messages=[{"role": "user", "content": "look [[tools=time]]"}])
    assert await step.run(desk.model, request, Tries(1, Patience()), offer) == "running"
    assert await desk.redis.xlen(keys.work_queue(keys.tool_queue("default"))) == 1
    _, message = await desk.stored()
    [operation] = await desk.store.operations.of_task(desk.task.id)
    assert message.metadata == {"background": [operation.tool_call_id]}

    assert await step.ending.say("It is under way.") == "waiting"

    task, message = await desk.stored()
    assert (task.status, task.open_operations) == ("waiting", 1)
    assert task.background_at is not None
    assert message.parts[-1]["text"] == "It is under way."
    assert (message.metadata or {})["finishReason"] == "stop"
    types = await desk.types()
    assert types[-3:] == ["finish-step", "message-metadata", "data-background"]
    assert "tool-output-error" not in types
    meta = await desk.streams.registry.meta(desk.task.id)
    assert meta is not None
    assert meta.status == "waiting"
    assert await desk.streams.registry.active("s") is None


async def test_calls_beyond_the_most_of_a_step_go_back_to_the_model_as_errors(desk: Desk) -> None:
    assert await desk.ask("look [[tools=weather,time]]", Offer(TOOLS, max_calls=1)) == "waiting"

    operations = await desk.store.operations.of_task(desk.task.id)
    assert [(one.status, (one.error or {}).get("type")) for one in operations] == [
        ("pending", None),
        ("failed", "TOO_MANY_CALLS"),
    ]


async def test_calls_of_which_none_can_be_run_leave_the_turn_running(desk: Desk) -> None:
    assert await desk.ask("look [[tools=unknown]]", Offer(TOOLS, max_calls=8)) == "running"

    task, _ = await desk.stored()
    assert (task.status, task.open_operations) == ("running", 0)


async def test_a_call_in_the_last_round_fails_the_turn_by_name(desk: Desk) -> None:
    assert await desk.ask("look [[tools=weather]]", Offer(TOOLS, max_calls=8, last=True)) == "failed"

    task, message = await desk.stored()
    assert task.error is not None
    assert task.error["code"] == TOOL_LIMIT
    assert message.parts[-1] == {"type": "data-error", "data": task.error}
    assert (await desk.types())[-1] == "error"


async def test_a_model_that_refuses_fails_the_turn_and_what_was_shown_is_kept(desk: Desk) -> None:
    assert await desk.ask("count [[tokens=6 rate=0 cut=3 how=fin]]") == "failed"

    task, message = await desk.stored()
    assert task.error is not None
    assert text_of(message.parts) == answer_to("count", 3)
    assert (await desk.types())[-1] == "error"


async def test_a_cancelled_turn_closes_the_call_and_keeps_what_was_shown(desk: Desk, model: ModelServer) -> None:
    answering = asyncio.create_task(desk.ask("count [[tokens=9 rate=0 gate_after=3:g]]"))
    await asked(model, lambda record: record.tokens_sent == 3)
    await desk.streams.registry.request_cancel(desk.task.id)

    assert await answering == "cancelled"

    _, message = await desk.stored()
    assert text_of(message.parts) == answer_to("count", 3)
    assert (await desk.types())[-2:] == ["abort", "finish"]
    await asked(model, lambda record: record.client_closed_at is not None)


@pytest.mark.requirement("TS-11")
async def test_an_attempt_that_has_a_successor_writes_nothing_more(desk: Desk, model: ModelServer) -> None:
    answering = asyncio.create_task(desk.ask("count [[tokens=9 rate=0 gate_after=3:g]]"))
    await asked(model, lambda record: record.tokens_sent == 3)
    await desk.store.turns.claim(desk.task.id)
    await desk.streams.writer.begin(desk.task.fields, desk.task.attempt + 1)
    before = await desk.types()

    with pytest.raises(Fenced):
        await answering

    assert await desk.types() == before
    task, message = await desk.stored()
    assert (task.status, task.attempt, message.parts) == ("running", desk.task.attempt + 1, [])


async def test_a_stream_that_redis_forgot_ends_the_attempt_and_not_the_turn(desk: Desk, model: ModelServer) -> None:
    answering = asyncio.create_task(desk.ask("count [[tokens=9 rate=0 gate_after=3:g]]"))
    await asked(model, lambda record: record.tokens_sent == 3)
    await desk.redis.delete(keys.task_meta(desk.task.id), keys.task_events(desk.task.id))

    with pytest.raises(Forgotten):
        await answering

    assert (await desk.stored())[0].status == "running"


async def test_a_refused_continuation_changes_nothing(desk: Desk) -> None:
    with pytest.raises(NotContinued):
        await desk.ask("count [[status=400]]", prefix="one two ")

    assert (await desk.stored())[0].status == "running"
    assert set(await desk.types()) <= {"start-step"}


async def test_a_command_is_answered_with_a_text_or_run_without_the_model(desk: Desk, model: ModelServer) -> None:
    call = AskedCall("call_1", "weather", ["{}"])

    assert (
        await desk.step(Account(usage={"inputTokens": 3})).ending.call([call], Offer(TOOLS, max_calls=1)) == "waiting"
    )

    task, _ = await desk.stored()
    assert task.usage == {"inputTokens": 3}
    assert [record for record in await model.requests() if record.path.endswith("/chat/completions")] == []


async def test_our_own_answer_ends_the_turn(desk: Desk) -> None:
    assert await desk.step().ending.say("There is no such tool.") == "completed"

    assert text_of((await desk.stored())[1].parts) == "There is no such tool."


async def test_an_end_that_was_written_before_its_answer_was_lost_is_the_same_end(desk: Desk) -> None:
    """The worker sends it again, and must not be told that another has ended the turn."""
    step = desk.step()
    assert await step.ending.say("Once.") == "completed"
    assert await desk.turns.ending.end(
        desk.task,
        _end_of(await desk.stored()),
        [event for event in await desk.events() if event.type == "finish"],
        written=desk.writer.written,
    )
    assert (await desk.types()).count("finish") == 1


def _end_of(stored: tuple[Task, Message]) -> TurnEnd:
    return TurnEnd("completed", stored[1].parts, stored[1].metadata or {})


def test_a_note_for_a_successor_reads_back() -> None:
    note = Note(3, Reached("resp with blanks", 17))

    assert Note.parse(note.format()) == note
    assert Note.parse("") is None


@pytest.mark.requirement("CH-7")
async def test_a_turn_whose_model_is_away_for_longer_is_let_go_and_nobody_takes_it_before_its_time(desk: Desk) -> None:
    request = ModelRequest(model="m", messages=[{"role": "user", "content": "go [[status=429 retry_after=30]]"}])
    tries = Tries(9, Patience(100), hold_seconds=1)
    assert await desk.step().run(desk.model, request, tries, NO_TOOLS) == "waiting"

    task, message = await desk.stored()
    assert (task.status, task.attempt, message.parts) == ("waiting", 1, [])
    assert task.retry_at is not None
    left = await desk.store.turns.claim(task.id)
    assert left is not None
    assert (left.status, left.attempt) == ("waiting", 1)
    waited = ModelWait.read(task.model_wait)
    assert waited is not None
    assert (waited.step, waited.tried) == (1, Tried(1, {"ModelRateLimited": 1}))
    # 30 of 100 will be waited for, and the asking took its time.
    assert 40 < waited.left_seconds < 70
    meta = await desk.streams.registry.meta(task.id)
    assert meta is not None
    assert meta.status == "waiting"
    events = await desk.events()
    assert [event.type for event in events] == ["start-step", "data-status"]
    assert isinstance(events[1], Data)
    assert events[1].data == waited.status
    assert (waited.status["state"], waited.status["code"]) == ("waiting", "MODEL_RATE_LIMITED")


@pytest.mark.requirement("CH-7")
async def test_a_turn_in_its_models_line_is_let_go_with_its_place_and_its_patience(
    desk: Desk, model: ModelServer
) -> None:
    budget = ModelBudget(desk.redis, lambda name: (model.base_url, 1, 0))
    await budget.take("m", "another's", 0, 0)
    request = ModelRequest(model="m", messages=[{"role": "user", "content": "go [[tokens=1 rate=0]]"}])
    async with Model(model.base_url, "key", budget=budget) as limited:
        tries = Tries(9, Patience(100), hold_seconds=1)
        assert await desk.step().run(limited, request, tries, NO_TOOLS) == "waiting"

    waited = ModelWait.read((await desk.stored())[0].model_wait)
    assert waited is not None
    assert (waited.left_seconds, waited.tried.failures) == (100, 0)
    assert waited.tried.place is not None
    told = await budget.take("m", waited.tried.place.ticket, waited.tried.place.arrived, 0)
    assert told is not None
    assert told[1] == waited.tried.place.arrived
    assert (waited.status["state"], waited.status["code"]) == ("waiting", "MODEL_IN_LINE")
    assert [event.type for event in await desk.events()] == ["start-step", "data-status"]
    assert await model.requests() == []


@pytest.mark.requirement("CH-7")
async def test_a_step_that_waited_without_a_worker_continues_its_tries_and_tells_that_the_model_is_back(
    desk: Desk,
) -> None:
    since = "2026-01-01T00:00:00.000+00:00"
    waited = ModelWait(1, 100, Tried(3, {"ModelGarbage": 1}), since, {})
    question = "go [[status=503 times=1 tokens=2 rate=0]]"
    request = ModelRequest(model="m", messages=[{"role": "user", "content": question}])
    tries = Tries(9, Patience(100), hold_seconds=60, waited=waited)
    assert await desk.step().run(desk.model, request, tries, NO_TOOLS) == "completed"
    states = [event.data for event in await desk.events() if isinstance(event, Data)]
    assert (states[0]["attempt"], states[0]["since"]) == (4, since)
    assert states[1] == {"state": "running"}


@pytest.mark.requirement("CH-7")
async def test_what_may_have_been_paid_for_is_counted_over_all_waits(desk: Desk, model: ModelServer) -> None:
    request = ModelRequest(model="m", messages=[{"role": "user", "content": "go [[garbage=html]]"}])
    waited = ModelWait(1, 100, Tried(3, {"ModelGarbage": 1}), "2026-01-01T00:00:00.000+00:00", {})
    assert await desk.step().run(desk.model, request, Tries(9, Patience(100), 60, waited), NO_TOOLS) == "failed"
    assert len(await model.requests("go [[")) == 1


@pytest.mark.requirement("CH-7")
async def test_an_answer_that_has_begun_is_not_let_go(desk: Desk) -> None:
    request = ModelRequest(
        model="m", messages=[{"role": "user", "content": "go [[status=503 retry_after=1]]"}], prefix="Once"
    )
    desk.fold.add(StartStep())
    with pytest.raises(NotContinued):
        await desk.step().run(desk.model, request, Tries(2, Patience(100), hold_seconds=0), NO_TOOLS)
