"""Waiting for something to become true, instead of sleeping for long enough.

A wait ends as soon as its condition holds, and fails with what was waited for and what was seen last. It polls: the
condition is asked at most fifty times a second.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_SECONDS = 0.02
# How long a condition may take to answer, before it is one that hangs.
_ANSWER_SECONDS = 60.0


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], timeout: float = ..., what: str = ...) -> T: ...


@overload
async def wait_until(condition: Callable[[], T], timeout: float = ..., what: str = ...) -> T: ...


async def wait_until(condition: Callable[[], Any], timeout: float = 20.0, what: str = "") -> Any:
    """Ask `condition` (a function, or a coroutine function) until it answers something true, and return that.

    Raises AssertionError after `timeout` seconds, TimeoutError when the condition itself does not answer within a
    minute. An exception of the condition is not caught.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            async with asyncio.timeout(_ANSWER_SECONDS):
                value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout} s: {what or condition!r} (last answer: {value!r})")
        await asyncio.sleep(POLL_SECONDS)


def block_until(condition: Callable[[], T], timeout: float = 20.0, what: str = "") -> T:
    """The same for fixtures and helpers that run outside an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout} s: {what or condition!r} (last answer: {value!r})")
        time.sleep(POLL_SECONDS)
    return value
