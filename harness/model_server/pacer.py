"""One timer that sends the tokens of all streams when they are due, so that thousands a second cost little.

A token is sent at most `TICK_SECONDS` late, never early, and a stream's rate does not drift.
"""

import asyncio
import heapq
import math
from collections.abc import Callable

TICK_SECONDS = 0.001


class Paced:
    """One stream's turn to send: `send` sends the next token and answers whether there are more."""

    __slots__ = ("done", "due", "interval", "send")

    def __init__(
        self, send: Callable[[], bool], interval_seconds: float, due: float, done: asyncio.Future[None]
    ) -> None:
        self.send = send
        self.interval = interval_seconds
        self.due = due
        self.done = done

    def __lt__(self, other: "Paced") -> bool:
        return self.due < other.due


class Pacer:
    def __init__(self) -> None:
        self._heap: list[Paced] = []
        self._timer: asyncio.Handle | None = None
        self._wakes_at = math.inf

    async def run(self, send: Callable[[], bool], rate: float) -> None:
        """Calls `send` `rate` times a second, the first time at once, until it answers False."""
        loop = asyncio.get_running_loop()
        stream = Paced(send, 1 / rate, loop.time(), loop.create_future())
        heapq.heappush(self._heap, stream)
        if stream.due < self._wakes_at:
            self._schedule(stream.due)
        await stream.done

    def _schedule(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        heap, now = self._heap, asyncio.get_running_loop().time()
        while heap and heap[0].due <= now:
            stream = heap[0]
            if not stream.done.done() and stream.send():
                stream.due += stream.interval
                heapq.heapreplace(heap, stream)
            else:
                heapq.heappop(heap)
                if not stream.done.done():
                    stream.done.set_result(None)
        if heap:
            self._schedule(max(heap[0].due, now + TICK_SECONDS))
