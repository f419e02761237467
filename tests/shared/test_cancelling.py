"""A cancellation is never lost: whatever waits, at whichever of its waits it comes, ends cancelled.

Each is cancelled at every one of its waits in turn, twice: while it waits, and in the moment between the answer and its
waking up, which is where `asyncio.wait_for` loses one before Python 3.12.
"""

import ast
import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from types import coroutine
from typing import Any

import httpx
import pytest
from sluiceway.cancelling import cancelled
from sluiceway.coalesced import Coalesced
from sluiceway.process.lifecycle import Stopping
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.redis.asking import ask, first_answers
from sluiceway.redis.client import open_redis
from sluiceway.store.database.leadership import Leadership
from sluiceway.store.database.pool import Pool

from harness.model_server.client import ModelServer

pytestmark = pytest.mark.requirement("CC-10")
ROOT = Path(__file__).parents[2]
_SOURCES = ("shared/src", "llm/src", "services/*/src", "deploy/local/src")
# What is caught there is another task's, or is raised in another way.
_ENDS_OTHERWISE = {
    "subscriber.py": {"run", "_client_left"},
    "writing.py": {"_run"},
    "threads.py": {"run_in_thread", "work"},
    "stepping.py": {"__await__"},
    "running.py": {"_guarded"},
}
_WAITS_FOR_EVER = re.compile(r"\.cancel\(\)\n\s+(?:\w+ = )?await asyncio\.(?:wait|gather)\((?!.*timeout=)")
_MOST_WAITS = 400
Waits = Callable[[], Awaitable[Any]]


class _Cancelling:
    """Has the task that awaits something cancelled at one of its waits. `came`: there were as many."""

    def __init__(self, at: int, *, answered: bool) -> None:
        self.came = False
        self._left = at
        self._answered = answered

    @coroutine
    def through(self, waits: Awaitable[Any]) -> Generator[Any, Any, Any]:
        steps: Any = waits.__await__()
        resume, told = steps.send, None
        while True:
            try:
                future = resume(told)
            except StopIteration as done:
                return done.value
            self._left -= 1
            if self._left == 0:
                self._cancel(future)
            try:
                resume, told = steps.send, (yield future)
            except BaseException as error:  # noqa: BLE001 - what waits is told it
                resume, told = steps.throw, error

    def _cancel(self, future: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.came = True
        if self._answered and future is not None:
            future.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


async def _ends_cancelled_at_each_wait(waits: Waits) -> None:
    for answered in (False, True):
        for at in range(1, _MOST_WAITS):
            cancelling = _Cancelling(at, answered=answered)

            async def run(cancelling: _Cancelling = cancelling) -> Any:
                return await cancelling.through(waits())

            task = asyncio.create_task(run())
            _, goes_on = await asyncio.wait([task], timeout=10)
            assert not goes_on, f"it goes on, cancelled at wait {at}, {answered=}"
            if not cancelling.came:
                task.result()
                break
            assert task.cancelled(), f"cancelled at wait {at}, {answered=}: {task!r}"
        else:
            raise AssertionError("it has too many waits")
        assert at > 1, "it never waited"
    async with asyncio.timeout(10):
        await waits()  # and nothing is left that holds up the next one


# Cancelled while it connects, a library may leave a socket to the collector.
_LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@_LEAVES_SOCKETS
async def test_what_stands_on_redis(valkey_url: str) -> None:
    async with (
        open_redis(valkey_url, name="kept") as redis,
        open_redis(valkey_url, name="b", blocking=True) as blocking,
    ):
        queue = WorkQueue(redis, blocking, "chat", "one", lease=timedelta(seconds=3))
        await queue.ensure_group()
        coalesced: Coalesced[list[Any]] = Coalesced()

        async def fresh() -> None:
            async with open_redis(valkey_url, name="fresh") as one:
                await one.set("k", b"x" * 300_000, ex=10)

        async def pipeline() -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.execute_command("SET", "k", 1, "EX", 10)
                await pipe.execute()

        for waits in (
            fresh,
            pipeline,
            lambda: redis.get("k"),
            lambda: queue.read(1, timedelta(milliseconds=5)),
            lambda: queue.sweep(1),
            lambda: ask(valkey_url, ["PING"]),
            lambda: first_answers([ask(valkey_url, ["PING"]), ask(valkey_url, ["PING"])]),
            lambda: coalesced.ask(lambda: ask(valkey_url, ["PING"])),
        ):
            await _ends_cancelled_at_each_wait(waits)
        await coalesced.close()
    gc.collect()


@_LEAVES_SOCKETS
async def test_what_stands_on_postgres(database_url: str) -> None:
    pool = Pool(database_url, max_size=2, application_name="kept")
    leadership = Leadership(pool, "cancelled")

    async def fresh() -> None:
        one = Pool(database_url, max_size=1, application_name="fresh")
        try:
            async with one.connection() as connection:
                await connection.fetchval("SELECT 1")
        finally:
            await one.close()

    async def transaction() -> None:
        async with pool.transaction() as connection:
            await connection.execute("SELECT pg_sleep(0.002)")

    async def session() -> None:
        async with pool.session() as connection:
            await connection.fetchval("SELECT 1")

    for waits in (fresh, transaction, session, leadership.stand):
        await _ends_cancelled_at_each_wait(waits)
    await leadership.resign()
    await pool.close()
    gc.collect()


async def test_what_waits_for_the_end_and_for_others(model: ModelServer) -> None:
    stopping = Stopping()

    async def race() -> None:
        await stopping.race(asyncio.sleep(0.002))

    async with httpx.AsyncClient() as client:
        for waits in (race, lambda: stopping.sleep(0.002), lambda: client.get(f"{model.url}/v1/models")):
            await _ends_cancelled_at_each_wait(waits)


async def _swallows_one(ready: asyncio.Event) -> None:
    try:
        ready.set()
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_what_swallows_one_is_cancelled_again() -> None:
    """As client libraries do that connect just then."""
    ready = asyncio.Event()
    task = asyncio.create_task(_swallows_one(ready))
    await ready.wait()
    async with asyncio.timeout(10):
        await cancelled([task])
    assert task.cancelled()


async def test_a_question_of_many_is_asked_once_for_everybody_and_closing_ends_it() -> None:
    said: ContextVar[str] = ContextVar("said", default="nobody")
    coalesced: Coalesced[str] = Coalesced()
    ready, asked = asyncio.Event(), []

    async def ask() -> str:
        asked.append(said.get())
        ready.set()
        await asyncio.Event().wait()
        return ""

    said.set("the first")
    first, second = (asyncio.create_task(coalesced.ask(ask)) for _ in range(2))
    await ready.wait()
    await cancelled([first])
    assert not second.done()
    async with asyncio.timeout(10):
        await coalesced.close()
        with pytest.raises(asyncio.CancelledError):
            await second
    assert asked == ["nobody"]


def test_no_source_of_ours_may_lose_one() -> None:
    """No `wait_for`, whoever catches a cancellation raises it again, and whoever cancels tasks and waits for them does
    so by `cancelled`, or not for ever."""
    found = [f"{path.relative_to(ROOT)}:{told}" for path in _sources() for told in _losing(path)]
    assert found == []


def _sources() -> Iterator[Path]:
    for folder in _SOURCES:
        for place in ROOT.glob(folder):
            yield from place.rglob("*.py")


def _losing(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.name != "cancelling.py":
        for found in _WAITS_FOR_EVER.finditer(text):
            yield f"{text.count(chr(10), 0, found.start()) + 1}: cancelled once, and waited for"
    tree = ast.parse(text)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("asyncio.wait_for", "wait_for"):
                yield f"{node.lineno}: wait_for"
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress") and _catches(node.args):
                yield f"{node.lineno}: suppressed"
            known = function.name in _ENDS_OTHERWISE.get(path.name, ())
            if isinstance(node, ast.ExceptHandler) and _catches([node.type]) and not _raises(node) and not known:
                yield f"{node.lineno}: caught in {function.name}"


def _catches(types: list[Any]) -> bool:
    told = " ".join("BaseException" if one is None else ast.unparse(one) for one in types)
    return "CancelledError" in told or "BaseException" in told.replace("BaseExceptionGroup", "")


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))
