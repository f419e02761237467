"""A real Valkey Cluster of six nodes: three primaries with a replica each, on free ports, nothing on disk but their own
notes about the cluster."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis
from sluiceway.redis.slots import SLOTS, slot_of
from sluiceway.redis.url import Node

from harness.databases.valkey import Valkey
from harness.processes.ports import free_port
from harness.waiting import block_until, wait_until

_SHARDS = 3
_TIMEOUT_MS = "1000"


@dataclass(frozen=True)
class Move:
    slot: int
    source: Valkey
    target: Valkey


class RedisCluster:
    """`nodes`: all of them, alive or not."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [self._node(directory, number) for number in range(2 * _SHARDS)]

    @staticmethod
    def _node(directory: Path, number: int) -> Valkey:
        name = f"node-{number}"
        return Valkey(
            directory,
            name,
            cluster_enabled="yes",
            cluster_config_file=str(directory / f"{name}.conf"),
            cluster_port=str(free_port()),
            cluster_node_timeout=_TIMEOUT_MS,
            cluster_allow_replica_migration="no",
        )

    @property
    def url(self) -> str:
        """Of two of its nodes."""
        return "redis+cluster://" + ",".join(str(Node("127.0.0.1", node.port)) for node in self.nodes[1:3])

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Self]:
        cluster = cls(directory)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        ends = [SLOTS * shard // _SHARDS for shard in range(_SHARDS + 1)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number < _SHARDS:
                node.ask("CLUSTER", "ADDSLOTSRANGE", str(ends[number]), str(ends[number + 1] - 1))
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), self._bus(node))
        block_until(self._all_met, what="all nodes know one another")
        for number, node in enumerate(self.nodes[_SHARDS:]):
            node.ask("CLUSTER", "REPLICATE", self.id_of(self.nodes[number]))
        block_until(self._whole, 30, what="the cluster is whole, and every primary has its replica")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def primaries(self) -> list[Valkey]:
        """Those that are alive and say so."""
        return [node for node in self.nodes if node.running and role_of(node) == "master"]

    def owner(self, key: str) -> Valkey:
        """The primary that has a key's slot."""
        slot = slot_of(key)
        for first, last, primary, *_ in self._any().ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == int(primary[1]))
        raise AssertionError(f"nobody has slot {slot}")

    def shard_of(self, key: str) -> list[Valkey]:
        """The primary that has a key's slot, and its replica."""
        primary = self.owner(key)
        of_primary = self.id_of(primary)
        told = str(primary.ask("CLUSTER", "REPLICAS", of_primary))
        return [
            primary,
            *(node for node in self.nodes if node.running and self.id_of(node) in told.replace(of_primary, "")),
        ]

    def set(self, option: str, value: str) -> None:
        """On every node that runs."""
        for node in self.nodes:
            if node.running:
                node.ask("CONFIG", "SET", option, value)

    async def fail_over(self, primary: Valkey, *, freeze: bool = False) -> float:
        """That primary is killed, or freezes. Answers when, by the event loop's clock, its replica was promoted."""
        before = {node.port for node in self.primaries()}
        if freeze:
            primary.freeze()
        else:
            primary.stop()
        others = [node for node in self.nodes if node is not primary and node.running]
        await wait_until(
            lambda: any(node.port not in before for node in others if role_of(node) == "master"), 30, "a replica leads"
        )
        return asyncio.get_running_loop().time()

    def bring_back(self, node: Valkey) -> None:
        """It returns, and finds that it is a replica by now."""
        if node.running:
            node.thaw()
        node.start()

    async def whole(self) -> None:
        """Wait until it is, with a replica of each primary that has all."""
        await wait_until(self._whole, 30, "the cluster is whole, and every primary has its replica")

    def move_slot(self, key: str) -> None:
        """The slot of a key goes to another primary, key by key, as `--cluster reshard` does it."""
        self.finish(self.carry(key))

    def carry(self, key: str) -> "Move":
        """The keys of that slot, which stays with its owner until `finish`."""
        slot, source = slot_of(key), self.owner(key)
        target = next(node for node in self.primaries() if node is not source)
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.id_of(source))
        source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.id_of(target))
        while found := source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "10"):
            source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *found)
        return Move(slot, source, target)

    def finish(self, move: "Move") -> None:
        others = [node for node in self.primaries() if node not in (move.target, move.source)]
        for node in (move.target, move.source, *others):
            node.ask("CLUSTER", "SETSLOT", str(move.slot), "NODE", self.id_of(move.target))

    async def move_at_once(self, key: str) -> None:
        """The slot with all its keys, as Valkey 9 does it by itself."""
        slot, source = str(slot_of(key)), self.owner(key)
        target = next(node for node in self.primaries() if node is not source)
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self.id_of(target))
        await wait_until(lambda: self.owner(key) is target, 30, "the slot has moved")

    def id_of(self, node: Valkey) -> str:
        return str(node.ask("CLUSTER", "MYID").decode())

    def _any(self) -> Valkey:
        return self.primaries()[0]

    def _bus(self, node: Valkey) -> str:
        return str(node.ask("CONFIG", "GET", "cluster-port")[b"cluster-port"].decode())

    def _all_met(self) -> bool:
        known = [str(node.ask("CLUSTER", "NODES").decode()) for node in self.nodes]
        return all(text.count("connected") == len(self.nodes) and "handshake" not in text for text in known)

    def _whole(self) -> bool:
        try:
            return all(self._is_well(node) for node in self.nodes)
        except redis.RedisError:
            return False

    def _is_well(self, node: Valkey) -> bool:
        if b"cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
            return False
        told = node._replication()
        if told["role"] == "master":
            return bool(told["connected_slaves"] == 1)
        return told["master_link_status"] == "up" and not told["master_sync_in_progress"]


def role_of(node: Valkey) -> str:
    """ "" where it does not say."""
    try:
        with redis.Redis(port=node.port, socket_timeout=0.5) as client:
            told: Any = client.execute_command("ROLE")
            return str(told[0].decode())
    except redis.RedisError:
        return ""
