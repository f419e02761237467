"""A conversation of any length fits its model: the preparing code on a real Postgres, with a model server that refuses
what is too long, orphan results, and roles that do not take turns."""

from typing import Any

import pytest
from sluiceway.store.sessions.conversations import Compaction

from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.model_server.strictness import tokens_of
from tests.chat_worker.context.talk import (
    STEP,
    STRICT,
    SYSTEM,
    WORDS,
    Talk,
    called,
    said,
    summaries,
    texts,
    with_window,
)

pytestmark = pytest.mark.requirement("CH-6")


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
