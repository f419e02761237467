"""The tool runner of `make run`: its tools are there, it comes back when it is killed, and it knows what it must."""

import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from harness.clients.sse import follow, follow_to_the_end
from harness.model_server.client import ModelServer
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import wait_until
from tests.local import slow_tools
from tests.local.stack import STOP_SECONDS, Stack

pytestmark = pytest.mark.requirement("OP-1")

_EXAMPLE = Path(__file__).parents[2] / "examples" / "outside_service.py"


@pytest.fixture
def slow_stack(stack: Stack, tmp_path: Path) -> Stack:
    """With the tools of `slow_tools`, and the pipe `gate`."""
    os.mkfifo(tmp_path / "gate")
    folder = tmp_path / "tools"
    folder.mkdir()
    shutil.copy(str(slow_tools.__file__), folder)
    stack.environment["TOOLS_DIR"] = str(folder)
    return stack


@pytest.fixture
def outside(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The example service, known to the stack by a name of its own."""
    port = free_port()
    service = Child("outside", [sys.executable, str(_EXAMPLE), "--port", str(port)], tmp_path / "outside.log")
    stack.environment["HTTP_OPERATIONS"] = json.dumps({"printer": f"http://127.0.0.1:{port}/operations"})
    service.start()
    yield "printer"
    service.end()


async def test_a_tool_is_run_by_its_name_where_the_model_is_too_small_to_choose_one(keyless_stack: Stack) -> None:
    await keyless_stack.start()
    assert psutil.Process(keyless_stack.pids["chat-worker-1"]).environ()["OFFER_TOOLS"] == "false"
    turn = await keyless_stack.ask("/current_time Europe/Berlin")
    answer = await turn.answer()
    assert answer.chunks[-1]["type"] == "finish"
    part = await _tool_part(keyless_stack, turn.session_id)
    assert (part["type"], part["state"]) == ("tool-current_time", "output-available")
    assert part["output"]["timezone"] == "Europe/Berlin"


async def test_a_model_of_ones_own_is_offered_every_tool(stack: Stack, model: ModelServer) -> None:
    await stack.start()

    async def offered() -> set[str]:
        await (await stack.ask("What can you do?")).answer()
        request = (await model.requests("What can you do?"))[-1]
        return {tool["function"]["name"] for tool in request.body.get("tools", [])}

    names = await wait_until(offered, 10, "the worker has seen what the runner announced")
    assert names >= {"current_time", "web_fetch", "generate_outline", "generate_document", "run_agents"}
    assert "http_operation" in names


async def test_a_tool_runner_killed_in_mid_operation_is_back_at_once_and_the_answer_comes_anyway(
    slow_stack: Stack, tmp_path: Path
) -> None:
    await slow_stack.start()
    turn = await slow_stack.ask(f"/wait_at_gate {tmp_path / 'gate'}")
    async with follow(turn.stream_url) as stream:
        await stream.read_until(lambda event: '"waiting"' in event.data)
        killed = slow_stack.kill9("tool-runner")
        await slow_stack.came_back("tool-runner", killed, timeout=3)
        await _open_gate(tmp_path)
        await stream.read_to_end()
    assert stream.chunks[-1]["type"] == "finish"
    assert (await _tool_part(slow_stack, turn.session_id))["output"] == {"attempt": 2}
    assert "tool-runner         │ was ended by SIGKILL; starting again" in slow_stack.output


async def test_a_stop_waits_for_no_tool_and_the_next_run_finishes_it(slow_stack: Stack, tmp_path: Path) -> None:
    await slow_stack.start()
    turn = await slow_stack.ask(f"/wait_at_gate {tmp_path / 'gate'}")
    hanging = await slow_stack.ask(f"/never_ends {tmp_path / 'begun'}")
    async with follow(turn.stream_url) as stream:
        await stream.read_until(lambda event: '"waiting"' in event.data)
    await wait_until((tmp_path / "begun").exists, 10, "the tool that never ends has begun")
    slow_stack.send(signal.SIGINT)
    assert slow_stack.exited(STOP_SECONDS) == 0
    assert slow_stack.left_processes() == []
    assert "did not end within" not in slow_stack.output

    await slow_stack.start()
    await _open_gate(tmp_path)
    await follow_to_the_end([turn.stream_url, hanging.stream_url])
    assert (await _tool_part(slow_stack, turn.session_id))["state"] == "output-available"
    assert (await _tool_part(slow_stack, hanging.session_id))["errorText"].startswith("INTERRUPTED: ")


async def test_fetching_a_page_waits_for_a_person(stack: Stack) -> None:
    await stack.start()
    turn = await stack.ask("/web_fetch https://example.com/")
    assert "tool-approval-request" in (await turn.answer()).types
    assert (await _tool_part(stack, turn.session_id))["state"] == "approval-requested"


async def test_an_outside_service_is_handed_work_and_its_webhook_continues_the_answer(
    stack: Stack, outside: str
) -> None:
    await stack.start()
    work = {"service": outside, "input": {"seconds": 0.2, "text": "printed"}}
    turn = await stack.ask(f"/http_operation {json.dumps(work)}")
    await turn.answer()
    assert (await _tool_part(stack, turn.session_id))["output"]["text"] == "printed"
    assert {entry["outcome"] for entry in await _journal(stack)} <= {"applied", "superseded"}


async def test_secrets_are_made_once_and_told_to_nobody_else(stack: Stack) -> None:
    await stack.start()
    made = _secrets(stack)
    assert len(set(made.values())) == len(made)
    for name, pid in stack.pids.items():
        if name not in ("gateway", "tool-runner"):
            assert not {"API_KEYS", "WEBHOOK_SECRETS"} & psutil.Process(pid).environ().keys()
    assert "API_KEYS" not in psutil.Process(stack.pids["tool-runner"]).environ()
    assert await _journal(stack) == []
    shown = stack.output + json.dumps(stack.run_file)
    stack.send(signal.SIGINT)
    assert stack.exited() == 0
    await stack.start()
    assert _secrets(stack) == made
    assert not [name for name, secret in made.items() if secret in shown + stack.output]


async def _open_gate(folder: Path) -> None:
    """As soon as a tool waits there, let it go on."""

    def opened() -> bool:
        try:
            os.close(os.open(folder / "gate", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody waits there yet
            return False
        return True

    await wait_until(opened, 20, "a tool waits at the gate")


def _secrets(stack: Stack) -> dict[str, str]:
    files = [stack.data_dir / name for name in ("api.key", "webhook.secret")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    return {file.name: file.read_text() for file in files}


async def _journal(stack: Stack) -> list[dict[str, Any]]:
    """The webhooks that came, as the key in its file lets one see them."""
    headers = {"x-api-key": _secrets(stack)["api.key"]}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"{stack.url}/api/chat/webhooks", headers=headers)
        webhooks = answer.raise_for_status().json()["webhooks"]
        assert isinstance(webhooks, list)
        return webhooks


async def _tool_part(stack: Stack, session_id: str) -> dict[str, Any]:
    """The one tool part of the session's last message."""
    (part,) = [
        part for part in (await stack.messages(session_id))[-1]["parts"] if str(part["type"]).startswith("tool-")
    ]
    assert isinstance(part, dict)
    return part
