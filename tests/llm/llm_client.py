"""Shared by the tests of the model adapter: open it on the fake server, ask, and put the events together."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)

from harness.model_server import ModelServer

MODEL = "fake-model"


def request(text: str, **fields: Any) -> ModelRequest:
    return ModelRequest(model=MODEL, messages=[{"role": "user", "content": text}], **fields)


@asynccontextmanager
async def adapter(server: ModelServer, api_key: str = "sk-of-the-test", **options: Any) -> AsyncIterator[Model]:
    async with Model(server.base_url, api_key, **options) as model:
        yield model


async def ask(server: ModelServer, text: str, **options: Any) -> list[ModelEvent]:
    """All events of one answer."""
    async with adapter(server, **options) as model:
        return await events_of(model, request(text))


async def events_of(model: Model, asked: ModelRequest) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    async with model.stream(asked) as batches:
        async for batch in batches:
            assert batch, "a batch is never empty"
            events += batch
    return events


async def events_until_error(model: Model, asked: ModelRequest, kept: list[ModelEvent]) -> None:
    """As `events_of`, for answers that end with an error: what came before it is in `kept`."""
    async with model.stream(asked) as batches:
        async for batch in batches:
            kept += batch


def text_of(events: Iterable[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: Iterable[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def refusal_of(events: Iterable[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, RefusalDelta))


def calls_of(events: Iterable[ModelEvent]) -> dict[int, tuple[str, str, str]]:
    """Id, name and joined arguments of each tool call."""
    calls: dict[int, tuple[str, str, str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call_id, name, arguments = calls.get(event.index, ("", "", ""))
            calls[event.index] = (event.id or call_id, event.name or name, arguments + event.arguments)
    return calls


def finished(events: list[ModelEvent]) -> Finished:
    """The last event, which is the only one of its kind."""
    ends = [event for event in events if isinstance(event, Finished)]
    assert [events[-1]] == ends
    return ends[0]
