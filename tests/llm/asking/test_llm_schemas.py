"""Schemas of tools are sent so that strict servers take them, and stay small."""

import json
import time
from typing import Any

import pytest
from sluiceway_llm.asking.dialects import Schemas
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.asking.tool_schemas import fitted_tools

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter
from tests.llm.messages import GO, answer, tool

pytestmark = pytest.mark.requirement("CH-25")
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
