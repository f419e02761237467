"""From an event of CrewAI to an agent event: who, what, and which words.

A text that is too long is cut, and says so; what is no text becomes one. `metadata.event` is CrewAI's name for it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crewai.events import (
    AgentExecutionCompletedEvent,
    AgentExecutionErrorEvent,
    AgentExecutionStartedEvent,
    AgentReasoningCompletedEvent,
    CrewKickoffCompletedEvent,
    CrewKickoffFailedEvent,
    CrewKickoffStartedEvent,
    LiteAgentExecutionCompletedEvent,
    LiteAgentExecutionErrorEvent,
    LiteAgentExecutionStartedEvent,
    LLMCallCompletedEvent,
    TaskCompletedEvent,
    TaskFailedEvent,
    ToolUsageErrorEvent,
    ToolUsageFinishedEvent,
    ToolUsageStartedEvent,
)
from sluiceway.feeds.agent_event import MAX_NAME_CHARS, PublishedType

MAX_CHARS = 50_000
_CREW = "crew"


@dataclass(frozen=True, slots=True)
class Told:
    """What is published of an event."""

    agent_name: str
    event_type: PublishedType
    content: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Form:
    """`said` answers the words of an event, or None when there is nothing to tell."""

    event_type: PublishedType
    said: Callable[[Any], Any]


def _inputs(event: Any) -> Any:
    return event.inputs or ""


def _thought(event: Any) -> str | None:
    """A model's answer that is no text asks for tools, which tell of themselves."""
    return event.response if isinstance(event.response, str) else None


_FORMS: Mapping[type[Any], _Form] = {
    CrewKickoffStartedEvent: _Form("start", _inputs),
    CrewKickoffCompletedEvent: _Form("complete", lambda event: event.output),
    CrewKickoffFailedEvent: _Form("error", lambda event: event.error),
    AgentExecutionStartedEvent: _Form("start", lambda event: event.task_prompt),
    AgentExecutionCompletedEvent: _Form("output", lambda event: event.output),
    AgentExecutionErrorEvent: _Form("error", lambda event: event.error),
    LiteAgentExecutionStartedEvent: _Form("start", lambda event: event.messages),
    LiteAgentExecutionCompletedEvent: _Form("output", lambda event: event.output),
    LiteAgentExecutionErrorEvent: _Form("error", lambda event: event.error),
    AgentReasoningCompletedEvent: _Form("thought", lambda event: event.plan),
    LLMCallCompletedEvent: _Form("thought", _thought),
    ToolUsageStartedEvent: _Form("action", lambda event: event.tool_args),
    ToolUsageFinishedEvent: _Form("output", lambda event: event.output),
    ToolUsageErrorEvent: _Form("error", lambda event: event.error),
    TaskCompletedEvent: _Form("end", lambda event: event.output),
    TaskFailedEvent: _Form("error", lambda event: event.error),
}
HEARD = tuple(_FORMS)


def translate(event: Any) -> Told | None:
    """None for an event that is not told."""
    form = _FORMS.get(type(event))
    said = form.said(event) if form is not None else None
    if form is None or said is None:
        return None
    names = {"task": event.task_name, "tool": getattr(event, "tool_name", None)}
    metadata = {"event": event.type, **{kind: _text(name) for kind, name in names.items() if name}}
    return Told(_author(event), form.event_type, _text(said), metadata)


def _author(event: Any) -> str:
    """The role of the agent that an event is of; else the crew's name."""
    agent_info = getattr(event, "agent_info", None) or {}
    found = (
        event.agent_role,
        getattr(getattr(event, "agent", None), "role", None),
        agent_info.get("role"),
        getattr(getattr(getattr(event, "task", None), "agent", None), "role", None),
        getattr(event, "crew_name", None),
    )
    return _text(next((name for name in found if name), _CREW))[:MAX_NAME_CHARS]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else _as_text(value)
    # Half of a surrogate pair, which models and tools do let slip, is no text that could be sent.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}… ({len(text) - MAX_CHARS} characters more)"


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):
            return repr(value)
    return str(value)
