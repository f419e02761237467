"""A deadline for each of an answer's many short reads, at the cost of one timer.

`asyncio.timeout_at` makes and cancels a timer for each read: 7 µs, more than it takes to read what came. Here the timer
stays, and is set again only when it rings, or for a deadline that is earlier.

Guarantees, as `asyncio.timeout_at` has them: a read that is not over at its deadline raises TimeoutError; a
cancellation from outside stays one, also where both come together. Nothing rings between two reads, or after `close`.
"""

import asyncio
from types import TracebackType


class ReadDeadline:
    """`with deadline.until(when): await …`, one after the other. `when` is a time of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._when = 0.0
        self._task: asyncio.Task[object] | None = None
        """Who reads; None between two reads."""
        self._cancelling = 0
        self._passed = False

    def until(self, when: float) -> "ReadDeadline":
        self._when = when
        if self._timer is None or when < self._rings_at:
            self._set()
        return self

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a read with a deadline is made in a task")
        self._task, self._cancelling, self._passed = task, task.cancelling(), False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        task, self._task = self._task, None
        if self._passed and task is not None:
            others = task.uncancel() > self._cancelling
            if kind is asyncio.CancelledError and not others:
                raise TimeoutError from error

    def _set(self) -> None:
        self.close()
        self._rings_at = self._when
        self._timer = self._loop.call_at(self._when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return  # the next read sets it
        if self._loop.time() < self._when:
            self._set()
        else:
            self._passed = True
            self._task.cancel()
