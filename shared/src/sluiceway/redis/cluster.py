"""A Redis Cluster as one client: each command goes to the node that has its key.

Guarantees: a command that a node has refused because its key is elsewhere, or on its way (MOVED, ASK, TRYAGAIN), is
sent there; nothing is ever sent again that may have been carried out. Many commands at once go to their nodes side by
side, those of one slot in their order; `ordered` ones one after the other. Within about a second no connection is left
with a node that has no slots any more, as a primary that was replaced while it was frozen or cut off.
Not guaranteed: that many commands are carried out all or none, as on one server; that a moment is the same everywhere:
TIME is that of one node.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sluiceway.cancelling import cancelled
from sluiceway.redis.following import FollowingRedis, hang_up, open_connections
from sluiceway.redis.slots import SlotMap, slot_of
from sluiceway.redis.url import Node

# A slot that is on its way, with some of the keys here and some there, is waited for; then it is as if Redis were away.
_REDIRECT_SECONDS = 4.0
_TRY_AGAIN_SECONDS = 0.03
# How long those who have their answers wait for a node that is silent.
_PATIENCE_SECONDS = 1.0
_DOUBTFUL = (RedisConnectionError, RedisTimeoutError, OSError, ReadOnlyError, MasterDownError, ClusterDownError)
_REDIRECTS = (MovedError, AskError, TryAgainError)
_KEYLESS = frozenset({"PING", "TIME", "INFO", "SCRIPT", "WAIT", "CLIENT", "ROLE", "CLUSTER", "CONFIG", "ACL", "MULTI"})
_KEY_BEHIND_SUBCOMMAND = frozenset({"XGROUP", "XINFO", "MEMORY"})
# In a cursor of SCAN: which primary, below where on it.
_SCAN_NODES = 1024

Command = tuple[tuple[Any, ...], dict[str, Any]]


def key_of(arguments: Sequence[Any]) -> str | bytes | None:
    """The first key of one of our commands; all of them are of one slot. None: it has none."""
    name, _, subcommand = str(arguments[0]).partition(" ")
    if name in _KEYLESS:
        return None
    if name in ("EVAL", "EVALSHA") and not int(arguments[2]):
        return None
    key: str | bytes = arguments[_place_of_key(name, subcommand, arguments)]
    return key


def _place_of_key(name: str, subcommand: str, arguments: Sequence[Any]) -> int:
    if name in ("EVAL", "EVALSHA"):
        return 3
    if name in ("XREAD", "XREADGROUP"):
        return 1 + next(place for place, word in enumerate(arguments) if word in ("STREAMS", b"STREAMS"))
    return 2 if name in _KEY_BEHIND_SUBCOMMAND and not subcommand else 1


class ClusterRedis(FollowingRedis):
    """As long as it is open, it follows where the slots are."""

    _slots: SlotMap
    _pool_of: Callable[[Node], ConnectionPool]
    _clients: dict[Node, Redis]

    @classmethod
    def of(cls, slots: SlotMap, pool_of: Callable[[Node], ConnectionPool], seed: ConnectionPool) -> Self:
        """`pool_of`: a pool of a node's own. `seed`: for whoever asks which options our connections have."""
        client = cls(connection_pool=seed)
        client.auto_close_connection_pool = True
        client._slots, client._pool_of, client._clients = slots, pool_of, {}
        return client

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._slots.close()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()
        await super().aclose(close_connection_pool)

    @property
    def pools(self) -> list[ConnectionPool]:
        """Of the nodes that were asked for anything."""
        return [client.connection_pool for client in self._clients.values()]

    async def primaries(self) -> list[Redis]:
        """A client of each, in an order that stays."""
        return [self._client(node) for node in (await self._slots.view()).primaries]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "SCAN":
            return await self._scan(args, options)
        if args[0] == "SCRIPT LOAD":
            return await self._on_all(args)
        return await self.routed((args, options))

    def pipeline(self, transaction: bool = False, shard_hint: str | None = None) -> "ClusterPipeline":  # type: ignore[override]
        if transaction:
            raise NotImplementedError("a transaction is of one node: use a script")
        return ClusterPipeline(self)

    async def routed(self, command: Command) -> Any:
        """Carried out where its key is. Raises what the node has answered, ClusterDownError, RedisConnectionError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _REDIRECT_SECONDS
        node, asking = await self.node_of(command), False
        while True:
            try:
                return await self._on(node, command, asking)
            except MovedError as error:
                if loop.time() > deadline:
                    raise
                node, asking = self._slots.moved(error, node), False
                await asyncio.sleep(0)
            except AskError as error:
                if loop.time() > deadline:
                    raise
                node, asking = Node(error.host or node.host, int(error.port)), True
            except TryAgainError:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
                node, asking = await self.node_of(command), False
            except _DOUBTFUL:
                self._slots.doubt()
                raise

    async def node_of(self, command: Command) -> Node:
        view, key = await self._slots.view(), key_of(command[0])
        return view.primaries[0] if key is None else view.owner(slot_of(key))

    def doubt(self) -> None:
        """A node is not what it was: look again before anything else is sent."""
        self._slots.doubt()

    async def many(self, node: Node, commands: Sequence[Command]) -> list[Any]:
        """Of one node, in one round trip; each answer, or the ResponseError it got."""
        try:
            async with self._client(node).pipeline(transaction=False) as pipe:
                for args, options in commands:
                    pipe.execute_command(*args, **options)
                return list(await pipe.execute(raise_on_error=False))
        except _DOUBTFUL:
            self._slots.doubt()
            raise

    async def _on(self, node: Node, command: Command, asking: bool) -> Any:
        args, options = command
        if not asking:
            return await self._client(node).execute_command(*args, **options)  # type: ignore[no-untyped-call]
        answer = (await self.many(node, [(("ASKING",), {}), command]))[1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _on_all(self, args: Sequence[Any]) -> Any:
        """On every primary: a script is taught to all. One that is away is taught it when it is asked."""
        asked = (client.execute_command(*args) for client in await self.primaries())  # type: ignore[no-untyped-call]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        known = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not known:
            self._slots.doubt()
            raise next(answer for answer in answers if isinstance(answer, BaseException))
        return known[0]

    async def _scan(self, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """One primary after the other. What moves meanwhile may be told twice, or not at all."""
        after, place = divmod(int(args[1]), _SCAN_NODES)
        clients = await self.primaries()
        if place >= len(clients):
            return [0, []]
        after, found = await clients[place].execute_command("SCAN", after, *args[2:], **options)  # type: ignore[no-untyped-call]
        after = int(after)
        if after == 0:
            place += 1
        return [after * _SCAN_NODES + place if after or place < len(clients) else 0, found]

    def _client(self, node: Node) -> Redis:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = Redis.from_pool(self._pool_of(node))
        return client

    async def _look(self) -> None:
        primaries = (await self._slots.draw()).primaries
        for node, client in [*self._clients.items()]:
            if node not in primaries:
                for connection in open_connections(client.connection_pool):
                    await hang_up(connection)


class ClusterPipeline:
    """What of redis-py's pipeline is used: commands that are gathered, and carried out node by node."""

    def __init__(self, cluster: ClusterRedis, *, ordered: bool = False, isolated: bool = False) -> None:
        """`ordered`: one after the other. `isolated`: where a node is away, or silent while others have answered, the
        error is the answer to its commands, and the others have theirs; it is raised where all are away."""
        self._cluster = cluster
        self._ordered = ordered
        self._isolated = isolated
        self._commands: list[Command] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._commands = []

    def execute_command(self, *args: Any, **options: Any) -> Self:
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Each answer in its command's place, or its ResponseError. Raises where a node is away; others may have
        carried out theirs."""
        answers: list[Any] = [None] * len(self._commands)
        parts = await self._parts()
        if self._ordered:
            for node, places in parts:
                await self._run(node, places, answers)
        else:
            await self._side_by_side(parts, answers)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _side_by_side(self, parts: Sequence[tuple[Node, list[int]]], answers: list[Any]) -> None:
        tasks = [asyncio.create_task(self._run(node, places, answers), name=f"part-{node}") for node, places in parts]
        try:
            done, late = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS if self._isolated else None)
            if late and not done:
                await asyncio.wait(late)
        finally:
            await cancelled(tasks)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        for error, (_, places) in zip(errors, parts, strict=True):
            if isinstance(error, asyncio.CancelledError):
                error = RedisTimeoutError("a node of the cluster is silent, while others answer")
                self._cluster.doubt()
            if error is None:
                continue
            if not self._isolated or not isinstance(error, _DOUBTFUL) or None not in errors:
                raise error
            for place in places:
                answers[place] = error

    async def _parts(self) -> list[tuple[Node, list[int]]]:
        """By node; where order matters, by runs of one node. What has no key goes with what is before it."""
        parts: list[tuple[Node, list[int]]] = []
        by_node: dict[Node, list[int]] = {}
        leading: list[int] = []
        node: Node | None = None
        for place, command in enumerate(self._commands):
            if key_of(command[0]) is not None:
                node = await self._cluster.node_of(command)
            if node is None:
                leading.append(place)
                continue
            places = parts[-1][1] if self._ordered and parts and parts[-1][0] == node else by_node.get(node)
            if places is None or (self._ordered and parts[-1][0] != node):
                places = by_node[node] = []
                parts.append((node, places))
            places += [*leading, place]
            leading = []
        if leading:
            parts.append((await self._cluster.node_of(self._commands[0]), leading))
        return parts

    async def _run(self, node: Node, places: Sequence[int], answers: list[Any]) -> None:
        commands = [self._commands[place] for place in places]
        for place, answer in zip(places, await self._cluster.many(node, commands), strict=True):
            answers[place] = answer
            if isinstance(answer, _DOUBTFUL):
                self._cluster.doubt()
        for place in places:
            if isinstance(answers[place], _REDIRECTS):
                answers[place] = await self._redirected(self._commands[place])

    async def _redirected(self, command: Command) -> Any:
        try:
            return await self._cluster.routed(command)
        except ResponseError as error:
            return error
