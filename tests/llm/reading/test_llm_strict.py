"""Servers that refuse what others take: the history is made to fit, and what is refused all the same is learned."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluiceway_llm.asking.dialects import DIALECTS, Schemas
from sluiceway_llm.asking.history import PROVIDER, Wants, fitted
from sluiceway_llm.asking.lessons import Lessons
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.asking.tool_schemas import fitted_tools
from sluiceway_llm.calling.model import Model
from sluiceway_llm.error_words import told_of
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelRequest

from harness.model_server import ModelServer
from harness.model_server.strictness import refusal_for
from tests.llm.llm_client import adapter, events_of, text_of

pytestmark = pytest.mark.requirement("CH-25")

Messages = list[dict[str, Any]]
SYSTEM = {"role": "system", "content": "Be brief."}
GO = {"role": "user", "content": "go"}
NESTED = {
    "type": "object",
    "properties": {"who": {"$ref": "#/$defs/Person"}, "n": {"type": ["integer", "null"], "minimum": 1}},
    "required": ["who"],
    "additionalProperties": False,
    "$defs": {
        "Person": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "knows": {"type": "array", "items": {"$ref": "#/$defs/Person"}}},
            "additionalProperties": False,
        }
    },
}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str, name: str = "note", by: str | None = None, **given_back: Any) -> dict[str, Any]:
    """`by`: who made the calls; None: nothing says so."""
    made: Messages = [
        {"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}}
        | ({} if by is None else {PROVIDER: {"by": by, "fields": given_back.get("call", {})}})
        for one in ids
    ]
    of_message = {"by": by, "fields": given_back.get("message", {}), "reasoning_field": given_back.get("field", "")}
    of_message["reasoning"] = given_back.get("reasoning", "")
    return {"role": "assistant", "content": None, "tool_calls": made} | ({} if by is None else {PROVIDER: of_message})


def result(call_id: str, text: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


async def answer(llm: Model, messages: Messages, **fields: Any) -> str:
    return text_of(await events_of(llm, ModelRequest("fake", messages, **fields)))


STRICT = ("alternate", "tools_with_calls", "pairs", "names", "filled", "ids_forty")
HISTORIES: dict[str, Messages] = {
    "a turn that failed": [SYSTEM, user("a"), GO],
    "two that failed": [user("a"), user("b"), GO],
    "a window that begins with an answer": [SYSTEM, said("x"), user("a"), said("y"), GO],
    "a window that begins with a result": [result("c"), said("x"), GO],
    "an answer in two messages": [user("a"), said("x"), said("y"), GO],
    "a turn that failed behind its tools": [user("a"), calls("c1"), result("c1"), GO],
    "a call without its result": [user("a"), calls("c1", "c2"), result("c2"), said("x"), GO],
    "a result without its call": [user("a"), said("x"), result("c9"), GO],
    "an answer that is empty": [user("a"), said(""), GO],
    "a result that is empty": [user("a"), calls("c1"), result("c1", ""), said("x"), GO],
    "a name that is none": [user("a"), calls("c1", name="functions.note<|channel|>json"), result("c1"), said("x"), GO],
    "a name that is nothing": [user("a"), calls("c1", name="…"), result("c1"), said("x"), GO],
    "a long id": [user("a"), calls("i" * 60), result("i" * 60), said("x"), GO],
    "ids that are the same": [user("a"), calls("c"), result("c"), said("x"), user("b"), calls("c"), result("c"), GO],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
async def test_a_history_of_whatever_shape_fits_a_strict_server_at_once(model: ModelServer, history: Messages) -> None:
    await model.strict(*STRICT)
    async with adapter(model) as llm:
        assert (await answer(llm, history)).startswith("go ")
    assert len(await model.requests()) == 1


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


async def test_tools_are_there_where_calls_are_also_when_none_is_offered(model: ModelServer) -> None:
    history = [user("a"), calls("c1"), result("c1"), said("x"), GO]
    async with adapter(model) as llm:
        await answer(llm, history)
        await answer(llm, [GO])
    with_calls, without = await model.requests()
    assert [one["function"]["name"] for one in with_calls.body["tools"]] == ["note"]
    assert with_calls.body["tool_choice"] == "none"
    assert "tools" not in without.body


async def test_for_models_without_tools_calls_are_told_as_text(model: ModelServer) -> None:
    async with adapter(model) as llm:
        await answer(llm, [user("a"), calls("c1"), result("c1", "42"), GO], tool_messages=False)
    [record] = await model.requests()
    assert record.body["messages"] == [user("a\n\n[Result of the tool note: 42]\n\ngo")]
    assert "tools" not in record.body


@pytest.mark.parametrize("dialect", ["generic", "gemini"])
async def test_schemas_are_sent_without_references_and_prohibitions(model: ModelServer, dialect: Any) -> None:
    await model.strict("plain_schemas")
    async with adapter(model, options=ServerOptions(dialect=dialect)) as llm:
        await answer(llm, [GO], tools=[tool("note", NESTED)])
    [record] = await model.requests()
    sent = record.body["tools"][0]["function"]["parameters"]
    person = sent["properties"]["who"]
    assert person["properties"]["name"] == {"type": "string"}
    assert person["properties"]["knows"]["items"] == {"type": "object"}
    assert sent["required"] == ["who"]
    assert sent["properties"]["n"] == (
        {"type": "integer"} if dialect == "gemini" else {"type": ["integer", "null"], "minimum": 1}
    )


async def test_a_server_that_says_so_later_gets_simpler_schemas_from_then_on(model: ModelServer) -> None:
    await model.strict("plain_schemas")
    async with adapter(model, options=ServerOptions(dialect="openai")) as llm:
        for _ in range(2):
            await answer(llm, [GO], tools=[tool("note", NESTED)])
    assert ["$defs" in str(record.body) for record in await model.requests()] == [True, False, False]


def test_a_property_that_is_called_like_a_word_of_the_schema_language_stays() -> None:
    names = ("$ref", "additionalProperties", "title", "default", "definitions")
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    for level in ("inlined", "bare"):
        fitting = fitted_tools([tool("note", schema)], level)
        assert fitting is not None
        assert set(fitting[0]["function"]["parameters"]["properties"]) == set(names)


# What goes back


def sent_back(message: dict[str, Any], **wants: Any) -> dict[str, Any]:
    ids = [call["id"] for call in message["tool_calls"]]
    return fitted([user("a"), message, *(result(one) for one in ids)], Wants(**wants))[1]


DETAILS = [{"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.text", "text": "a", "signature": None}]
SIGNED = {"id": "own_1", "extra_content": {"google": {"thought_signature": "c2ln"}}}


def test_what_a_server_gave_goes_back_to_it_unchanged() -> None:
    given_by_it = calls(
        "c1", by="it", call=SIGNED, message={"reasoning_opaque": "o"}, field="reasoning_content", reasoning="Hm."
    )
    message = sent_back(given_by_it, by="it")
    assert (message["reasoning_content"], message["reasoning_opaque"]) == ("Hm.", "o")
    assert message["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    assert message["tool_calls"][0]["id"] == "own_1"
    assert PROVIDER not in str(message)
    detailed = sent_back(calls("c1", by="it", message={"reasoning_details": DETAILS}, field="reasoning"), by="it")
    assert detailed["reasoning_details"] == DETAILS
    assert "reasoning" not in detailed


@pytest.mark.parametrize("wants", [{"by": "another"}, {"by": "it", "returns": frozenset()}])
def test_nobody_else_gets_it(wants: dict[str, Any]) -> None:
    given_by_it = calls("c1", by="it", call=SIGNED, message={"reasoning_details": DETAILS}, field="reasoning_content")
    message = sent_back(given_by_it, **wants)
    assert set(message) == {"role", "content", "tool_calls"}
    assert set(message["tool_calls"][0]) == {"id", "type", "function"}


def test_calls_that_another_made_have_ids_that_every_server_takes() -> None:
    message = sent_back(calls("call_made_by_us_4711", "x", by=""), by="it")
    ids = [call["id"] for call in message["tool_calls"]]
    assert all(len(one) == 9 and one.isalnum() for one in ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("refused", ["reasoning_content", "reasoning_details"])
async def test_a_server_that_does_not_take_back_what_it_gave_does_not_get_it_again(
    model: ModelServer, refused: str
) -> None:
    await model.strict(f"no_back:{refused}")
    async with adapter(model) as llm:
        by = llm.manners_of("fake").by
        made = calls("c1", by=by, message={"reasoning_details": DETAILS}, field="reasoning_content", reasoning="Hm.")
        if refused == "reasoning_content":
            made = calls("c1", by=by, field="reasoning_content", reasoning="Hm.")
        for _ in range(2):
            assert "go " in await answer(llm, [user("a"), made, result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3


async def test_a_server_that_wants_thoughts_with_every_call_gets_them_with_those_of_others_too(
    model: ModelServer,
) -> None:
    await model.strict("back:reasoning_content")
    async with adapter(model) as llm:
        for _ in range(2):
            made = calls("c1", by="another", reasoning="Hm.")
            assert "go " in await answer(llm, [user("a"), made, result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3
    assert (await model.requests())[-1].body["messages"][1]["reasoning_content"] == "Hm."


def test_thoughts_in_tags_are_not_sent_back() -> None:
    sent = fitted([user("a"), said("<think>Hm.</think>\n\nx"), user("b"), said("<think>cut off"), GO], Wants())
    assert [one["content"] for one in sent] == ["a", "x", "b", "(The answer was not finished.)", "go"]


@pytest.mark.parametrize("turns", [True, False])
def test_behind_results_the_assistant_is_not_made_to_say_what_small_models_say_again(turns: bool) -> None:
    history = [user("a"), calls("c1"), result("c1", "It runs."), user("b"), said("x"), GO]
    told = [one["content"] for one in fitted(history, Wants(turns=turns)) if one["role"] == "assistant"]
    assert [text for text in told if text] == ["x"]


def test_a_question_behind_results_is_told_with_them_only_where_it_has_to_be() -> None:
    history = [user("a"), calls("c1"), result("c1", "42"), GO]
    assert fitted(history, Wants(turns=True)) == [user("a\n\n[Result of the tool note: 42]\n\ngo")]
    assert [one["role"] for one in fitted(history, Wants())] == ["user", "assistant", "tool", "user"]


async def test_that_a_question_may_not_follow_results_is_learned(model: ModelServer) -> None:
    await model.strict("no_user_after_tool")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go" in await answer(llm, [user("a"), calls("c1"), result("c1"), GO])
    assert len(await model.requests()) == 3


# Whatever there is

_text = st.sampled_from(["", " ", "a", "<think>x</think>b", "\n"])
_ids = st.sampled_from(["a", "b", "", "i" * 60, "x y", "call_1"])
_message = st.one_of(
    st.builds(user, _text),
    st.builds(said, _text),
    st.builds(lambda text: {"role": "system", "content": text}, _text),
    st.builds(result, _ids, _text),
    st.builds(
        lambda ids, name, by: calls(*ids, name=name, by=by),
        st.lists(_ids, min_size=1, max_size=3),
        st.sampled_from(["note", "a.b", "ü", "x" * 80]),
        st.sampled_from([None, "it", "other"]),
    ),
)


@settings(deadline=None)
@given(messages=st.lists(_message, max_size=12), by=st.sampled_from(["it", ""]))
def test_any_history_fits_every_strict_server_and_fits_it_still(messages: Messages, by: str) -> None:
    sent = fitted(messages, Wants(by=by))
    body = {"messages": sent, "tools": [tool("note")], "model": "fake"}
    assert refusal_for([*STRICT], body) is None, sent
    assert refusal_for(["ids_nine"], {"messages": fitted(messages, Wants(by=by, nine_ids=True))}) is None
    assert fitted(sent, Wants(by=by)) == sent
    plain = fitted(messages, Wants(by=by, tools=False, system=False))
    assert refusal_for(["alternate", "no_tools", "no_system", "filled"], {"messages": plain, "model": "m"}) is None


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


def doubling(levels: int) -> dict[str, Any]:
    defs = {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(levels)}
    return {
        "type": "object",
        "properties": {"text": {"$ref": "#/$defs/0"}},
        "$defs": defs | {str(levels): {"type": "string"}},
    }


def many_of_many(count: int) -> dict[str, Any]:
    big = {"type": "object", "properties": {str(n): {"type": "string"} for n in range(count)}}
    return {
        "type": "object",
        "properties": {str(n): {"$ref": "#/$defs/big"} for n in range(count)},
        "$defs": {"big": big},
    }


def deep(levels: int) -> dict[str, Any]:
    def within(schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(60):
            schema = {"items": schema}
        return schema

    defs = {str(n): within({"$ref": f"#/$defs/{n + 1}"}) for n in range(levels)}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/0"}}, "$defs": defs | {str(levels): {}}}


def of_itself(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {str(n): {"allOf": [{"$ref": "#"}, {}]} for n in range(count)}}


@pytest.mark.requirement("CH-24")
@pytest.mark.parametrize("level", ["inlined", "bare"])
@pytest.mark.parametrize("schema", [doubling(40), doubling(400), many_of_many(400), deep(40), of_itself(9)])
def test_a_schema_that_wants_to_grow_stays_small_and_so_do_many(schema: dict[str, Any], level: Schemas) -> None:
    tools = [tool(f"t{n}", schema) for n in range(64)]
    began = time.process_time()
    fitted = fitted_tools(tools, level)
    assert time.process_time() - began < 1
    assert fitted is not None
    assert len(json.dumps(fitted)) < 64 * len(json.dumps(schema)) + 2_000_000
    assert len(json.dumps(fitted[0])) < 2 * len(json.dumps(schema)) + 60_000
    assert [one["function"]["name"] for one in fitted] == [one["function"]["name"] for one in tools]


def test_references_are_put_in_place_as_ever() -> None:
    fitted = fitted_tools([tool("t", NESTED)], "inlined")
    assert fitted is not None
    who = fitted[0]["function"]["parameters"]["properties"]["who"]
    assert who["properties"]["name"] == {"type": "string"}
    assert who["properties"]["knows"] == {"type": "array", "items": {"type": "object"}}


ODD = {
    "type": "object",
    "properties": {
        "anything": {},
        "true": True,
        "described": {"description": "x"},
        "tags": {"type": "array"},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}]},
        "level": {"type": "integer", "enum": [1, 2, 3], "description": "How high."},
        "number": {"const": 5},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "nothing": {"type": "null"},
        "person": {"allOf": [{"$ref": "#/$defs/Person"}], "description": "Who."},
        "nobody": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]},
        "again": {"allOf": [{"$ref": "#"}, {"$ref": "#/$defs/Person"}]},
        "both": {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {}}}]},
    },
    "required": ["tags", "gone"],
    "$defs": {"Person": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def faults(schema: Any, place: str = "$") -> list[str]:
    """What Gemini, and OpenAI's validator, refuse."""
    found = []
    if "anyOf" not in schema and not isinstance(schema.get("type"), str):
        found.append(f"{place}: schema must have a 'type' key")
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        found.append(f"{place}: array schema missing items")
    if not all(isinstance(one, str) for one in schema.get("enum", ())):
        found.append(f"{place}.enum: only allowed for STRING type")
    found += [
        f"{place}: {name} is not defined" for name in schema.get("required", ()) if name not in schema["properties"]
    ]
    for name, inner in schema.get("properties", {}).items():
        found += faults(inner, f"{place}.{name}")
    for inner in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]:
        found += faults(inner, f"{place}[]")
    return found


@pytest.mark.parametrize("schema", [ODD, NESTED, {"type": "object"}, {}, {"type": "object", "properties": {"a": ODD}}])
def test_a_bare_schema_has_all_that_strict_servers_want(schema: dict[str, Any]) -> None:
    fitted = fitted_tools([tool("t", schema)], "bare")
    assert fitted is not None
    bare = fitted[0]["function"]["parameters"]
    assert faults(bare) == []
    assert fitted_tools([tool("t", bare)], "bare") == fitted
    if schema is ODD:
        told = bare["properties"]
        assert told["level"] == {"type": "integer", "description": "How high. One of 1, 2, 3."}
        assert told["maybe"] == {"type": "string"}
        assert told["person"] == {**PERSON, "description": "Who."}
        assert told["nobody"] == PERSON
        assert told["both"]["properties"].keys() == {"a", "b"}
        assert bare["required"] == ["tags"]


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
def test_a_refusal_is_found_in_paths_in_faults_and_beside_other_words(status: int, body: Any, lesson: str) -> None:
    call = {**calls("c"), "reasoning_content": "Hm.", "content": None}
    sent = {"user": "u", "stream": True, "messages": [SYSTEM, user("a"), call, result("c")]}
    assert Lessons().learn(told_of(body), status, sent, DIALECTS["generic"]) == lesson


@pytest.mark.parametrize("history", [[user("a"), calls("c1"), result("c1"), said("x"), GO], [user("a"), said("x"), GO]])
async def test_a_server_that_wants_thoughts_with_all_that_was_said_gets_them(
    model: ModelServer, history: Messages
) -> None:
    await model.strict("thoughts_everywhere")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go " in await answer(llm, history)
    told = (await model.requests())[-1].body["messages"]
    assert all(one["reasoning_content"] for one in told if one["role"] == "assistant")


async def test_calls_that_a_server_behind_a_proxy_did_not_sign_are_marked_once_it_says_so(model: ModelServer) -> None:
    await model.strict("signed")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go " in await answer(llm, [user("a"), calls("c1", by="another"), result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": ', '{"arguments": "{\\"a\\": "}'),
        ("", "{}"),
        ("null", "{}"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_arguments_are_an_object_whatever_is_stored(arguments: Any, sent: str) -> None:
    message = calls("c1")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    assert sent_back(message)["tool_calls"][0]["function"]["arguments"] == sent
