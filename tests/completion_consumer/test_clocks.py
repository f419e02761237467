"""No decision compares one machine's clock with another's: everything goes on where every process's clock is wrong."""

import ast
import re
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.process.settings import CommonSettings
from sluiceway.service.agreement import Agreement

import harness
from harness.clients.calling import call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

_ROOT = Path(__file__).parents[2]
_SHIFTED = str(Path(harness.__file__).parent / "shifted_clock")
# Where the clock of the machine is told to people, or is what a standard of the outside world asks for.
_MAY_TELL_THE_TIME = {
    "shared/src/sluiceway/feeds/agent_event.py": "an event's timestamp is its publisher's, and is shown only",
    "shared/src/sluiceway/feeds/job_events.py": "likewise",
    "shared/src/sluiceway/files/objects.py": "what lies half-written in a local folder for a day is nobody's any more",
    "services/chat-worker/src/chat_worker/step/asking.py": "since when a turn waits for its model is shown only",
    "services/tool-runner/src/tool_runner/tools/current_time.py": "it is what the tool answers",
    "services/gateway/src/gateway/webhooks/signature.py": "Standard Webhooks: the sender's clock, within five minutes",
    "services/gateway/src/gateway/callers/stream_tokens.py": "as in RFC 7519: a token carries its end",
    "services/gateway/src/gateway/routes/following.py": "until when a token lets its caller follow, likewise",
    "services/gateway/src/gateway/callers/user_cookie.py": "likewise, as a cookie",
    "services/gateway/src/gateway/callers/signed_out.py": "likewise: until when one that was signed out is known",
    "services/gateway/src/gateway/callers/sign_in.py": "likewise: how long signing in may take",
    "services/gateway/src/gateway/rates.py": "this process's own estimate, while Redis is away",
    "services/gateway/src/gateway/callers/api_keys.py": "a key ends on a day that an operator chose",
    "shared/src/sluiceway/service/agreement.py": "how wrong a process's clock is is told to operators",
    "services/gateway/src/gateway/ops/doctor.py": "how far clocks are apart is told to an operator",
    "services/gateway/src/gateway/ctl/keys.py": "likewise, and shown only",
    "services/gateway/src/gateway/ctl/tail.py": "when an operator saw a line is shown only",
    "llm/src/sluiceway_llm/calling/retry_after.py": "RFC 9110: an HTTP date of the model's server",
}

_WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def _clock(seconds: int) -> dict[str, str]:
    return {"PYTHONPATH": _SHIFTED, "CLOCK_SHIFT_SECONDS": str(seconds)}


@pytest.mark.parametrize("shift", [-7200, 7200], ids=["slow", "fast"])
@pytest.mark.requirement("OP-7")
async def test_turns_with_tools_run_where_every_process_has_another_wrong_clock(
    services: Services, model: ModelServer, redis: Redis, shift: int
) -> None:
    gateway = await services.gateway(**_clock(shift))
    worker = await services.chat_worker(**_clock(-shift))
    consumer = await services.completion_consumer(RECONCILE_SECONDS="0.1", **_clock(shift * 2))
    await services.tool_runner(**_clock(-shift * 2))
    await wait_until(lambda: gateway.answers("/readyz"), what="the gateway sees the worker")
    await offered(gateway.url, "current_time")
    await calls_tools(model, "the time", call("current_time", "call_1"))
    async with Chat(gateway.url) as chat:
        asking = await chat.ask("Tell me the time")
        await chat.answer(asking)
        slow = "Tell me slowly [[tokens=60 rate=20]]"
        telling = await chat.ask(slow)
        assert fold(await chat.answer(telling)).text == answer_to(slow, 60)
    for turn, ends in ((asking, ["waiting", "completed"]), (telling, ["completed"])):
        await wait_until(partial(_has_ended, worker, turn.task_id, ends), what=f"the turn's ends are {ends}")
    # Each says of itself how wrong it is, for operators.
    operators = Agreement(redis, "gateway that looks", CommonSettings())
    await operators.compare()
    assert not operators.itself.lacks
    wrong = {"gateway": shift, "chat-worker": -shift, "completion-consumer": shift * 2, "tool-runner": -shift * 2}
    told = {one.component: one.lacks for one in operators.others or ()}
    assert told.keys() == wrong.keys()
    for component, seconds in wrong.items():
        said = re.search(r"clock: (\d+) s (ahead of|behind) Redis's", told[component])
        assert said is not None, told
        assert said[2] == ("ahead of" if seconds > 0 else "behind")
        assert abs(int(said[1]) - abs(seconds)) < 60
    # To a reconciler that believed its own clock, whoever works was silent for hours, and every turn is overdue.
    assert [line["event"] for line in consumer.log_lines if line["event"].startswith("turn_")] == []


@pytest.mark.requirement("OP-7")
async def test_a_turn_that_was_accepted_while_redis_was_away_is_queued_by_a_consumer_whose_clock_is_slow(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(RECONCILE_SECONDS="0.1", **_clock(-7200))
    waiting = await scene.left_behind()
    await wait_until(lambda: scene.next_steps(waiting.task), what="the turn is queued")


def _has_ended(worker: Service, task_id: str, ends: list[str]) -> bool:
    of_turn = [line for line in worker.log_lines if line["event"] == "turn_ended" and line["task_id"] == task_id]
    return [line["status"] for line in of_turn] == ends


def test_nothing_else_asks_the_machine_for_the_time_of_day() -> None:
    sources = [*_ROOT.glob("shared/src/**/*.py"), *_ROOT.glob("services/*/src/**/*.py"), *_ROOT.glob("llm/src/**/*.py")]
    asking = {str(path.relative_to(_ROOT)) for path in sources if _tells_the_time(path)}
    assert asking == set(_MAY_TELL_THE_TIME)


def _tells_the_time(path: Path) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = {f"{ast.unparse(call.value)}.{call.attr}" for call in calls if isinstance(call, ast.Attribute)}
    return bool(named & _WALL_CLOCKS)
