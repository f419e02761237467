"""Turns as tests of the page write them: how one is asked for, and what it says, chunk by chunk."""

from typing import Any

from tests.browser.chat import Chat
from tests.browser.scripted import Chunk, ScriptedChat, Turn

BEGIN: Chunk = {"type": "start-step"}
END: Chunk = {"type": "finish-step"}
TOOLS: list[dict[str, Any]] = [
    {"name": "current_time", "title": "Clock", "description": "Tells the time.", "approval": False},
    {"name": "generate_document", "title": "Document", "description": "Writes a document.", "approval": False},
    {"name": "generate_outline", "title": None, "description": "Makes an outline.", "approval": True},
]
TICKS = "`" * 3
MARKDOWN = rf"""# Rivers

Water flows **downhill**, see [the source](https://example.org).

| River | Length |
|---|---|
| Rhine | 1233 km |

The sum is $x^2$, and it costs $5 or $6.

{TICKS}python
def gate(level: float) -> bool:
{TICKS}[^x]*\|b {TICKS}
    return level > 3.5
{TICKS}

![a picture](https://example.org/a.png)
"""


async def begin(chat: Chat, scripted: ScriptedChat, question: str = "please") -> Turn:
    await chat.open(scripted.url)
    await chat.send(question)
    return await scripted.asked()


def delta(said: str) -> Chunk:
    return {"type": "text-delta", "id": "t", "delta": said}


def call(name: str, call_id: str = "c1", **arguments: Any) -> list[Chunk]:
    return [
        {"type": "tool-input-start", "toolCallId": call_id, "toolName": name},
        {"type": "tool-input-available", "toolCallId": call_id, "toolName": name, "input": arguments},
    ]


def progress(percent: float | None = None, message: str | None = None, data: Any = None, call_id: str = "c1") -> Chunk:
    said = {"percent": percent, "message": message, "data": data}
    output = {"status": "running"} | {name: value for name, value in said.items() if value is not None}
    return {"type": "tool-output-available", "toolCallId": call_id, "output": output, "preliminary": True}


def output(value: Any, call_id: str = "c1") -> Chunk:
    return {"type": "tool-output-available", "toolCallId": call_id, "output": value}


def failure(text: str, call_id: str = "c1") -> Chunk:
    return {"type": "tool-output-error", "toolCallId": call_id, "errorText": text}


def approval(call_id: str = "c1") -> Chunk:
    return {"type": "tool-approval-request", "toolCallId": call_id, "approvalId": f"approval-{call_id}"}


def text(said: str) -> list[Chunk]:
    return [
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": said},
        {"type": "text-end", "id": "t"},
    ]


def agent(sequence: int, event_type: str, content: str, name: str = "Engineer") -> Chunk:
    said = {"agent_name": name, "event_type": event_type, "content": content}
    data = {**said, "sequence": sequence, "operation_id": "o1"}
    return {"type": "data-agent", "id": f"o1-{sequence}", "data": data}
