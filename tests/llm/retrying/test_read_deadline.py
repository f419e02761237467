"""The deadline of each read of an answer: as `asyncio.timeout_at`, with one timer for all reads (read_deadline.py)."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sluiceway_llm.calling.read_deadline import ReadDeadline

from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("CH-7")


class _Timers:
    """The timers that were set in the running loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self.handles: list[asyncio.TimerHandle] = []
        self._call_at = self._loop.call_at
        monkeypatch.setattr(self._loop, "call_at", self._set)

    def _set(self, when: float, callback: Callable[..., Any], *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        self.handles.append(self._call_at(when, callback, *arguments, **options))
        return self.handles[-1]


def _soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_read_that_is_not_over_at_its_deadline_times_out_also_after_reads_that_were() -> None:
    with closing(ReadDeadline()) as reading:
        for _ in range(3):
            with reading.until(_soon(30)):
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError), reading.until(_soon(0.02)):
            await asyncio.Event().wait()
        with reading.until(_soon(30)):  # and the next one has its own
            await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_that_moved_on_does_not_ring_at_the_old_one() -> None:
    with closing(ReadDeadline()) as reading:
        first = _soon(0.02)
        with reading.until(first):
            await asyncio.sleep(0)
        with reading.until(_soon(30)):
            await wait_until(lambda: asyncio.get_running_loop().time() > first + 0.02, what="the first has passed")
        with pytest.raises(TimeoutError), reading.until(_soon(0.02)):
            await asyncio.Event().wait()


async def test_nothing_rings_between_two_reads() -> None:
    with closing(ReadDeadline()) as reading:
        first = _soon(0.01)
        with reading.until(first):
            await asyncio.sleep(0)
        await wait_until(lambda: asyncio.get_running_loop().time() > first + 0.02, what="it has passed")
        with reading.until(_soon(30)):
            await asyncio.sleep(0)


async def test_many_reads_set_one_timer_and_closing_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ReadDeadline()) as reading:
        timers = _Timers(monkeypatch)
        for number in range(100):
            with reading.until(_soon(30 + number)):
                await asyncio.sleep(0)
        assert len(timers.handles) == 1
    assert timers.handles[0].cancelled()


@pytest.mark.parametrize("passed", [False, True])
async def test_a_cancellation_from_outside_stays_one_also_where_the_deadline_passes_with_it(passed: bool) -> None:
    began = asyncio.Event()

    async def read() -> None:
        with closing(ReadDeadline()) as reading, reading.until(_soon(0.0 if passed else 30)):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
