"""A tool call."""

from datetime import datetime
from typing import Any

from pydantic import Field
from sluiceway.store.records import Operation, OperationStatus

from gateway.api.models.wire import Wire


class OperationSummary(Wire):
    """A tool call, without what it answered."""

    operation_id: str
    tool_call_id: str
    tool_name: str
    status: OperationStatus
    attempt: int = Field(description="how often a tool runner has begun it")
    error: dict[str, Any] | None
    deadline_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def fields_of(cls, operation: Operation) -> dict[str, Any]:
        """What a view shows of the operation itself."""
        known = {name: getattr(operation, name) for name in cls.model_fields if hasattr(operation, name)}
        return {"operation_id": operation.id, **known}

    @classmethod
    def summary_of(cls, operation: Operation) -> "OperationSummary":
        return cls(**cls.fields_of(operation))


class OperationView(OperationSummary):
    """A tool call. `output` is its whole result, also where the conversation has a shortened one."""

    task_id: str
    session_id: str
    output: Any

    @classmethod
    def of(cls, operation: Operation, output: Any) -> "OperationView":
        return cls(output=output, **cls.fields_of(operation))
