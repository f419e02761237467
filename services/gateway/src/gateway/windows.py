"""How much each model takes, as chat workers tell it: a message larger than that is refused before it is stored.

Guarantees: what is refused has more tokens than the model's window, by an estimate that errs downwards: a message that
is a little larger may pass, and its turn ends with the same words. Nobody waits for Redis: it is asked now and then,
shortly, and where it is silent nothing is refused.
"""

import asyncio
import time
from collections.abc import Mapping

from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable
from sluiceway.operation.model_windows import DEFAULT, read_windows
from sluiceway.wire.token_estimate import least_tokens

from gateway.api.problems import MessageExceedsWindow

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5
# No model takes less than its tokens.
_SURELY_FITS_CHARS = 250


class ModelWindows:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: Mapping[str, int] = {}
        self._until = 0.0

    async def check(self, text: str, model: str | None) -> None:
        """Raises MessageExceedsWindow."""
        if len(text) <= _SURELY_FITS_CHARS:
            return
        known = await self.known()
        window = known.get(model) if model is not None else known.get(DEFAULT)
        if window is not None and (tokens := least_tokens(text)) > window:
            raise MessageExceedsWindow(window_tokens=window, message_tokens=tokens)

    async def known(self) -> Mapping[str, int]:
        """By model; `DEFAULT` is the one of a turn that names none."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + _FRESH_SECONDS
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    self._known = await read_windows(self._redis)
            except (RedisUnavailable, TimeoutError):
                pass  # what was known last
        return self._known
