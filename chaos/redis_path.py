"""Redis as the services see it: one address, behind which connections break and servers change.

The address is a proxy in a thread of its own, so that it goes on while anything else here blocks. Behind it is one
Valkey that keeps nothing on disk; another one is its replica while a failover is being prepared.
"""

import asyncio
import random
from pathlib import Path

from chaos.process_thread import ProcessThread
from harness.databases.valkey import Valkey
from harness.processes.loop_thread import LoopThread
from harness.proxies.proxy import Fate, Proxy
from harness.waiting import wait_until

_CUTS = 0.05
_LAG_SECONDS = 0.2


class RedisPath:
    """`primary` is the server that the services reach now."""

    def __init__(self, directory: Path, rng: random.Random, process_thread: ProcessThread) -> None:
        self._process_thread = process_thread
        self.primary = Valkey(directory, "valkey-a")
        self._spare = Valkey(directory, "valkey-b")
        self._rng = rng
        self._thread = LoopThread()
        self._address = Proxy(self.primary.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._address.port}/0"

    def start(self) -> None:
        self.primary.start()
        self._thread.__enter__()
        self._thread.run(self._address.start())

    def start_again(self) -> None:
        self.primary.start()

    def stop(self) -> None:
        if self._address.port:
            self._thread.run(self._address.stop())
            self._thread.__exit__()
        self.primary.stop()
        self._spare.stop()

    def reset_connections(self) -> None:
        """All of them, by RST."""
        self._thread.run(self._reset())

    async def cut_often(self, seconds: float) -> None:
        """Some commands never arrive, others are done and nobody hears the answer; their connections are reset."""
        self._address.on_client_bytes = self._fate
        try:
            await asyncio.sleep(seconds)
        finally:
            self._address.on_client_bytes = None

    async def fail_over(self) -> None:
        """To a replica that has not got what the primary acknowledged at last. The old primary is gone."""
        link = Proxy(self.primary.port)
        await self._process_thread.do(self._thread.run, link.start())
        await self._process_thread.do(self._spare.start)
        await self._process_thread.do(self._spare.follow, link.port)
        await wait_until(lambda: self._spare.has_all_of(self.primary), 30, "the replica has what the primary has")
        link.hold()
        await asyncio.sleep(_LAG_SECONDS)
        await self._process_thread.do(self._thread.run, link.stop())
        await self._process_thread.do(self.primary.stop)
        await self._process_thread.do(self._spare.promote)
        self._address.retarget(self._spare.port)
        self.primary, self._spare = self._spare, self.primary

    async def _reset(self) -> None:
        self._address.reset_all()

    def _fate(self, _: bytes) -> Fate:
        if self._rng.random() >= _CUTS:
            return "pass"
        return "cut_after" if self._rng.random() < 0.5 else "cut_before"
