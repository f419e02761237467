"""The model's tool calls: from fragments to chunks, and from whole calls to operations.

Guarantees: whatever a model sends as a call becomes either an operation that a runner can be given, or an error that
goes back to the model. The ids of calls are unique within a message, also where a server counts them from 0 each time.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sluiceway.ids import is_client_id, new_approval_id, new_operation_id, new_tool_call_id
from sluiceway.operation.input_schema import InputSchema, UnfitSchema
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import OperationStatus
from sluiceway.wire.events import (
    Event,
    ToolApprovalRequest,
    ToolInputAvailable,
    ToolInputDelta,
    ToolInputError,
    ToolInputStart,
)
from sluiceway.wire.jobs import OperationError
from sluiceway.wire.json_values import clean_json
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.model_events import ToolCallDelta
from sluiceway_llm.reading.loose_json import object_in

_LONGEST_NAME_CHARS = 64
# Each is looked at some ten times on its way, all in one go: 20,000 made other turns wait for 2 s.
_MOST_CONTAINERS = 5000
_SHOWN_ARGUMENTS_CHARS = 1000
CUT = "OUTPUT_CUT"
_CUT_MESSAGE = (
    "The answer reached its limit before the calls were whole, so none was run. Make shorter calls, one at a time."
)
# Of an operation that failed before it began; nothing waits for it.
_NO_DEADLINE_SECONDS = 60.0
_NO_QUEUE = ""


@dataclass(slots=True)
class AskedCall:
    """A call as the model made it. `arguments` is JSON when it is whole, if the model is right."""

    call_id: str
    tool_name: str = ""
    fragments: list[str] = field(default_factory=list)
    shown: int = 0

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


class CallReader:
    """Fragments of the calls of one step, in whatever order. `taken`: ids that the message has already."""

    def __init__(self, taken: Container[str]) -> None:
        self._taken = taken
        self._by_index: dict[int, AskedCall] = {}

    @property
    def calls(self) -> list[AskedCall]:
        return [self._by_index[index] for index in sorted(self._by_index)]

    def read(self, delta: ToolCallDelta) -> list[Event]:
        """The chunks that show a fragment; a call is shown from its name on."""
        call = self._by_index.get(delta.index)
        if call is None:
            call = self._by_index[delta.index] = AskedCall(self._unique(delta.id))
        events: list[Event] = []
        if delta.name and not call.tool_name:
            call.tool_name = delta.name[:_LONGEST_NAME_CHARS]
            events.append(ToolInputStart(tool_call_id=call.call_id, tool_name=call.tool_name))
        if delta.arguments:
            call.fragments.append(delta.arguments)
        if call.tool_name and call.shown < len(call.fragments):
            text = "".join(call.fragments[call.shown :])
            call.shown = len(call.fragments)
            events.append(ToolInputDelta(tool_call_id=call.call_id, input_text_delta=text))
        return events

    def _unique(self, told: str | None) -> str:
        used = {call.call_id for call in self._by_index.values()}
        if told and is_client_id(told) and told not in self._taken and told not in used:
            return told
        return new_tool_call_id()


def to_operation(
    call: AskedCall, step: int, offered: Mapping[str, ToolSpec], *, too_many: bool = False, cut: bool = False
) -> tuple[NewOperation, list[Event]]:
    """The operation of a call, and the chunks that show it. What cannot be run has failed already.

    `cut`: the answer reached its limit somewhere in its calls, so nobody knows what they were to be.
    """
    arguments, problem = _read_arguments(call.arguments)
    spec = offered.get(call.tool_name)
    if cut:
        problem = OperationError(type=CUT, message=_CUT_MESSAGE)
    elif too_many:
        problem = OperationError(type="TOO_MANY_CALLS", message="Too many calls in one step. Make fewer at once.")
    elif spec is None:
        names = ", ".join(offered) or "none"
        problem = OperationError(
            type="UNKNOWN_TOOL", message=f"There is no tool {call.tool_name!r}. Offered are: {names}."
        )
    elif problem is None:
        problem = check_arguments(spec, arguments)
    if problem is not None or spec is None:
        return _failed(call, step, arguments, problem or OperationError(message="It cannot be run."))
    return _runnable(call, step, arguments, spec)


def check_arguments(spec: ToolSpec, arguments: dict[str, Any]) -> OperationError | None:
    """What is wrong with the arguments by the tool's schema. A schema that is none is left to the runner."""
    schema = _schema(json.dumps(spec.parameters))
    problem = schema.problem(arguments) if schema is not None else None
    return OperationError(type="INVALID_ARGUMENTS", message=problem) if problem is not None else None


@lru_cache(maxsize=256)
def _schema(text: str) -> InputSchema | None:
    try:
        return InputSchema(json.loads(text))
    except UnfitSchema:
        return None


def _read_arguments(text: str) -> tuple[dict[str, Any], OperationError | None]:
    if text.count("{") + text.count("[") > _MOST_CONTAINERS:
        message = f"The arguments have more than {_MOST_CONTAINERS} objects and lists. Send less at once."
        problem = OperationError(type="INVALID_ARGUMENTS", message=message)
        return {"arguments": clean_json(text[:_SHOWN_ARGUMENTS_CHARS])}, problem
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, str):
        value = object_in(text)
    if isinstance(value, dict):
        return clean_json(value), None
    if value is None and text.strip() in ("", "null", "None"):
        return {}, None
    problem = OperationError(type="INVALID_ARGUMENTS", message="The arguments must be one whole JSON object.")
    return {"arguments": clean_json(text[:_SHOWN_ARGUMENTS_CHARS])}, problem


def _failed(
    call: AskedCall, step: int, arguments: dict[str, Any], error: OperationError
) -> tuple[NewOperation, list[Event]]:
    operation = NewOperation(
        id=new_operation_id(),
        step=step,
        tool_call_id=call.call_id,
        tool_name=call.tool_name,
        input=arguments,
        queue=_NO_QUEUE,
        status="failed",
        deadline_seconds=_NO_DEADLINE_SECONDS,
        error=error.model_dump(),
    )
    shown = ToolInputError(
        tool_call_id=call.call_id,
        tool_name=call.tool_name,
        input=arguments,
        error_text=f"{error.type}: {error.message}",
    )
    return operation, [shown]


def _first_status(spec: ToolSpec) -> OperationStatus:
    if spec.by_client:
        return "client"
    return "approval" if spec.approval else "pending"


def _runnable(
    call: AskedCall, step: int, arguments: dict[str, Any], spec: ToolSpec
) -> tuple[NewOperation, list[Event]]:
    operation = NewOperation(
        id=new_operation_id(),
        step=step,
        tool_call_id=call.call_id,
        tool_name=spec.name,
        input=arguments,
        queue=spec.queue,
        status=_first_status(spec),
        deadline_seconds=spec.deadline_seconds,
        approval_id=new_approval_id() if spec.approval else None,
        background=spec.background and not spec.by_client,
    )
    shown: list[Event] = [
        ToolInputAvailable(tool_call_id=call.call_id, tool_name=spec.name, input=arguments, title=spec.title)
    ]
    if operation.approval_id is not None:
        shown.append(ToolApprovalRequest(approval_id=operation.approval_id, tool_call_id=call.call_id))
    return operation, shown
