"""A question that many ask at once, and that is asked for all of them once.

Guarantees: at most one asking at a time; an answer is at most `kept_seconds` older than the question; who goes away
while it is asked takes nobody's answer along.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    def __init__(self, kept_seconds: float) -> None:
        self._kept_seconds = kept_seconds
        self._asking: asyncio.Task[T] | None = None
        self._answered_at = 0.0

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What `question` answers, or has just answered to somebody else. Raises what it raises."""
        task = self._asking
        if task is None or (task.done() and self._is_old(task)):
            task = self._asking = asyncio.create_task(_answer(question))
            task.add_done_callback(self._note)
        return await asyncio.shield(task)

    def _is_old(self, task: asyncio.Task[T]) -> bool:
        failed = task.cancelled() or task.exception() is not None
        return failed or asyncio.get_running_loop().time() > self._answered_at + self._kept_seconds

    def _note(self, task: asyncio.Task[T]) -> None:
        self._answered_at = task.get_loop().time()


async def _answer(question: Callable[[], Awaitable[T]]) -> T:
    return await question()
