"""The usual loop, for comparison: `python -m bench.tools.naive_loop MODEL_URL`.

One process holds all turns in memory: a coroutine each, which asks the model, calls the tool directly, and asks the
model again, with the same HTTP client as the chat worker. Nothing is stored, nobody can follow, and what was running is
lost with the process. Reads the messages from its standard input, a list for each client, as JSON.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

import uvloop
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import ModelRequest, ToolCallDelta

from bench.tools.offered.no_op import no_op


async def _client(model: Model, texts: list[str], start_seconds: float) -> None:
    await asyncio.sleep(start_seconds)
    for text in texts:
        await _turn(model, [{"role": "user", "content": text}])


async def _turn(model: Model, messages: list[dict[str, Any]]) -> None:
    calls = await _step(model, messages)
    while calls:
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            result = json.dumps(await no_op())
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        calls = await _step(model, messages)


async def _step(model: Model, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    function = {"name": no_op.name, "description": no_op.description, "parameters": no_op.schema()}
    tools = [{"type": "function", "function": function}]
    async with model.stream(ModelRequest("fake-model", messages, tools=tools)) as batches:
        async for batch in batches:
            for event in batch:
                if isinstance(event, ToolCallDelta):
                    _add(calls.setdefault(event.index, {"type": "function"}), event)
    return list(calls.values())


def _add(call: dict[str, Any], delta: ToolCallDelta) -> None:
    told = asdict(delta)
    call["id"] = told["id"] or call.get("id")
    function = call.setdefault("function", {"name": "", "arguments": ""})
    function["name"] += told["name"] or ""
    function["arguments"] += told["arguments"] or ""


async def _run(model_url: str, clients: list[list[str]], apart_seconds: float) -> None:
    async with Model(f"{model_url}/v1", "", max_connections=len(clients)) as model:
        turns = (_client(model, texts, number * apart_seconds) for number, texts in enumerate(clients))
        await asyncio.gather(*turns)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], json.loads(sys.stdin.readline()), float(sys.argv[2])))
