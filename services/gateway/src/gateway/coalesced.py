"""A question that many ask at once, and that is asked for all of them once.

Guarantees: at most one asking at a time; whoever comes while it is asked gets its answer, and whoever comes later asks
anew; who goes away while it is asked takes nobody's answer along; it is asked for everybody, not for who came first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sluiceway.store.database.wall import acting_for

T = TypeVar("T")


class Coalesced(Generic[T]):
    def __init__(self) -> None:
        self._asking: asyncio.Task[T] | None = None

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What `question` answers. Raises what it raises."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(_answer(question))
        return await asyncio.shield(self._asking)


async def _answer(question: Callable[[], Awaitable[T]]) -> T:
    with acting_for(None):
        return await question()
