"""A coroutine that was stepped once, and is awaited on by a task, is what it would have been in that task."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from gateway.fanout.stepping import DONE, Rest, step

pytestmark = pytest.mark.requirement("GW-4")


def _rest_of(coroutine: Coroutine[Any, Any, None]) -> Rest:
    waits_for = step(coroutine)
    assert waits_for is not DONE
    return Rest(coroutine, waits_for)


async def _awaited(rest: Rest) -> None:
    await rest


async def test_what_never_waits_is_done_at_once() -> None:
    async def at_once() -> None:
        pass

    assert step(at_once()) is DONE


async def test_the_rest_continues_where_it_waited() -> None:
    came: list[str] = []
    first, second = asyncio.Event(), asyncio.Event()

    async def waits_twice() -> None:
        await first.wait()
        came.append("first")
        await second.wait()
        came.append("second")

    task = asyncio.create_task(_awaited(_rest_of(waits_twice())))
    first.set()
    second.set()
    await task
    assert came == ["first", "second"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_one_that_is_cancelled_may_wait_for_what_it_leaves_behind_and_is_cancelled_there_too(times: int) -> None:
    came: list[str] = []
    released = asyncio.Event()

    async def cleans_up() -> None:
        for attempt in range(times):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                came.append(f"cancelled {attempt}")
        await released.wait()
        came.append("released")
        raise asyncio.CancelledError

    task = asyncio.create_task(_awaited(_rest_of(cleans_up())))
    for attempt in range(times):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert came == [f"cancelled {one}" for one in range(attempt + 1)]
    assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert came[-1] == "released"


async def test_an_error_of_the_rest_is_the_awaiters() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await asyncio.create_task(_awaited(_rest_of(fails())))
