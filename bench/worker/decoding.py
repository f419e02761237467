"""What a token costs on its way out of the model's response: the adapter beside the ways it could have been done.

Each way runs in a process of its own, with the load of `streams.py`, and does nothing with the tokens but count them;
the cost is that process's CPU time. The decision that stands on it is docs/adr/0004-model-stream-decoding.md.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import jiter
import openai
import uvloop
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import ModelRequest, TextDelta

from bench.worker.stage import Stage
from harness.waiting import wait_until

STREAMS, RATE = 300, 30
_MODEL = "fake-model"
_SETTLE_SECONDS = 1.0
_SPARE_SECONDS = 4

Answer = Callable[[list[dict[str, Any]]], AsyncIterator[int]]


def _typed(client: openai.AsyncOpenAI) -> Answer:
    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[int]:
        create: Any = client.chat.completions.create
        async for chunk in await create(model=_MODEL, messages=messages, stream=True):
            yield int(bool(chunk.choices and chunk.choices[0].delta.content))

    return answer


def _raw(client: openai.AsyncOpenAI) -> Answer:
    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[int]:
        create: Any = client.chat.completions.with_streaming_response.create
        async with create(model=_MODEL, messages=messages, stream=True) as response:
            rest = b""
            async for received in response.iter_bytes():
                *lines, rest = (rest + received).split(b"\n")
                yield sum(_is_token(line) for line in lines)

    return answer


def _is_token(line: bytes) -> bool:
    if not line.startswith(b"data: {"):
        return False
    choices = jiter.from_json(line[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


def _adapter(model: Model) -> Answer:
    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[int]:
        async with model.stream(ModelRequest(_MODEL, messages)) as batches:
            async for batch in batches:
                yield sum(isinstance(event, TextDelta) for event in batch)

    return answer


async def _open(way: str, base_url: str, stack: AsyncExitStack) -> Answer:
    if way == OURS:
        return _adapter(await stack.enter_async_context(Model(base_url, "", max_connections=2 * STREAMS)))
    options: dict[str, Any] = {"timeout": None, "limits": httpx2.Limits(max_connections=2 * STREAMS)}
    http = openai.DefaultAioHttpClient(**options) if "aiohttp" in way else openai.DefaultAsyncHttpxClient(**options)
    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=None, http_client=http)
    await stack.enter_async_context(client)
    return _typed(client) if "typed" in way else _raw(client)


OURS = "the adapter (llm.py)"
WAYS = ("SDK, typed", "SDK, typed, aiohttp", "SDK, raw, own lines", "SDK, raw, own lines, aiohttp", OURS)


class Counting:
    def __init__(self) -> None:
        self.tokens = 0

    async def follow(self, answer: Answer, messages: list[dict[str, Any]]) -> None:
        async for tokens in answer(messages):
            self.tokens += tokens


async def _cost(way: str, base_url: str, seconds: float) -> float:
    """Microseconds of this process's CPU for a token, while all streams run."""
    tokens = int(RATE * (seconds + _SETTLE_SECONDS + _SPARE_SECONDS))
    messages = [{"role": "user", "content": f"one two three four [[tokens={tokens} rate={RATE}]]"}]
    counting = Counting()
    async with AsyncExitStack() as stack:
        answer = await _open(way, base_url, stack)
        followers = [asyncio.create_task(counting.follow(answer, messages)) for _ in range(STREAMS)]
        await wait_until(lambda: counting.tokens >= STREAMS * RATE * _SETTLE_SECONDS, what="all streams run")
        counted, began = counting.tokens, time.process_time()
        await asyncio.sleep(seconds)
        cost = 1e6 * (time.process_time() - began) / (counting.tokens - counted)
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)
        return cost


async def measure(stage: Stage, way: str, seconds: float) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.worker.decoding", way, f"{stage.model_url}/v1", str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return float(output)


if __name__ == "__main__":
    print(uvloop.run(_cost(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
