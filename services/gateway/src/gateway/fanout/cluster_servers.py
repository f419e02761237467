"""The primaries of a cluster, each by a wire of its own, as the hub reads from them.

Guarantees: those of `servers.py`; a node that is away, or silent, holds up the streams of its own slots alone; within
about a second of a failover, or of a slot's moving, streams are read on where their slots are, also where nobody has
refused anything.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import RedisError
from sluiceway.errors import RedisUnavailable
from sluiceway.redis.following import FOLLOW_SECONDS
from sluiceway.redis.slots import SlotMap, View, slot_of
from sluiceway.redis.url import Node, RedisUrl

from gateway.fanout.redis_way import FixedWay
from gateway.fanout.redis_wire import Address, OnReply, Take, WireLost, pack
from gateway.fanout.rounds import Rounds
from gateway.fanout.servers import Asking, OnPush, Read, ignored, until
from gateway.fanout.uplink import Uplink

_ASKING = pack("ASKING")
# How often it is looked who has the slots while a wire is down.
_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 0.03
_REFUSED_FOR_NOW = "CLUSTERDOWN"  # TRYAGAIN is for commands of several keys, of which the hub has none


class ClusterServers:
    def __init__(
        self,
        url: str,
        *,
        name: str,
        reply_seconds: float,
        on_push: OnPush,
        on_up: Callable[[Rounds], None],
        on_rehomed: Callable[[], None],
        read: Read,
    ) -> None:
        self._slots = SlotMap(RedisUrl.parse(url))
        self._name, self._reply_seconds = name, reply_seconds
        self._on_push, self._on_up, self._on_rehomed, self._read = on_push, on_up, on_rehomed, read
        self._nodes: dict[Node, Rounds] = {}
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._view: View | None = None
        self._group: asyncio.TaskGroup | None = None
        self._look = asyncio.Event()
        self._changed = asyncio.Event()
        self._lost = 0

    async def run(self) -> None:
        """Follow where the slots are, and keep a wire to each primary, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    with contextlib.suppress(RedisError, OSError, TimeoutError):
                        self._see(await self._slots.draw())
                    await until(self._look, FOLLOW_SECONDS if self.whole else _LOOK_SECONDS)
        finally:
            self._group = None
            await self._slots.close()

    @property
    def up(self) -> bool:
        return any(rounds.uplink.up for rounds in self._nodes.values())

    @property
    def whole(self) -> bool:
        return self._view is not None and all(self._rounds(node).uplink.up for node in self._view.primaries)

    @property
    def reconnects(self) -> int:
        return self._lost + sum(rounds.uplink.reconnects for rounds in self._nodes.values())

    def rounds_of(self, key: bytes) -> Rounds:
        return self._rounds(self._owner(key))

    def down_seconds(self, key: bytes) -> float:
        return self.rounds_of(key).uplink.down_seconds() if self._view is not None else 0.0

    def check(self) -> None:
        for rounds in tuple(self._nodes.values()):
            rounds.uplink.check()

    def ask(self, key: bytes, command: bytes, on_reply: OnReply) -> None:
        if self._view is None:
            on_reply(WireLost("the cluster was not seen yet"))
        else:
            self.rounds_of(key).uplink.ask(command, on_reply)

    async def fetch(
        self, key: bytes | None, command: bytes, *, patience_seconds: float, take: Take | None = None
    ) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        once: Rounds | None = None
        while True:
            rounds = once or self._rounds_for(key)
            asking, once = once is not None, None
            if rounds is not None and rounds.uplink.up:
                try:
                    return await _fetched(rounds.uplink, command, take, asking=asking)
                except WireLost:
                    continue
                except hiredis.ReplyError as error:
                    found = self.elsewhere(rounds, key or b"", error)
                    if found is None:
                        raise RedisUnavailable(str(error)) from error
                    once = found.rounds if isinstance(found, Asking) else None
            if loop.time() > deadline:
                raise RedisUnavailable("no connection to the node of the cluster that has the key")
            if once is None or not once.uplink.up:
                await until(self._changed, _AGAIN_SECONDS)

    def elsewhere(self, rounds: Rounds, key: bytes, error: Exception) -> "Rounds | Asking | None":
        word, _, rest = str(error).partition(" ")
        if word in ("MOVED", "ASK"):
            slot, _, address = rest.partition(" ")
            host, _, port = address.rpartition(":")
            node = Node(host or self._host_of(rounds), int(port))
            if word == "ASK":
                return Asking(self._rounds(node))
            self._learn(int(slot), node)
            return self.rounds_of(key)
        return Asking(None) if word == _REFUSED_FOR_NOW else None

    def _learn(self, slot: int, node: Node) -> None:
        """One slot is elsewhere, with all its streams; the other slots are looked at soon."""
        if self._view is not None and self._view.owners[slot] != node:
            self._view = self._view.with_owner(slot, node)
            self._on_rehomed()
        self._look.set()

    def _host_of(self, rounds: Rounds) -> str:
        """Who says where without a host means its own."""
        return next((node.host for node, its in self._nodes.items() if its is rounds), "")

    def _see(self, view: View) -> None:
        """Wires to those that have slots, and to no others."""
        changed = self._view is None or view.owners != self._view.owners
        self._view = view
        for node in view.primaries:
            self._rounds(node)
        if changed:
            self._on_rehomed()
            self._changed.set()
        for node in [node for node in self._nodes if node not in view.primaries]:
            self._lost += self._nodes.pop(node).uplink.reconnects
            self._tasks.pop(node).cancel()

    def _rounds_for(self, key: bytes | None) -> Rounds | None:
        if self._view is None or not self._view.primaries:
            return None
        if key is None:
            return next((found for node in self._view.primaries if (found := self._rounds(node)).uplink.up), None)
        return self.rounds_of(key) if self._view.owners[slot_of(key)] is not None else None

    def _owner(self, key: bytes) -> Node:
        if self._view is None:
            raise RedisUnavailable("the cluster was not seen yet")
        # A slot that nobody has now had an owner, and will have one.
        return self._view.owners[slot_of(key)] or self._view.primaries[0]

    def _rounds(self, node: Node) -> Rounds:
        """Of that node. Its wire is being made where it is a new one."""
        rounds = self._nodes.get(node)
        if rounds is None:
            rounds = self._nodes[node] = self._opened(node)
            if self._group is not None:
                self._tasks[node] = self._group.create_task(rounds.uplink.run(), name=f"hub-uplink-{node}")
        return rounds

    def _opened(self, node: Node) -> Rounds:
        def up() -> None:
            self._changed.set()
            self._on_up(rounds)

        way = FixedWay(Address.parse(self._slots.url_of(node)))
        uplink = Uplink(way, name=self._name, reply_seconds=self._reply_seconds, on_push=self._on_push, on_up=up)
        rounds = Rounds(uplink, self._read)
        return rounds


async def _fetched(uplink: Uplink, command: bytes, take: Take | None, *, asking: bool) -> Any:
    if asking:
        uplink.ask(_ASKING, ignored)
    return await uplink.fetch_once(command, take)


def ask_there(rounds: Rounds, command: bytes, on_reply: OnReply) -> None:
    """Of a key that is on its way there."""
    rounds.uplink.ask(_ASKING, ignored)
    rounds.uplink.ask(command, on_reply)
