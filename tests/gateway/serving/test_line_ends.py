"""A line of an event stream ends at CR, LF or both, and nowhere else: so says its specification (WHATWG HTML, 9.2.6).

EventSource and httpx-sse hold to that; what reads lines by Python's `splitlines`, as httpx and requests do, also ends
one at U+0085, U+2028 and U+2029. So these are escaped in what is sent, on every feed, and each kind of reader gets the
same event.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher

from harness.clients.sse import follow
from harness.processes.services import Service
from harness.retention import RETENTION

SAID = "one\u2028two\u2029three\x85four\r\nfive\x0b\x0c\x1csix"
Publish = Callable[[Redis], Awaitable[str]]
pytestmark = pytest.mark.requirement("JE-3", "AG-1", "TS-8")


async def _job(redis: Redis) -> str:
    await JobEventPublisher(redis, RETENTION).publish_task_started("j", "t", query=SAID)
    return "/api/chat/jobs/j/events"


async def _job_of_others(redis: Redis) -> str:
    """JSON printed over several lines, by a program that escapes nothing of its own accord."""
    data = json.dumps({"event_type": "task_started", "query": SAID}, ensure_ascii=False, indent=2)
    await redis.xadd(keys.job_events("j"), {"data": data, "event_type": "task_started"})
    await redis.expire(keys.job_events("j"), 60)
    return "/api/chat/jobs/j/events"


async def _agents(redis: Redis) -> str:
    streams = AgentStreams(redis, RETENTION)
    await streams.create("t")
    await streams.publish("t", SAID, "thought", SAID, {"query": SAID})
    return "/api/chat/agents/t/events"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    return [value] if value == SAID else []


@pytest.mark.parametrize(("publish", "times"), [(_job, 1), (_job_of_others, 1), (_agents, 3)])
async def test_every_reader_of_a_feed_gets_the_same_event(
    gateway: Service, redis: Redis, publish: Publish, times: int
) -> None:
    url = gateway.url + await publish(redis)
    async with follow(url) as stream:  # lines by `splitlines`
        assert (await stream.next_event()) is not None
        by_lines = stream.events[0].chunk
    assert by_lines == await _by_the_specification(url)
    assert _texts(by_lines) == [SAID] * times


async def _by_the_specification(url: str) -> Any:
    """The first event, as an EventSource reads it."""
    text = ""
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        async for more in response.aiter_text():
            text += more
            if re.search(r"(\r\n|\r|\n)data:.*?(\r\n|\r|\n)\2", text, re.DOTALL):
                break
    lines = re.split(r"\r\n|\r|\n", text)
    begun = next(place for place, line in enumerate(lines) if line.startswith("data:"))
    block = lines[begun : lines.index("", begun)]
    return json.loads("\n".join(line.removeprefix("data:").removeprefix(" ") for line in block))
