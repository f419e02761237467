"""Ending tasks of our own: the one way to cancel some and wait until they have ended."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 0.5


async def cancelled(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel and wait. Again and again: a client library may swallow a cancellation that comes while it connects."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
