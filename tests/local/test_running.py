"""`make run`, once it is installed: what comes up, what stays, what comes back, what is left at the end."""

import signal

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from harness.clients.sse import follow, follow_to_the_end
from harness.model_server.answers import answer_to
from harness.model_server.client import ModelServer
from harness.processes.services import probe
from harness.waiting import wait_until
from tests.local.stack import STOP_SECONDS, Stack


@pytest.mark.requirement("OP-1")
async def test_run_json_names_every_process_and_every_address(stack: Stack) -> None:
    stack.environment["REPLICAS"] = "3"
    await stack.start()
    workers = {f"chat-worker-{number}" for number in (1, 2, 3)}
    assert set(stack.pids) == {"valkey", "postgres", "gateway", "tool-runner", "completion-consumer", *workers}
    assert all(psutil.pid_exists(pid) for pid in stack.pids.values())
    assert stack.run_file["gateway_url"] == stack.url
    async with Redis.from_url(stack.run_file["redis_url"]) as redis:
        assert await redis.ping()
    connection = await asyncpg.connect(stack.run_file["database_url"])
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.close()


@pytest.mark.requirement("OP-1")
async def test_without_any_key_the_model_on_this_machine_answers(keyless_stack: Stack) -> None:
    await keyless_stack.start()
    assert "model" in keyless_stack.pids
    turn = await keyless_stack.ask("Say hello.")
    answer = await turn.answer()
    assert answer.text
    assert answer.chunks[-1]["type"] == "finish"


@pytest.mark.requirement("OP-1")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_in_mid_answer_is_over_within_five_seconds_and_leaves_nothing(
    stack: Stack, number: signal.Signals
) -> None:
    await stack.start()
    turn = await stack.ask("a long story [[tokens=4000 rate=20]]")
    async with follow(turn.stream_url) as stream:
        await stream.read_text(20)
        stack.send(number)
        assert stack.exited(STOP_SECONDS) == 0
        await stream.read_to_end()
    assert "finish" not in stream.types
    assert stack.left_processes() == []
    assert not (stack.data_dir / "run.json").exists()
    assert "Traceback" not in stack.output


@pytest.mark.requirement("OP-1")
async def test_a_second_run_finds_the_conversation_and_finishes_what_was_cut_off(
    stack: Stack, model: ModelServer
) -> None:
    await stack.start()
    first = await stack.ask("first question")
    answered = (await first.answer()).text
    assert answered == answer_to("first question")
    second = await stack.ask("second question [[gate=held]]", first.session_id)
    await model.wait_for(lambda request: "second question" in str(request.body))
    stack.send(signal.SIGINT)
    assert stack.exited() == 0

    await model.open_gate("held")
    await stack.start()
    roles = [message["role"] for message in await stack.messages(first.session_id)]
    assert roles[:2] == ["user", "assistant"]
    await follow_to_the_end([second.stream_url])
    texts = [_text(message) for message in await stack.messages(first.session_id)]
    assert texts[:2] == ["first question", answered]
    assert texts[3] == answer_to("second question [[gate=held]]")


@pytest.mark.requirement("OP-1")
async def test_a_killed_supervisor_takes_everything_with_it_and_the_next_run_starts(stack: Stack) -> None:
    await stack.start()
    stack.send(signal.SIGKILL)
    stack.exited()
    await wait_until(lambda: not stack.left_processes(), STOP_SECONDS, "the kernel ended all processes")
    await stack.start()
    assert (await (await stack.ask("again")).answer()).text == answer_to("again")


async def test_a_worker_killed_in_mid_answer_is_back_at_once_and_the_answer_comes_anyway(
    stack: Stack, model: ModelServer
) -> None:
    await stack.start()
    text = "patience [[tokens=60 gate_after=20:held]]"
    turn = await stack.ask(text)
    async with follow(turn.stream_url) as stream:
        await stream.read_text(20)
        killed = stack.kill9("chat-worker-1")
        await stack.came_back("chat-worker-1", killed, timeout=3)
        await model.open_gate("held")
    await follow_to_the_end([turn.stream_url])
    answer = (await stack.messages(turn.session_id))[-1]
    assert _text(answer) == answer_to(text, 60)
    assert "chat-worker-1       │ was ended by SIGKILL; starting again" in stack.output


async def test_whatever_part_is_killed_comes_back_at_its_old_address(keyless_stack: Stack) -> None:
    stack = await keyless_stack.start()
    before = stack.run_file
    for name in ("valkey", "postgres", "model", "gateway", "tool-runner", "completion-consumer"):
        killed = stack.kill9(name)
        await stack.came_back(name, killed)
    await wait_until(lambda: _is_ready(stack), 20, "the gateway is ready again")
    after = stack.run_file
    assert [before[key] for key in _ADDRESSES] == [after[key] for key in _ADDRESSES]
    assert (await (await stack.ask("Say hello.")).answer()).text


_ADDRESSES = ("gateway_url", "redis_url", "database_url")


async def _is_ready(stack: Stack) -> bool:
    return await probe(stack.url, "/readyz") == 200


def _text(message: dict[str, list[dict[str, str]]]) -> str:
    return "".join(part.get("text", "") for part in message["parts"] if part["type"] == "text")
