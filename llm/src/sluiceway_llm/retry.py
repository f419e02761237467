"""Model calls that are tried again while nothing of the answer was seen.

Guarantees
- Once an event was yielded, an error is the caller's: text that was shown is never asked for twice.
- Waits have full jitter: random between nothing and a limit that doubles up to a cap. A server that names a time is
  asked again after that time and some jitter. Waiting ends with the caller's `Patience`: a time beyond it is not waited
  for at all.
- What may have been paid for is asked for again only a few times (`ModelError.most_requests`).
- A connection that was dropped before an answer began is no sign of trouble the first time: no wait.
- Cancelling interrupts the wait and the call alike.
- A caller that need not wait here may have longer waits put off: `PutOff` says when the call is to be made again, and
  what that needs to know of these tries. Never where the server has begun an answer that it keeps.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sluiceway_llm.model import Model
from sluiceway_llm.model_errors import (
    ModelContentFiltered,
    ModelDropped,
    ModelEmpty,
    ModelError,
    ModelLimitReached,
)
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Reached,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)

FIRST_SECONDS = 0.5
CAP_SECONDS = 20.0
PATIENCE_SECONDS = 60.0
_NOTHING_SAID: dict[str | None, type[ModelError]] = {
    "length": ModelLimitReached,
    "content_filter": ModelContentFiltered,
}

OnRetry = Callable[[ModelError, int, float], None]


def delay_seconds(
    failures: int, retry_after_seconds: float | None = None, first_seconds: float = FIRST_SECONDS
) -> float:
    """How long to wait after so many failures in a row."""
    limit = min(CAP_SECONDS, first_seconds * 2.0 ** min(failures - 1, 30))
    if retry_after_seconds is not None:
        return retry_after_seconds + random.uniform(0, first_seconds)  # noqa: S311 - jitter, not a secret
    return random.uniform(0, limit)  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True)
class Tried:
    """How often a call has failed so far; and how often in each way, by the name of the error's class."""

    failures: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


class PutOff(Exception):
    """Nothing was answered yet; the same is to be asked for after `delay_seconds`, with `tried`."""

    def __init__(self, error: ModelError, delay_seconds: float, tried: Tried) -> None:
        self.error = error
        self.delay_seconds = delay_seconds
        self.tried = tried
        super().__init__(error.code)


class Patience:
    """How long may be spent, in all, on a model that is away: one for a turn, used by all its calls, one at a time."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._left = seconds
        self._since: float | None = None

    @property
    def left_seconds(self) -> float:
        return self._left if self._since is None else self._left - (time.monotonic() - self._since)

    def failed(self) -> None:
        """The model is away, from the first failure on."""
        if self._since is None:
            self._since = time.monotonic()

    def answered(self) -> None:
        """It is back."""
        self._left, self._since = self.left_seconds, None


def stream_with_retries(
    model: Model,
    request: ModelRequest,
    *,
    attempts: int = 4,
    patience: Patience | None = None,
    on_retry: OnRetry | None = None,
    first_seconds: float = FIRST_SECONDS,
    must_say: bool = False,
    longest_wait_seconds: float | None = None,
    tried: Tried | None = None,
) -> "RetriedStream":
    """`async with stream_with_retries(model, request) as batches`: as `model.stream`, tried up to `attempts` times.

    `on_retry(error, failures, delay_seconds)` is told of each failure that is followed by another try. `must_say`: an
    answer that says nothing and calls nothing is an error, even if it ended well. `longest_wait_seconds`: longer ones
    raise PutOff. `tried`: what that said of the tries before.
    """
    said = not must_say or bool(request.prefix) or (request.reached is not None and request.reached.text_chars > 0)
    patience = patience or Patience()
    stream = RetriedStream(model, request, attempts, patience, on_retry, first_seconds, said)
    stream.put_off(longest_wait_seconds, tried)
    return stream


class RetriedStream:
    """One answer. It is asked for by the first `anext`, so whatever takes time is inside the iteration."""

    def __init__(
        self,
        model: Model,
        request: ModelRequest,
        attempts: int,
        patience: Patience,
        on_retry: OnRetry | None,
        first_seconds: float,
        said: bool,
    ) -> None:
        self._model = model
        self._request = request
        self._attempts = attempts
        self._patience = patience
        self._on_retry = on_retry
        self._first_seconds = first_seconds
        self._failures = 0
        self._kinds: Counter[str] = Counter()
        self._longest_wait_seconds: float | None = None
        self._begun = request.reached is not None
        self._call = AsyncExitStack()
        self._batches: AsyncIterator[list[ModelEvent]] | None = None
        self._shown = False
        self._said = said
        self._nothing_said: ModelError | None = None

    def put_off(self, longest_wait_seconds: float | None, tried: Tried | None) -> None:
        """Raise PutOff for longer waits. `tried`: this continues a call that was put off."""
        self._longest_wait_seconds = longest_wait_seconds
        if tried is not None:
            self._failures, self._kinds = tried.failures, Counter(tried.kinds)

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
                error.attempts = self._failures + 1
                if self._shown:
                    raise
                await self._close()
                await self._wait_after(error)
            else:
                if not self._shown:
                    self._patience.answered()
                    self._begun = True
                    self._shown = not all(isinstance(event, Reached) for event in batch)
                return batch

    async def _next_batch(self) -> list[ModelEvent]:
        if self._nothing_said is not None:
            raise self._nothing_said
        if self._batches is None:
            self._batches = await self._call.enter_async_context(self._model.stream(self._request))
        batch = await anext(self._batches)
        if not self._said:
            self._said = any(_says(event) for event in batch)
            if not self._said and isinstance(batch[-1], Finished):
                return self._without_end(batch, batch[-1])
        return batch

    def _without_end(self, batch: list[ModelEvent], end: Finished) -> list[ModelEvent]:
        """The answer ended well, but it says nothing. What there is of it, such as thoughts, is shown before that."""
        error = _NOTHING_SAID.get(end.reason, ModelEmpty)()
        error.usage = end.usage
        if len(batch) == 1:
            raise error
        self._nothing_said = error
        return batch[:-1]

    async def _close(self) -> None:
        self._batches, self._nothing_said = None, None
        await self._call.aclose()

    async def _wait_after(self, error: ModelError) -> None:
        """Raises the error again when there is no further try, or when it would come too late."""
        self._failures += 1
        kind = type(error).__name__
        self._kinds[kind] += 1
        self._patience.failed()
        left = self._patience.left_seconds
        often = error.most_requests is not None and self._kinds[kind] >= error.most_requests
        too_late = left <= 0 or (error.retry_after_seconds or 0) > left
        if not error.retryable or too_late or often or self._failures >= self._attempts:
            raise error
        if isinstance(error, ModelDropped) and self._failures == 1:
            delay = 0.0
        else:
            delay = min(left, delay_seconds(self._failures, error.retry_after_seconds, self._first_seconds))
        if self._on_retry is not None:
            self._on_retry(error, self._failures, delay)
        longest = self._longest_wait_seconds
        if longest is not None and delay > longest and not self._begun:
            raise PutOff(error, delay, Tried(self._failures, dict(self._kinds)))
        await asyncio.sleep(delay)


def _says(event: ModelEvent) -> bool:
    if isinstance(event, (TextDelta, RefusalDelta)):
        return not event.text.isspace()
    return isinstance(event, ToolCallDelta)
