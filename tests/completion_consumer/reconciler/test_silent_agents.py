"""An agent stream whose publisher has died ends, and its followers with it; one whose publisher lives does not."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentStreams

from harness.clients.sse import follow
from harness.metrics import counted, metric
from harness.processes.services import Services
from harness.retention import RETENTION
from harness.waiting import wait_until

_SETTINGS = {"RECONCILE_SECONDS": "0.2", "AGENT_SILENCE_SECONDS": "2"}
_ROOT = Path(__file__).parents[3]
_PUBLISHER = """
import asyncio, sys
from sluiceway.feeds.agent_threads import open_threads
with open_threads(sys.argv[1]) as publisher:
    publisher.create("crew")
    publisher.publish_nowait("crew", "engineer", "thought", "thinking")
    print("published", flush=True)
    sys.stdin.read()
"""


@pytest.mark.requirement("AG-4")
async def test_a_follower_of_a_stream_whose_publisher_was_killed_gets_its_end(
    services: Services, valkey_url: str, redis: Redis
) -> None:
    gateway = await services.gateway()
    consumer = await services.completion_consumer(**_SETTINGS)
    publisher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PUBLISHER, valkey_url),
        cwd=_ROOT,
        env={**os.environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert publisher.stdout is not None
    assert await publisher.stdout.readline() == b"published\n"
    publisher.send_signal(signal.SIGKILL)
    await publisher.wait()
    async with follow(f"{gateway.url}/api/chat/agents/crew/events") as stream:
        await stream.read_to_end()
    seen = [event.chunk["event_type"] for event in stream.events[:-1]]
    assert seen == ["thought", "connection_end"]
    stream_now = await AgentStreams(redis, RETENTION).get("crew")
    assert stream_now is not None
    assert not stream_now.open
    await counted(consumer, "sluiceway_reconciler_repaired_total", "agent_stream_closed", 1)


@pytest.mark.requirement("AG-4")
async def test_a_stream_whose_publisher_is_alive_and_says_nothing_stays_open(services: Services, redis: Redis) -> None:
    streams = AgentStreams(redis, RETENTION)
    thinking, dead = await streams.create("thinking"), await streams.create("dead")
    keeping = asyncio.create_task(streams.keep_alive("thinking", thinking, every_seconds=0.3))
    consumer = await services.completion_consumer(**_SETTINGS)

    async def closed() -> bool:
        return await metric(consumer, "sluiceway_reconciler_repaired_total", "agent_stream_closed") == 1

    await wait_until(closed, what="the stream of the dead one is closed")
    open_now = [stream.task_id for stream in await streams.list_active()]
    assert open_now == ["thinking"]
    assert not await streams.renew("dead", dead)
    assert (await streams.publish("thinking", "engineer", "output", "done", generation=thinking)).sequence == 1
    await streams.close("thinking")
    await asyncio.wait_for(keeping, 10)  # it ends with its stream
