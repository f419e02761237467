"""The Responses API in the background: events in every kind, and answers that are read on by somebody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling import background as background_module
from sluiceway_llm.calling.background import BackgroundModel
from sluiceway_llm.calling.responses import to_responses
from sluiceway_llm.calling.retry import stream_with_retries
from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_errors import ModelError, ModelNotFound, ModelUnavailable
from sluiceway_llm.model_events import Finished, ModelEvent, ModelRequest, Reached, Usage

from harness.model_server import ModelServer, answer_to
from harness.model_server.record import Record
from harness.waiting import wait_until
from tests.llm.llm_client import (
    MODEL,
    calls_of,
    events_of,
    events_until_error,
    reasoning_of,
    refusal_of,
    request,
    text_of,
)

MODEL_ID = CleanText("fake-model")
# Where no server is.
NOBODY = "http://127.0.0.1:9/v1"
QUESTION = "what floats down the river? [[tokens=24 rate=0]]"
ANSWER = answer_to(QUESTION, 24)


@asynccontextmanager
async def background(model: ModelServer, **options: Any) -> AsyncIterator[BackgroundModel]:
    async with BackgroundModel(model.base_url, "sk-of-the-test", **options) as llm:
        yield llm


async def script(model: ModelServer, *steps: dict[str, Any]) -> None:
    await model.script(*steps, path="/responses")


def told(events: list[ModelEvent]) -> list[ModelEvent]:
    return [event for event in events if not isinstance(event, Reached)]


async def asked(model: ModelServer) -> list[Record]:
    return [record for record in await model.requests() if "/responses" in record.path]


async def read_until(llm: BackgroundModel, asking: ModelRequest, length: int) -> tuple[str, Reached]:
    """So much of the text, as far as whole batches go, and how far that is."""
    text, reached = "", None
    async with llm.stream(asking) as batches:
        async for batch in batches:
            text += text_of(batch)
            assert isinstance(batch[-1], Reached)
            reached = batch[-1]
            if len(text) >= length:
                break
    assert isinstance(reached, Reached)
    return text, reached


@pytest.mark.requirement("CH-5")
async def test_an_answer_made_in_the_background_is_told_as_any_other(model: ModelServer) -> None:
    await script(model, {"reasoning": "hm"}, {"text": "It "}, {"text": "floats."}, {"refusal": " No more."})
    async with background(model) as llm:
        events = await events_of(llm, request("what floats down the river?"))

    assert (reasoning_of(events), text_of(events), refusal_of(events)) == ("hm", "It floats.", " No more.")
    assert events[-1] == Finished("stop", Usage(input_tokens=5, output_tokens=4, total_tokens=9), MODEL_ID)
    (seen,) = await asked(model)
    assert {name: seen.body[name] for name in ("background", "stream", "store")} == {
        "background": True,
        "stream": True,
        "store": True,
    }


@pytest.mark.requirement("CH-8")
async def test_tool_calls_come_in_fragments_with_their_ids(model: ModelServer) -> None:
    def fragment(index: int, **function: str) -> dict[str, Any]:
        return {"tool_call": {"index": index, "id": f"c{index}", "function": function}}

    await script(
        model,
        {"text": "Let me see."},
        fragment(0, name="weather"),
        fragment(1, name="time"),
        fragment(0, arguments='{"city": '),
        fragment(1, arguments="{}"),
        fragment(0, arguments='"Ulm"}'),
    )
    async with background(model) as llm:
        events = await events_of(llm, request("and?"))

    assert sorted(calls_of(events).values()) == [("c0", "weather", '{"city": "Ulm"}'), ("c1", "time", "{}")]
    assert events[-1].reason == "tool_calls" if isinstance(events[-1], Finished) else False


def test_a_conversation_with_tools_is_put_into_items() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
    asking = ModelRequest(
        model="m",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        tools=[tool],
        max_tokens=9,
    )

    sent = to_responses(asking)

    assert sent["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "and?"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    assert sent["tools"] == [
        {"type": "function", "strict": False, "name": "weather", "description": "d", "parameters": {"type": "object"}}
    ]
    assert sent["max_output_tokens"] == 9


@pytest.mark.requirement("TS-5")
async def test_an_answer_is_read_on_by_another_where_the_first_stopped_and_made_once(model: ModelServer) -> None:
    question = "what floats down the river? [[tokens=24 rate=0 gate_after=8:go]]"
    async with background(model) as first:
        shown, reached = await read_until(first, request(question), len(answer_to(question, 8)))
    await model.open_gate("go")
    async with background(model) as second:
        events = await events_of(second, request(question, reached=reached))

    assert shown + text_of(events) == ANSWER
    assert isinstance(events[-1], Finished)
    assert events[-1].usage is not None
    assert events[-1].usage.output_tokens == 24
    assert [record.tokens_sent for record in await asked(model)] == [24, 0]


@pytest.mark.requirement("TS-5")
async def test_who_had_everything_but_the_end_is_told_of_the_end(model: ModelServer) -> None:
    async with background(model) as llm:
        text, reached = await read_until(llm, request(QUESTION), len(ANSWER))
        events = await events_of(llm, request(QUESTION, reached=reached))

    assert text + text_of(events) == ANSWER
    assert isinstance(events[-1], Finished)


@pytest.mark.requirement("TS-5")
async def test_an_answer_can_be_read_again_from_its_beginning(model: ModelServer) -> None:
    async with background(model) as llm:
        _, reached = await read_until(llm, request(QUESTION), 1)
        events = await events_of(llm, request(QUESTION, reached=Reached(reached.response_id, -1)))

    assert text_of(events) == ANSWER
    assert sum(record.tokens_sent for record in await asked(model)) == 24


@pytest.mark.requirement("TS-5")
async def test_a_connection_that_breaks_is_followed_by_another_behind_what_was_read(model: ModelServer) -> None:
    await script(
        model,
        {"text": "one "},
        {"gate": "a"},
        {"cut": "fin"},
        {"text": "two "},
        {"gate": "b"},
        {"cut": "fin"},
        {"text": "three"},
    )
    async with background(model) as llm:
        text = ""
        async with llm.stream(request("count")) as batches:
            async for batch in batches:
                text += text_of(batch)
                if text == "one ":
                    await model.open_gate("a")
                if text == "one two ":
                    await model.open_gate("b")

    assert text == "one two three"
    assert len(await asked(model)) == 3


async def test_a_connection_that_breaks_and_brings_nothing_more_is_an_error(model: ModelServer) -> None:
    await script(model, {"text": "one "}, {"gate": "a"}, {"forget": True}, {"cut": "fin"}, {"stall": "ever"})
    async with background(model) as llm, llm.stream(request("count")) as batches:
        while text_of(await anext(batches)) != "one ":
            pass
        await model.open_gate("a")
        with pytest.raises(ModelNotFound):
            await anext(batches)


@pytest.mark.requirement("CH-13")
async def test_an_answer_that_is_abandoned_is_made_no_further(model: ModelServer) -> None:
    question = "what floats down the river? [[tokens=24 rate=0 gate_after=8:go]]"
    async with background(model) as llm:
        _, reached = await read_until(llm, request(question), len(answer_to(question, 8)))
        await llm.abandon(reached)
        await model.open_gate("go")
        with pytest.raises(ModelError):
            await events_of(llm, request(question, reached=reached))
        await llm.abandon(Reached("resp_of_nobody", 3))

    assert (await asked(model))[0].tokens_sent == 8
    assert [record.path for record in await asked(model)][1].endswith(f"/responses/{reached.response_id}/cancel")


async def test_an_answer_that_is_not_kept_any_more_is_not_found(model: ModelServer) -> None:
    async with background(model) as llm:
        with pytest.raises(ModelNotFound):
            await events_of(llm, request(QUESTION, reached=Reached("resp_gone", 5)))


@pytest.mark.requirement("CH-7")
async def test_an_answer_that_failed_before_it_said_anything_is_asked_for_again(model: ModelServer) -> None:
    await script(model, {"error": {"code": "server_error", "message": "The model had a fault."}})
    async with background(model) as llm:
        events: list[ModelEvent] = []
        async with stream_with_retries(llm, request(QUESTION), first_seconds=0.01) as batches:
            async for batch in batches:
                events += batch
        assert text_of(events) == ANSWER

        await script(model, {"text": "one"}, {"error": {"code": "server_error", "message": "The model had a fault."}})
        kept: list[ModelEvent] = []
        with pytest.raises(ModelUnavailable):
            await events_until_error(llm, request(QUESTION), kept)
        assert text_of(kept) == "one"


async def test_an_answer_that_reached_its_limit_says_so(model: ModelServer) -> None:
    async with background(model) as llm:
        events = await events_of(llm, request("one two [[tokens=4 rate=0 finish=length]]"))

    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"


@pytest.mark.requirement("TS-5", "CH-7")
async def test_an_answer_that_is_too_old_to_be_streamed_is_read_whole_from_where_it_was_told(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "_LOOK_SECONDS", 0.05)
    await script(
        model,
        {"reasoning": "Hm. "},
        {"reasoning": "So."},
        {"text": "It "},
        {"gate": "shown"},
        {"age": True},
        {"cut": "fin"},
        {"gate": "made"},
        {"text": "floats."},
        {"tool_call": {"index": 0, "id": "c1", "function": {"name": "note", "arguments": "{}"}}},
    )
    async with background(model) as llm:
        events: list[ModelEvent] = []
        async with llm.stream(request("and?")) as batches:
            async for batch in batches:
                events += batch
                if text_of(events) == "It ":
                    await model.open_gate("shown")
                    made_later = asyncio.create_task(finish_behind_looks(model))
        await made_later

    assert (reasoning_of(events), text_of(events)) == ("Hm. So.", "It floats.")
    assert list(calls_of(events).values()) == [("c1", "note", "{}")]
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage and events[-1].usage.output_tokens) == ("tool_calls", 5)


async def finish_behind_looks(model: ModelServer) -> None:
    """Let the answer be made to its end when it was looked for: by its POST, a refused stream, and plain."""

    async def looked_for() -> bool:
        return len(await asked(model)) >= 4

    await wait_until(looked_for)
    await model.open_gate("made")


@pytest.mark.requirement("TS-5")
async def test_an_answer_that_is_too_old_is_told_from_its_beginning_to_who_had_nothing_of_it(
    model: ModelServer,
) -> None:
    await script(model, {"text": "It "}, {"text": "floats."}, {"age": True})
    async with background(model) as llm:
        events = await events_of(llm, request("and?"))
        reached = next(event for event in events if isinstance(event, Reached))
        again = await events_of(llm, request("and?", reached=Reached(reached.response_id, -1)))
        behind = await events_of(llm, request("and?", reached=Reached(reached.response_id, 3, text_chars=3)))
    assert (text_of(again), text_of(behind)) == ("It floats.", "floats.")
    assert len([record for record in await asked(model) if record.tokens_sent]) == 1


@pytest.mark.requirement("TS-5")
async def test_an_answer_that_is_too_old_is_looked_for_at_the_server_that_its_model_is_on(model: ModelServer) -> None:
    await script(model, {"text": "It "}, {"text": "floats."}, {"age": True})
    elsewhere = {MODEL: ServerOptions(base_url=model.base_url)}
    async with BackgroundModel(NOBODY, "sk-of-the-test", model_options=elsewhere) as llm:
        events = await events_of(llm, request("and?"))
        reached = next(event for event in events if isinstance(event, Reached))
        again = await events_of(llm, request("and?", reached=Reached(reached.response_id, -1)))
    assert text_of(again) == "It floats."
