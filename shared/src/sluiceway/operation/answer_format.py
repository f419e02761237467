"""The form that an answer is asked to have: a JSON object that fits a schema.

A schema comes from whoever calls the gateway. It is taken on the conditions of the schemas of tools (input_schema.py):
nothing is fetched, size, depth and time are bounded, patterns are matched in linear time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sluiceway.operation.input_schema import InputSchema, UnfitSchema, lost_reference
from sluiceway.wire.json_values import clean_json

__all__ = ["AnswerFormat", "UnfitSchema"]


_MAX_REFERENCE_CHARS = 200


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """`name`: what the model's server calls it. `strict`: that server shall allow nothing else, where it can."""

    name: str
    schema: Mapping[str, Any]
    strict: bool = False

    def __post_init__(self) -> None:
        """Raises UnfitSchema."""
        InputSchema(self.schema)

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Self | None:
        return cls(stored["name"], stored["schema"], stored["strict"]) if stored else None

    @property
    def stored(self) -> dict[str, Any]:
        """Raises UnfitSchema where a part of an answer could not be checked. One that is stored already is read."""
        if (lost := lost_reference(self.schema)) is not None:
            raise UnfitSchema(f"it has nothing at {lost[:_MAX_REFERENCE_CHARS]}, which it refers to")
        kept: dict[str, Any] = clean_json({"name": self.name, "schema": dict(self.schema), "strict": self.strict})
        return kept

    def problem(self, answer: str) -> str | None:
        """Why the answer is none of this form, as a sentence for the model; None: it is one."""
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError) as error:
            place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
            return f"it is not JSON{place}: it must be one JSON object, without anything before or behind it"
        if not isinstance(value, dict):
            return "it is no JSON object"
        return InputSchema(self.schema).problem(value)
