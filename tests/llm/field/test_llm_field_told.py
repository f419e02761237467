"""What servers of the field say beside their answers: when to come back, and what they want to have back."""

from typing import Any

import pytest
from sluiceway_llm.calling.retry import stream_with_retries
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import Provided
from sluiceway_llm.reading.provided_fields import ProvidedFields

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, D, asked, delta, end, lines, piece
from tests.llm.llm_client import adapter, finished, text_of

pytestmark = pytest.mark.requirement("CH-25")


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"error": {"code": 429, "message": "slow", "details": [{"retryDelay": "7s"}]}}, 7),
        ({"error": {"message": "Rate limit reached. Please try again in 7.5s.", "type": "tokens"}}, 7.5),
        ({"error": {"message": "Please try again in 1m2.5s"}}, 62.5),
        ({"error": {"message": "try again in 20ms"}}, 0.02),
    ],
)
async def test_the_time_to_come_back_is_found_in_the_words_too(
    model: ModelServer, told: dict[str, Any], seconds: float
) -> None:
    await model.script({"status": 429, "body": told})
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            async with llm.stream(asked()) as batches:
                await anext(batches)
    assert raised.value.code == "MODEL_RATE_LIMITED"
    assert raised.value.retry_after_seconds == pytest.approx(seconds)


async def test_a_first_chunk_that_is_an_error_is_retried_as_what_it_is(model: ModelServer) -> None:
    limited = lines(end("error", error={"code": 429, "message": "slow down"}), D)
    await model.script({"status": 200, "body": limited, "content_type": "text/event-stream"})
    told: list[str] = []
    async with adapter(model) as llm:
        stream = stream_with_retries(
            llm, asked(), first_seconds=0.001, on_retry=lambda error, *_: told.append(error.code)
        )
        async with stream as batches:
            events = [event async for batch in batches for event in batch]
    assert told == ["MODEL_RATE_LIMITED"]
    assert text_of(events).startswith("Go ")


async def test_what_a_server_gives_with_its_calls_is_handed_on_unchanged(model: ModelServer) -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 1}, {"type": "reasoning.text", "text": "a"}]
    body = lines(
        delta(reasoning_content="Hm.", reasoning_details=details),
        delta(reasoning_details=[{"type": "reasoning.summary", "summary": "so", "index": 2}]),
        delta(reasoning_details=[{"type": "reasoning.summary", "summary": " it is", "index": 2}]),
        piece(ONE, "note", index=0, id="a", extra_content=signature),
        piece(TWO, "note", index=1, id="b"),
        end("tool_calls"),
    )
    await model.script({"status": 200, "body": body, "content_type": "text/event-stream"})
    async with adapter(model) as llm, llm.stream(asked()) as batches:
        events = [event async for batch in batches for event in batch]
        by = llm.manners_of("fake").by
    assert finished(events).provided == Provided(
        by,
        {"reasoning_details": [*details, {"type": "reasoning.summary", "summary": "so it is", "index": 2}]},
        [{"id": "a", "extra_content": signature}, {"id": "b"}],
        "reasoning_content",
    )


def given(*deltas: list[dict[str, Any]], field: str = "thinking_blocks") -> Any:
    fields = ProvidedFields()
    for entries in deltas:
        fields.take(field, entries)
    return fields.cleaned()[field]


def test_a_thought_that_came_in_pieces_goes_back_whole_with_its_signature() -> None:
    def thinking(text: str, signature: str | None = None) -> dict[str, Any]:
        return {"type": "thinking", "thinking": text, "signature": signature}

    whole = {"type": "thinking", "thinking": "Hm. So.", "signature": "c2ln"}
    assert given([thinking("Hm.")], [thinking(" So.", "")], [thinking("", "c2ln")]) == [whole]
    assert given([thinking("Hm. So.", "c2ln")], [thinking("Again.", "c2ln2")]) == [whole, thinking("Again.", "c2ln2")]
    hidden = {"type": "redacted_thinking", "data": "x"}
    assert given([hidden], [hidden], [thinking("Hm. So.", "c2ln")]) == [hidden, hidden, whole]


def test_pieces_of_openrouters_details_are_one_by_their_number_or_id_and_others_stay_apart() -> None:
    def text(words: str, **beside: Any) -> dict[str, Any]:
        return {"type": "reasoning.text", "text": words, **beside}

    pieces = [[text("H", index=0)], [text("m.", index=0)], [text("", index=0, signature="c2ln")], [text("B", index=1)]]
    assert given(*pieces) == [text("Hm.", index=0, signature="c2ln"), text("B", index=1)]
    assert given([text("a", id="r1")], [text("b", id="r1")], [text("c", id="r2")]) == [
        text("ab", id="r1"),
        text("c", id="r2"),
    ]
    assert given([text("a")], [text("b")]) == [text("a"), text("b")]
