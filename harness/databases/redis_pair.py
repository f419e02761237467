"""A Valkey with a replica, behind one address: what services see of a failover.

The services reach the primary through one proxy, as through a Kubernetes Service; the replica follows it through
another one, which can be held: then the primary acknowledges writes that the replica will never have.
"""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sluiceway import keys

from harness.databases.valkey import Valkey
from harness.proxies.proxy import Proxy
from harness.waiting import wait_until


class RedisPair:
    """`primary` is where the services are. After a failover it is dead, or (`demote`) a replica of the other one."""

    def __init__(self, directory: Path) -> None:
        self.primary = Valkey(directory, "primary")
        self.replica = Valkey(directory, "replica")
        self.address = Proxy(self.primary.port)
        self._link = Proxy(self.primary.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.address.port}/0"

    async def start(self) -> None:
        self.primary.start()
        self.replica.start()
        await self.address.start()
        await self._link.start()
        self.replica.follow(self._link.port)
        await self.in_step()

    async def stop(self) -> None:
        await self.address.stop()
        await self._link.stop()
        self.primary.stop()
        self.replica.stop()

    async def in_step(self) -> None:
        """Wait until the replica has all that the primary has at some moment."""
        await wait_until(lambda: self.replica.has_all_of(self.primary), what="the replica has what the primary has")

    def freeze_replication(self) -> None:
        """From here on what the primary acknowledges is nowhere else."""
        self._link.hold()

    async def fail_over(self, *, demote: bool = False) -> None:
        """The replica becomes the primary, with what it has. The old one is killed, or lives on as its replica: open
        connections to that one stay, since nobody tells them."""
        await self._link.stop()
        if not demote:
            self.primary.stop()
        self.replica.promote()
        self.address.retarget(self.replica.port)
        if demote:
            self.primary.follow(self.replica.port)
        self.primary, self.replica = self.replica, self.primary


async def last_entry(server: Valkey, task_id: str) -> tuple[int, int]:
    """The id of the newest entry that this server has of a task's stream; (0, 0): none."""
    async with Redis.from_url(server.url) as client:
        entries: Any = await client.xrevrange(keys.task_events(task_id), "+", "-", count=1)
    attempt, _, sequence = (entries[0][0] if entries else b"0-0").partition(b"-")
    return int(attempt), int(sequence)
