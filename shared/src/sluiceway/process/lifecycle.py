"""How a process ends: one `stopping` event, set by SIGTERM or SIGINT, interrupts every wait. Its end has a limit."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator

from sluiceway.process.end_limit import end_within


class Stopping:
    """The process's wish to end. Waits take it along, so that none outlasts it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def race(self, work: Coroutine[None, None, object]) -> bool:
        """Do the work; False when the process wished to end first, and the work was cancelled."""
        doing = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((doing, ending), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
            return doing.done()
        finally:
            doing.cancel()
            ending.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait that long, or until the process wishes to end, whichever comes first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


@contextlib.contextmanager
def stop_on_signals(stopping: Stopping, seconds: float) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into `stopping` for as long as the context lasts. The process ends within so many
    seconds of the first one."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        if not stopping:
            end_within(seconds)
        stopping.set()

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
