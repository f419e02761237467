"""A question that many ask at once, and that is asked for all of them once.

Guarantees: at most one asking at a time; whoever comes while it is asked gets its answer, and whoever comes later asks
anew; who goes away while it is asked takes nobody's answer along; it is asked for everybody, in the context that this
was made in, not for who came first.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from sluiceway.cancelling import cancelled

T = TypeVar("T")


class Coalesced(Generic[T]):
    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._asking: asyncio.Task[T] | None = None

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `question` answers. Raises what it raises."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(question(), name="asking", context=self._context.copy())
            self._asking.add_done_callback(_looked_at)
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Whoever waits just now is told that it was cancelled."""
        if self._asking is not None:
            await cancelled([self._asking])


def _looked_at(asking: "asyncio.Task[Any]") -> None:
    """Nobody may be left who waits for its error."""
    if not asking.cancelled():
        asking.exception()
