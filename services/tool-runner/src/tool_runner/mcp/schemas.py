"""The input schemas of MCP servers' tools: which ones are fit to be offered, and whether arguments fit them.

A schema is never followed to another document: what it refers to must stand in it. Where it does not, or goes round in
circles, arguments cannot be checked here, and the server's own check is the only one.
"""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

_MAX_MESSAGE_CHARS = 500


class UnfitSchema(Exception):
    """It cannot be offered to a model; the message says why."""


class InputSchema:
    """The schema of an object's properties. Raises UnfitSchema where it is not one."""

    def __init__(self, schema: dict[str, Any]) -> None:
        kind: type[Validator] = validator_for(schema, default=Draft202012Validator)
        if schema.get("type", "object") != "object":
            raise UnfitSchema("the input is not an object")
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise UnfitSchema(f"the input schema is not valid at {error.json_path}") from error
        except RecursionError as error:
            raise UnfitSchema("the input schema is too deep") from error
        self.offered = {"properties": {}, **schema, "type": "object"}
        self._validator = kind(self.offered, registry=Registry())

    def problem(self, arguments: Any) -> str | None:
        """What is wrong with these arguments, as a sentence for the model; None: nothing."""
        try:
            error = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError):
            return None
        return None if error is None else f"{error.json_path}: {error.message}"[:_MAX_MESSAGE_CHARS]
