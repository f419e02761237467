"""Model calls that are tried again while nothing of the answer was seen.

Guarantees
- Once an event was yielded, an error is the caller's: text that was shown is never asked for twice.
- Waits have full jitter: random between nothing and a limit that doubles up to a cap. A server that names a time is
  asked again after that time and some jitter; one that names more than `MAX_RETRY_AFTER_SECONDS` is not waited for.
- A connection that was dropped before an answer began is no sign of trouble the first time: no wait.
- Cancelling interrupts the wait and the call alike.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from sluiceway_llm.model import Model
from sluiceway_llm.model_errors import ModelDropped, ModelError
from sluiceway_llm.model_events import ModelEvent, ModelRequest, Reached

FIRST_SECONDS = 0.5
CAP_SECONDS = 20.0
MAX_RETRY_AFTER_SECONDS = 60.0

OnRetry = Callable[[ModelError, int, float], None]


def delay_seconds(
    failures: int, retry_after_seconds: float | None = None, first_seconds: float = FIRST_SECONDS
) -> float:
    """How long to wait after so many failures in a row."""
    limit = min(CAP_SECONDS, first_seconds * 2.0 ** min(failures - 1, 30))
    if retry_after_seconds is not None:
        return retry_after_seconds + random.uniform(0, first_seconds)  # noqa: S311 - jitter, not a secret
    return random.uniform(0, limit)  # noqa: S311 - jitter, not a secret


def stream_with_retries(
    model: Model,
    request: ModelRequest,
    *,
    attempts: int = 4,
    on_retry: OnRetry | None = None,
    first_seconds: float = FIRST_SECONDS,
) -> "RetriedStream":
    """`async with stream_with_retries(model, request) as batches`: as `model.stream`, tried up to `attempts` times.

    `on_retry(error, failures, delay_seconds)` is told of each failure that is followed by another try.
    """
    return RetriedStream(model, request, attempts, on_retry, first_seconds)


class RetriedStream:
    """One answer. It is asked for by the first `anext`, so whatever takes time is inside the iteration."""

    def __init__(
        self, model: Model, request: ModelRequest, attempts: int, on_retry: OnRetry | None, first_seconds: float
    ) -> None:
        self._model = model
        self._request = request
        self._attempts = attempts
        self._on_retry = on_retry
        self._first_seconds = first_seconds
        self._failures = 0
        self._call = AsyncExitStack()
        self._batches: AsyncIterator[list[ModelEvent]] | None = None
        self._shown = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._call.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[ModelEvent]:
        while True:
            try:
                batch = await self._next_batch()
            except ModelError as error:
                if self._shown:
                    raise
                await self._close()
                await self._wait_after(error)
            else:
                self._shown = self._shown or not all(isinstance(event, Reached) for event in batch)
                return batch

    async def _next_batch(self) -> list[ModelEvent]:
        if self._batches is None:
            self._batches = await self._call.enter_async_context(self._model.stream(self._request))
        return await anext(self._batches)

    async def _close(self) -> None:
        self._batches = None
        await self._call.aclose()

    async def _wait_after(self, error: ModelError) -> None:
        """Raises the error again when there is no further try, or when it would come too late."""
        self._failures += 1
        too_late = (error.retry_after_seconds or 0) > MAX_RETRY_AFTER_SECONDS
        if not error.retryable or too_late or self._failures >= self._attempts:
            raise error
        if isinstance(error, ModelDropped) and self._failures == 1:
            delay = 0.0
        else:
            delay = delay_seconds(self._failures, error.retry_after_seconds, self._first_seconds)
        if self._on_retry is not None:
            self._on_retry(error, self._failures, delay)
        await asyncio.sleep(delay)
