"""Messages, tools and calls as tests of what is sent write them, and an answer to them."""

from typing import Any

from sluiceway_llm.asking.history import PROVIDER
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import ModelRequest

from tests.llm.llm_client import events_of, text_of

Messages = list[dict[str, Any]]
SYSTEM = {"role": "system", "content": "Be brief."}
GO = {"role": "user", "content": "go"}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str, name: str = "note", by: str | None = None, **given_back: Any) -> dict[str, Any]:
    """`by`: who made the calls; None: nothing says so."""
    made: Messages = [
        {"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}}
        | ({} if by is None else {PROVIDER: {"by": by, "fields": given_back.get("call", {})}})
        for one in ids
    ]
    of_message = {"by": by, "fields": given_back.get("message", {}), "reasoning_field": given_back.get("field", "")}
    of_message["reasoning"] = given_back.get("reasoning", "")
    return {"role": "assistant", "content": None, "tool_calls": made} | ({} if by is None else {PROVIDER: of_message})


def result(call_id: str, text: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


async def answer(llm: Model, messages: Messages, **fields: Any) -> str:
    return text_of(await events_of(llm, ModelRequest("fake", messages, **fields)))
