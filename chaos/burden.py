"""What strangers cost while others are served: memory of the processes that bear them, and other people's waiting.

Memory is a process's resident memory at its highest, beyond what it was when the strangers came; of a kind of process
it is that of the one that grew most. Waiting is the longest answer of `/healthz`, on a connection that is open already.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil

from chaos.stack import Kind, Stack

_LOOK_SECONDS = 0.05
_MEGABYTE = 1024 * 1024
_WATCHED: tuple[Kind, ...] = ("gateway", "tool-runner")


@dataclass(slots=True)
class Burden:
    """`megabytes`: by kind of process."""

    megabytes: dict[Kind, float] = field(default_factory=dict)
    waiting_ms: float = 0.0

    def beyond(self, most_megabytes: float, most_waiting_ms: float) -> list[str]:
        """What is more than it may be, in words."""
        found = [
            f"a {kind} took {grown:.0f} MB more, and at most {most_megabytes:.0f} are allowed"
            for kind, grown in self.megabytes.items()
            if grown > most_megabytes
        ]
        if self.waiting_ms > most_waiting_ms:
            found.append(f"others waited {self.waiting_ms:.0f} ms, and at most {most_waiting_ms:.0f} are allowed")
        return found


@asynccontextmanager
async def weighed(stack: Stack) -> AsyncIterator[Burden]:
    """The burden is known when the context has ended."""
    burden = Burden()
    async with AsyncExitStack() as clients:
        others = [await clients.enter_async_context(_other(url)) for url in stack.gateways]
        looking = [_look(stack, _memory(stack), burden), *(_wait(other, burden) for other in others)]
        tasks = [asyncio.create_task(each) for each in looking]
        try:
            yield burden
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _other(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody whose connection is open before the strangers come."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        await http.get("/healthz")
        yield http


async def _look(stack: Stack, before: dict[int, int], burden: Burden) -> None:
    while True:
        now = _memory(stack)
        for kind in _WATCHED:
            grown = [now[service.pid] - before[service.pid] for service in stack.of(kind) if service.pid in before]
            most = max(grown, default=0) / _MEGABYTE
            burden.megabytes[kind] = max(burden.megabytes.get(kind, 0.0), most)
        await asyncio.sleep(_LOOK_SECONDS)


def _memory(stack: Stack) -> dict[int, int]:
    return {
        service.pid: psutil.Process(service.pid).memory_info().rss for kind in _WATCHED for service in stack.of(kind)
    }


async def _wait(http: httpx.AsyncClient, burden: Burden) -> None:
    while True:
        began = time.perf_counter()
        try:
            await http.get("/healthz")
        finally:
            # One that has no answer when all is over has waited, too.
            burden.waiting_ms = max(burden.waiting_ms, 1000 * (time.perf_counter() - began))
        await asyncio.sleep(_LOOK_SECONDS)
