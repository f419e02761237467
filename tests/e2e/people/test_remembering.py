"""What is known about a person, through all services: the tool writes it down, the next turn is told, it is removed."""

import json
from typing import Any

import pytest

from harness.clients.asking import questions
from harness.clients.calling import answers, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.sse import replay
from harness.model_server import ModelServer
from harness.processes.services import Services


@pytest.mark.requirement("CH-4")
async def test_a_fact_that_the_model_remembers_is_told_in_the_next_conversation_until_it_is_forgotten(
    services: Services, model: ModelServer
) -> None:
    system = await services.whole(tool_runners=1)
    await offered(system.gateways[0].url, "remember")
    async with Chat(system.gateways[0].url) as chat:
        await calls_tools(model, "my name is Ada", remembers(name="name", fact="Ada, who likes rivers"))
        await answers(model, "my name is Ada", "I will.")
        first = await chat.ask("Remember that my name is Ada")
        assert (await replay(chat.stream_url(first))).done
        assert await _facts(chat) == {"name": "Ada, who likes rivers"}

        second = await chat.ask("Who am I? [[tokens=3 rate=0]]")
        assert (await replay(chat.stream_url(second))).done
        told = (await questions(model))[-1].body["messages"][0]
        assert told["role"] == "system"
        assert "Ada, who likes rivers" in told["content"]
        task = await chat.task(second.task_id)
        assert task["prompt"] == {"name": "default", "version": None, "source": "default"}

        await calls_tools(model, "forget my name", remembers(name="name"))
        await answers(model, "forget my name", "Done.")
        third = await chat.ask("Please forget my name")
        assert (await replay(chat.stream_url(third))).done
        assert await _facts(chat) == {}

        # Without a model: who types it thinks of no name.
        typed = await chat.ask("/remember I live by the sea")
        await answers(model, "I live by the sea", "I will.")
        assert (await replay(chat.stream_url(typed))).done
        assert await _facts(chat) == {"I live by the sea": "I live by the sea"}


def remembers(**arguments: str) -> dict[str, Any]:
    function = {"name": "remember", "arguments": json.dumps(arguments)}
    return {"tool_call": {"index": 0, "id": f"call_{len(arguments)}", "type": "function", "function": function}}


async def _facts(chat: Chat) -> Any:
    return (await chat.get("/api/chat/me/understanding")).json()["facts"]
