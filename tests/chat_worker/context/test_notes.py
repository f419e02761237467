"""Notes of a conversation are made beside its turns: no answer waits long for them, a slow model makes them all the
same, and they are paid once."""

import asyncio
from typing import Any

import pytest
from chat_worker.context.summary import Summariser
from sluiceway import keys
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Compaction

from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.waiting import wait_until
from tests.chat_worker.context.talk import NOTES, SYSTEM, Talk, said, summaries, texts, uninterrupted, with_window

pytestmark = pytest.mark.requirement("CH-6")

WORDS = "the river had risen in the night and by morning the meadow was a lake "
SLOW: list[dict[str, Any]] = [
    {"begin": True},
    {"tokens": 2, "of": NOTES},
    {"gate": "notes"},
    {"tokens": 4, "of": NOTES},
    {"finish": "stop"},
]


async def slow_notes(model: ModelServer) -> None:
    await model.reset()
    await model.script(*SLOW, match="<conv", times=1000)
    await model.script({"begin": True}, {"tokens": 2, "of": "well"}, {"finish": "stop"}, times=1000)


async def stored(database: Database) -> int:
    """How many cut-offs with notes there are, when there is one."""
    found = await wait_until(
        lambda: database.fetchval("SELECT count(*) FROM compactions WHERE summary IS NOT NULL"), 20, "notes are stored"
    )
    return int(found)


async def told(talk: Talk, task: Task, state: str, text: str = "yes") -> None:
    """The turn ends, with what its person was told."""
    await talk.end(task, {"type": "data-context", "id": "context", "data": {"state": state}}, said(text))


async def test_a_slow_model_makes_its_notes_beside_the_next_turns_and_they_are_paid_once(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    await slow_notes(model)
    context = with_window(talk, talk.context(summary_seconds=0.05), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")

    first = await talk.prepare(context, one := await talk.ask("and now?"))
    await told(talk, one, "truncated")
    second = await talk.prepare(context, two := await talk.ask("still?"))
    assert await database.fetchval("SELECT count(*) FROM compactions") == 0
    await told(talk, two, "truncated")
    await model.open_gate("notes")
    assert await stored(database) == 1
    third = await talk.prepare(context, three := await talk.ask("at last?"))
    await told(talk, three, "summarised")
    fourth = await talk.prepare(context, await talk.ask("and so on?"))

    for late in (first, second):
        assert (late.data["state"], late.data["reason"]) == ("truncated", "late")
        assert "question 15" in texts(late)
    assert (third.data["state"], "reason" in third.data) == ("summarised", False)
    assert "Notes that were made of it" in third.messages[1]["content"]
    assert fourth.data == {}, "it is told once"
    asked = len(await summaries(model))
    assert await database.fetchval("SELECT count(*) FROM model_calls WHERE purpose = 'notes'") == asked
    assert len({str(one["messages"]) for one in await summaries(model)}) == asked


@pytest.mark.requirement("CH-24")
async def test_a_model_that_never_stops_makes_notes_all_the_same_and_is_left(talk: Talk, model: ModelServer) -> None:
    await model.reset()
    await model.script({"begin": True}, {"tokens": 1000, "of": NOTES}, {"stall": "ever"}, match="<conv", times=1000)
    await model.script({"begin": True}, {"tokens": 2, "of": "well"}, {"finish": "stop"}, times=1000)
    context = with_window(talk, talk.context(), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    prepared = await talk.prepare(context, await talk.ask("and now?"))
    assert prepared.data["state"] == "summarised"
    assert prepared.tokens < prepared.room


async def test_notes_are_made_behind_a_turn_where_another_one_like_it_would_not_fit(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    """So the next answer waits for none, and its person is told."""
    context = with_window(talk, talk.context(summary_seconds=0.01), 1200)
    for n in range(40):
        task = await talk.ask(f"question {n}: {WORDS * 2}")
        prepared = await talk.prepare(context, task)
        assert prepared.data.get("reason") is None
        if prepared.data:
            break
        own = [{"role": "assistant", "content": "yes"}]
        await talk.end(task, said("yes"))
        held = await talk.held(context, task)
        await context.look_ahead(task, held, "fake", SYSTEM, [], own)
        await talk.notes_are_made()

    assert 4 < n < 39
    assert prepared.data["state"] == "summarised"
    assert await stored(database) == 1
    assert prepared.tokens < prepared.room, "it was not for this turn that they were made"


async def test_notes_that_fail_are_told_as_such_once_also_where_there_are_earlier_ones(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    context = with_window(talk, talk.context(), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    await talk.prepare(context, one := await talk.ask("and now?"))
    await told(talk, one, "summarised")
    await model.reset()
    await model.script({"status": 400}, match="<conv", times=9)
    for n in range(16):
        await talk.exchange(f"further {n}: {WORDS * 2}")

    task = await talk.ask("and then?")
    held = await talk.held(context, task)
    first = await context.prepare(task, held, "fake", SYSTEM, [], [], uninterrupted)
    assert first is not None
    held.told = first.state
    step = await context.prepare(task, held, "fake", SYSTEM, [], [], uninterrupted)
    await told(talk, task, "truncated")
    later = await talk.prepare(context, await talk.ask("so?"))

    assert step is not None
    for prepared in (first, step):
        assert (prepared.data["state"], prepared.data["reason"]) == ("truncated", "failed")
        assert NOTES.split()[0] in prepared.messages[1]["content"], "the earlier notes stay"
    assert later.data == {}


async def test_two_workers_make_no_notes_of_one_conversation_twice(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    await slow_notes(model)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    task = await talk.ask("and now?")
    first, second = (with_window(talk, talk.context(), 1200) for _ in range(2))
    preparing = [asyncio.create_task(talk.prepare(first, task))]
    await model.wait_for(lambda one: "<conversation>" in str(one.body))
    preparing.append(asyncio.create_task(talk.prepare(second, task)))
    await model.open_gate("notes")
    prepared = await asyncio.gather(*preparing)

    assert [one.data["state"] for one in prepared] == ["summarised"] * 2
    assert prepared[0].messages == prepared[1].messages
    assert len({str(one["messages"]) for one in await summaries(model)}) == len(await summaries(model))


async def test_a_worker_that_slept_past_the_end_of_its_claim_leaves_the_next_one_its_own(
    talk: Talk, model: ModelServer
) -> None:
    await slow_notes(model)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    context = with_window(talk, talk.context(), 1200)
    preparing = asyncio.create_task(talk.prepare(context, await talk.ask("and now?")))
    await model.wait_for(lambda one: "<conversation>" in str(one.body))
    claim = keys.session_notes(talk.session)
    own = await talk.redis.get(claim)
    await talk.redis.set(claim, "another's", px=60_000)
    await model.open_gate("notes")
    await preparing
    await talk.notes_are_made()

    assert own is not None
    assert await talk.redis.get(claim) in (b"another's", "another's")


async def test_a_turn_that_began_before_notes_were_stored_makes_none_of_the_same_again(
    talk: Talk, model: ModelServer
) -> None:
    context = with_window(talk, talk.context(), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    task = await talk.ask("and now?")
    early = await talk.held(context, task)
    await talk.prepare(context, task)
    asked = len(await summaries(model))

    await context.look_ahead(task, early, "fake", SYSTEM, [], [{"role": "assistant", "content": "yes"}])
    await talk.notes_are_made()

    assert len(await summaries(model)) == asked


async def test_a_turn_that_is_stopped_leaves_its_notes_to_the_next_one(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    await slow_notes(model)
    context = with_window(talk, talk.context(), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    preparing = asyncio.create_task(talk.prepare(context, await talk.ask("and now?")))
    await model.wait_for(lambda one: "<conversation>" in str(one.body))
    preparing.cancel()
    await asyncio.wait((preparing,))
    await model.open_gate("notes")

    assert await stored(database) == 1


async def test_notes_of_what_is_edited_meanwhile_are_not_stored(
    talk: Talk, model: ModelServer, database: Database
) -> None:
    await slow_notes(model)
    context = with_window(talk, talk.context(summary_seconds=0.01), 1200)
    await talk.end(await talk.ask("the first", message_id="m1"), said("yes"))
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    await talk.prepare(context, late := await talk.ask("and now?"))
    await talk.end(late, said("yes"))
    await talk.ask("the first, better", message_id="m1", edit=True)

    await model.open_gate("notes")
    await talk.notes_are_made()

    assert await database.fetchval("SELECT count(*) FROM compactions") == 0


async def test_notes_are_stored_behind_the_cut_off_alone_that_they_continue(talk: Talk) -> None:
    for n in range(2):
        await talk.exchange(f"question {n}")
    conversations, task = talk.store.conversations, await talk.ask("and now?")
    assert await conversations.compact(task, Compaction(2))

    assert not await conversations.note("s", Compaction(4, "of all"), None, [1, 2, 3, 4])
    assert await conversations.note("s", Compaction(4, "of the rest"), Compaction(2), [3, 4])


async def test_how_full_the_window_is_is_told_as_the_server_counts(talk: Talk) -> None:
    """Ours errs upwards, by a picture that a model does not take most of all."""
    context = with_window(talk, talk.context(), 1200)
    prepared = await talk.prepare(context, await talk.ask(WORDS * 45))

    assert prepared.tokens > 0.75 * prepared.room
    assert prepared.counted(100) == {}
    told = {"state": "filling", "roomTokens": 900, "windowTokens": 1200}
    assert prepared.counted(800) == told | {"usedTokens": 800}
    assert prepared.counted(None) == told | {"usedTokens": prepared.tokens}


async def test_a_turn_is_answered_without_notes_whatever_went_wrong_in_them(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(Summariser, "summarise", broken)
    context = with_window(talk, talk.context(), 1200)
    for n in range(16):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    prepared = await talk.prepare(context, await talk.ask("and now?"))
    assert prepared.messages[-1]["content"] == "and now?"
    assert (prepared.data["state"], prepared.data["reason"]) == ("truncated", "failed")
