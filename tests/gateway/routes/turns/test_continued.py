"""A chat that is reloaded while a turn continues a message: it is shown what that had before, by Redis alone."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.store.records import Task
from sluiceway.store.turns.approving import Decision
from sluiceway.wire.events import (
    Finish,
    FinishStep,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolOutputAvailable,
)

from harness.clients.folding import Message, fold
from harness.clients.sse import follow_to_the_end
from harness.processes.services import Service, Services
from harness.proxies.proxy import Proxy
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def continued(scene: Scene, asks: Waiting) -> Task:
    """A turn that continues the message with what the call came to, and whose stream has ended."""
    call_id = asks.operation.tool_call_id
    outcome = await scene.turns.intake.answer(asks.task.id, None, {call_id: Decision(approved=True)})
    assert outcome.task is not None
    task = await scene.next_step(outcome.task)
    await scene.streams.writer.begin(task.fields, task.attempt)
    said = [TextStart(id="t"), TextDelta(id="t", delta="Said."), TextEnd(id="t"), FinishStep()]
    told = [ToolOutputAvailable(tool_call_id=call_id, output="found"), StartStep(), *said, Finish()]
    events = [Start(message_id=task.message_id), *told]
    assert await scene.streams.writer.append(task.id, task.attempt, 1, events) == "ok"
    return task


async def reloaded(gateway: Service, task: Task) -> Message:
    return fold(await follow_to_the_end([f"{gateway.url}/api/chat/{task.session_id}/stream"]))


@pytest.mark.requirement("GW-2", "CH-16")
async def test_a_reload_of_a_continued_message_shows_all_of_it_while_postgres_is_away(
    services: Services, database_url: str, redis: Redis, scene: Scene
) -> None:
    """Also of a turn that an older version has queued, once Postgres is back."""
    asks = await scene.asking()
    task = await continued(scene, asks)
    port = urlsplit(database_url).port
    assert port is not None
    async with Proxy(port) as network:
        gateway = await services.gateway(DATABASE_URL=database_url.replace(f":{port}/", f":{network.port}/"))
        whole = await reloaded(gateway, task)
        assert (whole.id, whole.text) == (task.message_id, "Said.")
        call = whole.tools[asks.operation.tool_call_id]
        assert (call["input"], call["output"]) == (asks.operation.input, "found")
        # Who follows the turn, or counts its chunks, is told what is in its stream and nothing else.
        for path in (f"tasks/{task.id}/stream", f"{task.id}/stream", f"{task.session_id}/stream?startIndex=0"):
            told = await follow_to_the_end([f"{gateway.url}/api/chat/{path}"])
            assert [event.type for event in told][:3] == ["start", "tool-output-available", "start-step"], path

        await network.refuse()
        network.reset_all()
        assert await reloaded(gateway, task) == whole

        await network.admit()
        await wait_until(lambda: gateway.answers(f"/api/chat/sessions/{task.session_id}"), what="Postgres is back")
        assert await redis.hdel(keys.task_meta(task.id), "before") == 1
        assert await reloaded(gateway, task) == whole
