"""Redis as the services see it as a cluster of six nodes."""

import random
from collections.abc import Sequence
from pathlib import Path

from chaos.process_thread import ProcessThread
from harness.databases.redis_cluster import RedisCluster
from harness.databases.valkey import Valkey


class ClusterPath:
    """`primary` is any of those that live."""

    def __init__(self, directory: Path, rng: random.Random, process_thread: ProcessThread) -> None:
        self._cluster = RedisCluster(directory)
        self._rng = rng
        self._process_thread = process_thread

    @property
    def primary(self) -> Valkey:
        return self._cluster.primaries()[0]

    @property
    def url(self) -> str:
        return self._cluster.url

    def start(self) -> None:
        self._cluster.start()

    def start_again(self) -> None:
        for node in self._cluster.nodes:
            self._cluster.bring_back(node)

    def stop(self) -> None:
        self._cluster.stop()

    async def fail_over(self) -> None:
        """One primary is killed, or freezes, until its replica was promoted; then it returns."""
        victim = self._rng.choice(self._cluster.primaries())
        await self._cluster.fail_over(victim, freeze=self._rng.random() < 0.5)
        await self._process_thread.do(self._cluster.bring_back, victim)
        await self._cluster.whole()

    async def move(self, keys: Sequence[str]) -> None:
        """The slots of these keys go to other primaries, one after the other, in one of the two ways."""
        for key in keys:
            if self._rng.random() < 0.5:
                await self._process_thread.do(self._cluster.move_slot, key)
            else:
                await self._cluster.move_at_once(key)
