"""Structured output: an answer of the form that was asked for, asked for once more where it is not, or told as an
error."""

import json
from typing import Any

import httpx
import pytest

from harness.clients.calling import answers
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.model_server import ModelServer
from harness.processes.services import Services

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
GOOD = '{"city": "Köln", "people": 1087000}'


def form(schema: dict[str, Any] = SCHEMA, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, **more}}


@pytest.mark.requirement("CH-21")
async def test_an_answer_is_of_the_form_that_was_asked_for_or_told_as_an_error(
    services: Services, model: ModelServer
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        await answers(model, "fits at once", GOOD)
        turn = await chat.ask("fits at once", response_format=form(strict=True))
        streamed = await chat.answer(turn)
        assert fold(streamed).text == GOOD
        [asked] = await model.requests("fits at once")
        assert asked.body["response_format"]["json_schema"] == {"name": "city", "schema": SCHEMA, "strict": True}
        assert json.dumps(SCHEMA) in asked.body["messages"][0]["content"]

        # What a model says around the object is left out, and nothing is asked again for it.
        await model.script({"text": "Here:\n```js"}, {"text": f"on\n{GOOD}\n"}, {"text": "```"}, match="in a fence")
        turn = await chat.ask("in a fence", response_format=form())
        assert fold(await chat.answer(turn)).text == GOOD
        assert len(await model.requests("in a fence")) == 1

        # One try to repair it: what was shown before is replaced, for newer clients, and in the history.
        await answers(model, "is repaired", "Köln has many people.")
        await answers(model, "does not fit: it is not JSON", GOOD)
        turn = await chat.ask("is repaired", response_format=form())
        assert fold(await chat.answer(turn, protocol=7), 7).text == GOOD
        assert [text for role, text in await chat.messages(turn.session_id) if role == "assistant"] == [GOOD]
        # Both calls are paid.
        used = (await chat.get(f"/api/chat/tasks/{turn.task_id}/usage")).json()["calls"]
        assert [call["outcome"] for call in used] == ["answered", "answered"]

        await answers(model, "never fits", '{"city": "Köln"}')
        await answers(model, "does not fit: 'people' is a required property", '{"city": "Köln", "people": 0}')
        turn = await chat.ask("never fits", response_format=form())
        await chat.answer(turn, protocol=7)
        task = await chat.task(turn.task_id)
        assert (task["status"], task["error"]["code"]) == ("failed", "ANSWER_DOES_NOT_FIT")
        assert "people: 0 is less than the minimum of 1" in task["error"]["message"]

        # A server that finds nothing to say that the schema allows breaks off, in the middle of the answer.
        stuck = {"message": "got exception: Unexpected empty grammar stack after accepting piece:  (30)", "code": 500}
        await model.script({"text": '{"people": '}, {"error": stuck}, match="none can fit")
        await model.script({"text": '{"people": '}, {"error": stuck}, match="nothing more fits the schema")
        turn = await chat.ask("none can fit", response_format=form())
        await chat.answer(turn, protocol=7)
        task = await chat.task(turn.task_id)
        assert (task["status"], task["error"]["code"]) == ("failed", "ANSWER_DOES_NOT_FIT")
        assert "in two tries: nothing more fits the schema" in task["error"]["message"]

        # A server that knows no such parameter is asked without it, and the model by words alone.
        unknown = {"error": {"message": "This response_format type is unavailable now"}}
        await model.script({"status": 400, "body": unknown}, match="strange server")
        await answers(model, "strange server", GOOD)
        turn = await chat.ask("strange server", response_format=form())
        assert fold(await chat.answer(turn)).text == GOOD
        first, second = await model.requests("strange server")
        assert "response_format" in first.body
        assert "response_format" not in second.body
        await _refusals(system.url)


async def _refusals(url: str) -> None:
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(70):
        deep = {"type": "object", "properties": {"a": deep}}
    refused = {
        "not valid": form({"type": "object", "properties": {"a": {"type": "strange"}}}),
        "another document": form({"type": "object", "properties": {"a": {"$ref": "http://10.0.0.1/schema"}}}),
        "not an object": form({"type": "array"}),
        "nothing at #/$defs/a~1b": form({"type": "object", "$defs": {}, "properties": {"a": {"$ref": "#/$defs/a~1b"}}}),
        "too deep": form(deep),
        "at most": form({"type": "object", "description": "x" * 40_000}),
    }
    async with httpx.AsyncClient(base_url=url, trust_env=False, headers={"accept": "application/json"}) as http:
        for why, asked in refused.items():
            await http.post("/api/chat/sessions", json={"id": "s"})
            plain = await http.post("/api/chat/sessions/s/messages", json={"message": "hi", "response_format": asked})
            message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
            stock = await http.post("/api/chat", json={"id": "s", "messages": [message], "response_format": asked})
            for response in (plain, stock):
                assert (response.status_code, response.json()["code"]) == (422, "SCHEMA_REFUSED")
                assert why in response.json()["detail"]
        odd = await http.post(
            "/api/chat/sessions/s/messages", json={"message": "hi", "response_format": {"type": "text"}}
        )
        assert (odd.status_code, odd.json()["code"]) == (422, "INVALID_BODY")
