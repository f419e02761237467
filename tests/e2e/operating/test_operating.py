"""The questions of a night shift, answered by `sluicewayctl` alone, over the routes for operators, on real parts."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.clients.calling import TOOLS_DIR, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.gateway.callers import add_key

SCOPES = ("ops:look", "ops:act")
Ctl = Callable[..., Awaitable[tuple[int, str]]]


async def _ctl(url: str, database: Database) -> Ctl:
    """`await ctl("queues")`: its exit code, and what it said."""
    headers = await add_key(database, "night-shift", SCOPES)
    return await _ctl_with(url, headers["x-api-key"])


async def _answer(ctl: Ctl, *arguments: str) -> dict[str, Any]:
    code, output = await ctl(*arguments, "--json")
    assert code == 0, output
    answer: dict[str, Any] = json.loads(output)
    return answer


async def _lacks_nothing(ctl: Ctl, name: str) -> bool:
    (told,) = [one for one in (await _answer(ctl, "ps"))["processes"] if one["name"] == name]
    assert told["component"] == name.rsplit("-", 1)[0]
    return bool(told["lacks"] == "")


async def _poison(redis: Redis, task_id: str) -> None:
    """Let the turn's entry look as if it had killed many workers already."""
    queue = keys.work_queue(keys.CHAT)
    found: Any = await redis.xrange(queue)
    ((entry, fields),) = found
    assert task_id.encode() in fields[b"d"]
    await redis.xdel(queue, entry)
    await redis.xadd(queue, {b"d": fields[b"d"], b"n": b"9"})


@pytest.mark.requirement("OP-6")
async def test_a_turn_without_a_worker_is_explained_and_one_that_was_given_up_is_replayed(
    services: Services, database: Database, redis: Redis, tmp_path: Path
) -> None:
    gateway = await services.gateway()
    ctl = await _ctl(gateway.url, database)
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("count [[tokens=3 rate=0]]")
        behind = await chat.send(turn.session_id, "and again [[tokens=3 rate=0]]")

        _, queues = await ctl("queues")
        (line,) = [line for line in queues.splitlines() if line.startswith("chat ")]
        assert line.split()[1] == "1"
        assert "0 chat workers are ready." in queues
        assert "No chat worker is ready: 1 turn waits for the first one" in (await ctl("load"))[1]
        sentence = (await ctl("explain", turn.task_id))[1].splitlines()[0]
        assert sentence.startswith("It waits for ")
        assert sentence.endswith("for a chat worker, and none is ready.")
        assert f"behind turn {turn.task_id} of its session" in (await ctl("explain", behind.task_id))[1]
        code, refused = await ctl("requeue", behind.task_id)
        assert (code, "NOT_REQUEUEABLE" in refused) == (1, True)

        await ctl("cancel", behind.task_id)
        assert await chat.status(behind.task_id) == "cancelled"
        told = (await ctl("explain", behind.task_id))[1].splitlines()[0]
        assert told.startswith("It was cancelled ")
        assert "before anybody had begun it: operator " in told
        assert "night-shift" in told
        await _poison(redis, turn.task_id)
        await services.chat_worker()
        await wait_until(lambda: _has(ctl, "dead", "list", words=turn.task_id), what="the letter is there")
        (letter,) = (await _answer(ctl, "dead", "list", "--queue", "chat"))["dead_letters"]
        assert (letter["queue"], letter["task_id"]) == ("chat", turn.task_id)
        assert "without success" in letter["reason"]
        assert turn.task_id in (await _answer(ctl, "dead", "show", letter["id"]))["body"]
        await wait_until(lambda: _is(chat, turn.task_id, "failed"), what="its turn has failed")
        assert "TURN_GAVE_UP" in (await ctl("explain", turn.task_id))[1]

        job = tmp_path / "job.json"
        job.write_text('{"task": "a typing error"}')
        code, refused = await ctl("dead", "edit", letter["id"], "--file", str(job))
        assert (code, "This is no job of the queue chat: task_id: Field required" in refused) == (1, True)
        job.write_text(json.dumps({"task_id": turn.task_id}))
        replayed = await _answer(ctl, "dead", "edit", letter["id"], "--file", str(job), "--replay")
        assert replayed["task_id"] != turn.task_id
        await wait_until(lambda: _is(chat, replayed["task_id"], "completed"), what="the same message is answered")
        assert (await _answer(ctl, "dead", "list"))["dead_letters"] == []
        assert (await ctl("dead", "replay", letter["id"]))[0] == 1
        texts = [text for role, text in await chat.messages(turn.session_id) if role == "user"]
        assert texts[0] == "count [[tokens=3 rate=0]]"


@pytest.mark.requirement("OP-6")
async def test_who_holds_a_turn_what_it_waits_for_and_what_it_cost_is_told(
    services: Services, model: ModelServer, database: Database, redis: Redis
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    ctl = await _ctl(system.url, database)
    await offered(system.url, "current_time")
    async with Chat(system.url) as chat:
        slow = await chat.ask("slowly [[tokens=4000 rate=20]]")
        alive = f"Worker {system.worker.name} (alive "
        await wait_until(lambda: _has(ctl, "explain", slow.task_id, words=alive), what="its holder is told")
        (one,) = (await _answer(ctl, "turns"))["turns"]
        assert (one["task_id"], one["status"], one["holder"]) == (slow.task_id, "running", system.worker.name)
        assert one["holder_idle_seconds"] < 10
        code, refused = await ctl("requeue", slow.task_id)
        assert (code, "is alive" in refused) == (1, True)

        away = await chat.ask("later [[status=503 times=50]]")
        await wait_until(
            lambda: _has(ctl, "explain", away.task_id, words="MODEL_UNAVAILABLE"), what="that it waits for the model"
        )
        await ctl("cancel", away.task_id)
        refused_turn = await chat.ask("a word of mine [[status=401]]")
        await wait_until(lambda: _is(chat, refused_turn.task_id, "failed"), what="its model's server refused the key")
        told = (await ctl("explain", refused_turn.task_id))[1]
        where = f"in attempt 1, step 1, at worker {system.worker.name}: its model server refused the key"
        assert f"{where} (MODEL_KEY_REJECTED, model " in told
        assert ", status 401)" in told
        assert 'Its user was told: "The model server refused the key.' in told
        assert "a word of mine" not in told

        await calls_tools(model, "ask me", call("web_fetch", "call_1", url="http://127.0.0.1:9/"))
        asking = await chat.ask("ask me")
        await wait_until(lambda: _has(ctl, "operations", words="a person"), what="the call waits for a person")
        told = (await ctl("operations"))[1]
        assert "web_fetch" in told
        assert asking.task_id in told
        await calls_tools(model, "stay", call("wait_at", "call_2", gate="shut"))
        await chat.ask("stay")
        # Who has the call, and since when nothing was heard of him.
        runner = rf"its tool +\S+ +\S+ +{system.tool_runners[0].name} \(\d+\.\ds\)"
        await wait_until(lambda: _matches(ctl, "operations", pattern=runner), what="the call is with a runner")
        await redis.set("test:{shut}", "1", ex=60)

        for service in (system.worker, system.consumer, system.tool_runners[0]):
            # A process tells of itself every few seconds: until then what it lacked as it started stands there.
            await wait_until(partial(_lacks_nothing, ctl, service.name), what=service.name)
        code, output = await ctl("doctor", "--json")
        findings = {one["name"]: one["ok"] for one in json.loads(output)["findings"]}
        # The Postgres of the tests does not wait for its disk.
        assert (code, [name for name, fit in findings.items() if not fit]) == (1, ["postgres durability"])
        assert findings.keys() >= {"redis version", "redis eviction", "postgres schema", "settings", "versions"}
        top = await _answer(ctl, "top")
        assert top["users"][0]["turns"] == await database.fetchval("SELECT count(*) FROM tasks")
        assert top["users"][0]["tokens"] > 0
        assert {one["name"] for one in top["sessions"]} >= {slow.session_id, away.session_id}

        tailed = (await ctl("tail", slow.task_id, "--seconds", "1"))[1]
        assert "text-delta x" in tailed
        assert "word" not in tailed

        code, drained = await ctl("drain", system.worker.name, "--wait", "8")
        assert (code, "It is still at work." in drained) == (1, True)
        assert f"{system.worker.name} holds 1 entries" in drained
        assert "operators: drained by an operator" in (await ctl("ps"))[1]
        left = await chat.ask("left [[tokens=3 rate=0]]")
        assert "none is ready" in (await ctl("explain", left.task_id))[1]
        assert (await ctl("drain", "nobody"))[0] == 1
        assert (await ctl("drain", system.worker.name, "--undo"))[0] == 0
        await wait_until(lambda: _is(chat, left.task_id, "completed"), what="it is at work again")

        system.worker.kill9()
        silent = f"Its worker {system.worker.name} is silent"
        await wait_until(lambda: _has(ctl, "explain", slow.task_id, words=silent), what="that its holder is dead")
        dead = f"process {system.worker.name}"
        await wait_until(lambda: _has(ctl, "doctor", words=dead), what="that a process is dead")
        processes = (await ctl("ps"))[1]
        assert "frozen or dead" in processes
        assert re.search(r"(?m)^gateway +\S+ +\d\S* +ready$", processes), processes
        await services.chat_worker()
        await wait_until(lambda: _has(ctl, "explain", slow.task_id, words="attempt 2"), what="who has taken it over")
        assert (await ctl("cancel", slow.task_id))[0] == 0
        await wait_until(lambda: _is(chat, slow.task_id, "cancelled"), what="it has ended")
        code, tailed = await ctl("tail", slow.task_id)
        assert (code, "It was cancelled" in tailed, "  2-1  " in tailed or "2-" in tailed) == (0, True, True)


@pytest.mark.requirement("OP-6")
async def test_a_command_without_a_key_or_a_gateway_says_so_in_one_sentence(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway()
    ctl = await _ctl(gateway.url, database)
    unknown = (await ctl("explain", "nobody-s"))[1]
    assert unknown.startswith("sluicewayctl: Neither Postgres nor Redis has a turn with this id. ")
    assert unknown.endswith("(TASK_NOT_FOUND)\n")
    other = await _ctl_with("http://127.0.0.1:9", "swk_x")
    assert "does not answer" in (await other("queues"))[1]
    assert "SLUICEWAY_KEY is not set" in (await (await _ctl_with(gateway.url, ""))("queues"))[1]


async def _ctl_with(url: str, key: str) -> Ctl:
    program = str(Path(sys.executable).with_name("sluicewayctl"))

    async def ctl(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"SLUICEWAY_URL": url, "SLUICEWAY_KEY": key},
        )
        output, _ = await process.communicate()
        assert "Traceback" not in output.decode()
        return process.returncode or 0, output.decode()

    return ctl


async def _has(ctl: Ctl, *arguments: str, words: str) -> bool:
    return words in (await ctl(*arguments))[1]


async def _matches(ctl: Ctl, *arguments: str, pattern: str) -> bool:
    return re.search(pattern, (await ctl(*arguments))[1]) is not None


async def _is(chat: Chat, task_id: str, status: str) -> bool:
    return await chat.status(task_id) == status
