"""The tool `generate_document` against a real model server: it is seen growing, and survives what models do."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis
from tool_runner.tool import ToolFailed
from tool_runner.tools.generate_document import generate_document
from tool_runner.tools.writing.document import NOTHING_SAID, SHOWN_CHARS, Document, whole_sentences, without_heading
from tool_runner.tools.writing.outline import Outline

from harness.model_server import ModelServer
from harness.waiting import wait_until
from tests.tool_runner.tools.stage import Stage, stage_for

ENDS = ("document_generated", "task_completed")

pytestmark = pytest.mark.requirement("JE-4")

RIVERS = {
    "title": "Rivers",
    "sections": [{"heading": "Sources", "summary": "Where they begin."}, {"heading": "Floods"}],
}
SOURCES = "Rivers begin in springs."
FLOODS = "Snow melts; they rise."


@pytest.fixture
async def stage(redis: Redis, model: ModelServer) -> AsyncIterator[Stage]:
    async with stage_for(redis, model, model_attempts=2) as opened:
        yield opened


async def test_a_document_is_written_from_an_outline_section_by_section(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": f"## Sources\n\n{SOURCES}"}, match="about: Sources.")
    await model.script({"text": FLOODS}, match="about: Floods.")

    result = await stage.run(generate_document, outline=RIVERS, words_per_section=50)

    assert result == {
        "title": "Rivers",
        "markdown": f"# Rivers\n\n## Sources\n\n{SOURCES}\n\n## Floods\n\n{FLOODS}\n",
        "word_count": 8,
        "sections": 2,
    }
    first, second = await model.requests()
    assert "Where they begin." in str(first.body)
    assert "50 words" in str(first.body)
    assert SOURCES not in str(first.body)
    assert SOURCES in str(second.body)


async def test_its_job_events_tell_section_percent_and_word_count_and_end_with_the_document(
    stage: Stage, model: ModelServer
) -> None:
    await model.script({"text": SOURCES})
    await model.script({"text": FLOODS})

    result = await stage.run(generate_document, outline=RIVERS)

    events = await stage.job_events()
    assert [event["event_type"] for event in events] == ["task_started", *["task_progress"] * 4, *ENDS]
    told = [(event["progress"], event["percent"], event["word_count"]) for event in events[1:-2]]
    assert told == [
        ("Section 1 of 2: Sources", 0, 0),
        ("Section 1 of 2: Sources", 50, 4),
        ("Section 2 of 2: Floods", 50, 4),
        ("Section 2 of 2: Floods", 100, 8),
    ]
    assert events[-2]["document"] == events[-1]["result"] == result


async def test_the_text_is_seen_while_a_section_is_being_written(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "Rivers begin "}, {"gate": "middle"}, {"text": "in springs."})
    await model.script({"text": FLOODS})
    work = asyncio.create_task(stage.run(generate_document, outline=RIVERS, words_per_section=10))

    async def half() -> bool:
        return any(output["data"]["markdown"].endswith("Rivers begin\n") for output in await stage.progress())

    await wait_until(half)
    (shown,) = [output for output in await stage.progress() if "begin" in output["data"]["markdown"]]
    assert shown["status"] == "running"
    assert shown["message"] == "Section 1 of 2: Sources"
    assert shown["percent"] == 10
    assert shown["data"]["word_count"] == 2
    await model.open_gate("middle")
    await work


async def test_what_was_said_before_the_model_fell_silent_is_seen_too(stage: Stage, model: ModelServer) -> None:
    await model.script({"tokens": 30, "rate": 200, "of": "word"}, {"text": "last"}, {"gate": "silence"})
    await model.script({"text": FLOODS})
    work = asyncio.create_task(stage.run(generate_document, outline=RIVERS))

    async def all_of_it() -> bool:
        return any(output["data"]["markdown"].endswith("last\n") for output in await stage.progress())

    await wait_until(all_of_it)
    await model.open_gate("silence")
    await work


async def test_it_grows_at_most_about_once_a_second_and_never_shrinks(stage: Stage, model: ModelServer) -> None:
    await model.script({"tokens": 60, "rate": 20, "of": "so many words"}, times=2)

    result = await stage.run(generate_document, outline=RIVERS, words_per_section=60)

    seen = [output["data"]["markdown"] for output in await stage.progress()]
    assert [len(text) for text in seen] == sorted(len(text) for text in seen)
    assert all(result["markdown"].startswith(text.rstrip()) for text in seen)
    # Six seconds of writing, and four ends of sections, some of which fall together.
    assert 6 <= len(seen) <= 12
    assert [output["percent"] for output in await stage.progress()] == sorted(
        output["percent"] for output in await stage.progress()
    )


async def test_a_very_long_text_shows_its_end_while_it_grows(stage: Stage) -> None:
    document = Document(Outline.model_validate(RIVERS))
    document.grow("word " * 50_000)

    assert len(document.shown["markdown"]) <= SHOWN_CHARS + 1
    assert document.shown["word_count"] == 50_000
    assert len(document.result["markdown"]) > 5 * SHOWN_CHARS - SHOWN_CHARS


async def test_from_a_prompt_the_outline_is_made_first(stage: Stage, model: ModelServer) -> None:
    many = {"title": "Rivers", "sections": [f"Part {letter}" for letter in "ABCDEFG"]}
    await model.script({"text": json.dumps(many)})
    await model.script({"text": SOURCES}, match="a paragraph of", times=4)

    result = await stage.run(generate_document, prompt="a short text about rivers")

    assert result["sections"] == 4
    assert result["title"] == "Rivers"
    assert result["word_count"] == 16
    first = (await stage.progress())[0]
    assert (first["percent"], first["message"]) == (0, "Making the outline")
    requests = await model.requests()
    assert len(requests) == 5
    assert all("a short text about rivers" in str(request.body) for request in requests)


async def test_the_text_of_a_command_is_its_prompt(stage: Stage) -> None:
    spec = generate_document.spec()
    assert spec.text_field == "prompt"
    assert "required" not in spec.parameters


@pytest.mark.parametrize("arguments", [{}, {"prompt": "  "}, {"outline": {"title": "x", "sections": []}}])
async def test_without_anything_to_write_about_nothing_is_run(stage: Stage, arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        generate_document.read(arguments)


async def test_a_section_that_the_model_is_silent_about_says_so(stage: Stage, model: ModelServer) -> None:
    await model.script({"finish": "stop"}, times=2)
    await model.script({"text": FLOODS})

    result = await stage.run(generate_document, outline=RIVERS)

    assert result["markdown"] == f"# Rivers\n\n## Sources\n\n{NOTHING_SAID}\n\n## Floods\n\n{FLOODS}\n"
    assert result["word_count"] == 4


async def test_a_document_without_a_word_is_a_failure(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "\n"}, times=10)

    with pytest.raises(ToolFailed) as failure:
        await stage.run(generate_document, outline=RIVERS)

    assert failure.value.type == "MODEL_EMPTY"
    assert (await stage.job_events())[-1]["event_type"] == "task_failed"


async def test_a_section_that_breaks_off_is_written_anew_and_not_doubled(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "Rivers begin in a "}, {"cut": "fin"})
    await model.script({"text": SOURCES})
    await model.script({"text": FLOODS})

    result = await stage.run(generate_document, outline=RIVERS)

    assert result["markdown"].count("Rivers begin") == 1


async def test_a_model_that_stays_away_is_an_error_with_its_type(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": SOURCES})
    await model.script({"status": 503}, times=10)

    with pytest.raises(ToolFailed) as failure:
        await stage.run(generate_document, outline=RIVERS)

    assert failure.value.type == "MODEL_UNAVAILABLE"
    assert (await stage.job_events())[-1]["error"] == failure.value.message


async def test_cancelling_in_the_middle_closes_the_request_and_asks_nothing_more(
    stage: Stage, model: ModelServer
) -> None:
    await model.script({"text": SOURCES})
    await model.script({"tokens": 100_000, "rate": 100, "of": "word"}, match="about: Floods.")
    work = asyncio.create_task(stage.run(generate_document, outline=RIVERS))
    await model.wait_for(lambda seen: "about: Floods." in str(seen.body) and seen.tokens_sent)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    await model.wait_for(lambda seen: seen.client_closed_at, timeout=1)
    assert len(await model.requests()) == 2
    assert (await stage.job_events())[-1]["event_type"] == "task_stopped"


async def test_an_answer_at_its_limit_ends_with_a_whole_sentence(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "Rivers begin in springs. Some of them beg"}, {"finish": "length"})
    await model.script({"text": FLOODS})

    result = await stage.run(generate_document, outline=RIVERS)

    assert "begin in springs.\n" in result["markdown"]
    assert "Some" not in result["markdown"]


def test_no_text_loses_more_than_half_by_being_cut_at_a_sentence() -> None:
    assert whole_sentences("One. Two. Thr") == "One. Two."
    assert whole_sentences('He said "no." And') == 'He said "no."'
    assert whole_sentences("雨が降る。川が") == "雨が降る。"
    assert whole_sentences("Yes. And then a very long sentence that") == "Yes. And then a very long sentence that…"


def test_a_repeated_heading_is_taken_away_and_nothing_else() -> None:
    assert without_heading("## **Floods**\n\nThey rise.", "floods") == "They rise."
    assert without_heading("Floods are bad.", "Floods") == "Floods are bad."
    assert without_heading("  ", "Floods") == ""
