"""Answers that may be large are read and rendered a few at a time: who asks for many waits behind himself, not before
others."""

import asyncio
import itertools
import time
from pathlib import Path

import gateway
import pytest
from gateway.api.problems import Overloaded, TooManyAtOnce, problem_response
from gateway.large_answers import LargeAnswers
from gateway.serving import outbox
from gateway.serving.app import _ROUTES
from gateway.serving.outbox import Outbox
from starlette.types import Message

# What may be of any size in an answer.
_LARGE_FIELDS = {"messages", "output", "events"}
_GREEDY, _OTHER = "greedy", "other"


class _Reading:
    """Somebody's answers: how many are in flight, until they are let go."""

    def __init__(self, answers: LargeAnswers, caller: str) -> None:
        self._answers, self._caller = answers, caller
        self.go = asyncio.Event()
        self.now = self.most = self.done = 0

    async def one(self) -> None:
        async with self._answers.turn(self._caller):
            self.now += 1
            self.most = max(self.most, self.now)
            await self.go.wait()
            self.now -= 1
        self.done += 1


@pytest.mark.requirement("SE-4")
async def test_somebody_who_asks_for_forty_has_two_in_flight_and_another_gets_in() -> None:
    answers = LargeAnswers(most=4, most_of_caller=2)
    greedy, other = _Reading(answers, _GREEDY), _Reading(answers, _OTHER)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(greedy.one())
        await asyncio.sleep(0)
        other.go.set()
        await asyncio.wait_for(other.one(), 10)
        assert (other.done, greedy.now, greedy.done) == (1, 2, 0)
        greedy.go.set()
    assert (greedy.most, greedy.done) == (2, 40)


async def test_many_callers_together_have_four_in_flight() -> None:
    answers = LargeAnswers(most=4, most_of_caller=2)
    readings = [_Reading(answers, f"user-{number}") for number in range(10)]
    async with asyncio.TaskGroup() as tasks:
        for reading in readings:
            tasks.create_task(reading.one())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(reading.now for reading in readings) == 4
        for reading in readings:
            reading.go.set()
    assert sum(reading.done for reading in readings) == 10


async def test_one_that_waited_too_long_is_told_for_whom_and_to_come_again_and_takes_no_room() -> None:
    answers = LargeAnswers(most=1, most_of_caller=1, patience_seconds=0.05)
    async with answers.turn(_GREEDY):
        for caller, status in ((_GREEDY, 429), (_OTHER, 503)):
            with pytest.raises((Overloaded, TooManyAtOnce)) as told:
                async with answers.turn(caller):
                    pytest.fail("there was room")
            assert isinstance(told.value, Overloaded | TooManyAtOnce)
            answer = problem_response(told.value, "")
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (status, True)
    async with asyncio.timeout(10), answers.turn(_OTHER):
        pass


@pytest.mark.requirement("TS-10")
async def test_a_client_that_takes_an_answer_a_byte_now_and_then_is_cut_and_keeps_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that takes none is cut by the connection's own timer."""
    monkeypatch.setattr(outbox, "_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(outbox, "_SLOWEST_BYTES_PER_SECOND", 10_000_000)
    size = 1024 * 1024
    aborted, sends = asyncio.Event(), Outbox(size)
    head = [(b"content-length", str(size).encode())]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await aborted.wait()

    with sends.sending(send, {"abort": aborted.set}) as sending:
        await sending({"type": "http.response.start", "status": 200, "headers": head})
        assert not sends.take(size)
        async with asyncio.timeout(10):
            await sending({"type": "http.response.body", "body": bytes(size)})
    assert aborted.is_set()
    assert sends.take(size)


async def test_the_loop_is_left_to_others_for_as_long_as_a_rendering_took() -> None:
    """Sleeping blocks the loop here, as rendering does."""
    answers, spans = LargeAnswers(most=4, most_of_caller=4), list[tuple[float, float]]()

    async def render() -> None:
        async with answers.rendering():
            began = time.perf_counter()
            time.sleep(0.02)  # noqa: ASYNC251
            spans.append((began, time.perf_counter()))

    await asyncio.gather(*(render() for _ in range(4)))
    for (began, ended), (following, _) in itertools.pairwise(spans):
        assert following - ended >= 0.9 * (ended - began)


def test_every_route_that_answers_messages_or_results_is_a_large_one() -> None:
    """An export is one of its own kind: it has its turn for as long as it is sent."""
    answering = {
        spec.path
        for spec in _ROUTES
        for answer in spec.answers.values()
        if spec.method == "GET" and answer.model is not None and answer.model.model_fields.keys() & _LARGE_FIELDS
    }
    large = {spec.path for spec in _ROUTES if spec.large}
    # Of what they tell none has what was said, or more than a line of it.
    told = {"/api/ops/turns/{task_id}/events", "/api/chat/search"}
    others = {"/api/chat/sessions/{session_id}/export", *told}
    assert {"/api/chat/sessions/{session_id}", "/api/chat/shared/{token}"} < answering - others
    assert answering - others == large


def test_what_is_written_while_it_is_sent_has_its_turn() -> None:
    """A file of the object store comes in small pieces; whatever else is sent piece by piece is an Export."""
    modules = Path(gateway.__file__).parent.rglob("*.py")
    assert {path.name for path in modules if "StreamingResponse" in path.read_text()} == {"exporting.py", "files.py"}
