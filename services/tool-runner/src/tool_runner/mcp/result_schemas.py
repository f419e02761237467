"""What a server's tools say that they answer, checked here: the library matches patterns with Python's engine, in the
event loop, and `^(a+)+$` held the whole runner for ever.

Guarantees: as those of `InputSchema`. A schema that is not fit for it checks nothing.
"""

from collections.abc import Mapping
from typing import Any

from mcp import types
from sluiceway.operation.input_schema import InputSchema, UnfitSchema


class ResultSchemas:
    """`schemas`: by the server's names of its tools."""

    def __init__(self, schemas: Mapping[str, Any] | None = None) -> None:
        self._schemas = dict(schemas or {})
        self._read: dict[str, InputSchema | None] = {}

    def check(self, tool: str, result: types.CallToolResult) -> None:
        """Raises ValueError: a result that went well is not what its tool has said."""
        if result.is_error or tool not in self._schemas:
            return
        if result.structured_content is None and "structured_content" not in result.model_fields_set:
            raise ValueError("it has no structured content")
        if tool not in self._read:
            self._read[tool] = _read(self._schemas[tool])
        schema = self._read[tool]
        if schema is not None and schema.problem(result.structured_content) is not None:
            raise ValueError("its structured content does not fit the schema")


def _read(schema: Any) -> InputSchema | None:
    try:
        return InputSchema(schema)
    except (UnfitSchema, TypeError, ValueError):
        return None
