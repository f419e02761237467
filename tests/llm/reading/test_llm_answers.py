"""What the model adapter makes of answers that go well, in every dialect and framing that servers use."""

import asyncio
import json
from typing import Any

import pytest
from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import Finished, ModelEvent, ModelRequest, Usage

from harness.model_server import ModelServer, answer_to
from tests.llm.llm_client import (
    adapter,
    ask,
    calls_of,
    events_of,
    events_until_error,
    finished,
    reasoning_of,
    refusal_of,
    request,
    text_of,
)

MODEL_ID = CleanText("fake-model")

pytestmark = pytest.mark.requirement("CH-5")


async def test_the_text_of_an_answer_arrives_whole_and_ends_with_its_reason_usage_and_model(model: ModelServer) -> None:
    events = await ask(model, "one two three [[rate=0]]")
    assert text_of(events) == answer_to("one two three")
    assert finished(events) == Finished("stop", Usage(input_tokens=4, output_tokens=40, total_tokens=44), MODEL_ID)


@pytest.mark.parametrize(
    "framing",
    ["crlf", "comments", "empty_choices", "merge=8", "split=1", "split=3 crlf comments", "merge=7 empty_choices"],
)
async def test_however_the_server_frames_its_events_the_text_is_the_same(model: ModelServer, framing: str) -> None:
    text = f"one two three [[tokens=15 rate=0 {framing}]]"
    events = await ask(model, text)
    assert text_of(events) == answer_to(text, 15)
    assert finished(events).reason == "stop"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_characters_torn_apart_between_tcp_writes_come_out_whole(model: ModelServer, size: int) -> None:
    events = await ask(model, f"[[multibyte tokens=8 split={size}]]")
    assert text_of(events) == "größer naïve Ωμέγα 東京 한국어 👩‍🚀 🌊 मानक "


async def test_several_events_of_one_write_come_as_one_batch(model: ModelServer) -> None:
    async with adapter(model) as llm, llm.stream(request("a [[tokens=20 rate=0 merge=100]]")) as batches:
        sizes = [len(batch) async for batch in batches]
    assert max(sizes) >= 20


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_told_apart_from_text_under_either_of_its_names(model: ModelServer, field: str) -> None:
    text = f"think it over [[reasoning=6 reasoning_field={field} tokens=4 rate=0]]"
    events = await ask(model, text)
    assert (reasoning_of(events), text_of(events)) == (answer_to(text, 6), answer_to(text, 4))


async def test_content_that_is_a_list_of_thinking_and_text_parts_is_told_apart_too(model: ModelServer) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}
    await model.script({"delta": {"content": [thinking, {"type": "text", "text": "Yes."}]}})
    events = await ask(model, "is it so?")
    assert (reasoning_of(events), text_of(events)) == ("Hmm.", "Yes.")


async def test_a_refusal_is_told_apart_from_text(model: ModelServer) -> None:
    events = await ask(model, "no no [[refusal tokens=3 rate=0]]")
    assert (refusal_of(events), text_of(events)) == ("no no no ", "")


@pytest.mark.parametrize("order", ["forward", "reverse"])
async def test_parallel_tool_calls_are_put_together_from_fragments_in_any_order(model: ModelServer, order: str) -> None:
    events = await ask(model, f"[[tools=weather,time,news tools_order={order}]]")
    arguments = '{"query": "größe {}\\""}'
    assert calls_of(events) == {
        0: ("call_0", "weather", arguments),
        1: ("call_1", "time", arguments),
        2: ("call_2", "news", arguments),
    }
    assert json.loads(arguments) == {"query": 'größe {}"'}
    assert finished(events).reason == "tool_calls"


async def test_tool_calls_of_servers_that_do_not_number_them_are_kept_apart_by_their_ids(model: ModelServer) -> None:
    await model.script(
        {"tool_call": {"id": "call_a", "function": {"name": "weather", "arguments": '{"city": '}}},
        {"tool_call": {"function": {"arguments": '"Ulm"}'}}},
        {"tool_call": {"id": "call_b", "function": {"name": "time", "arguments": "{}"}}},
        {"finish": "tool_calls"},
    )
    events = await ask(model, "weather and time")
    assert calls_of(events) == {0: ("call_a", "weather", '{"city": "Ulm"}'), 1: ("call_b", "time", "{}")}


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_reason_of_an_answer_that_was_ended_early_is_passed_on(model: ModelServer, reason: str) -> None:
    assert finished(await ask(model, f"a [[tokens=2 finish={reason}]]")).reason == reason


async def test_without_usage_the_answer_ends_all_the_same(model: ModelServer) -> None:
    assert finished(await ask(model, "a [[tokens=2 usage=no]]")) == Finished("stop", None, MODEL_ID)


async def test_cached_and_reasoning_tokens_are_counted_apart(model: ModelServer) -> None:
    usage: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    details = {"completion_tokens_details": {"reasoning_tokens": 3}, "prompt_tokens_details": {"cached_tokens": 8}}
    await model.script({"text": "Yes."}, {"usage": usage | details})
    counted = finished(await ask(model, "count")).usage
    assert counted is not None
    assert counted.as_dict() == {
        "inputTokens": 9,
        "outputTokens": 5,
        "totalTokens": 14,
        "reasoningTokens": 3,
        "cachedInputTokens": 8,
    }


async def test_done_without_a_finish_reason_is_an_end_without_a_reason(model: ModelServer) -> None:
    events = await ask(model, "a [[tokens=2 finish=none rate=0]]")
    assert (text_of(events), finished(events).reason) == ("a a ", None)


async def test_a_finish_reason_makes_the_answer_whole_even_when_the_connection_ends_right_behind_it(
    model: ModelServer,
) -> None:
    whole = {"choices": [{"index": 0, "delta": {"content": "Yes."}, "finish_reason": "stop"}]}
    for how in ("eof", "fin"):
        await model.script({"chunk": whole}, {"cut": how})
        events = await ask(model, "is it?")
        assert (text_of(events), finished(events)) == ("Yes.", Finished("stop", None, MODEL_ID))


async def test_the_request_carries_what_was_asked_the_key_and_the_trace(model: ModelServer) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi [[tokens=1]]"}]
    asked = ModelRequest(
        model="m-7",
        messages=messages,
        tools=tools,
        user="user-1",
        max_tokens=64,
        temperature=0.2,
        headers={"traceparent": "00-1-2-01", "X-Session-Id": "ses_1"},
        extra_body={"top_k": 4},
    )
    async with adapter(model, user="raw") as llm:
        await events_of(llm, asked)
    [record] = await model.requests()
    assert f"{model.url}{record.path}" == f"{model.base_url}/chat/completions"
    assert record.body == {
        "model": "m-7",
        "messages": messages,
        "tools": tools,
        "user": "user-1",
        "max_tokens": 64,
        "temperature": 0.2,
        "top_k": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert record.headers["authorization"] == "Bearer sk-of-the-test"
    assert (record.headers["traceparent"], record.headers["x-session-id"]) == ("00-1-2-01", "ses_1")


async def test_what_was_not_asked_for_is_not_sent(model: ModelServer) -> None:
    await ask(model, "Hi [[tokens=1]]")
    [record] = await model.requests()
    assert set(record.body) == {"model", "messages", "stream", "stream_options"}


async def test_no_key_is_fine_for_servers_that_want_none(model: ModelServer) -> None:
    async with adapter(model, api_key="") as llm:
        await llm.probe()
        assert text_of(await events_of(llm, request("Hi [[tokens=2]]"))) == "Hi Hi "


async def test_a_connection_is_used_again_after_a_whole_answer(model: ModelServer) -> None:
    async with adapter(model, max_connections=1) as llm:
        for _ in range(3):
            assert finished(await events_of(llm, request("Hi [[tokens=2]]"))).reason == "stop"
    assert len({record.connection for record in await model.requests()}) == 1


async def test_the_probe_does_not_wait_for_streams_that_take_up_all_connections(model: ModelServer) -> None:
    async with adapter(model, max_connections=1) as llm, llm.stream(request("Hi [[tokens=1 stall=ever]]")):
        await asyncio.wait_for(llm.probe(), 5)


async def test_a_server_that_sends_signs_of_life_before_its_first_token_is_waited_for(model: ModelServer) -> None:
    signs = [step for _ in range(6) for step in ({"comment": "still thinking"}, {"stall": 0.15})]
    await model.script(*signs, {"text": "Yes."})
    assert text_of(await ask(model, "is it?", first_chunk_timeout=0.5, idle_timeout=0.5)) == "Yes."


@pytest.mark.parametrize("said", [[], [{"text": "Well, "}]])
async def test_a_server_that_sends_a_byte_now_and_then_of_a_line_that_never_ends_is_silent(
    model: ModelServer, said: list[dict[str, str]]
) -> None:
    trickle = [step for _ in range(40) for step in ({"raw": "d"}, {"stall": 0.1})]
    await model.script(*said, *trickle, {"raw": "\n\n"}, {"text": "No."})
    kept: list[ModelEvent] = []
    async with adapter(model, first_chunk_timeout=0.5, idle_timeout=0.5) as llm:
        with pytest.raises(ModelError) as raised:
            await events_until_error(llm, request("is it?"), kept)
    assert (raised.value.code, text_of(kept)) == ("MODEL_TIMEOUT", "".join(one["text"] for one in said))
