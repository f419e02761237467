"""Work that kills who takes it, and entries that nobody can read, end in the dead letters and stop nothing."""

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.wire.jobs import ChatJob

from harness.clients.asking import questions
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.streams import nothing_is_queued
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until


@pytest.mark.requirement("TS-5")
async def test_a_turn_that_kills_every_worker_ends_with_an_error_and_is_kept_as_a_dead_letter(
    services: Services, model: ModelServer, database: Database
) -> None:
    deadly = {"LEASE_SECONDS": "1", "MAX_DELIVERIES": "3"}
    gateway = await services.gateway()
    await services.completion_consumer()
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("kill [[stall=ever]]")
        for number in range(1, 4):
            worker = await services.chat_worker(**deadly)
            await wait_until(lambda: _has_asked(model, number), what="the worker asks the model")  # noqa: B023
            worker.kill9()
        survivor = await services.chat_worker(**deadly)
        assert fold(await chat.answer(turn)).error
        assert await chat.status(turn.task_id) == "failed"
        letter = await database.fetchrow("SELECT * FROM dead_letters WHERE task_id = $1", turn.task_id)
        assert letter is not None
        assert letter["deliveries"] >= 3
        assert letter["reason"]
        assert len(await questions(model, "kill")) == 3
        following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("next", 3)
        assert survivor.alive


@pytest.mark.requirement("TS-5")
async def test_entries_that_cannot_be_read_are_kept_with_their_bytes_and_the_queue_continues(
    services: Services, redis: Redis, database: Database
) -> None:
    system = await services.whole()
    queue = keys.work_queue("chat")
    unreadable = [b"\xff\xfe not even text", b"{}", b'{"kind": "chat"}', b"", b"[]", b"null"]
    for body in unreadable:
        await redis.xadd(queue, {"d": body})
    await redis.xadd(queue, {"another field": "x"})
    await redis.xadd(queue, {"d": ChatJob(task_id="task_nobody_knows").encode()})
    async with Chat(system.url) as chat:
        turn = await chat.ask("go on [[tokens=3 rate=0]]")
        assert fold(await chat.answer(turn)).text == answer_to("go on", 3)
    await wait_until(lambda: nothing_is_queued(redis), what="the queue is empty")
    letters = await database.fetch("SELECT body, reason, queue FROM dead_letters")
    assert all(letter["queue"] == queue and letter["reason"] for letter in letters)
    kept = [letter["body"] for letter in letters]
    assert set(unreadable) <= set(kept)
    # What has no field of ours is kept as JSON of all that it has.
    assert kept.count(b"") == 1
    assert b'{"another field": "x"}' in kept


async def _has_asked(model: ModelServer, times: int) -> bool:
    return len(await questions(model, "kill")) == times
