"""Synchronous tools, each in a thread of its own.

A thread cannot be stopped from outside. One that outlives its tool's timeout is abandoned: it is counted and logged,
what it answers is dropped, and, being a daemon, it keeps no process from ending.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from sluiceway.process.logs import get_logger

_abandoned: set[threading.Thread] = set()


def abandoned_threads() -> int:
    """How many threads are still at work that nobody waits for."""
    gone = {thread for thread in _abandoned if not thread.is_alive()}
    _abandoned.difference_update(gone)
    return len(_abandoned)


async def run_in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call the function in a new daemon thread; answer or raise what it does. Cancelled: the thread is abandoned."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result, error = context.run(function, *arguments, **named), None
        except BaseException as raised:  # noqa: BLE001 - a thread hands over all that it raised, SystemExit too
            result, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop was closed long ago
            loop.call_soon_threadsafe(_finalize, answer, result, error)

    thread = threading.Thread(target=work, name=f"tool-{function.__name__}", daemon=True)
    thread.start()
    try:
        result, error = await answer
    except asyncio.CancelledError:
        _abandoned.add(thread)
        get_logger().warning("thread_abandoned", function=function.__name__, abandoned=abandoned_threads())
        raise
    if error is not None:
        raise error
    return result


def _finalize(answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """As a pair: a future refuses some exceptions, such as StopIteration."""
    if not answer.done():
        answer.set_result((result, error))
