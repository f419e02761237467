"""Workers that die in mid-answer: what is asked, how they end, and what followers saw of it."""

import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from harness.clients.asking import questions
from harness.clients.chat import Chat, Turn
from harness.clients.sse import Event, follow
from harness.clients.streams import holder_of
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services, System
from harness.waiting import wait_until

LEASE_SECONDS = 3.0
BEGUN = 8
TOKENS = 24
STALLED = f"what floats down the long river? [[tokens={TOKENS} rate=0 stall_after={BEGUN}]]"
ANSWER = answer_to(STALLED, TOKENS)
SHOWN = answer_to(STALLED, BEGUN)
Ending = Callable[[Service], Awaitable[None]]


async def kill(worker: Service) -> None:
    worker.kill9()


async def stop(worker: Service) -> None:
    assert await worker.terminate() == 0


async def running(services: Services, dialect: str = "llama.cpp") -> System:
    """Two workers that ask the server in this dialect. No completion consumer: the queue alone brings a turn over."""
    return await services.whole(
        workers=2,
        consumers=0,
        MODEL_CONTINUATION=dialect,
        LEASE_SECONDS=str(LEASE_SECONDS),
        MODEL_ATTEMPTS="2",
    )


async def holder(redis: Redis, turn: Turn, system: System) -> Service:
    """The worker that holds the turn."""
    name = await wait_until(lambda: holder_of(redis, turn.task_id), what="somebody holds the task")
    return next(worker for worker in system.workers if worker.environment["WORKER_NAME"] == name)


async def interrupted(
    system: System, chat: Chat, redis: Redis, question: str, shown: str, ending: Ending
) -> tuple[Turn, dict[int, list[Event]], float]:
    """A turn whose worker ended after it had shown so much; what followers of both protocols saw of it, the older one
    as an EventSource that comes back with its last id; and how long it was until the next text."""
    turn = await chat.ask(question)
    url = chat.stream_url(turn)
    async with follow(url, protocol=6) as first:
        await first.read_text(len(shown))
    async with follow(url, protocol=7) as newer, follow(url, last_event_id=first.last_event_id) as older:
        assert await newer.read_text(len(shown)) == shown
        began_at = time.monotonic()
        await ending(await holder(redis, turn, system))
        await newer.read_until("text-delta")
        gap = time.monotonic() - began_at
        for stream in (older, newer):
            await stream.read_to_end()
            assert stream.end == "clean"
            assert stream.done
    return turn, {6: first.events + older.events, 7: newer.events}, gap


async def tokens(model: ModelServer) -> int:
    return sum(record.tokens_sent for record in await questions(model))
