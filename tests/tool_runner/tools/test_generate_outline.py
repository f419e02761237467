"""The tool `generate_outline` against a real model server, good and bad ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from tool_runner.tool import ToolFailed
from tool_runner.tools.generate_outline import generate_outline
from tool_runner.tools.writing.outline import Outline
from tool_runner.tools.writing.outline_reading import read_draft

from harness.model_server import ModelServer
from tests.tool_runner.tools.stage import Stage, stage_for

pytestmark = pytest.mark.requirement("JE-4")

RIVERS = {
    "title": "Rivers",
    "sections": [
        {"heading": "Sources", "summary": "Where rivers begin."},
        {"heading": "Floods", "summary": "When there is too much."},
    ],
}


@pytest.fixture
async def stage(redis: Redis, model: ModelServer) -> AsyncIterator[Stage]:
    async with stage_for(redis, model, model_attempts=2) as opened:
        yield opened


async def test_an_outline_is_made_from_a_prompt_and_files_and_published(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": json.dumps(RIVERS)})

    result = await stage.run(
        generate_outline, prompt="about rivers", context_files=[{"name": "notes.txt", "text": "The Rhine floods."}]
    )

    assert result == RIVERS
    assert [event["event_type"] for event in await stage.job_events()] == [
        "task_started",
        "task_progress",
        "outline_generated",
        "task_completed",
    ]
    assert (await stage.job_events())[-2]["outline"] == RIVERS
    assert (await stage.job_events())[-1]["result"] == RIVERS
    (request,) = await model.requests()
    assert "about rivers" in str(request.body)
    assert "notes.txt" in str(request.body)
    assert "The Rhine floods." in str(request.body)
    assert request.body["model"] == "fake"
    assert request.body["max_tokens"] < 2000


JSON = json.dumps(RIVERS)


@pytest.mark.parametrize(
    "said",
    [
        f"Sure! Here is the outline:\n```json\n{JSON}\n```\nI hope this helps [1].",
        f"<think>What do {{they}} want? [Rivers]</think>\n{JSON}",
        json.dumps({"outline": RIVERS}),
        json.dumps({"Title": "Rivers", "Chapters": [{"name": "Sources", "description": "Where rivers begin."},
                                                    {"name": "Floods", "description": "When there is too much."}]}),
        JSON.removesuffix('"}]}'),
        JSON.replace("]}", ",]}"),
        "# Rivers\n\n## 1. Sources\nWhere rivers begin.\n\n## 2. Floods\n- When there is too much.\n",
        "Title: Rivers\n1. Sources: Where rivers begin.\n2. **Floods** - When there is too much.",
        "Title: **Rivers**\n\n**Sources**\nWhere rivers begin.\n**Floods**: When there is too much.",
        "Title: Rivers\nI. Sources\n   1. Where rivers begin.\nII. Floods\n   1. When there is too much.",
    ],
)  # fmt: skip
async def test_an_outline_is_found_in_whatever_shape_a_model_gives_it(
    stage: Stage, model: ModelServer, said: str
) -> None:
    await model.script({"text": said})

    result = await stage.run(generate_outline, prompt="rivers")

    assert result["title"] == "Rivers"
    assert [section["heading"] for section in result["sections"]] == ["Sources", "Floods"]
    assert "Where rivers begin" in result["sections"][0]["summary"]
    assert "When there is too much" in result["sections"][1]["summary"]


async def test_plain_words_become_a_plain_outline(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "Rivers begin in the mountains. They end in the sea."})

    result = await stage.run(generate_outline, prompt="a short text about rivers")

    assert result["title"] == "A short text about rivers"
    assert [section["summary"] for section in result["sections"]] == [
        "Rivers begin in the mountains.",
        "They end in the sea.",
    ]


async def test_not_more_sections_than_wanted_and_none_twice(stage: Stage, model: ModelServer) -> None:
    lines = "\n".join(f"{number}. {heading}" for number, heading in enumerate(["A", "B", "a", "...", "C", "D"], 1))
    await model.script({"text": lines})

    result = await stage.run(generate_outline, prompt="letters", sections=3)

    assert [section["heading"] for section in result["sections"]] == ["A", "B", "C"]


@pytest.mark.parametrize(
    "said",
    ["[" * 100_000, '{"a":' * 50_000, "{" * 30 + "x" * 50_000, "#" * 100_000, "1. " * 50_000, "- \n" * 50_000,
     "**" * 50_000, "\x00\ud800", ":" * 100_000, "a" * 100_000 + ":", " " * 100_000 + "x", '{"sections": 7}',
     "[[1, 2]]", '{"sections": [null, {}, 3, {"heading": {}}]}',
     '{"title": null, "sections": {"sections": {"sections": {}}}}'],
    ids=range(15),
)  # fmt: skip
def test_no_answer_is_too_strange_to_be_read(said: str) -> None:
    draft = read_draft(said)

    for heading, summary in draft.sections[:20]:
        Outline(title="t", sections=[{"heading": heading, "summary": summary}])


@pytest.mark.parametrize(
    "given",
    [RIVERS, "# Rivers\n## Sources\n## Floods", {"title": "Rivers", "sections": ["Sources", "Floods"]},
     {"outline": {"title": "Rivers", "sections": ["Sources: where", "Floods: when"]}}],
)  # fmt: skip
def test_an_outline_is_taken_as_people_and_models_write_it(given: Any) -> None:
    outline = Outline.model_validate(given)

    assert outline.title == "Rivers"
    assert [section.heading for section in outline.sections] == ["Sources", "Floods"]


async def test_a_server_that_fails_for_a_while_is_asked_again(stage: Stage, model: ModelServer) -> None:
    await model.script({"status": 500})
    await model.script({"text": JSON})

    assert await stage.run(generate_outline, prompt="rivers") == RIVERS


@pytest.mark.parametrize("how", ["fin", "rst", "eof"])
async def test_an_answer_that_breaks_off_is_asked_for_once_more(stage: Stage, model: ModelServer, how: str) -> None:
    await model.script({"text": JSON[:60]}, {"cut": how})
    await model.script({"text": JSON})

    assert await stage.run(generate_outline, prompt="rivers") == RIVERS
    assert len(await model.requests()) == 2


async def test_thoughts_alone_are_no_answer_and_the_second_question_leaves_more_room(
    stage: Stage, model: ModelServer
) -> None:
    await model.script({"reasoning": "Hmm, rivers."}, {"finish": "length"})
    await model.script({"reasoning": "Hmm, rivers."}, {"text": JSON})

    assert await stage.run(generate_outline, prompt="rivers") == RIVERS
    first, second = await model.requests()
    assert second.body["max_tokens"] > 2 * first.body["max_tokens"]


@pytest.mark.parametrize(
    ("steps", "error_type", "requests"),
    [
        ([{"status": 500}], "MODEL_UNAVAILABLE", 2),
        ([{"status": 401}], "MODEL_KEY_REJECTED", 1),
        ([{"status": "context"}], "MODEL_CONTEXT_LENGTH_EXCEEDED", 1),
        ([{"garbage": "html"}], "MODEL_GARBAGE", 2),
        ([{"text": "{"}, {"garbage": "json"}], "MODEL_GARBAGE", 2),
        ([{"text": "half"}, {"cut": "fin"}], "MODEL_CUT", 2),
        ([{"finish": "stop"}], "MODEL_EMPTY", 2),
        ([{"text": " \n"}], "MODEL_EMPTY", 2),
        ([{"refusal": "I will not."}], "MODEL_REFUSED", 1),
        ([{"text": "half"}, {"finish": "content_filter"}], "MODEL_CONTENT_FILTERED", 1),
    ],
)
async def test_a_model_that_cannot_answer_is_an_error_with_a_type(
    stage: Stage, model: ModelServer, steps: list[dict[str, Any]], error_type: str, requests: int
) -> None:
    await model.script(*steps, times=10)

    with pytest.raises(ToolFailed) as failure:
        await stage.run(generate_outline, prompt="rivers")

    assert failure.value.type == error_type
    assert failure.value.message
    assert len(await model.requests()) == requests
    last = (await stage.job_events())[-1]
    assert (last["event_type"], last["error"]) == ("task_failed", failure.value.message)


async def test_an_answer_that_never_ends_is_left(stage: Stage, model: ModelServer) -> None:
    result = await stage.run(generate_outline, prompt="rivers rivers [[tokens=1000000 rate=20000]]")

    assert len(result["sections"]) >= 1
    await model.wait_for(lambda seen: seen.client_closed_at)


@pytest.mark.parametrize("tags", ["stall_headers=ever", "stall=ever", "tokens=100000 rate=100"])
async def test_cancelling_closes_the_request_and_says_so(stage: Stage, model: ModelServer, tags: str) -> None:
    work = asyncio.create_task(stage.run(generate_outline, prompt=f"rivers [[{tags}]]"))
    await model.wait_for(lambda seen: seen.began_at)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    await model.wait_for(lambda seen: seen.client_closed_at, timeout=1)
    assert (await stage.job_events())[-1]["event_type"] == "task_stopped"
