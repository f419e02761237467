"""Tools' schemas for servers that know less of JSON Schema than we do.

`inlined`: references are put in place, and `additionalProperties` is left out where it only forbids; what refers to
itself is an object at the second time. `bare`: only what nearly everybody knows is left. Arguments are checked by the
tool's own schema whatever the model was told.

A schema may come from a stranger, and forty references to two of the next are a million of millions: what is put in
place is bounded for a tool and for all of a request, in number and in depth. What is beyond that is an object.
"""

import json
from collections.abc import Mapping
from typing import Any

from sluiceway_llm.asking.dialects import Schemas

_DEFINITIONS = ("$defs", "definitions")
_NOT_FOR_MODELS = frozenset({"$schema", "$id", "$comment", *_DEFINITIONS})
_BARE = frozenset(
    {"type", "description", "properties", "required", "items", "enum", "anyOf", "nullable", "minItems", "maxItems"}
)
_MOST_NAMED = 50
_MAX_DEPTH = 90
"""Of a schema with what was put in place: a plain one has 64 (`InputSchema`)."""
_MOST_OF_A_TOOL, _MOST_OF_ALL = 1_000, 10_000
"""Schemas that are put in place, with those within them. A microsecond or two each, in an event loop."""


def fitted_tools(tools: list[dict[str, Any]] | None, level: Schemas) -> list[dict[str, Any]] | None:
    if tools is None or level == "whole":
        return tools
    fitted, left = [], _MOST_OF_ALL
    for tool in tools:
        one, put_in_place = _fitted_tool(tool, level, min(left, _MOST_OF_A_TOOL))
        fitted.append(one)
        left -= put_in_place
    return fitted


def _fitted_tool(tool: dict[str, Any], level: Schemas, most: int) -> tuple[dict[str, Any], int]:
    """And how much was put in place."""
    function = tool.get("function")
    schema = function.get("parameters") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(schema, dict):
        return tool, 0
    fitter = _Fitter(schema, level == "bare", most)
    fitted = fitter.fitted(schema, (), 0)
    return {**tool, "function": {**function, "parameters": fitted}}, fitter.put_in_place


class _Fitter:
    def __init__(self, root: Mapping[str, Any], bare: bool, most: int) -> None:
        self._root = root
        self._bare = bare
        self._most = most
        self.put_in_place = 0

    def fitted(self, schema: Any, within: tuple[str, ...], depth: int) -> Any:
        """`within`: the references that led here."""
        if not isinstance(schema, dict):
            return schema
        if depth > _MAX_DEPTH:
            return {"type": "object"}
        if within:
            if self.put_in_place >= self._most:
                return {"type": "object"}
            self.put_in_place += 1
        reference = schema.get("$ref")
        if isinstance(reference, str):
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            target = None if reference in within else self._target(reference)
            found = {"type": "object"} if target is None else self.fitted(target, (*within, reference), depth + 1)
            return {**found, **self._members(beside, within, depth)}
        if not self._bare:
            return self._members(schema, within, depth)
        simple, within = self._in_one(schema, within)
        simple = _simpler(simple)
        if "$ref" in simple and "anyOf" in schema:
            return self.fitted(simple, within, depth + 1)
        return _whole(self._members(simple, within, depth))

    def _in_one(self, schema: dict[str, Any], within: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The parts of `allOf` in one, which fewer servers know than properties."""
        parts = schema.get("allOf")
        whole = {name: value for name, value in schema.items() if name != "allOf"}
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            reference = part.get("$ref")
            if isinstance(reference, str):
                target = None if reference in within else self._target(reference)
                part = (target or {"type": "object"}) | {name: each for name, each in part.items() if name != "$ref"}
                within = (*within, reference)
            whole = _of_both(part, whole)
        return {name: value for name, value in whole.items() if name != "$ref"}, within

    def _members(self, schema: dict[str, Any], within: tuple[str, ...], depth: int) -> dict[str, Any]:
        return {
            name: self._member(name, value, within, depth + 1)
            for name, value in schema.items()
            if self._is_kept(name, value)
        }

    def _member(self, name: str, value: Any, within: tuple[str, ...], depth: int) -> Any:
        if name in ("properties", "patternProperties", "dependentSchemas") and isinstance(value, dict):
            if self._bare:
                value = {key: inner if isinstance(inner, dict) else {} for key, inner in value.items()}
            return {key: self.fitted(inner, within, depth) for key, inner in value.items()}
        if name in ("enum", "const", "default", "examples", "required", "type"):
            return value
        if isinstance(value, list):
            return [self.fitted(inner, within, depth) for inner in value]
        return self.fitted(value, within, depth)

    def _is_kept(self, name: str, value: Any) -> bool:
        if name in _NOT_FOR_MODELS or (name == "additionalProperties" and (self._bare or isinstance(value, bool))):
            return False
        return not self._bare or name in _BARE

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            return None
        found: Any = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None


def _simpler(schema: dict[str, Any]) -> dict[str, Any]:
    """The same in words that more servers know."""
    simple = dict(schema)
    if "const" in simple:
        simple.setdefault("enum", [simple["const"]])
    if "oneOf" in simple:
        simple.setdefault("anyOf", simple["oneOf"])
    if isinstance(simple.get("anyOf"), list):
        others = [one for one in simple["anyOf"] if isinstance(one, dict) and one.get("type") != "null"]
        if len(others) == 1:
            simple = {**others[0], **{name: value for name, value in simple.items() if name != "anyOf"}}
    if isinstance(simple.get("type"), list):
        kinds = [kind for kind in simple["type"] if kind != "null"]
        simple["type"] = kinds[0] if kinds else "string"
    return simple


def _of_both(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    both = {**part, **whole}
    for name, kind in (("properties", dict), ("required", list)):
        if isinstance(part.get(name), kind) and isinstance(whole.get(name), kind):
            both[name] = {**part[name], **whole[name]} if kind is dict else [*whole[name], *part[name]]
    return both


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """With what strict servers miss: a type everywhere, items of an array, properties for whatever is required. Only
    texts are enumerated; other values are said in words."""
    found = dict(schema)
    listed = found.get("enum")
    if isinstance(listed, list) and not all(isinstance(one, str) for one in listed):
        del found["enum"]
        said = f"One of {', '.join(json.dumps(one, ensure_ascii=False) for one in listed[:_MOST_NAMED])}."
        found["description"] = f"{found['description']} {said}" if found.get("description") else said
        found.setdefault("type", _kind_of(listed))
    if "anyOf" not in found and found.get("type") in (None, "null"):
        found["type"] = "object" if "properties" in found else "array" if "items" in found else "string"
    if found.get("type") == "array" and not isinstance(found.get("items"), dict):
        found["items"] = {"type": "string"}
    properties = found.get("properties")
    if isinstance(found.get("required"), list):
        found["required"] = [name for name in found["required"] if isinstance(properties, dict) and name in properties]
        if not found["required"]:
            del found["required"]
    return found


def _kind_of(values: list[Any]) -> str:
    if all(isinstance(one, bool) for one in values):
        return "boolean"
    if all(isinstance(one, int) for one in values):
        return "integer"
    return "number" if all(isinstance(one, int | float) for one in values) else "string"
