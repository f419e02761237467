"""The schemas of tools' arguments: which ones are fit to be offered, and whether arguments fit them.

A schema may come from a stranger, and is checked in an event loop. So:

Guarantees
- Nothing is fetched, whatever a schema refers to. One that refers to another document is refused.
- Patterns are matched by RE2, in time that is linear in the text. One that RE2 does not know (a look-ahead, a
  back-reference), and names that must match a pattern, are not checked here.
- A schema has at most MAX_SCHEMA_BYTES and MAX_SCHEMA_DEPTH. A check ends within about CHECK_SECONDS.
What is not checked here is left to the tool, or its server, which has the last word anyway.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import re2
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from sluiceway.operation.schema_form import BY_NAME, REFERENCES, fault_of
from sluiceway.process.logs import get_logger
from sluiceway.wire.json_values import clean_json

MAX_SCHEMA_BYTES = 32 * 1024
MAX_SCHEMA_DEPTH = 64
CHECK_SECONDS = 0.1
_MAX_MESSAGE_CHARS = 500
_PLACE_DIGITS = 7
_MAX_PATTERN_BYTES = 256 * 1024  # of memory, for one compiled pattern

# What is in these is data, and no schema.
_DATA = frozenset({"const", "enum", "default", "example", "examples"})
# Names that must match are matched by jsonschema with Python's engine, so these, and what depends on them, stay out.
_BY_PATTERN = frozenset({"patternProperties", "additionalProperties", "unevaluatedProperties"})

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class UnfitSchema(Exception):
    """It cannot be offered to a model; the message says why."""


class _TooMuchWork(Exception):
    """The check takes longer than it may."""


_until: ContextVar[float] = ContextVar("schema_check_until")


class InputSchema:
    """The schema of an object's properties. `offered`: as models get it. Raises UnfitSchema where it is not one."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        if _depth(schema) > MAX_SCHEMA_DEPTH:
            raise UnfitSchema("the input schema is too deep")
        schema = clean_json(dict(schema))
        if schema.get("type", "object") != "object":
            raise UnfitSchema("the input is not an object")
        size = len(json.dumps(schema, ensure_ascii=False).encode(errors="replace"))
        if size > MAX_SCHEMA_BYTES:
            raise UnfitSchema(f"the input schema has {size} bytes, and at most {MAX_SCHEMA_BYTES} are taken")
        if (fault := fault_of(schema, "$")) is not None:
            raise UnfitSchema(f"the input schema is not valid at {fault}"[:_MAX_MESSAGE_CHARS])
        dialect = schema.get("$schema")
        kind = validator_for({"$schema": dialect} if isinstance(dialect, str) else {}, default=Draft202012Validator)
        self.offered: dict[str, Any] = {"properties": {}, **schema, "type": "object"}
        self._validator = _bounded(kind)(_checkable(self.offered), registry=Registry())

    def problem(self, arguments: Any) -> str | None:
        """What is wrong with these arguments, as a sentence for the model; None: nothing, as far as can be told."""
        token = _until.set(time.monotonic() + CHECK_SECONDS)
        try:
            error = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, _TooMuchWork):
            return None
        except Exception as error:  # noqa: BLE001 - a schema may have odd members that no keyword of ours expects
            get_logger().warning("arguments_not_checked", reason=type(error).__name__)
            return None
        finally:
            _until.reset(token)
        if error is None:
            return None
        place = error.json_path.removeprefix("$").removeprefix(".")
        return (f"{place}: {error.message}" if place else str(error.message))[:_MAX_MESSAGE_CHARS]


def lost_reference(schema: Mapping[str, Any]) -> str | None:
    """One that points to nothing in this schema, so that what it is for would not be checked; None: none does."""
    for reference in _references_in(dict(schema)):
        found: Any = schema
        for name in reference.split("/")[1:]:
            found = _member(found, unquote(name).replace("~1", "/").replace("~0", "~"))
        if found is None:
            return reference
    return None


def _member(value: Any, name: str) -> Any:
    if isinstance(value, list):
        place = int(name) if name.isascii() and name.isdecimal() and len(name) < _PLACE_DIGITS else len(value)
        return value[place] if place < len(value) else None
    return value.get(name) if isinstance(value, Mapping) else None


def _references_in(schema: Any) -> Iterator[str]:
    """Its pointers. Of a part with an `$id` of its own they are none of the whole."""
    if isinstance(schema, list):
        for each in schema:
            yield from _references_in(each)
    if not isinstance(schema, dict) or "$id" in schema:
        return
    for name, value in schema.items():
        if name == "$ref" and isinstance(value, str) and value.startswith("#/"):
            yield value
        elif name in BY_NAME and isinstance(value, dict):
            yield from _references_in(list(value.values()))
        elif name not in _DATA:
            yield from _references_in(value)


def _depth(value: Any) -> int:
    """How many containers are within each other; no more than a few beyond the limit are looked at."""
    depth, level = 0, [value]
    while level and depth <= MAX_SCHEMA_DEPTH:
        inner = (one.values() if isinstance(one, Mapping) else one for one in level if isinstance(one, Mapping | list))
        level = [each for values in inner for each in values if isinstance(each, Mapping | list)]
        depth += 1
    return depth


def _checkable(schema: Any) -> Any:
    """The schema without what cannot be checked safely. Raises UnfitSchema where it refers to another document."""
    if isinstance(schema, list):
        return [_checkable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    for name in REFERENCES:
        if isinstance(schema.get(name), str) and not schema[name].startswith("#"):
            raise UnfitSchema("the input schema refers to another document")
    # A dialect of its own, within a schema, would bring a validator of its own.
    left_out = {"$schema", *(_BY_PATTERN if "patternProperties" in schema else ())}
    return {name: _checkable_member(name, value) for name, value in schema.items() if name not in left_out}


def _checkable_member(name: str, value: Any) -> Any:
    if name in _DATA:
        return value
    if name in BY_NAME and isinstance(value, dict):
        return {key: _checkable(each) for key, each in value.items()}
    return _checkable(value)


@lru_cache
def _bounded(kind: type[Validator]) -> type[Validator]:
    """The validator of a dialect, whose keywords look at the clock."""
    keywords: dict[str, Keyword] = {**kind.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique_items}
    timed = {name: _timed(keyword) for name, keyword in keywords.items()}
    bounded: type[Validator] = extend(kind, timed)  # type: ignore[no-untyped-call]
    return bounded


def _timed(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _look_at_the_clock()
        return keyword(validator, value, instance, schema)

    return check


def _look_at_the_clock() -> None:
    if time.monotonic() > _until.get():
        raise _TooMuchWork


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    pattern = _compiled(value) if isinstance(instance, str) else None
    if pattern is not None and not pattern.search(instance.encode(errors="replace").decode()):
        yield ValidationError(f"{instance[:_MAX_MESSAGE_CHARS]!r} does not match {value!r}")


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """By their JSON: comparing each with each takes the square of the time."""
    if value is True and isinstance(instance, list):
        texts: set[str] = set()
        for each in instance:
            _look_at_the_clock()
            texts.add(json.dumps(each, sort_keys=True))
        if len(texts) < len(instance):
            yield ValidationError("the elements are not all different")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    """None: RE2 does not know it, or it takes too much memory."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError):
        return None
