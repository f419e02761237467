"""Documents, outlines and agent teams as turns: through all processes, seen live, cancelled, their runner killed."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.calling import answers, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import Event, follow
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until

DOCUMENT = "/generate_document a short text about rivers"


async def writes(model: ModelServer, topic: str) -> None:
    """The model makes an outline of two sections on this topic, writes the first, and waits in the second for `go`."""
    outline = "Title: Rivers\n1. Sources: Where they begin.\n2. Floods: When they rise."
    await model.script({"text": outline}, match=f"{topic}\n\nMake a list")
    await model.script({"text": "Rivers begin in springs."}, match="about: Sources.")
    await model.script({"text": "They rise "}, {"gate": "go"}, {"text": "in spring."}, match="about: Floods.", times=2)


def in_the_second_section(event: Event) -> bool:
    return event.type == "tool-output-available" and "They rise" in str(event.chunk["output"].get("data"))


def only_tool(message: Message) -> dict[str, Any]:
    (part,) = message.tools.values()
    return part


async def job_history(chat: Chat, database: Database, turn: Turn) -> list[dict[str, Any]]:
    operation_id = await database.fetchval("SELECT id FROM operations WHERE task_id = $1", turn.task_id)
    response = await chat.get(f"/api/chat/jobs/{operation_id}/history")
    assert response.status_code == 200, response.text
    return [event["data"] for event in response.json()["events"]]


@pytest.mark.requirement("JE-4", "CH-15", "CH-9")
async def test_a_document_is_seen_growing_also_after_a_reload_and_told_in_job_events(
    chat: Chat, other_chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    await writes(model, "a short text about rivers")
    await answers(model, DOCUMENT, "Here it is.")
    turn = await chat.ask(DOCUMENT)
    async with follow(chat.stream_url(turn)) as stream:
        shown = (await stream.read_until(in_the_second_section)).chunk
    assert shown["preliminary"] is True
    assert shown["output"]["status"] == "running"
    assert shown["output"]["message"] == "Section 2 of 2: Floods"
    assert 55 < shown["output"]["percent"] < 100
    assert shown["output"]["data"]["markdown"].endswith("## Floods\n\nThey rise\n")
    async with follow(other_chat.stream_url(turn)) as stream:
        await stream.read_until(in_the_second_section)
    await model.open_gate("go")

    message = fold(await chat.answer(turn))

    assert message.text == "Here it is."
    assert only_tool(message)["output"] == {
        "title": "Rivers",
        "markdown": "# Rivers\n\n## Sources\n\nRivers begin in springs.\n\n## Floods\n\nThey rise in spring.\n",
        "word_count": 8,
        "sections": 2,
    }
    history = await job_history(chat, shared_database, turn)
    assert (history[0]["event_type"], history[-1]["event_type"]) == ("task_started", "task_completed")
    assert history[-2]["event_type"] == "document_generated"
    assert history[-2]["document"] == history[-1]["result"] == only_tool(message)["output"]
    assert [event["word_count"] for event in history if "word_count" in event] == [0, 4, 4, 8]


@pytest.mark.requirement("JE-4", "CH-20")
async def test_an_outline_ends_with_its_event(chat: Chat, model: ModelServer, shared_database: Database) -> None:
    await model.script({"text": "1. Sources: Where they begin.\n2. Floods"}, match="rivers\n\nMake a list")
    turn = await chat.ask("/generate_outline rivers")

    output = only_tool(fold(await chat.answer(turn)))["output"]

    assert [section["heading"] for section in output["sections"]] == ["Sources", "Floods"]
    *_, outlined, last = await job_history(chat, shared_database, turn)
    assert (outlined["event_type"], outlined["outline"]) == ("outline_generated", output)
    assert (last["event_type"], last["result"]) == ("task_completed", output)
    usage = (await chat.get(f"/api/chat/tasks/{turn.task_id}/usage")).json()["calls"]
    assert [(one["purpose"], one["step"]) for one in usage if one["purpose"] != "answer"] == [("generate_outline", 1)]


@pytest.mark.requirement("CC-7")
async def test_a_model_that_fails_the_tool_is_an_error_that_says_why(
    chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    await model.script({"status": 401}, match="faults\n\nMake a list")
    turn = await chat.ask("/generate_outline faults")

    part = only_tool(fold(await chat.answer(turn)))

    assert part["state"] == "output-error"
    assert part["error"].startswith("MODEL_KEY_REJECTED: ")
    assert (await job_history(chat, shared_database, turn))[-1]["event_type"] == "task_failed"


@pytest.mark.requirement("CH-13", "JE-4")
async def test_stopping_in_the_middle_of_a_document_closes_the_request_to_the_model(
    chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    await writes(model, "a short text about rivers")
    turn = await chat.ask(DOCUMENT)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_until(in_the_second_section)
        await chat.cancel(turn.task_id)
        await stream.read_to_end()
    assert only_tool(fold(stream.events))["error"].startswith("CANCELLED")
    await model.wait_for(lambda seen: "about: Floods." in str(seen.body) and seen.client_closed_at, timeout=3)

    async def told() -> bool:
        return "task_stopped" in [event["event_type"] for event in await job_history(chat, shared_database, turn)]

    await wait_until(told, what="the job events say that it was stopped")


@pytest.mark.requirement("AG-5")
async def test_a_team_is_seen_live_in_the_answer_and_on_its_own_stream(
    chat: Chat, model: ModelServer, shared_redis: Redis, shared_database: Database
) -> None:
    await model.script({"text": "A bridge."}, match="what is to be reached")
    await model.script({"text": "Of steel."}, {"gate": "team"}, match="step by step")
    await model.script({"text": "It rusts."}, match="what is weak")
    turn = await chat.ask("/run_agents cross the river")
    async with follow(chat.stream_url(turn)) as stream:
        seen = await stream.read_until(lambda event: event.type == "data-agent" and "Engineer" in event.data)
    operation_id = await shared_database.fetchval("SELECT id FROM operations WHERE task_id = $1", turn.task_id)
    assert seen.chunk["data"]["operation_id"] == operation_id
    await model.open_gate("team")

    message = fold(await chat.answer(turn))

    assert only_tool(message)["output"]["final"] == "It rusts."
    shown = [chunk["data"] for chunk in message.data if chunk["type"] == "data-agent"]
    assert [event["sequence"] for event in shown] == list(range(1, len(shown) + 1))
    said = {event["agent_name"]: event["content"] for event in shown if event["event_type"] == "output"}
    assert said == {"Product manager": "A bridge.", "Engineer": "Of steel.", "Reviewer": "It rusts."}
    async with follow(f"{chat.url}/api/chat/agents/{operation_id}/events") as agents:
        followed = [json.loads(event.data) for event in await agents.read_to_end() if event.data != "[DONE]"]
    assert [event["event_type"] for event in followed] == [*(event["event_type"] for event in shown), "connection_end"]


@pytest.mark.requirement("CH-9", "JE-4")
async def test_a_runner_that_is_killed_in_the_middle_of_a_document_is_followed_by_another(
    services: Services, model: ModelServer, database: Database
) -> None:
    await writes(model, "a short text about rivers")
    await writes(model, "a short text about rivers")
    system = await services.whole(tool_runners=1, LEASE_SECONDS="1")
    await offered(system.url, "generate_document")
    async with Chat(system.url) as chat:
        turn = await chat.ask(DOCUMENT)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_until(in_the_second_section)
        system.tool_runners[0].kill9()
        await services.tool_runner(LEASE_SECONDS="1")
        await model.open_gate("go")

        message = fold(await chat.answer(turn))

        assert only_tool(message)["output"]["word_count"] == 8
        assert await database.fetchval("SELECT attempt FROM operations WHERE task_id = $1", turn.task_id) == 2
        history = await job_history(chat, database, turn)
        assert [event["event_type"] for event in history].count("task_started") == 2
        assert history[-1]["event_type"] == "task_completed"
