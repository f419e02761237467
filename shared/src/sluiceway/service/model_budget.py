"""How much may be asked of a model in a minute: requests and tokens, counted in Redis for all processes together.

Guarantees
- In any minute no more requests than the limit are begun, and no more tokens than theirs, as far as these are known: a
  call counts with an estimate, and with what it has really used once that is told.
- Who came first goes first. A call that waits keeps its place, also where it waits without a worker; one whose process
  died keeps it for a grace, and nobody longer waits for it then.
- A server that says 429 is asked by nobody, of no process, for as long as it says; then they go one by one, at the pace
  of the limits, for a minute.
- A model without limits costs no round trip. While Redis is away there is no limit, which is logged once: an answer
  is not refused for want of a count. No method raises for Redis.

`sluiceway_llm.calling.line.Budget` is what callers see of it.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.redis.client import commands
from sluiceway.scripts import Argument, Scripts

# A Redis that hangs must not hold up an answer.
_PATIENCE_SECONDS = 0.5
# For so long it is not asked after it failed.
_REST_SECONDS = 5.0
_WINDOW_SECONDS = 60.0
# A turn that waits without a worker is queued by a round of the reconciler, and then waits for a slot.
_GRACE_SECONDS = 10.0

# Of a model: its server, and how many requests and tokens it may be asked for; 0: as many as one likes.
Limits = Callable[[str], tuple[str, int, int]]


class ModelBudget:
    def __init__(self, redis: Redis, limits: Limits, *, window_seconds: float = _WINDOW_SECONDS) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._limits = limits
        self._window_ms = round(window_seconds * 1000)
        self._asked_again_at = 0.0
        self._away = False
        self._log = get_logger()

    def counts_tokens(self, model: str) -> bool:
        return self._limits(model)[2] > 0

    async def take(self, model: str, ticket: str, arrived: int, tokens: int) -> tuple[float, int, int] | None:
        """A call is about to begin. None: it is not counted. Else: for how many seconds it waits in line (0: it may
        begin), when it arrived (µs, Redis's clock; 0 where that is not known yet), and the slice it was counted in."""
        _, requests, most_tokens = self._limits(model)
        if not requests and not most_tokens:
            return None
        limits = (requests, most_tokens, self._window_ms, _ms(_GRACE_SECONDS))
        answer = await self._run("model/take", self._keys(model), (ticket, arrived, tokens, *limits))
        if answer is None:
            return None
        may, arrived, told = map(int, answer)
        return (0.0, arrived, told) if may else (told / 1000, arrived, 0)

    async def hold_off(
        self, model: str, ticket: str, arrived: int, tokens: int, slice_: int, seconds: float, *, again: bool
    ) -> None:
        """The server said 429 to a call that was counted. `again`: it waits in line for its next try."""
        limits = (_ms(seconds), self._window_ms, _ms(_GRACE_SECONDS))
        told = (ticket, arrived, tokens, slice_, *limits, int(again))
        await self._run("model/hold_off", self._keys(model), told)

    async def correct(self, model: str, slice_: int, difference: int) -> None:
        """A call that was counted has used so many tokens more, or fewer."""
        await self._run("model/correct", self._keys(model)[:1], (slice_, difference))

    async def leave(self, model: str, ticket: str) -> None:
        """A call in line was given up."""
        _, line, tickets = self._keys(model)
        await self._asked(lambda: commands(self._redis, [("ZREM", line, ticket), ("HDEL", tickets, ticket)]))

    def _keys(self, model: str) -> tuple[str, str, str]:
        told = f"{self._limits(model)[0]} {model}"
        model_id = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return keys.model_budget(model_id), keys.model_line(model_id), keys.model_tickets(model_id)

    async def _run(self, script: str, of: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self._asked(lambda: self._scripts.run(script, of, arguments))

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """None: Redis is away."""
        if time.monotonic() < self._asked_again_at:
            return None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await ask()
        except (RedisUnavailable, RedisError, TimeoutError) as error:
            self._asked_again_at = time.monotonic() + _REST_SECONDS
            if not self._away:
                self._log.warning("model_budget_away", reason=type(error).__name__)
            self._away = True
            return None
        if self._away:
            self._log.info("model_budget_back")
        self._away = False
        return answer


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
