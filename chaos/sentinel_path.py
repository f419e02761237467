"""Redis as the services see it through Sentinels, which fail over by themselves."""

import random
from pathlib import Path

from chaos.process_thread import ProcessThread
from harness.databases.redis_sentinels import RedisSentinels
from harness.databases.valkey import Valkey


class SentinelPath:
    """`primary` is the server that the Sentinels promoted last."""

    def __init__(self, directory: Path, rng: random.Random, process_thread: ProcessThread) -> None:
        self._servers = RedisSentinels(directory)
        self._rng = rng
        self._process_thread = process_thread

    @property
    def primary(self) -> Valkey:
        return self._servers.primary

    @property
    def url(self) -> str:
        return self._servers.url

    def start(self) -> None:
        self._servers.start()

    def start_again(self) -> None:
        self.primary.start()

    def stop(self) -> None:
        self._servers.stop()

    async def fail_over(self) -> None:
        """The primary is killed, or freezes, until the Sentinels have promoted its replica; then it returns."""
        if self._rng.random() < 0.5:
            await self._servers.kill_primary()
        else:
            await self._servers.freeze_primary()
        await self._process_thread.do(self._servers.start_replica)
        await self._servers.in_step()
