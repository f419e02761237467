"""The message that brings the results of a turn in the background: nobody wrote it. Its only part is `data-results`.

    {"type": "data-results", "data": {"taskId": …, "calls": [CALL, …]}}    CALL: toolCallId, toolName, state, and
                                                                           output or errorText

Reading parts of another shape answers nothing, and never fails.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sluiceway.wire.message import Part, tool_name_of

_TYPE = "data-results"
_KEPT = ("toolCallId", "state", "output", "errorText")


def results_part(task_id: str, calls: Iterable[Part]) -> Part:
    told = [{**{name: one[name] for name in _KEPT if name in one}, "toolName": tool_name_of(one)} for one in calls]
    return {"type": _TYPE, "data": {"taskId": task_id, "calls": told}}


def results_in(parts: Sequence[Part]) -> list[Mapping[str, Any]]:
    """The calls whose results a message brings."""
    found: list[Mapping[str, Any]] = []
    for part in parts:
        data = part.get("data") if part.get("type") == _TYPE else None
        calls = data.get("calls") if isinstance(data, dict) else None
        found += [one for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
    return found
