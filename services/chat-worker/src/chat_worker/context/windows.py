"""How much each model takes, for all turns of the process; nobody waits for it.

A setting is believed first, then what a refusal has said, then what the server tells, then what is known by name. Of a
model of which nothing is known much is assumed: the server's refusal says more, and costs nothing. Gateways are told
(`sw:windows`), so that they can refuse a message that is longer than its model's window.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable
from sluiceway.operation.model_windows import DEFAULT, publish_windows
from sluiceway.process.logs import get_logger
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.windows import window_by_name

ASSUMED_TOKENS = 128_000
_ASK_SECONDS = 300.0
_ASK_AGAIN_SECONDS = 15.0

Source = Literal["setting", "refusal", "server", "name", "assumed"]


@dataclass(frozen=True, slots=True)
class Window:
    tokens: int
    source: Source


class Windows:
    """`models`: those that turns may ask for, the default first. `most_tokens`: of a request, however much its model
    takes."""

    def __init__(self, model: Model, models: Sequence[str], redis: Redis, most_tokens: int = ASSUMED_TOKENS) -> None:
        self._model = model
        self._models = models
        self._redis = redis
        self._most = most_tokens
        self._told: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._log = get_logger()

    def of(self, name: str) -> Window:
        if (tokens := self._model.manners_of(name).options.window_tokens) is not None:
            return Window(tokens, "setting")
        told = self._told.get(name)
        if name in self._refused and self._refused[name] < (told or ASSUMED_TOKENS * 100):
            return Window(self._refused[name], "refusal")
        if told is not None:
            return Window(told, "server")
        known = window_by_name(name)
        return Window(known, "name") if known is not None else Window(ASSUMED_TOKENS, "assumed")

    def limit(self, name: str) -> Window:
        """What a request to that model may have."""
        window = self.of(name)
        return window if window.tokens <= self._most else Window(self._most, "setting")

    def takes_pictures(self, name: str) -> bool:
        """As far as is known of a model: its server may refuse the first one."""
        return self._model.manners_of(name).takes_pictures

    def learn(self, name: str, tokens: int) -> bool:
        """A refusal says that it is less than was thought. False: it is not, or a setting says otherwise."""
        window = self.of(name)
        if window.source == "setting" or tokens >= window.tokens:
            return False
        self._refused[name] = tokens
        self._log.info("window_learned", model=name, tokens=tokens, before=window.tokens, source=window.source)
        return True

    async def run(self) -> None:
        """Ask and publish, until cancelled."""
        while True:
            delay = _ASK_SECONDS if await self._ask() else _ASK_AGAIN_SECONDS
            for _ in range(round(delay / _ASK_AGAIN_SECONDS)):
                await self._publish()
                await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _ask(self) -> bool:
        try:
            self._told = await self._model.windows()
        except ModelError as error:
            self._log.debug("windows_not_told", code=error.code)
            return False
        return True

    async def _publish(self) -> None:
        windows = {name: self.limit(name) for name in self._models}
        known = {name: window.tokens for name, window in windows.items() if window.source != "assumed"}
        if (default := known.get(self._models[0])) is not None:
            known[DEFAULT] = default
        try:
            await publish_windows(self._redis, known)
        except RedisUnavailable as error:
            self._log.debug("windows_not_published", reason=str(error))
