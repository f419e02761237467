"""Leaving an answer closes the request to the model server at once, wherever the answer is."""

import asyncio
import time

import pytest
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import stream_with_retries
from sluiceway_llm.model_events import ModelRequest

from harness.model_server import ModelServer
from harness.model_server.record import Record
from tests.llm.llm_client import adapter, events_of, finished, request

pytestmark = pytest.mark.requirement("CH-13")

AT_ONCE_SECONDS = 0.5


async def cancel_when(model: ModelServer, text: str, arrived: str) -> tuple[Record, float]:
    """Asks, cancels once the record has that field, and gives the record and when it was cancelled."""
    async with adapter(model) as llm:
        call = asyncio.create_task(events_of(llm, request(text)))
        await model.wait_for(lambda seen: getattr(seen, arrived))
        cancelled_at = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await model.wait_for(lambda seen: seen.client_closed_at), cancelled_at


@pytest.mark.parametrize(
    ("tags", "arrived"),
    [
        ("stall_headers=ever", "began_at"),
        ("stall=ever", "began_at"),
        ("tokens=20 stall_after=3", "tokens_sent"),
        ("tokens=100000 rate=500", "tokens_sent"),
    ],
)
async def test_cancelling_closes_the_request_at_once_also_while_the_server_is_silent(
    model: ModelServer, tags: str, arrived: str
) -> None:
    record, cancelled_at = await cancel_when(model, f"Hi [[{tags}]]", arrived)
    assert record.client_closed_at is not None
    assert record.client_closed_at - cancelled_at < AT_ONCE_SECONDS


async def test_leaving_the_context_in_mid_answer_closes_the_request(model: ModelServer) -> None:
    async with adapter(model) as llm:
        async with llm.stream(request("Hi [[tokens=100000 rate=500]]")) as batches:
            await anext(batches)
        # The adapter is open still: it is the stream's end that closed the connection.
        record = await model.wait_for(lambda seen: seen.client_closed_at)
    assert record.tokens_sent < 100_000


async def test_leaving_the_context_before_anything_was_read_closes_the_request(model: ModelServer) -> None:
    async with adapter(model) as llm:
        async with llm.stream(request("Hi [[tokens=100000 rate=500]]")):
            pass
        await model.wait_for(lambda seen: seen.client_closed_at)


async def test_an_error_of_the_reader_closes_the_request_and_continues_to_its_caller(model: ModelServer) -> None:
    async def read_and_fail(llm: Model, asked: ModelRequest) -> None:
        async with llm.stream(asked) as batches:
            async for _ in batches:
                raise ZeroDivisionError

    async with adapter(model) as llm:
        with pytest.raises(ZeroDivisionError):
            await read_and_fail(llm, request("Hi [[tokens=100000 rate=500]]"))
        await model.wait_for(lambda seen: seen.client_closed_at)


async def test_cancelling_through_the_retries_closes_the_request_too(model: ModelServer) -> None:
    async def follow(llm: Model) -> None:
        async with stream_with_retries(llm, request("Hi [[stall=ever]]")) as batches:
            async for _ in batches:
                pass

    async with adapter(model) as llm:
        call = asyncio.create_task(follow(llm))
        await model.wait_for(lambda seen: seen.began_at)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await model.wait_for(lambda seen: seen.client_closed_at)


async def test_a_cancelled_answer_leaves_the_adapter_fit_for_others(model: ModelServer) -> None:
    async with adapter(model, max_connections=2) as llm:
        for _ in range(5):
            async with llm.stream(request("Hi [[tokens=100000 rate=500]]")) as batches:
                await anext(batches)
        assert finished(await events_of(llm, request("Hi [[tokens=2]]"))).reason == "stop"
