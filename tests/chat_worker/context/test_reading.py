"""How much of a long session is read: so many messages and bytes, in steps, and the newest message always."""

import pytest
from sluiceway.store.records import Task
from sluiceway.wire.message import Part

from harness.databases.database import Database
from harness.model_server import ModelServer
from tests.chat_worker.context.talk import Talk, said, summaries, with_window

pytestmark = pytest.mark.requirement("CH-6")


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
