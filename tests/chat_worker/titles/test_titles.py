"""Titles of sessions, on a real store and a model server over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from chat_worker.beside import Beside
from chat_worker.titles.titles import READ_CHARS, Titles
from redis.asyncio import Redis
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway_llm.calling.model import Model

from harness.model_server import ModelServer
from harness.retention import RETENTION
from harness.waiting import wait_until

TITLE = {"text": "Rivers of the Alps"}


@dataclass(frozen=True)
class Desk:
    store: Store
    titles: Titles
    model: ModelServer

    async def turn(self, text: str = "Tell me of rivers.", **more: object) -> Task:
        turn = NewTurn(session_id="s", user_id="ada", text=text, create_session=True)
        accepted = await self.store.turns.accept(replace(turn, **more))  # type: ignore[arg-type]
        claimed = await self.store.turns.claim(accepted.task.id)
        assert claimed is not None
        return claimed

    async def make(self, task: Task, beside: Beside | None = None) -> None:
        """To its end; the model has been heard."""
        beside = beside or Beside()
        beside.heard.set()
        making = self.titles.begin(task, await self.store.turns.history(task, 100), beside)
        if making is not None:
            await making

    async def title(self) -> str | None:
        return (await self.store.sessions.get("s", "ada")).title

    async def asked(self) -> int:
        return len(await self.model.requests("You name conversations"))


@pytest.fixture
async def desk(database_url: str, redis: Redis, model: ModelServer) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.open(database_url, max_size=4, application_name="desk"))
        client = await stack.enter_async_context(Model(model.base_url, "sk-of-the-test"))
        yield Desk(store, Titles(store, client, "small", PersonEvents(redis, RETENTION)), model)


@pytest.mark.requirement("CH-3", "CH-20")
async def test_a_session_gets_its_title_from_the_beginning_of_its_first_message(desk: Desk) -> None:
    await desk.model.script(TITLE)
    task, beside = await desk.turn("Rivers! " * 200), Beside()

    await desk.make(task, beside)

    assert await desk.title() == "Rivers of the Alps"
    (seen,) = await desk.model.requests("You name conversations")
    assert (seen.body["model"], len(seen.body["messages"][-1]["content"])) == ("small", READ_CHARS)
    assert [event.model_dump()["data"] for event in beside.take()] == [{"title": "Rivers of the Alps"}]
    assert beside.take() == []
    assert [(call.purpose, call.model, call.step) for call in await desk.store.usage.of_task(task.id)] == [
        ("title", "small", 0)
    ]


@pytest.mark.requirement("CH-3")
async def test_the_model_is_not_asked_before_it_has_begun_to_answer(desk: Desk) -> None:
    task, beside = await desk.turn(), Beside()
    making = desk.titles.begin(task, await desk.store.turns.history(task, 100), beside)
    assert making is not None
    done, _ = await asyncio.wait((making,), timeout=0.1)

    assert (done, await desk.asked()) == (set(), 0)
    await desk.model.script(TITLE)
    beside.heard.set()
    await making
    assert await desk.asked() == 1


@pytest.mark.requirement("CH-3")
async def test_a_persons_title_is_never_replaced(desk: Desk) -> None:
    await desk.model.script({"gate": "slow"}, TITLE)
    task = await desk.turn()
    making = asyncio.create_task(desk.make(task))
    await wait_until(desk.asked, 20, "the model is asked")

    await desk.store.sessions.change("s", "ada", title="Mine")
    await desk.model.open_gate("slow")
    await making

    assert await desk.title() == "Mine"
    await desk.make(await desk.turn("more"))
    assert await desk.asked() == 1


@pytest.mark.requirement("CH-3")
async def test_two_workers_and_two_steps_ask_once_and_a_takeover_asks_again_where_the_first_broke_off(
    desk: Desk,
) -> None:
    await desk.model.script({"gate": "slow"}, TITLE)
    task = await desk.turn()
    first = desk.titles.begin(task, await desk.store.turns.history(task, 100), _heard())
    assert first is not None
    await wait_until(desk.asked, 20, "the model is asked")
    other = await desk.turn("another message")
    await desk.make(other)
    assert (await desk.asked(), await desk.title()) == (1, None)

    # The turn itself, behind its tools, while its first step's question is still being answered.
    resumed = desk.titles.begin(task, await desk.store.turns.history(task, 100), _heard(), resumed=True)
    assert resumed is not None
    await resumed
    assert (await desk.asked(), await desk.title()) == (1, None)

    first.cancel()
    await asyncio.wait((first,))
    await desk.model.script({"text": "Rivers"})
    taken_over = await desk.store.turns.claim(task.id)
    assert taken_over is not None
    await desk.make(taken_over)

    assert (await desk.asked(), await desk.title()) == (2, "Rivers")
    await desk.make(taken_over)
    assert await desk.asked() == 2


@pytest.mark.requirement("CH-3")
@pytest.mark.parametrize("steps", [[{"status": 400}], [{"text": "***"}]])
async def test_a_model_that_finds_none_leaves_the_first_words(desk: Desk, steps: list[dict[str, object]]) -> None:
    await desk.model.script(*steps, times=9)

    await desk.make(await desk.turn("Tell me of the rivers of the Alps."))

    assert await desk.title() == "Tell me of the rivers of"


@pytest.mark.requirement("CH-3")
async def test_a_later_turn_does_not_ask_and_a_deleted_session_does_no_harm(desk: Desk) -> None:
    task = await desk.turn()
    for _ in range(3):
        await desk.store.turns.end(task, TurnEnd("completed", [], {}), attempt=task.attempt)
        task = await desk.turn()
    await desk.make(task)
    assert await desk.asked() == 0

    await desk.store.sessions.delete("s", "ada")
    await desk.make(task)
    assert await desk.asked() == 0


def _heard() -> Beside:
    beside = Beside()
    beside.heard.set()
    return beside
