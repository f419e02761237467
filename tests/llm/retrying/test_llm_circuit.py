"""A model that is away is asked by one call now and then; and another model is asked instead, where there is one."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.circuit import Circuit, ModelAway
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience, PutOff, Tried, stream_with_retries
from sluiceway_llm.model_errors import ModelError, ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable
from sluiceway_llm.model_events import ModelEvent, ModelRequest

from harness.model_server import ModelServer, answer_to
from harness.processes.ports import free_port
from tests.llm.llm_client import MODEL, adapter, finished, request, text_of

pytestmark = pytest.mark.requirement("CH-7")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def away(status: int | None = 503) -> ModelError:
    error = ModelUnavailable()
    error.status = status
    return error


def refused(circuit: Circuit) -> bool:
    try:
        circuit.ask().left()
    except ModelAway:
        return True
    return False


async def follow(llm: Model, text: str, attempts: int = 9, patience: float = 30) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    retried = stream_with_retries(
        llm, request(text), attempts=attempts, patience=Patience(patience), first_seconds=0.01, must_say=True
    )
    async with retried as batches:
        async for batch in batches:
            events += batch
    return events


def test_one_silence_opens_it_and_one_call_tries_when_its_time_is_over() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    circuit.ask().failed(ModelTimeout())
    assert (circuit.state, refused(circuit)) == ("open", True)
    clock.now += circuit.asked_again_seconds
    trial = circuit.ask()
    assert (circuit.state, refused(circuit)) == ("trying", True)
    trial.answered()
    assert (circuit.state, refused(circuit)) == ("closed", False)


def test_other_signs_open_it_after_three_in_a_row_and_longer_each_time() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for error in (away(), away(None)):
        circuit.ask().failed(error)
    assert not refused(circuit)
    circuit.ask().failed(away())
    waits = [circuit.asked_again_seconds]
    for _ in range(12):
        clock.now += circuit.asked_again_seconds
        circuit.ask().failed(away())
        waits.append(circuit.asked_again_seconds)
    assert 0.25 <= waits[0] <= 0.5
    assert 7.5 <= waits[-1] <= 15
    assert all(wait <= 15 for wait in waits)


@pytest.mark.parametrize("error", [ModelRateLimited(), away(500), ModelRejected()])
def test_what_says_nothing_of_a_model_that_is_away_does_not_open_it(error: ModelError) -> None:
    circuit = Circuit(Clock())
    for _ in range(9):
        circuit.ask().failed(error)
    assert circuit.state == "closed"


def test_a_call_that_fails_while_others_are_answered_does_not_open_it() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    slow = circuit.ask()
    clock.now += 1
    circuit.ask().answered()
    slow.failed(ModelTimeout())
    assert circuit.state == "closed"


def test_a_trial_that_is_given_up_lets_another_try() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    circuit.ask().failed(ModelTimeout())
    clock.now += 60
    circuit.ask().left()
    circuit.ask().answered()
    assert circuit.state == "closed"


def test_what_a_server_says_of_its_return_is_believed_within_bounds() -> None:
    circuit = Circuit(Clock())
    error = ModelTimeout(retry_after_seconds=3600)
    circuit.ask().failed(error)
    assert circuit.asked_again_seconds == 15


async def test_an_away_server_costs_one_timeout_and_not_one_for_each_turn(model: ModelServer) -> None:
    async with adapter(model, first_chunk_timeout=0.4) as llm:
        with pytest.raises(ModelTimeout):
            await follow(llm, "Hi [[stall_headers=ever]]", attempts=1)
        began = asyncio.get_running_loop().time()
        turns = [follow(llm, f"Hi {n} [[stall_headers=ever]]", attempts=1, patience=0.1) for n in range(20)]
        ended = await asyncio.gather(*turns, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 0.4
        assert all(isinstance(one, ModelAway) for one in ended)
        assert len(await model.requests()) == 1
        about = llm.told()[MODEL]
        assert isinstance(about, dict)
        assert about["circuit"] == "open"
        # It is back: all are answered, and nobody failed for having been refused meanwhile.
        answers = await asyncio.gather(*(follow(llm, f"Hello {n} [[tokens=2 rate=0]]", attempts=1) for n in range(5)))
        assert all(finished(events).reason == "stop" for events in answers)
        assert llm.told() == {}


async def test_the_last_error_of_the_server_is_what_is_told_when_patience_ends(model: ModelServer) -> None:
    async with adapter(model) as llm:
        with pytest.raises(ModelUnavailable) as failed:
            await follow(llm, "Hi [[status=503]]", attempts=1000, patience=1)
    assert failed.value.facts()["status"] == 503
    assert failed.value.attempts == len(await model.requests())


async def test_a_fallback_model_is_asked_at_once_where_the_first_one_is_overloaded(model: ModelServer) -> None:
    question = "Hi [[status=503 times=1 tokens=2 rate=0]]"
    async with adapter(model, fallback="spare") as llm:
        events = await follow(llm, question)
    assert text_of(events) == answer_to(question, 2)
    assert [record.body["model"] for record in await model.requests()] == [MODEL, "spare"]


async def test_where_both_are_away_the_first_is_asked_again_after_the_wait(model: ModelServer) -> None:
    question = "Hi [[status=429 times=2 tokens=2 rate=0]]"
    async with adapter(model, fallback="spare") as llm:
        assert text_of(await follow(llm, question)) == answer_to(question, 2)
    assert [record.body["model"] for record in await model.requests()] == [MODEL, "spare", MODEL]


async def test_a_refusal_is_no_reason_to_ask_another_model(model: ModelServer) -> None:
    async with adapter(model, fallback="spare") as llm:
        with pytest.raises(ModelRejected):
            await follow(llm, "Hi [[status=401]]")
    assert len(await model.requests()) == 1


async def test_a_long_wait_is_put_off_and_tells_what_was_tried(model: ModelServer) -> None:
    async with adapter(model) as llm:
        stream = stream_with_retries(
            llm,
            request("Hi [[status=429 retry_after=20]]"),
            attempts=9,
            patience=Patience(60),
            longest_wait_seconds=5,
            tried=Tried(2, {"ModelTimeout": 2}),
        )
        with pytest.raises(PutOff) as put_off:
            async with stream as batches:
                await anext(batches)
    assert 20 <= put_off.value.delay_seconds < 21
    assert put_off.value.tried == Tried(3, {"ModelTimeout": 2, "ModelRateLimited": 1})
    assert len(await model.requests()) == 1


async def test_a_call_that_is_cancelled_while_it_tries_leaves_the_circuit_to_others(model: ModelServer) -> None:
    async with adapter(model, first_chunk_timeout=0.2) as llm:
        with pytest.raises(ModelTimeout):
            await follow(llm, "Hi [[stall_headers=ever]]", attempts=1)
        trying = asyncio.create_task(follow(llm, "Hi again [[stall_headers=ever]]", attempts=1))
        await model.wait_for(lambda record: "again" in str(record.body))
        trying.cancel()
        with suppress(asyncio.CancelledError):
            await trying
        assert finished(await follow(llm, "And now? [[tokens=1 rate=0]]")).reason == "stop"


async def test_what_a_server_says_of_one_model_says_nothing_of_its_others(model: ModelServer) -> None:
    async with adapter(model) as llm:
        for _ in range(3):
            llm.asking("overloaded").failed(away(503))
        with pytest.raises(ModelAway):
            llm.asking("overloaded")
        assert finished(await follow(llm, "Hi [[tokens=1 rate=0]]", attempts=1)).reason == "stop"
        assert llm.told().keys() == {"overloaded"}


async def test_a_server_that_is_not_there_is_asked_by_one_of_its_models_and_no_other_server_suffers(
    model: ModelServer,
) -> None:
    """The fallback model is another server's: it answers at once, and nobody goes on knocking at the dead one."""
    nobody = {"base_url": f"http://127.0.0.1:{free_port()}/v1"}
    options = {name: ServerOptions.model_validate(nobody) for name in ("dead", "dead too")}
    question = "Hi [[tokens=2 rate=0]]"
    async with adapter(model, model_options=options, fallback=MODEL) as llm:
        for _ in range(3):
            events = await events_of_retries(llm, replace(request(question), model="dead"))
            assert text_of(events) == answer_to(question, 2)
        for name in ("dead", "dead too"):
            with pytest.raises(ModelAway):
                llm.asking(name)
        assert text_of(await events_of_retries(llm, replace(request(question), model="dead too")))
        llm.asking(MODEL).left()
    assert {record.body["model"] for record in await model.requests()} == {MODEL}


async def test_another_server_gets_its_own_key_and_never_ours(model: ModelServer) -> None:
    options = {
        "keyed": ServerOptions.model_validate({"base_url": model.base_url, "api_key": "sk-its-own"}),
        "open": ServerOptions.model_validate({"base_url": model.base_url}),
    }
    async with Model("http://127.0.0.1:9/v1", "sk-ours", model_options=options) as llm:
        for name in options:
            await events_of_retries(llm, replace(request("Hi [[tokens=1 rate=0]]"), model=name))
        with pytest.raises(ModelRejected) as refused:
            await events_of_retries(llm, replace(request("Hi [[status=401]] sk-its-own"), model="keyed"))
    sent = [record.headers["authorization"] for record in await model.requests()]
    assert sent[:2] == ["Bearer sk-its-own", "Bearer not-needed"]
    assert "sk-its-own" not in refused.value.user_message
    assert "sk-its-own" not in repr(options)


async def events_of_retries(llm: Model, asked: ModelRequest) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    async with stream_with_retries(llm, asked, attempts=9, patience=Patience(5), first_seconds=0.01) as batches:
        async for batch in batches:
            events += batch
    return events
