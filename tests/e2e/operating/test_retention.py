"""LIVE_TTL_SECONDS and RETENTION_SECONDS hold for whatever a turn leaves in Redis, whichever service wrote it."""

import asyncio
import os
import sys

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.process.retention import Retention

from harness.clients.calling import call, calls_tools, offered
from harness.clients.chat import Chat
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.retention import retention
from harness.waiting import wait_until

_LIVE_SECONDS, _ENDED_SECONDS = 400, 120
_OF_WORKERS = (*keys.PERSISTENT, keys.CATALOGUE)


async def _ttls(redis: Redis) -> dict[str, int]:
    """By key, the seconds until it expires; without the keys of queues and workers."""
    found = [key.decode() async for key in redis.scan_iter()]
    of_tasks = [key for key in found if not any(key.startswith(name.rstrip("*")) for name in _OF_WORKERS)]
    return {key: await redis.ttl(key) for key in of_tasks}


@pytest.mark.requirement("TS-2", "AG-4")
async def test_what_has_ended_is_kept_for_the_retention_that_was_set_and_nothing_for_longer_than_the_live_ttl(
    services: Services, redis: Redis, model: ModelServer
) -> None:
    live, ended = str(_LIVE_SECONDS), str(_ENDED_SECONDS)
    system = await services.whole(tool_runners=1, LIVE_TTL_SECONDS=live, RETENTION_SECONDS=ended)
    await offered(system.url, "run_agents")
    await calls_tools(model, "the time", call("current_time", "call_1"))
    async with Chat(system.url) as chat:
        for question in ("/run_agents cross the river", "Tell me the time", "hello [[tokens=3 rate=0]]"):
            await chat.answer(await chat.ask(question))
    await wait_until(lambda: _all_have_ended(redis), what="all streams are closed")
    ttls = await _ttls(redis)
    assert {key: ttl for key, ttl in ttls.items() if not 0 < ttl <= _LIVE_SECONDS} == {}
    closed = {key: ttl for key, ttl in ttls.items() if key.startswith(("sw:task:", "sw:agents:", "job_events:"))}
    assert {key.partition("{")[0] for key in closed} >= {"sw:task:", "sw:agents:"}
    assert any(key.startswith("job_events:") for key in closed)
    assert {key: ttl for key, ttl in closed.items() if ttl > _ENDED_SECONDS} == {}


async def _all_have_ended(redis: Redis) -> bool:
    metas = [key async for key in redis.scan_iter(match="sw:task:*:meta")]
    return {await redis.hget(key, "status") for key in metas} <= {b"completed"}


async def test_a_publisher_that_is_given_none_keeps_what_the_settings_say(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETENTION_SECONDS", "120")
    await JobEventPublisher(redis).publish_task_started("j", "t")
    assert 0 < await redis.ttl(keys.job_events("j")) <= 120


async def test_a_program_that_is_no_service_is_told_by_the_same_settings(redis: Redis) -> None:
    program = "from sluiceway.process.retention import Retention; print(Retention.from_environment())"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "LIVE_TTL_SECONDS": "400", "RETENTION_SECONDS": "120"},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await child.communicate()
    assert told.decode().strip() == str(retention(live_seconds=_LIVE_SECONDS, ended_seconds=_ENDED_SECONDS))
    assert isinstance(Retention.from_environment(), Retention)
