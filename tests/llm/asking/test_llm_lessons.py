"""What a server refuses is learned: it is left out, or said otherwise, once and for all."""

from typing import Any

import pytest
from sluiceway_llm.asking.dialects import DIALECTS
from sluiceway_llm.asking.lessons import Lessons
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.error_words import told_of
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelRequest

from harness.model_server import ModelServer
from harness.model_server.strictness import refusal_for
from tests.llm.llm_client import adapter, events_of, text_of
from tests.llm.messages import GO, SYSTEM, Messages, answer, calls, result, said, tool, user

pytestmark = pytest.mark.requirement("CH-25")


@pytest.mark.parametrize(
    ("rule", "messages", "fields"),
    [
        ("no:stream_options", [GO], {}),
        ("no:user", [GO], {"user": "u"}),
        ("no:temperature", [GO], {"temperature": 0.1}),
        ("no:max_tokens", [GO], {"max_tokens": 500}),
        ("no:tool_choice", [GO], {"tools": [tool("note")], "tool_choice": "auto"}),
        ("max_completion_tokens", [GO], {"max_tokens": 500}),
        ("no_tools", [user("a"), calls("c1"), result("c1"), said("x"), GO], {"tools": [tool("note")]}),
        ("no:tools", [GO], {"tools": [tool("note")]}),
        ("no_system", [SYSTEM, GO], {}),
        ("no_null", [user("a"), calls("c1"), result("c1"), said("x"), GO], {}),
        ("most_tools:2", [GO], {"tools": [tool("a"), tool("b"), tool("c")]}),
        ("no_stream", [GO], {}),
        ("ids_nine", [user("a"), calls("call_1"), result("call_1"), said("x"), GO], {"tools": [tool("note")]}),
    ],
)
async def test_what_a_server_refuses_by_name_is_left_out_once_and_for_all(
    model: ModelServer, rule: str, messages: Messages, fields: dict[str, Any]
) -> None:
    await model.strict(rule)
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go " in await answer(llm, messages, **fields)
    refused, *fine = await model.requests()
    assert refusal_for([rule], refused.body) is not None
    assert len(fine) == 2
    assert all(refusal_for([rule], record.body) is None for record in fine)


async def test_a_limit_that_has_another_name_is_sent_under_that(model: ModelServer) -> None:
    await model.strict("max_completion_tokens")
    async with adapter(model) as llm:
        await answer(llm, [GO], max_tokens=500)
    assert (await model.requests())[-1].body["max_completion_tokens"] == 500


async def test_several_refusals_are_learned_one_after_the_other(model: ModelServer) -> None:
    await model.strict("no:user", "no:stream_options", "no_tools", "max_completion_tokens", "no_system")
    async with adapter(model) as llm:
        assert "go " in await answer(llm, [SYSTEM, GO], user="u", max_tokens=9, tools=[tool("note")])
        assert len(await model.requests()) == 6
        assert "go " in await answer(llm, [SYSTEM, GO], user="u", max_tokens=9, tools=[tool("note")])
        assert len(await model.requests()) == 7


async def test_what_one_model_refuses_another_one_of_the_server_is_asked_for(model: ModelServer) -> None:
    await model.strict("no:user")
    async with adapter(model) as llm:
        await answer(llm, [GO], user="u")
        await model.strict()
        await events_of(llm, ModelRequest("other", [GO], user="u"))
    assert (await model.requests())[-1].body.get("user")


async def test_a_refusal_that_teaches_nothing_is_told_after_one_request(model: ModelServer) -> None:
    await model.script({"status": 400, "body": {"error": {"message": "The messages are odd.", "param": "messages"}}})
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await answer(llm, [GO], user="u", tools=[tool("note")])
    assert "The messages are odd." in raised.value.user_message
    assert len(await model.requests()) == 1


async def test_settings_say_beforehand_what_a_model_takes(model: ModelServer) -> None:
    options = ServerOptions(drop={"user"}, extra_body={"top_k": 4}, headers={"X-Title": "t"})
    of_model = {"fake": ServerOptions(rename={"max_tokens": "max_output"}, drop={"stream_options"})}
    async with adapter(model, options=options, model_options=of_model) as llm:
        await answer(llm, [GO], user="u", max_tokens=5)
        await events_of(llm, ModelRequest("other", [GO], user="u", max_tokens=5))
    mine, other = await model.requests()
    assert set(mine.body) == {"model", "messages", "stream", "top_k", "max_output"}
    assert set(other.body) == {"model", "messages", "stream", "top_k", "max_tokens", "stream_options"}
    assert mine.headers["x-title"] == "t"


@pytest.mark.parametrize(
    ("rules", "wanted", "taken", "requests"),
    [
        (["effort_with_tools"], None, "none", 2),
        (["effort_with_tools"], "high", "none", 2),
        (["efforts:low,medium,high"], "minimal", "low", 2),
        (["efforts:low,medium,high"], "max", "high", 2),
        (["efforts:low,medium,high"], "medium", "medium", 1),
        (["no:reasoning_effort"], "low", None, 2),
    ],
)
async def test_the_effort_of_thinking_is_what_the_model_takes_and_tools_stay(
    model: ModelServer, rules: list[str], wanted: str | None, taken: str | None, requests: int
) -> None:
    await model.strict(*rules)
    options = ServerOptions.model_validate({"reasoning_effort": wanted})
    async with adapter(model, options=options) as llm:
        for _ in range(2):
            asked = ModelRequest(model="m", messages=[user("go [[tokens=1 rate=0]]")], tools=[tool("note")])
            assert text_of(await events_of(llm, asked))
    sent = [record.body for record in await model.requests()]
    assert len(sent) == requests + 1, "it is learned once"
    assert sent[-1].get("reasoning_effort") == taken
    assert sent[-1]["tools"]


@pytest.mark.parametrize(
    ("words", "lesson"),
    [
        ("`tool_choice` is not supported", "tool_choice"),
        ("Unsupported parameter: tool_choice", "tool_choice"),
        ("tool calling is not enabled for this deployment", "tools"),
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "tools"),
        (
            "Invalid schema for function 'x': In context=('properties', 'y'), array schema missing items.",
            "schemas:bare",
        ),
        ("`x` functionDeclaration `parameters.y` schema didn't specify the schema type field.", "schemas:bare"),
        ('Grammar error: Unimplemented keys: ["not"]', "schemas:bare"),
        ("Unsupported value: 'temperature' does not support 0.1 with this model.", "temperature"),
        ('json: unknown field "stream_options"', "stream_options"),
        ("Stream options can only be defined when `stream=True`.", "stream_options"),
        (
            "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]",
            "stream_options",
        ),
        ("property 'user' is unsupported", "user"),
        ("The parameter is invalid: user", "user"),
        ('Invalid JSON payload received. Unknown name "user": Cannot find field.', "user"),
        ("Conversation roles must alternate user/assistant", None),
        ("The first message must come from the user.", None),
        ("Only user and assistant roles are supported!", "system"),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "system"),
        ("Unexpected role 'system'", "system"),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", "system"),
        ("Function calling is not enabled for models/gemma-3-27b-it", "tools"),
        ("tools param requires --jinja flag", "tools"),
        ("Function call is missing a thought_signature in functionCall parts.", "signed"),
        ("messages[2]: assistant message with tool_calls must include reasoning_content", "reasoning"),
        ("The `reasoning_content` in the thinking mode must be passed back to the API.", "reasoning"),
        ("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", "ids"),
        ("Argument not supported: session_id", "session_id"),
        ("'metadata' is only allowed when store is enabled", "metadata"),
        ("Your organization must be verified to stream this model.", "stream"),
        ("Unsupported value: 'stream' does not support true with this model.", "stream"),
        ("Streaming is not supported for this model", "stream"),
        ("This model does not support stream_options", "stream_options"),
        ("messages.1.content: Input should be a valid string", "content"),
        ("Invalid value for 'content': expected a string, got null.", "content"),
        ("Invalid 'tools': array too long. Expected an array with maximum length 2, but got 3.", "tools:2"),
        ("'tools' : maximum number of items is 2", "tools:2"),
        ("Jinja Exception: Only user, assistant, and tool roles are supported!", "system"),
        ("This model doesn't support tool use in streaming mode.", "stream"),
        ("Tool use with streaming is not supported", "stream"),
        ("ToolChoice not supported by this model", "tool_choice"),
        ("parallel_tool_calls is not supported with this model", None),
    ],
)
def test_what_a_refusal_is_about_is_learned_and_nothing_else(words: str, lesson: str | None) -> None:
    beside = {"user": "u", "temperature": 0.1, "stream_options": {}, "metadata": {}, "session_id": "s"}
    messages = [user("a"), calls("c"), result("c")]
    sent = {"tools": [tool("t")] * 3, "tool_choice": "none", "stream": True, "messages": messages, **beside}
    assert Lessons().learn(told_of({"error": {"message": words}}), 400, sent, DIALECTS["generic"]) == lesson


@pytest.mark.parametrize(
    ("status", "body", "lesson"),
    [
        (500, {"error": {"message": "System role not supported", "type": "server_error"}}, "system"),
        (
            500,
            {"error": {"code": 500, "message": "Cannot subscript null at row 23, column 40:\n {%- set a %}"}},
            "content",
        ),
        (
            500,
            {"error": {"message": "Value is not callable: null at row 49, column 79:\n (m_content.split('</think>')"}},
            "content",
        ),
        (500, {"error": {"message": "Jinja Exception: object of type 'NoneType' has no len()"}}, "content"),
        (500, {"error": {"message": "create() got an unexpected keyword argument 'user'"}}, "user"),
        (
            500,
            {"error": {"message": "Cannot pass both content and thinking in an assistant message with tool calls!"}},
            "messages:reasoning_content",
        ),
        (500, {"error": {"message": "CUDA error: out of memory, none is left for the user"}}, None),
        (500, {"error": {"message": "NoneType object has no attribute 'content'"}}, None),
        (
            422,
            {"detail": [{"loc": ["body", "messages", 2, "content"], "msg": "none is not allowed"}]},
            "content",
        ),
        (422, {"detail": [{"loc": ["body", "user", "id"], "msg": "Extra inputs are not permitted"}]}, "user"),
        (
            400,
            {
                "error": {
                    "message": "'messages.1' : for 'role:assistant' the following must be satisfied"
                    "[('messages.1' : property 'reasoning_content' is unsupported)]"
                }
            },
            "messages:reasoning_content",
        ),
    ],
)
def test_a_refusal_is_found_in_paths_in_faults_and_beside_other_words(
    status: int, body: Any, lesson: str | None
) -> None:
    call = {**calls("c"), "reasoning_content": "Hm.", "content": None}
    sent = {"user": "u", "stream": True, "messages": [SYSTEM, user("a"), call, result("c")]}
    assert Lessons().learn(told_of(body), status, sent, DIALECTS["generic"]) == lesson
