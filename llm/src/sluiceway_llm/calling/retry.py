"""Model calls that are tried again while nothing of the answer was seen.

Guarantees
- Once an event was yielded, an error is the caller's: text that was shown is never asked for twice.
- Waits have full jitter: random between nothing and a limit that doubles up to a cap. A server that names a time is
  asked again after that time and some jitter. Waiting ends with the caller's `Patience`: a time beyond it is not waited
  for at all.
- What may have been paid for is asked for again only a few times (`ModelError.most_requests`).
- A model that was away a moment ago is not asked (circuit.py): such a call waits, and costs no request and no try.
- Where there is a fallback model, it is asked at once where the first one is away, overloaded or rate limited; and the
  first one again after each wait.
- A model that may be asked only so often (line.py) is asked in the order in which the calls of all processes came. A
  server that says 429 is then asked by nobody for a while.
- A connection that was dropped before an answer began is no sign of trouble the first time: no wait.
- Cancelling interrupts the wait and the call alike.
- A caller that need not wait here may have longer waits put off: `PutOff` says when the call is to be made again, and
  what that needs to know of these tries. Never where the server has begun an answer that it keeps.
"""

import asyncio
import random
import string
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from sluiceway_llm.calling.circuit import AskingModel, ModelAway, is_away
from sluiceway_llm.calling.line import InLine, Line, Place
from sluiceway_llm.calling.model import Model
from sluiceway_llm.clean_text import label_of
from sluiceway_llm.model_errors import (
    ModelContentFiltered,
    ModelDropped,
    ModelEmpty,
    ModelError,
    ModelLimitReached,
    ModelRateLimited,
)
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Reached,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

FIRST_SECONDS = 0.5
CAP_SECONDS = 20.0
PATIENCE_SECONDS = 60.0
_LABEL_CHARS = 200
_SEEN_AS_NOTHING = f"{string.whitespace}\u00a0\u2028\u2029\u200b\u200c\u200d\u2060\ufeff"
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
    """How often a call has failed so far; and how often in each way, by the name of the error's class. `place`: where
    it stands in its model's line."""

    failures: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    place: Place | None = None


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
        self._line = Line(model.budget)
        self._call = AsyncExitStack()
        self._batches: AsyncIterator[list[ModelEvent]] | None = None
        self._shown = False
        self._said = said
        self._nothing_said: ModelError | None = None
        self._asked = request
        self._asking: AskingModel | None = None
        self._last_error: ModelError | None = None
        self._usage: Usage | None = None

    def put_off(self, longest_wait_seconds: float | None, tried: Tried | None) -> None:
        """Raise PutOff for longer waits. `tried`: this continues a call that was put off."""
        self._longest_wait_seconds = longest_wait_seconds
        if tried is not None:
            self._failures, self._kinds = tried.failures, Counter(tried.kinds)
            self._line = Line(self._model.budget, tried.place)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._asking is not None:
            self._asking.left()
        await self._call.aclose()
        if not isinstance(error, PutOff):
            await self._line.leave()
        await self._line.used(self._usage)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[ModelEvent]:
        while True:
            try:
                batch = await self._next_batch()
            except ModelError as error:
                error.attempts = self._failures + 1
                if self._shown:
                    self._usage = error.usage
                    raise
                if self._asking is not None:
                    self._asking.failed(error)
                await self._close()
                await self._wait_after(error)
            else:
                if not self._shown:
                    if self._asking is not None:
                        self._asking.answered()
                    self._patience.answered()
                    self._begun = True
                    self._shown = not all(isinstance(event, Reached) for event in batch)
                return batch

    async def _next_batch(self) -> list[ModelEvent]:
        if self._nothing_said is not None:
            raise self._nothing_said
        if self._batches is None:
            self._asking = self._model.asking(self._request.model)
            self._usage = None
            await self._line.enter(self._request)
            self._batches = await self._call.enter_async_context(self._model.stream(self._request))
        batch = await anext(self._batches)
        if isinstance(batch[-1], Finished):
            self._usage = batch[-1].usage
        if self._request is not self._asked:
            batch = [_named(event, self._request.model) for event in batch]
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
        if isinstance(error, InLine):
            # What others ask is no fault of the model.
            self._patience.answered()
        else:
            self._count(error)
            self._patience.failed()
        turns, left = self._turns_to_fallback(error), self._patience.left_seconds
        last = not turns and self._is_last(error, left)
        delay = self._delay_seconds(error, left)
        await self._line.failed(error, delay, again=not (turns or last))
        if turns:
            return
        self._request = self._asked
        if last:
            raise self._last_error or error
        if self._on_retry is not None:
            self._on_retry(error, self._failures, delay)
        longest = self._longest_wait_seconds
        if longest is not None and delay > longest and not self._begun:
            raise PutOff(error, delay, Tried(self._failures, dict(self._kinds), self._line.place))
        await asyncio.sleep(delay)

    def _delay_seconds(self, error: ModelError, left_seconds: float) -> float:
        if isinstance(error, InLine):
            return error.retry_after_seconds or 0.0
        if isinstance(error, ModelDropped) and self._failures == 1:
            return 0.0
        return min(left_seconds, delay_seconds(self._failures, error.retry_after_seconds, self._first_seconds))

    def _count(self, error: ModelError) -> None:
        if not isinstance(error, ModelAway):
            self._failures += 1
            self._kinds[type(error).__name__] += 1
            self._last_error = error

    def _is_last(self, error: ModelError, left_seconds: float) -> bool:
        if isinstance(error, InLine):
            return False  # its time comes
        if not error.retryable or left_seconds <= 0 or self._failures >= self._attempts:
            return True
        if isinstance(error, ModelAway):
            return False  # it has not been asked, and its time is our own
        often = error.most_requests is not None and self._kinds[type(error).__name__] >= error.most_requests
        return often or (error.retry_after_seconds or 0) > left_seconds

    def _turns_to_fallback(self, error: ModelError) -> bool:
        """Whether another model is to be asked at once."""
        fallback, asked = self._model.fallback, self._request
        tired = is_away(error) or isinstance(error, ModelRateLimited)
        if fallback is None or fallback == asked.model or not tired or self._begun or asked.prefix:
            return False
        if self._failures >= self._attempts:
            return False
        self._request = replace(asked, model=fallback)
        self._model.falls_back(asked.model, error)
        if self._on_retry is not None:
            self._on_retry(error, self._failures, 0.0)
        return True


def _named(event: ModelEvent, model: str) -> ModelEvent:
    """With the model that answers, where the server does not say it."""
    if isinstance(event, Finished) and event.model is None:
        return replace(event, model=label_of(model, _LABEL_CHARS))
    return event


def _says(event: ModelEvent) -> bool:
    if isinstance(event, (TextDelta, RefusalDelta)):
        return bool(event.text.strip(_SEEN_AS_NOTHING))
    return isinstance(event, ToolCallDelta)
