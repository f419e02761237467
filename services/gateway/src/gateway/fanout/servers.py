"""The servers that the hub reads from: one, or the primaries of a cluster, each by a wire of its own.

Guarantees: a key is asked of the server that has it; where that is another one by now (a failover, a slot that moved)
its streams are read on there, from where they were: `on_rehomed` says so. What a server refuses because the key is
elsewhere or on its way (MOVED, ASK) is asked there.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from sluiceway.redis.url import RedisUrl

from gateway.fanout.redis_way import way_of
from gateway.fanout.redis_wire import OnReply, Reply, Take
from gateway.fanout.rounds import Rounds
from gateway.fanout.uplink import Uplink

OnPush = Callable[[list[Any]], None]
Read = Callable[[Rounds, Any], None]


class Servers(Protocol):
    """`run` is its one task."""

    async def run(self) -> None: ...

    @property
    def up(self) -> bool:
        """Whether any wire stands: where a node of a cluster is away, the streams of the others are served."""
        ...

    @property
    def whole(self) -> bool:
        """Whether every wire stands."""
        ...

    @property
    def reconnects(self) -> int: ...

    def rounds_of(self, key: bytes) -> Rounds:
        """Of the server that has it, as far as is known; for a key that was read before."""
        ...

    def ask(self, key: bytes, command: bytes, on_reply: OnReply) -> None:
        """Ask the server that has the key, once; `on_reply` gets its reply, or its error, or WireLost."""
        ...

    async def fetch(
        self, key: bytes | None, command: bytes, *, patience_seconds: float, take: Take | None = None
    ) -> Any:
        """See `Uplink.fetch`. None: no key, and any server."""
        ...

    def elsewhere(self, rounds: Rounds, key: bytes, error: Exception) -> "Rounds | Asking | None":
        """What a refusal says of where the key is; None: nothing of that."""
        ...

    def down_seconds(self, key: bytes) -> float:
        """For how long the server that has the key is away."""
        ...

    def check(self) -> None: ...


class Asking:
    """The key is on its way: this once, ask these; or, where nobody has it now, the same again a moment later."""

    def __init__(self, rounds: Rounds | None) -> None:
        self.rounds = rounds


class OneServer:
    """One server, or the primary that Sentinels know: one wire."""

    def __init__(
        self, url: str, *, name: str, reply_seconds: float, on_push: OnPush, on_up: Callable[[Rounds], None], read: Read
    ) -> None:
        self._uplink = Uplink(
            way_of(url), name=name, reply_seconds=reply_seconds, on_push=on_push, on_up=lambda: on_up(self._rounds)
        )
        self._rounds = Rounds(self._uplink, read)
        self.run = self._uplink.run
        self.check = self._uplink.check

    @property
    def up(self) -> bool:
        return self._uplink.up

    @property
    def whole(self) -> bool:
        return self._uplink.up

    @property
    def reconnects(self) -> int:
        return self._uplink.reconnects

    def rounds_of(self, key: bytes) -> Rounds:
        return self._rounds

    def ask(self, key: bytes, command: bytes, on_reply: OnReply) -> None:
        self._uplink.ask(command, on_reply)

    async def fetch(
        self, key: bytes | None, command: bytes, *, patience_seconds: float, take: Take | None = None
    ) -> Any:
        return await self._uplink.fetch(command, patience_seconds=patience_seconds, take=take)

    def elsewhere(self, rounds: Rounds, key: bytes, error: Exception) -> "Rounds | Asking | None":
        return None

    def down_seconds(self, key: bytes) -> float:
        return self._uplink.down_seconds()


def is_cluster(url: str) -> bool:
    return RedisUrl.parse(url).topology == "cluster"


def ignored(_: Reply) -> None:
    """The answer to ASKING."""


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, at most so long; and forget it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
