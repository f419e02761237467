"""The model calls tools: scripts for the fake model server, and what clients see of it."""

import json
from pathlib import Path
from typing import Any

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.model_server import ModelServer
from harness.waiting import wait_until

TOOLS_DIR = Path(__file__).parents[1] / "test_tools"


def call(name: str, call_id: str, index: int = 0, **arguments: Any) -> dict[str, Any]:
    """A step of a script: one whole tool call."""
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"tool_call": {"index": index, "id": call_id, "type": "function", "function": function}}


async def calls_tools(model: ModelServer, match: str, *calls: dict[str, Any], says: str = "") -> None:
    """The next answer to a message with `match` in it calls these tools, after some words."""
    words = [{"text": says}] if says else []
    await model.script(*words, *calls, {"finish": "tool_calls"}, match=match)


async def answers(model: ModelServer, match: str, text: str) -> None:
    """The next answer to a message with `match` in it is this text."""
    await model.script({"text": text}, {"finish": "stop"}, match=match)


async def offered(url: str, tool: str) -> None:
    """Wait until a chat worker offers the model this tool. Each looks every second."""

    async def is_offered() -> bool:
        async with Chat(url) as chat:
            return f"`/{tool}`" in fold(await chat.answer(await chat.ask("/tools"))).text

    await wait_until(is_offered, 15, f"the tool {tool} is offered")
