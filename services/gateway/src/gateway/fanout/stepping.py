"""Coroutines that are run up to their first suspension by whoever made them, without a task.

A fan-out that awaits one `send` after the other waits for its slowest browser, and one task per browser costs a task
switch per event. A `send` suspends only when the connection's buffer is full; stepping it once tells which it was.
"""

from collections.abc import Coroutine, Generator
from typing import Any, Final

DONE: Final = object()


def step(coroutine: Coroutine[Any, Any, None]) -> object:
    """Run up to the first suspension. Answers DONE, or what the coroutine waits for: give that to `Rest`."""
    try:
        return coroutine.send(None)
    except StopIteration:
        return DONE


class Rest:
    """The rest of a coroutine that was stepped once, for a task to await."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the coroutine that waits
                try:
                    waits_for = self._coroutine.throw(error)  # which may wait for something else before it ends
                except StopIteration:
                    return
            else:
                break
        yield from self._coroutine.__await__()

    def close(self) -> None:
        """Give the coroutine up without running it on."""
        self._coroutine.close()
