"""A conversation of any length fits its model: the preparing code on a real Postgres, with a model server that refuses
what is too long, orphan results, and roles that do not take turns."""

import asyncio
import json
from typing import Any

import pytest
from chat_worker.context.context import Held
from sluiceway.operation.model_windows import read_windows
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Compaction
from sluiceway.wire.message import Part
from sluiceway_llm.asking.history import Wants, fitted
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelContextExceeded, ModelRejected

from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.model_server.strictness import refusal_for, tokens_of
from harness.waiting import wait_until
from tests.chat_worker.context.talk import STEP, SYSTEM, Talk, said, summaries, texts, uninterrupted, with_window

pytestmark = pytest.mark.requirement("CH-6")

STRICT = ("begins", "alternate", "pairs", "filled", "names")
WORDS = "the river had risen in the night and by morning the meadow was a lake "


def called(call_id: str, result: str) -> Part:
    state = {"state": "output-available", "input": {"query": "größe"}, "output": result}
    return {"type": "tool-search", "toolCallId": call_id, **state}


async def test_what_fits_is_sent_whole_and_nothing_is_stored(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    await talk.exchange("one")
    prepared = await talk.prepare(talk.context(), await talk.ask("two"))

    assert [one["role"] for one in prepared.messages] == ["system", "user", "assistant", "user"]
    assert (prepared.data, await summaries(model)) == ({}, [])
    assert await database.fetchval("SELECT count(*) FROM compactions") == 0


async def test_what_does_not_fit_is_cut_off_once_with_notes_in_its_place(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    context = with_window(talk, talk.context(), 2000)
    for n in range(40):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    first = await talk.prepare(context, task := await talk.ask("and now?"))
    again = await talk.prepare(context, task)

    assert first.data["state"] == "summarised"
    assert first.tokens < 1000
    assert first.messages == again.messages
    assert (first.messages[0], first.messages[-1]) == (SYSTEM[0], {"role": "user", "content": "and now?"})
    assert "Notes that were made of it" in first.messages[1]["content"]
    assert "question 39" in texts(first)
    assert "question 0:" not in texts(first)
    assert await database.fetchval("SELECT count(*) FROM compactions") == 1
    assert len(await summaries(model)) <= 8


async def test_2000_turns_never_fail_and_the_cut_off_moves_in_steps(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    """With a server that takes 1,500 tokens and whose window nobody knows; every seventh turn calls a tool."""
    await model.strict("window:1500", *STRICT)
    context, refusals, cut_offs = talk.context(), 0, set()
    for n in range(2000):
        task = await talk.ask(f"question {n}: {WORDS}")
        if n % 20 == 0:  # asking the server at each turn would be slow; preparing is what is tested
            prepared, refused = await talk.answered(context, task)
            refusals += refused
            assert tokens_of({"messages": prepared.messages}) <= 1500
        else:
            prepared = await talk.prepare(context, task)
        cut_offs.add(await database.fetchval("SELECT max(through_sequence) FROM compactions"))
        assert prepared.messages[-1]["content"].startswith(f"question {n}:")
        await talk.end(task, *([called(f"call_{n}", WORDS * 200)] if n % 7 == 0 else []), said(f"answer {n} {WORDS}"))

    assert 1 <= refusals < 10
    # A cut leaves room for a good many turns, in which the prompt only grows.
    assert 20 < len(cut_offs) < 500


async def test_a_switch_to_a_model_with_a_smaller_window_in_mid_conversation_and_back(
    talk: Talk, model: ModelServer
) -> None:
    options = {"small": ServerOptions(window_tokens=1000)}
    for n in range(60):
        await talk.exchange(f"question {n}: {WORDS * 3}")
    async with Model(model.base_url, "sk", model_options=options) as talk.client:
        context = talk.context(models=["small"])
        large = await talk.prepare(context, first := await talk.ask("large?"))
        await talk.end(first, said("yes"))
        await model.strict("window:1000", *STRICT)
        small, refusals = await talk.answered(context, second := await talk.ask("small?", model="small"), model="small")
        await talk.end(second, said("yes"))
        back = await talk.prepare(context, await talk.ask("large again?"))

    assert "question 0:" in texts(large)
    assert refusals == 0
    assert small.data["state"] == "summarised"
    assert "small?" in texts(back)


@pytest.mark.parametrize("how", ["setting", "refused", "empty"])
async def test_without_a_summary_it_is_cut_off_all_the_same(
    talk: Talk, model: ModelServer, database: Database, how: str
) -> None:
    await model.reset()
    broken: dict[str, list[dict[str, Any]]] = {
        "refused": [{"status": 400}],
        "empty": [{"begin": True}, {"finish": "stop"}],
    }
    await model.script(*broken.get(how, [{"status": 500}]), match="<conversation>", times=100)
    context = with_window(talk, talk.context(compaction="truncate" if how == "setting" else "summary"), 1200)
    for n in range(30):
        await talk.exchange(f"question {n}: {WORDS * 2}")

    prepared = await talk.prepare(context, await talk.ask("and now?"))

    assert prepared.data["state"] == "truncated"
    assert "is left out: it is too long" in prepared.messages[1]["content"]
    assert await database.fetchval("SELECT count(*) FROM compactions WHERE summary IS NULL") == 1
    assert bool(await summaries(model)) == (how != "setting")


async def test_a_call_and_its_result_are_never_parted_and_huge_results_are_cut_in_the_middle(
    talk: Talk, model: ModelServer
) -> None:
    await model.strict("window:1200", *STRICT)
    context = with_window(talk, talk.context(), 1200)
    for n in range(25):
        await talk.exchange(f"look {n}", called(f"a{n}", WORDS * 300), called(f"b{n}", "short"), STEP, said("done"))

    prepared, refusals = await talk.answered(context, await talk.ask("and?"))

    assert refusals == 0
    results = [one["content"] for one in prepared.messages if one["role"] == "tool"]
    assert results
    assert any("characters left out" in one and one.startswith("the river") for one in results)


async def test_the_steps_of_the_answer_itself_are_made_to_fit(talk: Talk, model: ModelServer) -> None:
    """A long turn of many calls, as when operations end and another worker continues it."""
    await model.strict("window:1500", *STRICT)
    context = with_window(talk, talk.context(), 1500)
    await talk.exchange("before")
    own: list[dict[str, Any]] = []
    for n in range(30):
        call = {"id": f"c{n}", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}
        own += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"result {n} {WORDS * 40}"},
        ]

    prepared, refusals = await talk.answered(context, await talk.ask("do it all"), own)

    assert refusals == 0
    assert prepared.data["state"] in ("shortened", "summarised", "truncated")
    assert {"role": "user", "content": "do it all"} in prepared.messages
    assert "result 29" in texts(prepared)


async def test_the_exchange_before_the_question_stays_where_it_fits(talk: Talk) -> None:
    """Answers that are long for a small window: half of the room would leave the question alone."""
    context = with_window(talk, talk.context(), 2000)
    for n in range(4):
        await talk.exchange(f"question {n}", said(f"answer {n} {WORDS * 25}"))

    prepared = await talk.prepare(context, await talk.ask("what did you say?"))

    assert "answer 3" in texts(prepared)
    assert "answer 1" not in texts(prepared)


async def test_a_huge_result_of_the_answer_is_cut_before_the_conversation_is(talk: Talk, database: Database) -> None:
    context = with_window(talk, talk.context(), 4000)
    for n in range(10):
        await talk.exchange(f"question {n}: {WORDS}")
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    own: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": WORDS * 1000},
    ]

    prepared = await talk.prepare(context, await talk.ask("look"), own)

    assert prepared.data["state"] == "shortened"
    assert "question 0:" in texts(prepared)
    assert prepared.tokens < 3000
    assert await database.fetchval("SELECT count(*) FROM compactions") == 0


async def test_a_refusal_without_a_number_makes_the_room_smaller_until_it_fits(talk: Talk, model: ModelServer) -> None:
    await model.strict("window:900", *STRICT)
    context = talk.context()
    for n in range(60):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    error = ModelContextExceeded()
    task = await talk.ask("and now?")
    held = Held(await context.load(task))
    sizes = []
    for _ in range(10):
        prepared = await context.prepare(task, held, "fake", SYSTEM, [], [], uninterrupted)
        assert prepared is not None
        sizes.append(prepared.tokens)
        if tokens_of({"messages": prepared.messages}) <= 900:
            break
        assert context.refused(held, "fake", error, prepared)

    assert sizes == sorted(sizes, reverse=True)
    assert prepared is not None
    await talk.send("fake", prepared)


async def test_a_message_that_is_larger_than_the_window_ends_its_turn_and_not_the_session(
    talk: Talk, model: ModelServer
) -> None:
    await model.strict("window:600", *STRICT)
    context = talk.context()
    await talk.exchange("before")
    task = await talk.ask(WORDS * 100)
    with pytest.raises(ModelContextExceeded):
        await talk.answered(context, task)
    await talk.end(task, {"type": "data-error", "data": {"code": "MODEL_CONTEXT_LENGTH_EXCEEDED"}})

    prepared, _ = await talk.answered(context, await talk.ask("and now?"))

    assert prepared.messages[-1]["content"] == "and now?"


async def test_an_edit_of_what_was_summarised_forgets_the_summary(talk: Talk, database: Database) -> None:
    context = with_window(talk, talk.context(), 1200)
    await talk.end(await talk.ask("the first", message_id="m1"), said("yes"))
    for n in range(30):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    await talk.prepare(context, late := await talk.ask("and now?"))
    assert await database.fetchval("SELECT count(*) FROM compactions") == 1

    edited = await talk.ask("the first, better", message_id="m1", edit=True, policy="interrupt")

    assert await database.fetchval("SELECT count(*) FROM compactions") == 0
    assert not await talk.store.conversations.compact(late, Compaction(2, "of the old text"))
    prepared = await talk.prepare(context, edited)
    assert [one["content"] for one in prepared.messages] == ["Be brief.", "the first, better"]


async def test_an_attempt_that_has_a_successor_stores_no_cut_off(talk: Talk, database: Database) -> None:
    await talk.exchange("one")
    task = await talk.ask("two")
    await talk.store.turns.claim(task.id)

    assert not await talk.store.conversations.compact(task, Compaction(2, "x"))
    assert await database.fetchval("SELECT count(*) FROM compactions") == 0


async def test_what_is_read_is_bounded_by_messages_and_bytes_however_long_the_session_is(
    talk: Talk, database: Database
) -> None:
    task = await talk.ask("the newest")
    await fill(database, task, messages=3000, chars=2000)

    few = await talk.store.conversations.before(task, max_messages=100, max_bytes=10_000_000)
    small = await talk.store.conversations.before(task, max_messages=1000, max_bytes=100_000)
    large = await talk.store.conversations.before(task, max_messages=10_000, max_bytes=100_000_000)

    assert (len(few.messages), few.whole) == (100, False)
    assert 40 < len(small.messages) < 60
    assert not small.whole
    assert (len(large.messages), large.whole) == (3001, True)
    assert [one.sequence for one in large.messages] == sorted(one.sequence for one in large.messages)
    assert few.messages[-1].parts == small.messages[-1].parts == [{"type": "text", "text": "the newest"}]


@pytest.mark.requirement("CH-14", "CH-20")
async def test_more_messages_than_the_limit_are_cut_off_in_steps_too_and_that_is_told(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    context = talk.context(max_context_messages=10)
    for n in range(8):
        await talk.exchange(f"question {n}")

    prepared = await talk.prepare(context, await talk.ask("and now?"))

    assert prepared.data["state"] == "summarised"
    notes = await database.fetch("SELECT purpose, outcome, step FROM model_calls")
    assert [tuple(call) for call in notes] == [("notes", "answered", 0)] * len(await summaries(model))
    assert [one["role"] for one in prepared.messages[:4]] == ["system", "user", "assistant", "user"]
    assert len(prepared.messages) <= 8


async def test_the_cut_off_moves_in_steps_also_where_most_of_what_is_read_is_not_sent(
    talk: Talk, database: Database
) -> None:
    context, cut_offs = with_window(talk, talk.context(), 4000), set()
    thought: Part = {"type": "reasoning", "text": "hm " * 8000, "state": "done"}
    for n in range(40):
        prepared = await talk.prepare(context, task := await talk.ask(f"question {n}"))
        assert prepared.messages[-1]["content"] == f"question {n}"
        cut_offs.add(await database.fetchval("SELECT max(through_sequence) FROM compactions"))
        await talk.end(task, thought, said("yes"))

    assert 2 <= len(cut_offs) <= 12


async def test_a_huge_newest_message_is_read_all_the_same(talk: Talk) -> None:
    await talk.exchange("before")
    task = await talk.ask("x" * 300_000)

    read = await talk.store.conversations.before(task, max_messages=10, max_bytes=1000)

    assert [len(one.parts[0]["text"]) for one in read.messages] == [300_000]
    assert not read.whole


async def fill(database: Database, task: Task, messages: int, chars: int) -> None:
    """Older messages, all at once. The session's own begin behind them."""
    moved = "UPDATE {} SET sequence = sequence + $2 WHERE session_id = $1"
    for table in ("messages", "tasks"):
        await database.execute(moved.format(table), task.session_id, messages)
    object.__setattr__(task, "sequence", task.sequence + messages)
    await database.execute(
        "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
        " SELECT $1, 'old-' || n, n, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'assistant' END,"
        " jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat(md5(n::text), $3 / 32))), true"
        " FROM generate_series(1, $2) n",
        task.session_id,
        messages,
        chars,
    )


async def test_windows_come_from_the_server_and_are_told_to_gateways(talk: Talk, model: ModelServer) -> None:
    listed = {"data": [{"id": "fake", "max_model_len": 4096}]}
    await model.reset()
    await model.script({"status": 200, "body": json.dumps(listed)}, path="/models", times=100)
    talk.context(models=["gpt-4o", "unknown"])
    assert talk.windows.of("fake").source == "assumed"

    running = asyncio.create_task(talk.windows.run())
    try:
        told = await wait_until(lambda: read_windows(talk.redis), 10, "windows are published")
    finally:
        running.cancel()

    assert told == {"": 4096, "fake": 4096, "gpt-4o": 128_000}
    assert (talk.windows.of("fake").tokens, talk.windows.of("fake").source) == (4096, "server")
    assert talk.windows.learn("fake", 2048)
    assert not talk.windows.learn("fake", 4096)
    assert talk.windows.of("fake").tokens == 2048


async def test_other_refusals_are_not_about_length(talk: Talk, model: ModelServer) -> None:
    await model.reset()
    await model.script({"status": 400}, times=3)
    with pytest.raises(ModelRejected):
        await talk.answered(talk.context(), await talk.ask("hello"))


@pytest.mark.requirement("CH-25")
@pytest.mark.parametrize("most", [2, 3, 4])
async def test_of_however_few_messages_a_strict_server_gets_a_question_first_and_turns_after_it(
    talk: Talk, most: int
) -> None:
    context = talk.context(max_context_messages=most, compaction="truncate")
    for n in range(5):
        await talk.exchange(f"question {n}")
        prepared = await talk.prepare(context, await talk.ask("and now?"))
        sent = fitted(prepared.messages, Wants())
        assert refusal_for(["alternate", "begins", "filled"], {"messages": sent}) is None
        assert sent[-1]["content"] == "and now?"


async def test_a_picture_takes_no_room_in_the_window_of_a_model_that_was_found_to_take_none(talk: Talk) -> None:
    """Else the second question about it would push the conversation out of a small window."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    context, task = talk.context(max_context_tokens=4000), await talk.ask("what is this?")
    own = [{"role": "user", "content": [picture]}]
    shown = await talk.prepare(context, task, own)
    talk.client.manners_of("fake").lessons.no_pictures = True
    assert (await talk.prepare(context, task, own)).tokens < shown.tokens - 1000
