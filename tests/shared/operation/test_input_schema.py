"""Schemas of tools, also of strangers: what is refused, what is checked, and that neither ever takes long."""

import time
from typing import Any

import pytest
from sluiceway.operation.input_schema import CHECK_SECONDS, MAX_SCHEMA_BYTES, InputSchema, UnfitSchema

# Of a loaded machine; without a bound these would take hours.
SECONDS = 20 * CHECK_SECONDS


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


DOUBLING = of(text={"$ref": "#/$defs/0"}) | {
    "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {"type": "string"}}
}


@pytest.mark.requirement("CH-8")
@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (of(a={"$ref": "http://127.0.0.1:9/schema"}), "another document"),
        (of(a={"items": {"$dynamicRef": "other.json#x"}}), "another document"),
        (of(a=nested(1000)), "too deep"),
        (of(a={"enum": ["x" * MAX_SCHEMA_BYTES]}), "bytes"),
        ({"type": "string"}, "not an object"),
        ({"type": "object", "properties": ["a"]}, "$.properties"),
        (of(a={"type": "nonsense"}), "$.properties.a.type"),
        (of(a={"type": "string", "minLength": float("inf")}), "$.properties.a.minLength"),
        (of(a={"anyOf": [{"type": "string"}, "text"]}), "$.properties.a.anyOf[1]"),
        (of() | {"required": "a"}, "$.required"),
    ],
)
def test_what_cannot_be_offered_is_refused_with_the_reason(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(UnfitSchema) as refused:
        InputSchema(schema)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "arguments", "problem"),
    [
        (of(a={"type": "integer"}), {"a": "one"}, "a: 'one' is not of type"),
        (of(a={"type": ["string", "null"], "minLength": 2}), {"a": "b"}, "too short"),
        (of(a={"type": "string", "pattern": "^[a-z]+$"}), {"a": "UP"}, "does not match"),
        (of(a={"uniqueItems": True}), {"a": [{"b": 1}, {"b": 1}]}, "not all different"),
        (of() | {"required": ["a"]}, {}, "'a' is a required property"),
        (of(a={"$ref": "#"}), {"a": {"a": 1}}, "a.a: "),
        (of(**{"$ref": {"type": "string"}}), {"$ref": 1}, "not of type"),
        (of() | {"additionalProperties": False}, {"b": 1}, "'b' was unexpected"),
        (of(a={"$schema": "http://json-schema.org/draft-04/schema#", "pattern": "^(a+)+$"}), {"a": "!"}, "match"),
    ],
)
def test_arguments_that_do_not_fit_are_told(schema: dict[str, Any], arguments: dict[str, Any], problem: str) -> None:
    assert problem in (InputSchema(schema).problem(arguments) or "")


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of(a={"type": "string", "pattern": "^(?=x)x$"}), {"a": "no look-ahead here"}),
        (of() | {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 50 + "!": 1}),
        (of(a={"$ref": "#/nowhere"}), {"a": 1}),
        (of(a={"$ref": "#/properties/a"}), {"a": 1}),
        (DOUBLING, {"text": 1}),
    ],
    ids=["a pattern of another kind", "names by pattern", "no such place", "in a circle", "doubling"],
)
def test_what_cannot_be_checked_here_is_left_to_the_tool(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert InputSchema(schema).problem(arguments) is None


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of(a={"type": "string", "pattern": "^(a+)+$"}), {"a": "a" * 100_000 + "!"}),
        (of(a={"uniqueItems": True}), {"a": [{"n": number} for number in range(200_000)]}),
        (of(a={"patternProperties": {"^(a+)+$": {"type": "string"}}}), {"a": {"a" * 40 + "!": 1}}),
        (of(a={"items": {"type": "integer"}}), {"a": ["x"] * 1_000_000}),
        (of(a={"pattern": "x*" * 10_000}), {"a": "y" * 1_000_000}),
        (DOUBLING, {"text": 1}),
        (of(**{f"p{n}": {"type": "string", "description": "abc"} for n in range(500)}), {"p1": 1}),
    ],
    ids=[
        "quantifiers in each other",
        "many objects",
        "patterns of names",
        "many mistakes",
        "a long pattern",
        "doubling",
        "many properties",
    ],
)
def test_neither_reading_a_schema_nor_a_check_takes_long(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    began = time.process_time()
    InputSchema(schema).problem(arguments)
    assert time.process_time() - began < SECONDS


def test_what_a_database_refuses_is_not_offered() -> None:
    offered = InputSchema(of(a={"description": "nul \x00 half \ud83d"})).offered
    assert offered["properties"]["a"]["description"] == "nul \ufffd half \ufffd"
