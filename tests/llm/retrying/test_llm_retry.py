"""Retries of a model call: with jitter, only while nothing was shown, and never by the SDK behind our back."""

import asyncio
import statistics
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import CAP_SECONDS, Patience, delay_seconds, stream_with_retries
from sluiceway_llm.calling.retry_after import retry_after_seconds
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent

from harness.model_server import ModelServer, answer_to
from tests.llm.llm_client import adapter, finished, request, text_of

pytestmark = pytest.mark.requirement("CH-7")

Told = list[tuple[str, int, float]]


async def follow(
    llm: Model,
    text: str,
    events: list[ModelEvent],
    told: Told | None = None,
    attempts: int = 4,
    patience: Patience | None = None,
) -> None:
    def on_retry(error: ModelError, failures: int, delay: float) -> None:
        if told is not None:
            told.append((error.code, failures, delay))

    retried = stream_with_retries(
        llm, request(text), attempts=attempts, patience=patience, on_retry=on_retry, first_seconds=0.01, must_say=True
    )
    async with retried as batches:
        async for batch in batches:
            events += batch


@pytest.mark.parametrize(
    ("status", "code"), [("429", "MODEL_RATE_LIMITED"), ("500", "MODEL_UNAVAILABLE"), ("503", "MODEL_UNAVAILABLE")]
)
async def test_a_passing_error_status_is_retried_until_the_answer_comes(
    model: ModelServer, status: str, code: str
) -> None:
    text, events, told = f"Hi [[tokens=3 status={status} times=2]]", list[ModelEvent](), Told()
    async with adapter(model) as llm:
        await follow(llm, text, events, told)
    assert (text_of(events), finished(events).reason) == (answer_to(text, 3), "stop")
    assert [(seen, failures) for seen, failures, _ in told] == [(code, 1), (code, 2)]
    assert len(await model.requests()) == 3


async def test_a_kept_connection_that_the_server_dropped_costs_no_wait(model: ModelServer) -> None:
    told = Told()
    async with adapter(model, max_connections=1) as llm:
        await follow(llm, "Hi [[tokens=1]]", [])
        await follow(llm, "Hi again [[tokens=1 drop times=2]]", [], told)
    first, second = told
    assert first == ("MODEL_UNAVAILABLE", 1, 0.0)
    assert second[2] > 0
    kept, dropped, *_ = await model.requests()
    assert kept.connection == dropped.connection


@pytest.mark.parametrize("fault", [{"cut": "fin"}, {"cut": "eof"}, {"cut": "rst"}, {"garbage": "html"}])
async def test_an_answer_that_broke_off_before_its_first_token_is_asked_for_again(
    model: ModelServer, fault: dict[str, str]
) -> None:
    events: list[ModelEvent] = []
    await model.script(fault)
    async with adapter(model) as llm:
        await follow(llm, "Hi [[tokens=3]]", events)
    assert text_of(events) == "Hi Hi Hi "
    assert len(await model.requests()) == 2


async def test_once_a_token_was_shown_nothing_is_asked_for_again(model: ModelServer) -> None:
    events, told = list[ModelEvent](), Told()
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi [[tokens=9 rate=0 cut=3]]", events, told)
    assert (raised.value.code, text_of(events), told) == ("MODEL_CUT", "Hi Hi Hi ", [])
    assert len(await model.requests()) == 1


async def test_a_permanent_error_is_not_retried(model: ModelServer) -> None:
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi [[status=401]]", [])
    assert raised.value.code == "MODEL_KEY_REJECTED"
    assert len(await model.requests()) == 1


async def test_after_the_last_attempt_the_error_is_the_callers(model: ModelServer) -> None:
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi [[status=503]]", [], attempts=3)
    assert raised.value.code == "MODEL_UNAVAILABLE"
    assert len(await model.requests()) == 3


async def test_the_time_that_the_server_names_is_waited_for(model: ModelServer) -> None:
    told = Told()
    async with adapter(model) as llm:
        await follow(llm, "Hi [[tokens=1 status=429 times=1 retry_after=0.3]]", [], told)
    [(_, _, delay)] = told
    assert 0.3 <= delay <= 0.31
    first, second = await model.requests()
    assert second.began_at - first.began_at >= 0.3


async def test_a_time_beyond_what_patience_is_left_is_not_waited_for(model: ModelServer) -> None:
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi [[status=429 times=1 retry_after=70]]", [], patience=Patience(60))
    assert raised.value.retry_after_seconds == 70
    assert len(await model.requests()) == 1


async def test_a_model_that_stays_away_is_asked_until_the_patience_is_over(model: ModelServer) -> None:
    patience, told = Patience(0.6), Told()
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi [[status=503]]", [], told, attempts=1000, patience=patience)
    assert raised.value.code == "MODEL_UNAVAILABLE"
    assert raised.value.facts() == {
        "code": "MODEL_UNAVAILABLE",
        "status": 503,
        "attempts": len(await model.requests()),
    }
    assert len(told) > 4
    assert patience.left_seconds <= 0


async def test_patience_is_one_for_all_calls_of_a_turn(model: ModelServer) -> None:
    patience = Patience(30)
    async with adapter(model) as llm:
        await follow(llm, "Hi [[tokens=1 status=503 times=1 retry_after=0.2]]", [], patience=patience)
        left = patience.left_seconds
        await follow(llm, "Ho [[tokens=1]]", [], patience=patience)
    assert 20 < left < 29.8
    assert patience.left_seconds == left


@pytest.mark.parametrize(
    ("steps", "code", "requests"),
    [
        ([{"garbage": "html"}], "MODEL_GARBAGE", 2),
        ([{"finish": "stop"}], "MODEL_EMPTY", 2),
        ([{"finish": "tool_calls"}], "MODEL_EMPTY", 2),
        ([{"finish": "error"}], "MODEL_UNAVAILABLE", 3),
        ([{"finish": "length"}], "MODEL_OUTPUT_LIMIT", 1),
        ([{"finish": "content_filter"}], "MODEL_CONTENT_FILTERED", 1),
        ([{"cut": "eof"}], "MODEL_CUT", 4),
    ],
)
async def test_what_may_have_been_paid_for_is_asked_for_only_a_few_times(
    model: ModelServer, steps: list[dict[str, str]], code: str, requests: int
) -> None:
    await model.script(*steps, times=100)
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi", [], attempts=50, patience=Patience(30))
    assert (raised.value.code, len(await model.requests())) == (code, requests)


@pytest.mark.parametrize("blank", [{"reasoning": "Hm."}, {"text": " \n"}])
async def test_what_was_shown_of_an_answer_that_says_nothing_stays_and_is_not_asked_for_again(
    model: ModelServer, blank: dict[str, str]
) -> None:
    events: list[ModelEvent] = []
    await model.script(blank, {"finish": "stop"})
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await follow(llm, "Hi", events)
    assert raised.value.code == "MODEL_EMPTY"
    assert raised.value.usage is not None
    assert len(events) == 1
    assert len(await model.requests()) == 1


async def test_cancelling_interrupts_the_wait_between_two_tries(model: ModelServer) -> None:
    waiting = asyncio.Event()

    async def call(llm: Model) -> None:
        asked = request("Hi [[status=429 retry_after=50]]")
        async with stream_with_retries(llm, asked, on_retry=lambda *_: waiting.set()) as batches:
            await anext(batches)

    async with adapter(model) as llm:
        task = asyncio.create_task(call(llm))
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)


def test_waits_are_spread_over_the_whole_of_a_limit_that_doubles_up_to_a_cap() -> None:
    for failures, limit in [(1, 0.5), (2, 1.0), (5, 8.0), (60, CAP_SECONDS)]:
        delays = [delay_seconds(failures) for _ in range(2000)]
        assert 0 <= min(delays) < 0.05 * limit
        assert 0.95 * limit < max(delays) <= limit
        assert statistics.fmean(delays) == pytest.approx(limit / 2, rel=0.1)


def test_retry_after_is_read_as_seconds_as_a_date_and_as_milliseconds() -> None:
    now = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    later, earlier = (format_datetime(now + timedelta(seconds=away), usegmt=True) for away in (90, -90))
    assert retry_after_seconds({"retry-after": "7"}) == 7
    assert retry_after_seconds({"retry-after": later}, now) == 90
    assert retry_after_seconds({"retry-after": earlier}, now) == 0
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "1"}) == 0.25


@pytest.mark.parametrize("nonsense", ["", "soon", "-5", "nan", "inf", "Sun, 99 Foo 2026 12:00:00 GMT", "٣"])
def test_a_retry_after_that_means_nothing_is_as_if_it_were_not_there(nonsense: str) -> None:
    assert retry_after_seconds({"retry-after": nonsense}) in (None, 3)
