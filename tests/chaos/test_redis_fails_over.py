"""Redis fails over to a replica that lacks the last writes that were acknowledged. Browsers have seen some of them, and
everybody ends with the right answer all the same."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.operation.completions import Completions
from sluiceway.wire.jobs import ProgressJob

from harness.clients.asking import questions
from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.clients.viewer import Viewer
from harness.databases.database import Database, stored_answer, task_status
from harness.databases.redis_pair import RedisPair, last_entry
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services, System
from harness.waiting import wait_until
from tests.chaos.operations import operation_in

QUESTION = "who remembers?"
PIECES = ("This much is kept, ", "this is forgotten, ", "and this was never said.")
ANSWER = "".join(PIECES)


@pytest.fixture
async def pair(services: Services, tmp_path: Path) -> AsyncIterator[RedisPair]:
    """It is gone before the services are, which end without it."""
    pair = RedisPair(tmp_path)
    await pair.start()
    yield pair
    await pair.stop()


@pytest.fixture
async def system(services: Services, pair: RedisPair) -> System:
    return await services.whole(gateways=2, REDIS_URL=pair.url)


@pytest.fixture
async def chat(system: System) -> AsyncIterator[Chat]:
    async with Chat(system.url) as client:
        yield client


def urls(system: System, turn: Turn) -> list[str]:
    return [gateway.url + turn.stream_path for gateway in system.gateways]


@contextlib.asynccontextmanager
async def viewers(system: System, turn: Turn) -> AsyncIterator[list[Viewer]]:
    """One of each protocol, at different gateways."""
    first, second = urls(system, turn)
    async with Viewer(first, second, protocol=6) as older, Viewer(second, first, protocol=7) as newer:
        yield [older, newer]


async def script(model: ModelServer, *, attempts: int = 1) -> None:
    """The first answer waits before its second and third piece; those that are asked for after it do not."""
    kept, forgotten, rest = ({"text": piece} for piece in PIECES)
    await model.script(kept, {"gate": "forgotten"}, forgotten, {"gate": "rest"}, rest, match=QUESTION)
    await model.script(kept, forgotten, rest, match=QUESTION, times=attempts)


async def forget_the_second_piece(pair: RedisPair, model: ModelServer, turn: Turn, watching: list[Viewer]) -> None:
    """All viewers have seen it, and the replica does not have it."""
    for viewer in watching:
        await viewer.shows(PIECES[0])
    await pair.in_step()
    pair.freeze_replication()
    await model.open_gate("forgotten")
    for viewer in watching:
        await viewer.shows(PIECES[0] + PIECES[1])
    assert (0, 0) < await last_entry(pair.replica, turn.task_id) < await last_entry(pair.primary, turn.task_id)


async def the_next_message_works(chat: Chat, turn: Turn) -> None:
    following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
    assert fold(await chat.answer(following)).text == answer_to("next", 3)


async def is_whole(chat: Chat, database: Database, turn: Turn, answer: str = ANSWER) -> None:
    """In Postgres, and for whoever comes now."""
    await wait_until(lambda: _has_ended(database, turn), 60, "the turn has ended")
    assert await stored_answer(database, turn.message_id) == answer
    async with Viewer(chat.stream_url(turn)) as late:
        message = await late.end()
    assert message.text == answer
    assert message.finish is not None


async def _has_ended(database: Database, turn: Turn) -> bool:
    return await task_status(database, turn.task_id) == "completed"


@pytest.mark.requirement("OP-7", "TS-11", "TS-12")
@pytest.mark.parametrize("demote", [False, True], ids=["killed", "demoted"])
async def test_live_viewers_see_the_whole_answer_when_the_replica_lacks_what_they_have_seen(
    system: System, chat: Chat, pair: RedisPair, model: ModelServer, database: Database, demote: bool
) -> None:
    await script(model)
    turn = await chat.ask(QUESTION)
    async with viewers(system, turn) as watching:
        await forget_the_second_piece(pair, model, turn, watching)
        await pair.fail_over(demote=demote)
        await model.open_gate("rest")
        for viewer in watching:
            message = await viewer.end()
            assert message.text == ANSWER
            assert message.finish is not None
            assert viewer.restarts > 0
    await is_whole(chat, database, turn)
    await the_next_message_works(chat, turn)


@pytest.mark.requirement("OP-7")
async def test_nothing_is_begun_again_when_the_replica_has_everything(
    system: System, chat: Chat, pair: RedisPair, model: ModelServer, database: Database
) -> None:
    await script(model)
    turn = await chat.ask(QUESTION)
    async with viewers(system, turn) as watching:
        await model.open_gate("forgotten")
        for viewer in watching:
            await viewer.shows(PIECES[0] + PIECES[1])
        await pair.in_step()
        await pair.fail_over()
        await model.open_gate("rest")
        for viewer in watching:
            assert (await viewer.end()).text == ANSWER
            assert viewer.restarts == 0
    await is_whole(chat, database, turn)
    assert len(await questions(model, QUESTION)) == 1


@pytest.mark.requirement("TS-12", "TS-3")
async def test_who_comes_back_with_an_id_that_is_gone_is_told_to_begin_again(
    system: System, chat: Chat, pair: RedisPair, model: ModelServer, database: Database
) -> None:
    await script(model)
    turn = await chat.ask(QUESTION)
    async with viewers(system, turn) as watching:
        await forget_the_second_piece(pair, model, turn, watching)
        kept, cursor = await last_entry(pair.replica, turn.task_id), watching[0].cursor
    await pair.fail_over()
    await model.open_gate("rest")
    await wait_until(lambda: _has_ended(database, turn), 60, "the turn has ended")
    for lost in (cursor or "", f"{kept[0]}-{kept[1]}"):
        assert await wait_until(lambda: _read_on_from(chat, turn, lost), what="409") == "0-0"  # noqa: B023
    counted = await chat.get(f"{turn.stream_path}?startIndex=3")
    assert counted.status_code == 409, "it was rebuilt, in other chunks"
    await is_whole(chat, database, turn)


async def _read_on_from(chat: Chat, turn: Turn, cursor: str) -> str:
    """What the server says of a lost cursor; nothing while it can still be followed, as the end is not rebuilt."""
    async with follow(chat.stream_url(turn), last_event_id=cursor) as stream:
        if stream.status != 409:
            return ""
        body = stream.response.json()
        assert body["code"] == "STREAM_TRUNCATED"
        return str(body["read_on_from"])


@pytest.mark.requirement("OP-7", "TS-5")
async def test_a_turn_whose_end_was_forgotten_is_ended_again(
    system: System, chat: Chat, pair: RedisPair, model: ModelServer, database: Database
) -> None:
    await script(model)
    turn = await chat.ask(QUESTION)
    async with viewers(system, turn) as watching:
        for viewer in watching:
            await viewer.shows(PIECES[0])
        await pair.in_step()
        pair.freeze_replication()
        await model.open_gate("forgotten")
        await model.open_gate("rest")
        for viewer in watching:
            assert (await viewer.end()).text == ANSWER
    await wait_until(lambda: _is_finalized(database, turn), what="the end was seen through")
    await pair.fail_over()
    await is_whole(chat, database, turn)
    assert len(await questions(model, QUESTION)) == 1, "nobody was asked again"
    await the_next_message_works(chat, turn)


async def _is_finalized(database: Database, turn: Turn) -> bool:
    return bool(await database.fetchval("SELECT settled_at FROM tasks WHERE id = $1", turn.task_id))


@pytest.mark.requirement("OP-7", "CH-11")
async def test_a_turn_that_the_replica_has_never_heard_of_is_answered_and_the_queued_ones_in_their_order(
    system: System, chat: Chat, pair: RedisPair, model: ModelServer, database: Database
) -> None:
    await script(model)
    session_id = await chat.open_session()
    await pair.in_step()
    pair.freeze_replication()
    turn = await chat.send(session_id, QUESTION)
    async with viewers(system, turn) as watching:
        for viewer in watching:
            await viewer.shows(PIECES[0])
        second = await chat.send(session_id, "second [[tokens=3 rate=0]]")
        third = await chat.send(session_id, "third [[tokens=3 rate=0]]")
        await pair.fail_over()
        await model.open_gate("forgotten")
        await model.open_gate("rest")
        for viewer in watching:
            assert (await viewer.end()).text == ANSWER
    assert fold(await chat.answer(third)).text == answer_to("third", 3)
    texts = [text for role, text in await chat.messages(second.session_id) if role == "assistant"]
    assert texts == [ANSWER, answer_to("second", 3), answer_to("third", 3)]


@pytest.fixture
async def with_tools(services: Services, pair: RedisPair) -> System:
    system = await services.whole(gateways=2, tool_runners=1, REDIS_URL=pair.url, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "outside")
    return system


WAITS = "ask somebody outside"


async def _waits(chat: Chat, model: ModelServer, database: Database) -> tuple[Turn, str]:
    await calls_tools(model, WAITS, call("outside", "call_o", text="hello"), says="Let me ask. ")
    await answers(model, WAITS, "They said hi.")
    turn = await chat.ask(WAITS)
    return turn, await operation_in(database, turn, "accepted")


async def _complete(pair: RedisPair, operation_id: str) -> None:
    async with Redis.from_url(pair.url) as redis:
        await Completions(redis).publish_operation_complete(operation_id, None, True, "hi")


@pytest.mark.requirement("OP-7", "CC-6")
@pytest.mark.parametrize("lost", ["the step", "the progress", "the completion"])
async def test_a_turn_that_waits_for_a_webhook_continues_whatever_the_replica_lacks_of_it(
    with_tools: System, pair: RedisPair, model: ModelServer, database: Database, lost: str
) -> None:
    async with Chat(with_tools.url) as chat:
        await pair.in_step()
        if lost == "the step":
            pair.freeze_replication()
        turn, operation_id = await _waits(chat, model, database)
        async with viewers(with_tools, turn) as watching:
            for viewer in watching:
                await viewer.shows("Let me ask. ")
            if lost != "the step":
                await pair.in_step()
                pair.freeze_replication()
            if lost == "the progress":
                await _report(pair, operation_id, 1)
                await wait_until(lambda: all(_progress(viewer) == 1 for viewer in watching), what="1 % is shown")
            if lost == "the completion":
                await _complete(pair, operation_id)
                for viewer in watching:
                    assert (await viewer.end()).text == "Let me ask. They said hi."
            await pair.fail_over()
            if lost != "the completion":
                await _restored_and_shown(chat, pair, turn, operation_id)
                await _complete(pair, operation_id)
            for viewer in watching:
                message = await viewer.end()
                assert message.text == "Let me ask. They said hi."
                assert message.tools["call_o"]["output"] == "hi"
        await is_whole(chat, database, turn, "Let me ask. They said hi.")
        assert len(await questions(model, WAITS)) == 2
        await the_next_message_works(chat, turn)


async def _report(pair: RedisPair, operation_id: str, percent: int) -> None:
    async with Redis.from_url(pair.url) as redis:
        await Completions(redis).publish(ProgressJob(operation_id=operation_id, percent=percent, number=percent))


def _progress(viewer: Viewer) -> object:
    output = viewer.message.tools["call_o"].get("output")
    return output.get("percent") if isinstance(output, dict) else None


async def _restored_and_shown(chat: Chat, pair: RedisPair, turn: Turn, operation_id: str) -> None:
    """The stream of the waiting turn takes progress again, and shows it to who comes now."""
    async with Viewer(chat.stream_url(turn)) as late:
        number = 1

        async def shown() -> bool:
            nonlocal number
            number += 1
            await _report(pair, operation_id, min(number, 99))
            return "call_o" in late.message.tools and _progress(late) is not None

        await wait_until(shown, 40, "progress is shown after the failover")
