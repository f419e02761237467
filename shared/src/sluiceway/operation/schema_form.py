"""What a schema of arguments has to look like: whether each keyword's value is of its kind.

By hand: validating a schema of 30 KB by its meta-schema takes half a second.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# What is in these is schemas by name.
BY_NAME = frozenset({"properties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset(
    {"additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0 and float(value).is_integer()


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_types(value: Any) -> bool:
    return value in _TYPES if isinstance(value, str) else _are_names(value) and bool(value) and _TYPES.issuperset(value)


def _is_limit(value: Any) -> bool:
    return _is_number(value) or isinstance(value, bool)  # true: of draft 4, where it stands beside the limit


_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys([*BY_NAME, "patternProperties"], lambda value: isinstance(value, dict)),
    **dict.fromkeys([*_LISTS, "enum"], lambda value: isinstance(value, list)),
    **dict.fromkeys(["pattern", *REFERENCES, "title", "description", "format"], lambda value: isinstance(value, str)),
    **dict.fromkeys(["minimum", "maximum"], _is_number),
    **dict.fromkeys(["exclusiveMinimum", "exclusiveMaximum"], _is_limit),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"], _is_size),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "required": lambda value: _are_names(value) or isinstance(value, bool),  # a boolean: of draft 3
    "type": _are_types,
    "uniqueItems": lambda value: isinstance(value, bool),
}


def fault_of(schema: Any, where: str) -> str | None:
    """Where a schema is none, as a path from `where` on; None: it is one. It must not be deeper than Python can go."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return where
    for name, value in schema.items():
        at = f"{where}.{name}"
        if name in _FORMS and not _FORMS[name](value):
            return at
        for place, inner in _schemas_in(name, value):
            if (fault := fault_of(inner, at + place)) is not None:
                return fault
    return None


def _schemas_in(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas that a keyword's value consists of, with their places."""
    if name in BY_NAME or name == "patternProperties":
        # A member of `dependencies` may be a list of names.
        yield from ((f".{key}", each) for key, each in value.items() if not isinstance(each, list))
    elif name in _LISTS or (name == "items" and isinstance(value, list)):
        yield from ((f"[{place}]", each) for place, each in enumerate(value))
    elif name in _SCHEMAS:
        yield "", value
