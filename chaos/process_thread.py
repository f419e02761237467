"""One thread that starts and stops processes, so that the event loop goes on meanwhile.

It lives until it is let go, and not with an event loop: Linux ends a child of ours (see harness/processes/child.py)
with the thread that started it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ProcessThread:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="processes")

    async def do(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do it there, and wait for it here."""
        return await asyncio.wrap_future(self._thread.submit(work, *arguments, **named))

    def let_go(self) -> None:
        """The processes that were started by it end with it."""
        self._thread.shutdown()
